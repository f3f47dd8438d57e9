"""What a circuit is: the wiring that carries teaching signals to the layers of a network.

A circuit turns a forward pass and a target into one error for every unit, in the direction that
improves; a local rule then changes the weights. New circuits are one file with one class under
``@CIRCUITS.register``; each emits phases and never loops over time itself.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, ClassVar

from evosearch.engine.program import Level, Terminal
from evosearch.registry import Registry

if TYPE_CHECKING:
    from evosearch.circuits.scene import Scene
    from evosearch.engine.lifetime import Buffer

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
        total: (B, n_out) what the units receive, before their nonlinearity.
        post: (B, n_out) activities: tanh in hidden layers, class probabilities in the last.
        error: (B, n_out) teaching signals, in the direction that improves.
        error_pre: (B, n_in) teaching signals of the layer below; 0 for inputs.
    """

    weights: Buffer
    bias: Buffer
    pre: Buffer
    total: Buffer
    post: Buffer
    error: Buffer
    error_pre: Buffer


@dataclass(frozen=True)
class Change:
    """The weights of a synapse group before its last update, and as they are now."""

    before: Buffer
    now: Buffer


@dataclass(frozen=True)
class Wiring:
    """A circuit within one life.

    Attributes:
        send: emits what comes between the forward pass and the rule: the errors of all hidden
            layers that learn, and plasticity of the circuit's own synapses.
        layers: what the rule reads at each layer, where that is not what the forward pass left.
        adapt: emits own plasticity that follows the changes of each layer's weights, from the
            bottom; None where there is none.
        begin: emits what comes once a minibatch, after the forward pass and before the first
            round.
        rounds: how often ``send`` and the rule follow each other for one minibatch.
    """

    send: Callable[[], None]
    layers: Sequence[Layer] | None = None
    adapt: Callable[[Sequence[Change]], None] | None = None
    begin: Callable[[], None] | None = None
    rounds: int = 1


class Circuit(ABC):
    """A way to give each unit of a network its teaching signal.

    The output layer's error, target minus probability, is there already; matrices that carry
    errors back are kept in the shape (units of the upper side, units of the lower side).

    Attributes:
        title: one line with the authors and the year.
        locks: what an update waits for: F forward pass, B backward pass, U update phase.
        transports_weights: whether errors travel through the forward weights, or their signs.
    """

    title: ClassVar[str]
    locks: ClassVar[str]
    transports_weights: ClassVar[bool] = False

    def trained(self, n_layers: int) -> range:
        """Return which of the layers learn, by number from 0 at the bottom."""
        return range(n_layers)

    @abstractmethod
    def wire(self, scene: Scene) -> Wiring:
        """Declare the circuit's own buffers in a life, and return what emits its phases."""

    def products(self, sizes: Sequence[int]) -> int:
        """Return the multiply-adds that carry one example's errors to the hidden layers.

        Own plasticity and further forward passes count. Where a circuit does not say otherwise
        errors pass layer by layer, down to the first hidden one.

        Args:
            sizes: units of each layer, inputs first.
        """
        return backward_products(sizes)


def backward_products(sizes: Sequence[int]) -> int:
    """Return the multiply-adds of one example's errors that pass all layers but the first."""
    return sum(n_out * n_in for n_in, n_out in pairwise(sizes[1:]))


def forward_products(sizes: Sequence[int]) -> int:
    """Return the multiply-adds of one example's forward pass."""
    return sum(n_out * n_in for n_in, n_out in pairwise(sizes))


def forward_equivalents(circuit: Circuit, sizes: Sequence[int]) -> float:
    """Return the cost of one update of an example in forward passes, by multiply-adds.

    One forward pass, the way back, and one multiply-add for each synapse that learns.
    """
    synapses = [n_out * n_in for n_in, n_out in pairwise(sizes)]
    learning = sum(synapses[k] for k in circuit.trained(len(synapses)))
    return 1.0 + (circuit.products(sizes) + learning) / sum(synapses)
