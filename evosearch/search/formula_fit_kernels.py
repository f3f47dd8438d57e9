"""Fit formulas to a table, compiled: weights of terms by least squares, constants by steps.

A formula is a sum of terms; its intercept and the weights of its terms are what least squares say,
so that a search need only find the terms. Constants inside the terms are fitted by the method of
Levenberg and Marquardt on what is left once the weights are eliminated, with derivatives by one
sweep back through the tree for all constants.

Sources: M. Keijzer, "Scaled symbolic regression", GPEM 5, 2004; G. Golub, V. Pereyra, "The
differentiation of pseudo-inverses and nonlinear least squares problems whose variables separate",
SIAM J. Numerical Analysis 10, 1973, with L. Kaufman's simplification, BIT 15, 1975; D. Marquardt,
J. SIAM 11, 1963.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from evosearch.engine import elementary as el
from evosearch.engine import kernels
from evosearch.engine.cache import compiled
from evosearch.engine.program import Op
from evosearch.search.formula_tree_kernels import CONST, COS, VAR, find_terms

_ADD, _SUB, _MUL, _DIV = int(Op.ADD), int(Op.SUB), int(Op.MUL), int(Op.DIV)
_MAX, _MIN, _POW = int(Op.MAX), int(Op.MIN), int(Op.POW)
_NEG, _SQUARE, _ABS, _SIGN, _SQRT = (
    int(Op.NEG), int(Op.SQUARE), int(Op.ABS), int(Op.SIGN), int(Op.SQRT),
)  # fmt: skip
_EXP, _LOG, _TANH, _SIGMOID = int(Op.EXP), int(Op.LOG), int(Op.TANH), int(Op.SIGMOID)
_SIN, _SOFTPLUS = int(Op.SIN), int(Op.SOFTPLUS)
_QUARTER = math.pi / 2
# Below this share of its own size what is left of a column is roundoff.
_DEPENDENT = 1e-9
_CONSTANT = 1e-10
# Below this error the sums of products say too little; residuals are added up themselves.
_CLOSE = 1e-5
# Above this error they say enough.
_SURE = 1e-4
MAX_TUNED = 10

u8 = np.uint64


class Bench(NamedTuple):
    """A table laid out for formulas of at most L nodes and M terms, and room to fit them.

    Attributes:
        ws: flat memory of all registers.
        off: (blocks, registers) where each begins: k columns, the target, ones, the quarter turn,
            the residual, then values, values beside and derivatives of each node.
        counts: (blocks,) rows of each block.
        code: (2 L, 4) instructions.
        register: (L,) of each node.
        ends: (L,) of each subtree.
        needs: (L,) whether a tuned constant lies in the subtree.
        terms: (M,) their roots.
        tuned: (MAX_TUNED,) nodes of tuned constants.
        stack: scratch.
        beta: (M + 1,) the intercept and weights.
        sums: (M,) of the terms.
        products: (M, M) of the centred terms; below the diagonal and on it, their Cholesky factor
            where it is taken.
        pivots: (M,) the diagonal of the factor, 0 for a term that depends on those before.
        right: (M,) right side of the normal equations.
        jj: (MAX_TUNED, MAX_TUNED) products of derivatives.
        jt: (MAX_TUNED, M) products of derivatives and terms.
        jr: (MAX_TUNED,) products of derivatives and residual.
        js: (MAX_TUNED,) sums of derivatives.
        damped: (MAX_TUNED, MAX_TUNED) normal equations of a step.
        step_pivots: (MAX_TUNED,) of their factor.
        step: (MAX_TUNED,) of the constants.
        kept: (MAX_TUNED,) constants before a step.
        spent: (1,) evaluations made.
    """

    ws: NDArray[np.float64]
    off: NDArray[np.uint64]
    counts: NDArray[np.int64]
    code: NDArray[np.int32]
    register: NDArray[np.int64]
    ends: NDArray[np.int64]
    needs: NDArray[np.bool_]
    terms: NDArray[np.int64]
    tuned: NDArray[np.int64]
    stack: NDArray[np.int64]
    beta: NDArray[np.float64]
    sums: NDArray[np.float64]
    products: NDArray[np.float64]
    pivots: NDArray[np.float64]
    right: NDArray[np.float64]
    jj: NDArray[np.float64]
    jt: NDArray[np.float64]
    jr: NDArray[np.float64]
    js: NDArray[np.float64]
    damped: NDArray[np.float64]
    step_pivots: NDArray[np.float64]
    step: NDArray[np.float64]
    kept: NDArray[np.float64]
    spent: NDArray[np.int64]


@compiled
def lower_tree(ops: Any, row: Any, n: Any, k: Any, arity: Any, b: Any) -> Any:
    """Write the instructions of a tree over k columns; return how many."""
    n_code, base = 0, k + 4
    size = b.register.size
    for i in range(n - 1, -1, -1):
        op = ops[row, i]
        b.needs[i] = op == CONST
        if op >= VAR:
            b.register[i] = op - VAR
            b.ends[i] = i + 1
            continue
        b.register[i] = base + i
        if op == CONST:
            b.ends[i] = i + 1
            continue
        left = i + 1
        right = left if arity[op] == 1 else b.ends[left]
        b.ends[i] = b.ends[right]
        b.needs[i] = b.needs[left] or b.needs[right]
        first, second = b.register[left], b.register[right]
        if op == COS:
            # cos(a) = sin(a + pi/2), which is how the formula is written down.
            beside = base + size + i
            b.code[n_code, 0], b.code[n_code, 1] = _ADD, beside
            b.code[n_code, 2], b.code[n_code, 3] = first, k + 2
            n_code += 1
            op, first, second = _SIN, beside, beside
        b.code[n_code, 0], b.code[n_code, 1] = op, base + i
        b.code[n_code, 2], b.code[n_code, 3] = first, second
        n_code += 1
    return n_code


@compiled
def fill_constants(ops: Any, vals: Any, row: Any, n: Any, b: Any) -> None:
    """Write the constants of a tree into their registers."""
    most = u8(b.counts[0])
    for i in range(n):
        if ops[row, i] == CONST:
            start, value = b.off[0, b.register[i]], vals[row, i]
            for t in range(most):
                b.ws[start + t] = value


@compiled
def dot(b: Any, block: Any, first: Any, second: Any) -> Any:
    """Sum the products of two registers over the rows of a block."""
    start, other = b.off[block, first], b.off[block, second]
    # the type context, which numba passes itself, is the first parameter
    return kernels.dot16(b.ws, start, other, u8(b.counts[block]))  # pyright: ignore[reportCallIssue]


@compiled
def run_block(b: Any, block: Any, n_code: Any) -> None:
    """Compute all nodes of the lowered tree on a block of rows."""
    kernels.execute(b.ws, b.code, u8(0), u8(n_code), b.off, u8(block), u8(b.counts[block]),
                    u8(1), u8(1), u8(0))  # fmt: skip


@compiled
def factor(matrix: Any, n: Any, pivots: Any) -> None:
    """Write the Cholesky factor below the diagonal; a dependent column gets the pivot 0."""
    for j in range(n):
        whole = matrix[j, j]
        left = whole
        for k in range(j):
            left -= matrix[j, k] * matrix[j, k]
        pivots[j] = np.sqrt(left) if left > _DEPENDENT * whole and left > 0.0 else 0.0
        for i in range(j + 1, n):
            value = matrix[j, i]
            for k in range(j):
                value -= matrix[i, k] * matrix[j, k]
            matrix[i, j] = value / pivots[j] if pivots[j] > 0.0 else 0.0


@compiled
def solve(matrix: Any, n: Any, pivots: Any, x: Any) -> None:
    """Solve by the factor in place; variables of dependent columns become 0."""
    for i in range(n):
        for k in range(i):
            x[i] -= matrix[i, k] * x[k]
        x[i] = x[i] / pivots[i] if pivots[i] > 0.0 else 0.0
    for i in range(n - 1, -1, -1):
        for k in range(i + 1, n):
            x[i] -= matrix[k, i] * x[k]
        x[i] = x[i] / pivots[i] if pivots[i] > 0.0 else 0.0


@compiled
def add_products(b: Any, m: Any, k: Any, n_code: Any) -> None:
    """Add up products of the terms with one another, with the target and with ones."""
    for i in range(m):
        b.sums[i] = 0.0
        b.right[i] = 0.0
        for j in range(i, m):
            b.products[i, j] = 0.0
    for block in range(b.counts.size):
        run_block(b, block, n_code)
        for i in range(m):
            term = b.register[b.terms[i]]
            b.sums[i] += dot(b, block, term, k + 1)
            b.right[i] += dot(b, block, term, k)
            for j in range(i, m):
                b.products[i, j] += dot(b, block, term, b.register[b.terms[j]])


@compiled
def write_residual(b: Any, block: Any, m: Any, k: Any) -> None:
    """Write target - intercept - weighted terms of a block whose nodes are computed."""
    count, ws = u8(b.counts[block]), b.ws
    start, target = b.off[block, k + 3], b.off[block, k]
    for t in range(count):
        ws[start + t] = ws[target + t] - b.beta[0]
    for i in range(m):
        term, weight = b.off[block, b.register[b.terms[i]]], b.beta[1 + i]
        if weight != 0.0:
            for t in range(count):
                ws[start + t] -= weight * ws[term + t]


@compiled
def add_residual(b: Any, m: Any, k: Any, n_code: Any) -> Any:
    """Return the sum of squared residuals and that of residuals; add up theirs with the terms."""
    error, rest = 0.0, 0.0
    for i in range(m):
        b.right[i] = 0.0
    for block in range(b.counts.size):
        if b.counts.size > 1:
            run_block(b, block, n_code)
        write_residual(b, block, m, k)
        error += dot(b, block, k + 3, k + 3)
        rest += dot(b, block, k + 3, k + 1)
        for i in range(m):
            b.right[i] += dot(b, block, k + 3, b.register[b.terms[i]])
    return error, rest


@compiled
def true_error(b: Any, m: Any, k: Any, n_code: Any, n_rows: Any) -> Any:
    """Return the mean squared residual; where it is small, correct the weights by what it leaves.

    The sums of products alone would lose it to roundoff.
    """
    error, rest = add_residual(b, m, k, n_code)
    if error / n_rows < _CLOSE:
        # what is left once each term is centred
        for i in range(m):
            b.right[i] -= rest * b.sums[i] / n_rows
        solve(b.products, m, b.pivots, b.right)
        b.beta[0] += rest / n_rows
        for i in range(m):
            b.beta[1 + i] += b.right[i]
            b.beta[0] -= b.right[i] * b.sums[i] / n_rows
        error, rest = add_residual(b, m, k, n_code)
    return error / n_rows


@compiled
def score_tree(ops: Any, vals: Any, length: Any, row: Any, g: Any, b: Any) -> Any:
    """Fit the weights of a tree's terms; return its error, inf where a value is not finite."""
    k, n = g.arity.size - VAR, length[row]
    n_code = lower_tree(ops, row, n, k, g.arity, b)
    fill_constants(ops, vals, row, n, b)
    m = find_terms(ops, row, g.arity, g.limits[1], b.terms, b.stack)
    b.spent[0] += 1
    b.beta[0] = 0.0
    if m == 0:
        return 1.0
    add_products(b, m, k, n_code)
    n_rows = 0.0
    for block in range(b.counts.size):
        n_rows += b.counts[block]
    for i in range(m):
        if not np.isfinite(b.products[i, i]) or not np.isfinite(b.right[i]):
            return np.inf
        whole = b.products[i, i]
        for j in range(i, m):
            b.products[i, j] -= b.sums[i] * b.sums[j] / n_rows
        if b.products[i, i] < _CONSTANT * whole:
            b.products[i, i] = 0.0
    factor(b.products, m, b.pivots)
    for i in range(m):
        b.beta[1 + i] = b.right[i]
    solve(b.products, m, b.pivots, b.right)
    # The target has the mean 0 and the variance 1, so that products tell the error, to roundoff.
    error = 1.0
    for i in range(m):
        error -= b.beta[1 + i] * b.right[i] / n_rows
        b.beta[1 + i] = b.right[i]
        b.beta[0] -= b.right[i] * b.sums[i] / n_rows
    if not error > _SURE:
        error = true_error(b, m, k, n_code, n_rows)
    return error if np.isfinite(error) else np.inf


