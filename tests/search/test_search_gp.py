"""What is special to genetic programming: operators, selection, constants, no repeats."""

from __future__ import annotations

import random

import numpy as np
import pytest
from search_problems import SPACES, drive, evaluation, ranked, score

from evosearch.errors import InputError
from evosearch.rules.parser import parse_expression
from evosearch.search.base import SEARCHES
from evosearch.search.gp_constants import ConstantTuner, Trial, structure_of
from evosearch.search.gp_folding import folded
from evosearch.search.gp_lexicase import lexicase
from evosearch.search.gp_trees import expression_of, lent_random, tree_of
from evosearch.search.gp_variation import Variation, size_fair_chances
from evosearch.search.semantics import probe_values, semantic_key
from evosearch.spaces import RuleSpace

OPERATORS = ("crossover", "subtree", "point", "hoist", "constant")
BOTH = pytest.mark.parametrize("name", ["gp", "gp-lexicase"])


@pytest.fixture
def space():
    return SPACES["rule"]()


@pytest.fixture
def rng():
    return np.random.default_rng(3)


def keys(rules):
    return [semantic_key(rule) for rule in rules]


def test_trees_of_deap_and_expressions_convert_both_ways(space, rng):
    for rule in space.sample(rng, 200):
        tree = tree_of(rule.nodes)

        assert expression_of(tree) == rule
        assert len(tree) == rule.size
        assert tree.height == rule.depth


def test_lent_random_numbers_follow_the_generator_and_are_taken_back():
    random.seed(9)
    state = random.getstate()
    drawn = []
    for _ in range(2):
        with lent_random(np.random.default_rng(1)):
            drawn.append(random.getrandbits(60))

    assert drawn[0] == drawn[1]
    assert random.getstate() == state
    with pytest.raises(RuntimeError), lent_random(np.random.default_rng(1)):
        raise RuntimeError
    assert random.getstate() == state


@pytest.mark.parametrize("operator", OPERATORS)
@pytest.mark.parametrize("kind", ["range", "fixed", "none"])
def test_operators_make_rules_of_the_space(operator, kind, rng):
    constants = {"range": {"ephemeral": (-2.0, 2.0)}, "fixed": {"constants": (2.0,)}, "none": {}}
    space = RuleSpace(("w", "pre"), ("add", "mul", "neg"), max_size=12, **constants[kind])
    variation = Variation(space, rng, {operator: 1.0})
    parents = space.sample(rng, 150)
    with lent_random(rng):
        children = [variation.child(a, b) for a, b in zip(parents, parents[::-1], strict=True)]

    for child in children:
        assert child.size <= space.max_size
        assert child.terminals <= {"w", "pre"}
        assert kind == "range" or set(child.constants) <= {2.0}
    assert sum(a != b for a, b in zip(parents, children, strict=True)) > 30


def test_hoisted_rules_are_smaller_and_tuned_ones_keep_their_structure(space, rng):
    variation = Variation(space, rng, {"hoist": 1.0})
    rules = [rule for rule in space.sample(rng, 100) if rule.depth > 1]
    with lent_random(rng):
        assert all(variation.hoist(rule).size <= rule.size for rule in rules)
    tuner = ConstantTuner(rng)
    rule = parse_expression("1.5*pre - 0.2*w")
    for moved, step in zip(*tuner.propose(rule, 50), strict=True):
        assert structure_of(moved) == structure_of(rule)
        assert moved.constants != rule.constants
        assert 0 < step <= 1


def test_size_fair_crossover_keeps_the_mean_size():
    sizes = np.array([1, 1, 1, 3, 3, 5, 5, 9, 11, 15])
    for taken in (3, 5, 7):
        chances = size_fair_chances(sizes, taken)

        assert chances.sum() == pytest.approx(1.0)
        assert (chances >= 0).all()
        assert chances @ sizes == pytest.approx(taken)
        assert chances[sizes > 2 * taken + 1].sum() == 0
    assert size_fair_chances(sizes, 1) @ sizes == 1.0
    assert size_fair_chances(np.array([0, 30]), 2) is None


