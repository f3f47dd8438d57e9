"""Learners side by side on one task: tuned alike on validation data, reported on test data."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from evosearch.beds import Bed, bed
from evosearch.circuits.base import (
    CIRCUITS,
    DEFAULT_RULE,
    TERMINALS,
    Circuit,
    forward_equivalents,
)
from evosearch.circuits.life import Probe, accuracies, build_life, held_out, probe
from evosearch.circuits.normalisers import normaliser
from evosearch.circuits.teaching import Plan
from evosearch.errors import InputError
from evosearch.fitted import Fit, Fitted
from evosearch.outcome import FloatArray

if TYPE_CHECKING:
    from evosearch.data import DataSet
    from evosearch.engine.program import Program
    from evosearch.tasks.base import Key

TUNING_DRAWS = 2
_TUNING, _REPORT, _TIMING = 0, 1, 2  # what keys are for
_ENOUGH = 0.9
_TIMED_UPDATES, _TIMED_RUNS, _TIMED_RATE = 110, 8, 0.01


def fit(
    task: str,
    *,
    learners: Sequence[str],
    seeds: int = 5,
    seed: int = 0,
    on_row: Callable[[Fitted], None] | None = None,
) -> Fit:
    """Let learners live side by side on one task.

    Each learner's normaliser and learning rate are chosen from the task's grid by the accuracy of
    two lifetimes on validation data. With these it learns ``seeds`` times from the training and
    validation parts together, and the test part judges. The same seed gives all learners the same
    initial weights and order of examples; no two purposes share a seed.

    Args:
        task: name of a bed, such as ``digits6``.
        learners: their names; the word ``all`` alone stands for all of them.
        seeds: lifetimes that are reported, at least 1.
        seed: from which all randomness follows, at least 0.
        on_row: called with each learner's result when it is there.

    Raises:
        InputError: a name is unknown, or a number out of range.
    """
    from evosearch.data import load_data

    where = bed(task)
    if seeds < 1 or seed < 0:
        raise InputError(f"seeds is {seeds} and seed {seed}; they must be at least 1 and 0.")
    names = CIRCUITS.names() if list(learners) == ["all"] else list(dict.fromkeys(learners))
    if not names:
        raise InputError("learners is empty; name at least one, such as bp.")
    circuits = [CIRCUITS.get(name)() for name in names]
    data = load_data(where.data)
    rows: list[Fitted] = []
    for name, circuit in zip(names, circuits, strict=True):
        rows.append(_Bench(where, data, circuit, seed).fitted(name, seeds))
        if on_row is not None:
            on_row(rows[-1])
    return Fit(task, seeds, tuple(rows))


class _Bench:
    """One circuit on one bed."""

    def __init__(self, where: Bed, data: DataSet, circuit: Circuit, seed: int) -> None:
        from evosearch.rules.lower import lower
        from evosearch.rules.rule import Rule

        self._bed, self._data, self._circuit, self._seed = where, data, circuit, seed
        self._sizes = (data.n_inputs, *where.hidden, data.n_classes)
        self._program: Program = lower(Rule(DEFAULT_RULE), TERMINALS)

    def fitted(self, name: str, seeds: int) -> Fitted:
        """Tune, report and time."""
        start = time.perf_counter()
        setting = max(self._bed.grid, key=self._validated)
        plan = self._plan(self._bed.updates, self._bed.check_every, is_probed=True)
        curves, exploded, middle = self._live(setting, plan, "test", self._keys(_REPORT, seeds))
        applications = 2 * len(self._circuit.trained(len(self._sizes) - 1))
        return Fitted(
            learner=name,
            normaliser=setting[0],
            rate=setting[1],
            curves=curves,
            diverged_at=tuple(
                -(-int(step) // applications) if step >= 0 else None for step in exploded
            ),
            n90=updates_to(curves, _ENOUGH, plan.check_every),
            forward_equivalents=forward_equivalents(self._circuit, self._sizes),
            seconds_per_update=self._seconds_per_update(),
            wall_s=time.perf_counter() - start,
            cosine_to_bp=self._cosines(middle, exploded < 0),
        )

    def _plan(self, updates: int, check_every: int, *, is_probed: bool = False) -> Plan:
        return Plan(self._sizes, updates, self._bed.batch, check_every, is_probed)

    def _keys(self, purpose: int, n: int) -> list[Key]:
        return [(self._seed, purpose, k) for k in range(n)]

    def _validated(self, setting: tuple[str, float]) -> float:
        """Return the validation accuracy at the end; -1 where a lifetime diverged."""
        plan = self._plan(self._bed.updates, self._bed.updates)
        curves, _, _ = self._live(setting, plan, "validation", self._keys(_TUNING, TUNING_DRAWS))
        return float(np.nan_to_num(curves[:, -1], nan=-1.0).mean())

    def _live(
        self, setting: tuple[str, float], plan: Plan, split: str, keys: Sequence[Key]
    ) -> tuple[FloatArray, NDArray[np.int64], Probe | None]:
        """Return accuracies (D, checks), when draws ceased to be finite (D,), and the probe."""
        from evosearch.engine.run import run_lifetimes

        steps = normaliser(*setting)
        life = build_life(self._circuit, steps, plan, held_out(self._data, split), keys)
        result = run_lifetimes(life, [self._program], steps.eta)
        exploded = result.exploded_at[0]
        curves = np.where(exploded[:, None] >= 0, np.nan, accuracies(life, result)[0])
        return curves, exploded, probe(life, result, plan) if plan.is_probed else None

    def _seconds_per_update(self) -> float:
        """Return the least of a few measurements of plain increments on one network."""
        from evosearch.engine.run import run_lifetimes

        plan = self._plan(_TIMED_UPDATES, _TIMED_UPDATES)
        parts = held_out(self._data, "validation")
        life = build_life(
            self._circuit, normaliser("none", _TIMED_RATE), plan, parts, self._keys(_TIMING, 1)
        )
        times: list[float] = []
        for _ in range(_TIMED_RUNS):
            start = time.thread_time()  # the call stays on this thread; others do not count
            run_lifetimes(life, [self._program], _TIMED_RATE)
            times.append(time.thread_time() - start)
        return min(times) / _TIMED_UPDATES

    def _cosines(self, middle: Probe | None, is_finite: NDArray[np.bool_]) -> tuple[float, ...]:
        assert middle is not None
        trained = self._circuit.trained(len(self._sizes) - 1)
        cosines = cosines_to_gradient(middle)[is_finite]
        return tuple(
            float(cosines[:, k].mean()) if k in trained and len(cosines) else math.nan
            for k in range(len(self._sizes) - 1)
        )


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


def cosines_to_gradient(middle: Probe) -> FloatArray:
    """Return (D, layers): cosine of ``error*pre`` with the negative gradient, over a minibatch."""
    n_layers = len(middle.weights)
    true = middle.target - middle.posts[-1]
    columns: list[FloatArray] = []
    for k in reversed(range(n_layers)):
        pre = middle.posts[k]
        ours = np.einsum("dbo,dbi->doi", middle.errors[k], middle.pres[k])
        wanted = np.einsum("dbo,dbi->doi", true, pre)
        norms = np.linalg.norm(ours, axis=(1, 2)) * np.linalg.norm(wanted, axis=(1, 2))
        dots = (ours * wanted).sum(axis=(1, 2))
        columns.append(np.divide(dots, norms, out=np.full_like(dots, np.nan), where=norms > 0))
        true = np.einsum("dbo,doi->dbi", true, middle.weights[k]) * (1.0 - pre**2)
    return np.stack(columns[::-1], axis=1)