@compiled
def pull_unary(ws: Any, op: Any, g: Any, a: Any, v: Any, to: Any, n: Any) -> None:
    """Write the derivative of an operand from that of the value of a function of one operand."""
    if op == _NEG:
        for t in range(n):
            ws[to + t] = -ws[g + t]
    elif op == _SQUARE:
        for t in range(n):
            ws[to + t] = 2.0 * ws[a + t] * ws[g + t]
    elif op == _ABS:
        for t in range(n):
            ws[to + t] = ws[g + t] * el.sign(ws[a + t])
    elif op == _SIGN:
        for t in range(n):
            ws[to + t] = 0.0
    elif op == _SQRT:
        for t in range(n):
            ws[to + t] = ws[g + t] * el.sign(ws[a + t]) * 0.5 / ws[v + t]
    elif op == _EXP:
        for t in range(n):
            ws[to + t] = ws[g + t] * ws[v + t]
    elif op == _LOG:
        for t in range(n):
            ws[to + t] = ws[g + t] / ws[a + t]
    elif op == _TANH:
        for t in range(n):
            ws[to + t] = ws[g + t] * (1.0 - ws[v + t] * ws[v + t])
    elif op == _SIGMOID:
        for t in range(n):
            ws[to + t] = ws[g + t] * ws[v + t] * (1.0 - ws[v + t])
    elif op == _SIN:
        for t in range(n):
            ws[to + t] = ws[g + t] * el.sin(ws[a + t] + _QUARTER)
    elif op == COS:
        for t in range(n):
            ws[to + t] = -ws[g + t] * el.sin(ws[a + t])
    else:
        for t in range(n):
            ws[to + t] = ws[g + t] * el.sigmoid(ws[a + t])


