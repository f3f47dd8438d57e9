"""Learners side by side on one task: tuned alike on validation data, reported on test data."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from evosearch.beds import Bed, bed
from evosearch.circuits.life import held_out
from evosearch.display import duration
from evosearch.errors import InputError
from evosearch.fitted import Fit, Fitted
from evosearch.learners.base import Learned, Learner, Lesson
from evosearch.outcome import FloatArray
from evosearch.tables import cell

if TYPE_CHECKING:
    from evosearch.data import DataSet
    from evosearch.tasks.base import Key

TUNING_DRAWS = 2
_TUNING, _REPORT, _TIMING = 0, 1, 2  # what keys are for
_NO_RATE = ("none", math.nan)  # of learners that solve for their weights
_ENOUGH = 0.9
_TIMED_RUNS, _TIMED_RATE, _TIMED_S = 5, 1e-3, 0.15
_LEAST_CHECKS, _MOST_TIMED = 4, 2048


def fit(
    task: str,
    *,
    learners: Sequence[str],
    seeds: int = 5,
    seed: int = 0,
    workers: int | None = None,
    on_rows: Callable[[Fit, str], None] | None = None,
) -> Fit:
    """Let learners live side by side on one task.

    Each learner's normaliser and learning rate are chosen from the task's grid by the accuracy of
    two lifetimes on validation data. With these it learns ``seeds`` times from the training and
    validation parts together, and the test part judges. The same seed gives all learners the same
    initial weights and order of examples; no two purposes share a seed.

    Args:
        task: name of a bed, such as ``digits6``.
        learners: their names; the word ``all`` alone stands for all that can train its network.
        seeds: lifetimes that are reported, at least 1.
        seed: from which all randomness follows, at least 0.
        workers: learners at a time, each in a thread; None for one a core. No result depends on it.
        on_rows: called with what is known so far and a sentence at the start, when a learner is
            done, and before times are measured.

    Raises:
        InputError: a name is unknown, a number out of range, or a learner that is asked for by
            name cannot train the task's network.
    """
    from joblib import Parallel, delayed

    where = bed(task)
    if seeds < 1 or seed < 0:
        raise InputError(f"seeds is {seeds} and seed {seed}; they must be at least 1 and 0.")
    benches, refused = _benches(where, learners, seed)

    rows: list[Fitted] = []
    lock = threading.Lock()

    def known(found: Sequence[Fitted]) -> Fit:
        return Fit(
            task, seeds, tuple(found), where.check_every, where.floor, where.ceiling, refused
        )

    def say(sentence: str) -> None:
        if on_rows is not None:
            on_rows(known(rows), sentence)

    def fitted(bench: Bench) -> Fitted:
        row = bench.fitted(seeds)
        with lock:
            rows.append(row)
            say(f"{row.learner}: accuracy {cell(float(row.accuracies.mean()))} in "
                f"{duration(row.wall_s)}")  # fmt: skip
        return row

    say(f"{len(benches)} learners, {len(where.grid)} settings each")
    work: Any = Parallel(n_jobs=min(len(benches), workers or _n_cores()), backend="threading")
    ordered: list[Fitted] = work(delayed(fitted)(bench) for bench in benches)
    say("measuring times")
    seconds = _seconds_per_update(benches, where.check_every)
    return known([replace(row, seconds_per_update=s) for row, s in
                  zip(ordered, seconds, strict=True)])  # fmt: skip


def times(task: str, *, learners: Sequence[str], seed: int = 0) -> dict[str, float]:
    """Return seconds of processor time that each learner takes for an update of one network.

    Args:
        task: name of a bed.
        learners: their names.
        seed: of the networks that are timed.

    Raises:
        InputError: a name is unknown, or a learner cannot train the task's network.
    """
    where = bed(task)
    benches, _ = _benches(where, learners, seed)
    return dict(zip(learners, _seconds_per_update(benches, where.check_every), strict=True))


def _n_cores() -> int:
    from joblib import cpu_count

    return cpu_count()


def _benches(where: Bed, learners: Sequence[str], seed: int) -> tuple[list[Bench], dict[str, str]]:
    """Return learners on their benches, and those of ``all`` that cannot train the network."""
    from evosearch.data import load_data
    from evosearch.learners.catalogue import learner_names, make_learner

    is_all = list(learners) == ["all"]
    names = learner_names() if is_all else list(dict.fromkeys(learners))
    if not names:
        raise InputError("learners is empty; name at least one, such as bp.")
    made = [make_learner(name) for name in names]
    data = load_data(where.data)
    benches: list[Bench] = []
    refused: dict[str, str] = {}
    for learner in made:
        bench = Bench(where, data, learner, seed)
        try:
            bench.check()
        except InputError as error:
            if not is_all:
                raise
            refused[learner.name] = str(error)
        else:
            benches.append(bench)
    return benches, refused


class Bench:
    """One learner on one bed, with the protocol of :func:`fit`.

    Args:
        where: the bed.
        data: its data set.
        learner: of the catalogue, or one with other settings.
        seed: from which all randomness follows, at least 0.
    """

    def __init__(self, where: Bed, data: DataSet, learner: Learner, seed: int) -> None:
        self._bed, self._data, self._learner, self._seed = where, data, learner, seed
        n_inputs = data.n_inputs // where.steps
        self._sizes = (n_inputs, *where.hidden, data.n_classes)

    def check(self) -> None:
        """Raise InputError where the learner cannot train the bed's network."""
        self._learner.check(self._lesson(self._bed.grid[0], "test", self._keys(_REPORT, 1)))

    def tuned(self) -> tuple[tuple[str, float], float]:
        """Return the grid's best setting on validation data, and the accuracy there."""
        if not self._learner.has_rate:
            return _NO_RATE, self._validated(_NO_RATE)
        found = [(setting, self._validated(setting)) for setting in self._bed.grid]
        return max(found, key=lambda one: one[1])

    def fitted(self, seeds: int) -> Fitted:
        """Tune and report; the time of an update is left open."""
        start = time.perf_counter()
        setting = self.tuned()[0] if self._learner.has_rate else _NO_RATE
        lesson = self._lesson(setting, "test", self._keys(_REPORT, seeds))
        learned = self._learner.learn(replace(lesson, is_probed=True))
        return Fitted(
            learner=self._learner.name,
            normaliser=setting[0],
            rate=setting[1],
            curves=learned.curves,
            diverged_at=learned.diverged_at,
            n90=updates_to(learned.curves, _ENOUGH, lesson.check_every),
            forward_equivalents=self._learner.forward_equivalents(self._sizes, self._bed.steps),
            seconds_per_update=math.nan,
            wall_s=time.perf_counter() - start,
            cosine_to_bp=_mean_cosines(learned),
        )

    def seconds(self, updates: int) -> float:
        """Return seconds of processor time of one short life, its preparation included."""
        lesson = self._lesson(("none", _TIMED_RATE), "validation", self._keys(_TIMING, 1))
        lesson = replace(lesson, updates=updates, check_every=updates)
        start = time.thread_time()  # the call stays on this thread; others do not count
        self._learner.learn(lesson)
        return time.thread_time() - start

    def _lesson(self, setting: tuple[str, float], split: str, keys: Sequence[Key]) -> Lesson:
        where, (train, held) = self._bed, held_out(self._data, split)
        return Lesson(
            where.network, self._sizes, where.steps, train, held, where.updates, where.batch,
            where.check_every, *setting, keys,
        )  # fmt: skip

    def _keys(self, purpose: int, n: int) -> list[Key]:
        return [(self._seed, purpose, k) for k in range(n)]

    def _validated(self, setting: tuple[str, float]) -> float:
        """Return the validation accuracy at the end, where a life that diverged counts -1."""
        lesson = self._lesson(setting, "validation", self._keys(_TUNING, TUNING_DRAWS))
        learned = self._learner.learn(replace(lesson, check_every=lesson.updates))
        return float(np.nan_to_num(learned.curves[:, -1], nan=-1.0).mean())


