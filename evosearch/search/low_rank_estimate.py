"""The arithmetic of low-rank evolution: noise, what fitness counts, gradients of arrays."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evosearch.outcome import FloatArray

Singles = NDArray[np.float32]


def drawn_noise(rng: np.random.Generator, kind: str, shape: tuple[int, ...]) -> Singles:
    """Draw standard normal numbers, or signs where ``kind`` is ``sign``."""
    if kind == "normal":
        return rng.standard_normal(shape, dtype=np.float32)
    n = math.prod(shape)
    bits = np.unpackbits(np.frombuffer(rng.bytes(-(-n // 8)), dtype=np.uint8), count=n)
    signs = bits.astype(np.float32).reshape(shape)
    signs *= 2.0
    signs -= 1.0
    return signs


def standardised_gains(values: FloatArray, n_drawn: int, *, is_mirrored: bool) -> Singles:
    """Return what each part of each perturbation counts, (n_drawn, parts).

    Args:
        values: fitness of all candidates, those of a perturbation together and of a pair beside
            each other.
        n_drawn: perturbations.
        is_mirrored: whether they were scored in pairs; if not, a gain is over the mean of all
            perturbations of the same part.
    """
    scores = values.reshape(n_drawn, -1, 2 if is_mirrored else 1)
    gains = (
        (scores[:, :, 0] - scores[:, :, 1]) / 2
        if is_mirrored
        else scores[:, :, 0] - scores[:, :, 0].mean(axis=0)
    )
    spread = float(np.sqrt(np.mean(gains * gains)))
    return (gains / (n_drawn * (spread or 1.0))).astype(np.float32)


def estimated_gradient(left: Singles, right: Singles | None, weights: Singles) -> Singles:
    """Return the estimated gradient of one array, flat: the weighted sum of its noise.

    Args:
        left: (drawn, rank, rows) factors, or the noise of a vector with rank 1.
        right: (drawn, rank, columns) factors; None for a vector.
        weights: (drawn, rows) what each row of each perturbation counts.
    """
    weighted = left * weights[:, None, :]
    if right is None:
        return weighted.sum(axis=(0, 1))
    weighted /= np.float32(math.sqrt(left.shape[1]))
    rows, columns = weighted.reshape(-1, left.shape[2]), right.reshape(-1, right.shape[2])
    return np.asarray(rows.T @ columns, dtype=np.float32).reshape(-1)


@lru_cache(maxsize=1)
def _controller() -> Any:
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController()


def one_core() -> Any:
    """Return a context in which matrix products run on one core, so that their bits are fixed."""
    return _controller().limit(limits=1, user_api="blas")