@compiled
def pull_binary(
    ws: Any, op: Any, g: Any, a: Any, b: Any, v: Any, to: Any, n: Any, is_left: Any
) -> None:
    """Write the derivative of one operand of a function of two."""
    if op == _ADD or (op == _SUB and is_left):
        for t in range(n):
            ws[to + t] = ws[g + t]
    elif op == _SUB:
        for t in range(n):
            ws[to + t] = -ws[g + t]
    elif op == _MUL:
        other = b if is_left else a
        for t in range(n):
            ws[to + t] = ws[g + t] * ws[other + t]
    elif op == _DIV and is_left:
        for t in range(n):
            ws[to + t] = ws[g + t] / ws[b + t]
    elif op == _DIV:
        for t in range(n):
            ws[to + t] = -ws[g + t] * ws[v + t] / ws[b + t]
    elif op == _POW and is_left:
        for t in range(n):
            ws[to + t] = ws[g + t] * ws[v + t] * ws[b + t] / ws[a + t]
    elif op == _POW:
        for t in range(n):
            ws[to + t] = ws[g + t] * ws[v + t] * el.log(abs(ws[a + t]))
    else:
        for t in range(n):
            is_first = ws[a + t] > ws[b + t] if op == _MAX else ws[a + t] < ws[b + t]
            ws[to + t] = ws[g + t] if is_first == is_left else 0.0


