"""A spiking neuron with escape noise learns from reward which patterns to answer with a spike."""

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
from evosearch.tasks.spiking import Membrane

if TYPE_CHECKING:
    from evosearch.engine.lifetime import Buffer, Lifetime, LifetimeBuilder

STEP = 1.0  # ms
THRESHOLD = 15.0  # mV above rest
RATE, WIDTH = 1e-5, 0.2  # spikes a ms at the threshold; mV
SOFT_RATE, SOFT_WIDTH = 0.01, 5.0  # the same for the eligibility
LARGEST_EXPONENT = 40.0  # beyond it a spike is certain in any case
TAU_ELIGIBILITY = 500.0  # ms
NANO = 1000.0  # weights are nA, membranes count pA


class RewardDrivenLifSettings(RewardDrivenSettings):
    """Settings of ``reward_driven_lif``."""

    duration: int = Field(500, ge=20, le=10_000, description="a trial, ms")
    rate: float = Field(6.0, gt=0, le=1000, description="spikes of an input, Hz")


@TASKS.register("reward_driven_lif")
class RewardDrivenLifTask(RewardDrivenTask):
    """A rule by which a spiking neuron learns from reward alone when it should spike.

    Fifty inputs, each with a synapse with probability .8, carry one of thirty frozen patterns of
    Poisson spikes (500 ms, 6 Hz) in each of 500 trials. The membrane (10 ms, currents of 2 ms,
    250 pF, see ``evosearch.tasks.spiking``) starts each trial at rest. In a step of 1 ms it spikes
    with probability 1 - exp(-phi), phi = 1e-5 exp((V - 15 mV) / 0.2 mV); after its first spike it
    is silent until the trial ends, since only whether it spiked counts. The reward ``mod`` is 1
    where this agrees with the pattern's class, else -1. The eligibility of a synapse is the
    low-pass filtered product (500 ms) of its postsynaptic potential, whose peak is 1, and s - psi,
    with the spike s and a softer psi = 0.01 exp((V - 15 mV) / 5 mV), up to the first spike. Then
    the rule acts on the weights, N(0, 1) nA at first. Fitness is the sum of all rewards.

    The soft psi is what the published synapse computes, whose defaults are not those of its neuron;
    with phi in its place no known rule learns anything. There the membrane is reset and may spike
    again, and steps are 0.01 ms.

    Source: J. Jordan, M. Schmidt, W. Senn, M. A. Petrovici, "Evolving interpretable plasticity
    for spiking networks", eLife 10, 2021, reward-driven learning, after R. Urbanczik, W. Senn,
    Nature Neuroscience 12, 2009.
    """

    Settings = RewardDrivenLifSettings
    terminals = (
        Terminal("w", Level.SYNAPSE, "weight, nA", low=-5.0, high=5.0),
        *REWARD_TERMINALS,
        Terminal("elig", Level.PRE, "eligibility at the end of the trial", low=-1.0, high=1.0),
    )
    settings: RewardDrivenLifSettings

    def lifetimes(self, keys: Sequence[Key], split: str) -> list[Lifetime]:
        """Build the one condition: trials one after the other."""
        from evosearch.engine.lifetime import LifetimeBuilder

        lives = [draw_life(key, self.settings) for key in keys]
        n_steps = self.settings.duration
        b = LifetimeBuilder()
        w, psp = b.matrix("w", 1, N_INPUTS), b.matrix("psp", n_steps, N_INPUTS)
        weights, elig = b.vector("weights", N_INPUTS), b.vector("elig", N_INPUTS)
        sign, spiked = b.scalar("sign"), b.scalar("spiked")
        mod, mean, total = b.scalar("mod"), b.scalar("mod_mean"), b.scalar("total")
        b.initial(w, b.table(one_row([life.w0 for life in lives])))
        traces = b.table(np.stack([life.psp.reshape(len(life.psp), -1) for life in lives]))
        signs = b.table(np.stack([life.signs for life in lives])[:, :, None])
        shown = b.index(np.stack([life.shown for life in lives]))
        neuron = EscapeNoise(b, n_steps)
        with b.repeat(self.settings.trials) as trial:
            b.load(psp, traces, row=trial, via=shown)
            b.load(sign, signs, row=trial, via=shown)
            b.map(weights, "x", x=w)
            neuron.spike(psp, weights, spiked)
            b.matvec_t(elig, psp, neuron.surprise)
            b.map(mod, "(2*s - 1)*c", s=spiked, c=sign)
            b.map(total, "t + r", t=total, r=mod)
            b.rule(w=w, mod=mod, mod_mean=mean, elig=elig)
            b.map(mean, f"m + {RATE_OF_MEAN}*(r - m)", m=mean, r=mod)
        b.output(total)
        return [b.build(projection=self.projection, dtype=self.dtype, draw_keys=engine_keys(keys))]


