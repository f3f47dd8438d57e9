"""The two controls of every comparison: all layers by the gradient, and the readout alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from evosearch.circuits.base import CIRCUITS, Circuit, Wiring

if TYPE_CHECKING:
    from evosearch.circuits.scene import Scene


@CIRCUITS.register("bp")
class Backprop(Circuit):
    """Backpropagation: errors travel down through the transposed weights; the reference.

    With the rule ``error*pre`` an update is the negative gradient of the mean cross-entropy.
    Source: D. E. Rumelhart, G. E. Hinton, R. J. Williams, Nature 323, 1986.
    """

    title = "backpropagation, the reference (Rumelhart, Hinton, Williams 1986)"
    locks = "FBU"
    transports_weights = True

    def wire(self, scene: Scene) -> Wiring:
        """Send errors through the weights themselves."""
        weights = [layer.weights for layer in scene.layers[1:]]
        return Wiring(lambda: scene.send_down(weights))


@CIRCUITS.register("shallow")
class Shallow(Circuit):
    """Random hidden layers that stay, and a readout that learns: the floor."""

    title = "random hidden layers under a readout that learns, the floor"
    locks = "U"

    def trained(self, n_layers: int) -> range:
        """Return the last layer alone."""
        return range(n_layers - 1, n_layers)

    def wire(self, scene: Scene) -> Wiring:
        """Send nothing: hidden layers do not learn."""
        return Wiring(lambda: None)

    def products(self, sizes: Sequence[int]) -> int:
        """Return 0: no error travels."""
        return 0
