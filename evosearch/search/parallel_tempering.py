"""Parallel tempering: chains at many temperatures that change places."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from pydantic import Field

from evosearch.outcome import FloatArray
from evosearch.search.base import SEARCHES, State
from evosearch.search.known import KnownSettings
from evosearch.search.walks import Walks


class TemperingSettings(KnownSettings):
    """Settings of ``parallel-tempering``."""

    population: int = Field(
        16, ge=1, le=1_000_000, description="chains, spread over one or more ladders"
    )
    rungs: int = Field(8, ge=1, le=1000, description="temperatures of a ladder")
    temperature: float | None = Field(
        None, gt=0, description="the highest; default: median absolute deviation of first fitness"
    )
    coldest: float = Field(
        0.01, gt=0, le=1, description="lowest temperature as a share of the highest"
    )


@SEARCHES.register("parallel-tempering")
class ParallelTempering(Walks):
    """Parallel tempering: Metropolis chains at rising temperatures, neighbours of which may swap.

    Temperatures of a ladder form a geometric series. After each generation pairs of neighbouring
    rungs, the even and the odd ones in turn, swap their candidates with probability
    min(1, exp((1/T_cold - 1/T_hot) (f_hot - f_cold))), so that each rung keeps its own
    distribution. With fewer chains than rungs a ladder is as long as the chains reach.

    Sources: R. Swendsen, J.-S. Wang, "Replica Monte Carlo Simulation of Spin-Glasses", Physical
    Review Letters 57, 1986; C. Geyer, "Markov Chain Monte Carlo Maximum Likelihood", 1991.
    """

    name = "parallel-tempering"
    Settings = TemperingSettings

    def __init__(self, space: Any, *, seed: int = 0, **settings: Any) -> None:
        super().__init__(space, seed=seed, **settings)
        self._n_generations = 0

    @property
    def _n_chains(self) -> int:
        return self.settings.population

    def _temperatures(self) -> FloatArray:
        """Return the ladders, each from the hottest to the coldest."""
        s = self.settings
        n = min(s.rungs, s.population)
        ladder = self._start_temperature * s.coldest ** (np.arange(n) / max(1, n - 1))
        return np.resize(ladder, s.population)

    def _after_generation(self) -> None:
        """Let every second pair of neighbouring rungs swap."""
        rungs = min(self.settings.rungs, self.settings.population)
        temperatures = self._temperatures()
        first = self._n_generations % 2
        self._n_generations += 1
        for hot in range(self._n_chains - 1):
            if hot % rungs % 2 == first and hot % rungs < rungs - 1:
                self._swap(hot, hot + 1, temperatures)

    def _swap(self, hot: int, cold: int, temperatures: FloatArray) -> None:
        chance = float(self._rng.random())
        if not np.isfinite(self._fitness[[hot, cold]]).all():
            return
        weight = float(1.0 / temperatures[cold] - 1.0 / temperatures[hot])
        gain = weight * float(self._fitness[hot] - self._fitness[cold])
        if chance < math.exp(min(0.0, max(gain, -700.0))):
            chains, fitness = self._chains, self._fitness
            chains[hot], chains[cold] = chains[cold], chains[hot]
            fitness[hot], fitness[cold] = fitness[cold], fitness[hot]

    def _state(self) -> State:
        return {**super()._state(), "n_generations": self._n_generations}

    def _load(self, state: State) -> None:
        super()._load(state)
        self._n_generations = int(state["n_generations"])
