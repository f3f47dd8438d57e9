"""How far searches are at each moment: best scores and reached targets over evaluations."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from evosearch.compare import Comparison
from evosearch.errors import EvosearchError
from evosearch.outcome import FloatArray

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


def anytime(comparison: Comparison) -> dict[str, Anytime]:
    """Return each search's runs over evaluations; runs whose folder is gone are left out."""
    histories = {name: _histories(comparison, name) for name in comparison.searches}
    ends = [steps[-1] for runs in histories.values() for steps, _ in runs]
    if not ends:
        return {}
    starts = [steps[0] for runs in histories.values() for steps, _ in runs]
    grid = np.geomspace(max(1.0, min(starts)), max(ends), N_POINTS)
    grid[-1] = max(ends)  # the power of a logarithm may fall short of it
    return {
        name: Anytime(grid, np.stack([_on_grid(grid, *run) for run in runs]))
        for name, runs in histories.items()
        if runs
    }


def targets_between(floor: float, ceiling: float) -> FloatArray:
    """Return targets (51,) from the floor, which is none, to the ceiling."""
    return np.linspace(floor, ceiling, N_TARGETS + 1)[1:]


def _histories(comparison: Comparison, search: str) -> list[tuple[FloatArray, FloatArray]]:
    from evosearch.run import load_run

    runs: list[tuple[FloatArray, FloatArray]] = []
    for cell in comparison.cells:
        if cell.search != search:
            continue
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
