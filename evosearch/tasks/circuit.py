"""A rule in the slot of a circuit: a network learns to classify under it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from evosearch.circuits.base import CIRCUITS
from evosearch.circuits.base import TERMINALS as CIRCUIT_TERMINALS
from evosearch.circuits.life import accuracies, build_life, held_out
from evosearch.circuits.normalisers import normaliser
from evosearch.circuits.teaching import Plan
from evosearch.tasks.base import TASKS, Key, RuleTask, TaskScores, TaskSettings, exploded, graded

if TYPE_CHECKING:
    from evosearch.engine.lifetime import Lifetime
    from evosearch.engine.run import LifeResult


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
class CircuitTask(RuleTask):
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
    worst = 0.0
    settings: CircuitSettings

    def lifetimes(self, keys: Sequence[Key], split: str) -> list[Lifetime]:
        """Build the one condition."""
        from evosearch.data import load_data

        s = self.settings
        data = load_data(s.data)
        sizes = (data.n_inputs, *s.hidden, data.n_classes)
        life = build_life(
            CIRCUITS.get(s.circuit)(),
            normaliser(s.normaliser, 1.0),
            Plan(sizes, s.updates, s.batch, check_every=s.updates),
            held_out(data, split),
            keys,
            projection=self.projection,
            dtype=self.dtype,
        )
        return [life]

    def score(
        self, results: Sequence[LifeResult], lifetimes: Sequence[Lifetime], keys: Sequence[Key]
    ) -> TaskScores:
        """Score the accuracy at the end."""
        (result,), (life,) = results, lifetimes
        fitness = graded(accuracies(life, result)[:, :, -1], result, life, self.worst)
        return TaskScores(fitness, exploded(result), {})