def _seconds_per_update(benches: Sequence[Bench], check_every: int) -> list[float]:
    """Return each learner's time for an update of one network without a normaliser.

    The difference of a life of twice the length leaves preparation out; the least of a few turns
    that learners take leaves out what else the machine does.
    """
    from evosearch.bench.timing import one_blas_thread

    with one_blas_thread():
        updates = [_long_enough(bench, check_every) for bench in benches]
        best = np.full((len(benches), 2), np.inf)
        for _ in range(_TIMED_RUNS):
            for row, bench, n in zip(best, benches, updates, strict=True):
                row[:] = np.minimum(row, [bench.seconds(n), bench.seconds(2 * n)])
    return ((best[:, 1] - best[:, 0]) / updates).tolist()


def _long_enough(bench: Bench, check_every: int) -> int:
    """Return updates whose time stands out from that of preparing a life."""
    updates = _LEAST_CHECKS * check_every
    while bench.seconds(updates) < _TIMED_S and updates < _MOST_TIMED:
        updates *= 2
    return updates


def _mean_cosines(learned: Learned) -> tuple[float, ...]:
    """Return the mean over draws of each layer's cosine, NaN where a layer does not learn."""
    if learned.cosines is None:
        return ()
    found = np.ma.masked_invalid(learned.cosines).mean(axis=0)
    return tuple(np.ma.filled(found, np.nan).tolist())


def updates_to(curves: FloatArray, accuracy: float, check_every: int) -> float | None:
    """Return the median over seeds of the updates until an accuracy is reached.

    Args:
        curves: (K, checks) accuracies, one each ``check_every`` updates.
        accuracy: what is to be reached.
        check_every: updates between two checks.

    Example:
        >>> updates_to(np.array([[0.5, 0.9], [0.95, 0.8], [0.2, 0.91]]), 0.9, 11)
        22.0
    """
    is_there = curves >= accuracy
    first = np.where(is_there.any(axis=1), is_there.argmax(axis=1) + 1.0, np.inf) * check_every
    median = float(np.median(first))
    return median if math.isfinite(median) else None
