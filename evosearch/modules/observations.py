"""Running statistics of what policies see, gathered so that they depend on no order of work."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from evosearch.control.policy import LEAST_SCALE
from evosearch.outcome import FloatArray

if TYPE_CHECKING:
    import torch


class RunningScales:
    """Mean and standard deviation of all that was seen in the generations before.

    What the members of a generation see counts from the next one on, in their order, so that all
    of a generation are scored alike, whatever was computed where. Before the first they are 0 and
    1.

    Source: H. Mania, A. Guy, B. Recht, "Simple Random Search Provides a Competitive Approach to
    Reinforcement Learning", NeurIPS 2018, algorithm 2, version V2.

    Args:
        n_observations: numbers of an observation.
        dtype: what observations are turned to.
        device: where they are normalised.

    Attributes:
        mean: (n_observations,) what is subtracted.
        scale: (n_observations,) what is divided by.
    """

    def __init__(self, n_observations: int, *, dtype: torch.dtype, device: str) -> None:
        self._total: FloatArray = np.zeros(1 + 2 * n_observations)
        self._new: list[FloatArray] = []
        self._dtype, self._device = dtype, device
        self._set()

    def normalised(self, seen: torch.Tensor) -> torch.Tensor:
        """Return observations (…, n_observations) as policies see them."""
        return (seen.to(self._dtype) - self._on_device[0]) / self._on_device[1]

    def gather(self, rows: FloatArray) -> None:
        """Keep the moments (n, 1 + 2 n_observations) of the generation's next n members."""
        self._new.append(rows)

    def advance(self) -> None:
        """Count what was gathered; a generation is over."""
        self._total = merged(np.concatenate([self._total[None], *self._new]))
        self._new = []
        self._set()

    def _set(self) -> None:
        import torch

        self.mean, self.scale = scales_of(self._total)
        self._on_device = [
            torch.from_numpy(values).to(self._device, self._dtype)
            for values in (self.mean, self.scale)
        ]


class Moments:
    """Count, mean and squared deviations of the observations of some rows, added step by step.

    Source: B. Welford, "Note on a Method for Calculating Corrected Sums of Squares and Products",
    Technometrics 4, 1962.

    Args:
        n_rows: what is counted apart, such as the episodes of some members.
        n_observations: numbers of an observation.
    """

    def __init__(self, n_rows: int, n_observations: int) -> None:
        self._counts: FloatArray = np.zeros((n_rows, 1))
        self._means: FloatArray = np.zeros((n_rows, n_observations))
        self._squares: FloatArray = np.zeros((n_rows, n_observations))

    def add(self, seen: NDArray[Any], is_counted: NDArray[np.bool_]) -> None:
        """Add one observation (n_rows, n_observations) of each row that is counted (n_rows,)."""
        self._counts += is_counted[:, None]
        change = np.where(is_counted[:, None], seen - self._means, 0.0)
        self._means += change / np.maximum(self._counts, 1.0)
        self._squares += change * (seen - self._means)

    def add_one(self, row: int, seen: NDArray[Any]) -> None:
        """Add one observation (n_observations,) of one row."""
        self._counts[row] += 1.0
        change = seen - self._means[row]
        self._means[row] += change / self._counts[row]
        self._squares[row] += change * (seen - self._means[row])

    def rows(self) -> FloatArray:
        """Return (n_rows, 1 + 2 n_observations): counts, means, sums of squared deviations."""
        return np.concatenate([self._counts, self._means, self._squares], axis=1)


def merged(rows: FloatArray) -> FloatArray:
    """Return the moments (…, 1 + 2 k) of all observations of rows (…, n, 1 + 2 k), in their order.

    A row in which a number is not finite does not count.

    Source: T. Chan, G. Golub, R. LeVeque, "Updating Formulae and a Pairwise Algorithm for
    Computing Sample Variances", 1979, equation 2.1 for n samples.
    """
    k = rows.shape[-1] // 2
    rows = np.where(np.isfinite(rows).all(axis=-1, keepdims=True), rows, 0.0)
    counts, means, squares = np.split(rows, [1, 1 + k], axis=-1)
    count = _summed(counts)
    mean = _summed(counts * means) / np.maximum(count, 1.0)
    away = means - mean[..., None, :]
    return np.concatenate([count, mean, _summed(squares + counts * away * away)], axis=-1)


def scales_of(row: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return mean and standard deviation (k,) of moments (1 + 2 k,).

    A deviation of next to nothing is given as 1. Before anything was seen they are 0 and 1.
    """
    k = len(row) // 2
    deviation = np.sqrt(row[1 + k :] / max(row[0], 1.0))
    return row[1 : 1 + k].copy(), np.where(deviation < LEAST_SCALE, 1.0, deviation)


def _summed(values: FloatArray) -> FloatArray:
    """Add up the last but one axis, one after the other: so sums are the same in any layout."""
    total = np.zeros_like(values[..., 0, :])
    for row in range(values.shape[-2]):
        total += values[..., row, :]
    return total
