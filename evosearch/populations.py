"""Vectors that are made of arrays, and populations of them that are not written out."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from evosearch.outcome import FloatArray


@dataclass(frozen=True)
class LowRank:
    """2k points ``mean + sigma E`` and ``mean - sigma E``, E of low rank in each matrix.

    Point 2p adds the perturbation of pair p and point 2p + 1 subtracts it. Of a matrix (m, n) the
    perturbation is the sum of r outer products of a left (m,) and a right (n,) vector over sqrt(r);
    of a vector (m,) it is its left vector alone.

    Source: B. Sarkar et al., "Evolution Strategies at the Hyperscale", 2025, arXiv:2511.16652.

    Attributes:
        mean: (d,) the centre.
        sigma: size of the perturbations.
        shapes: the matrices (m, n) and vectors (m,) that lie one after the other in a point.
        left: for each shape (k, r, m), for a vector (k, 1, m).
        right: for each shape (k, r, n), for a vector None.
    """

    mean: FloatArray
    sigma: float
    shapes: tuple[tuple[int, ...], ...]
    left: tuple[NDArray[np.float32], ...]
    right: tuple[NDArray[np.float32] | None, ...]

    def __len__(self) -> int:
        return 2 * len(self.left[0])

    def __getitem__(self, points: slice) -> LowRank:
        """Return some of the pairs; both ends of the slice are even."""
        start, stop, step = points.indices(len(self))
        assert start % 2 == stop % 2 == 0
        assert step == 1
        pairs = slice(start // 2, stop // 2)
        return replace(
            self,
            left=tuple(part[pairs] for part in self.left),
            right=tuple(None if part is None else part[pairs] for part in self.right),
        )

    def dense(self) -> FloatArray:
        """Return the points (2k, d)."""
        k = len(self.left[0])
        points = np.empty((2 * k, len(self.mean)))
        start = 0
        for shape, left, right in zip(self.shapes, self.left, self.right, strict=True):
            n = math.prod(shape)
            points[0::2, start : start + n] = self.sigma * perturbations(left, right).reshape(k, n)
            start += n
        np.subtract(self.mean, points[0::2], out=points[1::2])
        points[0::2] += self.mean
        return points


def layer_shapes(sizes: Sequence[int]) -> tuple[tuple[int, ...], ...]:
    """Return the matrix (n_out, n_in) and the biases (n_out,) of each layer, bottom first.

    Args:
        sizes: units of each layer, inputs first.

    Example:
        >>> layer_shapes((64, 32, 10))
        ((32, 64), (32,), (10, 32), (10,))
    """
    return tuple(shape for n_in, n_out in pairwise(sizes) for shape in ((n_out, n_in), (n_out,)))


def perturbations(
    left: NDArray[np.float32], right: NDArray[np.float32] | None
) -> NDArray[np.float32]:
    """Return the perturbations (k, m, n) of a matrix, or (k, m) of a vector."""
    if right is None:
        return left[:, 0]
    return np.einsum("krm,krn->kmn", left, right) / np.float32(math.sqrt(left.shape[1]))
