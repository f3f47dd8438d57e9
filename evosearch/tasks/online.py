"""One pass over a stream of labelled images, one at a time, under one local rule."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import numpy as np
from pydantic import Field

from evosearch.circuits.base import CIRCUITS
from evosearch.circuits.base import TERMINALS as CIRCUIT_TERMINALS
from evosearch.circuits.life import accuracies, build_life, held_out
from evosearch.circuits.normalisers import normaliser
from evosearch.circuits.teaching import Plan
from evosearch.errors import InputError
from evosearch.tasks.base import (
    TASKS,
    Key,
    RuleTask,
    TaskScores,
    TaskSettings,
    exploded,
    graded,
)

if TYPE_CHECKING:
    from evosearch.data import Examples
    from evosearch.engine.lifetime import Lifetime
    from evosearch.engine.run import LifeResult

_PERMUTATION_SEED = 0x0E7


class OnlineSettings(TaskSettings):
    """Settings of ``online``."""

    circuit: str = Field("dfa", description="how errors reach the layers, see list learners")
    data: str = Field("digits", description="name of a data set, as of classification")
    hidden: tuple[Annotated[int, Field(ge=1, le=10_000)], ...] = Field(
        (64,), description="tanh units of each hidden layer"
    )
    shown: int | None = Field(
        None, ge=1, le=1_000_000, description="examples of the stream; missing: a whole pass"
    )
    judged: int | None = Field(
        None, ge=1, le=1_000_000, description="examples that judge, the first of them; missing: all"
    )
    permuted: bool = Field(False, description="whether the pixels change places, once for all")


@TASKS.register("online")
class OnlineTask(RuleTask):
    """A classifier meets each example once; one rule changes all of its weights after each.

    The network has tanh units and a softmax; a circuit gives every unit a teaching signal. A draw
    is the initial weights N(0, 1/n_in), the circuit's random feedback and the order of the
    examples. Fitness is the accuracy after the pass, in [0, 1]: on the splits ``search`` and
    ``validation`` the training part is shown and the validation part judges; on all others both
    are shown, and the test part judges.

    Source: L. Kirsch, J. Schmidhuber, "Meta Learning Backpropagation And Improving It", NeurIPS
    2021, for the stream and the transfer; there every synapse is a small recurrent network.
    """

    Settings = OnlineSettings
    terminals = CIRCUIT_TERMINALS
    worst = 0.0
    settings: OnlineSettings

    def lifetimes(self, keys: Sequence[Key], split: str) -> list[Lifetime]:
        """Build the one condition."""
        from evosearch.data import load_data

        s = self.settings
        data = load_data(s.data)
        learned, held = held_out(data, split if split in ("search", "validation") else "test")
        parts = learned, held.rows(np.arange(len(held))[: s.judged])
        if s.permuted:
            parts = _permuted(parts[0]), _permuted(parts[1])
        shown = len(parts[0]) if s.shown is None else s.shown
        if shown > len(parts[0]):
            raise InputError(f"shown is {shown}; a pass over {s.data!r} has {len(parts[0])}.")
        plan = Plan((data.n_inputs, *s.hidden, data.n_classes), shown, batch=1, check_every=shown)
        circuit = CIRCUITS.get(s.circuit)()
        life = build_life(circuit, normaliser("none", 1.0), plan, parts, keys,
                          projection=self.projection, dtype=self.dtype)  # fmt: skip
        return [life]

    def score(
        self, results: Sequence[LifeResult], lifetimes: Sequence[Lifetime], keys: Sequence[Key]
    ) -> TaskScores:
        """Score the accuracy after the pass."""
        (result,), (life,) = results, lifetimes
        fitness = graded(accuracies(life, result)[:, :, -1], result, life, self.worst)
        return TaskScores(fitness, exploded(result), {})


def _permuted(part: Examples) -> Examples:
    """Return the examples with all inputs in another order, the same for each."""
    from evosearch.data.base import examples

    order = np.random.default_rng(_PERMUTATION_SEED).permutation(part.inputs.shape[1])
    return examples(part.inputs[:, order], part.labels)
