"""Differential evolution that adapts its settings and shrinks its population."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from evosearch.outcome import FloatArray
from evosearch.search.base import SEARCHES
from evosearch.search.vectors import VectorSearch, VectorSettings

_SMALLEST_POPULATION = 4


class LShadeSettings(VectorSettings):
    """Settings of ``l-shade``."""

    population: int = Field(
        0, ge=0, le=1_000_000, description="members of the first population; 0: 18 dimension"
    )
    horizon: int = Field(
        0,
        ge=0,
        description="candidates after which 4 members are left; 0: the budget of the run, or "
        "10,000 dimension where there is none",
    )
    archive: float = Field(2.6, ge=0, description="replaced parents kept, in populations")
    best: float = Field(0.11, gt=0, le=1, description="share of the members that attract: p")
    memory: int = Field(6, ge=1, le=10_000, description="settings remembered: H")


@SEARCHES.register("l-shade")
class LShade(VectorSearch):
    """Differential evolution that remembers which settings succeed, with a shrinking population.

    Each member x makes a trial: x plus F times the way to one of the best plus F times a
    difference of two others, of which each number is taken with probability CR. F and CR are
    drawn about means of those that made progress, and the population falls linearly from
    ``population`` to 4 at ``horizon``. A number that leaves the bounds is put half way between its
    parent's and the bound. x0 is the first member, the others are samples of the space.

    Source: R. Tanabe, A. Fukunaga, "Improving the Search Performance of SHADE Using Linear
    Population Size Reduction", CEC 2014, with the settings of its section on CEC 2014.
    """

    name = "l-shade"
    Settings = LShadeSettings
    _changing = (
        "_members",
        "_fitness",
        "_archive",
        "_means_f",
        "_means_cr",
        "_position",
        "_n_evaluations",
    )
    _has_mean = False

    def __init__(self, space: Any, *, seed: int = 0, **settings: Any) -> None:
        super().__init__(space, seed=seed, **settings)
        s, d = self.settings, space.dimension
        self._n_first = max(_SMALLEST_POPULATION, s.population or 18 * d)
        self._horizon = s.horizon or 10_000 * d
        self._members, self._archive = self._buffer(0), self._buffer(0)
        self._fitness: FloatArray = np.empty(0)
        self._means_f: FloatArray = np.full(s.memory, 0.5)
        self._means_cr: FloatArray = np.full(s.memory, 0.5)  # negative: for ever 0
        self._position = 0
        self._n_evaluations = 0
        self._trials = self._buffer(0)
        self._f: FloatArray = np.empty(0)
        self._cr: FloatArray = np.empty(0)

    def favourites(self) -> list[FloatArray]:
        """Return the best member."""
        if len(self._members) == 0:
            return []
        return [self._members[int(np.argmax(self._fitness))].copy()]

    def _propose(self) -> list[FloatArray]:
        if len(self._members) == 0:
            self._trials = np.array(self.space.sample(self._rng, self._n_first))
            self._trials[0] = self._mean
        else:
            self._draw_settings(len(self._members))
            self._trials = self._crossed(self._mutants())
        return [self._trials]

    def _learn(self, fitness: FloatArray) -> None:
        self._n_evaluations += len(fitness)
        if len(self._members) == 0:
            self._members, self._fitness = self._trials.copy(), fitness
        else:
            is_better = fitness > self._fitness
            self._remember(is_better, fitness)
            self._archive = np.concatenate([self._archive, self._members[is_better]])
            is_taken = fitness >= self._fitness
            self._members[is_taken] = self._trials[is_taken]
            self._fitness[is_taken] = fitness[is_taken]
        self._shrink()

    def _draw_settings(self, n: int) -> None:
        """Draw F and CR of each trial."""
        rng, chosen = self._rng, self._rng.integers(len(self._means_f), size=n)
        means = self._means_cr[chosen]
        drawn = np.clip(means + 0.1 * rng.standard_normal(n), 0.0, 1.0)
        self._cr = np.where(means < 0.0, 0.0, drawn)
        self._f = self._means_f[chosen] + 0.1 * rng.standard_cauchy(n)
        while (is_low := self._f <= 0.0).any():
            redrawn = self._means_f[chosen[is_low]]
            self._f[is_low] = redrawn + 0.1 * rng.standard_cauchy(len(redrawn))
        np.minimum(self._f, 1.0, out=self._f)

    def _mutants(self) -> FloatArray:
        """Return current-to-pbest/1 of each member, with the archive, within bounds."""
        x, rng, f = self._members, self._rng, self._f[:, None]
        n, own = len(x), np.arange(len(x))
        n_best = min(n, max(2, round(self.settings.best * n)))
        best = np.argsort(-self._fitness, kind="stable")[:n_best]
        attracting = best[rng.integers(n_best, size=n)]
        first = rng.integers(n - 1, size=n)
        first += first >= own
        pool = np.concatenate([x, self._archive])
        second = rng.integers(len(pool) - 2, size=n)
        second += second >= np.minimum(own, first)
        second += second >= np.maximum(own, first)
        mutants = x + f * (x[attracting] - x) + f * (x[first] - pool[second])
        if self.space.low is not None:
            mutants = np.where(mutants < self.space.low, (self.space.low + x) / 2, mutants)
        if self.space.high is not None:
            mutants = np.where(mutants > self.space.high, (self.space.high + x) / 2, mutants)
        return mutants

    def _crossed(self, mutants: FloatArray) -> FloatArray:
        n, d = mutants.shape
        is_new = self._rng.random((n, d)) < self._cr[:, None]
        is_new[np.arange(n), self._rng.integers(d, size=n)] = True
        return np.where(is_new, mutants, self._members)

    def _remember(self, is_better: NDArray[np.bool_], fitness: FloatArray) -> None:
        """Put the weighted Lehmer means of F and CR that succeeded into the memory."""
        if not is_better.any():
            return
        gain = fitness[is_better] - self._fitness[is_better]
        is_finite = np.isfinite(gain)
        gain[~is_finite] = gain[is_finite].max(initial=1.0)
        f, cr = self._f[is_better], self._cr[is_better]
        gain /= gain.max()
        k = self._position
        self._means_f[k] = (gain @ f**2) / (gain @ f)
        is_over = self._means_cr[k] < 0.0 or cr.max() == 0.0
        self._means_cr[k] = -1.0 if is_over else (gain @ cr**2) / (gain @ cr)
        self._position = (k + 1) % len(self._means_f)

    def _shrink(self) -> None:
        """Drop the worst members, and members of the archive at random, that are too many."""
        share = min(1.0, self._n_evaluations / self._horizon)
        n = round(self._n_first + (_SMALLEST_POPULATION - self._n_first) * share)
        if n < len(self._members):
            kept = np.sort(np.argsort(-self._fitness, kind="stable")[:n])
            self._members, self._fitness = self._members[kept], self._fitness[kept]
        n_archive = round(self.settings.archive * len(self._members))
        if n_archive < len(self._archive):
            kept = np.sort(self._rng.permutation(len(self._archive))[:n_archive])
            self._archive = self._archive[kept]
