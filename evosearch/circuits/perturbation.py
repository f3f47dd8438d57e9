"""Circuits in which noise is tried out: what lowers the loss tells each unit its error.

No error travels down: a unit learns from its own noise and one number that all units hear. The
readout learns from its own error, target minus probability.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from evosearch.circuits.base import CIRCUITS, Circuit, Wiring, backward_products
from evosearch.circuits.second_pass import Across, SecondPass

if TYPE_CHECKING:
    from evosearch.circuits.scene import Scene
    from evosearch.engine.lifetime import Buffer, LifetimeBuilder


@CIRCUITS.register("np")
class NodePerturbation(Circuit):
    """Node perturbation: a second pass with noise in every hidden unit at once.

    The error of a unit is its noise times (loss without noise - loss with it) / sigma, of each
    example; its mean over noise is the negative gradient as sigma goes to 0. Source: J. Werfel,
    X. Xie, H. S. Seung, "Learning curves for stochastic gradient descent in linear feedforward
    networks", Neural Computation 17, 2005.

    Args:
        sigma: standard deviation of the noise in what a unit receives, > 0.
    """

    title = "node perturbation (Werfel, Xie, Seung 2005)"
    locks = "FU"

    def __init__(self, sigma: float = 0.1) -> None:
        self._sigma = sigma

    def wire(self, scene: Scene) -> Wiring:
        """Declare noise for each hidden layer; pass a second time with it."""
        b, again, across = scene.b, SecondPass(scene), Across(scene.b)
        hidden = scene.layers[:-1]
        noises = [scene.units("noise", layer.weights.n_out) for layer in hidden]
        gain = scene.units("gain", 1)

        def send() -> None:
            for k, noise in enumerate(noises):
                b.random(noise, "normal")
                b.map(again.posts[k + 1], f"tanh(u + {self._sigma!r}*z)", u=again.received(k),
                      z=noise)  # fmt: skip
            again.finish()
            again.gain(gain)
            for layer, noise in zip(hidden, noises, strict=True):
                across.spread(layer.error, gain)
                b.map(layer.error, f"g*z/{self._sigma!r}", g=layer.error, z=noise)

        return Wiring(send)


@CIRCUITS.register("wp")
class WeightPerturbation(Circuit):
    """Weight perturbation: a second pass with noise in every hidden synapse and bias at once.

    An increment is a synapse's noise times (loss without noise - loss with it) / sigma. Each
    example meets noise of its own, +1 or -1 for each synapse: the product of a sign of the post
    unit, which stands in ``error``, and one of the pre unit, which stands in ``pre``. Any two
    synapses' noises are independent, so that the mean increment is the negative gradient as sigma
    goes to 0, and its variance is as if all were drawn one by one. Source: J. Werfel, X. Xie, H. S.
    Seung, "Learning curves for stochastic gradient descent in linear feedforward networks", Neural
    Computation 17, 2005, there with Gaussian noise.

    Args:
        sigma: size of the noise, > 0.
    """

    title = "weight perturbation (Werfel, Xie, Seung 2005)"
    locks = "FU"

    def __init__(self, sigma: float = 0.01) -> None:
        self._sigma = sigma

    def wire(self, scene: Scene) -> Wiring:
        """Declare signs below and above the synapses of each hidden layer; pass with both."""
        b, again, across = scene.b, SecondPass(scene), Across(scene.b)
        hidden = scene.layers[:-1]
        read = [replace(layer, pre=scene.units("sign below", layer.weights.n_in))
                for layer in hidden]  # fmt: skip
        above = [scene.units("sign above", layer.weights.n_out) for layer in hidden]
        products = [scene.units("product", layer.weights.n_in) for layer in hidden]
        sums = [scene.units("sum", layer.weights.n_out) for layer in hidden]
        number = scene.units("number", 1)

        def perturb(k: int) -> None:
            """Emit the activities of a layer with noise in its synapses."""
            for signs in (read[k].pre, above[k]):
                _draw_signs(b, signs)
            b.map(products[k], "v*h", v=read[k].pre, h=again.posts[k])
            across.sum(number, products[k])
            across.spread(sums[k], number)
            b.map(again.posts[k + 1], f"tanh(u + {self._sigma!r}*z*(1 + s))",
                  u=again.received(k), z=above[k], s=sums[k])  # fmt: skip

        def send() -> None:
            for k in range(len(hidden)):
                perturb(k)
            again.finish()
            again.gain(number)
            for layer, signs in zip(hidden, above, strict=True):
                across.spread(layer.error, number)
                b.map(layer.error, f"g*z/{self._sigma!r}", g=layer.error, z=signs)

        return Wiring(send, layers=(*read, scene.layers[-1]))

    def products(self, sizes: Sequence[int]) -> int:
        """Return the multiply-adds of a pass from the first hidden layer on, and of the noise."""
        return backward_products(sizes) + sum(sizes[:-2])


@CIRCUITS.register("forward-gradient")
class ForwardGradient(Circuit):
    """Forward gradient: the exact slope of the loss along noise in every hidden unit at once.

    A pass of tangents beside the forward pass carries what the noise changes, to first order; a
    unit's error is its noise times minus the slope, of each example. Its mean over noise is the
    negative gradient. Sources: A. G. Baydin, B. A. Pearlmutter, D. Syme, F. Wood, P. Torr,
    "Gradients without backpropagation", 2022; with noise in activities, as here: M. Ren,
    S. Kornblith, R. Liao, G. Hinton, "Scaling forward gradient with local losses", ICLR 2023.
    """

    title = "forward gradient of perturbed activities (Ren et al. 2023)"
    locks = "FU"

    def wire(self, scene: Scene) -> Wiring:
        """Declare noise and tangents for each layer; pass tangents up through the weights."""
        b, across, hidden, output = scene.b, Across(scene.b), scene.layers[:-1], scene.layers[-1]
        noises = [scene.units("noise", layer.weights.n_out) for layer in hidden]
        tangents = [scene.units("tangent", layer.weights.n_out) for layer in scene.layers]
        slope = scene.units("slope", 1)

        def send() -> None:
            for k, (layer, noise, tangent) in enumerate(
                zip(hidden, noises, tangents, strict=False)
            ):
                b.random(noise, "normal")
                if k == 0:
                    b.map(tangent, "z*(1 - square(h))", z=noise, h=layer.post)
                else:
                    b.matvec(tangent, layer.weights, tangents[k - 1])
                    b.map(tangent, "(u + z)*(1 - square(h))", u=tangent, z=noise, h=layer.post)
            b.matvec(tangents[-1], output.weights, tangents[-2])
            b.map(tangents[-1], "e*u", e=output.error, u=tangents[-1])
            across.sum(slope, tangents[-1])
            for layer, noise in zip(hidden, noises, strict=True):
                across.spread(layer.error, slope)
                b.map(layer.error, "g*z", g=layer.error, z=noise)

        return Wiring(send)


def _draw_signs(b: LifetimeBuilder, signs: Buffer) -> None:
    """Emit +1 or -1, equally likely."""
    b.random(signs, "uniform")
    b.map(signs, "1 - 2*max(0, sign(u - 0.5))", u=signs)
