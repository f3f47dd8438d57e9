"""Multilayer perceptrons as flat vectors of weights, scored many at a time."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from evosearch.outcome import FloatArray
from evosearch.parted import PartedLowRank
from evosearch.populations import LowRank, layer_shapes

if TYPE_CHECKING:
    from evosearch.data import Examples

ACTIVATIONS = ("tanh", "relu", "sigmoid", "softplus")
MEASURES = ("cross-entropy", "accuracy")


@dataclass(frozen=True)
class Batch:
    """Examples that all candidates see, laid out for the compiled forward pass.

    Attributes:
        inputs: (chunks, inputs, lanes) flat: examples side by side, zeros where there are none.
        is_label: (chunks, classes, lanes) flat: 1 at the class of an example, else 0.
        n_examples: examples in all.
    """

    inputs: NDArray[Any]
    is_label: NDArray[Any]
    n_examples: int


class Mlp:
    """A stack of linear layers with one activation between them.

    Its weights are one vector: for each layer the matrix (outputs, inputs) row by row, then the
    biases. Scores are those of each network alone: the same bits whatever lies beside it, in blocks
    of any size and on any number of threads. Calls release the global lock.

    Args:
        sizes: inputs, hidden units of each layer, classes.
        activation: one of ``ACTIVATIONS``.
        dtype: ``float32`` or ``float64``; what is computed in.

    Example:
        >>> network = Mlp((64, 32, 10), "tanh")
        >>> network.dimension
        2410
    """

    def __init__(self, sizes: tuple[int, ...], activation: str, dtype: str = "float32") -> None:
        assert len(sizes) >= 2
        self.sizes = sizes
        self.activation = activation
        self.dtype = np.dtype(dtype)

    @cached_property
    def shapes(self) -> tuple[tuple[int, ...], ...]:
        """The arrays that lie one after the other in a vector."""
        return layer_shapes(self.sizes)

    @cached_property
    def dimension(self) -> int:
        """Weights and biases in all."""
        return sum(math.prod(shape) for shape in self.shapes)

    def initial(self, rng: np.random.Generator) -> FloatArray:
        """Draw weights (dimension,): normal with variance gain / inputs, biases 0.

        The gain is 2 before rectifiers (He et al. 2015), else 1 (LeCun et al. 1998).
        """
        last = len(self.sizes) - 2
        parts: list[FloatArray] = []
        for k, (n_in, n_out) in enumerate(zip(self.sizes, self.sizes[1:], strict=False)):
            gain = 2.0 if self.activation == "relu" and k < last else 1.0
            parts += [rng.normal(0.0, math.sqrt(gain / n_in), n_out * n_in), np.zeros(n_out)]
        return np.concatenate(parts)

    def batch(self, examples: Examples) -> Batch:
        """Lay examples out, once for all candidates."""
        n, n_classes = len(examples), self.sizes[-1]
        is_label = np.zeros((n, n_classes), dtype=self.dtype)
        is_label[np.arange(n), examples.labels] = 1
        return Batch(self._in_lanes(examples.inputs), self._in_lanes(is_label), n)

    def score(self, points: NDArray[Any] | LowRank, batch: Batch, measure: str) -> FloatArray:
        """Return the mean of a measure over the examples, (n,), for n networks.

        Args:
            points: (n, dimension), or a population of low rank.
            batch: what ``batch`` made.
            measure: ``cross-entropy``, negated, or ``accuracy``, where a tie for the best class is
                a miss. NaN where weights overflow.
        """
        if isinstance(points, LowRank) and points.shapes == self.shapes:
            return self._score_low_rank(points, batch, measure)
        rows: Any = points.dense() if isinstance(points, LowRank) else points
        from evosearch.networks.kernels import score_dense

        sums = np.zeros(len(rows))
        weights = np.ascontiguousarray(rows, dtype=self.dtype)
        score_dense(weights, batch.inputs, batch.is_label, *self._codes(measure), sums)
        return sums / batch.n_examples

    def _score_low_rank(self, points: LowRank, batch: Batch, measure: str) -> FloatArray:
        from evosearch.networks import kernels

        left, right = (_side_by_side(arrays) for arrays in (points.left, points.right))
        mean = np.ascontiguousarray(points.mean, dtype=self.dtype)
        rank = points.left[0].shape[1]
        shared = (mean, points.sigma, left.astype(self.dtype), right.astype(self.dtype))
        given = (self._places(rank), rank)
        data = (batch.inputs, batch.is_label)
        if isinstance(points, PartedLowRank):
            sums = np.zeros((len(points.numbers), points.n_signs))
            given = (*given, points.parts, points.numbers.start)
            kernels.score_parts(*shared, *given, data, *self._codes(measure), sums)
        else:
            sums = np.zeros((len(left), 2))
            kernels.score_whole(*shared, *given, data, *self._codes(measure), sums)
        return sums.reshape(-1) / batch.n_examples

    def _codes(self, measure: str) -> tuple[NDArray[np.int64], int, int]:
        return self.layers, ACTIVATIONS.index(self.activation), MEASURES.index(measure)

    @cached_property
    def layers(self) -> NDArray[np.int64]:
        """(layers, 5): inputs, outputs, where weights and biases begin, first row of the units."""
        rows: list[tuple[int, ...]] = []
        start = row = 0
        for n_in, n_out in zip(self.sizes, self.sizes[1:], strict=False):
            rows.append((n_in, n_out, start, start + n_in * n_out, row))
            start += (n_in + 1) * n_out
            row += n_out
        return np.array(rows, dtype=np.int64)

    def _places(self, rank: int) -> NDArray[np.int64]:
        """(layers, 3): where left vectors, those of the biases, and right vectors begin."""
        rows: list[tuple[int, ...]] = []
        left = right = 0
        for n_in, n_out in zip(self.sizes, self.sizes[1:], strict=False):
            rows.append((left, left + rank * n_out, right))
            left += (rank + 1) * n_out
            right += rank * n_in
        return np.array(rows, dtype=np.int64)

    def _in_lanes(self, rows: NDArray[Any]) -> NDArray[Any]:
        from evosearch.networks.kernels import scratch
        from evosearch.networks.vectors import LANES

        n, width = rows.shape
        whole = np.zeros((-(-n // LANES) * LANES, width), dtype=self.dtype)
        whole[:n] = rows
        laid_out = scratch(len(whole) * width // LANES, whole)
        chunks = whole.reshape(-1, LANES, width).transpose(0, 2, 1)
        laid_out.reshape(-1, width, LANES)[:] = chunks
        return laid_out


def _side_by_side(arrays: Any) -> NDArray[np.float32]:
    """Return the vectors of each pair one after the other, (k, their lengths in all)."""
    kept = [array.reshape(len(array), -1) for array in arrays if array is not None]
    return np.ascontiguousarray(np.concatenate(kept, axis=1))
