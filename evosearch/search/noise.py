"""Perturbations of a generation that are drawn from one number whenever they are needed."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from evosearch.outcome import FloatArray
from evosearch.search.vectors import VectorSettings

# From this dimension on, where points are weights of networks, they are float32 by default.
SINGLE_FROM = 4096
# Points that are written at a time, as far as they stay near the processor.
_LARGEST_BLOCK, _NUMBERS_IN_BLOCK = 64, 2**19
_TABLE_SEED, _TABLE_SIZE = 0x7AB1E, 2**24
_KINDS = {"normal": 0, "signs": 1}
_EMPTY = np.empty(0)
_NO_NUMBERS, _NO_STARTS = np.empty(0, dtype=np.float32), np.empty(0, dtype=np.int64)


class NoiseSettings(VectorSettings):
    """Settings of searches that draw perturbations from seeds."""

    precision: Literal["auto", "float64", "float32"] = Field(
        "auto",
        description="type of the points that are scored; auto: float32 from 4096 numbers on. "
        "What is learned is float64 always",
    )


class Noise:
    """Rows z of random numbers, one a point or one for a point and its mirror image.

    Rows are functions of a seed, drawn again to learn from them: neither they nor the points are
    ever in memory together, and nothing depends on how they are cut into blocks. Numbers are
    standard normal to the precision of float32, or -1 and 1, by ``noise_kernels``; or slices at
    random of a table of normal numbers.

    Sources: replay from seeds: F. Such et al., "Deep Neuroevolution", 2017, arXiv:1712.06567,
    section 3.1; S. Malladi et al., "Fine-Tuning Language Models with Just Forward Passes" (MeZO),
    2023, arXiv:2305.17333, algorithm 1; the table: T. Salimans et al., 2017, arXiv:1703.03864,
    section 2.1.

    Args:
        dimension: numbers in a row.
        n_rows: rows of a generation.
        settings: says the type of the points.
        is_mirrored: whether each row makes two points, ``mean + sigma z`` and ``mean - sigma z``.
        kind: ``normal`` or ``signs``.
        is_kept: whether the rows of a generation are kept in memory from ask to tell.
        has_table: whether rows are slices of the table.
    """

    def __init__(
        self,
        dimension: int,
        n_rows: int,
        settings: NoiseSettings,
        *,
        is_mirrored: bool = False,
        kind: Literal["normal", "signs"] = "normal",
        is_kept: bool = False,
        has_table: bool = False,
    ) -> None:
        is_single = settings.precision == "float32" or (
            settings.precision == "auto" and dimension >= SINGLE_FROM
        )
        self._dtype = np.float32 if is_single else np.float64
        self._n_rows, self._is_mirrored = n_rows, is_mirrored
        self._per_row = 2 if is_mirrored else 1
        self._kind = _KINDS[kind]
        self._table = _table(dimension) if has_table else None
        self._kept = np.empty((n_rows, dimension), dtype=np.float32) if is_kept else None
        n = min(_LARGEST_BLOCK, _NUMBERS_IN_BLOCK // dimension) // self._per_row
        n = max(1, min(n, n_rows))
        self._points: NDArray[Any] = np.empty((n * self._per_row, dimension), dtype=self._dtype)
        self.draw(0)

    def draw(self, seed: int) -> None:
        """Begin the generation of a seed, 0 to 2^64 - 1."""
        key = np.array([seed & 0xFFFFFFFF, seed >> 32], dtype=np.uint32)
        self._source = (self._kind, key, _NO_NUMBERS, _NO_STARTS)
        dimension = self._points.shape[1]
        if self._table is not None:
            rng = np.random.Generator(np.random.SFC64(seed))
            starts = rng.integers(len(self._table) - dimension, size=self._n_rows)
            self._source = (self._kind, key, self._table, starts)
        elif self._kept is not None:
            kernels().write_rows(self._source, self._kept)
            starts = dimension * np.arange(self._n_rows)
            self._source = (self._kind, key, self._kept.reshape(-1), starts)

    def blocks(self, mean: FloatArray, sigma: float | FloatArray) -> Iterator[NDArray[Any]]:
        """Yield the points (n, d) of the generation block by block, in the same memory."""
        n_in_block = len(self._points) // self._per_row
        m = mean.astype(self._dtype)
        s = np.full(len(m), sigma, dtype=self._dtype)
        for first in range(0, self._n_rows, n_in_block):
            n = min(n_in_block, self._n_rows - first)
            points = self._points[: n * self._per_row]
            kernels().write_points(self._source, first, m, s, self._is_mirrored, points)
            yield points

    def weighted(self, weights: FloatArray) -> FloatArray:
        """Return the sum (d,) of the rows times their weights (n_rows,)."""
        total = np.zeros(self._points.shape[1])
        kernels().add_sums(self._source, weights, total, _EMPTY, _EMPTY)
        return total

    def weighted_with_squares(
        self, weights: FloatArray, square_weights: FloatArray
    ) -> tuple[FloatArray, FloatArray]:
        """Return the sums (d,) of rows times weights and of their squares times other weights."""
        total = np.zeros(self._points.shape[1])
        squares = np.zeros_like(total)
        kernels().add_sums(self._source, weights, total, square_weights, squares)
        return total, squares


@lru_cache(maxsize=1)
def kernels() -> Any:
    """Return the compiled loops; the compiler is loaded when the first numbers are drawn."""
    from evosearch.search import noise_kernels

    return noise_kernels


@lru_cache(maxsize=1)
def _table(dimension: int) -> NDArray[np.float32]:
    """Return standard normal numbers, the same for every seed, at least two vectors of them."""
    table = np.empty((1, max(_TABLE_SIZE, 2 * dimension)), dtype=np.float32)
    key = np.array([_TABLE_SEED, 0], dtype=np.uint32)
    kernels().write_rows((_KINDS["normal"], key, _NO_NUMBERS, _NO_STARTS), table)
    return table.reshape(-1)
