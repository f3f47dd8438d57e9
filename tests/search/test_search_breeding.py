"""Bred in batches, children are those that the operators one by one and DEAP's make, as often."""

from __future__ import annotations

from collections import Counter
from types import SimpleNamespace

import numpy as np
import pytest
from deap import gp, tools
from scipy.stats import chi2_contingency, ks_2samp

from evosearch.rules.expression import Expression
from evosearch.rules.parser import parse_expression
from evosearch.search.breeding import OPERATORS, Breeder
from evosearch.search.gp import double_tournament
from evosearch.search.gp_folding import folded
from evosearch.search.gp_trees import expression_of, lent_random, tree_of
from evosearch.search.gp_variation import Variation
from evosearch.spaces import RuleSpace

KINDS = {"range": {"ephemeral": (-2.0, 2.0)}, "fixed": {"constants": (2.0, 1.0)}, "none": {}}
FUNCTIONS = ("add", "mul", "neg", "max")
FIRST, SECOND = "w*(pre - (post + w))*neg(pre) + post", "max(w, pre)*(post*w - pre) - w*w"


def space_of(kind="range", max_size=23):
    return RuleSpace(("w", "pre", "post"), FUNCTIONS, max_size=max_size, **KINDS[kind])


def breeder_of(space, operator="point", seed=0):
    return Breeder(space, np.random.default_rng(seed), {operator: 1.0})


def parsed(text):
    return parse_expression(text.replace("neg(", "-("))


def structure(rule):
    """Return the nodes as text, all constants alike."""
    return " ".join(node if isinstance(node, str) else "#" for node in rule.nodes)


def p_alike(ours, theirs):
    """Return the p-value of a chi-square test; what is rare counts together."""
    counts = Counter(ours), Counter(theirs)
    keys = [key for key in {*ours, *theirs} if counts[0][key] + counts[1][key] >= 10]
    table = [[count[key] for key in keys] for count in counts]
    table = [
        [*row, 1 + sum(count.values()) - sum(row)] for row, count in zip(table, counts, strict=True)
    ]
    return chi2_contingency(table).pvalue


@pytest.mark.parametrize("operator", OPERATORS)
@pytest.mark.parametrize("kind", KINDS)
def test_children_of_two_rules_are_those_of_the_operators_one_by_one(operator, kind):
    space, rng, n = space_of(kind), np.random.default_rng(1), 3000
    first, second = parsed(FIRST), parsed(SECOND)
    ours, kinds = breeder_of(space, operator).children([(first, second)] * n)
    variation = Variation(space, rng, {operator: 1.0})
    with lent_random(rng):
        theirs = [variation.child(first, second) for _ in range(n)]

    assert set(kinds) == {operator}
    assert len({structure(rule) for rule in theirs}) > 3
    assert p_alike(map_list(structure, ours), map_list(structure, theirs)) > 1e-3


def map_list(function, values):
    return [function(value) for value in values]


def test_a_subtree_is_replaced_where_deap_does_as_often():
    space, n = space_of("none"), 3000
    first = parsed(FIRST)
    ours, _ = breeder_of(space, "subtree").children([(first, first)] * n)
    drawn = iter(breeder_of(space, seed=5).random(n, 9))
    theirs = []
    with lent_random(np.random.default_rng(2)):
        for _ in range(n):
            donor = list(tree_of(next(drawn).nodes))
            (tree,) = gp.mutUniform(tree_of(first.nodes), lambda pset, type_, d=donor: d, None)
            theirs.append(expression_of(tree))
    theirs = [rule if rule.size <= space.max_size else first for rule in theirs]

    assert p_alike(map_list(place_of_change(first), ours),
                   map_list(place_of_change(first), theirs)) > 1e-3  # fmt: skip


def place_of_change(parent):
    """Return a function that says where a child begins to differ, and its size."""

    def place(child):
        pairs = zip(parent.nodes, child.nodes, strict=False)
        return next((k for k, (a, b) in enumerate(pairs) if a != b), -1), child.size

    return place


def test_hoisting_shrinks_as_deap_does_where_the_root_stays():
    space, n = space_of("none"), 6000
    first = parsed(FIRST)
    roots = {structure(Expression(first.nodes[1 : first.subtree_end(1)])),
             structure(Expression(first.nodes[first.subtree_end(1) :]))}  # fmt: skip
    ours = map_list(structure, breeder_of(space, "hoist").children([(first, first)] * n)[0])
    with lent_random(np.random.default_rng(3)):
        trees = [gp.mutShrink(tree_of(first.nodes))[0] for _ in range(n)]
    shrunk = [text for text in ours if text not in roots]

    assert 0.30 < 1 - len(shrunk) / n < 0.37
    assert p_alike(shrunk, [structure(expression_of(tree)) for tree in trees]) > 1e-3


