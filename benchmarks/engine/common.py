"""What the sections share: the machine's core, their size, and rows of the page."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

CORES: list[int] = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else [0]
IS_QUICK = bool(os.environ.get("EVOSEARCH_BENCH_QUICK"))


def pin(n_cores: int) -> None:
    """Keep this process, and threads it starts later, on so many cores."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, CORES[-n_cores:])


@contextmanager
def cores(n_cores: int):
    pin(n_cores)
    yield
    pin(1)


def smaller(n: int, divisor: int = 8, least: int = 2) -> int:
    """Return a size, or a small part of it where the script is only tried out."""
    return max(n // divisor, least) if IS_QUICK else n


@dataclass(frozen=True)
class Row:
    """One line of the main table: what was asked, what was measured; ``is_met`` None is open."""

    workload: str
    asked: str
    measured: str
    is_met: bool | None


@dataclass(frozen=True)
class Detail:
    """A table of its own below the main one."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[Any]]


@dataclass(frozen=True)
class Record:
    """What a section hands to the page."""

    rows: Sequence[Row]
    details: Sequence[Detail] = ()
    notes: Sequence[str] = field(default_factory=tuple)
