"""Formulas as rows of arrays, and the operators of genetic programming on them, compiled.

A population is three arrays: ``ops (P, L)`` int16 with the nodes in prefix order, ``vals (P, L)``
float64 with the values of constants, and ``length (P,)``. Codes below ``COS`` are the engine's
operations; a variable is ``VAR`` plus its number. Points are chosen and subtrees exchanged as
DEAP's operators do. Random words come from the generator SFC64, whose state is four words.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from evosearch.engine import elementary as el
from evosearch.engine.cache import compiled
from evosearch.engine.program import Op

COS, CONST, VAR = 18, 19, 20
_ADD, _SUB, _MUL, _DIV = int(Op.ADD), int(Op.SUB), int(Op.MUL), int(Op.DIV)
_EXP = int(Op.EXP)  # from here to COS functions are transcendental
_P_UNARY = 0.25

u8 = np.uint64


class Grammar(NamedTuple):
    """What trees are made of.

    Attributes:
        arity: (VAR + k,) operands of each code.
        unary: codes of functions of one operand.
        binary: codes of functions of two operands.
        constants: fixed constants, which are drawn as often as one of the range.
        draws: share of constants among leaves, least and greatest constant of the range.
        limits: nodes of a whole formula, terms of its sum.
        stack: scratch.
    """

    arity: NDArray[np.int64]
    unary: NDArray[np.int64]
    binary: NDArray[np.int64]
    constants: NDArray[np.float64]
    draws: NDArray[np.float64]
    limits: NDArray[np.int64]
    stack: NDArray[np.int64]


@compiled
def next_word(rng: Any) -> Any:
    """Return 64 random bits (C. Doty-Humphrey's SFC64, as NumPy has it)."""
    word = rng[0] + rng[1] + rng[3]
    rng[3] = rng[3] + u8(1)
    rng[0] = rng[1] ^ (rng[1] >> u8(11))
    rng[1] = rng[2] + (rng[2] << u8(3))
    rng[2] = ((rng[2] << u8(24)) | (rng[2] >> u8(40))) + word
    return word


@compiled
def uniform(rng: Any) -> Any:
    """Return a number in [0, 1)."""
    return np.float64(next_word(rng) >> u8(11)) * 2.0**-53


@compiled
def below(rng: Any, n: Any) -> Any:
    """Return a whole number in [0, n), n below 2^32."""
    return np.int64(((next_word(rng) >> u8(32)) * u8(n)) >> u8(32))


@compiled
def normal(rng: Any) -> Any:
    """Return a standard normal number by G. Marsaglia's polar method."""
    while True:
        x, y = 2.0 * uniform(rng) - 1.0, 2.0 * uniform(rng) - 1.0
        s = x * x + y * y
        if 0.0 < s < 1.0:
            return x * np.sqrt(-2.0 * el.log(s) / s)


@compiled
def end_of(ops: Any, row: Any, start: Any, arity: Any) -> Any:
    """Return the position after the subtree at ``start``."""
    missing, position = 1, start
    while missing > 0:
        missing += arity[ops[row, position]] - 1
        position += 1
    return position


@compiled
def copy_tree(ops: Any, vals: Any, length: Any, source: Any, target: Any) -> None:
    """Copy a tree to another row."""
    for k in range(length[source]):
        ops[target, k] = ops[source, k]
        vals[target, k] = vals[source, k]
    length[target] = length[source]


@compiled
def splice(
    ops: Any, vals: Any, length: Any, a: Any, start: Any, end: Any, b: Any, b_start: Any,
    b_end: Any, target: Any,
) -> Any:  # fmt: skip
    """Write tree ``a`` with ``b``'s nodes in place of its own; say whether they fit."""
    n = length[a] - (end - start) + (b_end - b_start)
    if n > ops.shape[1]:
        return False
    for k in range(start):
        ops[target, k] = ops[a, k]
        vals[target, k] = vals[a, k]
    place = start
    for k in range(b_start, b_end):
        ops[target, place] = ops[b, k]
        vals[target, place] = vals[b, k]
        place += 1
    for k in range(end, length[a]):
        ops[target, place] = ops[a, k]
        vals[target, place] = vals[a, k]
        place += 1
    length[target] = n
    return True


@compiled
def draw_constant(g: Any, rng: Any) -> Any:
    """Return a constant of the range, or a fixed one."""
    n = g.constants.size
    k = below(rng, n + 1)
    if k < n:
        return g.constants[k]
    return g.draws[1] + (g.draws[2] - g.draws[1]) * uniform(rng)


@compiled
def put_leaf(ops: Any, vals: Any, row: Any, place: Any, g: Any, rng: Any) -> None:
    """Write a random leaf."""
    vals[row, place] = 0.0
    if uniform(rng) < g.draws[0]:
        ops[row, place] = CONST
        vals[row, place] = draw_constant(g, rng)
    else:
        ops[row, place] = VAR + below(rng, g.arity.size - VAR)


@compiled
def draw_tree(ops: Any, vals: Any, length: Any, row: Any, size: Any, g: Any, rng: Any) -> None:
    """Write a random tree of ``size`` nodes, or one fewer where no function fits."""
    stack, top, n = g.stack, 1, 0
    stack[0] = size
    while top > 0:
        top -= 1
        part = stack[top]
        is_unary = g.unary.size > 0 and part >= 2 and (part == 2 or uniform(rng) < _P_UNARY)
        if is_unary:
            ops[row, n] = g.unary[below(rng, g.unary.size)]
            stack[top] = part - 1
            top += 1
        elif part >= 3:
            ops[row, n] = g.binary[below(rng, g.binary.size)]
            left = 1 + below(rng, part - 2)
            stack[top], stack[top + 1] = part - 1 - left, left
            top += 2
        else:
            put_leaf(ops, vals, row, n, g, rng)
        n += 1
    length[row] = n


@compiled
def crossover(
    ops: Any, vals: Any, length: Any, a: Any, b: Any, target: Any, arity: Any, rng: Any
) -> Any:
    """Put a subtree of ``b`` in place of one of ``a``; roots are left out, as DEAP does."""
    if length[a] < 2 or length[b] < 2:
        copy_tree(ops, vals, length, a, target)
        return True
    start, other = 1 + below(rng, length[a] - 1), 1 + below(rng, length[b] - 1)
    end, other_end = end_of(ops, a, start, arity), end_of(ops, b, other, arity)
    return splice(ops, vals, length, a, start, end, b, other, other_end, target)


@compiled
def replace_subtree(
    ops: Any, vals: Any, length: Any, a: Any, donor: Any, target: Any, arity: Any, rng: Any
) -> Any:
    """Put the whole tree ``donor`` in place of a subtree of ``a``."""
    start = below(rng, length[a])
    end = end_of(ops, a, start, arity)
    return splice(ops, vals, length, a, start, end, donor, 0, length[donor], target)


@compiled
def insert(
    ops: Any, vals: Any, length: Any, a: Any, donor: Any, target: Any, g: Any, rng: Any
) -> Any:
    """Put a random function above a random node; its other operand is the tree ``donor``."""
    start = below(rng, length[a])
    end = end_of(ops, a, start, g.arity)
    is_binary = g.unary.size == 0 or uniform(rng) >= _P_UNARY
    op = g.binary[below(rng, g.binary.size)] if is_binary else g.unary[below(rng, g.unary.size)]
    place = below(rng, 2) if is_binary else 0
    more = 1 + (length[donor] if is_binary else 0)
    if length[a] + more > ops.shape[1]:
        return False
    copy_tree(ops, vals, length, a, target)
    length[target] = length[a] + more
    n = start
    ops[target, n], vals[target, n] = op, 0.0
    n += 1
    for part in range(2):
        if part == place:
            for j in range(start, end):
                ops[target, n], vals[target, n] = ops[a, j], vals[a, j]
                n += 1
        elif is_binary:
            for j in range(length[donor]):
                ops[target, n], vals[target, n] = ops[donor, j], vals[donor, j]
                n += 1
    for j in range(end, length[a]):
        ops[target, n], vals[target, n] = ops[a, j], vals[a, j]
        n += 1
    return True


@compiled
def square(ops: Any, vals: Any, length: Any, a: Any, target: Any, arity: Any, rng: Any) -> Any:
    """Multiply a random subtree by itself; its constants then differ where that fits better."""
    start = below(rng, length[a])
    end = end_of(ops, a, start, arity)
    n = end - start
    if length[a] + n + 1 > ops.shape[1]:
        return False
    copy_tree(ops, vals, length, a, target)
    ops[target, start], vals[target, start] = _MUL, 0.0
    for k in range(start, length[a]):
        ops[target, k + 1 + n], vals[target, k + 1 + n] = ops[a, k], vals[a, k]
    for k in range(start, end):
        ops[target, k + 1], vals[target, k + 1] = ops[a, k], vals[a, k]
    length[target] = length[a] + n + 1
    return True


@compiled
def shrink(ops: Any, vals: Any, length: Any, a: Any, target: Any, arity: Any, rng: Any) -> Any:
    """Replace a random function by one of its operands."""
    n_inner = 0
    for k in range(length[a]):
        n_inner += arity[ops[a, k]] > 0
    if n_inner == 0:
        copy_tree(ops, vals, length, a, target)
        return True
    left, start = below(rng, n_inner), -1
    while left >= 0:
        start += 1
        left -= arity[ops[a, start]] > 0
    end = end_of(ops, a, start, arity)
    inner = start + 1
    if arity[ops[a, start]] == 2 and below(rng, 2) == 1:
        inner = end_of(ops, a, inner, arity)
    inner_end = end_of(ops, a, inner, arity)
    return splice(ops, vals, length, a, start, end, a, inner, inner_end, target)


@compiled
def point(ops: Any, vals: Any, length: Any, a: Any, target: Any, g: Any, rng: Any) -> Any:
    """Exchange one node for another of the same arity."""
    copy_tree(ops, vals, length, a, target)
    k = below(rng, length[a])
    arity = g.arity[ops[a, k]]
    if arity == 0:
        put_leaf(ops, vals, target, k, g, rng)
    elif arity == 1:
        ops[target, k] = g.unary[below(rng, g.unary.size)]
    else:
        ops[target, k] = g.binary[below(rng, g.binary.size)]
    return True


@compiled
def move_constants(ops: Any, vals: Any, length: Any, a: Any, target: Any, g: Any, rng: Any) -> Any:
    """Move each constant a little or far, or draw it again."""
    copy_tree(ops, vals, length, a, target)
    step = 0.1 if uniform(rng) < 0.5 else 1.0
    for k in range(length[a]):
        if ops[a, k] == CONST:
            value = vals[a, k]
            if uniform(rng) < 0.2:
                vals[target, k] = draw_constant(g, rng)
            else:
                vals[target, k] = value + step * (abs(value) + 0.1) * normal(rng)
    return True


@compiled
def fold(ops: Any, vals: Any, length: Any, row: Any, arity: Any) -> None:
    """Make one constant of each function of constants alone; it is fitted later anyway."""
    k = length[row] - 2
    while k >= 0:
        op = ops[row, k]
        n = arity[op]
        has_constants = n > 0 and ops[row, k + 1] == CONST
        if n == 2:
            has_constants = has_constants and ops[row, k + 2] == CONST
        if has_constants:
            value = vals[row, k + 1]
            if op == _ADD:
                value = value + vals[row, k + 2]
            elif op == _SUB:
                value = value - vals[row, k + 2]
            elif op == _MUL:
                value = value * vals[row, k + 2]
            elif op == _DIV and vals[row, k + 2] != 0.0:
                value = value / vals[row, k + 2]
            ops[row, k], vals[row, k] = CONST, value
            for j in range(k + 1, length[row] - n):
                ops[row, j], vals[row, j] = ops[row, j + n], vals[row, j + n]
            length[row] -= n
        k -= 1


@compiled
def find_terms(ops: Any, row: Any, arity: Any, most: Any, terms: Any, stack: Any) -> Any:
    """Note the roots of the terms whose sum the tree is, constants left out; return how many.

    The sum is taken apart until there are ``most`` terms; what is left stays whole.
    """
    n, top = 0, 1
    stack[0] = 0
    while top > 0:
        top -= 1
        k = stack[top]
        op = ops[row, k]
        if op in (_ADD, _SUB) and n + top + 2 <= most:
            stack[top] = end_of(ops, row, k + 1, arity)
            stack[top + 1] = k + 1
            top += 2
        elif op != CONST:
            terms[n] = k
            n += 1
    return n


@compiled
def nesting(ops: Any, length: Any, row: Any, arity: Any, stack: Any) -> Any:
    """Return how many transcendental functions lie one inside another at most."""
    top = 0
    for k in range(length[row] - 1, -1, -1):
        op = ops[row, k]
        if arity[op] == 0:
            stack[top] = 0
            top += 1
            continue
        if arity[op] == 2:
            top -= 1
            stack[top - 1] = max(stack[top - 1], stack[top])
        stack[top - 1] += op >= _EXP and op <= COS
    return stack[0]