def test_folding_keeps_the_function_and_never_makes_a_rule_longer(space, rng):
    for rule in space.sample(rng, 300):
        short = folded(rule)

        assert short.size <= rule.size
        np.testing.assert_allclose(probe_values(short), probe_values(rule), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2*(3*w)", "6*w"),
        ("w*2 + 0", "2*w"),
        ("0.5*(2*w)", "w"),
        ("w*(1 - 1)", "0"),
        ("tanh(0) + pre", "pre"),
        ("pre - 0", "pre"),
    ],
)
def test_folding_of_constants_by_hand(text, expected):
    assert str(folded(parse_expression(text))) == expected


def test_equal_functions_have_equal_keys_and_others_do_not():
    def key(text):
        return semantic_key(parse_expression(text))

    assert key("pre*(post + w)") == key("post*pre + w*pre")
    assert key("pre - pre") == key("w*0") == key("-(w - w)")
    assert key("pre") != key("pre*1.000001")
    assert key("1e-200*pre") != key("2e-200*pre")
    assert key("exp(exp(exp(9)))*pre") == key("exp(exp(exp(10)))*pre")


@BOTH
def test_no_function_is_asked_twice(name, space):
    search = SEARCHES.get(name)(space, population=60, seed=2)
    asked = []
    for _ in range(12):
        rules = search.ask()
        asked += keys(rules)
        search.tell(rules, score(space, rules))

    assert len(set(asked)) == len(asked)


@BOTH
def test_a_space_that_is_exhausted_is_asked_again_rather_than_nothing(name):
    search = SEARCHES.get(name)(RuleSpace(("w",), ("neg",), max_size=2), population=5)
    for _ in range(5):
        rules = search.ask()
        assert rules
        search.tell(rules, ranked(rules))


@BOTH
def test_start_rules_are_asked_first_and_only_once(name, space):
    search = SEARCHES.get(name)(space, start=("post*pre", "w"), population=10)
    rules = search.ask()
    search.tell(rules, score(space, rules))

    assert [str(rule) for rule in rules[:2]] == ["post*pre", "w"]
    assert not {"post*pre", "w"} & {str(rule) for rule in search.ask()}
    with pytest.raises(InputError, match="unknown terminal 'mod'"):
        SEARCHES.get(name)(space, start=("mod*pre",))
    with pytest.raises(InputError, match="has 17 nodes; the space allows 15"):
        SEARCHES.get(name)(space, start=("+".join(["pre"] * 9),))


@BOTH
def test_rescored_elite_is_asked_again_each_generation(name, space):
    search = SEARCHES.get(name)(space, population=20, elite=3, rescore=True)
    rules = search.ask()
    scored = score(space, rules)
    search.tell(rules, scored)
    best = rules[int(np.argmax(scored.fitness))]

    again = search.ask()
    assert best in again[:3]
    assert len(again) == 20


@BOTH
def test_operators_that_are_all_off_are_refused(name, space):
    off = {f"p_{operator}": 0.0 for operator in OPERATORS}
    with pytest.raises(InputError, match="must be above 0"):
        SEARCHES.get(name)(space, **off)


@BOTH
def test_constants_are_tuned_to_a_few_digits(name):
    space = RuleSpace(("w", "pre", "post"), ("add", "sub", "mul"), ephemeral=(-2.0, 2.0))
    found = []
    for seed in range(3):
        search = SEARCHES.get(name)(
            space, seed=seed, population=50, start=("1.1*(post*pre) - 0.7*(post*post*w)",)
        )
        found.append(drive(search, 40)[1])

    # The structure is right from the start; both constants are somewhat wrong.
    assert np.median(found) > -0.005


