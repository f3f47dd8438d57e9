"""A bandit whose arms change: a reward-modulated rule must learn, explore and forget."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

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
    finite_outputs,
    graded,
    over_conditions,
)

if TYPE_CHECKING:
    from evosearch.engine.lifetime import Lifetime
    from evosearch.engine.run import LifeResult

BASELINE = 0.5


class BanditSettings(TaskSettings):
    """Settings of ``bandit``."""

    arms: tuple[Annotated[int, Field(ge=2, le=256)], ...] = Field(
        (2, 5, 10), min_length=1, description="numbers of arms, each a condition"
    )
    trials: int = Field(200, ge=1, le=100_000, description="pulls of a lifetime")
    hazard: float = Field(
        0.02, ge=0.0, le=1.0, description="probability before each pull that all arms change"
    )
    noise: float = Field(
        0.1, ge=0.0, allow_inf_nan=False, description="standard deviation of what drives the arms"
    )


@TASKS.register("bandit")
class BanditTask(RuleTask):
    """One synapse an arm; the pulled arm pays 1 with a chance of its own, else 0.

    Each trial pulls arm argmax(w + N(0, noise^2)); ``mod`` is the payment minus 1/2; then the rule
    acts. Chances are U(0, 1), and all are drawn anew before a trial with probability ``hazard``.
    Weights are 0 at birth; the input is always 1. Each number of arms is a condition. Fitness is
    the mean chance of the pulled arms, averaged over conditions, in [0, 1]; ``chance_K`` among the
    metrics tells each.

    Sources: R. Sutton, A. Barto, "Reinforcement Learning", 2018, chapter 2; J. Wang et al.,
    "Learning to reinforcement learn", 2016, for bandits as tasks of a learned learner.
    """

    Settings = BanditSettings
    terminals = (
        Terminal("w", Level.SYNAPSE, "weight", low=-4.0, high=4.0),
        Terminal("pre", Level.PRE, "always 1", low=1.0, high=1.0),
        Terminal("post", Level.POST, "1 for the arm pulled, else 0", low=0.0, high=1.0),
        Terminal("mod", Level.NETWORK, "payment minus 1/2", low=-0.5, high=0.5),
    )
    worst = 0.0
    settings: BanditSettings

    def lifetimes(self, keys: Sequence[Key], split: str) -> list[Lifetime]:
        """Build one condition for each number of arms."""
        return [self._lifetime(keys, n_arms) for n_arms in self.settings.arms]

    def score(
        self, results: Sequence[LifeResult], lifetimes: Sequence[Lifetime], keys: Sequence[Key]
    ) -> TaskScores:
        """Score the mean chance of the pulled arms over the conditions."""
        metrics: dict[str, FloatArray] = {}
        parts: list[FloatArray] = []
        for n_arms, result, life in zip(self.settings.arms, results, lifetimes, strict=True):
            mean = finite_outputs(result)[:, :, 0] / self.settings.trials
            parts.append(graded(mean, result, life, self.worst))
            metrics[f"chance_{n_arms}"] = parts[-1].mean(axis=1)
        return over_conditions(parts, results, metrics)

    def _lifetime(self, keys: Sequence[Key], n_arms: int) -> Lifetime:
        from evosearch.engine.lifetime import LifetimeBuilder

        s = self.settings
        b = LifetimeBuilder()
        pre, post, w = b.vector("pre", 1), b.vector("post", n_arms), b.matrix("w", n_arms, 1)
        drive, chances, pulled = (b.vector(name, n_arms) for name in ("drive", "chances", "pulled"))
        luck, mod, chance, total = (b.scalar(name) for name in ("luck", "mod", "chance", "total"))
        table = b.table(np.stack([draw_chances(key, n_arms, s.trials, s.hazard) for key in keys]))
        b.load(pre, b.table(np.ones((1, 1)), shared=True), row=0)
        with b.repeat(s.trials) as trial:
            b.load(chances, table, row=trial)
            b.random(drive, "normal")
            b.random(luck, "uniform")
            b.map(drive, f"{s.noise}*n + u", n=drive, u=w)
            b.argmax(post, drive)
            b.map(pulled, "y*p", y=post, p=chances)
            b.reduce(chance, "sum", pulled)
            b.map(total, "t + c", t=total, c=chance)
            b.map(mod, f"max(0, sign(c - u)) - {BASELINE}", c=chance, u=luck)
            b.rule(w=w, pre=pre, post=post, mod=mod)
        b.output(total)
        return b.build(
            projection=self.projection, dtype=self.dtype, draw_keys=engine_keys(keys, n_arms)
        )


def draw_chances(key: Key, n_arms: int, n_trials: int, hazard: float) -> NDArray[np.float64]:
    """Draw the chance of each arm at each trial (trials, arms)."""
    rng = draw_rng(key, n_arms)
    is_new = rng.random(n_trials) < hazard
    is_new[0] = True
    drawn = rng.random((int(is_new.sum()), n_arms))
    return drawn[np.cumsum(is_new) - 1]
