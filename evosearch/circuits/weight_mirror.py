"""Weight mirrors: feedback matrices find the weights from noise that passes through them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from evosearch.circuits.base import CIRCUITS, Circuit, Wiring, backward_products

if TYPE_CHECKING:
    from evosearch.circuits.scene import Scene
    from evosearch.engine.lifetime import Buffer

NOISE, DECAY = 0.1, 0.01


@CIRCUITS.register("weight-mirror")
class WeightMirror(Circuit):
    """Weight mirror: errors travel through matrices that correlate noise with its echo above.

    Before each update every hidden layer emits one batch of noise in place of its activity; the
    layer above answers through its weights, without bias. The feedback matrix moves by
    rate * answer * noise - decay * itself, whose fixed point is rate * noise variance / decay times
    the weights; the rate makes this factor 1. Settings: noise N(0, .1^2), where tanh is nearly
    linear, and decay .01. Source: M. Akrout, C. Wilson, P. Humphreys, T. Lillicrap, D. Tweed, "Deep
    learning without weight transport", NeurIPS 2019.

    Args:
        noise: standard deviation of the noise, > 0.
        decay: of the feedback matrices in one update, in (0, 1).
    """

    title = "weight mirror (Akrout et al. 2019)"
    locks = "FBU"

    def __init__(self, *, noise: float = NOISE, decay: float = DECAY) -> None:
        self.noise, self.decay = noise, decay

    def wire(self, scene: Scene) -> Wiring:
        """Declare a mirror for each layer but the first; learn them, then send errors."""
        weights = [layer.weights for layer in scene.layers[1:]]
        feedback = scene.matrices_like(weights)
        mirrors = [_Mirror(scene, w, b) for w, b in zip(weights, feedback, strict=True)]

        def send() -> None:
            for mirror in mirrors:
                mirror.look(self.noise, is_linear=mirror is mirrors[-1])
                mirror.learn(self.decay / self.noise**2, self.decay)
            scene.send_down(feedback)

        return Wiring(send)

    def products(self, sizes: Sequence[int]) -> int:
        """Return the multiply-adds of the errors, of the answers to noise and of their products."""
        return 3 * backward_products(sizes)


class _Mirror:
    """A feedback matrix beside the weights that it comes to resemble, both (n_out, n_in).

    Args:
        scene: the life.
        weights: of the layer above.
        feedback: of the same shape.
    """

    def __init__(self, scene: Scene, weights: Buffer, feedback: Buffer) -> None:
        self._b, self._weights, self._feedback = scene.b, weights, feedback
        self._noise = scene.units("noise", weights.n_in)
        self._answer = scene.units("answer", weights.n_out)
        self._product = scene.b.matrix("mirror product", weights.n_out, weights.n_in)

    def look(self, noise: float, *, is_linear: bool) -> None:
        """Emit noise and what the layer above answers, by its totals where it is linear."""
        self._b.random(self._noise, "normal")
        self._b.map(self._noise, f"{noise!r}*u", u=self._noise)
        self._b.matvec(self._answer, self._weights, self._noise)
        if not is_linear:
            self._b.map(self._answer, "tanh(u)", u=self._answer)

    def learn(self, rate: float, decay: float) -> None:
        """Emit feedback += rate * mean of answer * noise - decay * feedback."""
        self._b.outer(self._product, self._answer, self._noise)
        self._b.map(self._feedback, f"{1.0 - decay!r}*u + {rate!r}*g", u=self._feedback,
                    g=self._product)  # fmt: skip
