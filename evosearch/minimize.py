"""Minimise a function of real numbers: ``evosearch.minimize``."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from evosearch.driver import DriveResult, drive
from evosearch.errors import InputError, RunError
from evosearch.outcome import FloatArray
from evosearch.search.base import SEARCHES, with_horizon
from evosearch.spaces.vector import Bound, VectorSpace
from evosearch.tables import numbers_line

if TYPE_CHECKING:
    from evosearch.loop import Progress

Function: TypeAlias = Callable[[Any], Any]
_SHARE_OF_BOX = 0.3


@dataclass(frozen=True)
class MinimizeResult:
    """What ``minimize`` found.

    Attributes:
        x: (d,) the best point.
        loss: the function there; infinite where it had no value anywhere, or no point was allowed.
        evaluations: points at which the function was asked.
        generations: times that the search was asked.
        failures: points at which it had no finite value.
        first_failure: why, of the first of them; empty where all had one.
        history: columns ``generation evaluations best median cpu_s``, each (generations,), where
            best and median are losses.
        stopped_by: ``budget``, ``done``, ``time``, ``target``, ``interrupt`` or ``terminate``.
    """

    x: FloatArray
    loss: float
    evaluations: int
    generations: int
    failures: int
    first_failure: str
    history: Mapping[str, NDArray[Any]]
    stopped_by: str

    @property
    def fitness(self) -> float:
        """The negative of the loss: higher is better."""
        return -self.loss

    def __repr__(self) -> str:
        return (
            f"MinimizeResult(loss={self.loss:.6g}, x={numbers_line(self.x)}, "
            f"evaluations={self.evaluations:,}, stopped_by={self.stopped_by!r})"
        )


def minimize(
    fun: Function,
    x0: Sequence[float] | FloatArray | float | None = None,
    *,
    search: str = "cmaes",
    bounds: tuple[Bound, Bound] | None = None,
    constraints: Function | None = None,
    sigma0: float | None = None,
    budget: int = 10_000,
    seed: int = 0,
    is_batched: bool = False,
    workers: int = 1,
    target: float | None = None,
    time_s: float | None = None,
    on_progress: Callable[[Progress], Any] | None = None,
    show_progress: bool | None = None,
    **settings: Any,
) -> MinimizeResult:
    """Minimise a function without its gradient.

    Where every number has two bounds the search moves in the unit box, so that numbers of different
    ranges count alike.

    Args:
        fun: a point (d,) to its loss; with ``is_batched`` points (n, d) to losses (n,).
        x0: where to start, (d,) or a number; None for the middle of the bounds.
        search: name of a search over vectors (``evosearch list searches``).
        bounds: least and greatest value, each one number, one for each of the point's, or None.
        constraints: a point (d,) to values (m,) that are all at most 0 where it is allowed; with
            ``is_batched`` points (n, d) to (n, m). For ``cmaes`` alone, by an augmented Lagrangian;
            it asks ``fun`` at one more point each generation.
        sigma0: size of the first steps; default .3 of the bounds' distance, 1 without bounds.
        budget: points at which ``fun`` is asked, at least 1.
        seed: at least 0; the same seed gives the same result for any number of workers.
        is_batched: whether ``fun`` takes many points at once.
        workers: processes that call a function of single points, through joblib.
        target: loss at which to stop.
        time_s: seconds after which no generation begins.
        on_progress: called with the progress after each generation.
        show_progress: whether to show it after two seconds; None: where stderr is a terminal.
        **settings: settings of the search, e.g. ``population``.

    Returns:
        The best point and how it was found. A point at which ``fun`` raises, or is no finite
        number, ranks last and costs nothing but itself.

    Raises:
        InputError: an argument is wrong, or ``fun`` returns something else than one number a point.
        RunError: ``fun`` failed at every point of the first generation; the message says how.

    Example:
        >>> result = minimize(lambda x: ((x - 3) ** 2).sum(), [0.0, 0.0], budget=1000)
        >>> result.x.round(3).tolist()
        [3.0, 3.0]
    """
    frame = _Frame(x0, bounds, sigma0)
    cls = SEARCHES.get(search)
    settings = with_horizon(cls, settings, budget)
    losses = _Losses(fun, frame, is_batched=is_batched, workers=workers)
    limits: dict[str, Any] = {
        "budget": budget,
        "time_s": time_s,
        "target": None if target is None else -target,
        "title": f"minimize · {search}",
        "on_progress": on_progress,
        "show_progress": show_progress,
    }
    with losses:
        if constraints is None:
            found = drive(cls(frame.space, seed=seed, **settings), losses, **limits)
        else:
            allowed = _Allowed(constraints, frame, is_batched=is_batched)
            found = _drive_constrained(search, losses, allowed, settings | {"seed": seed}, limits)
    history = dict(found.history)
    history |= {name: -history[name] for name in ("best", "median")}
    return MinimizeResult(
        x=frame.outside(found.best),
        loss=-found.fitness,
        evaluations=found.evaluations,
        generations=found.generations,
        failures=losses.failures,
        first_failure=losses.first_failure,
        history=history,
        stopped_by=found.stopped_by,
    )


class _Frame:
    """The coordinates in which is searched: the unit box where the bounds make one."""

    def __init__(self, x0: Any, bounds: tuple[Bound, Bound] | None, sigma0: float | None) -> None:
        low, high = _pair(bounds)
        start = _start(x0, low, high)
        outer = VectorSpace(len(start), low=low, high=high, x0=start)
        if not np.array_equal(outer.x0, start):
            k = int(np.flatnonzero(outer.x0 != start)[0])
            raise InputError(f"x0 lies outside the bounds: its number {k} is {start[k]:g}.")
        self._outer, self._is_box = outer, outer.is_boxed
        self._low: Any = outer.low if self._is_box else 0.0
        self._width: Any = outer.high - outer.low if self._is_box else 1.0  # type: ignore[operator]
        if self._is_box:
            step = _SHARE_OF_BOX if sigma0 is None else sigma0 / float(np.max(self._width))
            inner = (start - self._low) / self._width
            self.space = VectorSpace(len(start), low=0.0, high=1.0, x0=inner, sigma0=step)
        else:
            step = 1.0 if sigma0 is None else sigma0
            self.space = VectorSpace(len(start), low=low, high=high, x0=start, sigma0=step)

    def outside(self, points: FloatArray) -> FloatArray:
        """Return points (…, d) of the search in the coordinates of the function."""
        if not self._is_box:
            return np.array(points, dtype=np.float64)
        return self._outer.clip(self._low + points * self._width)


class _Allowed:
    """The user's constraints at points of the search."""

    def __init__(self, constraints: Function, frame: _Frame, *, is_batched: bool) -> None:
        self._constraints, self.frame, self._is_batched = constraints, frame, is_batched

    def __call__(self, points: FloatArray) -> Any:
        """Return values (n, m) of points (n, d)."""
        x = self.frame.outside(points)
        if self._is_batched:
            return self._constraints(x)
        return np.array([np.atleast_1d(self._constraints(point)) for point in x], np.float64)


