"""Read a table of numbers from a CSV file; what is wrong is named by row and column."""

from __future__ import annotations

import csv
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from evosearch.errors import InputError, unknown_name
from evosearch.rules.primitives import PRIMITIVES
from evosearch.tasks.rows import Rows

MAX_BYTES = 500_000_000


def read_csv(path: str, target: str | None = None) -> Rows:
    """Read a table whose first line names the columns.

    Args:
        path: of a file of comma-separated values.
        target: the column to predict; None for the last one.

    Raises:
        InputError: the file cannot be read, a name cannot stand in a formula, or a cell is no
            finite number; rows are counted from 1 below the header.
    """
    header, lines = _cells(path)
    check_names(path, header)
    if target is not None and target not in header:
        raise InputError(f"{path}: {unknown_name('column', target, header)}")
    chosen = header[-1] if target is None else target
    numbers = np.array(
        [_numbers(path, header, row, cells) for row, cells in enumerate(lines, 1)]
    ).reshape(-1, len(header))
    if len(numbers) < 2:
        raise InputError(f"{path} has {len(numbers)} rows below its header; at least 2 are needed.")
    where = header.index(chosen)
    kept = [k for k in range(len(header)) if k != where]
    if not kept:
        raise InputError(f"{path} has the column {chosen!r} alone; there is nothing to predict by.")
    columns = np.ascontiguousarray(numbers[:, kept].T)
    return Rows(tuple(header[k] for k in kept), columns, np.ascontiguousarray(numbers[:, where]))


def stamp_of(path: str) -> tuple[int, int] | None:
    """Return what differs where a file was changed: time of change and size; None without one."""
    try:
        found = Path(path).stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size


def _cells(path: str) -> tuple[list[str], list[list[str]]]:
    """Return the names of the columns and the cells of each row; blank lines do not count."""
    file = Path(path)
    try:
        if file.stat().st_size > MAX_BYTES:
            raise InputError(f"{path} is larger than {MAX_BYTES:,} bytes.")
        with file.open(encoding="utf-8-sig", newline="") as lines:
            rows = [row for row in csv.reader(lines) if row]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        reason = getattr(error, "strerror", None) or "it is no table of comma-separated text"
        raise InputError(f"{path} cannot be read: {reason}.") from None
    if not rows:
        raise InputError(f"{path} is empty; its first line must name the columns.")
    return [name.strip() for name in rows[0]], rows[1:]


def check_names(path: str, header: Sequence[str]) -> None:
    """Refuse names of columns that cannot stand in a formula, or that stand there twice."""
    for number, name in enumerate(header, 1):
        if not (name.isascii() and name.isidentifier()) or name in PRIMITIVES:
            raise InputError(
                f"{path}: column {number} is called {name!r}; a name is of letters, digits and _, "
                "begins with no digit and is no function of formulas, as log is."
            )
        if header.index(name) != number - 1:
            raise InputError(f"{path}: two columns are called {name!r}; names must differ.")


def _numbers(path: str, header: Sequence[str], row: int, cells: list[str]) -> list[float]:
    if len(cells) > len(header):
        raise InputError(
            f"{path}: row {row} has {len(cells)} cells; the header names {len(header)} columns."
        )
    padded = cells + [""] * (len(header) - len(cells))
    return [_number(path, row, *pair) for pair in zip(header, padded, strict=True)]


def _number(path: str, row: int, column: str, cell: str) -> float:
    found = cell.strip()
    try:
        value = math.nan if "_" in found else float(found)  # Python reads 1_0 as 10
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        shown = repr(found[:40]) if found else "missing"
        raise InputError(
            f"{path}: row {row}, column {column!r} is {shown}; every cell must be a finite number."
        )
    return value
