"""(1 + 1) evolution strategy."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from pydantic import Field

from evosearch.outcome import FloatArray
from evosearch.search.base import SEARCHES
from evosearch.search.vectors import VectorSearch, VectorSettings, limited


class OnePlusOneEsSettings(VectorSettings):
    """Settings of ``one-plus-one-es``."""

    population: int = Field(
        1, ge=1, le=1_000_000, description="children of the same parent that are scored at a time"
    )
    success: float = Field(0.2, gt=0, lt=1, description="share of successes that keeps the step")


@SEARCHES.register("one-plus-one-es")
class OnePlusOneEs(VectorSearch):
    """(1+1) evolution strategy: one parent, one child, and steps that follow the 1/5th rule.

    Each child is the parent plus a Gaussian step of one size. A child at least as good takes the
    parent's place and lengthens the step, another shortens it a little; they balance where one of
    five succeeds. It starts with x0 and a child of it. With a larger population the best child
    of a batch is compared, and the step changes by their share of successes. Candidates are
    clipped to the bounds.

    Sources: I. Rechenberg, "Evolutionsstrategie", 1973; the rule after each child: S. Kern et al.,
    "Learning probability distributions in continuous evolutionary algorithms - a comparative
    review", Natural Computing 3, 2004; its damping sqrt(d + 1): N. Hansen, D. Arnold, A. Auger,
    "Evolution Strategies", Handbook of Computational Intelligence, 2015, algorithm 3.
    """

    name = "one-plus-one-es"
    Settings = OnePlusOneEsSettings
    _changing = ("_mean", "_fitness", "_sigma")

    def __init__(self, space: Any, *, seed: int = 0, **settings: Any) -> None:
        super().__init__(space, seed=seed, **settings)
        self._fitness = -math.inf
        self._sigma = self._sigma0
        self._points = self._buffer(max(2, self.settings.population))

    def _propose(self) -> list[FloatArray]:
        is_start = not math.isfinite(self._fitness)
        points = self._points if is_start else self._points[: self.settings.population]
        self._rng.standard_normal(out=points)
        points *= self._sigma
        if is_start:
            points[0] = 0.0
        points += self._mean
        return [points]

    def _learn(self, fitness: FloatArray) -> None:
        if math.isfinite(self._fitness):
            success = float((fitness >= self._fitness).mean())
            damping = math.sqrt(self.space.dimension + 1)
            change = (success - self.settings.success) * len(fitness) / damping
            self._sigma = float(limited(self._sigma * math.exp(min(change, 1.0))))
        best = int(np.argmax(fitness))
        if fitness[best] >= self._fitness:
            self._mean, self._fitness = self._points[best].copy(), float(fitness[best])
