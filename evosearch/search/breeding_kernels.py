"""Children of rules as rows of arrays: crossover, mutations and random rules, compiled.

Rows and what they are made of are those of :mod:`evosearch.search.row_kernels`. A row is as wide as
the largest rule; a child that would be wider is its parent. The operators are those that
:class:`~evosearch.search.gp_variation.Variation` describes, with the same chances.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from evosearch.engine.cache import compiled
from evosearch.engine.program import Op
from evosearch.search import formula_tree_kernels as trees
from evosearch.search.gp_variation import P_FUNCTION, P_NEAR_ONE
from evosearch.search.row_kernels import tidy

CONST = trees.CONST
CROSSOVER, SUBTREE, POINT, HOIST, CONSTANT = range(5)
_MUL = int(Op.MUL)


@compiled
def put_leaf(r: Any, row: Any, place: Any, g: Any, rng: Any) -> None:
    """Write a random leaf; a constant of the range counts as one of the leaves."""
    k = trees.below(rng, g.leaves.size + (g.range.size > 0))
    if k < g.leaves.size:
        r.ops[row, place], r.vals[row, place] = g.leaves[k], g.values[k]
    else:
        r.ops[row, place], r.vals[row, place] = CONST, draw_constant(g, rng)


@compiled
def draw_constant(g: Any, rng: Any) -> Any:
    """Return a constant of the range, else one of those that the space fixes."""
    if g.range.size > 0:
        return g.range[0] + (g.range[1] - g.range[0]) * trees.uniform(rng)
    return g.fixed[trees.below(rng, g.fixed.size)]


@compiled
def draw_rule(r: Any, row: Any, size: Any, g: Any, rng: Any) -> None:
    """Write a rule drawn uniformly among the trees of ``size`` nodes."""
    stack, top, n = g.ends, 1, 0
    stack[0] = size
    while top > 0:
        top -= 1
        part = stack[top]
        if part == 1:
            put_leaf(r, row, n, g, rng)
        else:
            u, left = trees.uniform(rng), 0
            while left < part - 2 and g.cumulative[part, left] <= u:
                left += 1
            r.vals[row, n] = 0.0
            if left == 0:
                r.ops[row, n] = g.unary[trees.below(rng, g.unary.size)]
                stack[top] = part - 1
                top += 1
            else:
                r.ops[row, n] = g.binary[trees.below(rng, g.binary.size)]
                stack[top], stack[top + 1] = part - 1 - left, left
                top += 2
        n += 1
    r.length[row] = n


@compiled
def crossover_point(r: Any, row: Any, g: Any, rng: Any) -> Any:
    """Return a node: a function with Koza's chance, else any."""
    n, n_functions = r.length[row], 0
    for k in range(n):
        n_functions += g.arity[r.ops[row, k]] > 0
    if n_functions == 0 or trees.uniform(rng) >= P_FUNCTION:
        return trees.below(rng, n)
    left, place = trees.below(rng, n_functions), -1
    while left >= 0:
        place += 1
        left -= g.arity[r.ops[row, place]] > 0
    return place


@compiled
def find_ends(r: Any, row: Any, g: Any) -> None:
    """Write the end of the subtree at each node into ``g.ends``."""
    # The ends of operands that wait lie in the numbers' scratch: few, and read before written.
    top = 0
    for k in range(r.length[row] - 1, -1, -1):
        end = k + 1
        for _ in range(g.arity[r.ops[row, k]]):
            top -= 1
            end = np.int64(g.numbers[top])
        g.ends[k] = end
        g.numbers[top] = end
        top += 1


