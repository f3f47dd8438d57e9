"""A rule for the feedback matrices of a circuit, while the network learns from what they bring."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from evosearch.circuits.base import Circuit, Layer, Wiring
from evosearch.circuits.normalisers import Normaliser, Plain, normaliser
from evosearch.engine.program import Level, Terminal
from evosearch.tasks.base import TASKS, TaskSettings
from evosearch.tasks.deep_classifier import DeepClassifierTask

if TYPE_CHECKING:
    from evosearch.circuits.scene import Scene
    from evosearch.engine.lifetime import Buffer


class FeedbackSettings(TaskSettings):
    """Settings of ``feedback``."""

    data: str = Field("digits", description="name of a data set, as of classification")
    hidden: tuple[Annotated[int, Field(ge=1, le=10_000)], ...] = Field(
        (64,) * 6, description="tanh units of each hidden layer", min_length=1
    )
    updates: int = Field(880, ge=1, le=1_000_000, description="minibatches shown")
    batch: int = Field(32, ge=1, le=10_000, description="examples of a minibatch")
    normaliser: Literal["none", "clip", "sign", "momentum", "adam"] = Field(
        "none", description="what happens to the increments of the forward weights"
    )
    rate: float = Field(0.3, gt=0, le=10, description="learning rate of the forward weights")
    decay: float = Field(
        0.0, ge=0, lt=1, description="share that forward weights above the first layer lose"
    )


@TASKS.register("feedback")
class FeedbackTask(DeepClassifierTask):
    """One rule changes all feedback matrices of a deep classifier; its weights learn as ever.

    The network has tanh units and a softmax. Errors travel down from layer to layer through
    matrices that start as N(0, 1/n_in), times the derivative of the unit, and forward weights and
    biases learn by error times activity. The rule then changes each feedback weight, as the mean
    over the minibatch; 0 is feedback alignment. A draw is the initial weights, the initial feedback
    and the order of the examples. Fitness is the accuracy after the last update, in [0, 1], on the
    parts that ``circuit`` uses.
    """

    Settings = FeedbackSettings
    terminals = (
        Terminal("w", Level.SYNAPSE, "feedback weight", low=-2.0, high=2.0),
        Terminal("dw", Level.SYNAPSE, "change of the forward weight beside it", low=-0.1, high=0.1),
        Terminal("pre", Level.PRE, "activity of the lower unit", low=-1.0, high=1.0),
        Terminal("post", Level.POST, "activity of the upper unit", low=-1.0, high=1.0),
        Terminal("error", Level.POST, "teaching signal of the upper unit", low=-1.0, high=1.0),
        Terminal("error_pre", Level.PRE, "what became of it at the lower unit", low=-1.0, high=1.0),
        Terminal("mod", Level.NETWORK, "probability of the right class", low=0.0, high=1.0),
    )
    settings: FeedbackSettings

    def _circuit(self) -> tuple[Circuit, Normaliser]:
        s = self.settings
        return PlasticFeedback(normaliser(s.normaliser, s.rate), s.decay), Plain(1.0)


class PlasticFeedback(Circuit):
    """Feedback matrices that the candidate's rule changes, under weights that learn by themselves.

    Args:
        forward: what happens to the increments of the forward weights, error times activity.
        decay: share that the forward weights above the first layer lose after each update.
    """

    title = "feedback with a rule of its own"
    locks = "FBU"

    def __init__(self, forward: Normaliser, decay: float) -> None:
        self._forward, self._kept = forward, 1.0 - decay

    def trained(self, n_layers: int) -> range:
        """Return none: the rule in the slot is not the forward weights'."""
        return range(0)

    def wire(self, scene: Scene) -> Wiring:
        """Send errors, let weights learn from them, and then apply the rule to what sent them."""
        upper = scene.layers[1:]
        feedback = scene.matrices_like([layer.weights for layer in upper])
        changes = [scene.b.matrix("change", m.n_out, m.n_in) for m in feedback]
        own = [(layer, scene.plastic(layer.weights, self._forward),
                scene.plastic(layer.bias, self._forward)) for layer in scene.layers]  # fmt: skip

        def send() -> None:
            scene.send_down(feedback)
            for layer, change in zip(upper, changes, strict=True):
                scene.b.map(change, "u", u=layer.weights)
            for layer, weights, bias in own:
                weights.learn(layer.error, layer.pre)
                bias.learn(layer.error, scene.one)
            for layer, change, matrix in zip(upper, changes, feedback, strict=True):
                self._adapt(scene, layer, change, matrix)

        return Wiring(send)

    def _adapt(self, scene: Scene, layer: Layer, change: Buffer, matrix: Buffer) -> None:
        """Emit the rule at one feedback matrix; ``change`` holds the weights before theirs."""
        scene.b.map(change, "now - before", now=layer.weights, before=change)
        scene.b.rule(
            w=matrix,
            dw=change,
            pre=layer.pre,
            post=layer.post,
            error=layer.error,
            error_pre=layer.error_pre,
            mod=scene.mod,
        )
        scene.b.map(layer.weights, f"{self._kept!r}*u", u=layer.weights)