def _drive_constrained(
    name: str,
    losses: _Losses,
    allowed: _Allowed,
    settings: dict[str, Any],
    limits: dict[str, Any],
) -> DriveResult:
    """Drive CMA-ES on an augmented Lagrangian; the best is the best point that is allowed."""
    from evosearch.search.constraints import AugmentedLagrangian

    if name != "cmaes" or limits["target"] is not None:
        given = f"search {name!r}" if name != "cmaes" else "a target"
        raise InputError(f"constraints do not go with {given}; use cmaes, and a budget or time_s.")
    own: dict[str, Any] = {"restarts": "none", "flat": 0.0, "patience": 10**9}
    search = SEARCHES.get(name)(allowed.frame.space, **(own | settings))
    lagrangian = AugmentedLagrangian(lambda points: -losses(points), allowed)
    on_progress = limits.pop("on_progress")

    def adapt(progress: Progress) -> None:
        lagrangian.update(search.favourites()[0])
        if on_progress is not None:
            on_progress(progress)

    found = drive(search, lambda x: -lagrangian(x), is_fresh=True, on_progress=adapt, **limits)
    best = found.best if lagrangian.x is None else lagrangian.x
    return replace(
        found,
        best=best,
        fitness=-lagrangian.loss,
        evaluations=found.evaluations + found.generations,
    )


