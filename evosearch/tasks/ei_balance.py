"""Inhibitory plasticity that holds a neuron at a target rate, whatever its input."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from math import exp
from typing import TYPE_CHECKING, Annotated, TypeAlias

import numpy as np
from pydantic import AfterValidator, Field

from evosearch.outcome import FloatArray
from evosearch.populations import LowRank
from evosearch.tasks.base import (
    TASKS,
    Domain,
    Key,
    TaskSettings,
    VectorScores,
    VectorTask,
    draw_rng,
)

if TYPE_CHECKING:
    from evosearch.spiking.inhibition import Inputs, PlasticityLaw

N_EXCITATORY, N_INHIBITORY = 800, 200
STEPS_A_S = 10_000
LOWEST_RATE, HIGHEST_RATE = 0.1, 100.0  # Hz
TAU = 20.0  # ms
REFERENCE_RATE = 10.0  # Hz
ENDED = 100.0  # Hz of error that a life which ends early is given at least

# In the order of a vector; alpha is that of a target of 10 Hz.
_ZERO = (0.0, 0.0, 0.0, 0.0, 0.0, 0.0)
_ISTDP = (0.0, 0.0, -2.0 * REFERENCE_RATE * TAU * 1e-3, 0.0, 1.0, 1.0)
_BASELINES = {
    "start": _ZERO,
    "istdp": _ISTDP,
    "istdp_weaker": (*_ISTDP[:2], 0.9 * _ISTDP[2], *_ISTDP[3:]),
}


InputRate: TypeAlias = Annotated[float, Field(gt=0, le=100)]


def _rising(pair: tuple[float, float]) -> tuple[float, float]:
    if pair[0] > pair[1]:
        raise ValueError(f"{list(pair)} is no range; its first number must not exceed its second")
    return pair


class EiBalanceSettings(TaskSettings):
    """Settings of ``ei_balance``."""

    targets: tuple[Annotated[float, Field(gt=0, lt=100)], ...] = Field(
        (10.0,), min_length=1, description="rates to be held, Hz; a trial is lived for each"
    )
    input_rate: Annotated[tuple[InputRate, InputRate], AfterValidator(_rising)] = Field(
        (1.0, 5.0), description="range of the rate that all inputs of a trial share, Hz"
    )
    learning: int = Field(30, ge=10, le=10_000, multiple_of=10, description="s before scoring")
    scoring: int = Field(30, ge=10, le=10_000, multiple_of=10, description="s of scoring")


@TASKS.register("ei_balance")
class EiBalanceTask(VectorTask):
    """Six numbers of a law by which inhibitory synapses change; fitness is minus the rate's error.

    A leaky integrate-and-fire neuron with conductances (20 ms, threshold -50 mV, reset -60 mV,
    refractory 5 ms; see ``evosearch.spiking.inhibition``) has 800 excitatory inputs of fixed weight
    and 200 inhibitory ones. All are Poisson with one rate, U[1, 5] Hz, drawn for each trial. Their
    weights start at .1 and stay in [0, 5]; a spike of an input adds .01 (alpha + kappa x_post), a
    spike of the neuron .01 (beta + gamma x_pre). A vector is (log(tau_pre / 20 ms), log(tau_post /
    20 ms), alpha, beta, gamma, kappa); alpha is multiplied by the target rate / 10 Hz. After 30 s
    the rate is measured for 30 s, during which plasticity goes on. Fitness is minus its distance
    from the target in Hz, averaged over targets. A life that spikes less than .1 or more than 100
    times a second over 10 s ends there, at minus 100 or less, the sooner the worse.

    Metrics: ``rate_T`` for each target T, and the shares ``within_2`` and ``within_half`` of the
    trials whose error is below 2 and .5 Hz at every target.

    Sources: T. Vogels, H. Sprekeler, F. Zenke, C. Clopath, W. Gerstner, "Inhibitory plasticity
    balances excitation and inhibition in sensory pathways and memory networks", Science 334, 2011
    (``istdp``: beta 0, gamma and kappa 1, alpha -2 rate tau); B. Confavreux, E. Agnes, F. Zenke,
    H. Sprekeler, T. Vogels, "Balancing complexity, performance and plausibility to meta learn
    plasticity rules in recurrent spiking networks", PLOS Computational Biology 21, 2025.
    """

    Settings = EiBalanceSettings
    baselines = tuple(_BASELINES)
    largest_block = 16
    settings: EiBalanceSettings

    def domain(self) -> Domain:
        """Return time constants of 4.5 to 90 ms, coefficients in [-5, 5]; start: no plasticity."""
        reach = np.array([1.5, 1.5, 5.0, 5.0, 5.0, 5.0])
        return Domain(np.array(_ZERO), sigma0=0.3, low=-reach, high=reach)

    def baseline(self, name: str) -> FloatArray:
        """Return no plasticity, the known rule, or the known rule with a smaller alpha."""
        return np.array(_BASELINES[name])

    def score(self, points: FloatArray | LowRank, keys: Sequence[Key], split: str) -> VectorScores:
        """Live a trial for each point, draw and target."""
        vectors = points.dense() if isinstance(points, LowRank) else points
        s = self.settings
        trials = [draw_inputs(key, s.input_rate, s.learning + s.scoring) for key in keys]
        lives = [
            [[self._live(x, trial, t) for t in s.targets] for trial in trials] for x in vectors
        ]
        rates, errors = np.moveaxis(np.array(lives).reshape(-1, len(keys), len(s.targets), 2), 3, 0)
        worst = errors.max(axis=2)
        metrics = {f"rate_{t:g}": rates[:, :, k].mean(axis=1) for k, t in enumerate(s.targets)}
        metrics["within_2"] = (worst < 2.0).mean(axis=1)
        metrics["within_half"] = (worst < 0.5).mean(axis=1)
        return VectorScores(-errors.mean(axis=2), metrics)

    def _live(self, vector: FloatArray, inputs: Inputs, target: float) -> tuple[float, float]:
        """Return rate and error in Hz of one trial."""
        from evosearch.spiking.inhibition import count_spikes

        law, window_s = plasticity_law(vector, target), 10
        least, most = round(LOWEST_RATE * window_s), round(HIGHEST_RATE * window_s)
        counts = count_spikes(law, inputs, N_INHIBITORY, window_s * STEPS_A_S, (least, most))
        lived = counts[counts >= 0]
        if not least <= lived[-1] <= most:
            share = len(lived) / len(counts)
            return float(lived[-1] / window_s), ENDED * (2.0 - share)
        rate = float(counts[self.settings.learning // window_s :].sum() / self.settings.scoring)
        return rate, abs(rate - target)


def plasticity_law(vector: FloatArray, target: float) -> PlasticityLaw:
    """Return the law that a vector (6,) writes down, for a target rate in Hz."""
    from evosearch.spiking.inhibition import PlasticityLaw

    log_pre, log_post, alpha, beta, gamma, kappa = (float(x) for x in vector)
    scaled = alpha * target / REFERENCE_RATE
    return PlasticityLaw(TAU * exp(log_pre), TAU * exp(log_post), scaled, beta, gamma, kappa)


@lru_cache(maxsize=64)
def draw_inputs(key: Key, input_rate: tuple[float, float], duration: int) -> Inputs:
    """Draw the spikes of all inputs in one trial of ``duration`` seconds."""
    from evosearch.spiking.inhibition import Inputs

    rng = draw_rng(key)
    rate, n_steps = rng.uniform(*input_rate), duration * STEPS_A_S
    excitatory = rng.poisson(N_EXCITATORY * rate / STEPS_A_S, n_steps).astype(np.uint8)
    n_spikes = rng.poisson(N_INHIBITORY * rate * duration)
    step = np.sort(rng.integers(0, n_steps, n_spikes)).astype(np.int32)
    return Inputs(excitatory, step, rng.integers(0, N_INHIBITORY, n_spikes).astype(np.int32))
