"""Passes through the network of a life: totals, activities, class probabilities."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from evosearch.engine.lifetime import Buffer, LifetimeBuilder

_LARGEST_LOGIT = 80.0


@dataclass(frozen=True)
class Activities:
    """Buffers of one pass of E examples.

    Attributes:
        posts: activities of each layer (E, n), the inputs first, class probabilities last.
        totals: what the units of each layer but the inputs receive (E, n); logits last.
    """

    posts: tuple[Buffer, ...]
    totals: tuple[Buffer, ...]


class Passes:
    """Emits passes through one network.

    Args:
        b: where buffers and phases go.
        matrices: weights (n_out, n_in) and bias (n_out, 1) of each layer, from the bottom.
    """

    def __init__(self, b: LifetimeBuilder, matrices: Sequence[tuple[Buffer, Buffer]]) -> None:
        self._b, self.matrices = b, tuple(matrices)
        self._n = n = self.matrices[-1][0].n_out
        self._sums: dict[int, Buffer] = {}
        self.every_class = b.matrix("all classes", n, n)
        self.one_row = b.matrix("one of all", 1, n)
        for matrix in (self.every_class, self.one_row):
            b.initial(matrix, b.table(np.ones((1, matrix.size)), shared=True))

    @property
    def sizes(self) -> tuple[int, ...]:
        """Units of each layer, inputs first."""
        return (self.matrices[0][0].n_in, *(weights.n_out for weights, _ in self.matrices))

    def activities(self, examples: int, name: str = "") -> Activities:
        """Declare buffers of one more pass of E examples."""
        posts = tuple(self._b.vector(f"{name}post {k}", n, examples=examples)
                      for k, n in enumerate(self.sizes))  # fmt: skip
        totals = tuple(self._b.vector(f"{name}total {k}", n, examples=examples)
                       for k, n in enumerate(self.sizes[1:]))  # fmt: skip
        return Activities(posts, totals)

    def drive(self, layer: int, total: Buffer, source: Buffer) -> None:
        """Emit total = weights source + bias of a layer."""
        weights, bias = self.matrices[layer]
        self._b.matvec(total, weights, source)
        self._b.add(total, bias)

    def forward(self, a: Activities) -> None:
        """Emit a pass of what stands in the first activities up to the logits."""
        for k, total in enumerate(a.totals):
            self.drive(k, total, a.posts[k])
            if k < len(a.totals) - 1:
                self._b.map(a.posts[k + 1], "tanh(u)", u=total)

    def softmax(self, probabilities: Buffer, logits: Buffer) -> None:
        """Emit class probabilities; logits beyond their mean + 80 count as that."""
        b, sums = self._b, self.sums(logits.examples)
        b.matvec(sums, self.every_class, logits)
        b.map(probabilities, f"exp(min({_LARGEST_LOGIT}, u - s/{self._n}))", u=logits, s=sums)
        b.matvec(sums, self.every_class, probabilities)
        b.map(probabilities, "u/s", u=probabilities, s=sums)

    def sums(self, examples: int) -> Buffer:
        """Return room for one number a class (E, classes), free between two calls."""
        if examples not in self._sums:
            self._sums[examples] = self._b.vector("sums", self._n, examples=examples)
        return self._sums[examples]
