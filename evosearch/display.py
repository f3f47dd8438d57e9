"""What is seen while a search goes on: a live panel on a terminal, plain lines elsewhere.

All of it goes to stderr, so that stdout carries results only.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol, Self

from evosearch.tables import Table, cell

if TYPE_CHECKING:
    from rich.console import RenderableType

SECONDS_BETWEEN_LINES = 5.0


class ProgressLike(Protocol):
    """What a run reports after each generation."""

    @property
    def generation(self) -> int: ...
    @property
    def evaluations(self) -> int: ...
    @property
    def budget(self) -> int | None: ...
    @property
    def best(self) -> float: ...
    @property
    def median(self) -> float: ...
    @property
    def best_size(self) -> int: ...
    @property
    def evaluations_per_s(self) -> float: ...
    @property
    def synapse_updates_per_s(self) -> float: ...
    @property
    def failures(self) -> int: ...
    @property
    def time_left_s(self) -> float | None: ...
    @property
    def phase(self) -> str: ...


class LiveDisplay:
    """Show the progress of one run; a context manager, ``update`` is its ``on_progress``.

    Args:
        title: first line of the panel.
        is_live: whether to redraw in place; None asks whether stderr is a terminal.
    """

    def __init__(self, title: str, *, is_live: bool | None = None) -> None:
        self._title = title
        self._is_live = sys.stderr.isatty() if is_live is None else is_live
        self._live: Any = None
        self._last_line_at = -float("inf")
        self._last_phase = ""

    def __enter__(self) -> Self:
        if self._is_live:
            from rich.console import Console
            from rich.live import Live

            self._live = Live(
                console=Console(stderr=True), refresh_per_second=8, transient=True
            ).__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._live is not None:
            self._live.__exit__(kind, error, trace)
            self._live = None

    def update(self, progress: ProgressLike) -> None:
        """Show the newest state; lines are printed every few seconds and at a change of phase."""
        if self._live is not None:
            self._live.update(_panel(self._title, progress))
            return
        now = time.monotonic()
        is_new_phase = progress.phase != self._last_phase
        if is_new_phase or now - self._last_line_at >= SECONDS_BETWEEN_LINES:
            self._last_line_at, self._last_phase = now, progress.phase
            print(progress_line(progress), file=sys.stderr, flush=True)

    def notice(self, message: str) -> None:
        """Say something once, above the panel."""
        if self._live is not None:
            self._live.console.print(message)
        else:
            print(message, file=sys.stderr, flush=True)


def progress_line(progress: ProgressLike) -> str:
    """Return the state of a run as one line of text."""
    of_budget = f"/{progress.budget:,}" if progress.budget else ""
    parts = [
        progress.phase,
        f"generation {progress.generation:,}",
        f"{progress.evaluations:,}{of_budget} evaluations",
        f"best {progress.best:.4f}",
        f"median {progress.median:.4f}",
        f"size {progress.best_size}",
        f"{si(progress.evaluations_per_s)} evaluations/s",
        f"{si(progress.synapse_updates_per_s)} synapse updates/s",
    ]
    if progress.failures:
        parts.append(f"{progress.failures:,} failures")
    if progress.time_left_s is not None:
        parts.append(f"{duration(progress.time_left_s)} left")
    return " · ".join(part for part in parts if part)


def _panel(title: str, progress: ProgressLike) -> RenderableType:
    from rich import box
    from rich.console import Group
    from rich.panel import Panel
    from rich.progress_bar import ProgressBar
    from rich.table import Table as Grid

    grid = Grid.grid(padding=(0, 3))
    for _ in range(4):
        grid.add_column()
    of_budget = f" of {progress.budget:,}" if progress.budget else ""
    left = "–" if progress.time_left_s is None else duration(progress.time_left_s)
    rows = (
        ("generation", f"{progress.generation:,}", "evaluations", f"{progress.evaluations:,}{of_budget}"),
        ("best", f"[bold green]{progress.best:.4f}[/]", "evaluations/s", si(progress.evaluations_per_s)),
        ("median", f"{progress.median:.4f}", "synapse updates/s", si(progress.synapse_updates_per_s)),
        ("size", f"{progress.best_size}", "failures", f"{progress.failures:,}"),
        ("phase", progress.phase, "time left", left),
    )  # fmt: skip
    for a, b, c, d in rows:
        grid.add_row(f"[dim]{a}[/]", b, f"[dim]{c}[/]", d)
    parts: list[RenderableType] = [grid]
    if progress.budget:
        parts.append(ProgressBar(total=progress.budget, completed=progress.evaluations, width=64))
    return Panel(Group(*parts), title=title, box=box.ROUNDED, expand=False, border_style="cyan")


class ComparisonDisplay:
    """Show a comparison as a table that fills; ``update`` takes the rows known so far."""

    def __init__(self, title: str, *, is_live: bool | None = None) -> None:
        self._title = title
        self._is_live = sys.stderr.isatty() if is_live is None else is_live
        self._live: Any = None

    def __enter__(self) -> Self:
        if self._is_live:
            from rich.console import Console
            from rich.live import Live

            self._live = Live(console=Console(stderr=True), transient=True).__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._live is not None:
            self._live.__exit__(kind, error, trace)
            self._live = None

    def update(self, table: Table, message: str) -> None:
        """Redraw the table, or print what has just ended."""
        if self._live is not None:
            from rich.console import Group

            self._live.update(Group(rich_table(table, title=self._title), message))
        else:
            print(message, file=sys.stderr, flush=True)


def rich_table(table: Table, *, title: str | None = None) -> RenderableType:
    """Return a table for a rich console, numbers to the right."""
    from rich import box
    from rich.markup import escape
    from rich.table import Table as RichTable

    drawn = RichTable(title=escape(title or table.title), box=box.SIMPLE_HEAD, title_justify="left")
    for index, name in enumerate(table.columns):
        is_text = any(isinstance(row[index], str) for row in table.rows)
        drawn.add_column(name, justify="left" if is_text else "right", overflow="fold")
    for row in table.rows:
        drawn.add_row(*(escape(cell(value)) for value in row))
    return drawn


def plain_rows(table: Table) -> Sequence[str]:
    """Return a table as lines of text for a pipe."""
    return str(table).splitlines()


def si(value: float) -> str:
    """Return a rate in three digits with a unit prefix.

    Example:
        >>> si(2_870_000_000)
        '2.87 G'
    """
    for limit, prefix in ((1e9, " G"), (1e6, " M"), (1e3, " k")):
        if abs(value) >= limit:
            return f"{value / limit:.3g}{prefix}"
    return f"{value:.3g}"


def duration(value_s: float) -> str:
    """Return seconds as ``42 s``, ``3 min 5 s`` or ``2 h 10 min``."""
    total = max(0, round(value_s))
    if total < 60:
        return f"{total} s"
    if total < 3600:
        return f"{total // 60} min {total % 60} s"
    return f"{total // 3600} h {total % 3600 // 60} min"
