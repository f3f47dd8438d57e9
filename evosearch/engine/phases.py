"""The phase list: how the life of one network is told to every back end.

One row of ``WIDTH`` integers a phase: an operation, six operands, and a row number as an affine
function of the loop counters (a constant and one coefficient for each of four nested loops).
Buffers are named by the index of their first unit.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

OP, A, B, C, D, E, F = 0, 1, 2, 3, 4, 5, 6
ROW = 7
MAX_DEPTH = 4
WIDTH = ROW + 1 + MAX_DEPTH

REPEAT = 0  # A times
REPEAT_END = 1
LOAD = 2  # buffer A of E rows of B units from table C at row; through index D unless it is -1
MATVEC = 3  # A = matrix B times C; D rows, E columns; F examples, one after the other
MATVEC_T = 4  # A = transpose of matrix B times C; D rows, E columns; F examples
MAP = 5  # run map program A over C units
RULE = 6  # apply the candidate's rule at site A, or its mean over F > 1 examples
RANDOM = 7  # buffer A of B units; C = 1 normal, 0 uniform; stream D; step = row
ARGMAX = 8  # A = one-hot of the first maximum of B; C units
REDUCE = 9  # A = reduction D of buffer B of C units
OUTER = 10  # A = mean over F examples of (unit of B) * (unit of C), a D x E matrix
BIAS = 11  # D units of A += those of B, for each of F examples

REDUCE_SUM, REDUCE_MEAN, REDUCE_MIN, REDUCE_MAX = 0, 1, 2, 3
REDUCTIONS = {"sum": REDUCE_SUM, "mean": REDUCE_MEAN, "min": REDUCE_MIN, "max": REDUCE_MAX}


def repeated(phases: NDArray[np.int64]) -> Iterator[tuple[list[int], int]]:
    """Yield each phase that is no loop's begin or end, with how often it runs."""
    loops = [1]
    for row in phases.tolist():
        if row[OP] == REPEAT:
            loops.append(loops[-1] * row[A])
        elif row[OP] == REPEAT_END:
            loops.pop()
        else:
            yield row, loops[-1]


def applications(phases: NDArray[np.int64]) -> int:
    """Count applications of the rule at any site, loops multiplied out."""
    return sum(times for row, times in repeated(phases) if row[OP] == RULE)
