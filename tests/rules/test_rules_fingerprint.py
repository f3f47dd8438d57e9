"""Fingerprints: equal for rules that behave alike, different for others."""

from __future__ import annotations

import time

import numpy as np
import pytest
from rules_random import MILD, POLYNOMIAL, TERMINALS, chain, fuzz_seed, random_expression

from evosearch.engine.program import Level, Terminal
from evosearch.errors import InputError
from evosearch.rules.expression import Expression
from evosearch.rules.fingerprint import MODULUS, ModularAlgebra, NumericAlgebra, fingerprint
from evosearch.rules.polynomial import form_of, polynomial
from evosearch.rules.primitives import PRIMITIVES
from evosearch.rules.rule import Rule


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ("post*(pre - post*w)", "pre*post - square(post)*w"),
        ("w - w", "0"),
        ("0", "-0.0"),
        ("0.5*w + 0.25*w", "0.75*w"),
        ("(w + pre)**4", "((w + pre)*(pre + w))**2"),
        ("1e300*w*w", "w*(1e300*w)"),
        ("tanh(pre + post)", "tanh(post + pre)"),
        ("tanh(-w)", "-tanh(w)"),
        ("max(w, pre)", "-min(-w, -pre)"),
        ("w/0", "exp(0) - 1"),
        ("dw = w*pre; elig = pre; theta = w + w", "dw = pre*w; theta = 2*w; elig = 1*pre"),
    ],
)
def test_rules_that_behave_alike_share_a_fingerprint(a: str, b: str) -> None:
    assert fingerprint(Rule(a)) == fingerprint(Rule(b))


def test_rules_that_differ_have_their_own_fingerprints() -> None:
    texts = [
        "0", "1", "-1", "w", "pre", "post", "w*pre", "w + pre", "w - pre", "pre - w", "square(w)",
        "w = w", "w = pre", "w = 0", "dw = w; elig = w", "dw = w; elig = pre", "dw = w; theta = w",
        "dw = pre; elig = w", "0.1*w + 0.2*w", "0.3*w", "(1 + 1e-15)*w", "1e-300*w", "tanh(w)",
        "exp(exp(exp(exp(9))))*w", "exp(w)", "sigmoid(w)", "pre*tanh(w)", "abs(w)", "sign(w)",
        "exp(1000)", "-exp(1000)", "exp(1000) - exp(1000)", "post*(pre - post*w)",
        "post*(pre - w)",
    ]  # fmt: skip
    digests = {fingerprint(Rule(text)) for text in texts}
    assert len(digests) == len(texts)


def test_digest_is_the_same_in_every_process() -> None:
    assert fingerprint(Rule("post*(pre - post*w)")) == "b3ed1a4564c21c36e3a856ba0369757f"


def test_rewritten_polynomials_keep_their_fingerprint() -> None:
    rng = np.random.default_rng(fuzz_seed())
    for trial in range(500):
        expression = random_expression(rng, 3 + trial % 40, functions=POLYNOMIAL)
        assert fingerprint(Rule(expression)) == fingerprint(Rule(_rewritten(rng, expression)))


def test_rewritten_functions_keep_their_fingerprint() -> None:
    rng = np.random.default_rng(fuzz_seed())
    functions = ("add", "sub", "mul", "neg", "tanh", "sigmoid", "max", "min", "abs")
    n_equal = 0
    for trial in range(200):
        expression = random_expression(rng, 3 + trial % 12, functions=functions, constants=MILD)
        n_equal += fingerprint(Rule(expression)) == fingerprint(Rule(_commuted(expression)))
    # Rounding on a border may tell a spelling apart now and then.
    assert n_equal >= 198


def test_one_more_term_changes_the_fingerprint() -> None:
    rng = np.random.default_rng(fuzz_seed())
    for trial in range(300):
        expression = random_expression(rng, 3 + trial % 40, functions=POLYNOMIAL)
        more = Expression(["add", *expression.nodes, 2.0**-40])
        assert fingerprint(Rule(expression)) != fingerprint(Rule(more))


def test_equal_polynomials_and_equal_fingerprints_coincide() -> None:
    rng = np.random.default_rng(fuzz_seed())
    by_terms: dict[frozenset[object], set[str]] = {}
    for _ in range(1_500):
        expression = random_expression(
            rng, 7, functions=("add", "sub", "mul"), terminals=("w", "pre"), constants=MILD
        )
        terms = polynomial(expression)
        assert terms is not None
        by_terms.setdefault(frozenset(terms.items()), set()).add(fingerprint(Rule(expression)))
    assert all(len(digests) == 1 for digests in by_terms.values())
    assert len(set().union(*by_terms.values())) == len(by_terms) > 100


