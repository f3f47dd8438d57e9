"""Instances of test functions: where the optimum lies and how the axes are turned."""

from __future__ import annotations

import math

import numpy as np

from evosearch.functions.shapes import FUNCTIONS
from evosearch.outcome import FloatArray

LARGEST_ROTATION = 1024
"""Greatest dimension that is rotated; a rotation takes time of its cube."""
_ELEMENTS = 2**16  # products of a rotation that lie in memory at a time


class Instance:
    """A test function f(R (x - x_opt)), of least value 0, at ``optimum``.

    No sum is left to a matrix library, so that values depend neither on the points beside a point
    nor on threads.

    Args:
        name: one of ``FUNCTIONS``.
        dimension: numbers in a point.
        instance: at least 0; each has its own rotation and optimum.
        is_rotated: whether the axes are turned.
        shift: range of each number of the optimum.

    Example:
        >>> function = Instance("rastrigin", 3, instance=1)
        >>> float(function(function.optimum[None])[0])
        0.0
    """

    def __init__(
        self,
        name: str,
        dimension: int,
        *,
        instance: int = 0,
        is_rotated: bool = True,
        shift: tuple[float, float] = (-4.0, 4.0),
    ) -> None:
        self._shape = FUNCTIONS[name]
        turn, move = np.random.SeedSequence(instance).spawn(2)
        self.rotation: FloatArray | None = (
            random_rotation(np.random.default_rng(turn), dimension) if is_rotated else None
        )
        """(d, d) R, None where the axes are not turned."""
        self.optimum: FloatArray = np.random.default_rng(move).uniform(*shift, dimension)
        """(d,) x_opt."""

    def __call__(self, points: FloatArray) -> FloatArray:
        """Return the values (n,) of points (n, d); NaN or infinite where a point is."""
        with np.errstate(over="ignore", invalid="ignore"):
            z = points - self.optimum
            return self._shape(z if self.rotation is None else _rotated(self.rotation, z))


def random_rotation(rng: np.random.Generator, dimension: int) -> FloatArray:
    """Draw an orthogonal matrix (d, d), uniformly: by Haar's measure.

    Source: G. W. Stewart, "The Efficient Generation of Random Orthogonal Matrices with an
    Application to Condition Estimators", SIAM Journal on Numerical Analysis 17, 1980: a product of
    reflections of normal vectors, of 1 to d numbers, and of random signs.
    """
    rotation = np.diag(rng.choice([-1.0, 1.0], dimension))
    for k in range(2, dimension + 1):
        v = rng.standard_normal(k)
        length = math.sqrt(float((v * v).sum()))
        sign = math.copysign(1.0, v[0])
        v[0] += sign * length
        lower = rotation[dimension - k :]
        along = (v[:, None] * lower).sum(axis=0)
        lower -= (2.0 / float((v * v).sum())) * v[:, None] * along
        lower[0] *= -sign
    return rotation


def _rotated(rotation: FloatArray, z: FloatArray) -> FloatArray:
    """Return R z of each row z (n, d), every product summed by itself."""
    n, d = z.shape
    turned = np.empty_like(z)
    step = max(1, _ELEMENTS // (d * d))
    for start in range(0, n, step):
        rows = z[start : start + step]
        turned[start : start + step] = (rotation * rows[:, None, :]).sum(axis=-1)
    return turned
