"""What is seen while a search goes on: a live panel on a terminal, plain lines elsewhere.

All of it goes to stderr, so that stdout carries results only.
"""

from __future__ import annotations

import math
import sys
import time
from typing import TYPE_CHECKING, Any, Self

from evosearch.tables import Table, cell

if TYPE_CHECKING:
    from rich.console import RenderableType

    from evosearch.loop import Progress

SECONDS_BETWEEN_LINES = 5.0


class _Screen:
    """The part of the terminal that is redrawn in place, where there is a terminal."""

    def __init__(self, is_live: bool | None) -> None:
        self.is_live = sys.stderr.isatty() if is_live is None else is_live
        self._live: Any = None

    def __enter__(self) -> Self:
        if self.is_live:
            from rich.console import Console
            from rich.live import Live

            live = Live(console=Console(stderr=True), refresh_per_second=8, transient=True)
            self._live = live.__enter__()
        return self

    def __exit__(self, *exception: Any) -> None:
        if self._live is not None:
            self._live.__exit__(*exception)
            self._live = None

    def draw(self, picture: RenderableType) -> None:
        """Replace what is shown."""
        if self._live is not None:
            self._live.update(picture)

    def say(self, message: str) -> None:
        """Print a line that stays."""
        if self._live is not None:
            self._live.console.print(message, markup=False, highlight=False)
        else:
            sys.stderr.write(f"{message}\n")
            sys.stderr.flush()


class LiveDisplay:
    """Show the progress of one run; a context manager, ``update`` is its ``on_progress``.

    Args:
        title: first line of the panel.
        is_live: whether to redraw in place; None asks whether stderr is a terminal.
    """

    def __init__(self, title: str, *, is_live: bool | None = None) -> None:
        self._title = title
        self._screen = _Screen(is_live)
        self._last_line_at = -float("inf")
        self._last_phase = ""

    def __enter__(self) -> Self:
        self._screen.__enter__()
        return self

    def __exit__(self, *exception: Any) -> None:
        self._screen.__exit__(*exception)

    def update(self, progress: Progress) -> None:
        """Show the newest state; lines are printed every few seconds and at a change of phase."""
        if self._screen.is_live:
            self._screen.draw(_panel(self._title, progress))
            return
        now = time.monotonic()
        is_new_phase = progress.phase != self._last_phase
        if is_new_phase or now - self._last_line_at >= SECONDS_BETWEEN_LINES:
            self._last_line_at, self._last_phase = now, progress.phase
            self._screen.say(progress_line(progress))

    def notice(self, message: str) -> None:
        """Say something once, above the panel."""
        self._screen.say(message)


def progress_line(progress: Progress) -> str:
    """Return the state of a run as one line of text."""
    of_budget = f"/{progress.budget:,}" if progress.budget else ""
    parts = [
        progress.phase,
        f"generation {progress.generation:,}",
        f"{progress.evaluations:,}{of_budget} evaluations",
        f"best {_fitness(progress.best)}",
        f"median {_fitness(progress.median)}",
        f"size {progress.best_size}",
        f"{si(progress.evaluations_per_s)} evaluations/s",
        *_updates(progress),
    ]
    if progress.failures:
        parts.append(f"{progress.failures:,} failures")
    if progress.time_left_s is not None:
        parts.append(f"{duration(progress.time_left_s)} left")
    return " · ".join(part for part in parts if part)


def _updates(progress: Progress) -> list[str]:
    """Return the rate of weight changes; nothing where candidates are not rules."""
    rate = progress.synapse_updates_per_s
    return [f"{si(rate)} synapse updates/s"] if rate else []


def _fitness(value: float) -> str:
    return "–" if math.isnan(value) else score_text(value)


def score_text(value: float) -> str:
    """Return a fitness in four decimals, in fewer where it is large, or in powers of ten."""
    size = abs(value)
    if size != 0 and not 1e-3 <= size < 1e7:
        return f"{value:.2e}"
    return f"{value:.4f}" if size < 100 else f"{value:.1f}"


def _panel(title: str, progress: Progress) -> RenderableType:
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
    evaluations_per_s, updates_per_s = (
        si(rate) for rate in (progress.evaluations_per_s, progress.synapse_updates_per_s)
    )
    done = f"{progress.evaluations:,}{of_budget}"
    rows = (
        ("generation", f"{progress.generation:,}", "evaluations", done),
        ("best", f"[bold green]{_fitness(progress.best)}[/]", "evaluations/s", evaluations_per_s),
        ("median", _fitness(progress.median), "synapse updates/s", updates_per_s),
        ("size", f"{progress.best_size}", "failures", f"{progress.failures:,}"),
        ("phase", progress.phase, "time left", left),
    )
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
        self._screen = _Screen(is_live)

    def __enter__(self) -> Self:
        self._screen.__enter__()
        return self

    def __exit__(self, *exception: Any) -> None:
        self._screen.__exit__(*exception)

    def update(self, table: Table, message: str) -> None:
        """Redraw the table, or print what has just ended."""
        if self._screen.is_live:
            from rich.console import Group

            self._screen.draw(Group(rich_table(table, title=self._title), message))
        else:
            self._screen.say(message)


def rich_table(table: Table, *, title: str | None = None) -> RenderableType:
    """Return a table for a rich console, numbers to the right."""
    from rich import box
    from rich.markup import escape
    from rich.table import Table as RichTable

    drawn = RichTable(title=escape(title or table.title), box=box.SIMPLE_HEAD, title_justify="left")
    for index, name in enumerate(table.columns):
        is_text = any(isinstance(row[index], str | list | tuple) for row in table.rows)
        drawn.add_column(name, justify="left" if is_text else "right", overflow="fold")
    for row in table.rows:
        drawn.add_row(*(escape(cell(value)) for value in row))
    return drawn


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
