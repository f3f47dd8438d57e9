"""How far searches are at each moment: best scores and reached targets over evaluations."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from evosearch.comparison import Comparison
from evosearch.errors import EvosearchError
from evosearch.outcome import FloatArray
from evosearch.suite import Suite

logger = logging.getLogger(__name__)

N_POINTS, N_TARGETS = 120, 51


@dataclass(frozen=True)
class Anytime:
    """The runs of one search on a common grid of evaluations.

    Attributes:
        evaluations: (T,) the grid, even in its logarithm.
        best: (R, T) best score so far of each run, on validation draws where there are any; NaN
            before its first.
    """

    evaluations: FloatArray
    best: FloatArray

    def quartiles(self) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Return lower quartile, median and upper quartile (T,) where every run has a score."""
        low, middle, high = np.quantile(self.best, (0.25, 0.5, 0.75), axis=0)
        return low, middle, high

    def reached(self, targets: FloatArray) -> FloatArray:
        """Return the share (T,) of all pairs of a run and a target that are reached by then."""
        return (self.best[:, :, None] >= targets).mean(axis=(0, 2))


@dataclass(frozen=True)
class Profile:
    """How many (problem, target) pairs the searches have reached by when.

    An empirical cumulative distribution of the evaluations that a target takes, as the data
    profiles of Moré and Wild (2009, SIAM J. Optim. 20) and the runtime profiles of COCO (Hansen et
    al. 2021); every problem weighs the same.

    Attributes:
        evaluations: (T,) the grid, even in its logarithm.
        shares: (T,) for each search, of all (run, problem, target) triples.
        ends: the budget of each problem; beyond it nothing more can be reached there.
        left_out: problems without targets or without runs.
    """

    evaluations: FloatArray
    shares: dict[str, FloatArray]
    ends: dict[str, int]
    left_out: tuple[str, ...]


def anytime(comparison: Comparison) -> dict[str, Anytime]:
    """Return each search's runs over evaluations; runs whose folder is gone are left out."""
    histories = {name: _histories(comparison, name) for name in comparison.searches}
    grid = _grid([run for runs in histories.values() for run in runs])
    return {name: _curves(grid, runs) for name, runs in histories.items() if runs}


def profile(suite: Suite) -> Profile | None:
    """Return the share of (problem, target) pairs over evaluations; None where there is none.

    A problem counts where it has floor and ceiling, and runs of every search.
    """
    found = {
        part.problem: ({name: _histories(part, name) for name in suite.searches}, targets_of(part))
        for part in suite.parts
    }
    used = {
        problem: (histories, targets)
        for problem, (histories, targets) in found.items()
        if targets is not None and all(histories.values())
    }
    if not used:
        return None
    grid = _grid([run for each, _ in used.values() for runs in each.values() for run in runs])
    shares = {
        name: np.mean([_curves(grid, each[name]).reached(t) for each, t in used.values()], axis=0)
        for name in suite.searches
    }
    ends = {part.problem: part.budget or 0 for part in suite.parts if part.problem in used}
    return Profile(grid, shares, ends, tuple(name for name in found if name not in used))


def targets_of(comparison: Comparison) -> FloatArray | None:
    """Return the targets of a problem, None where it has no floor and ceiling.

    The highest is the ceiling, or the score that counts as success where that is higher.
    """
    floor, ceiling, bar = comparison.floor, comparison.ceiling, comparison.bar
    if floor is None or ceiling is None or not ceiling > floor:
        return None
    return targets_between(floor, ceiling if bar is None else max(bar, ceiling))


def targets_between(floor: float, ceiling: float) -> FloatArray:
    """Return targets (51,) from the floor, which is none, to the ceiling."""
    return np.linspace(floor, ceiling, N_TARGETS + 1)[1:]


_Run = tuple[FloatArray, FloatArray]
"""Evaluations and best scores so far of one run, each (generations,)."""


def _grid(runs: Sequence[_Run]) -> FloatArray:
    """Return evaluations (T,) from the first to the last of all runs."""
    if not runs:
        return np.empty(0)
    last = max(steps[-1] for steps, _ in runs)
    grid = np.geomspace(max(1.0, min(steps[0] for steps, _ in runs)), last, N_POINTS)
    grid[-1] = last  # the power of a logarithm may fall short of it
    return grid


def _curves(grid: FloatArray, runs: Sequence[_Run]) -> Anytime:
    return Anytime(grid, np.stack([_on_grid(grid, *run) for run in runs]))


def _histories(comparison: Comparison, search: str) -> list[_Run]:
    from evosearch.run import load_run

    runs: list[_Run] = []
    for cell in comparison.cells_of(search):
        try:
            history = load_run(Path(cell.path)).history()
        except EvosearchError as error:
            logger.debug("left out of the curves: %s", error)
            continue
        if history["evaluations"].size:
            runs.append((history["evaluations"], _best_so_far(history)))
    return runs


def _best_so_far(history: dict[str, FloatArray]) -> FloatArray:
    validation = history["validation"]
    scores = validation if np.isfinite(validation).any() else history["best"]
    return np.fmax.accumulate(np.where(np.isfinite(scores), scores, np.nan))


def _on_grid(grid: FloatArray, steps: FloatArray, best: FloatArray) -> FloatArray:
    """Return the last score that was known at each point of the grid."""
    known = np.searchsorted(steps, grid, side="right") - 1
    return np.where(known >= 0, best[np.maximum(known, 0)], np.nan)
