"""Vectors of real numbers."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np

from evosearch.errors import InputError
from evosearch.outcome import FloatArray
from evosearch.spaces.base import Space

Bound: TypeAlias = "float | Sequence[float] | FloatArray | None"
"""One bound for all numbers, one for each, or none."""


REFERENCE = "vector:"
"""Begins the text that stands for a vector too long to be written out."""
MAX_LISTED = 1_000
"""Numbers in the longest vectors of which a run keeps every candidate."""


class VectorSpace(Space):
    """Real vectors (dimension,), float64, in a box or unbounded.

    Args:
        dimension: numbers in a vector, at least 1.
        low: least value, one for all numbers or (dimension,); None, and -inf, for no bound.
        high: greatest value, likewise.
        x0: where a search starts, one number or (dimension,).
        sigma0: size of its first steps, > 0.
        shapes: arrays that lie one after the other in a vector, e.g. ``((32, 64), (32,))`` for the
            weights and biases of a layer; None for one vector.
        is_listed: whether a run may keep every vector, if they are short enough.

    Raises:
        InputError: an argument is out of range.

    Example:
        >>> import numpy as np
        >>> space = VectorSpace(3, low=-1.0, high=[0.0, 1.0, 2.0])
        >>> space.sample(np.random.default_rng(0))[0].shape
        (3,)
    """

    kind = "vector"

    def __init__(
        self,
        dimension: int,
        *,
        low: Bound = None,
        high: Bound = None,
        x0: float | Sequence[float] | FloatArray = 0.0,
        sigma0: float = 1.0,
        shapes: Sequence[tuple[int, ...]] | None = None,
        is_listed: bool = True,
    ) -> None:
        if dimension < 1:
            raise InputError(f"dimension is {dimension}; it must be at least 1.")
        if not (math.isfinite(sigma0) and sigma0 > 0):
            raise InputError(f"sigma0 is {sigma0}; it must be a finite number above 0.")
        self.dimension = dimension
        self.low = self._bound("low", low, -np.inf)
        self.high = self._bound("high", high, np.inf)
        self._check_order()
        self.sigma0 = float(sigma0)
        self._may_be_listed = is_listed
        self.shapes = tuple(shapes) if shapes else ((dimension,),)
        if sum(math.prod(shape) for shape in self.shapes) != dimension:
            raise InputError(f"shapes {self.shapes} do not fill a vector of {dimension} numbers.")
        start = self._numbers("x0", x0)
        if not np.isfinite(start).all():
            raise InputError("x0 holds a number that is not finite.")
        self.x0: FloatArray = self.clip(np.broadcast_to(start, (dimension,)))

    @property
    def is_boxed(self) -> bool:
        """Whether every number has a least and a greatest value."""
        bounds = (self.low, self.high)
        return all(bound is not None and bool(np.isfinite(bound).all()) for bound in bounds)

    @property
    def is_listed(self) -> bool:
        """Whether vectors are short enough to be written out one by one, and may be."""
        return self._may_be_listed and self.dimension <= MAX_LISTED

    def clip(self, vector: FloatArray) -> FloatArray:
        """Return a copy with every number moved into the box."""
        low = -np.inf if self.low is None else self.low
        high = np.inf if self.high is None else self.high
        return np.clip(vector, low, high)

    def sample(self, rng: np.random.Generator, n: int = 1) -> list[FloatArray]:
        """Draw uniformly from the box; without a box, from N(x0, sigma0^2)."""
        if self.is_boxed:
            assert self.low is not None
            assert self.high is not None
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

    def label(self, vector: FloatArray) -> str:
        """Return what names a vector in a run: a JSON list; of a long one its hash alone."""
        if self.is_listed:
            return self.encode_text(vector)
        data = np.asarray(vector, dtype=np.float64).tobytes()
        return REFERENCE + hashlib.sha256(data).hexdigest()[:16]

    def decode_text(self, text: str) -> FloatArray:
        """Read a JSON list of ``dimension`` numbers."""
        return read_vector(text, self.dimension)

    def key(self, genotype: FloatArray) -> bytes:
        """Return the bits of the vector."""
        return genotype.tobytes()

    def _numbers(self, name: str, value: Any) -> FloatArray:
        """Read one number or one for each of the vector's."""
        numbers = np.asarray(value, dtype=np.float64)
        if numbers.ndim > 1 or (numbers.ndim == 1 and len(numbers) != self.dimension):
            shape = numbers.shape
            raise InputError(
                f"{name} has shape {shape}; it must be a number or ({self.dimension},)."
            )
        return numbers

    def _bound(self, name: str, value: Bound, unbounded: float) -> float | FloatArray | None:
        """Return a bound as a number or (dimension,), None where it bounds nothing."""
        if value is None:
            return None
        numbers = self._numbers(name, value)
        if np.isnan(numbers).any():
            raise InputError(f"{name} holds a number that is not a number (NaN).")
        if (numbers == unbounded).all():
            return None
        return numbers if numbers.ndim else float(numbers)

    def _check_order(self) -> None:
        if self.low is None or self.high is None:
            return
        low, high = (np.broadcast_to(b, (self.dimension,)) for b in (self.low, self.high))
        crossed = np.flatnonzero(~(low < high))
        if crossed.size:
            k = int(crossed[0])
            which = f" of number {k}" if np.ndim(self.low) or np.ndim(self.high) else ""
            raise InputError(
                f"low{which} is {low[k]:g} and high{which} is {high[k]:g}; "
                "low must be less than high."
            )


def read_vector(text: str, dimension: int) -> FloatArray:
    """Read a JSON list of ``dimension`` finite numbers as float64."""
    try:
        vector = np.array(json.loads(text), dtype=np.float64)
    except (ValueError, TypeError):
        raise InputError(f"{text[:60]!r} is not a list of numbers.") from None
    if vector.shape != (dimension,) or not np.isfinite(vector).all():
        raise InputError(f"{text[:60]!r} is not a list of {dimension} finite numbers.")
    return vector
