"""Circuits whose errors travel through matrices other than the transposed weights."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from evosearch.circuits.base import (
    CIRCUITS,
    Change,
    Circuit,
    Layer,
    declare,
    random_like,
    send_down,
    through_tanh,
)

if TYPE_CHECKING:
    from evosearch.engine.lifetime import Buffer, LifetimeBuilder

KOLEN_POLLACK_DECAY = 1e-3


@CIRCUITS.register("fa")
class FeedbackAlignment(Circuit):
    """Feedback alignment: errors travel down through fixed random matrices, N(0, 1 / n_in).

    Source: T. P. Lillicrap, D. Cownden, D. B. Tweed, C. J. Akerman, "Random synaptic feedback
    weights support error backpropagation for deep learning", Nature Communications 7, 2016.
    """

    locks = "FBU"

    def feedback(
        self,
        b: LifetimeBuilder,
        layers: Sequence[Layer],
        generators: Sequence[np.random.Generator],
    ) -> tuple[Buffer, ...]:
        """Declare one matrix for each layer but the first."""
        return random_like(b, [layer.weights for layer in layers[1:]], generators)

    def send(self, b: LifetimeBuilder, layers: Sequence[Layer], feedback: Sequence[Buffer]) -> None:
        """Send errors through the fixed matrices."""
        send_down(b, layers, feedback)


@CIRCUITS.register("dfa")
class DirectFeedbackAlignment(Circuit):
    """Direct feedback alignment: each hidden layer hears the output error by its own matrix.

    The matrices are fixed, U(-1, 1) / sqrt(outputs). Source: A. Nøkland, "Direct feedback
    alignment provides learning in deep neural networks", NeurIPS 2016.
    """

    locks = "FU"

    def feedback(
        self,
        b: LifetimeBuilder,
        layers: Sequence[Layer],
        generators: Sequence[np.random.Generator],
    ) -> tuple[Buffer, ...]:
        """Declare one matrix (outputs, units) for each hidden layer."""
        n_out = layers[-1].weights.n_out
        sizes = [layer.weights.n_out for layer in layers[:-1]]
        drawn = [
            [g.uniform(-1.0, 1.0, (n_out, n)) / np.sqrt(n_out) for n in sizes] for g in generators
        ]
        return tuple(
            declare(b, "feedback", n_out, n, [draw[k] for draw in drawn])
            for k, n in enumerate(sizes)
        )

    def send(self, b: LifetimeBuilder, layers: Sequence[Layer], feedback: Sequence[Buffer]) -> None:
        """Send the output error to every hidden layer at once."""
        for layer, matrix in zip(layers[:-1], feedback, strict=True):
            b.matvec_t(layer.error, matrix, layers[-1].error)
            through_tanh(b, layer)

    def products(self, sizes: Sequence[int]) -> int:
        """Return the multiply-adds of outputs times all hidden units."""
        return sizes[-1] * sum(sizes[1:-1])


@CIRCUITS.register("sign-symmetric")
class SignSymmetric(Circuit):
    """Sign symmetry: errors travel down through the signs of the weights, / sqrt(n_in).

    Source: Q. Liao, J. Z. Leibo, T. Poggio, "How important is weight symmetry in
    backpropagation?", AAAI 2016, with uniform magnitudes.
    """

    locks = "FBU"
    transports_weights = True

    def feedback(
        self,
        b: LifetimeBuilder,
        layers: Sequence[Layer],
        generators: Sequence[np.random.Generator],
    ) -> tuple[Buffer, ...]:
        """Declare one matrix for each layer but the first; ``send`` fills it."""
        uppers = [layer.weights for layer in layers[1:]]
        return tuple(b.matrix("signs", w.n_out, w.n_in) for w in uppers)

    def send(self, b: LifetimeBuilder, layers: Sequence[Layer], feedback: Sequence[Buffer]) -> None:
        """Take the signs of the weights as they are, and send errors through them."""
        for layer, signs in zip(layers[1:], feedback, strict=True):
            b.map(signs, f"{signs.n_in**-0.5!r}*sign(u)", u=layer.weights)
        send_down(b, layers, feedback)


@CIRCUITS.register("kolen-pollack")
class KolenPollack(FeedbackAlignment):
    """Kolen-Pollack: random feedback matrices that get the changes of the weights they mirror.

    After each update both lose the share .001 of themselves, so that their difference shrinks by
    that share a step. Sources: J. F. Kolen, J. B. Pollack, "Backpropagation without weight
    transport", ICNN 1994; M. Akrout et al., "Deep learning without weight transport", NeurIPS 2019.
    """

    learns_feedback = True

    def adapt(
        self, b: LifetimeBuilder, changes: Sequence[Change], feedback: Sequence[Buffer]
    ) -> None:
        """Add to each matrix the change of its weights; let both decay."""
        kept = 1.0 - KOLEN_POLLACK_DECAY
        for change, matrix in zip(changes[1:], feedback, strict=True):
            b.map(matrix, f"{kept!r}*(u + now - before)", u=matrix, now=change.now,
                  before=change.before)  # fmt: skip
            b.map(change.now, f"{kept!r}*u", u=change.now)
