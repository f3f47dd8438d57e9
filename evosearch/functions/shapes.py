"""Functions of z whose least value is 0, at z = 0: float64 (n, d) -> (n,).

Each row is summed by itself along its last axis, so that a value does not depend on the rows beside
it. Source, but where another is named: N. Hansen, S. Finck, R. Ros, A. Auger, "Real-Parameter
Black-Box Optimization Benchmarking 2009: Noiseless Functions Definitions", INRIA RR-6829, without
its transformations of x and f.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

import numpy as np

from evosearch.outcome import FloatArray


def _ramp(d: int) -> FloatArray:
    """Return 0 … 1 in d steps; 0 for a single number."""
    return np.arange(d) / max(1, d - 1)


def sphere(z: FloatArray) -> FloatArray:
    """Return sum z_i^2."""
    return (z * z).sum(axis=-1)


def ellipsoid(z: FloatArray) -> FloatArray:
    """Return sum 10^(6 i/(d-1)) z_i^2: condition 1e6."""
    return (10.0 ** (6.0 * _ramp(z.shape[-1])) * z * z).sum(axis=-1)


def discus(z: FloatArray) -> FloatArray:
    """Return 1e6 z_0^2 + the other squares: one short axis."""
    return 1e6 * z[..., 0] ** 2 + sphere(z[..., 1:])


def cigar(z: FloatArray) -> FloatArray:
    """Return z_0^2 + 1e6 times the other squares: one long axis."""
    return z[..., 0] ** 2 + 1e6 * sphere(z[..., 1:])


def sharp_ridge(z: FloatArray) -> FloatArray:
    """Return z_0^2 + 100 times the length of the others: a ridge without curvature across it."""
    return z[..., 0] ** 2 + 100.0 * np.sqrt(sphere(z[..., 1:]))


def different_powers(z: FloatArray) -> FloatArray:
    """Return sqrt(sum |z_i|^(2 + 4 i/(d-1))): each number has a sensitivity of its own."""
    return np.sqrt((np.abs(z) ** (2.0 + 4.0 * _ramp(z.shape[-1]))).sum(axis=-1))


def schwefel_1_2(z: FloatArray) -> FloatArray:
    """Return sum_i (sum_{j<=i} z_j)^2 (H.-P. Schwefel, "Numerical Optimization", 1981)."""
    sums = np.cumsum(z, axis=-1)
    return (sums * sums).sum(axis=-1)


def step_ellipsoid(z: FloatArray) -> FloatArray:
    """Return sum 10^(2 i/(d-1)) round(z_i)^2: plateaus, flat where all |z_i| < 1/2."""
    steps = np.floor(z + 0.5)
    return (10.0 ** (2.0 * _ramp(z.shape[-1])) * steps * steps).sum(axis=-1)


def rosenbrock(z: FloatArray) -> FloatArray:
    """Return sum 100 (y_{i+1} - y_i^2)^2 + (y_i - 1)^2, y = z + 1: a bent valley; needs d >= 2."""
    y = z + 1.0
    first, second = y[..., :-1], y[..., 1:]
    return (100.0 * (second - first * first) ** 2 + (first - 1.0) ** 2).sum(axis=-1)


def rastrigin(z: FloatArray) -> FloatArray:
    """Return sum z_i^2 + 10 (1 - cos 2 pi z_i): about 10^d regular optima."""
    return (z * z + 10.0 * (1.0 - np.cos(2.0 * np.pi * z))).sum(axis=-1)


def ackley(z: FloatArray) -> FloatArray:
    """Return 20 (1 - exp(-|z|/(5 sqrt d))) + e - exp(mean cos 2 pi z_i).

    Source: D. Ackley, "A Connectionist Machine for Genetic Hillclimbing", 1987.
    """
    d = z.shape[-1]
    mean_square, mean_cosine = sphere(z) / d, np.cos(2.0 * np.pi * z).sum(axis=-1) / d
    # expm1 keeps digits where both exponents are near 0; e - exp(c) = -e (exp(c - 1) - 1)
    return -20.0 * np.expm1(-0.2 * np.sqrt(mean_square)) - np.e * np.expm1(mean_cosine - 1.0)


def griewank(z: FloatArray) -> FloatArray:
    """Return 1 + sum z_i^2/4000 - prod cos(z_i/sqrt(i+1)) (A. Griewank, JOTA 34, 1981)."""
    d = z.shape[-1]
    return 1.0 + sphere(z) / 4000.0 - np.cos(z / np.sqrt(np.arange(1, d + 1))).prod(axis=-1)


FUNCTIONS: Mapping[str, Callable[[FloatArray], FloatArray]] = MappingProxyType(
    {
        "ackley": ackley,
        "cigar": cigar,
        "different_powers": different_powers,
        "discus": discus,
        "ellipsoid": ellipsoid,
        "griewank": griewank,
        "rastrigin": rastrigin,
        "rosenbrock": rosenbrock,
        "schwefel_1_2": schwefel_1_2,
        "sharp_ridge": sharp_ridge,
        "sphere": sphere,
        "step_ellipsoid": step_ellipsoid,
    }
)
