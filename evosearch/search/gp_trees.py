"""Between our expressions and DEAP's trees, and DEAP's random numbers from a generator of ours.

Both are prefix sequences, so a tree is made node by node; nothing is ever compiled or parsed.
"""

from __future__ import annotations

import random
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from evosearch.rules.expression import Expression, Node

if TYPE_CHECKING:
    from deap.gp import PrimitiveTree


@contextmanager
def lent_random(rng: np.random.Generator) -> Generator[None]:
    """Seed Python's global ``random``, which DEAP uses, from ``rng``; put its state back after."""
    state = random.getstate()
    random.seed(int(rng.integers(2**63)))
    try:
        yield
    finally:
        random.setstate(state)


def tree_of(nodes: Sequence[Node]) -> PrimitiveTree:
    """Return the nodes as DEAP's tree.

    Example:
        >>> str(tree_of(("mul", "pre", 0.5)))
        'mul(pre, 0.5)'
    """
    from deap.gp import PrimitiveTree

    return PrimitiveTree([_deap_node(node) for node in nodes])


def expression_of(tree: PrimitiveTree) -> Expression:
    """Return DEAP's tree as an expression; the inverse of ``tree_of``."""
    return Expression.made_of(tuple(node.name if node.arity else node.value for node in tree))


def _deap_node(node: Node) -> Any:
    from deap.gp import Terminal

    return _named_node(node) if isinstance(node, str) else Terminal(node, False, object)


@lru_cache(maxsize=1024)
def _named_node(name: str) -> Any:
    """Return the node of a name, which all trees share, as those of DEAP's primitive sets do."""
    from deap.gp import Primitive, Terminal

    arity = Expression.arity(name)
    return Primitive(name, [object] * arity, object) if arity else Terminal(name, True, object)
