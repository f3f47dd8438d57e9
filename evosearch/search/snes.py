"""Separable natural evolution strategy."""

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
from evosearch.search.ranks import nes_utilities
from evosearch.search.vectors import VectorSearch, limited


class SnesSettings(NoiseSettings):
    """Settings of ``snes``."""

    mean_rate: float = Field(1.0, gt=0, le=10, description="learning rate of the mean")
    sigma_rate: float | None = Field(
        None,
        gt=0,
        le=10,
        description="learning rate of the step sizes; default: (3 + ln d) / (5 sqrt d)",
    )


@SEARCHES.register("snes")
class Snes(VectorSearch):
    """Separable natural evolution strategy: a mean and one step size for each number.

    Both follow the natural gradient of the expected utility, which depends on ranks alone; time
    is linear in the dimension, and so is memory: samples are drawn again to learn from them. It
    learns the scale of each number, but no correlations. Candidates are clipped to the bounds.

    Sources: T. Schaul, T. Glasmachers, J. Schmidhuber, "High Dimensions and Heavy Tails for
    Natural Evolution Strategies", GECCO 2011, its separable algorithm; the same with default
    settings: D. Wierstra et al., "Natural Evolution Strategies", JMLR 15, 2014, algorithm 6 and
    table 1.
    """

    name = "snes"
    passes_on = True
    Settings = SnesSettings
    _changing = ("_mean", "_sigma")

    def __init__(self, space: Any, *, seed: int = 0, **settings: Any) -> None:
        super().__init__(space, seed=seed, **settings)
        d = space.dimension
        self._sigma_rate = self.settings.sigma_rate or (3 + math.log(d)) / (5 * math.sqrt(d))
        self._sigma: FloatArray = np.full(d, self._sigma0)
        self._noise = Noise(d, self._population, self.settings)

    def _propose(self) -> Iterator[NDArray[Any]]:
        self._noise.draw(int(self._rng.integers(2**63)))
        return self._noise.blocks(self._mean, self._sigma)

    def _learn(self, fitness: FloatArray) -> None:
        u = nes_utilities(fitness)
        # The gradients of J: sum u_k s_k and sum u_k (s_k^2 - 1), of algorithm 6.
        gradient_mean, squares = self._noise.weighted_with_squares(u, u)
        gradient_sigma = squares - u.sum()
        self._move(self.settings.mean_rate * self._sigma * gradient_mean)
        self._sigma = limited(self._sigma * np.exp(0.5 * self._sigma_rate * gradient_sigma))
