"""Separable natural evolution strategy."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from pydantic import Field

from evosearch.outcome import FloatArray
from evosearch.search.base import SEARCHES
from evosearch.search.ranks import nes_utilities
from evosearch.search.vectors import VectorSearch, VectorSettings, limited


class SnesSettings(VectorSettings):
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
    and memory are linear in the dimension. It learns the scale of each number, but no
    correlations. Candidates are clipped to the bounds.

    Sources: T. Schaul, T. Glasmachers, J. Schmidhuber, "High Dimensions and Heavy Tails for
    Natural Evolution Strategies", GECCO 2011, its separable algorithm; the same with default
    settings: D. Wierstra et al., "Natural Evolution Strategies", JMLR 15, 2014, algorithm 6 and
    table 1.
    """

    name = "snes"
    Settings = SnesSettings
    _changing = ("_mean", "_sigma")

    def __init__(self, space: Any, *, seed: int = 0, **settings: Any) -> None:
        super().__init__(space, seed=seed, **settings)
        d = space.dimension
        self._sigma_rate = self.settings.sigma_rate or (3 + math.log(d)) / (5 * math.sqrt(d))
        self._sigma: FloatArray = np.full(d, self._sigma0)
        self._s = self._buffer(self._population)
        self._points = self._buffer(self._population)

    def _propose(self) -> list[FloatArray]:
        self._rng.standard_normal(out=self._s)
        np.multiply(self._s, self._sigma, out=self._points)
        self._points += self._mean
        return [self._points]

    def _learn(self, fitness: FloatArray) -> None:
        u = nes_utilities(fitness)
        gradient_mean = u @ self._s
        squares = np.multiply(self._s, self._s, out=self._points)
        gradient_sigma = u @ squares - u.sum()
        self._move(self.settings.mean_rate * self._sigma * gradient_mean)
        self._sigma = limited(self._sigma * np.exp(0.5 * self._sigma_rate * gradient_sigma))
