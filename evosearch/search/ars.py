"""Augmented random search."""

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
from evosearch.search.ranks import filled
from evosearch.search.vectors import VectorSearch


class ArsSettings(NoiseSettings):
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
        self._noise = Noise(space.dimension, n_pairs, self.settings, is_mirrored=True)

    def _propose(self) -> Iterator[NDArray[Any]]:
        self._noise.draw(int(self._rng.integers(2**63)))
        return self._noise.blocks(self._mean, self._sigma0 * self._factor())

    def _learn(self, fitness: FloatArray) -> None:
        pairs = filled(fitness).reshape(-1, 2)
        top = np.argsort(-pairs.max(axis=1), kind="stable")[: self._n_top]
        deviation = float(pairs[top].std())
        if deviation > 0.0:
            differences = np.zeros(len(pairs))
            differences[top] = pairs[top, 0] - pairs[top, 1]
            # Algorithm 1, line 7.
            scale = self._rate * self._factor() / (self._n_top * deviation)
            self._move(scale * self._noise.weighted(differences))
        self._n_steps += 1

    def _factor(self) -> float:
        return float(self.settings.decay**self._n_steps)