def test_algebra_of_arrays_agrees_with_whole_numbers() -> None:
    rng = np.random.default_rng(fuzz_seed())
    algebra = ModularAlgebra()
    a, b = (rng.integers(0, MODULUS, (2, 500)).astype(np.uint64) for _ in range(2))
    edges = np.array([0, 1, MODULUS - 1, MODULUS - 2, 2**31 - 1, 2**31, 2**60], dtype=np.uint64)
    a[0, :7], b[0, :7], a[1, :7], b[1, :7] = edges, edges, edges, edges[::-1]
    expected = {
        "add": lambda x, y: x + y, "sub": lambda x, y: x - y, "mul": lambda x, y: x * y,
        "neg": lambda x, _: -x, "square": lambda x, _: x * x,
    }  # fmt: skip
    for name, function in expected.items():
        truth = np.vectorize(lambda x, y, f=function: f(int(x), int(y)) % MODULUS)(a, b)
        assert (algebra.apply(name, a, b) == truth).all(), name
    assert int(algebra.leaf(0.75)[0]) * 4 % MODULUS == 3


def test_numeric_keys_tell_special_values_apart() -> None:
    algebra = NumericAlgebra()
    columns = [0.0, 1.0, 2.0, 3.0, -1.0, np.inf, -np.inf, np.nan, 1e300, 1 + 1e-6]
    keys = algebra.keys(np.tile(np.array(columns), (24, 1)))
    assert len({tuple(key) for key in keys.T.tolist()}) == len(columns)
    same = algebra.keys(np.tile(np.array([1.0, 1 - 1e-14, 1 + 1e-14, 0.0, 1e-30]), (24, 1)))
    assert len({tuple(key) for key in same.T.tolist()}) == 2


def test_terminals_are_checked_and_never_change_the_digest() -> None:
    rule = Rule("tanh(w)*pre")
    offered = [Terminal("w", Level.SYNAPSE, low=0.0, high=9.0), Terminal("pre", Level.PRE)]
    assert fingerprint(rule, offered) == fingerprint(rule, ["pre", "w", "x"]) == fingerprint(rule)
    with pytest.raises(InputError, match="unknown terminal 'w'"):
        fingerprint(rule, ["pre"])


def test_every_primitive_has_a_fingerprint_of_its_own() -> None:
    rules = [Rule(Expression([name, *TERMINALS[: p.arity]])) for name, p in PRIMITIVES.items()]
    assert len({fingerprint(rule) for rule in rules}) == len(PRIMITIVES)


@pytest.mark.parametrize("name", ["square", "neg", "tanh"])
def test_large_rules_take_seconds(name: str) -> None:
    start = time.perf_counter()
    assert len(fingerprint(Rule(chain(name, 100_000)))) == 32
    assert time.perf_counter() - start < 20


def test_form_leaves_out_constants_and_order() -> None:
    assert form_of(Rule("0.3*post*(pre - 2*post*w)")) == "+ post·pre − post²·w"
    assert form_of(Rule("w - w")) == "0"
    assert form_of(Rule("dw = w; elig = pre*pre - 1")) == "dw: + w; elig: − 1 + pre²"
    assert form_of(Rule("tanh(w)")) is None
    assert polynomial(chain("square", 50_000)) is None


def _commuted(expression: Expression) -> Expression:
    """Swap the operands of every sum and product."""
    stack: list[list[str | float]] = []
    for node in reversed(expression.nodes):
        operands = [stack.pop() for _ in range(Expression.arity(node))]
        if node in ("add", "mul"):
            operands.reverse()
        stack.append([node, *(inner for operand in operands for inner in operand)])
    return Expression(stack.pop())


def _rewritten(rng: np.random.Generator, expression: Expression) -> Expression:
    """Rewrite at random places by identities of polynomials."""
    stack: list[list[str | float]] = []
    for node in reversed(expression.nodes):
        operands = [stack.pop() for _ in range(Expression.arity(node))]
        made = [node, *(inner for operand in operands for inner in operand)]
        choice = rng.integers(4)
        if node == "sub" and choice:
            made = ["add", *operands[0], "neg", *operands[1]]
        elif node == "square" and choice:
            made = ["mul", *operands[0], *operands[0]] if len(operands[0]) < 40 else made
        elif node in ("add", "mul") and choice:
            made = [node, *operands[1], *operands[0]]
        elif not operands and choice == 0:
            made = ["sub", "add", *made, 0.1, 0.1]
        stack.append(made)
    return Expression(stack.pop())
