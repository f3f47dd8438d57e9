"""A T-maze reduced to its core: learn which action a cue rewards, and relearn after a reversal."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from evosearch.engine.program import Level, Terminal
from evosearch.outcome import FloatArray
from evosearch.tasks.base import (
    TASKS,
    Flips,
    Key,
    RuleTask,
    TaskScores,
    TaskSettings,
    draw_rng,
    engine_keys,
    graded,
    one_row,
    over_conditions,
)

if TYPE_CHECKING:
    from evosearch.engine.lifetime import Lifetime, Projection
    from evosearch.engine.run import LifeResult

N_ACTIONS = 2
HIGH, LOW, BASELINE = 1.0, 0.2, 0.6
NOISE_SD, W0_SD = 0.1, 0.01

CUE_TERMINALS = (
    Terminal("w", Level.SYNAPSE, "weight", low=-4.0, high=4.0),
    Terminal("pre", Level.PRE, "1 for the cue that is shown, else 0", low=0.0, high=1.0),
    Terminal("post", Level.POST, "1 for the action taken, else 0", low=0.0, high=1.0),
    Terminal("mod", Level.NETWORK, "reward minus 0.6", low=-0.4, high=0.4),
)


class SwitchingCueSettings(TaskSettings):
    """Settings of ``switching_cue``."""

    cues: tuple[Annotated[int, Field(ge=1, le=256)], ...] = Field(
        (1, 4), min_length=1, description="numbers of cues, S"
    )
    clips: tuple[Annotated[float, Field(gt=0, allow_inf_nan=False)], ...] = Field(
        (1.0, 2.0, 4.0), min_length=1, description="weights are held in [-clip, clip]"
    )
    trials: int = Field(100, ge=1, le=100_000, description="trials a lifetime")
    flips: Flips = Field(
        ((35, 65),), description="ranges from which the trials are drawn at which all sides flip"
    )


@TASKS.register("switching_cue")
class SwitchingCueTask(RuleTask):
    """A reward-modulated rule that must learn and relearn which side each cue rewards.

    Each trial shows one of S cues; the action is argmax(W pre + N(0, 0.1^2)); the reward is 1 on
    the rewarded side, else 0.2; ``mod`` is the reward minus 0.6; then the rule acts. The rewarded
    side of each cue is random, and all flip at a trial drawn from U{35..65} of 100. Initial
    weights N(0, 0.01^2). Each pair of a number of cues and a clip is a condition. Fitness is the
    mean reward, averaged over conditions; ``reward_S_clip`` among the metrics tells each.

    Sources: Y. Niv, D. Joel, I. Meilijson, E. Ruppin, "Evolution of reinforcement learning in
    uncertain environments", Adaptive Behavior 10, 2002; A. Soltoggio et al., "Evolutionary
    advantages of neuromodulated plasticity in dynamic, reward-based scenarios", ALIFE 2008;
    S. Risi, K. Stanley, SAB 2010 and IJCNN 2012.
    """

    Settings = SwitchingCueSettings
    terminals = CUE_TERMINALS
    worst = LOW
    settings: SwitchingCueSettings

    def lifetimes(self, keys: Sequence[Key], split: str) -> list[Lifetime]:
        """Build one condition for each number of cues and each clip."""
        s = self.settings
        conditions = []
        for n_cues, clip in self._conditions():
            lives = [draw_life(key, n_cues, s.trials, s.flips) for key in keys]
            projection = replace(self.projection, low=-clip, high=clip)
            conditions.append(
                cue_lifetime(lives, engine_keys(keys, n_cues), projection, self.dtype)
            )
        return conditions

    def score(
        self, results: Sequence[LifeResult], lifetimes: Sequence[Lifetime], keys: Sequence[Key]
    ) -> TaskScores:
        """Score the mean reward over the conditions."""
        metrics: dict[str, FloatArray] = {}
        rewards: list[FloatArray] = []
        for (n_cues, clip), result, lifetime in zip(
            self._conditions(), results, lifetimes, strict=True
        ):
            mean = result.outputs[:, :, 0] / self.settings.trials
            reward = graded(mean, result, lifetime, self.worst)
            metrics[f"reward_{n_cues}cues_clip{clip:g}"] = reward.mean(axis=1)
            rewards.append(reward)
        for n_cues in self.settings.cues:
            same = [
                r
                for r, (cues, _) in zip(rewards, self._conditions(), strict=True)
                if cues == n_cues
            ]
            metrics[f"reward_{n_cues}cues"] = np.mean(same, axis=(0, 2))
        return over_conditions(rewards, results, metrics)

    def _conditions(self) -> list[tuple[int, float]]:
        return [(cues, clip) for cues in self.settings.cues for clip in self.settings.clips]


@dataclass(frozen=True)
class CueLife:
    """One draw: cues (trials, S) and rewarded sides (trials, 2), one-hot; weights (2 * S,)."""

    cues: NDArray[np.float64]
    sides: NDArray[np.float64]
    w0: NDArray[np.float64]


def draw_life(key: Key, n_cues: int, n_trials: int, flips: Sequence[tuple[int, int]]) -> CueLife:
    """Draw what one lifetime meets; ``flips`` are the inclusive ranges of the reversals."""
    rng = draw_rng(key, n_cues)
    shown = rng.integers(0, n_cues, n_trials)
    side = rng.integers(0, N_ACTIONS, n_cues)
    flip_at = [int(rng.integers(first, last + 1)) for first, last in flips]
    n_flips = np.searchsorted(np.sort(flip_at), np.arange(n_trials), side="right")
    rewarded = (side[shown] + n_flips) % N_ACTIONS
    w0 = rng.normal(0.0, W0_SD, N_ACTIONS * n_cues)
    return CueLife(np.eye(n_cues)[shown], np.eye(N_ACTIONS)[rewarded], w0)


def cue_lifetime(
    lives: Sequence[CueLife],
    draw_keys: NDArray[np.uint32],
    projection: Projection,
    dtype: str,
    *,
    is_mod_sign: bool = False,
) -> Lifetime:
    """Build the lifetime of one condition; ``is_mod_sign`` shows the rule only the sign of mod."""
    from evosearch.engine.lifetime import LifetimeBuilder

    n_trials, n_cues = lives[0].cues.shape
    b = LifetimeBuilder()
    pre, post = b.vector("pre", n_cues), b.vector("post", N_ACTIONS)
    drive, side = b.vector("drive", N_ACTIONS), b.vector("side", N_ACTIONS)
    mod, hit, total = b.scalar("mod"), b.scalar("hit"), b.scalar("total")
    w = b.matrix("w", N_ACTIONS, n_cues)
    b.initial(w, b.table(one_row([life.w0 for life in lives])))
    cues = b.table(np.stack([life.cues for life in lives]))
    sides = b.table(np.stack([life.sides for life in lives]))
    with b.repeat(n_trials) as trial:
        b.load(pre, cues, row=trial)
        b.load(side, sides, row=trial)
        b.random(drive, "normal")
        b.matvec(post, w, pre)
        b.map(drive, f"u + {NOISE_SD} * z", u=post, z=drive)
        b.argmax(post, drive)
        b.map(drive, "y * s", y=post, s=side)
        b.reduce(hit, "sum", drive)
        b.map(total, f"t + {LOW} + {HIGH - LOW} * c", t=total, c=hit)
        modulator = "2*c - 1" if is_mod_sign else f"{LOW - BASELINE} + {HIGH - LOW} * c"
        b.map(mod, modulator, c=hit)
        b.rule(w=w, pre=pre, post=post, mod=mod)
    b.output(total)
    return b.build(projection=projection, dtype=dtype, draw_keys=draw_keys)
