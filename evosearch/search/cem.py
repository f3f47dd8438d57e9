"""Cross-entropy method."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from evosearch.outcome import FloatArray
from evosearch.search.base import SEARCHES
from evosearch.search.noise import Noise, NoiseSettings
from evosearch.search.vectors import VectorSearch, limited


class CemSettings(NoiseSettings):
    """Settings of ``cem``."""

    population: int = Field(
        0, ge=0, le=1_000_000, description="candidates a generation; 0: 20 + 10 ln(dimension)"
    )
    elite: float = Field(0.25, gt=0, le=1, description="share of a generation that is learned from")
    mean_smoothing: float = Field(1.0, gt=0, le=1, description="share of the mean that is new")
    sigma_smoothing: float = Field(
        0.7, gt=0, le=1, description="share of the step sizes that is new in the first generation"
    )
    exponent: float = Field(5.0, gt=0, description="how fast the last share falls; 5 to 10")


@SEARCHES.register("cem")
class CrossEntropy(VectorSearch):
    """Cross-entropy method: a Gaussian, each number on its own, fitted to the best of each sample.

    The step sizes are smoothed by a share that falls with the generations, so that they do not
    vanish before the mean has arrived; its variances are taken about the mean that drew the
    sample, which keeps them while the mean still travels. Candidates are clipped to the bounds.

    Sources: R. Rubinstein, "The Cross-Entropy Method for Combinatorial and Continuous
    Optimization", Methodology and Computing in Applied Probability 1, 1999; the smoothing:
    P.-T. de Boer, D. Kroese, S. Mannor, R. Rubinstein, "A Tutorial on the Cross-Entropy Method",
    Annals of Operations Research 134, 2005.
    """

    name = "cem"
    Settings = CemSettings
    _changing = ("_mean", "_sigma", "_n_generations")

    def __init__(self, space: Any, *, seed: int = 0, **settings: Any) -> None:
        super().__init__(space, seed=seed, **settings)
        n = self.settings.population or 20 + int(10 * math.log(space.dimension))
        self._n_elite = max(1, round(self.settings.elite * n))
        self._sigma: FloatArray = np.full(space.dimension, self._sigma0)
        self._n_generations = 0
        self._noise = Noise(space.dimension, n, self.settings)

    def _propose(self) -> Iterator[NDArray[Any]]:
        self._noise.draw(int(self._rng.integers(2**63)))
        return self._noise.blocks(self._mean, self._sigma)

    def _learn(self, fitness: FloatArray) -> None:
        s = self.settings
        n = min(self._n_elite, int(np.isfinite(fitness).sum()))
        elite = np.zeros(len(fitness))
        elite[np.argsort(-fitness, kind="stable")[:n]] = 1 / n
        steps, squares = self._noise.weighted_with_squares(elite, elite)
        self._n_generations += 1
        share = s.sigma_smoothing * (1 - (1 - 1 / self._n_generations) ** s.exponent)
        sigma = self._sigma
        self._sigma = limited(sigma * (share * np.sqrt(squares) + 1 - share))
        self._move(s.mean_smoothing * sigma * steps)
