"""The enumeration finds each function once: counts known from other programs and by hand."""

from __future__ import annotations

import itertools

import numpy as np
from search_problems import ranked

from evosearch.search.base import SEARCHES
from evosearch.search.enumeration import Enumeration
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
