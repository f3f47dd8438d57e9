"""What is special to beam search: completeness when wide, choice, levels, repeats."""

from __future__ import annotations

import numpy as np
import pytest
from search_problems import SPACES, TARGET_TABLE, drive, evaluation, score

from evosearch.search.base import SEARCHES
from evosearch.search.beam_steps import PrefixBeam
from evosearch.search.construction import Construction
from evosearch.search.enumeration import Enumeration
from evosearch.search.semantics import semantic_key
from evosearch.spaces import RuleSpace

BOTH = pytest.mark.parametrize("successors", ["edits", "construction"])


def beam(space, **settings):
    return SEARCHES.get("beam")(space, **settings)


@pytest.fixture
def tiny():
    return RuleSpace(("w", "pre", "post"), ("add", "mul"), max_size=5)


def enumerated(space):
    """Return all functions of the space by another way: bottom-up, each once."""
    functions = Enumeration(space.terminals, space.functions)
    for _ in range(space.max_size):
        functions.extend()
    return [functions.expression(k) for k in range(functions.n_functions)]


@BOTH
def test_a_wide_exhaustive_beam_asks_every_function_once_and_finds_the_best(tiny, successors):
    truth = enumerated(tiny)
    # By construction a playout after each beginning is random: the last level alone is complete.
    search = beam(tiny, width=10_000, children=0, initial=3, successors=successors, max_size=5)
    asked, best = {}, -np.inf
    for _ in range(20):
        rules = search.ask()
        if all(semantic_key(rule) in asked for rule in rules):
            break
        scored = score(tiny, rules)
        asked.update((semantic_key(rule), rule) for rule in rules)
        best = max(best, scored.fitness.max())
        search.tell(rules, scored)

    assert best == score(tiny, truth).fitness.max()
    assert asked.keys() == {semantic_key(rule) for rule in truth}


def test_a_narrow_beam_keeps_the_best_of_a_level_and_asks_their_neighbours():
    space = SPACES["table"]()
    search = beam(space, width=1, children=0, initial=5, population=50)
    first = search.ask()
    assert len(first) == 5
    scored = score(space, first)
    search.tell(first, scored)
    best = first[int(np.argmax(scored.fitness))]
    seen = {space.key(table) for table in first}
    expected = {space.key(table) for table in space.neighbours(best)} - seen

    assert {space.key(table) for table in search.ask()} == expected


def test_hill_climbing_by_beam_reaches_the_best_table_within_its_distance():
    space = SPACES["table"]()
    search = beam(space, width=1, children=0, initial=1, population=100)
    start = search.ask()[0]
    distance = int((start != TARGET_TABLE).sum())
    # Values 1 and -1 may take two steps each through 0 where that is better meanwhile.
    _, best = drive(search, 2 + 2 * distance)

    assert best == 0.0


@BOTH
def test_levels_are_asked_in_parts_and_what_was_cut_is_asked_next(tiny, successors):
    search = beam(tiny, initial=10, population=4, successors=successors)
    whole = search.ask()
    assert len(whole) == 4
    search.tell(whole[:1], score(tiny, whole[:1]))

    assert search.ask()[:3] == whole[1:]


def test_few_children_are_drawn_from_the_neighbours_without_repeats():
    space = SPACES["rule"]()
    search = beam(space, width=1, children=7, initial=1)
    (start,) = search.ask()
    search.tell([start], score(space, [start]))
    children = search.ask()

    assert 1 <= len(children) <= 7
    assert set(children) <= set(space.neighbours(start))


def test_noise_draws_the_beam_in_proportion_to_exp_fitness_over_temperature():
    search = beam(SPACES["table"](), width=1, temperature=2.0)
    fitness = np.array([0.0, 1.0, 3.0])
    weights = np.exp(fitness / (2.0 * fitness.std()))
    n = 6000
    counts = np.bincount([search._chosen(fitness)[0] for _ in range(n)], minlength=3)
    expected = weights / weights.sum()

    assert np.abs(counts / n - expected).max() < 4 * np.sqrt(0.25 / n)
    assert beam(SPACES["table"](), width=2)._chosen(fitness) == [2, 1]


def test_a_beginning_is_worth_its_best_playout():
    space = RuleSpace(("w", "pre"), ("add",), max_size=3)
    construction = Construction(space, 3)
    levels = PrefixBeam(construction, np.random.default_rng(1), 1)
    levels.begin()
    scored = [(space.decode_text(t), f) for t, f in (("w", 2.0), ("w + w", 1.0), ("w + pre", 3.0))]
    offered = []

    def choose(fitness):
        offered.append(sorted(fitness.tolist()))
        return [int(np.argmax(fitness))]

    made = levels.advance(scored, choose)
    assert offered == [[2.0, 3.0]]
    add = construction.symbols.index("add")
    assert {construction.codes_of(rule)[0] for rule in made} == {add}
    assert levels.state()["playout_fitness"].tolist() == [1.0, 3.0]


def test_a_space_that_is_exhausted_is_asked_again_rather_than_nothing():
    search = beam(RuleSpace(("w",), ("neg",), max_size=2), population=5)
    for _ in range(4):
        rules = search.ask()
        assert rules
        search.tell(rules, evaluation(np.zeros((len(rules), 2))))
