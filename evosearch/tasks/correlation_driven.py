"""A neuron finds a repeated pattern in noise, without a teacher: two expressions of plasticity."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

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
    from evosearch.spiking.correlation import Stream

PERIOD, PATTERN = 500.0, 100.0  # ms
W0_MEAN, W0_SD = 0.38, 0.1
N_TERMS = 6
FOUND = 10.0
"""A ratio from which on the pattern counts as found, as published."""

# Coefficients of 1, w, k, wk, w^2, k^2: first of facilitation, then of depression.
_BASELINES = {
    "start": (0.0,) * (2 * N_TERMS),
    "additive_stdp": (0, 0, 1, 0, 0, 0, 0, 0, 1.05, 0, 0, 0),
    "multiplicative_stdp": (0, 0, 1, -1, 0, 0, 0, 0, 0, 1, 0, 0),
    "jordan_homeostatic": (0, -1, 1, 0, 0, 0, 0, -1, -1, 1, 0, 0),
}


class CorrelationSettings(TaskSettings):
    """Settings of ``correlation_driven``."""

    inputs: int = Field(1000, ge=10, le=100_000, description="inputs, each with one synapse")
    rate: float = Field(3.0, gt=0, le=100, description="mean spikes of an input, Hz")
    duration: int = Field(100, ge=1, le=10_000, description="s of learning")
    measuring: int = Field(11, ge=1, le=10_000, description="s over which the result is measured")
    cap: float = Field(math.inf, gt=0, description="ratio beyond which a trial earns no more")


@TASKS.register("correlation_driven")
class CorrelationDrivenTask(VectorTask):
    """Two expressions by which a neuron learns to answer a pattern that returns in noise.

    A thousand inputs spike at 3 Hz. In the last 100 ms of every 500 ms they repeat one frozen
    pattern; the background of inputs that spike in it is thinned, so that mean rates tell nothing.
    A leaky membrane (18 ms) takes each spike as a jump by the weight, spikes at 20 and is silent
    for 2 ms. A spike of an input subtracts .01 d(w, k) from its weight, k the trace of the neuron's
    spikes; a spike of the neuron adds .01 f(w, k) to all weights, k the traces of inputs; traces
    are sums of exponentials of 20 ms, weights stay in [0, 1]. All weights of a trial begin at one
    number, N(.38, .1). After 100 s weights rest, the threshold is lifted, and over 11 s the
    fitness is measured, see ``evosearch.spiking.correlation.signal_to_noise``. A vector holds the
    coefficients of 1, w, k, wk, w^2, k^2 in f and then in d.

    Metrics: ``output_rate`` is the neuron's rate while it learns, Hz; ``found`` the share of trials
    whose fitness is 10 or more.

    Source: J. Jordan, M. Schmidt, W. Senn, M. A. Petrovici, "Evolving interpretable plasticity
    for spiking networks", eLife 10, 2021, correlation-driven learning, after T. Masquelier,
    R. Guyonneau, S. J. Thorpe, PLOS ONE 3, 2008. ``jordan_homeostatic`` is the pair that their
    runs 9 and 19 found; delays of 1 ms are left out.
    """

    Settings = CorrelationSettings
    baselines = tuple(_BASELINES)
    largest_block = 16
    settings: CorrelationSettings

    def domain(self) -> Domain:
        """Return coefficients in [-1, 1]; the start changes nothing."""
        return Domain(np.zeros(2 * N_TERMS), sigma0=0.5, low=-1.0, high=1.0)

    def baseline(self, name: str) -> FloatArray:
        """Return no plasticity, one of two forms of STDP, or a published pair."""
        return np.array(_BASELINES[name], float)

    def score(self, points: FloatArray | LowRank, keys: Sequence[Key], split: str) -> VectorScores:
        """Live a trial for each point and draw."""
        vectors = points.dense() if isinstance(points, LowRank) else points
        s = self.settings
        trials = [draw_stream(key, s.inputs, s.rate, s.duration) for key in keys]
        lives = np.array([[self._live(x, *trial) for trial in trials] for x in vectors])
        ratio, output_rate = lives[:, :, 0], lives[:, :, 1].mean(axis=1)
        found = (ratio >= FOUND).mean(axis=1)
        fitness = np.minimum(ratio, s.cap)
        return VectorScores(fitness, {"output_rate": output_rate, "found": found})

    def _live(
        self, vector: FloatArray, stream: Stream, weights: NDArray[np.float64]
    ) -> tuple[float, float]:
        """Return signal-to-noise ratio and rate of one trial."""
        from evosearch.spiking.correlation import learn, signal_to_noise

        s = self.settings
        facilitation = np.ascontiguousarray(vector[:N_TERMS], np.float64)
        depression = np.ascontiguousarray(vector[N_TERMS:], np.float64)
        learnt, n_spikes = learn(facilitation, depression, stream, weights)
        measured = 1e3 * min(s.measuring, s.duration)
        return signal_to_noise(learnt, stream, measured), n_spikes / s.duration


@lru_cache(maxsize=40)
def draw_stream(key: Key, n: int, rate: float, duration: int) -> tuple[Stream, NDArray[np.float64]]:
    """Draw the spikes of n inputs in ``duration`` seconds, and the weights (n,) at birth."""
    from evosearch.spiking.correlation import Stream

    rng, total = draw_rng(key), 1e3 * duration
    first = rng.exponential(1e3 / rate, n)
    has_pattern = first < PATTERN
    source = np.repeat(np.arange(n), rng.poisson(rate * duration, n))
    time = rng.uniform(0.0, total, len(source))
    # One spike a period is what the pattern brings; the background brings the rest.
    share = (PERIOD - PATTERN) / PERIOD
    kept = max(0.0, 1.0 - 1e3 / PERIOD / (rate * share))
    is_kept = np.mod(time, PERIOD) < PERIOD - PATTERN
    is_kept &= ~has_pattern[source] | (rng.random(len(source)) < kept)
    starts = np.arange(PERIOD - PATTERN, total, PERIOD)
    repeated = (starts[:, None] + first[has_pattern]).ravel()
    time = np.r_[time[is_kept], repeated]
    source = np.r_[source[is_kept], np.tile(np.flatnonzero(has_pattern), len(starts))]
    order = np.argsort(time, kind="stable")
    stream = Stream(time[order], source[order].astype(np.int32), PERIOD, PATTERN)
    w0 = float(np.clip(rng.normal(W0_MEAN, W0_SD), 0.0, 1.0))
    return stream, np.full(n, w0)