class EscapeNoise:
    """Emits the phases of a trial: potentials, chances of a spike, the first spike, surprise.

    Attributes:
        surprise: (T,) s - psi, weighted as the low-pass filter weights it; 0 after the spike.
    """

    def __init__(self, b: LifetimeBuilder, n_steps: int) -> None:
        self._b, self._n_steps = b, n_steps
        self._v, self._psi = b.vector("v", n_steps), b.vector("psi", n_steps)
        self._chance, self._hit = b.vector("chance", n_steps), b.vector("hit", n_steps)
        self._first, self._time = b.vector("first", n_steps), b.vector("time", n_steps)
        self._filter, self.surprise = b.vector("filter", n_steps), b.vector("surprise", n_steps)
        self._at = b.scalar("at")
        steps = np.arange(n_steps)
        left = np.exp((steps - n_steps + 1) * STEP / TAU_ELIGIBILITY)
        b.initial(self._time, b.table(steps[None, :], shared=True))
        b.initial(self._filter, b.table(left[None, :], shared=True))

    def spike(self, psp: Buffer, weights: Buffer, spiked: Buffer) -> None:
        """Live a trial: write 1 into ``spiked`` where the neuron spikes, else 0."""
        b = self._b
        b.matvec(self._v, psp, weights)
        b.map(self._psi, _intensity(SOFT_RATE, SOFT_WIDTH), v=self._v)
        b.random(self._chance, "uniform")
        chance = f"1 - exp(-({_intensity(RATE, WIDTH)})) - r"
        b.map(self._hit, f"max(0, sign({chance}))", v=self._v, r=self._chance)
        b.reduce(spiked, "max", self._hit)
        b.argmax(self._first, self._hit)
        # Where there is no spike, argmax takes the first of all steps.
        b.map(self._first, "x*s", x=self._first, s=spiked)
        b.map(self._hit, "x*t", x=self._first, t=self._time)
        b.reduce(self._at, "sum", self._hit)
        b.map(self._at, f"t + (1 - s)*{self._n_steps}", t=self._at, s=spiked)
        b.map(
            self.surprise, "(x - p)*f*max(0, sign(a - t + 0.5))", x=self._first, p=self._psi,
            f=self._filter, a=self._at, t=self._time,
        )  # fmt: skip


def _intensity(rate: float, width: float) -> str:
    """Return the expected spikes of a step as text over v, the potential in peaks of 1 nA."""
    return f"{rate * STEP!r}*exp(min({LARGEST_EXPONENT}, ({peak(STEP)!r}*v - {THRESHOLD})/{width}))"


def peak(dt: float) -> float:
    """Return the peak of the potential that a spike of weight 1 nA causes, mV, in steps of dt."""
    spike = np.zeros((round(100 / dt), 1))
    spike[0] = NANO
    return float(Membrane(dt).traces(spike).max())


@dataclass(frozen=True)
class LifLife:
    """One draw.

    Attributes:
        psp: (patterns, T, 50) potentials of unit peak that the inputs cause, 0 without a synapse.
        signs: (patterns,) class of each, 1 where the neuron should spike, else -1.
        shown: (trials,) which pattern a trial shows.
        w0: (50,) weights at birth, nA.
    """

    psp: NDArray[np.float32]
    signs: NDArray[np.float64]
    shown: NDArray[np.int64]
    w0: NDArray[np.float64]


def draw_life(key: Key, settings: RewardDrivenLifSettings) -> LifLife:
    """Draw patterns, classes, trials and weights of one life."""
    rng = draw_rng(key)
    is_joined = rng.random(N_INPUTS) < settings.connectivity
    shape = (settings.patterns, settings.duration, N_INPUTS)
    spikes = rng.poisson(settings.rate * STEP * 1e-3, shape) * is_joined
    psp = Membrane(STEP).traces(spikes.astype(float)) * (NANO / peak(STEP))
    signs = rng.choice([-1.0, 1.0], settings.patterns)
    shown = rng.integers(0, settings.patterns, settings.trials)
    return LifLife(psp.astype(np.float32), signs, shown, rng.normal(0.0, 1.0, N_INPUTS))
