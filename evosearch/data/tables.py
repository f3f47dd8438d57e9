"""Tables of numbers with a column of labels, as PMLB and scikit-learn users keep them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from evosearch.data.base import Examples, examples
from evosearch.data.cells import read_cells
from evosearch.errors import InputError

ENDINGS = (".csv", ".tsv", ".csv.gz", ".tsv.gz")
LABEL = "target"


def read_table(path: Path) -> tuple[Examples, int]:
    """Read a table with a line of names; the label is column ``target``, or else the last.

    Labels may be any words or numbers; the classes are numbered in their order, that of numbers
    where all are numbers. All other columns must be finite numbers.

    Args:
        path: comma-separated ``.csv`` or tab-separated ``.tsv``, either packed as ``.gz``.

    Returns:
        The examples, unscaled, and the number of classes.

    Raises:
        InputError: it cannot be read, has fewer than two columns or rows, a missing cell, one that
            is no finite number, or a single class.
    """
    cells = read_cells(path)
    if len(cells.rows) < 2 or len(cells.names) < 2:
        raise InputError(
            f"table {path} is too small; it needs a line of names, two rows and two columns."
        )
    place = cells.names.index(LABEL) if LABEL in cells.names else len(cells.names) - 1
    labels, n_classes = _classes(cells.texts(place))
    if n_classes < 2:
        raise InputError(
            f"table {path} has one class alone; column {cells.names[place]!r} must differ."
        )
    kept = [k for k in range(len(cells.names)) if k != place]
    return examples(cells.numbers(kept).T, labels), n_classes


def _classes(texts: list[str]) -> tuple[NDArray[np.int64], int]:
    try:
        values = np.array([float(text) for text in texts])
    except ValueError:
        values = np.array(texts)
    classes, labels = np.unique(values, return_inverse=True)
    return labels.astype(np.int64), len(classes)
