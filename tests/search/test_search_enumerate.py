"""The enumeration finds each function once: counts known from other programs and by hand."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from search_problems import evaluation, ranked

from evosearch.errors import InputError
from evosearch.rules.fingerprint import fingerprints
from evosearch.rules.primitives import PRIMITIVES
from evosearch.rules.rule import Rule
from evosearch.search.base import SEARCHES
from evosearch.search.enumeration import Enumeration
from evosearch.search.gradings import Gradings
from evosearch.spaces import RuleSpace

LEAVES = ("w", "pre", "post", 1.0)
POLYNOMIAL = ("add", "sub", "mul")
# Also by exact arithmetic below. Values compared after rounding give more (223, 1,680, 13,954 and
# 120,976): equal functions whose roundoff differs are then taken for two.
N_UP_TO = {1: 4, 3: 33, 5: 220, 7: 1_657, 9: 13_822, 11: 120_500}


def built(size, leaves=LEAVES, functions=POLYNOMIAL):
    functions = Enumeration(leaves, functions)
    for _ in range(size):
        functions.extend()
    return functions


def test_counts_of_distinct_polynomials_up_to_eleven_nodes():
    functions = built(11)

    assert {size: functions.n_up_to(size) for size in N_UP_TO} == N_UP_TO


def counts_by_integers(largest):
    """Count values of + - * trees over three integers of 80 bits and 1; Python's are exact."""
    draw = np.random.default_rng(5)
    levels = {1: [int.from_bytes(draw.bytes(10)) for _ in range(3)] + [1]}
    seen = set(levels[1])
    counts = {1: len(seen)}
    for size in range(3, largest + 1, 2):
        levels[size] = []
        for left in range(1, size - 1, 2):
            for a, b in itertools.product(levels[left], levels[size - 1 - left]):
                for value in (a + b, a - b, a * b):
                    if value not in seen:
                        seen.add(value)
                        levels[size].append(value)
        counts[size] = len(seen)
    return counts


def test_the_counts_agree_with_integers_of_any_length():
    assert counts_by_integers(11) == N_UP_TO


def test_every_rule_of_three_nodes_by_hand():
    functions = built(3, ("x",), ("add", "mul", "sub"))
    found = {str(functions.expression(k)) for k in range(functions.n_functions)}

    assert found == {"x", "x + x", "x - x", "x*x"}


def test_a_function_is_listed_with_its_shortest_rule_and_sizes_rise():
    functions = built(7)
    sizes = [functions.expression(k).size for k in range(functions.n_functions)]

    assert sizes == sorted(sizes)
    assert sizes == [functions.size_of(k) for k in range(functions.n_functions)]


def test_other_functions_than_polynomials_are_told_apart_by_values():
    # tanh(x), tanh(1), x+x, x+1, 1+1, and products and sums that are none of the leaves.
    functions = built(3, ("x", 1.0), ("add", "tanh"))
    texts = {str(functions.expression(k)) for k in range(functions.n_functions)}

    assert not functions.is_exact
    assert texts == {
        "x", "1", "tanh(x)", "tanh(1)", "tanh(tanh(x))", "tanh(tanh(1))",
        "x + x", "x + 1", "1 + 1",
    }  # fmt: skip


def test_the_search_says_what_it_has_proved_once_it_is_done():
    space = RuleSpace(("w", "pre", "post"), POLYNOMIAL, constants=(1.0,))
    search = SEARCHES.get("enumerate")(space, max_size=3, population=100)

    rules = search.ask()

    assert len(rules) == 33
    assert not search.is_done
    search.tell(rules, ranked(rules))
    assert search.is_done
    assert "up to 3 nodes" in search.summary()
    assert "(33)" in search.summary()


TERMINALS = ("w", "pre", "post")
REFLECTIONS = (("w", "post"), ("pre", "post"))
UNITS = {"pre": (1,), "post": (1,)}


def behaviours(functions):
    return set(fingerprints([Rule(functions.expression(k)) for k in range(functions.n_functions)]))


def value(expression, values):
    """Return the value of an expression in prefix order at one point."""
    stack = []
    for node in reversed(expression.nodes):
        if not isinstance(node, str):
            stack.append(float(node))
        elif node not in PRIMITIVES:
            stack.append(values[node])
        elif PRIMITIVES[node].arity == 1:
            stack.append(float(PRIMITIVES[node].numpy(np.float64(stack.pop()))))
        else:
            left, right = stack.pop(), stack.pop()
            stack.append(float(PRIMITIVES[node].numpy(np.float64(left), np.float64(right))))
    return stack[0]


