"""Low-rank populations of which each candidate changes a few units of one layer alone."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from evosearch.outcome import FloatArray
from evosearch.populations import LowRank, perturbations


@dataclass(frozen=True)
class PartedLowRank(LowRank):
    """Candidates that each take one part of a perturbation of low rank and leave the rest.

    A matrix (m, n) and a vector (m,) right after it are a layer of m units; a vector elsewhere is
    a layer too. The units of each layer are cut into runs of ``n_units``; these are the G parts of
    each of the k perturbations. Candidate ``p G + g`` adds part g of perturbation p to the mean;
    where the population is mirrored, candidates come in pairs of which the second one subtracts
    it. Whoever scores a candidate need compute anew only what its few units change, and k right
    vectors serve k G candidates.

    Attributes:
        n_units: units that a part holds at most.
        is_mirrored: whether each part is also subtracted.
        first: number of the first part that this block of the population holds.
        stop: number after its last one; None for all.
    """

    n_units: int = 1
    is_mirrored: bool = True
    first: int = 0
    stop: int | None = None

    @cached_property
    def parts(self) -> NDArray[np.int64]:
        """(G, 3): layer, first unit, last unit, exclusive."""
        return unit_parts(self.shapes, self.n_units)

    @property
    def n_signs(self) -> int:
        """Candidates of one part: 2 where the population is mirrored."""
        return 2 if self.is_mirrored else 1

    @property
    def numbers(self) -> range:
        """The parts that this block holds, numbered perturbation by perturbation."""
        n_all = len(self.left[0]) * len(self.parts)
        return range(self.first, n_all if self.stop is None else self.stop)

    def __len__(self) -> int:
        return self.n_signs * len(self.numbers)

    def __getitem__(self, points: slice) -> PartedLowRank:
        """Return some of the candidates; pairs stay together."""
        start, stop, step = points.indices(len(self))
        assert step == 1
        assert start % self.n_signs == stop % self.n_signs == 0
        numbers = self.numbers[start // self.n_signs : stop // self.n_signs]
        return replace(self, first=numbers.start, stop=numbers.stop)

    def dense(self) -> FloatArray:
        """Return the points (n, d)."""
        points = np.tile(np.asarray(self.mean, dtype=np.float64), (len(self), 1))
        layers, parts = layers_of(self.shapes), self.parts
        starts = np.cumsum([0, *(math.prod(shape) for shape in self.shapes)])
        for row, number in enumerate(self.numbers):
            pair, part = divmod(number, len(parts))
            layer, low, high = (int(value) for value in parts[part])
            for k in layers[layer]:
                step = self._step(k, pair, low, high)
                width = step.size // (high - low)
                at = int(starts[k]) + low * width
                for sign in range(self.n_signs):
                    points[row * self.n_signs + sign, at : at + step.size] += (1 - 2 * sign) * step
        return points

    def _step(self, k: int, pair: int, low: int, high: int) -> FloatArray:
        """Return what units ``low`` to ``high`` of shape ``k`` change by, flat."""
        right = self.right[k]
        left = self.left[k][pair : pair + 1, :, low:high]
        whole = perturbations(left, None if right is None else right[pair : pair + 1])
        return self.sigma * whole.reshape(-1).astype(np.float64)


def layers_of(shapes: tuple[tuple[int, ...], ...]) -> list[tuple[int, ...]]:
    """Return for each layer the numbers of its shapes: a matrix, the vector after it, or both.

    Example:
        >>> layers_of(((32, 64), (32,), (10, 32), (10,)))
        [(0, 1), (2, 3)]
    """
    layers: list[tuple[int, ...]] = []
    for k, shape in enumerate(shapes):
        before = shapes[layers[-1][0]] if layers and len(layers[-1]) == 1 else ()
        if len(shape) == 1 and len(before) == 2 and before[0] == shape[0]:
            layers[-1] = (*layers[-1], k)
        else:
            layers.append((k,))
    return layers


def unit_parts(shapes: tuple[tuple[int, ...], ...], n_units: int) -> NDArray[np.int64]:
    """Return the parts (G, 3): layer, first unit, last unit, exclusive."""
    sizes = [shapes[layer[0]][0] for layer in layers_of(shapes)]
    return np.array(
        [
            (k, low, min(low + n_units, size))
            for k, size in enumerate(sizes)
            for low in range(0, size, n_units)
        ],
        dtype=np.int64,
    )
