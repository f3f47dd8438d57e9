"""Circuits whose errors travel through matrices other than the transposed weights."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from evosearch.circuits.base import CIRCUITS, Change, Circuit, Wiring
from evosearch.circuits.scene import declare

if TYPE_CHECKING:
    from evosearch.circuits.scene import Scene

KOLEN_POLLACK_DECAY = 1e-3


@CIRCUITS.register("fa")
class FeedbackAlignment(Circuit):
    """Feedback alignment: errors travel down through fixed random matrices, N(0, 1 / n_in).

    Source: T. P. Lillicrap, D. Cownden, D. B. Tweed, C. J. Akerman, "Random synaptic feedback
    weights support error backpropagation for deep learning", Nature Communications 7, 2016.
    """

    title = "feedback alignment (Lillicrap et al. 2016)"
    locks = "FBU"

    def wire(self, scene: Scene) -> Wiring:
        """Declare one matrix for each layer but the first, and send errors through them."""
        feedback = scene.matrices_like([layer.weights for layer in scene.layers[1:]])
        return Wiring(lambda: scene.send_down(feedback))


@CIRCUITS.register("dfa")
class DirectFeedbackAlignment(Circuit):
    """Direct feedback alignment: each hidden layer hears the output error by its own matrix.

    The matrices are fixed, U(-1, 1) / sqrt(outputs). Source: A. Nøkland, "Direct feedback
    alignment provides learning in deep neural networks", NeurIPS 2016.
    """

    title = "direct feedback alignment (Nøkland 2016)"
    locks = "FU"

    def wire(self, scene: Scene) -> Wiring:
        """Declare one matrix (outputs, units) for each hidden layer; send to all at once."""
        hidden, output = scene.layers[:-1], scene.layers[-1]
        n_out = output.weights.n_out
        sizes = [layer.weights.n_out for layer in hidden]
        drawn = [[g.uniform(-1.0, 1.0, (n_out, n)) / np.sqrt(n_out) for n in sizes]
                 for g in scene.generators]  # fmt: skip
        feedback = [declare(scene.b, "feedback", [draw[k] for draw in drawn])
                    for k in range(len(sizes))]  # fmt: skip

        def send() -> None:
            for layer, matrix in zip(hidden, feedback, strict=True):
                scene.b.matvec_t(layer.error, matrix, output.error)
                scene.through_tanh(layer)

        return Wiring(send)

    def products(self, sizes: Sequence[int]) -> int:
        """Return the multiply-adds of outputs times all hidden units."""
        return sizes[-1] * sum(sizes[1:-1])


@CIRCUITS.register("sign-symmetric")
class SignSymmetric(Circuit):
    """Sign symmetry: errors travel down through the signs of the weights, / sqrt(n_in).

    Source: Q. Liao, J. Z. Leibo, T. Poggio, "How important is weight symmetry in
    backpropagation?", AAAI 2016, with uniform magnitudes.
    """

    title = "sign-symmetric feedback (Liao, Leibo, Poggio 2016)"
    locks = "FBU"
    transports_weights = True

    def wire(self, scene: Scene) -> Wiring:
        """Take the signs of the weights as they are at each update, and send through them."""
        weights = [layer.weights for layer in scene.layers[1:]]
        signs = [scene.b.matrix("signs", w.n_out, w.n_in) for w in weights]

        def send() -> None:
            for weight, sign in zip(weights, signs, strict=True):
                scene.b.map(sign, f"{sign.n_in**-0.5!r}*sign(u)", u=weight)
            scene.send_down(signs)

        return Wiring(send)


@CIRCUITS.register("kolen-pollack")
class KolenPollack(Circuit):
    """Kolen-Pollack: random feedback matrices that get the changes of the weights they mirror.

    After each update both lose the share .001 of themselves, so that their difference shrinks by
    that share a step. Sources: J. F. Kolen, J. B. Pollack, "Backpropagation without weight
    transport", ICNN 1994; M. Akrout et al., "Deep learning without weight transport", NeurIPS 2019.
    """

    title = "Kolen-Pollack feedback (Kolen, Pollack 1994; Akrout et al. 2019)"
    locks = "FBU"

    def wire(self, scene: Scene) -> Wiring:
        """Send errors through matrices that get the changes of their weights; let both decay."""
        feedback = scene.matrices_like([layer.weights for layer in scene.layers[1:]])
        kept = 1.0 - KOLEN_POLLACK_DECAY

        def adapt(changes: Sequence[Change]) -> None:
            for change, matrix in zip(changes[1:], feedback, strict=True):
                scene.b.map(matrix, f"{kept!r}*(u + now - before)", u=matrix, now=change.now,
                            before=change.before)  # fmt: skip
                scene.b.map(change.now, f"{kept!r}*u", u=change.now)

        return Wiring(lambda: scene.send_down(feedback), adapt=adapt)
