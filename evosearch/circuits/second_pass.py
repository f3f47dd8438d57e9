"""One more pass of the same inputs through the network of a scene, with something added."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from evosearch.circuits.scene import Scene
    from evosearch.engine.lifetime import Buffer, LifetimeBuilder

LEAST_PROBABILITY = 1e-30
"""A right class less probable than this counts as this probable in a loss."""


class Across:
    """Numbers of an example handed to all units of a layer, and sums over them.

    Args:
        b: where buffers and phases go.
    """

    def __init__(self, b: LifetimeBuilder) -> None:
        self._b = b
        self._ones: dict[int, Buffer] = {}

    def spread(self, target: Buffer, number: Buffer) -> None:
        """Emit target (B, n) = the number (B, 1) of each example."""
        self._b.matvec(target, self._column(target.n_out), number)

    def sum(self, number: Buffer, source: Buffer) -> None:
        """Emit number (B, 1) = the sum over units of source (B, n)."""
        self._b.matvec_t(number, self._column(source.n_out), source)

    def _column(self, n: int) -> Buffer:
        if n not in self._ones:
            self._ones[n] = self._b.matrix("ones", n, 1)
            self._b.initial(self._ones[n], self._b.table(np.ones((1, n)), shared=True))
        return self._ones[n]


class SecondPass:
    """Buffers of a second pass, and what emits its parts.

    What the units of the first layer receive is known from the forward pass already.

    Args:
        scene: whose network and inputs it takes.

    Attributes:
        posts: activities of each layer (B, n): the inputs, then its own; probabilities last.
        totals: what the units of each layer receive (B, n); logits last.
        right: (B, 1) its probability of the right class.
    """

    def __init__(self, scene: Scene) -> None:
        self._scene = scene
        hidden = scene.passes.sizes[1:]
        self.posts = (scene.layers[0].pre, *(scene.units("second post", n) for n in hidden))
        self.totals = tuple(scene.units("second total", n) for n in hidden)
        self.right = scene.units("second right", 1)

    def received(self, k: int) -> Buffer:
        """Emit what the activities below send to layer k, from 0, and return where it stands."""
        if k == 0:
            return self._scene.layers[0].total
        self._scene.passes.drive(k, self.totals[k], self.posts[k])
        return self.totals[k]

    def finish(self) -> None:
        """Emit logits, class probabilities, and that of the right class."""
        scene, products = self._scene, self.totals[-1]
        logits = self.received(len(self.totals) - 1)
        scene.passes.softmax(self.posts[-1], logits)
        scene.b.map(products, "t*p", t=scene.target, p=self.posts[-1])
        scene.b.matvec(self.right, scene.passes.one_row, products)

    def log_right(self, target: Buffer) -> None:
        """Emit (B, 1): the log-probability of the right class."""
        self._scene.b.map(target, f"log(max(p, {LEAST_PROBABILITY!r}))", p=self.right)

    def gain(self, target: Buffer) -> None:
        """Emit (B, 1): by how much the cross-entropy lies below the forward pass's."""
        least = repr(LEAST_PROBABILITY)
        self._scene.b.map(target, f"log(max(p, {least})) - log(max(q, {least}))", p=self.right,
                          q=self._scene.mod)  # fmt: skip
