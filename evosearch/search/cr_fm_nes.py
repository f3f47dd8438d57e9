"""Fast moving natural evolution strategy at reduced cost."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from evosearch.outcome import FloatArray
from evosearch.search.base import SEARCHES
from evosearch.search.ranks import by_rank, rank_weights
from evosearch.search.vectors import VectorSearch, limited

# More than this, and the sums of v's natural gradient are rounding errors.
_LONGEST = 1e5


@SEARCHES.register("cr-fm-nes")
class CrFmNes(VectorSearch):
    """Fast moving natural evolution strategy with covariance sigma^2 D (I + v v^T) D.

    Step sizes of each number and one direction v are learned, in time and memory linear in the
    dimension. While the evolution path is long, distant candidates weigh more and the step size
    does not shrink, so that it crosses slopes and ridges fast. Samples are mirrored: an odd
    population is rounded up. Failed candidates rank last, the nearest first. Candidates are
    clipped to the bounds. Three guards are ours: a number's step size falls at most tenfold at a
    time, v is at most 1e5 long, and the rank-one rate is not negative below 5 dimensions.

    Source: M. Nomura, I. Ono, "Fast Moving Natural Evolution Strategy for High-Dimensional
    Problems", CEC 2022, arXiv:2201.11422; v and D: Y. Akimoto, A. Auger, N. Hansen,
    "Comparison-Based Natural Gradient Optimization in High Dimension", GECCO 2014.
    """

    name = "cr-fm-nes"
    _changing = ("_mean", "_sigma", "_v", "_D", "_path_sigma", "_path_c")

    def __init__(self, space: Any, *, seed: int = 0, **settings: Any) -> None:
        super().__init__(space, seed=seed, **settings)
        d, n = space.dimension, max(4, self._population + self._population % 2)
        self._weights = rank_weights(n)
        mu_eff = self._mu_eff = float(1 / (self._weights @ self._weights))
        self._c_sigma = (mu_eff + 2) / (d + mu_eff + 5)
        self._c_c = (4 + mu_eff / d) / (d + 4 + 2 * mu_eff / d)
        self._c_1 = 2 / ((d + 1.3) ** 2 + mu_eff) * max(0, d - 5) / 6
        self._expected_norm = math.sqrt(d) * (1 - 1 / (4 * d) + 1 / (21 * d**2))
        self._distance_rate = _inverse_h(d) * min(1.0, math.sqrt(n / d))
        self._sigma = self._sigma0
        self._v: FloatArray = self._rng.standard_normal(d) / math.sqrt(d)
        self._D: FloatArray = np.ones(d)
        self._path_sigma: FloatArray = np.zeros(d)
        self._path_c: FloatArray = np.zeros(d)
        self._z, self._y, self._points = self._buffer(n), self._buffer(n), self._buffer(n)

    def _propose(self) -> list[FloatArray]:
        half = len(self._z) // 2
        self._rng.standard_normal(out=self._z[:half])
        np.negative(self._z[:half], out=self._z[half:])
        norm = float(np.linalg.norm(self._v))
        unit = self._v / norm
        np.outer((math.sqrt(1 + norm**2) - 1) * (self._z @ unit), unit, out=self._y)
        self._y += self._z
        np.multiply(self._y, self._sigma * self._D, out=self._points)
        self._points += self._mean
        return [self._points]

    def _learn(self, fitness: FloatArray) -> None:
        d, n = self.space.dimension, len(fitness)
        n_ok = int(np.isfinite(fitness).sum())
        squares = np.einsum("ij,ij->i", self._z, self._z)
        ranked = by_rank(_levels(fitness, np.sqrt(squares)), self._weights)
        c = math.sqrt(self._c_sigma * (2 - self._c_sigma) * self._mu_eff)
        self._path_sigma *= 1 - self._c_sigma
        self._path_sigma += c * ((ranked - 1 / n) @ self._z)
        length = float(np.linalg.norm(self._path_sigma)) / self._expected_norm
        is_moving = length >= 1.0
        weights = ranked
        if is_moving:
            rate = self._distance_rate * math.sqrt(n_ok / n)
            distances = np.sqrt(squares)
            weights = ranked * np.exp(rate * (distances - distances.max()))
            weights /= weights.sum()
        weights = weights - 1 / n

        step = self._D * (weights @ self._y)
        self._path_c *= 1 - self._c_c
        self._path_c += math.sqrt(self._c_c * (2 - self._c_c) * self._mu_eff) * step
        self._move(self._sigma * step)

        growth = float(weights @ squares) / d
        self._sigma *= self._root_of_determinant()
        if not (is_moving and growth < 0.0):
            self._sigma *= math.exp(min(1.0, 0.5 * _sigma_rate(length, n_ok, d) * growth))
        self._sigma = float(limited(self._sigma))
        shape_rate = math.tanh((min(0.02 * n_ok, 3 * math.log(d)) + 5) / (0.23 * d + 25))
        path_rate = self._c_1 * n_ok / n if is_moving else 0.0
        self._learn_shape(shape_rate * weights, path_rate)

    def _learn_shape(self, weights: FloatArray, path_rate: float) -> None:
        """Follow the natural gradient of v and D; every sum over samples is taken first."""
        norm2 = float(self._v @ self._v)
        norm = math.sqrt(norm2)
        unit, gamma = self._v / norm, 1 + norm2
        unit2 = unit * unit
        path = self._path_c / self._D
        along, path_along = self._y @ unit, float(path @ unit)
        total = float(weights.sum()) + path_rate
        y_along = (weights * along) @ self._y + path_rate * path_along * path
        along2 = float(weights @ along**2) + path_rate * path_along**2
        y2 = weights @ np.multiply(self._y, self._y, out=self._points) + path_rate * path**2

        t = y_along - unit * (along2 + gamma * total) / 2
        s = y2 - norm2 / gamma * unit * y_along - total
        a = math.sqrt(norm2**2 + (2 * gamma - math.sqrt(gamma)) / unit2.max()) / (2 + norm2)
        a = min(1.0, a)
        b = -(1 - a**2) * norm2**2 / gamma + 2 * a**2
        inverse = 1 / (2 - (b + 2 * a**2) * unit2)
        s = s - a / gamma * ((2 + norm2) * t * unit - norm2 * unit2 * (unit @ t))
        scaled = inverse * unit2
        s = s * inverse - b / (1 + b * (unit2 @ scaled)) * scaled * (scaled @ s)
        t = t - a * ((2 + norm2) * s * unit - unit * (unit2 @ s))

        self._v = self._v + t / norm
        self._v *= min(1.0, _LONGEST / float(np.linalg.norm(self._v)))
        self._D = self._D * np.maximum(1 + s, 0.1)
        self._D = limited(self._D / self._root_of_determinant())

    def _root_of_determinant(self) -> float:
        """Return the d-th root of the determinant of D (I + v v^T)^(1/2)."""
        logs = float(np.log(self._D).sum()) + 0.5 * math.log1p(float(self._v @ self._v))
        return math.exp(logs / len(self._D))


def _levels(fitness: FloatArray, distances: FloatArray) -> FloatArray:
    """Return numbers (n,) in the order of fitness, below 0 and by distance for who failed."""
    _, levels = np.unique(fitness, return_inverse=True)
    return np.where(np.isfinite(fitness), levels, -1.0 - distances)


def _sigma_rate(length: float, n_ok: int, d: int) -> float:
    """Return the learning rate of the step size: moving, stagnating, converging."""
    if length >= 1.0:
        return 1.0
    if length >= 0.1:
        return math.tanh((0.024 * n_ok + 0.7 * d + 20) / (d + 12))
    return 2 * math.tanh((0.025 * n_ok + 0.75 * d + 10) / (d + 4))


def _inverse_h(d: int) -> float:
    """Return a >= 0 with (1 + a^2) exp(a^2 / 2) / 0.24 = 10 + d, by bisection."""
    low, high = 0.0, 10.0
    for _ in range(200):
        a = 0.5 * (low + high)
        is_low = (1 + a * a) * math.exp(a * a / 2) / 0.24 < 10 + d
        low, high = (a, high) if is_low else (low, a)
    return 0.5 * (low + high)
