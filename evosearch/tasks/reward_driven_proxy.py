"""A stochastic unit learns from reward which patterns to answer: the fast proxy of a neuron."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from evosearch.engine.program import Level, Terminal
from evosearch.tasks.base import TASKS, Key, draw_rng, engine_keys, one_row
from evosearch.tasks.reward_driven import (
    N_INPUTS,
    RATE_OF_MEAN,
    REWARD_TERMINALS,
    RewardDrivenSettings,
    RewardDrivenTask,
)

if TYPE_CHECKING:
    from evosearch.engine.lifetime import Lifetime

SLOPE = 4.0


class ProxySettings(RewardDrivenSettings):
    """Settings of ``reward_driven_proxy``."""

    density: float = Field(0.3, gt=0, lt=1, description="probability that an input is on")


@TASKS.register("reward_driven_proxy")
class RewardDrivenProxyTask(RewardDrivenTask):
    """A rule by which a unit that fires or not learns from reward alone when it should.

    Thirty patterns of 50 binary inputs, each on with probability .3, have random classes; an input
    has a synapse with probability .8. Each of 500 trials shows one of them at random; the unit
    fires, s = 1, with probability p = sigmoid(4 w . x). The reward ``mod`` is 1 where it fires for
    the one class or is silent for the other, else -1. Then the rule acts on the weights, N(0, 1) /
    sqrt(15) at first; it may read the eligibility ``elig`` = (s - p) x and ``mod_mean``, the mean
    of earlier rewards, m <- m + .05 (R - m). Fitness is the sum of all rewards.

    Source: a reduction of the reward-driven task of J. Jordan, M. Schmidt, W. Senn,
    M. A. Petrovici, "Evolving interpretable plasticity for spiking networks", eLife 10, 2021; the
    known rule is REINFORCE (R. J. Williams, Machine Learning 8, 1992).
    """

    Settings = ProxySettings
    terminals = (
        Terminal("w", Level.SYNAPSE, "weight", low=-5.0, high=5.0),
        Terminal("pre", Level.PRE, "input, 0 or 1", low=0.0, high=1.0),
        Terminal("post", Level.POST, "1 where the unit fired, else 0", low=0.0, high=1.0),
        *REWARD_TERMINALS,
        Terminal("elig", Level.SYNAPSE, "eligibility (s - p) x", low=-1.0, high=1.0),
    )
    settings: ProxySettings

    def lifetimes(self, keys: Sequence[Key], split: str) -> list[Lifetime]:
        """Build the one condition: trials one after the other."""
        from evosearch.engine.lifetime import LifetimeBuilder

        lives = [draw_life(key, self.settings) for key in keys]
        b = LifetimeBuilder()
        pre, post = b.vector("pre", N_INPUTS), b.vector("post", 1)
        p, chance, sign = b.vector("p", 1), b.vector("chance", 1), b.vector("sign", 1)
        mod, mean, total = b.scalar("mod"), b.scalar("mod_mean"), b.scalar("total")
        w, elig = b.matrix("w", 1, N_INPUTS), b.matrix("elig", 1, N_INPUTS)
        surprise = b.scalar("surprise")
        b.initial(w, b.table(one_row([life.w0 for life in lives])))
        patterns = b.table(np.stack([life.patterns for life in lives]))
        signs = b.table(np.stack([life.signs for life in lives])[:, :, None])
        shown = b.index(np.stack([life.shown for life in lives]))
        with b.repeat(self.settings.trials) as trial:
            b.load(pre, patterns, row=trial, via=shown)
            b.load(sign, signs, row=trial, via=shown)
            b.random(chance, "uniform")
            b.matvec(p, w, pre)
            b.map(p, f"sigmoid({SLOPE}*h)", h=p)
            b.map(post, "max(0, sign(p - r))", p=p, r=chance)
            b.map(surprise, "s - p", s=post, p=p)
            b.map(elig, "a*x", a=surprise, x=pre)
            b.map(mod, "(2*s - 1)*c", s=post, c=sign)
            b.map(total, "t + r", t=total, r=mod)
            b.rule(w=w, pre=pre, post=post, mod=mod, mod_mean=mean, elig=elig)
            b.map(mean, f"m + {RATE_OF_MEAN}*(r - m)", m=mean, r=mod)
        b.output(total)
        return [b.build(projection=self.projection, dtype=self.dtype, draw_keys=engine_keys(keys))]


@dataclass(frozen=True)
class ProxyLife:
    """One draw.

    Attributes:
        patterns: (patterns, 50) of 0 and 1, inputs without a synapse always 0.
        signs: (patterns,) class of each, 1 where the unit should fire, else -1.
        shown: (trials,) which pattern a trial shows.
        w0: (50,) weights at birth.
    """

    patterns: NDArray[np.float64]
    signs: NDArray[np.float64]
    shown: NDArray[np.int64]
    w0: NDArray[np.float64]


def draw_life(key: Key, settings: ProxySettings) -> ProxyLife:
    """Draw patterns, classes, trials and weights of one life."""
    rng = draw_rng(key)
    is_joined = rng.random(N_INPUTS) < settings.connectivity
    patterns = (rng.random((settings.patterns, N_INPUTS)) < settings.density) * is_joined
    signs = rng.choice([-1.0, 1.0], settings.patterns)
    shown = rng.integers(0, settings.patterns, settings.trials)
    return ProxyLife(patterns.astype(float), signs, shown, rng.normal(0, 15**-0.5, N_INPUTS))
