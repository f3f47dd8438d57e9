"""Rules as tables over binary activities: all 6,561 can be scored, so the truth is known."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from pydantic import Field

from evosearch.engine.program import Level, Terminal
from evosearch.tasks.base import (
    TASKS,
    Flips,
    Key,
    RuleTask,
    TaskScores,
    TaskSettings,
    engine_keys,
    exploded,
    graded,
)
from evosearch.tasks.switching_cue import CUE_TERMINALS, LOW, cue_lifetime, draw_life

if TYPE_CHECKING:
    from evosearch.engine.lifetime import Lifetime
    from evosearch.engine.run import LifeResult


class DiscreteTableSettings(TaskSettings):
    """Settings of ``discrete_table``."""

    cues: int = Field(4, ge=1, le=256, description="number of cues, S")
    trials: int = Field(100, ge=1, le=100_000, description="trials a lifetime")
    flips: Flips = Field(
        ((35, 65),), description="ranges from which the trials are drawn at which all sides flip"
    )


@TASKS.register("discrete_table")
class DiscreteTableTask(RuleTask):
    """The trials of ``switching_cue`` with a binary modulator, for rules that are tables.

    ``pre`` and ``post`` are 0 or 1 and ``mod`` is +1 after the high reward, -1 after the low one;
    so a rule has eight cases, and with entries in {-1, 0, 1} there are 3^8 = 6,561 rules. One
    draw is one lifetime of 100 trials with four cues. Fitness is the mean reward.

    Source: A. Yaman, G. Iacca, D. Mocanu, M. Coler, G. Fletcher, M. Pechenizkiy, "Evolving
    plasticity for autonomous learning under changing environmental conditions", Evolutionary
    Computation 29, 2021.
    """

    Settings = DiscreteTableSettings
    terminals = (
        *CUE_TERMINALS[:3],
        Terminal("mod", Level.NETWORK, "1 after the high reward, -1 after the low", low=-1, high=1),
    )
    worst = LOW
    settings: DiscreteTableSettings

    def lifetimes(self, keys: Sequence[Key], split: str) -> list[Lifetime]:
        """Build the one condition."""
        s = self.settings
        lives = [draw_life(key, s.cues, s.trials, s.flips) for key in keys]
        return [
            cue_lifetime(lives, engine_keys(keys), self.projection, self.dtype, is_mod_sign=True)
        ]

    def score(
        self, results: Sequence[LifeResult], lifetimes: Sequence[Lifetime], keys: Sequence[Key]
    ) -> TaskScores:
        """Score the mean reward."""
        (result,) = results
        mean = result.outputs[:, :, 0] / self.settings.trials
        fitness = graded(mean, result, lifetimes[0], self.worst)
        return TaskScores(fitness, exploded(result))
