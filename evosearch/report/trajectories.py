"""Weights on their way through one lifetime, from the engine itself.

The engine reports the end of a life only. A life cut after n applications of the rule ends with
the weights of that moment, so a few dozen lives, each longer than the one before, draw the path.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from evosearch.engine import phases as ph

if TYPE_CHECKING:
    from evosearch.engine.lifetime import Buffer, Lifetime
    from evosearch.engine.program import Program

FloatArray = NDArray[np.float64]
N_POINTS = 48


def trace_weights(
    life: Lifetime, program: Program, eta: float, *, n_points: int = N_POINTS
) -> tuple[FloatArray, FloatArray]:
    """Live one life again and again, each time a little longer, and collect the weights.

    Args:
        life: a built life; only its first draw is shown.
        program: the rule that governs the life.
        eta: step size.
        n_points: moments to show, birth and end included.

    Returns:
        Applications of the rule (T,), and the first site's weights (T, synapses); the path ends
        where a weight ceases to be finite.
    """
    from evosearch.engine.run import run_lifetimes

    total = life.n_rule_applications
    steps = np.unique(np.linspace(1, total, max(2, n_points - 1)).round().astype(np.int64))
    rows = [_birth(life, program)]
    for n in steps:
        cut = replace(life, phases=first_applications(life.phases, int(n)), outputs=_weights(life))
        result = run_lifetimes(cut, [program], eta)
        if result.exploded_at[0, 0] >= 0:
            break
        rows.append(result.outputs[0, 0])
    return np.concatenate([[0], steps])[: len(rows)].astype(np.float64), np.stack(rows)


def _weights(life: Lifetime) -> tuple[Buffer, ...]:
    return (life.sites[0].matrix,)


def _birth(life: Lifetime, program: Program) -> FloatArray:
    """Return the initial weights of the first draw, zero where the life gives none."""
    matrix = life.sites[0].matrix
    for each in life.inherited:
        if each.buffer == matrix:
            return program.genes[each.genes]
    for row in life.births:
        if row[ph.A] == matrix.start:
            number = int(row[ph.C])
            table = life.tables[number]
            values = table[0] if life.is_shared_table[number] else table[0, 0]
            return np.asarray(values, dtype=np.float64)
    return np.zeros(matrix.size)


def first_applications(
    phases: NDArray[np.int64], n: int, *, goes_on: bool = False
) -> NDArray[np.int64]:
    """Return the phases of a life in which the rule is applied ``n`` times.

    A loop in whose middle that ends becomes a shorter loop and one open iteration, in which the
    counter is a constant, and loops inside it then stand one level higher; where life goes on, what
    is left of the loop follows.

    Args:
        phases: (rows, WIDTH), as a lifetime holds them.
        n: at most what the phases do; at least 1 where the life does not go on.
        goes_on: whether all other phases run to the end, or the life ends with the rule.
    """
    emitted, _ = _cut(phases, n, [], goes_on=goes_on)
    return np.stack(emitted)


def _cut(
    phases: NDArray[np.int64], left: int, fixed: list[int], *, goes_on: bool
) -> tuple[list[NDArray[np.int64]], int]:
    """Return phases inside iterations whose counters are fixed, and applications still left."""
    emitted: list[NDArray[np.int64]] = []
    position = 0
    while position < len(phases) and (goes_on or left > 0):
        row = phases[position]
        if row[ph.OP] != ph.REPEAT:
            is_rule = bool(row[ph.OP] == ph.RULE)
            if left > 0 or not is_rule:
                emitted.append(_shifted(row, fixed))
                left -= is_rule
            position += 1
            continue
        end = _loop_end(phases, position)
        loop, body, times = phases[position : end + 1], phases[position + 1 : end], int(row[ph.A])
        each = ph.applications(body)
        done = times if each == 0 else min(times, left // each)
        emitted += _loop(loop, done, fixed)
        left -= done * each
        if left > 0 and done < times:
            inner, left = _cut(body, left, [*fixed, done], goes_on=goes_on)
            emitted += inner
            done += 1
        if goes_on:
            emitted += _loop(_later(loop, done, len(fixed)), times - done, fixed)
        position = end + 1
    return emitted, left


def _later(loop: NDArray[np.int64], first: int, depth: int) -> NDArray[np.int64]:
    """Return a loop without the rule, whose counter, at ``depth``, begins at ``first``."""
    later = loop[loop[:, ph.OP] != ph.RULE]
    later[:, ph.ROW] += first * later[:, ph.ROW + 1 + depth]
    return later


def _loop(rows: NDArray[np.int64], times: int, fixed: Sequence[int]) -> list[NDArray[np.int64]]:
    """Return a whole loop run ``times`` times inside iterations whose counters are fixed."""
    if times == 0:
        return []
    moved = [_shifted(row, fixed) for row in rows]
    moved[0][ph.A] = times
    return moved


def _shifted(row: NDArray[np.int64], fixed: Sequence[int]) -> NDArray[np.int64]:
    """Fold the counters of open iterations into the constant; inner ones move up."""
    result = row.copy()
    coefficients = row[ph.ROW + 1 :]
    n_fixed = len(fixed)
    result[ph.ROW] += sum(int(coefficients[k]) * value for k, value in enumerate(fixed))
    result[ph.ROW + 1 :] = 0
    result[ph.ROW + 1 : ph.ROW + 1 + ph.MAX_DEPTH - n_fixed] = coefficients[n_fixed:]
    return result


def _loop_end(phases: NDArray[np.int64], start: int) -> int:
    depth = 0
    for position in range(start, len(phases)):
        depth += int(phases[position, ph.OP] == ph.REPEAT)
        depth -= int(phases[position, ph.OP] == ph.REPEAT_END)
        if depth == 0:
            return position
    raise AssertionError("a loop has no end")