def test_steps_grow_with_success_and_shrink_without(rng):
    tuner = ConstantTuner(rng)
    rule = parse_expression("0.5*pre")
    for fitness, compare in ((1.0, np.greater), (-1.0, np.less)):
        before = dict(tuner.to_list()).get(structure_of(rule), 0.3)
        tuner.learn([Trial(0, structure_of(rule), before, 0.0)], np.array([fitness]))
        assert compare(dict(tuner.to_list())[structure_of(rule)], before)
    for _ in range(200):
        tuner.learn([Trial(0, structure_of(rule), 0.1, 0.0)], np.array([-1.0]))

    assert tuner.chosen([rule, parse_expression("2*w"), parse_expression("w")], 5) == [1]


def test_lexicase_agrees_with_its_definition_one_selection_at_a_time(rng):
    scores = rng.normal(size=(6, 30)).round(1)
    sizes = rng.integers(1, 9, 30)
    chosen = lexicase(scores, sizes, 3000, np.random.default_rng(1))
    middle = np.median(scores, axis=1, keepdims=True)
    epsilon = np.median(np.abs(scores - middle), axis=1)
    plain = []
    for _ in range(3000):
        left = np.arange(30)
        for draw in rng.permutation(6):
            best = scores[draw, left].max()
            left = left[scores[draw, left] >= best - epsilon[draw]]
        smallest = left[sizes[left] == sizes[left].min()]
        plain.append(rng.choice(smallest))

    frequencies = [np.bincount(picked, minlength=30) / 3000 for picked in (chosen, plain)]
    assert np.abs(frequencies[0] - frequencies[1]).max() < 0.05


def test_lexicase_selects_specialists_and_never_those_without_numbers(rng):
    scores = np.array([[9.0, 0.0, 5.0, np.nan], [0.0, 9.0, 5.0, np.nan]])
    chosen = lexicase(scores, np.ones(4, dtype=np.int64), 200, rng)

    assert set(chosen.tolist()) <= {0, 1, 2}
    assert {0, 1} <= set(chosen.tolist()) or set(chosen.tolist()) == {2}
    nothing = np.full((2, 3), np.nan)
    assert set(lexicase(nothing, np.arange(3), 20, rng).tolist()) <= {0, 1, 2}


def test_gp_lexicase_needs_draws_and_takes_another_number_of_them(space):
    search_class = SEARCHES.get("gp-lexicase")
    search = search_class(space, population=10)

    assert "per_draw" in search_class.needs
    for n_draws in (3, 5):
        rules = search.ask()
        rows = np.arange(len(rules) * n_draws, dtype=np.float64).reshape(-1, n_draws)
        search.tell(rules, evaluation(rows))
    assert search.ask()


def test_with_a_width_only_the_best_are_parents_and_all_of_them_alike(space):
    uniform = {"seed": 3, "population": 60, "tournament": 1, "parsimony": 1.0}
    for width, n_parents in ((5, 5), (0, 60)):
        search = SEARCHES.get("gp")(space, width=width, survivors="best", **uniform)
        for _ in range(2):
            rules = search.ask()
            search.tell(rules, score(space, rules))
        best = sorted(search._members, key=lambda m: (-m.fitness, len(m)))[:n_parents]
        parents = search._select(200 * n_parents)
        counts = [sum(parent is member for parent in parents) for member in best]
        assert sum(counts) == len(parents)
        assert min(counts) > 130  # 200 are expected of each


def test_mutation_truncation_and_the_best_so_far_are_beam_search(space):
    search = SEARCHES.get("gp")(
        space, seed=1, population=40, width=6, tournament=1, parsimony=1.0, survivors="best",
        p_crossover=0.0, immigrants=0.0, small_first=0.0, tune_constants=0.0, elite=1,
    )  # fmt: skip
    beam = []
    for _ in range(5):
        rules = search.ask()
        scored = score(space, rules)
        search.tell(rules, scored)
        beam += zip((-scored.fitness).tolist(), (rule.size for rule in rules), strict=True)
        beam = sorted(beam)[:6]
        chosen = {(-member.fitness, len(member)) for member in search._select(400)}
        assert chosen == set(beam)
