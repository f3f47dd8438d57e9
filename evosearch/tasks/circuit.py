"""A rule in the slot of a circuit: a network learns to classify under it."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from evosearch.circuits.base import CIRCUITS, Circuit
from evosearch.circuits.base import TERMINALS as CIRCUIT_TERMINALS
from evosearch.circuits.normalisers import Normaliser, normaliser
from evosearch.tasks.base import TASKS, TaskSettings
from evosearch.tasks.deep_classifier import DeepClassifierTask


class CircuitSettings(TaskSettings):
    """Settings of ``circuit``."""

    circuit: str = Field("dfa", description="how errors reach the layers, see list learners")
    data: str = Field("digits", description="name of a data set, as of classification")
    hidden: tuple[Annotated[int, Field(ge=1, le=10_000)], ...] = Field(
        (64,) * 6, description="tanh units of each hidden layer"
    )
    updates: int = Field(880, ge=1, le=1_000_000, description="minibatches shown")
    batch: int = Field(32, ge=1, le=10_000, description="examples of a minibatch")
    normaliser: Literal["none", "clip", "sign", "momentum"] = Field(
        "none", description="what happens to the rule's increments"
    )


@TASKS.register("circuit")
class CircuitTask(DeepClassifierTask):
    """One rule changes all weights and biases of a deep classifier, in the slot of a circuit.

    The circuit gives every unit a teaching signal; the rule ``error*pre`` makes it the learner of
    that name. The network has tanh units and a softmax; a draw is its initial weights N(0, 1/n_in),
    the circuit's random feedback and the order of the examples. The rule acts after each
    minibatch, as the mean over its examples. Fitness is the accuracy after the last update, in
    [0, 1]: on the validation part after learning from the training part; on split ``test``, on the
    test part after learning from both others.
    """

    Settings = CircuitSettings
    terminals = CIRCUIT_TERMINALS
    settings: CircuitSettings

    def _circuit(self) -> tuple[Circuit, Normaliser]:
        s = self.settings
        return CIRCUITS.get(s.circuit)(), normaliser(s.normaliser, 1.0)
