"""Reports of runs, comparisons and fits as single HTML files, and exports of champions."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from evosearch.comparison import Comparison
    from evosearch.fitted import Fit
    from evosearch.suite import Suite

__all__ = [
    "write_comparison_report",
    "write_fit_report",
    "write_run_report",
    "write_suite_report",
]


def write_run_report(run: Any, path: str | Path) -> Path:
    """Write the report of a run and return its path; code of a user's task is never imported."""
    from evosearch.report.gather import view_of_run
    from evosearch.report.page import write_page
    from evosearch.report.run_report import run_page

    return write_page(Path(path), run_page(view_of_run(run)))


def write_comparison_report(comparison: Comparison, path: str | Path) -> Path:
    """Write the report of a comparison and return its path."""
    from evosearch.report.comparison_report import comparison_page
    from evosearch.report.gather import groups_of_cells
    from evosearch.report.page import write_page

    groups = groups_of_cells(comparison.cells)
    return write_page(Path(path), comparison_page(comparison, groups))


def write_suite_report(suite: Suite, path: str | Path) -> Path:
    """Write the report of a comparison over several problems and return its path."""
    from evosearch.report.comparison_report import suite_page
    from evosearch.report.gather import groups_of_cells
    from evosearch.report.page import write_page

    groups = {part.problem: groups_of_cells(part.cells) for part in suite.parts}
    return write_page(Path(path), suite_page(suite, groups))


def write_fit_report(fit: Fit, path: str | Path) -> Path:
    """Write the report of learners side by side and return its path."""
    from evosearch.report.fit_report import fit_page
    from evosearch.report.page import write_page

    return write_page(Path(path), fit_page(fit))
