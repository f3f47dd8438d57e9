"""Chalmers' task: one logistic unit learns a linearly separable task from twelve exemplars."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from evosearch.engine.program import Level, Terminal
from evosearch.tasks.base import (
    TASKS,
    Key,
    RuleTask,
    TaskScores,
    TaskSettings,
    draw_rng,
    engine_keys,
    exploded,
    graded,
    one_row,
)

if TYPE_CHECKING:
    from evosearch.engine.lifetime import Lifetime
    from evosearch.engine.run import LifeResult

N_INPUTS = 5  # beside the bias


class DeltaRuleSettings(TaskSettings):
    """Settings of ``delta_rule``."""

    exemplars: int = Field(12, ge=2, le=1000, description="input patterns a task")
    epochs: int = Field(10, ge=1, le=10_000, description="passes over the exemplars")
    irrelevant: Literal["random", "zero"] = Field(
        "random", description="what the inputs without a teacher weight carry"
    )


@TASKS.register("delta_rule")
class DeltaRuleTask(RuleTask):
    """A supervised rule for a single layer, judged on many small tasks.

    One draw is one task: n of U{2..5} relevant inputs with integer teacher weights U{-3..3}, a
    threshold U(-1.5, 2.5), twelve binary exemplars of which 3 to 9 are positive, and initial
    weights U[-1, 1]. The unit is ``post = sigmoid(sum_j w_j pre_j)`` over five inputs and a bias
    of 1; the exemplars are shown for ten epochs in a fixed order, the rule acts after each.
    Fitness is 1 - mean |target - post| after the lifetime, in [0, 1].

    Source: D. J. Chalmers, "The Evolution of Learning: An Experiment in Genetic Connectionism",
    Proceedings of the 1990 Connectionist Models Summer School.
    """

    Settings = DeltaRuleSettings
    terminals = (
        Terminal("w", Level.SYNAPSE, "weight", low=-20.0, high=20.0),
        Terminal("pre", Level.PRE, "binary input", low=0.0, high=1.0),
        Terminal("post", Level.POST, "logistic output", low=0.0, high=1.0),
        Terminal("target", Level.POST, "wanted output", low=0.0, high=1.0),
        Terminal("error", Level.POST, "target minus output", low=-1.0, high=1.0),
    )
    worst = 0.0
    settings: DeltaRuleSettings

    def lifetimes(self, keys: Sequence[Key], split: str) -> list[Lifetime]:
        """Build the one condition: learning, then a pass that adds up the errors."""
        from evosearch.engine.lifetime import LifetimeBuilder

        n_shown = self.settings.exemplars
        tasks = [draw_task(key, n_shown, self.settings.irrelevant) for key in keys]
        b = LifetimeBuilder()
        pre, post = b.vector("pre", N_INPUTS + 1), b.vector("post", 1)
        target, error, loss = b.vector("target", 1), b.vector("error", 1), b.vector("loss", 1)
        w = b.matrix("w", 1, N_INPUTS + 1)
        b.initial(w, b.table(one_row([task[2] for task in tasks])))
        inputs = b.table(np.stack([task[0] for task in tasks]))
        targets = b.table(np.stack([task[1] for task in tasks]))

        with b.repeat(self.settings.epochs), b.repeat(n_shown) as row:
            b.load(pre, inputs, row=row)
            b.load(target, targets, row=row)
            b.matvec(post, w, pre)
            b.map(post, "sigmoid(u)", u=post)
            b.map(error, "t - y", t=target, y=post)
            b.rule(w=w, pre=pre, post=post, target=target, error=error)
        with b.repeat(n_shown) as row:
            b.load(pre, inputs, row=row)
            b.load(target, targets, row=row)
            b.matvec(post, w, pre)
            b.map(loss, "s + abs(t - sigmoid(u))", s=loss, t=target, u=post)
        b.output(loss)
        return [b.build(projection=self.projection, dtype=self.dtype, draw_keys=engine_keys(keys))]

    def score(
        self, results: Sequence[LifeResult], lifetimes: Sequence[Lifetime], keys: Sequence[Key]
    ) -> TaskScores:
        """Score 1 - mean |target - post|."""
        (result,) = results
        fitness = 1.0 - result.outputs[:, :, 0] / self.settings.exemplars
        return TaskScores(graded(fitness, result, lifetimes[0], self.worst), exploded(result), {})


@lru_cache(maxsize=65_536)
def draw_task(
    key: Key, n_exemplars: int = 12, irrelevant: str = "random"
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Draw one task: inputs (E, 6) with the bias last, targets (E, 1), initial weights (6,)."""
    rng = draw_rng(key)
    while True:
        n_relevant = rng.integers(2, N_INPUTS + 1)
        teacher = np.zeros(N_INPUTS)
        teacher[:n_relevant] = rng.integers(-3, 4, n_relevant)
        threshold = rng.uniform(-1.5, 2.5)
        inputs = rng.integers(0, 2, (n_exemplars, N_INPUTS)).astype(float)
        if irrelevant == "zero":
            inputs[:, n_relevant:] = 0.0
        targets = (inputs @ teacher > threshold).astype(float)
        if 0.25 * n_exemplars <= targets.sum() <= 0.75 * n_exemplars:
            break
    weights = rng.uniform(-1.0, 1.0, N_INPUTS + 1)
    return np.c_[inputs, np.ones(n_exemplars)], targets[:, None], weights
