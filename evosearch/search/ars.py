"""Augmented random search."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from pydantic import Field

from evosearch.outcome import FloatArray
from evosearch.search.base import SEARCHES
from evosearch.search.ranks import filled
from evosearch.search.vectors import VectorSearch, VectorSettings


class ArsSettings(VectorSettings):
    """Settings of ``ars``."""

    top: float = Field(0.5, gt=0, le=1, description="share of the directions that count")
    rate: float | None = Field(
        None, gt=0, description="step size alpha; default: sigma0 / sqrt(dimension)"
    )
    decay: float = Field(
        1.0, gt=0, le=1, description="factor of step size and perturbations each generation"
    )


@SEARCHES.register("ars")
class AugmentedRandomSearch(VectorSearch):
    """Augmented random search: differences along the best of a few random directions.

    The mean moves by the sum of the directions, each times the difference of the fitness on its
    two sides, over the standard deviation of these fitness values. Without ``decay`` it ends in a
    neighbourhood of an optimum. A failed candidate counts as the worst of its generation. An odd
    population is rounded down to pairs; candidates are clipped to the bounds.

    Source: H. Mania, A. Guy, B. Recht, "Simple Random Search Provides a Competitive Approach to
    Reinforcement Learning", NeurIPS 2018, algorithm 1 (V1-t); the normalisation of observations of
    V2 is a policy's.
    """

    name = "ars"
    Settings = ArsSettings
    _changing = ("_mean", "_n_steps")

    def __init__(self, space: Any, *, seed: int = 0, **settings: Any) -> None:
        super().__init__(space, seed=seed, **settings)
        n_pairs = max(1, self._population // 2)
        self._n_top = max(1, round(self.settings.top * n_pairs))
        self._rate = self.settings.rate or self._sigma0 / math.sqrt(space.dimension)
        self._n_steps = 0
        self._noise, self._points = self._buffer(n_pairs), self._buffer(2 * n_pairs)

    def _propose(self) -> list[FloatArray]:
        self._rng.standard_normal(out=self._noise)
        np.multiply(self._noise, self._sigma0 * self._factor(), out=self._points[0::2])
        np.subtract(self._mean, self._points[0::2], out=self._points[1::2])
        self._points[0::2] += self._mean
        return [self._points]

    def _learn(self, fitness: FloatArray) -> None:
        pairs = filled(fitness).reshape(-1, 2)
        top = np.argsort(-pairs.max(axis=1), kind="stable")[: self._n_top]
        deviation = float(pairs[top].std())
        if deviation > 0.0:
            differences = pairs[top, 0] - pairs[top, 1]
            scale = self._rate * self._factor() / (self._n_top * deviation)
            self._move(scale * (differences @ self._noise[top]))
        self._n_steps += 1

    def _factor(self) -> float:
        return float(self.settings.decay**self._n_steps)
