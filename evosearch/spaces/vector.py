"""Vectors of real numbers."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from evosearch.errors import InputError
from evosearch.outcome import FloatArray
from evosearch.spaces.base import Space


class VectorSpace(Space):
    """Real vectors (dimension,), float64, in a box or unbounded.

    Args:
        dimension: numbers in a vector, at least 1.
        low: least value of every number; None for no bound.
        high: greatest value of every number; None for no bound.
        x0: where a search starts, one number or (dimension,).
        sigma0: size of its first steps, > 0.

    Raises:
        InputError: an argument is out of range.

    Example:
        >>> import numpy as np
        >>> space = VectorSpace(3, low=-1.0, high=1.0)
        >>> space.sample(np.random.default_rng(0))[0].shape
        (3,)
    """

    kind = "vector"

    def __init__(
        self,
        dimension: int,
        *,
        low: float | None = None,
        high: float | None = None,
        x0: float | Sequence[float] | FloatArray = 0.0,
        sigma0: float = 1.0,
    ) -> None:
        if dimension < 1:
            raise InputError(f"dimension is {dimension}; it must be at least 1.")
        if not (math.isfinite(sigma0) and sigma0 > 0):
            raise InputError(f"sigma0 is {sigma0}; it must be a finite number above 0.")
        if low is not None and high is not None and not low < high:
            raise InputError(f"low is {low} and high is {high}; low must be less than high.")
        start = np.asarray(x0, dtype=np.float64)
        if start.ndim > 1 or (start.ndim == 1 and start.shape != (dimension,)):
            raise InputError(f"x0 has shape {start.shape}; it must be a number or ({dimension},).")
        if not np.isfinite(start).all():
            raise InputError("x0 holds a number that is not finite.")
        self.dimension = dimension
        self.low = low
        self.high = high
        self.sigma0 = float(sigma0)
        self.x0: FloatArray = self.clip(np.broadcast_to(start, (dimension,)))

    def clip(self, vector: FloatArray) -> FloatArray:
        """Return a copy with every number moved into the box."""
        low = -np.inf if self.low is None else self.low
        high = np.inf if self.high is None else self.high
        return np.clip(vector, low, high)

    def sample(self, rng: np.random.Generator, n: int = 1) -> list[FloatArray]:
        """Draw uniformly from the box; without a box, from N(x0, sigma0^2)."""
        if self.low is not None and self.high is not None:
            return list(rng.uniform(self.low, self.high, (n, self.dimension)))
        points = self.x0 + self.sigma0 * rng.standard_normal((n, self.dimension))
        return [self.clip(point) for point in points]

    def mutate(self, genotype: FloatArray, rng: np.random.Generator) -> FloatArray:
        """Add N(0, sigma0^2) to about one in ten numbers, to one at least."""
        is_changed = rng.random(self.dimension) < 0.1
        is_changed[rng.integers(self.dimension)] = True
        steps = self.sigma0 * rng.standard_normal(self.dimension)
        return self.clip(genotype + np.where(is_changed, steps, 0.0))

    def crossover(
        self, first: FloatArray, second: FloatArray, rng: np.random.Generator
    ) -> tuple[FloatArray, FloatArray]:
        """Swap each number with probability a half."""
        is_swapped = rng.random(self.dimension) < 0.5
        return np.where(is_swapped, second, first), np.where(is_swapped, first, second)

    def neighbours(self, genotype: FloatArray) -> list[FloatArray]:
        """Return the vectors with one number sigma0 higher or lower, inside the box."""
        found = []
        for k in range(self.dimension):
            for step in (-self.sigma0, self.sigma0):
                other = genotype.copy()
                other[k] += step
                other = self.clip(other)
                if other[k] != genotype[k]:
                    found.append(other)
        return found

    def decode(self, genotype: FloatArray) -> Any:
        """Return the vector itself; spaces of coefficients return a rule."""
        return genotype

    def encode_text(self, genotype: FloatArray) -> str:
        """Write a JSON list; each number reads back exactly."""
        return json.dumps(genotype.tolist())

    def decode_text(self, text: str) -> FloatArray:
        """Read a JSON list of ``dimension`` numbers."""
        return read_vector(text, self.dimension)

    def key(self, genotype: FloatArray) -> bytes:
        """Return the bits of the vector."""
        return genotype.tobytes()


def read_vector(text: str, dimension: int) -> FloatArray:
    """Read a JSON list of ``dimension`` finite numbers as float64."""
    try:
        vector = np.array(json.loads(text), dtype=np.float64)
    except (ValueError, TypeError):
        raise InputError(f"{text[:60]!r} is not a list of numbers.") from None
    if vector.shape != (dimension,) or not np.isfinite(vector).all():
        raise InputError(f"{text[:60]!r} is not a list of {dimension} finite numbers.")
    return vector
