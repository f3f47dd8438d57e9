"""What is special to MAP-Elites: cells, and that each keeps its best."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from search_problems import SPACES, evaluation, score

from evosearch.errors import InputError
from evosearch.rules.parser import parse_expression
from evosearch.search.base import SEARCHES
from evosearch.search.map_elites import behaviour_of, terminals_of


def map_elites(kind="rule", **settings):
    return SEARCHES.get("map-elites")(SPACES[kind](), **settings)


@pytest.mark.parametrize("descriptor", ["terminals", "behaviour"])
@pytest.mark.parametrize("kind", ["rule", "table"])
def test_each_cell_keeps_the_best_of_all_that_came_into_it(kind, descriptor):
    search = map_elites(kind, descriptor=descriptor, population=30)
    space, best = search.space, {}
    for _ in range(12):
        batch = search.ask()
        scored = score(space, batch)
        search.tell(batch, scored)
        for candidate, fitness in zip(batch, scored.fitness.tolist(), strict=True):
            rule = space.decode(candidate).main
            mask = tuple(sorted(rule.terminals))
            second = mask if descriptor == "terminals" else behaviour_of(rule, 4)
            cell = (rule.size, second)
            best[cell] = max(fitness, best.get(cell, -np.inf))
    found = search.families()

    assert sorted(elite.fitness for elite in found) == sorted(best.values())
    assert len({elite.cell for elite in found}) == len(found) == len(best)
    assert [elite.fitness for elite in found] == sorted(best.values(), reverse=True)


def test_favourites_are_the_best_of_each_size():
    search = map_elites(population=40)
    sizes = {}
    for _ in range(6):
        batch = search.ask()
        scored = score(search.space, batch)
        search.tell(batch, scored)
        for rule, fitness in zip(batch, scored.fitness.tolist(), strict=True):
            sizes[rule.size] = max(fitness, sizes.get(rule.size, -np.inf))
    favourites = search.favourites()

    assert [rule.size for rule in favourites] == sorted(sizes)
    scored = score(search.space, favourites).fitness.tolist()
    assert scored == [sizes[rule.size] for rule in favourites]


def test_descriptors_by_hand():
    names = ("w", "pre", "post")
    assert terminals_of(parse_expression("post*pre"), names) == 0b110
    assert terminals_of(parse_expression("2*w"), names) == 0b001
    one = behaviour_of(parse_expression("w*pre"), 8)
    # Positive factors and constants change nothing, a negative factor turns every sign.
    assert behaviour_of(parse_expression("3*(pre*w) + 1"), 8) == one
    assert behaviour_of(parse_expression("-(w*pre)"), 8) == 255 - one
    assert behaviour_of(parse_expression("exp(exp(exp(99*w)))"), 8) >= 0


def test_a_figure_of_the_problem_makes_cells_and_failures_stay_out():
    search = map_elites(descriptor="metric", metric="hits", low=0.0, high=2.0, cells=4)
    rules = [search.space.decode_text(text) for text in ("w", "pre", "post", "1", "2*w")]
    told = evaluation(np.array([[1.0], [2.0], [3.0], [4.0], [5.0]]))
    hits = np.array([-1.0, 0.4, 0.6, 9.0, np.nan])
    search.tell(rules, replace(told, metrics={"hits": hits}))

    cells = {str(elite.genotype): elite.cell for elite in search.families()}
    assert cells == {"pre": (1, 0), "post": (1, 1), "1": (1, 3)}
    with pytest.raises(InputError, match="unknown metric of the problem 'hits'"):
        search.tell(rules, told)


def test_settings_that_contradict_each_other_are_refused():
    for settings in ({"low": 1.0, "high": 0.0}, {"descriptor": "metric"}, {"metric": "hits"}):
        with pytest.raises(InputError, match="search 'map-elites'"):
            map_elites(**settings)


def test_plain_map_elites_draws_parents_uniformly_from_the_cells():
    search = map_elites(p_best=0.0, p_crossover=0.0)
    batch = search.ask()
    search.tell(batch, score(search.space, batch))
    everyone = search.families()
    n = 200 * len(everyone)
    drawn = [search._parent([], everyone) for _ in range(n)]
    counts = [sum(d is elite.genotype for d in drawn) for elite in everyone]

    assert sum(counts) == n
    assert np.abs(np.array(counts) - 200).max() < 5 * np.sqrt(200)