@compiled
def sweep_back(ops: Any, row: Any, m: Any, k: Any, arity: Any, b: Any, block: Any) -> None:
    """Write the derivative of the weighted sum of terms by every node above a constant."""
    size, count = b.register.size, u8(b.counts[block])
    first = k + 4 + 2 * size
    for i in range(m):
        root = b.terms[i]
        if not b.needs[root]:
            continue
        start = b.off[block, first + root]
        for t in range(count):
            b.ws[start + t] = b.beta[1 + i]
        for node in range(root, b.ends[root]):
            op = ops[row, node]
            if arity[op] == 0 or not b.needs[node]:
                continue
            left = node + 1
            right = left if arity[op] == 1 else b.ends[left]
            g, v = b.off[block, first + node], b.off[block, b.register[node]]
            x, y = b.off[block, b.register[left]], b.off[block, b.register[right]]
            if arity[op] == 1:
                pull_unary(b.ws, op, g, x, v, b.off[block, first + left], count)
                continue
            if b.needs[left]:
                pull_binary(b.ws, op, g, x, y, v, b.off[block, first + left], count, True)
            if b.needs[right]:
                pull_binary(b.ws, op, g, x, y, v, b.off[block, first + right], count, False)


@compiled
def choose_tuned(ops: Any, row: Any, m: Any, b: Any) -> Any:
    """Note the constants inside terms that are to be tuned; return how many."""
    n = 0
    for i in range(m):
        for node in range(b.terms[i], b.ends[b.terms[i]]):
            if ops[row, node] == CONST and n < MAX_TUNED:
                b.tuned[n] = node
                n += 1
    return n


