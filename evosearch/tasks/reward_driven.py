"""What both forms of the reward-driven task share: rewards of 1 or -1, summed as fitness."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from pydantic import Field

from evosearch.engine.program import Level, Terminal
from evosearch.tasks.base import (
    Key,
    RuleTask,
    TaskScores,
    TaskSettings,
    exploded,
    finite_outputs,
    graded,
)

if TYPE_CHECKING:
    from evosearch.engine.lifetime import Lifetime
    from evosearch.engine.run import LifeResult

N_INPUTS = 50
RATE_OF_MEAN = 0.05

REWARD_TERMINALS = (
    Terminal("mod", Level.NETWORK, "reward R of the trial, -1 or 1", low=-1.0, high=1.0),
    Terminal("mod_mean", Level.NETWORK, "running mean of earlier rewards", low=-1.0, high=1.0),
)


class RewardDrivenSettings(TaskSettings):
    """Settings that both forms of the reward-driven task have."""

    patterns: int = Field(30, ge=1, le=1000, description="patterns of a life, each of one class")
    trials: int = Field(500, ge=1, le=100_000, description="trials of a life")
    connectivity: float = Field(0.8, gt=0, le=1, description="probability of a synapse")


class RewardDrivenTask(RuleTask):
    """Trials with a reward of 1 or -1 each; the one output of a life is their sum."""

    def __init__(self, settings: Any, **options: Any) -> None:
        super().__init__(settings, **options)
        self.worst = -float(self.settings.trials)

    def score(
        self, results: Sequence[LifeResult], lifetimes: Sequence[Lifetime], keys: Sequence[Key]
    ) -> TaskScores:
        """Score the sum of rewards."""
        (result,) = results
        total = finite_outputs(result)[:, :, 0]
        return TaskScores(graded(total, result, lifetimes[0], self.worst), exploded(result))
