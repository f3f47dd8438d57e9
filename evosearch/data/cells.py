"""Tables as people keep them: a line that names the columns, then cells of text."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from evosearch.data.files import read_file
from evosearch.errors import InputError
from evosearch.outcome import FloatArray

MAX_BYTES = 500_000_000


@dataclass(frozen=True)
class Cells:
    """A table of text without empty cells.

    Attributes:
        path: of its file.
        names: of the columns.
        rows: a list of cells each; rows are counted from 1 below the names.
    """

    path: Path
    names: list[str]
    rows: list[list[str]]

    def texts(self, place: int) -> list[str]:
        """Return the cells of a column, counted from 0."""
        return [row[place] for row in self.rows]

    def numbers(self, places: Sequence[int]) -> FloatArray:
        """Return some columns (k, N) as numbers.

        Raises:
            InputError: a cell is no finite number.
        """
        found = np.empty((len(places), len(self.rows)))
        for r, row in enumerate(self.rows):
            for k, place in enumerate(places):
                found[k, r] = value = _number(row[place])
                if not math.isfinite(value):
                    raise self._wrong(r + 1, place, repr(row[place][:40]))
        return found

    def refuse_missing(self) -> None:
        """Refuse a row with more cells than names, and an empty cell."""
        for number, row in enumerate(self.rows, 1):
            if len(row) > len(self.names):
                raise InputError(
                    f"{self.path}: row {number} has {len(row)} cells; the first line names "
                    f"{len(self.names)} columns."
                )
            place = row.index("") if "" in row else len(row)
            if place < len(self.names):
                raise self._wrong(number, place, "missing")

    def _wrong(self, row: int, place: int, shown: str) -> InputError:
        return InputError(
            f"{self.path}: row {row}, column {self.names[place]!r} is {shown}; every cell must be "
            "a finite number, or a word where it is a label."
        )


def read_cells(path: Path) -> Cells:
    """Read comma-separated ``.csv`` or tab-separated ``.tsv``, either packed as ``.gz`` or not.

    Blank lines do not count.

    Raises:
        InputError: the file cannot be read, is too large, no UTF-8 or empty, or a cell is missing.
    """
    try:
        if path.stat().st_size > MAX_BYTES:
            raise InputError(f"{path} is larger than {MAX_BYTES:,} bytes.")
        lines = io.StringIO(read_file(path).decode("utf-8-sig"), newline="")
        delimiter = "\t" if ".tsv" in path.suffixes else ","
        table = csv.reader(lines, delimiter=delimiter)
        rows = [[cell.strip() for cell in row] for row in table if row]
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}.") from None
    except (UnicodeDecodeError, csv.Error):
        raise InputError(f"{path} cannot be read: it is no table of UTF-8 text.") from None
    if not rows:
        raise InputError(f"{path} is empty; its first line must name the columns.")
    cells = Cells(path, rows[0], rows[1:])
    cells.refuse_missing()
    return cells


def _number(text: str) -> float:
    """Return a number, nan where it is none; Python alone reads 1_0 as 10."""
    try:
        return math.nan if "_" in text else float(text)
    except ValueError:
        return math.nan