@compiled
def add_derivatives(ops: Any, row: Any, m: Any, n: Any, g: Any, b: Any, n_code: Any) -> Any:
    """Add up what a step needs; return the rows."""
    k, n_rows = g.arity.size - VAR, 0.0
    first = k + 4 + 2 * b.register.size
    for i in range(n):
        b.jr[i] = b.js[i] = 0.0
        for j in range(n):
            b.jj[i, j] = 0.0
        for j in range(m):
            b.jt[i, j] = 0.0
    for block in range(b.counts.size):
        run_block(b, block, n_code)
        write_residual(b, block, m, k)
        sweep_back(ops, row, m, k, g.arity, b, block)
        n_rows += b.counts[block]
        for i in range(n):
            own = first + b.tuned[i]
            b.jr[i] += dot(b, block, own, k + 3)
            b.js[i] += dot(b, block, own, k + 1)
            for j in range(i, n):
                b.jj[i, j] += dot(b, block, own, first + b.tuned[j])
            for j in range(m):
                b.jt[i, j] += dot(b, block, own, b.register[b.terms[j]])
    return n_rows


@compiled
def eliminate(m: Any, n: Any, n_rows: Any, b: Any) -> None:
    """Take out of the products what the weights could undo, leaving those of the constants."""
    for i in range(n):
        for j in range(i, n):
            b.jj[i, j] -= b.js[i] * b.js[j] / n_rows
        for j in range(m):
            b.jt[i, j] -= b.js[i] * b.sums[j] / n_rows
    for i in range(n):
        # forward substitution: products of two such rows are those that the inverse makes
        for j in range(m):
            for k in range(j):
                b.jt[i, j] -= b.products[j, k] * b.jt[i, k]
            b.jt[i, j] = b.jt[i, j] / b.pivots[j] if b.pivots[j] > 0.0 else 0.0
    for i in range(n):
        for j in range(i, n):
            for k in range(m):
                b.jj[i, j] -= b.jt[i, k] * b.jt[j, k]


@compiled
def step_constants(vals: Any, row: Any, n: Any, damping: Any, b: Any) -> Any:
    """Move the constants by a damped step; say whether there is one."""
    step = b.step
    for i in range(n):
        step[i] = b.jr[i]
        for j in range(i, n):
            b.damped[i, j] = b.jj[i, j]
        b.damped[i, i] = b.jj[i, i] * (1.0 + damping)
        if not np.isfinite(b.jj[i, i]) or not np.isfinite(b.jr[i]):
            return False
    factor(b.damped, n, b.step_pivots)
    solve(b.damped, n, b.step_pivots, step)
    is_moved = False
    for i in range(n):
        value = b.kept[i] + step[i]
        if not np.isfinite(value):
            return False
        is_moved = is_moved or value != b.kept[i]
        vals[row, b.tuned[i]] = value
    return is_moved


@compiled
def tune_tree(
    ops: Any, vals: Any, length: Any, row: Any, error: Any, n_steps: Any, g: Any, b: Any
) -> Any:
    """Fit the constants of a tree that was scored last, in at most ``n_steps``; return its error.

    Ends early where a step gains little.
    """
    damping = 1e-3
    for _ in range(n_steps):
        m = find_terms(ops, row, g.arity, g.limits[1], b.terms, b.stack)
        n = choose_tuned(ops, row, m, b)
        if n == 0 or not error > 1e-31:
            return error
        n_code = lower_tree(ops, row, length[row], g.arity.size - VAR, g.arity, b)
        n_rows = add_derivatives(ops, row, m, n, g, b, n_code)
        b.spent[0] += 1
        eliminate(m, n, n_rows, b)
        for i in range(n):
            b.kept[i] = vals[row, b.tuned[i]]
        before = error
        for _ in range(4):
            found = np.inf
            if step_constants(vals, row, n, damping, b):
                found = score_tree(ops, vals, length, row, g, b)
            if found < error:
                error = found
                damping *= 0.1
                break
            damping *= 10.0
        if error == before:
            for i in range(n):
                vals[row, b.tuned[i]] = b.kept[i]
            return error
        if error > 0.99 * before:
            return error
    return error
