"""Policy gradients with parameter-based exploration."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from pydantic import Field

from evosearch.outcome import FloatArray
from evosearch.search.base import SEARCHES
from evosearch.search.optimizers import clipup_step
from evosearch.search.ranks import centred_ranks
from evosearch.search.vectors import VectorSearch, VectorSettings, limited


class PgpeSettings(VectorSettings):
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
    Settings = PgpeSettings
    _changing = ("_mean", "_sigma", "_velocity")

    def __init__(self, space: Any, *, seed: int = 0, **settings: Any) -> None:
        super().__init__(space, seed=seed, **settings)
        d, n_pairs = space.dimension, max(1, self._population // 2)
        self._limit = self.settings.max_speed or self._sigma0 * math.sqrt(d) / 15
        self._step = self.settings.step or self._limit / 2
        self._sigma: FloatArray = np.full(d, self._sigma0)
        self._velocity: FloatArray = np.zeros(d)
        self._noise = self._buffer(n_pairs)
        self._points = self._buffer(2 * n_pairs)

    def _propose(self) -> list[FloatArray]:
        self._rng.standard_normal(out=self._noise)
        self._noise *= self._sigma
        np.add(self._mean, self._noise, out=self._points[0::2])
        np.subtract(self._mean, self._noise, out=self._points[1::2])
        return [self._points]

    def _learn(self, fitness: FloatArray) -> None:
        s, sigma, n_pairs = self.settings, self._sigma, len(self._noise)
        ranks = centred_ranks(fitness)
        plus, minus = ranks[0::2], ranks[1::2]
        gradient = (0.5 / n_pairs) * ((plus - minus) @ self._noise)
        # Centred ranks sum to 0, so they need no baseline.
        weights = (0.5 / n_pairs) * (plus + minus)
        squares = np.multiply(self._noise, self._noise, out=self._points[:n_pairs])
        change = s.sigma_rate * (weights @ squares - weights.sum() * sigma**2) / sigma
        limit = s.sigma_change * sigma
        self._sigma = limited(sigma + np.clip(change, -limit, limit))
        self._move(
            clipup_step(
                self._velocity, gradient, step=self._step, limit=self._limit, momentum=s.momentum
            )
        )