@pytest.mark.parametrize("operator", OPERATORS)
def test_sizes_depths_and_leaves_of_children_are_distributed_alike(operator):
    space, rng = space_of("range", 31), np.random.default_rng(4)
    parents = space.sample(rng, 2500)
    pairs = list(zip(parents, parents[::-1], strict=True))
    ours, _ = breeder_of(space, operator, 6).children(pairs)
    variation = Variation(space, rng, {operator: 1.0})
    with lent_random(rng):
        theirs = [variation.child(a, b) for a, b in pairs]

    for figure in ("size", "depth"):
        mine, other = ([getattr(rule, figure) for rule in rules] for rules in (ours, theirs))
        assert ks_2samp(mine, other, method="asymp").pvalue > 1e-3
    leaves = [
        [node for rule in rules for node in rule.nodes if node in space.terminals]
        for rules in (ours, theirs)
    ]
    assert abs(np.log(len(leaves[0]) / len(leaves[1]))) < 0.05
    assert p_alike(*leaves) > 1e-3
    shares = [sum(len(r.constants) for r in rules) for rules in (ours, theirs)]
    assert abs(np.log(shares[0] / shares[1])) < 0.08


@pytest.mark.parametrize("kind", KINDS)
def test_random_rules_are_those_of_the_space(kind):
    space, n = space_of(kind, 7), 6000
    variation = Variation(space, np.random.default_rng(8), {"point": 1.0})
    theirs = [variation.new(7) for _ in range(n)]
    ours = breeder_of(space).random(n, 7)

    assert p_alike([rule.size for rule in ours], [rule.size for rule in theirs]) > 1e-3
    assert p_alike(map_list(structure, ours), map_list(structure, theirs)) > 1e-3
    if kind == "range":
        mine, other = ([c for rule in rules for c in rule.constants] for rules in (ours, theirs))
        assert ks_2samp(mine, other, method="asymp").pvalue > 1e-3


@pytest.mark.parametrize("operator", OPERATORS)
@pytest.mark.parametrize("kind", KINDS)
def test_children_are_whole_rules_of_the_space(operator, kind):
    space = space_of(kind, 12)
    parents = space.sample(np.random.default_rng(9), 400)
    children, _ = breeder_of(space, operator).children(
        list(zip(parents, parents[::-1], strict=True))
    )
    for child in children:
        assert Expression(child.nodes).size <= space.max_size
        assert child.terminals <= set(space.terminals)
        assert kind == "range" or set(child.constants) <= {1.0, 2.0}
    assert sum(a != b for a, b in zip(parents, children, strict=True)) > 80


@pytest.mark.parametrize("text", [
    "2*(3*w)", "w*2 + 0", "0.5*(2*w)", "w*(1 - 1)", "tanh(0) + pre", "pre - 0", "0 + pre*(2*1)",
    "1*(w*3)*2", "-(2)*pre", "max(2, 1)*w", "0*exp(w)", "w*(2*(pre*3))", "exp(800)*w",
])  # fmt: skip
def test_folding_is_that_of_rules_one_by_one(text):
    names = ("add", "sub", "mul", "neg", "max", "tanh", "exp")
    space = RuleSpace(("w", "pre", "post"), names, ephemeral=(-2.0, 2.0))
    breeder = Breeder(space, np.random.default_rng(0), {"crossover": 1.0})
    whole = ("add", "w", *parse_expression(text).nodes)
    # A child of a rule with itself whose one part is replaced by the same part is the rule.
    children, _ = breeder.children([(Expression(whole), Expression(whole))] * 60)
    expected = folded(Expression(whole))
    assert expected in children


def test_folding_of_many_rules_is_that_of_rules_one_by_one():
    names = ("add", "sub", "mul", "div", "square", "neg", "min", "abs")
    space = RuleSpace(("w", "pre"), names, constants=(0.0, 1.0, -0.0), ephemeral=(-2.0, 2.0))
    for rule in Breeder(space, np.random.default_rng(1), {"point": 1.0}).random(4000, 31):
        assert folded(rule) == rule


def test_tournaments_select_as_deap_does():
    rng, n = np.random.default_rng(10), 20_000
    fitness, sizes = rng.normal(size=12).round(1), rng.integers(1, 6, 12)

    class Sized(SimpleNamespace):
        def __len__(self):
            return self.size

    pool = [
        Sized(number=k, fitness=f, size=s)
        for k, (f, s) in enumerate(zip(fitness, sizes, strict=True))
    ]
    for rounds, parsimony in ((5, 1.2), (2, 1.8), (1, 1.0)):
        ours = double_tournament(fitness, sizes, n, rounds, parsimony, rng).tolist()
        with lent_random(rng):
            theirs = tools.selDoubleTournament(
                pool, n, rounds, parsimony, fitness_first=True, fit_attr="fitness"
            )
        # Equal fitness and size: which of two is taken does not matter.
        kinds = [(fitness[k], sizes[k]) for k in range(12)]
        assert p_alike([kinds[k] for k in ours], [kinds[one.number] for one in theirs]) > 1e-3


def test_equal_generators_breed_equal_children_and_leave_equal_states():
    space = space_of()
    parents = space.sample(np.random.default_rng(11), 50)
    pairs = list(zip(parents, parents[::-1], strict=True))
    made = []
    for _ in range(2):
        rng = np.random.default_rng(12)
        breeder = Breeder(space, rng, dict.fromkeys(OPERATORS, 1.0))
        made.append((breeder.children(pairs), breeder.random(20, 15), rng.random()))
    assert made[0] == made[1]
