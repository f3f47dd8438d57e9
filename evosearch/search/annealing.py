"""Simulated annealing, and the Metropolis algorithm at one temperature."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from pydantic import Field

from evosearch.outcome import FloatArray
from evosearch.search.base import SEARCHES
from evosearch.search.vectors import VectorSearch, VectorSettings, limited

_WANTED_SHARE = 0.3
"""Share of the proposals that annealing wants accepted, between .234 and .44 of the optimum."""


class ChainSettings(VectorSettings):
    """Settings of chains."""

    population: int = Field(1, ge=1, le=1_000_000, description="chains, each on its own")
    temperature: float | None = Field(
        None, gt=0, description="of the start; default: standard deviation of the first fitness"
    )


class AnnealingSettings(ChainSettings):
    """Settings of ``annealing``."""

    cooling: float = Field(
        0.99, gt=0, le=1, description="factor of the temperature each generation"
    )
    adaptation: float = Field(
        0.1, ge=0, le=1, description="how fast the step size follows the share of accepted steps"
    )


class Chains(VectorSearch):
    """Chains of accepted candidates, side by side; x0 is the first candidate of the first."""

    _changing = ("_chains", "_fitness", "_temperature", "_sigma")
    _has_mean = False

    def __init__(self, space: Any, *, seed: int = 0, **settings: Any) -> None:
        super().__init__(space, seed=seed, **settings)
        n = self.settings.population
        self._chains: FloatArray = np.tile(self._mean, (n, 1))
        self._fitness: FloatArray = np.full(n, -np.inf)
        self._temperature = float(self.settings.temperature or 0.0)
        self._sigma = self._sigma0
        self._points = self._buffer(n + 1)
        self._chances = np.empty(n)

    def _propose(self) -> list[FloatArray]:
        n = len(self._chains)
        is_start = not np.isfinite(self._fitness).any()
        self._rng.standard_normal(out=self._points)
        self._rng.random(out=self._chances)
        self._points *= self._sigma
        self._points[:n] += self._chains
        if is_start:
            self._points[n] += self._mean
            self._points[0] = self._mean
        return [self._points if is_start else self._points[:n]]

    def favourites(self) -> list[FloatArray]:
        """Return where the best chain stands."""
        return [self._chains[int(np.argmax(self._fitness))].copy()]

    def _accept(self, fitness: FloatArray) -> float:
        """Let each chain take its proposal or stay; return the share that moved."""
        n = len(self._chains)
        if self._temperature == 0.0:
            deviation = float(fitness[np.isfinite(fitness)].std())
            self._temperature = deviation if deviation > 0.0 else 1.0
        with np.errstate(invalid="ignore", over="ignore"):
            gain = (fitness[:n] - self._fitness) / self._temperature
            is_taken = (self._chances < np.exp(np.minimum(gain, 0.0))) & np.isfinite(fitness[:n])
        self._chains[is_taken] = self._points[:n][is_taken]
        self._fitness = np.where(is_taken, fitness[:n], self._fitness)
        return float(is_taken.mean())


@SEARCHES.register("metropolis")
class Metropolis(Chains):
    """Metropolis algorithm: random walks that visit x in proportion to exp(fitness / T).

    Each chain proposes a Gaussian step of one size, takes it where it is better, and with
    probability exp(-loss / T) where it is worse. Candidates are clipped to the bounds, so that
    what it visits is exact only away from them.

    Source: N. Metropolis et al., "Equation of State Calculations by Fast Computing Machines",
    Journal of Chemical Physics 21, 1953.
    """

    name = "metropolis"
    Settings = ChainSettings

    def _learn(self, fitness: FloatArray) -> None:
        self._accept(fitness)


@SEARCHES.register("annealing")
class Annealing(Chains):
    """Simulated annealing: random walks whose temperature falls, and their steps with it.

    A worse candidate is taken with probability exp(-loss / T); T falls by ``cooling`` each
    generation, and the step size follows, so that about three of ten steps are taken.
    Candidates are clipped to the bounds.

    Sources: S. Kirkpatrick, C. Gelatt, M. Vecchi, "Optimization by Simulated Annealing", Science
    220, 1983; for real numbers and with steps that follow: A. Corana et al., "Minimizing Multimodal
    Functions of Continuous Variables with the Simulated Annealing Algorithm", ACM TOMS 13, 1987.
    """

    name = "annealing"
    Settings = AnnealingSettings

    def _learn(self, fitness: FloatArray) -> None:
        s, is_start = self.settings, len(fitness) > len(self._chains)
        share = self._accept(fitness)
        self._temperature = max(self._temperature * s.cooling, math.ulp(0.0) * 2**60)
        if not is_start:
            change = s.adaptation * (share - _WANTED_SHARE)
            self._sigma = float(limited(self._sigma * math.exp(change)))
