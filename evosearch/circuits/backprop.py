"""The two controls of every comparison: all layers by the gradient, and the readout alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from evosearch.circuits.base import CIRCUITS, Circuit, Layer, send_down

if TYPE_CHECKING:
    from evosearch.engine.lifetime import Buffer, LifetimeBuilder


@CIRCUITS.register("bp")
class Backprop(Circuit):
    """Backpropagation: errors travel down through the transposed weights; the reference.

    With the rule ``error*pre`` an update is the negative gradient of the mean cross-entropy.
    Source: D. E. Rumelhart, G. E. Hinton, R. J. Williams, Nature 323, 1986.
    """

    locks = "FBU"
    transports_weights = True

    def send(self, b: LifetimeBuilder, layers: Sequence[Layer], feedback: Sequence[Buffer]) -> None:
        """Send errors through the weights themselves."""
        send_down(b, layers, [layer.weights for layer in layers[1:]])


@CIRCUITS.register("shallow")
class Shallow(Circuit):
    """Random hidden layers that stay, and a readout that learns: the floor."""

    locks = "U"

    def trained(self, n_layers: int) -> range:
        """Return the last layer alone."""
        return range(n_layers - 1, n_layers)

    def send(self, b: LifetimeBuilder, layers: Sequence[Layer], feedback: Sequence[Buffer]) -> None:
        """Send nothing: hidden layers do not learn."""

    def products(self, sizes: Sequence[int]) -> int:
        """Return 0: no error travels."""
        return 0