def test_rules_that_keep_reflections_are_those_that_turn_with_the_weight():
    all_functions = ("add", "sub", "mul", "div", "max", "tanh", "abs", "exp", "sqrt", "log")
    gradings = Gradings(TERMINALS, {}, REFLECTIONS)
    functions = Enumeration((*TERMINALS, 1.0), all_functions, gradings)
    for _ in range(4):
        functions.extend()
    point = {"w": 0.3, "pre": -0.7, "post": 1.1}

    assert functions.n_functions > 50
    for number in range(functions.n_functions):
        rule = functions.expression(number)
        for group in REFLECTIONS:
            turned = {name: -v if name in group else v for name, v in point.items()}
            expected = value(rule, point) * (-1 if "w" in group else 1)
            assert value(rule, turned) == pytest.approx(expected, abs=1e-12), str(rule)


def test_rules_of_consistent_units_scale_as_one_power():
    functions = built(7, functions=("add", "sub", "mul"))
    consistent = Enumeration((*TERMINALS, 1.0), POLYNOMIAL, Gradings(TERMINALS, UNITS, ()))
    for _ in range(7):
        consistent.extend()
    point = {"w": 0.3, "pre": -0.7, "post": 1.1}
    doubled = {"w": 0.3, "pre": -1.4, "post": 2.2}

    assert behaviours(consistent) < behaviours(functions)
    for number in range(consistent.n_functions):
        rule = consistent.expression(number)
        one, two = value(rule, point), value(rule, doubled)
        ratio = np.log2(two / one) if one else 0.0
        assert ratio == pytest.approx(round(ratio), abs=1e-9), str(rule)


def test_pruned_enumeration_finds_each_sum_of_products_that_keeps_the_symmetry():
    # All of one or two products of up to four factors, which have eleven nodes at most.
    pruned = Enumeration((*TERMINALS, 1.0), POLYNOMIAL, Gradings(TERMINALS, {}, REFLECTIONS))
    for _ in range(11):
        pruned.extend()
    found = behaviours(pruned)
    products = [
        "*".join(factors)
        for n in (1, 2, 3)
        for factors in itertools.combinations_with_replacement(TERMINALS, n)
        if factors.count("w") % 2 + factors.count("post") % 2 == 1
        and (factors.count("pre") + factors.count("post")) % 2 == 0
    ]
    sums = [f"{a} {sign} {b}" for a, b in itertools.permutations(products, 2) for sign in "+-"]

    assert len(products) > 4
    assert set(fingerprints([Rule(text) for text in (*products, *sums)])) <= found


def test_units_of_unknown_terminals_or_of_other_lengths_are_refused():
    with pytest.raises(InputError, match="terminal"):
        Gradings(TERMINALS, {"pst": (1,)}, ())
    with pytest.raises(InputError, match="same number"):
        Gradings(TERMINALS, {"pre": (1,), "post": (1, 0)}, ())


def test_the_pruned_search_says_which_rules_it_means():
    space = RuleSpace(TERMINALS, POLYNOMIAL, constants=(1.0,))
    search = SEARCHES.get("enumerate")(
        space, max_size=5, units={"pre": [1], "post": [1]}, reflections=[["w", "post"]]
    )
    while not search.is_done:
        rules = search.ask()
        search.tell(rules, ranked(rules))

    assert "equal units" in search.summary()
    assert "post, w" in search.summary()


def test_the_beam_goes_on_from_the_best_of_each_size():
    space = RuleSpace(TERMINALS, POLYNOMIAL, constants=(1.0,))
    search = SEARCHES.get("enumerate-beam")(space, enumerated=3, best=1, children=0, width=1)
    assert search.scores_scales
    rules = search.ask()
    # The worst rule of one node beats all of three: by fitness alone pre*post would be lost.
    fitness = [float(rule.size == 1) + (str(rule) in ("w", "pre*post")) / 2 for rule in rules]
    search.tell(rules, evaluation(np.array(fitness)[:, None]))

    expected = {
        str(near)
        for text in ("w", "pre*post")
        for near in space.neighbours(space.decode_text(text))
    }
    asked = {str(rule) for rule in search.ask()}

    assert asked <= expected
    assert any(rule.count("post") == 2 for rule in asked)
