"""What a data set is: examples with labels, in three parts that never change."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from evosearch.errors import InputError

_SPLIT_SEED = 0x5911


@dataclass(frozen=True)
class Examples:
    """Labelled examples.

    Attributes:
        inputs: (n, d) float32, finite, read-only.
        labels: (n,) int64, from 0 to the number of classes less 1, read-only.
    """

    inputs: NDArray[np.float32]
    labels: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.labels)

    def rows(self, chosen: NDArray[np.int64]) -> Examples:
        """Return the examples of these row numbers, in their order."""
        return examples(self.inputs[chosen], self.labels[chosen])


@dataclass(frozen=True)
class DataSet:
    """Examples to learn from, to choose by, and to report.

    Attributes:
        name: how it was asked for.
        n_classes: labels run from 0 to this number less 1.
        train: what fitness is computed on.
        validation: what settings and champions are chosen by.
        test: what results are reported on.
    """

    name: str
    n_classes: int
    train: Examples
    validation: Examples
    test: Examples

    @property
    def n_inputs(self) -> int:
        """Numbers in an example."""
        return self.train.inputs.shape[1]


def examples(inputs: NDArray[np.floating], labels: NDArray[np.integer]) -> Examples:
    """Make read-only examples of the types that the networks compute with."""
    x = np.ascontiguousarray(inputs, dtype=np.float32)
    y = np.ascontiguousarray(labels, dtype=np.int64)
    x.flags.writeable = y.flags.writeable = False
    return Examples(x, y)


def check_examples(name: str, part: Examples, n_classes: int) -> None:
    """Raise InputError where inputs and labels do not fit together.

    Raises:
        InputError: no examples, other numbers of inputs and labels, an input that is not finite,
            or a label out of range.
    """
    if part.inputs.ndim != 2 or len(part.inputs) != len(part.labels) or not len(part):
        raise InputError(
            f"data {name!r} has inputs of shape {part.inputs.shape} and {len(part.labels)} labels; "
            "it must have one row of inputs a label, and at least one."
        )
    is_bad = ~np.isfinite(part.inputs).all(axis=1)
    if is_bad.any():
        raise InputError(
            f"data {name!r}: row {int(is_bad.argmax())} holds a number that is NaN or infinite; "
            "all inputs must be finite."
        )
    is_out = (part.labels < 0) | (part.labels >= n_classes)
    if is_out.any():
        row = int(is_out.argmax())
        raise InputError(
            f"data {name!r}: the label of row {row} is {int(part.labels[row])}; "
            f"labels must lie between 0 and {n_classes - 1}."
        )


def shuffled_parts(n: int, sizes: tuple[int, ...]) -> list[NDArray[np.int64]]:
    """Return row numbers of parts of n examples: the same on every machine and in every run.

    Args:
        n: examples.
        sizes: of all parts but the first, which takes the rest.
    """
    order = np.random.Generator(np.random.PCG64([_SPLIT_SEED, n])).permutation(n)
    cuts = np.cumsum([n - sum(sizes), *sizes])[:-1]
    return [np.sort(part) for part in np.split(order, cuts)]