class _Losses:
    """Scores points by the user's function; a context manager that owns the workers."""

    def __init__(self, fun: Function, frame: _Frame, *, is_batched: bool, workers: int) -> None:
        if not callable(fun):
            raise InputError(f"fun is {fun!r:.60}; it must be callable.")
        if workers < 1 or (is_batched and workers > 1):
            allowed = "1, as fun takes all points at once" if is_batched else "at least 1"
            raise InputError(f"workers is {workers}; it must be {allowed}.")
        self._fun, self._frame = fun, frame
        self._is_batched, self._workers = is_batched, workers
        self._is_first = True
        self.failures, self.first_failure = 0, ""

    def __enter__(self) -> _Losses:
        if self._workers > 1:
            from joblib import Parallel

            self._parallel = Parallel(n_jobs=self._workers).__enter__()
        return self

    def __exit__(self, *exception: Any) -> None:
        if self._workers > 1:
            self._parallel.__exit__(*exception)

    def __call__(self, points: NDArray[Any]) -> Any:
        """Return fitness (n,) of points (n, d) of the search."""
        x = self._frame.outside(points)
        values = _as_losses(self._fun(x), len(x)) if self._is_batched else self._one_by_one(x)
        is_lost = ~np.isfinite(values)
        self._note(is_lost, values)
        return -values

    def _one_by_one(self, points: FloatArray) -> FloatArray:
        if self._workers > 1:
            from joblib import delayed

            found = self._parallel(delayed(_loss_at)(self._fun, point) for point in points)
        else:
            found = [_loss_at(self._fun, point) for point in points]
        for value in found:
            if isinstance(value, str) and not self.first_failure:
                self.first_failure = value
        return np.array([math.nan if isinstance(v, str) else v for v in found], dtype=np.float64)

    def _note(self, is_lost: NDArray[np.bool_], values: FloatArray) -> None:
        if is_lost.any() and not self.first_failure:
            self.first_failure = f"its value is {values[is_lost][0]}"
        self.failures += int(is_lost.sum())
        if self._is_first and is_lost.all():
            n = len(values)
            raise RunError(
                f"fun has no value at any of the first {n} points: {self.first_failure}."
            )
        self._is_first = False


def _loss_at(fun: Function, point: FloatArray) -> float | str:
    """Return the loss at one point, or why there is none."""
    try:
        value = fun(point)
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    if value is None:
        return "it returned None"
    array = np.asarray(value)
    if array.size != 1 or array.dtype.kind not in "fiub":
        raise InputError(
            f"fun returned {str(value)[:60]!r} at one point; it must return one number. Where it "
            "takes many points at once, say is_batched=True."
        )
    return float(array.reshape(())) if array.ndim == 0 else float(array.reshape(-1)[0])


def _as_losses(values: Any, n: int) -> FloatArray:
    """Return what a batched function gave as losses (n,)."""
    try:
        losses = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError):
        losses = np.empty(0)
    if losses.shape != (n,):
        raise InputError(
            f"fun returned {str(values)[:60]!r} for {n} points; it must return {n} numbers."
        )
    return losses


def _pair(bounds: Any) -> tuple[Any, Any]:
    if bounds is None:
        return None, None
    if not isinstance(bounds, (tuple, list)) or len(bounds) != 2:
        raise InputError(f"bounds is {str(bounds)[:60]}; it must be a pair (low, high).")
    return bounds[0], bounds[1]


def _start(x0: Any, low: Any, high: Any) -> FloatArray:
    """Return where to start (d,)."""
    if x0 is None:
        if low is None or high is None:
            raise InputError("x0 is missing; without two bounds there is no middle to start from.")
        x0 = (np.asarray(low, dtype=np.float64) + np.asarray(high, dtype=np.float64)) / 2
    try:
        start = np.atleast_1d(np.asarray(x0, dtype=np.float64))
    except (TypeError, ValueError):
        raise InputError(f"x0 is {str(x0)[:60]!r}; it must be a list of numbers.") from None
    if start.ndim != 1 or start.size == 0 or not np.isfinite(start).all():
        raise InputError(
            f"x0 has shape {start.shape}; it must be a list of finite numbers, one at least."
        )
    return start
