"""Simplification: shorter, with the same values, in the given time."""

from __future__ import annotations

import time

import numpy as np
import pytest
from rules_random import MILD, chain, fuzz_seed, random_expression, random_values

from evosearch.rules.expression import Expression
from evosearch.rules.rule import Rule
from evosearch.rules.simplify import simplify, simplify_many

LONG_S = 120.0
SHORTER = {
    "pre*post - post*post*w*1": "post*(pre - post*w)",
    "0.1*w + 0.2*w - 0.3*w": "0",
    "1.0*pre + 0": "pre",
    "pre/(1 + square(w))*(1 + square(w))": "pre",
    "(pre + post)*(pre + post) - square(pre) - 2*pre*post": "square(post)",
    "w - (w - (pre - (pre - mod)))": "mod",
    "max(pre, max(post, pre))": "max(pre, post)",
    "tanh(-pre)*sign(2)": "-tanh(pre)",
    "sqrt(square(pre))": "abs(pre)",
    "log(pre) + log(pre)": "2*log(pre)",
    "1/(1/pre)": "pre",
    "pre*pre/pre": "pre",
    "softplus(pre) - softplus(pre) + exp(0)": "1",
    "w = w + 0*pre": "w = w",
    "dw = pre*1; elig = elig*1 + (pre - pre)": "dw = pre; elig = elig",
}
KEPT = [
    "pre/pre",  # 0 at 0
    "w",
    "0",
    "post*(pre - post*w)",
    "0.7123456789012345*w",
    "pow(pre, 2)",
    "exp(exp(exp(exp(9))))*w",
    "square(abs(w) + 1e-09)",
]


@pytest.fixture(scope="module")
def simplified() -> dict[str, str]:
    texts = [*SHORTER, *KEPT]
    rules = simplify_many([Rule(text) for text in texts], timeout_s=LONG_S)
    return {text: rule.text for text, rule in zip(texts, rules, strict=True)}


@pytest.mark.parametrize("text", SHORTER)
def test_rules_get_shorter(text: str, simplified: dict[str, str]) -> None:
    assert simplified[text] == SHORTER[text]


@pytest.mark.parametrize("text", KEPT)
def test_rules_without_a_shorter_spelling_stay(text: str, simplified: dict[str, str]) -> None:
    assert simplified[text] == text


def test_random_rules_keep_their_values() -> None:
    rng = np.random.default_rng(fuzz_seed())
    names = ("w", "pre", "post")
    smooth = ("add", "sub", "mul", "div", "neg", "square", "abs", "tanh", "sqrt", "max", "sigmoid")
    rules = [
        Rule(random_expression(rng, 4 + k % 16, functions=smooth, terminals=names, constants=MILD))
        for k in range(60)
    ]
    shorter = simplify_many(rules, timeout_s=10.0)
    values = random_values(rng, names, 400)
    for before, after in zip(rules, shorter, strict=True):
        assert after.size <= before.size
        assert after.terminals <= before.terminals
        expected, found = before(**values), after(**values)
        scale = np.maximum(_largest(before.main, values), 1e-300)
        assert (np.abs(found - expected) <= 1e-8 * scale).all(), (before.text, after.text)
    assert sum(after.size < before.size for before, after in zip(rules, shorter, strict=True)) > 10


def test_time_is_kept_and_the_rule_comes_back() -> None:
    rule = Rule("1*" + "square(" * 6 + "w + pre + post + mod + a + b + c" + ")" * 6)
    start = time.perf_counter()
    assert simplify(rule, timeout_s=0.2) == rule
    assert time.perf_counter() - start < 5


def test_a_stuck_rule_leaves_time_for_the_others() -> None:
    stuck = Rule("square(" * 6 + "w + pre + post + mod + a + b + c" + ")" * 6)
    _, quick = simplify_many([stuck, Rule("pre*post*1")], timeout_s=4.0)
    assert quick.text == "pre*post"


def test_large_rules_and_odd_constants_come_back() -> None:
    rules = [Rule(chain("neg", 100_000)), Rule(Expression(["mul", "mul", "w", 1e300, 1e300]))]
    assert simplify_many(rules, timeout_s=LONG_S) == rules
    assert simplify_many([]) == []


def _largest(expression: Expression, values: dict[str, np.ndarray]) -> np.ndarray:
    """Return the largest size of any value on the way to the result."""
    ends = expression.subtree_ends()
    sizes = [np.zeros(400)]
    for position, end in enumerate(ends):
        part = Rule(Expression(expression.nodes[position:end]))
        sizes.append(np.abs(np.broadcast_to(part(**values), 400)))
    return np.max(sizes, axis=0)
