"""Rules as rows of arrays, and constants folded in them, compiled.

Rows are those of :mod:`evosearch.search.formula_tree_kernels`: nodes in prefix order with the
engine's operation codes, ``CONST``, and ``VAR`` plus the number of a terminal. Folding is that of
:mod:`evosearch.search.gp_folding`.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from evosearch.engine import elementary as el
from evosearch.engine.cache import compiled
from evosearch.engine.program import Op
from evosearch.search.formula_tree_kernels import CONST

_ADD, _SUB, _MUL, _DIV = int(Op.ADD), int(Op.SUB), int(Op.MUL), int(Op.DIV)
_MAX, _MIN, _POW, _NEG = int(Op.MAX), int(Op.MIN), int(Op.POW), int(Op.NEG)
_SQUARE, _ABS, _SIGN, _SQRT = int(Op.SQUARE), int(Op.ABS), int(Op.SIGN), int(Op.SQRT)
_EXP, _LOG, _TANH, _SIGMOID, _SIN = (
    int(Op.EXP), int(Op.LOG), int(Op.TANH), int(Op.SIGMOID), int(Op.SIN),
)  # fmt: skip


class Rows(NamedTuple):
    """Rules, one a row.

    Attributes:
        ops: (n, L) int16 nodes in prefix order.
        vals: (n, L) constants.
        length: (n,) nodes of each.
    """

    ops: NDArray[np.int16]
    vals: NDArray[np.float64]
    length: NDArray[np.int64]


class Grammar(NamedTuple):
    """What rules are made of.

    Attributes:
        arity: (VAR + k,) operands of each code.
        unary: codes of functions of one operand.
        binary: codes of functions of two operands.
        leaves: (m,) codes of terminals and fixed constants.
        values: (m,) the values of those constants.
        fixed: (c,) fixed constants.
        range: least and greatest constant of a range; empty where there is none.
        cumulative: (S, S) row n: cumulated chances that the root of a random tree of n nodes has
            a left operand of 0 (a unary root), 1, 2, ... nodes.
        grown: sizes that a new subtree may have.
        cuts: (5,) cumulated chances of the operators.
        ends: (L + 1,) scratch.
        codes: (L + 1,) scratch.
        numbers: (L + 1,) scratch.
    """

    arity: NDArray[np.int64]
    unary: NDArray[np.int64]
    binary: NDArray[np.int64]
    leaves: NDArray[np.int64]
    values: NDArray[np.float64]
    fixed: NDArray[np.float64]
    range: NDArray[np.float64]
    cumulative: NDArray[np.float64]
    grown: NDArray[np.int64]
    cuts: NDArray[np.float64]
    ends: NDArray[np.int64]
    codes: NDArray[np.int16]
    numbers: NDArray[np.float64]


@compiled
def applied(op: Any, a: Any, b: Any) -> Any:
    """Return the value of a function of numbers; every function is total."""
    if op == _ADD:
        return a + b
    if op == _SUB:
        return a - b
    if op == _MUL:
        return a * b
    if op == _DIV:
        return el.divide(a, b)
    if op == _MAX:
        return max(b, a)
    if op == _MIN:
        return min(b, a)
    if op == _POW:
        return el.power(a, b)
    return applied_alone(op, a)


@compiled
def applied_alone(op: Any, a: Any) -> Any:
    """Return the value of a function of one number."""
    if op == _NEG:
        return -a
    if op == _SQUARE:
        return a * a
    if op == _ABS:
        return abs(a)
    if op == _SIGN:
        return el.sign(a)
    if op == _SQRT:
        return np.sqrt(abs(a))
    if op == _EXP:
        return el.exp(a)
    if op == _LOG:
        return el.log(a)
    if op == _TANH:
        return el.tanh(a)
    if op == _SIGMOID:
        return el.sigmoid(a)
    if op == _SIN:
        return el.sin(a)
    return el.softplus(a)


@compiled
def tidy(r: Any, row: Any, g: Any) -> None:
    """Fold constants where they have a range; see :func:`~evosearch.search.gp_folding.folded`."""
    if g.range.size == 0:
        return
    has_constants = False
    for k in range(r.length[row]):
        has_constants |= r.ops[row, k] == CONST
    if not has_constants:
        return
    # From the right: operands wait at the front of the scratch, the first one foremost.
    front, top = g.codes.size, 0
    for k in range(r.length[row] - 1, -1, -1):
        op = r.ops[row, k]
        arity = g.arity[op]
        if arity == 0:
            front -= 1
            g.codes[front], g.numbers[front] = op, r.vals[row, k]
            g.ends[top] = front + 1
            top += 1
        elif arity == 1:
            front = fold_unary(op, front, g)
        else:
            front = fold_binary(op, front, g.ends[top - 1], g.ends[top - 2], g)
            top -= 1
    n = g.codes.size - front
    for k in range(n):
        r.ops[row, k], r.vals[row, k] = g.codes[front + k], g.numbers[front + k]
    r.length[row] = n


@compiled
def put_before(op: Any, front: Any, g: Any) -> Any:
    """Write a function before its operands; return the new front."""
    g.codes[front - 1], g.numbers[front - 1] = op, 0.0
    return front - 1


@compiled
def fold_unary(op: Any, front: Any, g: Any) -> Any:
    """Apply a function to the foremost operand; return the new front."""
    if g.codes[front] == CONST:
        value = applied_alone(op, g.numbers[front])
        if np.isfinite(value):
            g.numbers[front] = value
            return front
    return put_before(op, front, g)


@compiled
def fold_binary(op: Any, front: Any, middle: Any, end: Any, g: Any) -> Any:
    """Apply a function to the operands up to ``middle`` and up to ``end``."""
    codes, numbers = g.codes, g.numbers
    is_first, is_second = codes[front] == CONST, codes[middle] == CONST
    if is_first and is_second:
        value = applied(op, numbers[front], numbers[middle])
        if np.isfinite(value):
            codes[end - 1], numbers[end - 1] = CONST, value
            return end - 1
    if op == _MUL and is_second:
        # The constant goes in front.
        value = numbers[middle]
        for k in range(middle, front, -1):
            codes[k], numbers[k] = codes[k - 1], numbers[k - 1]
        codes[front], numbers[front] = CONST, value
        return fold_product(front, end, g)
    if op == _MUL and is_first:
        return fold_product(front, end, g)
    if op in (_ADD, _SUB) and is_second and numbers[middle] == 0.0:
        for k in range(middle, front, -1):
            codes[k], numbers[k] = codes[k - 1], numbers[k - 1]
        return front + 1
    if op == _ADD and is_first and numbers[front] == 0.0:
        return middle
    return put_before(op, front, g)


@compiled
def fold_product(front: Any, end: Any, g: Any) -> Any:
    """Multiply what follows a constant at the front by it."""
    codes, numbers = g.codes, g.numbers
    factor = numbers[front]
    if factor == 0.0:
        codes[end - 1], numbers[end - 1] = CONST, 0.0
        return end - 1
    if factor == 1.0:
        return front + 1
    if codes[front + 1] == _MUL and codes[front + 2] == CONST:
        merged = factor * numbers[front + 2]
        if merged == 1.0:
            return front + 3
        if np.isfinite(merged):
            numbers[front + 2] = merged
            return front + 1
    return put_before(_MUL, front, g)
