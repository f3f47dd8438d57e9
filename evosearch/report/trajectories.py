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


def first_applications(phases: NDArray[np.int64], n: int) -> NDArray[np.int64]:
    """Return the phases of a life that ends after ``n`` applications of the rule.

    A loop that is left in its middle becomes a shorter loop and one open iteration, in which the
    counter is a constant; loops inside it then stand one level higher.

    Args:
        phases: (rows, WIDTH), as a lifetime holds them.
        n: at least 1 and at most what the phases do.
    """
    emitted: list[NDArray[np.int64]] = []
    fixed: list[int] = []
    position, left = 0, n
    while position < len(phases) and left > 0:
        row = phases[position]
        if row[ph.OP] == ph.REPEAT:
            end = loop_end(phases, position)
            each, times = applications(phases[position + 1 : end]), int(row[ph.A])
            whole = times if each == 0 else min(times, left // each)
            emitted += run_again(phases[position : end + 1], whole, fixed)
            left -= whole * each
            if left > 0 and whole < times:
                fixed.append(whole)
                position += 1
            else:
                position = end + 1
            continue
        if row[ph.OP] == ph.RULE:
            left -= 1
        emitted.append(shifted(row, fixed))
        position += 1
    return np.stack(emitted)


def run_again(rows: NDArray[np.int64], times: int, fixed: Sequence[int]) -> list[NDArray[np.int64]]:
    """Return a whole loop run ``times`` times inside iterations whose counters are fixed."""
    if times == 0:
        return []
    moved = [shifted(row, fixed) for row in rows]
    moved[0][ph.A] = times
    return moved


def shifted(row: NDArray[np.int64], fixed: Sequence[int]) -> NDArray[np.int64]:
    """Fold the counters of open iterations into the constant; inner ones move up."""
    result = row.copy()
    coefficients = row[ph.ROW + 1 :]
    n_fixed = len(fixed)
    result[ph.ROW] += sum(int(coefficients[k]) * value for k, value in enumerate(fixed))
    result[ph.ROW + 1 :] = 0
    result[ph.ROW + 1 : ph.ROW + 1 + ph.MAX_DEPTH - n_fixed] = coefficients[n_fixed:]
    return result


def loop_end(phases: NDArray[np.int64], start: int) -> int:
    """Return where the loop ends that begins at ``start``."""
    depth = 0
    for position in range(start, len(phases)):
        depth += int(phases[position, ph.OP] == ph.REPEAT)
        depth -= int(phases[position, ph.OP] == ph.REPEAT_END)
        if depth == 0:
            return position
    raise AssertionError("a loop has no end")


def applications(phases: NDArray[np.int64]) -> int:
    """Count applications of the rule at any site, loops multiplied out."""
    total, factors = 0, [1]
    for row in phases:
        if row[ph.OP] == ph.REPEAT:
            factors.append(factors[-1] * int(row[ph.A]))
        elif row[ph.OP] == ph.REPEAT_END:
            factors.pop()
        elif row[ph.OP] == ph.RULE:
            total += factors[-1]
    return total