@compiled
def fair_choice(n: Any, taken: Any, room: Any, g: Any, rng: Any) -> Any:
    """Return a subtree of ``taken`` nodes in the mean, at most 2 taken + 1; -1 for none.

    ``g.ends`` holds the ends of the n subtrees; larger ones than ``room`` are left out.
    """
    most = min(room, 2 * taken + 1)
    n_equal, n_less, n_more, less, more = 0, 0, 0, 0, 0
    for k in range(n):
        size = g.ends[k] - k
        if size <= most:
            n_equal += size == taken
            if size < taken:
                n_less += 1
                less += taken - size
            elif size > taken:
                n_more += 1
                more += size - taken
    kind, count = 2, n_less + n_more
    if n_less > 0 and n_more > 0:
        # Chances of a shorter and a longer one that leave the mean size unchanged.
        p_equal = 1.0 / taken if n_equal > 0 else 0.0
        shortened, lengthened = less / n_less, more / n_more
        p_more = (1.0 - p_equal) * shortened / (shortened + lengthened)
        u = trees.uniform(rng)
        kind, count = -1, n_less
        if u < p_equal:
            kind, count = 0, n_equal
        elif u < p_equal + p_more:
            kind, count = 1, n_more
    elif n_equal > 0:
        kind, count = 0, n_equal
    if count == 0:
        return -1
    left = trees.below(rng, count)
    for k in range(n):
        size = g.ends[k] - k
        if size <= most and (kind == 2 or np.sign(size - taken) == kind):
            left -= 1
            if left < 0:
                return k
    return -1


@compiled
def crossover(r: Any, a: Any, b: Any, child: Any, g: Any, rng: Any) -> None:
    """Put a subtree of ``b`` into ``a``, on average as large as what it replaces."""
    start = crossover_point(r, a, g, rng)
    end = trees.end_of(r.ops, a, start, g.arity)
    find_ends(r, b, g)
    room = r.ops.shape[1] - r.length[a] + end - start
    k = fair_choice(r.length[b], end - start, room, g, rng)
    if k < 0:
        trees.copy_tree(r.ops, r.vals, r.length, a, child)
    else:
        trees.splice(r.ops, r.vals, r.length, a, start, end, b, k, g.ends[k], child)


@compiled
def subtree(r: Any, a: Any, child: Any, donor: Any, g: Any, rng: Any) -> None:
    """Replace a subtree by a random one."""
    draw_rule(r, donor, g.grown[trees.below(rng, g.grown.size)], g, rng)
    tidy(r, donor, g)
    if not trees.replace_subtree(r.ops, r.vals, r.length, a, donor, child, g.arity, rng):
        trees.copy_tree(r.ops, r.vals, r.length, a, child)


@compiled
def point(r: Any, a: Any, child: Any, g: Any, rng: Any) -> None:
    """Exchange each node with chance 1/size for one of the same arity, one at least."""
    trees.copy_tree(r.ops, r.vals, r.length, a, child)
    n = r.length[a]
    sure = trees.below(rng, n)
    for k in range(n):
        if k == sure or trees.uniform(rng) * n < 1.0:
            op = r.ops[a, k]
            arity = g.arity[op]
            if arity == 0:
                put_leaf(r, child, k, g, rng)
            elif arity == 1:
                r.ops[child, k] = other_of(g.unary, op, rng)
            else:
                r.ops[child, k] = other_of(g.binary, op, rng)


@compiled
def other_of(codes: Any, op: Any, rng: Any) -> Any:
    """Return another one of some codes, the same where there is none."""
    n = 0
    for k in range(codes.size):
        n += codes[k] != op
    if n == 0:
        return np.int64(op)
    left, k = trees.below(rng, n), -1
    while left >= 0:
        k += 1
        left -= codes[k] != op
    return codes[k]


@compiled
def hoist(r: Any, a: Any, child: Any, g: Any, rng: Any) -> None:
    """Replace a function by one of its operands, as DEAP's mutShrink does, or lift the root's."""
    n = r.length[a]
    arity = g.arity[r.ops[a, 0]]
    start, n_inner = 0, 0
    for k in range(1, n):
        n_inner += g.arity[r.ops[a, k]] > 0
    if arity == 0 or trees.uniform(rng) >= 1.0 / 3.0:
        if n_inner == 0:
            trees.copy_tree(r.ops, r.vals, r.length, a, child)
            return
        left = trees.below(rng, n_inner)
        while left >= 0:
            start += 1
            left -= g.arity[r.ops[a, start]] > 0
    inner = start + 1
    if trees.below(rng, g.arity[r.ops[a, start]]) == 1:
        inner = trees.end_of(r.ops, a, inner, g.arity)
    end = trees.end_of(r.ops, a, start, g.arity)
    inner_end = trees.end_of(r.ops, a, inner, g.arity)
    trees.splice(r.ops, r.vals, r.length, a, start, end, a, inner, inner_end, child)


