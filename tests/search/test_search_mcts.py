"""What is special to Monte Carlo tree search: bookkeeping, choice, virtual losses, closing."""

from __future__ import annotations

import math
from collections import defaultdict

import numpy as np
import pytest
from search_problems import SPACES, TARGET_TABLE, drive, evaluation, score

from evosearch.search.base import SEARCHES
from evosearch.search.construction import Construction
from evosearch.search.mcts_tree import Tree
from evosearch.spaces import RuleSpace, TableSpace


def tree_of(space, **settings):
    settings = {"exploration": 0.5, "rapid": 10.0, "greed": 0.25, **settings}
    return Tree(Construction(space, 7), **settings)


@pytest.fixture
def tables():
    return TableSpace(("w", "pre", "post", "w*pre"), (0, 1, 2))


@pytest.mark.parametrize("population", [1, 4])
@pytest.mark.parametrize("kind", ["rule", "table"])
def test_visits_and_values_are_those_of_all_playouts_through_a_node(kind, population):
    space = SPACES[kind]()
    search = SEARCHES.get("mcts")(space, population=population, skip_equal=False, max_size=7)
    codes_of = search._construction.codes_of
    told = []
    for _ in range(30):
        batch = search.ask()
        scored = score(space, batch)
        told.append((batch, scored.fitness))
        search.tell(batch, scored)
    # A playout adds one node below the longest beginning that is there, and counts in all of it.
    nodes, floor = defaultdict(list), float(np.median(told[0][1]))
    for batch, fitness in told:
        ends = []
        for candidate in batch:
            codes = codes_of(candidate)
            depth = next((k for k in range(1, len(codes)) if codes[:k] not in nodes), len(codes))
            for k in range(1, depth + 1):
                nodes[codes[:k]] += []
            ends.append((codes, depth))
        for (codes, depth), value in zip(ends, fitness.tolist(), strict=True):
            for k in range(1, depth + 1):
                nodes[codes[:k]].append(max(value, floor))
    found = search.tree()

    assert found.keys() == nodes.keys()
    for beginning, values in nodes.items():
        n, total, top = found[beginning]
        assert n == len(values)
        assert total == pytest.approx(sum(values))
        assert top == max(values, default=-np.inf)


def test_rapid_values_count_the_playouts_with_the_symbol_in_a_like_place_later(tables):
    space = RuleSpace(("w", "pre"), ("add", "neg"), max_size=7)
    tree, rng = tree_of(space), np.random.default_rng(1)
    construction = tree._construction
    tree.floor, playouts = 0.0, []
    for _ in range(25):
        beginning = tree.select()
        codes = construction.playout(beginning, rng)
        tree.back_up(len(beginning), codes, float(rng.random()))
        playouts.append((beginning, codes))
        tree.forget_virtual()
    # At the root no later place is a root, so that its rapid visits are its visits.
    edges = tree._edges
    np.testing.assert_array_equal(edges["rapid_visits"][0], edges["visits"][0])
    neg = construction.symbols.index("neg")
    node = int(edges["child"][0, neg])
    expected = np.zeros(len(construction.symbols), dtype=int)
    for _, codes in playouts:
        if codes[0] == neg:
            # Below a chain of neg every place is the operand of neg until the chain ends.
            ends = [k for k in range(1, len(codes)) if codes[k - 1] == neg]
            expected[sorted({codes[k] for k in ends})] += 1
    np.testing.assert_array_equal(edges["rapid_visits"][node], expected)


def test_choice_agrees_with_the_formula_of_uct_with_rapid_values(tables):
    tree, rng = tree_of(tables), np.random.default_rng(2)
    tree.floor = 0.0
    for _ in range(12):
        beginning = tree.select()
        codes = tree._construction.playout(beginning, rng)
        tree.back_up(len(beginning), codes, float(rng.random()))
        tree.forget_virtual()
    e, best = tree._edges, tree.best
    scores = []
    for a in range(3):
        n, q = int(e["visits"][0, a]), e["total"][0, a] / max(1, e["visits"][0, a])
        own = 0.75 * q + 0.25 * e["top"][0, a]
        n_rapid = int(e["rapid_visits"][0, a])
        beta = math.sqrt(10.0 / (3 * n + 10.0))
        mixed = (1 - beta) * own + beta * e["rapid_total"][0, a] / n_rapid
        scores.append(mixed / best + 0.5 * math.sqrt(math.log(12 + 1) / (n + 1)))

    assert tree.select()[0] == int(np.argmax(scores))


def test_virtual_losses_send_the_next_walk_elsewhere_and_are_taken_back(tables):
    tree = tree_of(tables, exploration=50.0, rapid=0.0)
    tree.floor, tree.best = 0.0, 5.0
    for first in range(3):
        beginning = tree.select()
        assert beginning == (first,)
        tree.back_up(1, (first, 0, 0, 0), 1.0 + (first == 1))
        tree.forget_virtual()
    tree._exploration = 0.0

    assert tree.select()[0] == 1
    walks = {tree.select()[0] for _ in range(6)}
    assert walks == {0, 1, 2}
    tree.forget_virtual()
    assert tree.select()[0] == 1


def test_a_tree_is_walked_to_its_end_once_and_then_exhausted():
    space = TableSpace(("w", "pre"), (0, 1))
    tree = tree_of(space)
    ends = []
    while not tree.is_exhausted:
        beginning = tree.select()
        if len(beginning) == 2:
            ends.append(beginning)

    assert sorted(ends) == [(0, 0), (0, 1), (1, 0), (1, 1)]


def test_every_table_is_found_where_the_budget_allows():
    space = TableSpace(("w", "pre", "post", "w*pre"), (0, 1))
    search = SEARCHES.get("mcts")(space, population=3)
    asked = set()
    for _ in range(30):
        batch = search.ask()
        asked.update(table.tobytes() for table in batch)
        search.tell(batch, evaluation(np.array([[float(t.sum())] for t in batch])))

    assert len(asked) == 16


def test_uct_spends_most_playouts_on_the_best_first_symbol():
    space = SPACES["table"]()
    search = SEARCHES.get("mcts")(space, population=4, skip_equal=False)
    drive(search, 60)
    visits = {codes[0]: n for codes, (n, _, _) in search.tree().items() if len(codes) == 1}

    assert max(visits, key=lambda code: visits[code]) == space.values.index(int(TARGET_TABLE[0]))


def test_a_tree_that_is_too_large_starts_afresh(tables):
    search = SEARCHES.get("mcts")(tables, population=4, max_nodes=10, skip_equal=False)
    sizes = []
    for _ in range(8):
        batch = search.ask()
        search.tell(batch, evaluation(np.array([[float(t.sum())] for t in batch])))
        sizes.append(len(search.tree()))

    assert max(sizes) < 15
    assert min(sizes[1:]) < sizes[0] + 4
