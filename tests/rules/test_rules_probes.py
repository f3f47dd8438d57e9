"""Compiled probes against the same values in Python's integers, NumPy and hashlib."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
from rules_random import MILD, POLYNOMIAL, fuzz_seed, random_expression

from evosearch.rules.expression import Expression
from evosearch.rules.fingerprint import (
    MODULUS,
    ModularAlgebra,
    NumericAlgebra,
    behaviours,
    fingerprint,
    fingerprints,
)
from evosearch.rules.primitives import PRIMITIVES
from evosearch.rules.probes import Encoded, digest_text
from evosearch.rules.rule import Rule, evaluate
from evosearch.search.semantics import probe_values, semantic_key, semantic_keys

ARITHMETIC = ("add", "sub", "mul", "div", "max", "min", "neg", "square", "abs", "sign", "sqrt")
"""Functions that IEEE 754 specifies to the bit."""
HARD = (0.0, -0.0, 5e-324, -1.7e-310, 1e300, -(2.0**61), 0.1, 1 / 3, -7.0)


def residues(expression: Expression) -> tuple[int, int]:
    algebra, stack = ModularAlgebra(), []
    for node in reversed(expression.nodes):
        if node not in PRIMITIVES:
            stack.append([int(x) for x in algebra.leaf(node)])
            continue
        operands = [stack.pop() for _ in range(PRIMITIVES[str(node)].arity)]
        function = {
            "add": lambda a, b: a + b, "sub": lambda a, b: a - b, "mul": lambda a, b: a * b,
            "neg": lambda a: -a, "square": lambda a: a * a,
        }[str(node)]  # fmt: skip
        stack.append([function(*at) % MODULUS for at in zip(*operands, strict=True)])
    first, second = stack.pop()
    return first, second


def rounded_words(expression: Expression) -> tuple[int, int]:
    algebra = NumericAlgebra()
    probes = {name: algebra.leaf(name) for name in expression.terminals}
    values = np.broadcast_to(np.asarray(evaluate(expression, probes), np.float64), 24)
    first, second = algebra.keys(values[:, None])[:, 0].tolist()
    return first, second


def hashed(expression: Expression) -> int:
    values = probe_values(expression)
    with np.errstate(all="ignore"):
        largest = np.max(np.abs(values), initial=0.0, where=np.isfinite(values))
        mantissa, exponent = np.frexp(np.where(np.abs(values) < 1e-10 * largest, 0.0, values))
        rounded = np.ldexp(np.rint(mantissa * 2.0**30), exponent) + 0.0
    rounded[np.isnan(rounded)] = np.array(0xFFF8 << 48, np.uint64).view(np.float64)
    digest = hashlib.blake2b(rounded.tobytes(), digest_size=8).digest()
    return int.from_bytes(digest, "little")


def test_residues_are_those_of_whole_numbers() -> None:
    rng = np.random.default_rng(fuzz_seed())
    expressions = [
        random_expression(rng, 1 + trial % 40, functions=POLYNOMIAL, constants=HARD)
        for trial in range(400)
    ]
    encoded = Encoded(expressions)
    assert encoded.are_exact().all()
    found = encoded.residues(np.arange(len(encoded))).tolist()
    assert [tuple(pair) for pair in found] == [residues(e) for e in expressions]


def test_rounded_words_and_hashes_are_those_of_numpy_to_the_bit_for_arithmetic() -> None:
    rng = np.random.default_rng(fuzz_seed())
    expressions = [
        random_expression(rng, 1 + trial % 30, functions=ARITHMETIC, constants=HARD)
        for trial in range(400)
    ]
    encoded = Encoded(expressions)
    found = encoded.rounded_words(np.arange(len(encoded))).tolist()
    assert [tuple(pair) for pair in found] == [rounded_words(e) for e in expressions]
    assert semantic_keys(expressions) == [hashed(e) for e in expressions]


def test_rounded_words_and_hashes_with_functions_are_nearly_always_those_of_numpy() -> None:
    rng = np.random.default_rng(fuzz_seed())
    expressions = [
        random_expression(rng, 3 + trial % 12, functions=tuple(PRIMITIVES), constants=MILD)
        for trial in range(400)
    ]
    encoded = Encoded(expressions)
    found = encoded.rounded_words(np.arange(len(encoded))).tolist()
    # Where roundoff between two libraries falls on a border, words differ.
    truth = [rounded_words(e) for e in expressions]
    assert sum(tuple(a) == b for a, b in zip(found, truth, strict=True)) >= 390
    keys = semantic_keys(expressions)
    assert sum(a == hashed(e) for a, e in zip(keys, expressions, strict=True)) >= 390


def test_values_that_are_not_finite_have_keys_of_their_own() -> None:
    def rule(*nodes: str | float) -> Expression:
        return Expression(nodes)

    huge = ("exp", 1e3)
    rules = [
        rule(*huge), rule("neg", *huge), rule("sub", *huge, *huge), rule(0.0), rule(1.0),
        rule("add", "w", "sub", *huge, *huge), rule(5e-324), rule("mul", 1e-170, 1e-150),
    ]  # fmt: skip
    keys = semantic_keys(rules)
    # Whatever is added to what is no number is none.
    assert keys[2] == keys[5]
    assert len(set(keys)) == len(rules) - 1
    assert keys == [hashed(e) for e in rules]


@pytest.mark.parametrize("head", ["", "exact\ndw ", "r" * 87])
def test_digests_are_those_of_hashlib(head: str) -> None:
    rng = np.random.default_rng(fuzz_seed())
    words = rng.integers(0, 2**64, (50, 2), dtype=np.uint64)
    words[:5] = [[0, 0], [9, 10], [99, 2**64 - 1], [2**64 - 1, 2**64 - 1], [10**19, 10**19 - 1]]
    texts = [f"{head}{first} {second}".encode() for first, second in words.tolist()]
    truth = [hashlib.blake2b(text, digest_size=16).hexdigest() for text in texts]
    assert digest_text(words, head) == truth


def test_many_at_once_are_the_same_as_one_by_one() -> None:
    rng = np.random.default_rng(fuzz_seed())
    texts = ["w", "tanh(w)", "dw = w*pre; elig = pre; theta = exp(w)", "w = pre*pre", "0.25*pre",
             "dw = w*pre; elig = pre; theta = w + w", "w/pre"]  # fmt: skip
    rules = [Rule(text) for text in texts] + [
        Rule(random_expression(rng, 3 + k % 150, functions=tuple(PRIMITIVES), constants=MILD))
        for k in range(60)
    ]
    assert fingerprints(rules) == [fingerprint(rule) for rule in rules]
    assert behaviours(rules) == [behaviours([rule])[0] for rule in rules]
    expressions = [rule.main for rule in rules]
    assert semantic_keys(expressions) == [semantic_key(e) for e in expressions]
    assert fingerprints([]) == [] == semantic_keys([])


def test_parts_are_told_apart_and_exact_only_together() -> None:
    found = behaviours([Rule("dw = w; elig = pre"), Rule("dw = w; elig = tanh(pre)"), Rule("w")])
    assert [is_exact for is_exact, _, _ in found] == [True, False, True]
    assert found[0][1] == ("dw", "elig")
    assert found[0][2][:16] == found[2][2]
    lines = ["exact"] + [
        f"{name} {first} {second}"
        for name, (first, second) in zip(
            found[0][1], np.frombuffer(found[0][2], np.uint64).reshape(-1, 2).tolist(), strict=True
        )
    ]
    digest = hashlib.blake2b("\n".join(lines).encode(), digest_size=16).hexdigest()
    assert fingerprint(Rule("dw = w; elig = pre")) == digest


def test_more_terminals_than_are_kept_at_once_change_nothing() -> None:
    few = [Expression(("mul", "w", f"x{k}")) for k in range(20)]
    before = semantic_keys(few)
    many = [Expression(("add", f"y{k}", f"z{k}")) for k in range(2100)]
    assert len(set(semantic_keys(many))) == len(many)
    assert semantic_keys(few) == before
