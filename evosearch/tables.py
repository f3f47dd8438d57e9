"""A small table that prints, renders in a notebook and turns into JSON."""

from __future__ import annotations

import html
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, overload

from evosearch.outcome import FloatArray, Json

N_SHOWN = 10
_NUMERIC = ' class="n"'


@dataclass(frozen=True)
class Table:
    """Rows under named columns.

    Attributes:
        title: one line above the table.
        columns: names of the columns.
        rows: one tuple a row, as long as ``columns``.

    Example:
        >>> table = Table("rules", ("name", "year"), (("oja", 1982),))
        >>> table.to_json()
        [{'name': 'oja', 'year': 1982}]
    """

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Any, ...], ...]

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return (dict(zip(self.columns, row, strict=True)) for row in self.rows)

    def __len__(self) -> int:
        return len(self.rows)

    def column(self, name: str) -> list[Any]:
        """Return all values of one column."""
        index = self.columns.index(name)
        return [row[index] for row in self.rows]

    def to_json(self) -> list[dict[str, Json]]:
        """Return one mapping a row."""
        return [{name: plain(value) for name, value in row.items()} for row in self]

    def __str__(self) -> str:
        cells = [list(self.columns), *([cell(value) for value in row] for row in self.rows)]
        widths = [max(len(row[i]) for row in cells) for i in range(len(self.columns))]
        lines = [
            "  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip()
            for row in cells
        ]
        return "\n".join(lines)

    def to_html(self) -> str:
        """Return the title as a paragraph, and the table."""
        return f"<p>{html.escape(self.title)}</p>{html_table(self.columns, self.rows)}"

    _repr_html_ = to_html


def cell(value: Any) -> str:
    """Return a value as short text; None and NaN as a dash."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.4g}" if abs(value) < 1000 else f"{value:,.0f}"
    if isinstance(value, int):
        return f"{value:,}" if abs(value) >= 10_000 else str(value)  # four digits may be a year
    if isinstance(value, (list, tuple)):
        return ", ".join(cell(item) for item in value)
    return str(value)


def numbers_line(numbers: Sequence[float] | FloatArray) -> str:
    """Return a vector as short text: its first numbers, and how many there are.

    Example:
        >>> numbers_line([0.5, -2.0, 1.25])
        '[0.5, -2, 1.25]'
    """
    shown = ", ".join(f"{number:.4g}" for number in numbers[:N_SHOWN])
    n = len(numbers)
    return f"[{shown}]" if n <= N_SHOWN else f"[{shown}, …], {n:,} numbers"


@overload
def plain(value: dict[Any, Any]) -> dict[str, Json]: ...
@overload
def plain(value: Any) -> Json: ...
def plain(value: Any) -> Json:
    """Return a value as strict JSON: NumPy scalars as Python's, non-finite numbers as None."""
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    return str(value)


def html_table(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """Return an HTML table, all text escaped and numbers marked with the class ``n``."""
    head = "".join(f"<th>{html.escape(name)}</th>" for name in columns)
    body = []
    for row in rows:
        cells = "".join(
            f"<td{_NUMERIC if _is_number(value) else ''}>{html.escape(cell(value))}</td>"
            for value in row
        )
        body.append(f"<tr>{cells}</tr>")
    return f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(body)}</tbody></table>"


def _is_number(value: Any) -> bool:
    return value is None or (isinstance(value, (int, float)) and not isinstance(value, bool))
