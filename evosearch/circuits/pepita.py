"""PEPITA: errors enter at the input of a second forward pass."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from evosearch.circuits.base import CIRCUITS, Circuit, Wiring, forward_products
from evosearch.circuits.scene import declare

if TYPE_CHECKING:
    from evosearch.circuits.scene import Scene


@CIRCUITS.register("pepita")
class Pepita(Circuit):
    """PEPITA: a unit's error is its activity in a second pass less that in the first.

    The inputs of the second pass are x + F (probability - target), with a fixed random matrix F,
    U(-1, 1) * scale * sqrt(6 / inputs). ``pre`` is of the second pass, at the first layer its
    inputs; the readout learns from target minus probability. No error travels down. Source:
    G. Dellaferrera, G. Kreiman, "Error-driven input modulation: solving the credit assignment
    problem without a backward pass", ICML 2022.

    Args:
        scale: of F, >= 0.
    """

    title = "PEPITA, errors added to the input of a second pass (Dellaferrera, Kreiman 2022)"
    locks = "FU"

    def __init__(self, scale: float = 0.1) -> None:
        self._scale = scale

    def wire(self, scene: Scene) -> Wiring:
        """Declare the matrix from errors to inputs; pass a second time."""
        b, hidden, output = scene.b, scene.layers[:-1], scene.layers[-1]
        n_in, n_out = scene.layers[0].weights.n_in, output.weights.n_out
        limit = self._scale * (6 / n_in) ** 0.5
        drawn = [generator.uniform(-limit, limit, (n_out, n_in)) for generator in scene.generators]
        to_inputs = declare(b, "error to inputs", drawn)
        read = tuple(replace(layer, pre=scene.units("second pre", layer.weights.n_in))
                     for layer in scene.layers)  # fmt: skip
        inputs = scene.layers[0].pre

        def send() -> None:
            b.matvec_t(read[0].pre, to_inputs, output.error)
            b.map(read[0].pre, "x - u", x=inputs, u=read[0].pre)
            for k, layer in enumerate(hidden):
                scene.passes.drive(k, layer.error, read[k].pre)
                b.map(read[k + 1].pre, "tanh(u)", u=layer.error)
                b.map(layer.error, "s - h", s=read[k + 1].pre, h=layer.post)

        return Wiring(send, layers=read)

    def products(self, sizes: Sequence[int]) -> int:
        """Return the multiply-adds of a second pass through hidden layers, and of its inputs."""
        return forward_products(sizes[:-1]) + sizes[-1] * sizes[0]
