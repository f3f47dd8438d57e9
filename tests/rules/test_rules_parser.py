"""Rule text: what is printed reads back, and what is wrong is said in one line."""

from __future__ import annotations

import json
import re
import time

import numpy as np
import pytest
from rules_random import IS_FULL, chain, fuzz_seed, random_expression

from evosearch.errors import InputError
from evosearch.rules.expression import Expression
from evosearch.rules.formats import export_rule
from evosearch.rules.parser import MAX_NODES, parse, parse_expression
from evosearch.rules.primitives import PRIMITIVES
from evosearch.rules.rule import Rule

N_FUZZ = 100_000 if IS_FULL else 5_000
TOKENS = [
    *PRIMITIVES, "w", "pre", "post", "_x", "dw", "theta", "+", "-", "*", "/", "(", ")", ",", "**",
    "**2", ";", "=", "0", "1.5", "2", ".5", "1e5", "1e999", "1.e-3", "3e", " ", "\n", "\t", ".",
    "π", "\u2003", "\x00", "#", "'", '"', "\\", "__import__", "lambda", "{", "%", "1_000", "0x1",
    "--", "()", "nan", "inf", "w w",
]  # fmt: skip


def test_printed_expressions_read_back_to_the_same_nodes() -> None:
    rng = np.random.default_rng(fuzz_seed())
    for trial in range(4_000):
        expression = random_expression(rng, 1 + trial % 60)
        assert parse_expression(str(expression)) == expression, expression.nodes


def test_printed_rules_of_several_parts_read_back() -> None:
    rng = np.random.default_rng(fuzz_seed())
    for _ in range(300):
        parts = {"dw" if rng.random() < 0.5 else "w": random_expression(rng, 9)}
        parts |= {name: random_expression(rng, 5) for name in ("elig", "theta")[: rng.integers(3)]}
        rule = Rule(parts)
        assert Rule(rule.text) == rule
        assert hash(Rule(rule.text)) == hash(rule)


def test_random_doubles_read_back_to_the_bit() -> None:
    rng = np.random.default_rng(fuzz_seed())
    values = rng.integers(0, 2**64, 5_000, dtype=np.uint64).view(np.float64)
    for value in values[np.isfinite(values)].tolist():
        for expression in (Expression([value]), Expression(["sub", "w", value])):
            assert parse_expression(str(expression)) == expression


@pytest.mark.parametrize(
    ("text", "nodes"),
    [
        ("-2", [-2.0]),
        ("-0", [-0.0]),
        ("- 2", [-2.0]),
        ("-(2)", ["neg", 2.0]),
        ("--2", ["neg", -2.0]),
        ("-w*pre", ["mul", "neg", "w", "pre"]),
        ("-2**2", ["neg", "square", 2.0]),
        ("w**2", ["square", "w"]),
        ("w**3", ["mul", "w", "square", "w"]),
        ("w**4", ["square", "square", "w"]),
        ("w - pre - post", ["sub", "sub", "w", "pre", "post"]),
        ("w/pre*post", ["mul", "div", "w", "pre", "post"]),
        ("max(w, -pre)", ["max", "w", "neg", "pre"]),
        ("w\n+\tpre", ["add", "w", "pre"]),
    ],
)
def test_text_has_the_nodes(text: str, nodes: list[str | float]) -> None:
    assert parse_expression(text) == Expression(nodes)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "the text ends"),
        ("w +", "the text ends"),
        ("(w", "bracket open"),
        ("w)", "no bracket open"),
        ("w w", "after a value"),
        ("tanh", "no operands"),
        ("tanh(w, w)", "exactly 1"),
        ("max(w)", "exactly 2"),
        ("tahn(w)", "Did you mean 'tanh'"),
        ("w**5", "found a power"),
        ("w**2**3", "power of a power"),
        ("1e999", "below 1.8e308"),
        ("w; w = 2", "given twice"),
        ("elig = 2", "exactly one of the parts"),
        ("tanh = 2; w", "is a function"),
        ("w = pre = 2", "found '='"),
        ("w.real", "found '.'"),
        ("w[0]", "found '['"),
        ("'a'", "found"),
    ],
)
def test_wrong_text_is_refused_with_its_reason(text: str, message: str) -> None:
    with pytest.raises(InputError, match=re.escape(message)) as caught:
        parse(text)
    _check_message(caught.value)


def test_names_beyond_the_allowed_are_refused() -> None:
    with pytest.raises(InputError, match="Did you mean 'post'"):
        parse("pots", terminals=["w", "post"])
    with pytest.raises(InputError, match="unknown function 'exp'"):
        parse("exp(w)", functions=["add"])
    assert parse("-w", functions=["sub"]).main.nodes == ("neg", "w")


def test_random_tokens_raise_input_errors_only() -> None:
    rng = np.random.default_rng(fuzz_seed())
    n_accepted = 0
    for _ in range(N_FUZZ):
        words = rng.integers(len(TOKENS), size=rng.integers(1, 14))
        separator = "" if rng.random() < 0.5 else " "
        n_accepted += _parses(separator.join(TOKENS[word] for word in words))
    assert n_accepted > 0


def test_mutated_rules_raise_input_errors_only() -> None:
    rng = np.random.default_rng(fuzz_seed())
    n_accepted = 0
    for _ in range(N_FUZZ):
        text = str(random_expression(rng, int(rng.integers(1, 20))))
        for _ in range(rng.integers(1, 4)):
            at = int(rng.integers(len(text) + 1))
            end = min(len(text), at + int(rng.integers(4)))
            text = text[:at] + TOKENS[rng.integers(len(TOKENS))] * (rng.random() < 0.7) + text[end:]
        n_accepted += _parses(text)
    assert 0 < n_accepted < N_FUZZ


def _parses(text: str) -> bool:
    """Whether the text is a rule; if so it must read back, if not the message must be good."""
    try:
        rule = parse(text)
    except InputError as error:
        _check_message(error)
        return False
    assert parse(rule.text) == rule, text
    return True


def _check_message(error: InputError) -> None:
    message = str(error)
    assert "\n" not in message
    assert 0 < len(message) < 400, message


@pytest.mark.parametrize(
    "text",
    [
        "(" * 100_000,
        "-" * 100_000,
        "w" * 1_000_000,
        f"tanh{'h' * 100_000}(w)",
        f"{'w' * 100_000} = 1; {'w' * 100_000} = 1",
        "1" * 100_000,
        "w**3" * 1_000,
        "=" * 10_000,
        ";" * 10_000,
        "w" + "+w" * MAX_NODES,
    ],
    ids=lambda text: text[:12],
)
def test_long_texts_are_read_or_refused_in_one_line(text: str) -> None:
    _parses(text)


@pytest.mark.parametrize(
    "expression",
    [
        chain("tanh", 10_000),
        chain("neg", 99_999),
        Expression(["add"] * 49_999 + ["w"] * 50_000),
        Expression([*(["sub", "w"] * 49_999), "w"]),
        Expression([*(["mul", -0.5] * 49_999), "w"]),
    ],
    ids=["depth 10,000", "negations", "left", "right", "constants"],
)
def test_large_expressions_pass_everywhere(expression: Expression) -> None:
    start = time.perf_counter()
    rule = Rule(expression)
    again = Rule(rule.text)
    assert again == rule
    assert hash(again) == hash(rule)
    assert again.main.depth == expression.depth
    saved = json.loads(export_rule(rule, "json"))
    assert Rule(saved["text"]) == rule
    with np.errstate(all="ignore"):
        assert np.shape(rule(w=np.ones(2))) == (2,)
    assert time.perf_counter() - start < 30
