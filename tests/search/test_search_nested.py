"""What is special to nested searches: the policy's gradient, levels, and best sequences."""

from __future__ import annotations

import numpy as np
import pytest
from search_problems import SPACES, drive, evaluation, score

from evosearch.search.base import SEARCHES
from evosearch.search.construction import Construction, read_codes
from evosearch.search.nrpa import Policy
from evosearch.spaces import RuleSpace, TableSpace

CONTEXTS = pytest.mark.parametrize("context", ["position", "parent"])


def log_chance(policy, weights, construction, codes):
    """Return the log probability of a sequence, symbol by symbol from the definition."""
    total = 0.0
    for k, code in enumerate(codes):
        partial = construction.start(codes[:k])
        choices = construction.choices(partial)
        row = weights[policy._row(partial)]
        terms = {c: np.exp(choices.log_prior[c] + row[c]) for c in choices.codes.tolist()}
        total += np.log(terms[code] / sum(terms.values()))
    return total


@CONTEXTS
def test_an_adapted_policy_is_a_step_along_the_gradient_of_the_log_probability(context):
    construction = Construction(RuleSpace(("w", "pre"), ("add", "tanh"), max_size=7), 7)
    policy, rng = Policy(construction, context), np.random.default_rng(1)
    weights = rng.normal(size=policy.shape)
    codes = next(c for _ in range(99) if len(c := construction.playout((), rng)) > 4)
    step = policy.adapted(weights, codes, 0.1) - weights
    gradient, tiny = np.zeros_like(weights), 1e-6
    for at in np.ndindex(weights.shape):
        above, below = weights.copy(), weights.copy()
        above[at] += tiny
        below[at] -= tiny
        rise = log_chance(policy, above, construction, codes)
        rise -= log_chance(policy, below, construction, codes)
        gradient[at] = rise / (2 * tiny)

    np.testing.assert_allclose(step, 0.1 * gradient, atol=1e-8)


def test_an_adapted_policy_by_hand():
    # Two entries of two values, both equally likely at first: gain 1 - 1/2, lose 1/2.
    construction = Construction(TableSpace(("w", "pre"), (0, 1)), 2)
    policy = Policy(construction, "parent")
    once = policy.adapted(np.zeros((2, 2)), (1, 0), 1.0)
    np.testing.assert_allclose(once, [[-0.5, 0.5], [0.5, -0.5]])
    # Now the likely value has probability e / (e + 1) in each entry.
    p = np.e / (np.e + 1.0)
    twice = policy.adapted(once, (1, 0), 1.0)
    np.testing.assert_allclose(twice - once, [[-(1 - p), 1 - p], [1 - p, -(1 - p)]])


def test_playouts_of_a_policy_follow_its_probabilities():
    construction = Construction(TableSpace(("w", "pre"), (0, 1, 2)), 2)
    policy = Policy(construction, "parent")
    weights = np.array([[0.0, 1.0, -1.0], [2.0, 0.0, 0.0]])
    n = 5000
    drawn = np.array(policy.playouts(weights, np.random.default_rng(2), n))
    for entry in range(2):
        expected = np.exp(weights[entry]) / np.exp(weights[entry]).sum()
        found = np.bincount(drawn[:, entry], minlength=3) / n
        assert np.abs(found - expected).max() < 4 * np.sqrt(0.25 / n)


def test_levels_of_nrpa_nest_as_often_as_iterations_say():
    search = SEARCHES.get("nrpa")(
        SPACES["table"](), population=5, levels=3, iterations=2, skip_equal=False
    )
    counts = []
    for _ in range(9):
        counts.append(search.state_dict()["n_done"])
        tables = search.ask()
        search.tell(tables, score(search.space, tables))

    # Counters of the levels, the top one first, tick as the digits of a number to the base 2.
    expected = [[k // 4 % 2, k // 2 % 2, k % 2] for k in range(9)]
    assert counts == expected


def test_nrpa_moves_each_level_to_its_own_best_and_hands_it_up():
    space = SPACES["table"]()
    search = SEARCHES.get("nrpa")(space, population=6, levels=2, iterations=2, skip_equal=False)
    policy, construction = search._policy, search._construction
    top = low = np.zeros(policy.shape)
    best = (-np.inf, ())
    for _ in range(2):
        tables = search.ask()
        scored = score(space, tables)
        k = int(np.argmax(scored.fitness))
        if scored.fitness[k] >= best[0]:
            best = (scored.fitness[k], construction.codes_of(tables[k]))
        low = policy.adapted(low, best[1], 1.0)
        search.tell(tables, scored)
    top = policy.adapted(top, best[1], 1.0)
    state = search.state_dict()

    np.testing.assert_array_equal(state["weights"], [top, top])
    assert state["fitness"].tolist() == [best[0], -np.inf]
    assert read_codes(state["best"][0]) == best[1]


def by_weights(tables):
    """Score tables (k,) of 0 and 1 as binary numbers: the best is all ones."""
    return evaluation(np.array([[float(t @ (2 ** np.arange(len(t)))[::-1])] for t in tables]))


@pytest.mark.parametrize("levels", [1, 2, 3])
def test_nested_monte_carlo_plays_every_symbol_of_the_best_sequence(levels):
    space = TableSpace(("w", "pre", "post", "w*pre"), (0, 1))
    search = SEARCHES.get("nmcs")(space, population=2, lanes=1, levels=levels, skip_equal=False)
    # One level asks two playouts for each entry; each further one multiplies by tries and entries.
    n_asked = {1: 4, 2: 2 * (3 + 2 + 1) + 2, 3: None}[levels]
    best, n = -np.inf, 0
    while n != n_asked and n < 200:
        tables = search.ask()
        played = list(read_codes(search.state_dict()["played"][-1]))
        assert all(t.tolist()[: len(played)] == played for t in tables)
        scored = by_weights(tables)
        best = max(best, scored.fitness.max())
        search.tell(tables, scored)
        n += 1
        nests = zip(*(search.state_dict()[k] for k in ("played", "best")), strict=True)
        assert all(not best_ or best_.startswith(played_) for played_, best_ in nests)

    if levels == 1:
        # It has come to the end and begins afresh.
        assert search.state_dict()["played"] == [""]
    assert best >= 8.0


def test_a_level_knows_the_best_of_all_that_it_met():
    space = TableSpace(("w", "pre", "post"), (0, 1))
    search = SEARCHES.get("nmcs")(space, population=2, lanes=1, levels=1, skip_equal=False, seed=3)
    best = -np.inf
    for _ in range(2):
        tables = search.ask()
        scored = by_weights(tables)
        best = max(best, scored.fitness.max())
        search.tell(tables, scored)
        assert search.state_dict()["fitness"].tolist() == [best]


@pytest.mark.parametrize("name", ["nrpa", "nmcs"])
def test_functions_that_are_known_are_not_asked_again(name):
    space = SPACES["rule"]()
    search = SEARCHES.get(name)(space, population=30, max_size=7)
    asked, _ = drive(search, 15)
    keys = [search._known.key(space.decode_text(text)) for batch in asked for text in batch]

    assert len(set(keys)) == len(keys)


@pytest.mark.parametrize("name", ["nrpa", "nmcs", "mcts"])
def test_a_space_that_is_exhausted_is_asked_again_rather_than_nothing(name):
    search = SEARCHES.get(name)(RuleSpace(("w",), ("neg",), max_size=2), population=5)
    for _ in range(4):
        rules = search.ask()
        assert rules
        search.tell(rules, evaluation(np.zeros((len(rules), 2))))