@compiled
def constant(r: Any, a: Any, child: Any, g: Any, rng: Any) -> None:
    """Move one constant, or multiply a subtree by a new one."""
    n_constants = 0
    for k in range(r.length[a]):
        n_constants += r.ops[a, k] == CONST
    if n_constants == 0 or trees.uniform(rng) >= 0.5:
        multiply(r, a, child, g, rng)
        return
    trees.copy_tree(r.ops, r.vals, r.length, a, child)
    left, k = trees.below(rng, n_constants), -1
    while left >= 0:
        k += 1
        left -= r.ops[a, k] == CONST
    value = r.vals[a, k]
    if g.range.size > 0:
        value = value + 0.3 * trees.normal(rng) * (abs(value) + 0.1)
        r.vals[child, k] = value if np.isfinite(value) else r.vals[a, k]
    elif g.fixed.size > 0:
        r.vals[child, k] = draw_constant(g, rng)


@compiled
def multiply(r: Any, a: Any, child: Any, g: Any, rng: Any) -> None:
    """Multiply a subtree by a new constant; where constants have a range, mostly by one near 1."""
    n, has_product = r.length[a], False
    for k in range(g.binary.size):
        has_product |= g.binary[k] == _MUL
    has_constants = g.range.size > 0 or g.fixed.size > 0
    if not (has_product and has_constants) or n + 2 > r.ops.shape[1]:
        point(r, a, child, g, rng)
        return
    factor = draw_constant(g, rng)
    if g.range.size > 0 and trees.uniform(rng) < P_NEAR_ONE:
        factor = 1.0 + 0.5 * trees.normal(rng)
    start = trees.below(rng, n)
    for k in range(start):
        r.ops[child, k], r.vals[child, k] = r.ops[a, k], r.vals[a, k]
    r.ops[child, start], r.vals[child, start] = _MUL, 0.0
    r.ops[child, start + 1], r.vals[child, start + 1] = CONST, factor
    for k in range(start, n):
        r.ops[child, k + 2], r.vals[child, k + 2] = r.ops[a, k], r.vals[a, k]
    r.length[child] = n + 2


@compiled
def child_of(r: Any, a: Any, b: Any, child: Any, donor: Any, g: Any, rng: Any) -> Any:
    """Write a child of two parents by crossover, or of the first by a mutation; say by which."""
    u, kind = trees.uniform(rng), CROSSOVER
    while kind < CONSTANT and g.cuts[kind] <= u:
        kind += 1
    if kind == CROSSOVER:
        crossover(r, a, b, child, g, rng)
    elif kind == SUBTREE:
        subtree(r, a, child, donor, g, rng)
    elif kind == POINT:
        point(r, a, child, g, rng)
    elif kind == HOIST:
        hoist(r, a, child, g, rng)
    else:
        constant(r, a, child, g, rng)
    tidy(r, child, g)
    return kind


@compiled
def breed(r: Any, pairs: Any, first: Any, donor: Any, kinds: Any, g: Any, rng: Any) -> None:
    """Write a child of each pair of rows (m, 2) into the rows from ``first`` on.

    Args:
        r: rows of the parents, of the children and of a donor.
        pairs: (m, 2) rows of parents.
        first: row of the first child.
        donor: a row to draw in.
        kinds: (m,) becomes by which operator each was made.
        g: what rules are made of.
        rng: (4,) words of the generator.
    """
    for k in range(pairs.shape[0]):
        kinds[k] = child_of(r, pairs[k, 0], pairs[k, 1], first + k, donor, g, rng)


@compiled
def draw(r: Any, n: Any, sizes: Any, g: Any, rng: Any) -> None:
    """Write random rules into the first n rows; their sizes are uniform over ``sizes``."""
    for row in range(n):
        draw_rule(r, row, sizes[trees.below(rng, sizes.size)], g, rng)
        tidy(r, row, g)
