"""Read the rows of a regression from a CSV file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from evosearch.data.cells import read_cells
from evosearch.errors import InputError, unknown_name
from evosearch.rules.primitives import PRIMITIVES
from evosearch.tasks.rows import Rows


def read_csv(path: str, target: str | None = None) -> Rows:
    """Read a table whose first line names the columns.

    Args:
        path: of a file of comma- or, named .tsv, tab-separated values.
        target: the column to predict; None for the last one.

    Raises:
        InputError: the file cannot be read, a name cannot stand in a formula, or a cell is no
            finite number; rows are counted from 1 below the header.
    """
    cells = read_cells(Path(path))
    header = cells.names
    check_names(path, header)
    if target is not None and target not in header:
        raise InputError(f"{path}: {unknown_name('column', target, header)}")
    if len(cells.rows) < 2:
        raise InputError(f"{path} has {len(cells.rows)} rows below its names; it needs at least 2.")
    where = len(header) - 1 if target is None else header.index(target)
    kept = [k for k in range(len(header)) if k != where]
    if not kept:
        raise InputError(
            f"{path} has the column {header[where]!r} alone; there is nothing to predict by."
        )
    return Rows(tuple(header[k] for k in kept), cells.numbers(kept), cells.numbers([where])[0])


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
