"""Differential evolution that adapts its settings and shrinks its population."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from evosearch.outcome import FloatArray
from evosearch.search.base import SEARCHES
from evosearch.search.l_shade_steps import crossed, drawn_settings, mutants, successful_means
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
            self._trials = self._drawn_trials()
        return [self._trials]

    def _drawn_trials(self) -> FloatArray:
        """Return a trial of each member (n, d)."""
        rng, x = self._rng, self._members
        self._f, self._cr = drawn_settings(rng, self._means_f, self._means_cr, len(x))
        share, space = self.settings.best, self.space
        moved = mutants(
            rng, x, self._fitness, self._archive, f=self._f, best_share=share, space=space
        )
        return crossed(rng, moved, x, self._cr)

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

    def _remember(self, is_better: NDArray[np.bool_], fitness: FloatArray) -> None:
        """Put the weighted Lehmer means of F and CR that succeeded into the memory."""
        if not is_better.any():
            return
        k, gain = self._position, fitness[is_better] - self._fitness[is_better]
        self._means_f[k], self._means_cr[k] = successful_means(
            gain, self._f[is_better], self._cr[is_better], self._means_cr[k]
        )
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
