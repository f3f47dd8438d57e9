"""Tables of numbers with a column of labels, as PMLB and scikit-learn users keep them."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from evosearch.data.base import Examples, examples
from evosearch.data.files import read_file
from evosearch.errors import InputError

ENDINGS = (".csv", ".tsv", ".csv.gz", ".tsv.gz")


def read_table(path: Path) -> tuple[Examples, int]:
    """Read a table with a line of names; the label is column ``target``, or else the last.

    Labels may be any words or numbers; the classes are numbered in their order, that of numbers
    where all are numbers. All other columns must be finite numbers.

    Args:
        path: comma-separated ``.csv`` or tab-separated ``.tsv``, either packed as ``.gz``.

    Returns:
        The examples, unscaled, and the number of classes.

    Raises:
        InputError: not UTF-8, fewer than two columns or rows, a row of another length, a field
            that is no finite number, or a single class.
    """
    names, rows = _cells(path)
    target = names.index("target") if "target" in names else len(names) - 1
    labels, n_classes = _classes([row[target] for row in rows])
    if n_classes < 2:
        raise InputError(f"table {path} has one class alone; column {names[target]!r} must differ.")
    kept = [k for k in range(len(names)) if k != target]
    inputs = np.empty((len(rows), len(kept)))
    for r, row in enumerate(rows):
        for c, k in enumerate(kept):
            inputs[r, c] = _number(path, r, names[k], row[k])
    return examples(inputs, labels), n_classes


def _cells(path: Path) -> tuple[list[str], list[list[str]]]:
    try:
        text = read_file(path).decode("utf-8-sig")
    except UnicodeDecodeError:
        raise InputError(f"table {path} is no UTF-8 text.") from None
    delimiter = "\t" if ".tsv" in path.suffixes else ","
    rows = [row for row in csv.reader(io.StringIO(text), delimiter=delimiter) if row]
    if len(rows) < 3 or len(rows[0]) < 2:
        raise InputError(
            f"table {path} is too small; it needs a line of names, two rows and two columns."
        )
    names = [name.strip() for name in rows[0]]
    for r, row in enumerate(rows[1:]):
        if len(row) != len(names):
            raise InputError(f"table {path}: row {r} has {len(row)} fields, not {len(names)}.")
    return names, rows[1:]


def _number(path: Path, row: int, column: str, text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = np.nan
    if not np.isfinite(value):
        raise InputError(
            f"table {path}: row {row} of column {column!r} is {text!r}; it must be a finite number."
        )
    return value


def _classes(texts: list[str]) -> tuple[NDArray[np.int64], int]:
    try:
        values = np.array([float(text) for text in texts])
    except ValueError:
        values = np.array(texts)
    classes, labels = np.unique(values, return_inverse=True)
    return labels.astype(np.int64), len(classes)
