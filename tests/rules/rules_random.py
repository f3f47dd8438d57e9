"""Random expressions, rules and texts for the tests of rules."""

from __future__ import annotations

import datetime as dt
import os
from collections.abc import Sequence

import numpy as np

from evosearch.rules.expression import Expression, Node
from evosearch.rules.primitives import ARITY, PRIMITIVES

TERMINALS = ("w", "pre", "post", "target", "mod", "mean_post")
POLYNOMIAL = ("add", "sub", "mul", "neg", "square")
CONSTANTS = (0.0, -0.0, 1.0, -1.0, 2.0, 0.5, -0.25, 0.1, 1e-5, -3e22, 1e300, 5e-324, 1 / 3)
MILD = (0.0, 1.0, -1.0, 2.0, 0.5, -0.25, 3.0)
IS_FULL = os.environ.get("EVOSEARCH_FULL") == "1"


def fuzz_seed() -> int:
    """Return the seed of random tests: from the environment, else new every day; printed."""
    seed = int(os.environ.get("EVOSEARCH_TEST_SEED", dt.datetime.now(dt.UTC).toordinal()))
    print(f"EVOSEARCH_TEST_SEED={seed}")
    return seed


def random_expression(
    rng: np.random.Generator,
    size: int,
    *,
    functions: Sequence[str] = tuple(PRIMITIVES),
    terminals: Sequence[str] = TERMINALS,
    constants: Sequence[float] = CONSTANTS,
) -> Expression:
    """Return a random expression of about ``size`` nodes and any shape."""
    nodes: list[Node] = []
    missing = 1
    while missing:
        if len(nodes) + missing < size and (missing == 1 or rng.random() < 0.6):
            nodes.append(functions[rng.integers(len(functions))])
            missing += ARITY[str(nodes[-1])] - 1
        else:
            is_terminal = rng.random() < 0.7
            leaves: Sequence[Node] = terminals if is_terminal else constants
            nodes.append(leaves[rng.integers(len(leaves))])
            missing -= 1
    return Expression(nodes)


def random_values(
    rng: np.random.Generator, names: Sequence[str], n: int = 40
) -> dict[str, np.ndarray]:
    """Return values with many zeros, ones and ties."""
    special = np.array([-2.0, -1.0, -0.5, 0.0, 0.0, 0.5, 1.0, 1.0, 2.0])
    return {
        name: np.where(rng.random(n) < 0.5, rng.choice(special, n), 3 * rng.standard_normal(n))
        for name in names
    }


def chain(name: str, n: int) -> Expression:
    """Return ``n`` nested unary primitives."""
    return Expression([name] * n + ["w"])
