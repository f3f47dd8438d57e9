"""Difference target propagation: targets travel down through learned inverses of the layers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from evosearch.circuits.base import CIRCUITS, Circuit, Layer, Wiring, backward_products
from evosearch.circuits.normalisers import Adam
from evosearch.circuits.scene import declare
from evosearch.circuits.streams import normal_weights

if TYPE_CHECKING:
    from evosearch.circuits.scene import Scene
    from evosearch.engine.lifetime import Buffer

NUDGE, NOISE, RATE = 0.5, 0.1, 1e-3


@CIRCUITS.register("dtp")
class DifferenceTargetPropagation(Circuit):
    """Difference target propagation: a target below is h + g(target above) - g(activity above).

    g is a tanh layer that learns to undo the layer above it from activities with noise, one step
    before each use of it. The target of the last hidden layer is one step down the output loss,
    through the readout's own weights. Errors are target minus activity, times tanh', over the size
    of that step. Settings: step .5, noise .1, inverses from N(0, 1 / n_in) by Adam at .001. Source:
    D.-H. Lee, S. Zhang, A. Fischer, Y. Bengio, "Difference target propagation", ECML 2015.

    Args:
        nudge: size of the step down the output loss, > 0.
        noise: standard deviation of what is added to the activities to be restored, >= 0.
        rate: of the inverses, > 0.
    """

    title = "difference target propagation (Lee et al. 2015)"
    locks = "FBU"
    transports_weights = True

    def __init__(self, *, nudge: float = NUDGE, noise: float = NOISE, rate: float = RATE) -> None:
        self.nudge, self.noise, self.rate = nudge, noise, rate

    def wire(self, scene: Scene) -> Wiring:
        """Declare an inverse of every hidden layer but the first; learn them, then send targets."""
        hidden, output = scene.layers[:-1], scene.layers[-1]
        inverses = [_Inverse(scene, k, self.noise, self.rate) for k in range(1, len(hidden))]
        targets = [scene.units("hidden target", layer.post.n_out) for layer in hidden]

        def send() -> None:
            for inverse in inverses:
                inverse.learn()
            scene.b.matvec_t(targets[-1], output.weights, output.error)
            scene.b.map(targets[-1], f"h + {self.nudge!r}*d", h=hidden[-1].post, d=targets[-1])
            for k, inverse in reversed(list(enumerate(inverses))):
                inverse.send_target(targets[k], targets[k + 1])
            for layer, target in zip(hidden, targets, strict=True):
                scene.b.map(layer.error, f"(t - h)*(1 - square(h))/{self.nudge!r}", t=target,
                            h=layer.post)  # fmt: skip

        return Wiring(send)

    def products(self, sizes: Sequence[int]) -> int:
        """Return the multiply-adds of the readout's errors and five of each inverse.

        Two carry targets down, three teach it: the noisy activities up, restored, and their outer
        product.
        """
        hidden = backward_products(sizes[:-1])
        return sizes[-1] * sizes[-2] + 5 * hidden


class _Inverse:
    """A tanh layer that restores what a hidden layer reads from what it answers.

    Args:
        scene: the life.
        number: of the hidden layer, from 0.
        noise: added to the activities to be restored.
        rate: of Adam.
    """

    def __init__(self, scene: Scene, number: int, noise: float, rate: float) -> None:
        self._scene, self._number, self._noise = scene, number, noise
        self._layer: Layer = scene.layers[number]
        n_out, n_in = self._layer.weights.n_in, self._layer.weights.n_out
        drawn = [normal_weights(g, n_out, n_in) for g in scene.generators]
        self._weights = declare(scene.b, "inverse", drawn)
        self._bias = scene.b.matrix("inverse bias", n_out, 1)
        self._learning = [scene.plastic(m, Adam(rate)) for m in (self._weights, self._bias)]
        self._shaken = scene.units("shaken", n_out)
        self._answer = scene.units("answer", n_in)
        self._restored, self._slope = (scene.units(name, n_out) for name in ("restored", "slope"))

    def learn(self) -> None:
        """Emit one step down |g(f(h + noise)) - (h + noise)|^2 / 2."""
        scene, b = self._scene, self._scene.b
        b.random(self._shaken, "normal")
        b.map(self._shaken, f"h + {self._noise!r}*u", h=self._layer.pre, u=self._shaken)
        scene.passes.drive(self._number, self._answer, self._shaken)
        b.map(self._answer, "tanh(u)", u=self._answer)
        self._restore(self._restored, self._answer)
        b.map(self._slope, "(s - r)*(1 - square(r))", s=self._shaken, r=self._restored)
        for synapses, pre in zip(self._learning, (self._answer, scene.one), strict=True):
            synapses.learn(self._slope, pre)

    def send_target(self, lower: Buffer, upper: Buffer) -> None:
        """Emit lower target = activity + g(upper target) - g(upper activity)."""
        self._restore(lower, upper)
        self._restore(self._restored, self._layer.post)
        self._scene.b.map(lower, "h + t - r", h=self._layer.pre, t=lower, r=self._restored)

    def _restore(self, below: Buffer, above: Buffer) -> None:
        self._scene.b.matvec(below, self._weights, above)
        self._scene.b.add(below, self._bias)
        self._scene.b.map(below, "tanh(u)", u=below)
