"""CMA-ES with a diagonal covariance."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from evosearch.outcome import FloatArray
from evosearch.search.base import SEARCHES
from evosearch.search.ranks import by_rank
from evosearch.search.vectors import VectorSearch, limited


@SEARCHES.register("sep-cmaes")
class SepCmaEs(VectorSearch):
    """CMA-ES whose covariance stays diagonal, with the faster learning that this permits.

    Time and memory are linear in the dimension, and variances are learned about (d + 2) / 3 times
    as fast as by the full method; correlations are not. Candidates are clipped to the bounds.

    Source: R. Ros, N. Hansen, "A Simple Modification in CMA-ES Achieving Linear Time and Space
    Complexity", PPSN 2008; names and the default settings are those of its section on CMA-ES,
    c_cov times (d + 2) / 3.
    """

    name = "sep-cmaes"
    passes_on = True
    _changing = ("_mean", "_sigma", "_variance", "_path_sigma", "_path_c", "_n_generations")

    def __init__(self, space: Any, *, seed: int = 0, **settings: Any) -> None:
        super().__init__(space, seed=seed, **settings)
        d, n = space.dimension, max(2, self._population)
        self._constants = Constants.default(d, n)
        self._weights: FloatArray = np.concatenate(
            [self._constants.weights, np.zeros(n - len(self._constants.weights))]
        )
        self._sigma = self._sigma0
        self._variance: FloatArray = np.ones(d)
        self._path_sigma: FloatArray = np.zeros(d)
        self._path_c: FloatArray = np.zeros(d)
        self._n_generations = 0
        self._z, self._points = self._buffer(n), self._buffer(n)

    def _propose(self) -> list[FloatArray]:
        self._rng.standard_normal(out=self._z)
        np.multiply(self._z, self._sigma * np.sqrt(self._variance), out=self._points)
        self._points += self._mean
        return [self._points]

    def _learn(self, fitness: FloatArray) -> None:
        k, w = self._constants, by_rank(fitness, self._weights)
        deviation = np.sqrt(self._variance)
        z_mean = w @ self._z
        squares = np.multiply(self._z, self._z, out=self._points)
        self._n_generations += 1
        self._move(self._sigma * deviation * z_mean)

        self._path_sigma *= 1 - k.c_sigma
        self._path_sigma += math.sqrt(k.c_sigma * (2 - k.c_sigma) * k.mu_eff) * z_mean
        length = float(np.linalg.norm(self._path_sigma)) / k.expected_norm
        unbiased = math.sqrt(1 - (1 - k.c_sigma) ** (2 * self._n_generations))
        is_short = length < (1.4 + 2 / (len(z_mean) + 1)) * unbiased
        self._path_c *= 1 - k.c_c
        if is_short:
            self._path_c += math.sqrt(k.c_c * (2 - k.c_c) * k.mu_eff) * deviation * z_mean

        rank_mu = self._variance * (w @ squares)
        self._variance *= 1 - k.c_cov
        self._variance += (k.c_cov / k.mu_eff) * self._path_c**2
        self._variance += k.c_cov * (1 - 1 / k.mu_eff) * rank_mu
        self._variance = limited(self._variance)
        self._sigma = float(limited(self._sigma * math.exp((length - 1) * k.c_sigma / k.d_sigma)))


class Constants(NamedTuple):
    """Default settings for dimension d and population n."""

    weights: FloatArray
    mu_eff: float
    c_sigma: float
    d_sigma: float
    c_c: float
    c_cov: float
    expected_norm: float

    @classmethod
    def default(cls, d: int, n: int) -> Constants:
        """Return those of the paper; mu_cov is mu_eff."""
        mu = n // 2
        weights = math.log(mu + 1) - np.log(np.arange(1, mu + 1))
        weights /= weights.sum()
        mu_eff = float(1 / (weights @ weights))
        c_sigma = (mu_eff + 2) / (d + mu_eff + 3)
        full = 2 / (mu_eff * (d + math.sqrt(2)) ** 2)
        full += (1 - 1 / mu_eff) * min(1, (2 * mu_eff - 1) / ((d + 2) ** 2 + mu_eff))
        return cls(
            weights=weights,
            mu_eff=mu_eff,
            c_sigma=c_sigma,
            d_sigma=1 + 2 * max(0, math.sqrt((mu_eff - 1) / (d + 1)) - 1) + c_sigma,
            c_c=4 / (d + 4),
            c_cov=min(1.0, full * (d + 2) / 3),
            expected_norm=math.sqrt(d) * (1 - 1 / (4 * d) + 1 / (21 * d**2)),
        )
