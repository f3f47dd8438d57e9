"""Simulated annealing, and the Metropolis algorithm at one temperature.

Over vectors the chains take Gaussian steps, over rules and tables the mutations of the space. The
registered class makes the one that the space needs.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from pydantic import Field

from evosearch.outcome import FloatArray
from evosearch.search.base import SEARCHES, Search, State
from evosearch.search.known import KnownSettings
from evosearch.search.vectors import VectorSearch, limited
from evosearch.search.walks import Walks
from evosearch.spaces.base import Space

_WANTED_SHARE = 0.3
"""Share of the proposals that annealing wants accepted, between .234 and .44 of the optimum."""
_N_WALKS = 8
_SHARE_OF_SPREAD = 0.1
_LEAST_FACTOR = 1e-12


class ChainSettings(KnownSettings):
    """Settings of chains."""

    population: int = Field(
        0,
        ge=0,
        le=1_000_000,
        description="chains, each on its own; 0: 1 over vectors, 8 over rules and tables",
    )
    sigma0: float | None = Field(
        None, gt=0, description="size of the first steps over vectors; default: the space's"
    )
    temperature: float | None = Field(
        None,
        gt=0,
        description="of the start; default: the deviation of the first fitness, over rules and "
        "tables a tenth of the median absolute one",
    )


class AnnealingSettings(ChainSettings):
    """Settings of ``annealing``."""

    cooling: float = Field(
        0.99, gt=0, le=1, description="factor of the temperature each generation"
    )
    adaptation: float = Field(
        0.1,
        ge=0,
        le=1,
        description="how fast the step size over vectors follows the share of accepted steps",
    )


class Chains(VectorSearch):
    """Chains of accepted candidates, side by side; x0 is the first candidate of the first."""

    _changing = ("_chains", "_fitness", "_temperature", "_sigma")
    _has_mean = False

    def __init__(self, space: Any, *, seed: int = 0, **settings: Any) -> None:
        super().__init__(space, seed=seed, **settings)
        n = self.settings.population or 1
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
class Metropolis(Search):
    """Metropolis algorithm: random walks that visit x in proportion to exp(fitness / T).

    Each chain proposes a step, takes it where it is better, and with probability exp(-loss / T)
    where it is worse. Over vectors the steps are Gaussian and of one size, and candidates are
    clipped to the bounds, so that what it visits is exact only away from them; over rules the steps
    are mutations that are not symmetric, over tables ones that are.

    Source: N. Metropolis et al., "Equation of State Calculations by Fast Computing Machines",
    Journal of Chemical Physics 21, 1953.
    """

    name = "metropolis"
    space_kinds = (*VectorSearch.space_kinds, *Walks.space_kinds)
    Settings = ChainSettings

    def __new__(cls, space: Space, *, seed: int = 0, **settings: Any) -> Metropolis:
        """Return chains of Gaussian steps or of mutations, as the space needs."""
        return object.__new__(_MetropolisWalks if _is_walked(space) else _MetropolisSteps)


class _MetropolisSteps(Chains, Metropolis):
    Settings = ChainSettings
    space_kinds = Metropolis.space_kinds

    def _learn(self, fitness: FloatArray) -> None:
        self._accept(fitness)


class _MetropolisWalks(Walks, Metropolis):
    Settings = ChainSettings
    space_kinds = Metropolis.space_kinds
    _share_of_spread = _SHARE_OF_SPREAD

    @property
    def _n_chains(self) -> int:
        return self.settings.population or _N_WALKS

    def _temperatures(self) -> FloatArray:
        return np.full(self._n_chains, self._start_temperature)

    def _after_generation(self) -> None:
        """The temperature stays."""


@SEARCHES.register("annealing")
class Annealing(Search):
    """Simulated annealing: random walks whose temperature falls, and their steps with it.

    A worse candidate is taken with probability exp(-loss / T); T falls by ``cooling`` each
    generation. Over vectors the step size follows, so that about three of ten steps are taken, and
    candidates are clipped to the bounds; over rules and tables a step is a mutation.

    Sources: S. Kirkpatrick, C. Gelatt, M. Vecchi, "Optimization by Simulated Annealing", Science
    220, 1983; for real numbers and with steps that follow: A. Corana et al., "Minimizing Multimodal
    Functions of Continuous Variables with the Simulated Annealing Algorithm", ACM TOMS 13, 1987.
    """

    name = "annealing"
    space_kinds = (*VectorSearch.space_kinds, *Walks.space_kinds)
    Settings = AnnealingSettings

    def __new__(cls, space: Space, *, seed: int = 0, **settings: Any) -> Annealing:
        """Return chains of Gaussian steps or of mutations, as the space needs."""
        return object.__new__(_AnnealingWalks if _is_walked(space) else _AnnealingSteps)


class _AnnealingSteps(Chains, Annealing):
    Settings = AnnealingSettings
    space_kinds = Annealing.space_kinds

    def _learn(self, fitness: FloatArray) -> None:
        s, is_start = self.settings, len(fitness) > len(self._chains)
        share = self._accept(fitness)
        self._temperature = max(self._temperature * s.cooling, math.ulp(0.0) * 2**60)
        if not is_start:
            change = s.adaptation * (share - _WANTED_SHARE)
            self._sigma = float(limited(self._sigma * math.exp(change)))


class _AnnealingWalks(Walks, Annealing):
    Settings = AnnealingSettings
    space_kinds = Annealing.space_kinds
    _share_of_spread = _SHARE_OF_SPREAD

    def __init__(self, space: Any, *, seed: int = 0, **settings: Any) -> None:
        super().__init__(space, seed=seed, **settings)
        self._factor = 1.0

    @property
    def _n_chains(self) -> int:
        return self.settings.population or _N_WALKS

    def _temperatures(self) -> FloatArray:
        return np.full(self._n_chains, self._factor * self._start_temperature)

    def _after_generation(self) -> None:
        self._factor = max(self._factor * self.settings.cooling, _LEAST_FACTOR)

    def _state(self) -> State:
        return {**super()._state(), "factor": self._factor}

    def _load(self, state: State) -> None:
        super()._load(state)
        self._factor = float(state["factor"])


def _is_walked(space: Space) -> bool:
    return space.kind in Walks.space_kinds
