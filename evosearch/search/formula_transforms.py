"""Functions of the target that may have a simpler formula than the target itself.

Source: S. Udrescu, M. Tegmark, "AI Feynman: A physics-inspired method for symbolic regression",
Science Advances 6, 2020, whose transformations of the dependent variable these are some of.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from evosearch.outcome import FloatArray
from evosearch.rules.expression import Node

# Beyond it the inverse is of the least values alone.
_WIDEST = 1e6


@dataclass(frozen=True)
class Transform:
    """A function of the target, and how to write the target by a formula of it.

    Attributes:
        name: e.g. ``"inverse"``.
        functions: primitives that ``undo`` writes.
        apply: to a positive target (N,).
        undo: nodes of a formula of the function, to those of the positive target.
    """

    name: str
    functions: tuple[str, ...]
    apply: Callable[[FloatArray], FloatArray]
    undo: Callable[[Sequence[Node]], list[Node]]

    @property
    def n_nodes(self) -> int:
        """Nodes that ``undo`` adds to a formula."""
        return len(self.undo([]))


TRANSFORMS = (
    Transform("inverse", ("div",), np.reciprocal, lambda nodes: ["div", 1.0, *nodes]),
    Transform("log", ("exp",), np.log, lambda nodes: ["exp", *nodes]),
    Transform("square", ("sqrt",), np.square, lambda nodes: ["sqrt", *nodes]),
    Transform(
        "square", ("exp", "mul", "log"), np.square, lambda nodes: ["exp", "mul", 0.5, "log", *nodes]
    ),
)


def transforms_of(target: FloatArray, functions: Sequence[str]) -> list[Transform]:
    """Return what can be undone by ``functions``, one of each name; none without a positive target.

    All of the target (N,) must be above 0, and within a factor of a million.
    """
    if not 0 < target.max() <= _WIDEST * target.min():
        return []
    possible = [one for one in TRANSFORMS if set(one.functions) <= set(functions)]
    with np.errstate(all="ignore"):
        fitting = [one for one in possible if 0 < one.apply(target).std() < np.inf]
    return [one for k, one in enumerate(fitting) if one.name not in {o.name for o in fitting[:k]}]
