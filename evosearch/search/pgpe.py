"""Policy gradients with parameter-based exploration."""

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
from evosearch.search.optimizers import clipup_step
from evosearch.search.ranks import centred_ranks
from evosearch.search.vectors import VectorSearch, limited


class PgpeSettings(NoiseSettings):
    """Settings of ``pgpe``."""

    max_speed: float | None = Field(
        None, gt=0, description="longest step of the mean; default: sigma0 sqrt(d) / 15"
    )
    step: float | None = Field(
        None, gt=0, description="what one gradient adds to a step; default: half of max_speed"
    )
    momentum: float = Field(0.9, ge=0, lt=1, description="what is left of the last step")
    sigma_rate: float = Field(0.1, ge=0, le=1, description="learning rate of the step sizes")
    sigma_change: float = Field(
        0.2, gt=0, lt=1, description="most that a step size changes at a time, as a share of it"
    )


@SEARCHES.register("pgpe")
class Pgpe(VectorSearch):
    """Policy gradients with parameter-based exploration, mirrored samples, by ClipUp.

    Each random step is tried in both directions: the difference of the two moves the mean, their
    sum the step size of each number. Fitness counts by centred ranks. The length of the steps of
    the mean does not shrink near an optimum, so it ends in a neighbourhood whose size
    ``max_speed`` sets. An odd population is rounded down to pairs; candidates are clipped to the
    bounds.

    Sources: F. Sehnke et al., "Parameter-exploring Policy Gradients", Neural Networks 23, 2010,
    symmetric sampling; N. Toklu, P. Liskowski, R. Srivastava, "ClipUp: A Simple and Powerful
    Optimizer for Distribution-based Policy Evolution", PPSN 2020, with its limit on the change of
    the step sizes and its rule that ``max_speed`` is a fifteenth of the first radius.
    """

    name = "pgpe"
    passes_on = True
    Settings = PgpeSettings
    _changing = ("_mean", "_sigma", "_velocity")

    def __init__(self, space: Any, *, seed: int = 0, **settings: Any) -> None:
        super().__init__(space, seed=seed, **settings)
        d, n_pairs = space.dimension, max(1, self._population // 2)
        self._limit = self.settings.max_speed or self._sigma0 * math.sqrt(d) / 15
        self._step = self.settings.step or self._limit / 2
        self._sigma: FloatArray = np.full(d, self._sigma0)
        self._velocity: FloatArray = np.zeros(d)
        self._noise = Noise(d, n_pairs, self.settings, is_mirrored=True)

    def _propose(self) -> Iterator[NDArray[Any]]:
        self._noise.draw(int(self._rng.integers(2**63)))
        return self._noise.blocks(self._mean, self._sigma)

    def _learn(self, fitness: FloatArray) -> None:
        s, sigma = self.settings, self._sigma
        ranks = centred_ranks(fitness) / len(fitness)
        # Centred ranks sum to 0, so they need no baseline.
        differences, sums = ranks[0::2] - ranks[1::2], ranks[0::2] + ranks[1::2]
        steps, squares = self._noise.weighted_with_squares(differences, sums)
        # Sehnke et al. 2010, of symmetric samples: T epsilon, and S (epsilon^2 - sigma^2) / sigma.
        gradient = sigma * steps
        change = s.sigma_rate * sigma * (squares - sums.sum())
        limit = s.sigma_change * sigma
        self._sigma = limited(sigma + np.clip(change, -limit, limit))
        self._move(
            clipup_step(
                self._velocity, gradient, step=self._step, limit=self._limit, momentum=s.momentum
            )
        )
