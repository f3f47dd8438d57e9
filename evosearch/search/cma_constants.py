"""The constants of CMA-ES as functions of dimension and population: those of pycma 4.5."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from evosearch.outcome import FloatArray


@dataclass(frozen=True)
class CmaConstants:
    """Weights and learning rates of one CMA-ES.

    Attributes:
        weights: (population,) of the best candidate first; the positive ones sum to 1, the others
            unlearn directions.
        n_parents: number of positive weights.
        mu_eff: variance effective selection mass of the positive weights.
        c_sigma: rate of the path of the step size.
        damping: of the step size.
        c_c: rate of the path of the covariance.
        c_1: rate of the rank-one update.
        c_mu: rate of the update by the candidates.
        chi: expected length of a normal vector.
    """

    weights: FloatArray
    n_parents: int
    mu_eff: float
    c_sigma: float
    damping: float
    c_c: float
    c_1: float
    c_mu: float
    chi: float


def cma_constants(dimension: int, population: int) -> CmaConstants:
    """Return the default constants.

    Source: N. Hansen, "The CMA Evolution Strategy: A Tutorial", 2016, arXiv:1604.00772, table 1,
    with the changes of N. Hansen, Y. Akimoto, P. Baudis, "CMA-ES/pycma on Github", release 4.5: a
    rate c_mu with an offset of 1/4, a rate c_sigma of (mu + 2)/(d + mu + 3), and more damping for
    populations that are large for the dimension.

    Args:
        dimension: d, at least 1.
        population: candidates a generation, at least 4.
    """
    d = dimension
    raw = math.log((population + 1) / 2) - np.log(np.arange(1, population + 1))
    positive, negative = raw[raw > 0], raw[raw <= 0]
    mu_eff = _effective(positive)
    c_1 = min(1.0, population / 6) * 2 / ((d + 1.3) ** 2 + mu_eff)
    c_mu = min(1 - c_1, 2 * (0.25 + mu_eff + 1 / mu_eff - 2) / ((d + 2) ** 2 + mu_eff))
    c_sigma = min(0.5, (mu_eff + 2) / (d + mu_eff + 3))
    stretch = max(1.0, 3 * (1 - 0.5 ** (d / 9)))
    damping = 1 + 2 * max(0.0, stretch * math.sqrt((mu_eff - 1) / (d + 1)) - 1) + c_sigma
    mass = min(  # of the negative weights, tutorial equations 50 to 53
        1 + c_1 / c_mu,
        (1 - c_1 - c_mu) / (c_mu * d),
        1 + 2 * _effective(negative) / (mu_eff + 2),
    )
    return CmaConstants(
        weights=np.concatenate([positive / positive.sum(), -mass * negative / negative.sum()]),
        n_parents=len(positive),
        mu_eff=mu_eff,
        c_sigma=c_sigma,
        damping=damping,
        c_c=(4 + mu_eff / d) / (d + 4 + 2 * mu_eff / d),
        c_1=c_1,
        c_mu=c_mu,
        chi=math.sqrt(2) * math.exp(math.lgamma((d + 1) / 2) - math.lgamma(d / 2)),
    )


def _effective(weights: FloatArray) -> float:
    return float(weights.sum() ** 2 / (weights**2).sum())
