"""Drive a search over vectors by a function that scores many points at once."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from evosearch.display import LiveDisplay
from evosearch.errors import InputError
from evosearch.loop import BUDGET, DONE, TARGET, TIME, Progress, check_limits
from evosearch.outcome import FloatArray, plain_evaluation
from evosearch.populations import LowRank
from evosearch.search.base import Search
from evosearch.search.vectors import asked
from evosearch.signals import StopRequest, stop_on_signals

Score: TypeAlias = Callable[[NDArray[Any]], Any]
"""Points (n, d), float64 or float32, to fitness (n,); higher is better."""

SECONDS_BEFORE_DISPLAY = 2.0
_LOW_RANK_BLOCK = 64
COLUMNS = ("generation", "evaluations", "best", "median", "cpu_s")


@dataclass(frozen=True)
class DriveResult:
    """What a search found.

    Attributes:
        best: (d,) float64, the best point.
        fitness: its fitness; ``-inf`` where no point had any.
        evaluations: points scored that count against the budget.
        generations: times that the search was asked.
        history: a column of each name of ``COLUMNS``, each (generations,): evaluations so far,
            best fitness so far (of the generation where the score changes), median fitness of
            the generation over points that have one, CPU seconds so far.
        stopped_by: ``budget``, ``done``, ``time``, ``target``, ``interrupt`` or ``terminate``.
    """

    best: FloatArray
    fitness: float
    evaluations: int
    generations: int
    history: dict[str, NDArray[Any]]
    stopped_by: str


def drive(
    search: Search,
    score: Score,
    *,
    budget: int,
    time_s: float | None = None,
    target: float | None = None,
    is_fresh: bool = False,
    n_together: int = 1,
    title: str = "search",
    on_progress: Callable[[Progress], Any] | None = None,
    show_progress: bool | None = None,
) -> DriveResult:
    """Ask, score and tell until the budget is spent or something else ends it.

    Searches that propose in blocks are scored block by block, so that a large population never
    lies in memory. What the search holds to be best without having scored it, such as its mean,
    is scored at the end and does not count. Ctrl-C ends it after the block under way, with the
    result so far; a second one at once.

    Args:
        search: a new search over a space of vectors.
        score: fitness (n,) of points (n, d), valid during the call; a value that is not finite
            ranks last. What it raises is passed on.
        budget: points to score, at least 1; the last generation is cut to fit.
        time_s: seconds of wall-clock time after which no generation begins.
        target: fitness at which it ends.
        is_fresh: whether ``score`` changes from generation to generation, so that the best is
            looked for among the last generation and the search's favourites.
        n_together: points that are scored at a time at least, where a generation has them; a
            device is filled by more than the searches propose at a time.
        title: of the display.
        on_progress: called with the progress after each generation.
        show_progress: whether to show it after two seconds; None: where stderr is a terminal.

    Raises:
        InputError: an argument is out of range, or ``score`` returned something else than one
            number for each point.

    Example:
        >>> from evosearch.search.base import SEARCHES
        >>> from evosearch.spaces import VectorSpace
        >>> search = SEARCHES.get("snes")(VectorSpace(3, x0=1.0), seed=0)
        >>> drive(search, lambda points: -(points**2).sum(axis=1), budget=2000).fitness > -1e-6
        True
    """
    if budget < 1:
        raise InputError(f"budget is {budget}; it must be at least 1.")
    check_limits(time_s, target)
    with ExitStack() as stack:
        stop = stack.enter_context(stop_on_signals())
        show = _Shown(title, stack) if _is_shown(show_progress) else None
        under_way = _Drive(search, score, budget, is_fresh, n_together, stop)
        stopped_by = None
        while stopped_by is None:
            stopped_by = under_way.generation()
            if stopped_by is not None:
                break
            for listener in (on_progress, show):
                if listener is not None:
                    listener(under_way.progress(time_s))
            stopped_by = under_way.reason_to_stop(time_s, target)
        under_way.score_favourites()
    return under_way.result(stopped_by)


class _Drive:
    """One call of ``drive`` under way."""

    def __init__(
        self,
        search: Search,
        score: Score,
        budget: int,
        is_fresh: bool,
        n_together: int,
        stop: StopRequest,
    ) -> None:
        self._search, self._score = search, score
        self._budget, self._is_fresh, self._stop = budget, is_fresh, stop
        self._n_together = n_together
        self._best: FloatArray = np.array(search.space.x0, dtype=np.float64)
        self._fitness = -math.inf
        self._evaluations = 0
        self._rows: list[tuple[int, int, float, float, float]] = []
        self._started_at, self._cpu_before = time.monotonic(), time.process_time()

    def generation(self) -> str | None:
        """Score a generation and tell it; return a reason to stop where there is none to score."""
        if self._is_fresh:
            self._fitness = -math.inf
        found: list[FloatArray] = []
        room = self._budget - self._evaluations
        candidates, blocks = asked(self._search)
        for block in _joined(_written_out(blocks), self._n_together):
            if self._stop.event.is_set():
                return self._stop.reason or "interrupt"
            # The rest of a generation that is cut is asked as well: a search counts what it asked.
            points, room = block[:room], room - min(room, len(block))
            if len(points):
                found.append(self._scored(points))
                self._evaluations += len(points)
        if not found:
            return DONE
        fitness = np.concatenate(found)
        self._note(fitness)
        self._search.tell(candidates[: len(fitness)], plain_evaluation(fitness, len(self._best)))
        return None

    def reason_to_stop(self, time_s: float | None, target: float | None) -> str | None:
        """Return what ends it after a generation, if anything does."""
        if self._stop.event.is_set():
            return self._stop.reason or "interrupt"
        if target is not None and self._fitness >= target:
            return TARGET
        if self._evaluations >= self._budget:
            return BUDGET
        if self._search.is_done:
            return DONE
        if time_s is not None and time.monotonic() - self._started_at >= time_s:
            return TIME
        return None

    def score_favourites(self) -> None:
        """Score what the search holds to be best; it may become the best."""
        favourites = self._search.favourites() if self._rows else []
        if favourites:
            self._scored(np.array(favourites))

    def progress(self, time_s: float | None) -> Progress:
        """Return what is shown while it goes on."""
        generation, evaluations, best, median, _ = self._rows[-1]
        seconds = max(1e-9, time.monotonic() - self._started_at)
        rate = evaluations / seconds
        left = (self._budget - evaluations) / rate
        return Progress(
            phase="search",
            generation=generation,
            evaluations=evaluations,
            budget=self._budget,
            best=best,
            median=median,
            best_size=len(self._best),
            evaluations_per_s=rate,
            synapse_updates_per_s=0.0,
            failures=0,
            time_left_s=max(0.0, left if time_s is None else min(left, time_s - seconds)),
        )

    def result(self, stopped_by: str) -> DriveResult:
        """Return what was found."""
        columns = zip(*self._rows, strict=True) if self._rows else ((),) * len(COLUMNS)
        history = {name: np.array(column) for name, column in zip(COLUMNS, columns, strict=True)}
        return DriveResult(
            best=self._best,
            fitness=self._fitness,
            evaluations=self._evaluations,
            generations=len(self._rows),
            history=history,
            stopped_by=stopped_by,
        )

    def _scored(self, points: NDArray[Any]) -> FloatArray:
        """Return the fitness (n,) of points, ``-inf`` for failures; keep the best of them."""
        fitness = fitness_of(self._score(points), len(points))
        k = int(fitness.argmax())
        if fitness[k] > self._fitness:
            self._fitness = float(fitness[k])
            self._best = np.array(points[k], dtype=np.float64)
        return fitness

    def _note(self, fitness: FloatArray) -> None:
        is_ok = np.isfinite(fitness)
        median = float(np.median(fitness[is_ok])) if is_ok.any() else math.nan
        best = self._fitness if math.isfinite(self._fitness) else math.nan
        cpu_s = time.process_time() - self._cpu_before
        self._rows.append((len(self._rows) + 1, self._evaluations, best, median, cpu_s))


class _Shown:
    """A display that begins once there is something to wait for."""

    def __init__(self, title: str, stack: ExitStack) -> None:
        self._title, self._stack = title, stack
        self._started_at = time.monotonic()
        self._display: LiveDisplay | None = None

    def __call__(self, progress: Progress) -> None:
        if self._display is None and time.monotonic() - self._started_at >= SECONDS_BEFORE_DISPLAY:
            self._display = self._stack.enter_context(LiveDisplay(self._title))
        if self._display is not None:
            self._display.update(progress)


def fitness_of(values: Any, n: int) -> FloatArray:
    """Return what a score gave for ``n`` points as fitness (n,), ``-inf`` where not finite.

    Raises:
        InputError: it is not one number for each point.
    """
    try:
        fitness = np.array(values, dtype=np.float64)
    except (TypeError, ValueError):
        raise InputError(
            f"the score of {n} points is {str(values)[:60]!r}; it must be one number for each."
        ) from None
    if fitness.shape != (n,):
        found = "None" if values is None else f"of shape {fitness.shape}"
        raise InputError(
            f"the score of {n} points is {found}; it must be one number for each: shape ({n},)."
        )
    fitness[~np.isfinite(fitness)] = -np.inf
    return fitness


def _written_out(blocks: Iterable[Any]) -> Iterator[NDArray[Any]]:
    """Yield blocks (n, d); a population of low rank in parts, so that it is never whole."""
    for block in blocks:
        if not isinstance(block, LowRank):
            yield block
            continue
        for start in range(0, len(block), _LOW_RANK_BLOCK):
            yield block[start : start + _LOW_RANK_BLOCK].dense()


def _joined(blocks: Iterable[NDArray[Any]], n: int) -> Iterator[NDArray[Any]]:
    """Yield the blocks as they are where they hold n points, else joined to as many or more."""
    waiting: list[NDArray[Any]] = []
    for block in blocks:
        if not waiting and len(block) >= n:
            yield block
            continue
        waiting.append(block.copy())
        if sum(map(len, waiting)) >= n:
            yield np.concatenate(waiting)
            waiting = []
    if waiting:
        yield np.concatenate(waiting)


def _is_shown(show_progress: bool | None) -> bool:
    return sys.stderr.isatty() if show_progress is None else show_progress
