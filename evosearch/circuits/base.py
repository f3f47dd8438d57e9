"""What a circuit is: the wiring that carries teaching signals to the layers of a network.

A circuit turns a forward pass and a target into one error for every unit, in the direction that
improves; a local rule then changes the weights. New circuits are one file with one class under
``@CIRCUITS.register``; each emits phases and never loops over time itself.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from numpy.typing import NDArray

from evosearch.circuits.streams import normal_weights
from evosearch.engine.program import Level, Terminal
from evosearch.registry import Registry

if TYPE_CHECKING:
    from evosearch.engine.lifetime import Buffer, LifetimeBuilder

CIRCUITS: Registry[type[Circuit]] = Registry("learner", "evosearch.circuits")

DEFAULT_RULE = "error*pre"

TERMINALS = (
    Terminal("w", Level.SYNAPSE, "weight; of a bias, the bias", low=-2.0, high=2.0),
    Terminal("pre", Level.PRE, "activity of the pre unit; 1 for a bias", low=-1.0, high=1.0),
    Terminal("post", Level.POST, "activity of the post unit", low=-1.0, high=1.0),
    Terminal("error", Level.POST, "teaching signal of the post unit", low=-1.0, high=1.0),
    Terminal(
        "error_pre", Level.PRE, "teaching signal of the pre unit; 0 for inputs", low=-1.0, high=1.0
    ),
    Terminal("mod", Level.NETWORK, "probability of the right class", low=0.0, high=1.0),
)
"""What every circuit offers to the rule in its slot."""


@dataclass(frozen=True)
class Layer:
    """One layer of a network within a life; B examples of a minibatch stand side by side.

    Attributes:
        weights: (n_out, n_in).
        bias: (n_out, 1), a synapse from a unit that is always 1.
        pre: (B, n_in) activities below.
        post: (B, n_out) activities: tanh in hidden layers, class probabilities in the last.
        error: (B, n_out) teaching signals, in the direction that improves.
        error_pre: (B, n_in) teaching signals of the layer below; 0 for inputs.
    """

    weights: Buffer
    bias: Buffer
    pre: Buffer
    post: Buffer
    error: Buffer
    error_pre: Buffer


@dataclass(frozen=True)
class Change:
    """The weights of a synapse group before its last update, and as they are now."""

    before: Buffer
    now: Buffer


class Circuit(ABC):
    """A way to give each unit of a network its teaching signal.

    The output layer's error, target minus probability, is there already; all matrices that carry
    errors back are kept in the shape (units of the upper side, units of the lower side).

    Attributes:
        locks: what an update waits for: F forward pass, B backward pass, U update phase.
        transports_weights: whether errors travel through the forward weights, or their signs.
        learns_feedback: whether ``adapt`` changes feedback weights after each update.
    """

    locks: ClassVar[str]
    transports_weights: ClassVar[bool] = False
    learns_feedback: ClassVar[bool] = False

    def trained(self, n_layers: int) -> range:
        """Return which of the layers learn, by number from 0 at the bottom."""
        return range(n_layers)

    def feedback(
        self,
        b: LifetimeBuilder,
        layers: Sequence[Layer],
        generators: Sequence[np.random.Generator],
    ) -> tuple[Buffer, ...]:
        """Declare the circuit's own matrices; none where it needs no more than the network.

        Args:
            b: where buffers are declared.
            layers: from the bottom.
            generators: one a draw, for random matrices.
        """
        return ()

    @abstractmethod
    def send(self, b: LifetimeBuilder, layers: Sequence[Layer], feedback: Sequence[Buffer]) -> None:
        """Emit the phases that write the error of every hidden layer that learns."""

    def adapt(
        self, b: LifetimeBuilder, changes: Sequence[Change], feedback: Sequence[Buffer]
    ) -> None:
        """Emit the circuit's own plasticity, once a minibatch after all layers have changed.

        Args:
            b: where phases go.
            changes: of each layer's weights, from the bottom.
            feedback: the circuit's own matrices.
        """
        raise NotImplementedError

    def products(self, sizes: Sequence[int]) -> int:
        """Return the multiply-adds that carry one example's errors to the hidden layers.

        Where a circuit does not say otherwise they pass layer by layer, down to the first hidden
        one.

        Args:
            sizes: units of each layer, inputs first.
        """
        return sum(n_out * n_in for n_in, n_out in pairwise(sizes[1:]))


def forward_equivalents(circuit: Circuit, sizes: Sequence[int]) -> float:
    """Return the cost of one update of an example in forward passes, by multiply-adds.

    One forward pass, the way back, and one multiply-add for each synapse that learns.
    """
    synapses = [n_out * n_in for n_in, n_out in pairwise(sizes)]
    learning = sum(synapses[k] for k in circuit.trained(len(synapses)))
    return 1.0 + (circuit.products(sizes) + learning) / sum(synapses)


def send_down(b: LifetimeBuilder, layers: Sequence[Layer], matrices: Sequence[Buffer]) -> None:
    """Emit errors that pass layer by layer: tanh' * (transpose of matrix l) error of layer l + 1.

    Args:
        b: where phases go.
        layers: from the bottom.
        matrices: one for each layer but the first, of the shape of its weights.
    """
    pairs = zip(layers, layers[1:], matrices, strict=False)
    for lower, upper, matrix in reversed(list(pairs)):
        b.matvec_t(lower.error, matrix, upper.error)
        through_tanh(b, lower)


def through_tanh(b: LifetimeBuilder, layer: Layer) -> None:
    """Multiply a hidden layer's error by the derivative of its activity."""
    b.map(layer.error, "e*(1 - square(h))", e=layer.error, h=layer.post)


def random_like(
    b: LifetimeBuilder,
    matrices: Sequence[Buffer],
    generators: Sequence[np.random.Generator],
) -> tuple[Buffer, ...]:
    """Declare matrices of the same shapes, drawn as weights are: N(0, 1 / n_in)."""
    drawn = [[normal_weights(g, m.n_out, m.n_in) for m in matrices] for g in generators]
    return tuple(
        declare(b, "feedback", m.n_out, m.n_in, [draw[k] for draw in drawn])
        for k, m in enumerate(matrices)
    )


def declare(
    b: LifetimeBuilder,
    name: str,
    n_out: int,
    n_in: int,
    values: Sequence[NDArray[np.float64]],
) -> Buffer:
    """Declare a matrix and what it is at birth: one array (n_out, n_in) a draw."""
    buffer = b.matrix(name, n_out, n_in)
    b.initial(buffer, b.table(np.stack(values).reshape(len(values), 1, -1)))
    return buffer
