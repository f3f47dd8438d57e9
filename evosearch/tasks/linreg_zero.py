"""Linear regression online: which update makes w.x the teacher, from its examples alone?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from evosearch.engine.program import Level, Terminal
from evosearch.outcome import FloatArray
from evosearch.tasks.base import (
    TASKS,
    Key,
    RuleTask,
    TaskScores,
    TaskSettings,
    draw_rng,
    engine_keys,
    exploded,
    finite_outputs,
    graded,
)

if TYPE_CHECKING:
    from evosearch.engine.lifetime import Lifetime
    from evosearch.engine.run import LifeResult


class LinregZeroSettings(TaskSettings):
    """Settings of ``linreg_zero`` and of ``linreg_zero_program``."""

    features: int = Field(4, ge=1, le=1000, description="inputs of the teacher")
    shown: int = Field(100, ge=1, le=1_000_000, description="examples to learn from, shown once")
    asked: int = Field(100, ge=1, le=1_000_000, description="examples to be asked about")


@TASKS.register("linreg_zero")
class LinregZeroTask(RuleTask):
    """A linear unit learns a linear teacher online; the rule is all that learns.

    One draw is one task: a teacher from N(0, 1) without a bias and inputs from N(0, 1). The unit is
    ``post = sum_j w_j pre_j`` with w = 0 at birth; each example is shown once and the rule acts
    after it. Then the unit is asked. Fitness is 1 - (2/pi) arctan(root mean square error), in
    [0, 1]. The metric ``rmse`` is the mean of that error over draws.

    Source: E. Real, C. Liang, D. So, Q. Le, "AutoML-Zero: Evolving Machine Learning Algorithms From
    Scratch", ICML 2020; there predict and setup are evolved too.
    """

    Settings = LinregZeroSettings
    terminals = (
        Terminal("w", Level.SYNAPSE, "weight", low=-3.0, high=3.0),
        Terminal("pre", Level.PRE, "input", low=-3.0, high=3.0),
        Terminal("post", Level.POST, "output", low=-6.0, high=6.0),
        Terminal("target", Level.POST, "the teacher's output", low=-6.0, high=6.0),
        Terminal("error", Level.POST, "target minus output", low=-6.0, high=6.0),
    )
    worst = 0.0
    settings: LinregZeroSettings

    def lifetimes(self, keys: Sequence[Key], split: str) -> list[Lifetime]:
        """Build the one condition: learning, then a pass that adds up squared errors."""
        from evosearch.engine.lifetime import LifetimeBuilder

        s = self.settings
        tasks = [draw_regression(key, s) for key in keys]
        b = LifetimeBuilder()
        pre, w = b.vector("pre", s.features), b.matrix("w", 1, s.features)
        post, target, error = (b.vector(name, 1) for name in ("post", "target", "error"))
        loss = b.vector("loss", 1)
        inputs = b.table(np.stack([task.inputs for task in tasks]))
        targets = b.table(np.stack([task.targets for task in tasks])[:, :, None])
        with b.repeat(s.shown) as row:
            b.load(pre, inputs, row=row)
            b.load(target, targets, row=row)
            b.matvec(post, w, pre)
            b.map(error, "t - y", t=target, y=post)
            b.rule(w=w, pre=pre, post=post, target=target, error=error)
        with b.repeat(s.asked) as row:
            b.load(pre, inputs, row=row + s.shown)
            b.load(target, targets, row=row + s.shown)
            b.matvec(post, w, pre)
            b.map(loss, "s + square(t - y)", s=loss, t=target, y=post)
        b.output(loss)
        return [b.build(projection=self.projection, dtype=self.dtype, draw_keys=engine_keys(keys))]

    def score(
        self, results: Sequence[LifeResult], lifetimes: Sequence[Lifetime], keys: Sequence[Key]
    ) -> TaskScores:
        """Score the squashed error."""
        (result,), (life,) = results, lifetimes
        rmse = np.sqrt(finite_outputs(result)[:, :, 0] / self.settings.asked)
        fitness = graded(squashed(rmse), result, life, self.worst)
        return TaskScores(fitness, exploded(result), {"rmse": rmse.mean(axis=1)})


@dataclass(frozen=True)
class Regression:
    """One task: inputs (shown + asked, features) and the teacher's outputs (shown + asked,)."""

    inputs: NDArray[np.float64]
    targets: NDArray[np.float64]


def draw_regression(key: Key, s: LinregZeroSettings) -> Regression:
    """Draw a teacher and its examples; those that are shown come first."""
    rng = draw_rng(key)
    teacher = rng.standard_normal(s.features)
    inputs = rng.standard_normal((s.shown + s.asked, s.features))
    return Regression(inputs, inputs @ teacher)


def squashed(rmse: FloatArray) -> FloatArray:
    """Return 1 - (2/pi) arctan(rmse): 1 for no error, 0 for one without limit."""
    return 1.0 - 2.0 / np.pi * np.arctan(rmse)
