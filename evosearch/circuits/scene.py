"""What a circuit finds in a life: the network, the minibatch, and tools for its own synapses."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from evosearch.circuits.base import Change, Layer
from evosearch.circuits.streams import normal_weights

if TYPE_CHECKING:
    from evosearch.circuits.normalisers import Normaliser
    from evosearch.circuits.passes import Activities, Passes
    from evosearch.engine.lifetime import Buffer, LifetimeBuilder


@dataclass(frozen=True)
class Scene:
    """One minibatch of B examples in one life, while phases are emitted.

    Attributes:
        b: where buffers and phases go.
        layers: from the bottom.
        target: (B, classes), 1 at the right class.
        mod: (B, 1) probability of the right class.
        one: (B, 1), always 1.
        passes: what emits further passes through the network.
        activities: of the forward pass.
        generators: one a draw, for the circuit's own random matrices.
    """

    b: LifetimeBuilder
    layers: tuple[Layer, ...]
    target: Buffer
    mod: Buffer
    one: Buffer
    passes: Passes
    activities: Activities
    generators: tuple[np.random.Generator, ...]

    @property
    def examples(self) -> int:
        """Examples of the minibatch."""
        return self.target.examples

    def units(self, name: str, n: int) -> Buffer:
        """Declare one number for each of n units of each example."""
        return self.b.vector(name, n, examples=self.examples)

    def matrices_like(self, matrices: Sequence[Buffer], scale: float = 1.0) -> tuple[Buffer, ...]:
        """Declare matrices of the same shapes, drawn as weights are: N(0, scale^2 / n_in)."""
        drawn = [[scale * normal_weights(g, m.n_out, m.n_in) for m in matrices]
                 for g in self.generators]  # fmt: skip
        return tuple(
            declare(self.b, "own", [draw[k] for draw in drawn]) for k in range(len(matrices))
        )

    def send_down(self, matrices: Sequence[Buffer]) -> None:
        """Emit errors that pass layer by layer: tanh' * (transpose of matrix l) error of l + 1.

        Args:
            matrices: one for each layer but the first, of the shape of its weights.
        """
        pairs = zip(self.layers, self.layers[1:], matrices, strict=False)
        for lower, upper, matrix in reversed(list(pairs)):
            self.b.matvec_t(lower.error, matrix, upper.error)
            self.through_tanh(lower)

    def through_tanh(self, layer: Layer) -> None:
        """Emit the product of a hidden layer's error with the derivative of its activity."""
        self.b.map(layer.error, "e*(1 - square(h))", e=layer.error, h=layer.post)

    def plastic(self, matrix: Buffer, normaliser: Normaliser) -> OwnSynapses:
        """Make a matrix of the circuit's own learn."""
        return OwnSynapses(self.b, matrix, normaliser)


class OwnSynapses:
    """A matrix of a circuit that learns by a product of two signals.

    Args:
        b: where phases go.
        matrix: (n_out, n_in).
        normaliser: what happens to its increments.
    """

    def __init__(self, b: LifetimeBuilder, matrix: Buffer, normaliser: Normaliser) -> None:
        self._b, self._normaliser = b, normaliser
        like = (matrix.n_out, matrix.n_in)
        self._change = Change(b.matrix("own before", *like), matrix)
        self._increment = b.matrix("own increment", *like)
        self._state = normaliser.state(b, matrix)

    def learn(self, post: Buffer, pre: Buffer) -> None:
        """Emit an update by the mean over examples of post (B, n_out) times pre (B, n_in)."""
        b, change = self._b, self._change
        b.outer(self._increment, post, pre)
        b.map(change.before, "u", u=change.now)
        b.map(change.now, f"u + {self._normaliser.eta!r}*g", u=change.now, g=self._increment)
        if self._normaliser.is_active:
            self._normaliser.emit(b, change, self._state)


def declare(b: LifetimeBuilder, name: str, values: Sequence[NDArray[np.float64]]) -> Buffer:
    """Declare a matrix and what it is at birth: one array (n_out, n_in) a draw."""
    buffer = b.matrix(name, *values[0].shape)
    b.initial(buffer, b.table(np.stack(values).reshape(len(values), 1, -1)))
    return buffer
