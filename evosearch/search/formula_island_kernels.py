"""Islands of formulas that breed one child at a time, compiled.

A child replaces the loser of a tournament on its island unless its error is there already. Each
tournament weighs error against size by a price of its own, so that formulas of all sizes breed.
The best formula of each size is kept apart. An island that makes no progress starts afresh; the
first one never does, and takes in parents from the best of each size.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from evosearch.engine import elementary as el
from evosearch.engine.cache import compiled
from evosearch.search import formula_tree_kernels as trees
from evosearch.search.formula_fit_kernels import score_tree, tune_tree

LEAST_ERROR = 1e-32
_WORST = 1e300
# Operators by cumulated chance: crossover, new subtree, function above, square, lift, other node,
# moved constants.
_CUTS = (0.35, 0.48, 0.64, 0.72, 0.82, 0.92)
_SAME = 1e-9
u8 = np.uint64


class Islands(NamedTuple):
    """All that changes while islands breed.

    Attributes:
        ops: (P + F + 3, L) nodes: P members island by island, the best of each of F sizes, and
            rows for a child, a donor and a new member.
        vals: (P + F + 3, L) constants.
        length: (P + F + 3,) nodes.
        score: (P + F + 3,) logarithm of the error.
        best: (islands,) least score since the island began.
        idle: (islands,) evaluations since it fell.
        patience: (islands,) evaluations without progress after which an island starts afresh.
        room: (islands, 3) greatest nodes, terms and nesting of a tree.
        clock: (1,) number of the island whose turn it is.
        rng: (4,) words of the generator.
    """

    ops: NDArray[np.int16]
    vals: NDArray[np.float64]
    length: NDArray[np.int64]
    score: NDArray[np.float64]
    best: NDArray[np.float64]
    idle: NDArray[np.int64]
    patience: NDArray[np.int64]
    room: NDArray[np.int64]
    clock: NDArray[np.int64]
    rng: NDArray[np.uint64]


@compiled
def whole_size(ops: Any, length: Any, row: Any, g: Any, b: Any) -> Any:
    """Return the nodes of a formula with its intercept and weights; a cosine is written as three.

    Terms are noted.
    """
    m = trees.find_terms(ops, row, g.arity, g.limits[1], b.terms, b.stack)
    n = 1 + 3 * m
    for i in range(m):
        end = trees.end_of(ops, row, b.terms[i], g.arity)
        for k in range(b.terms[i], end):
            n += 3 if ops[row, k] == trees.COS else 1
    return n


@compiled
def compete(s: Any, first: Any, n: Any, rounds: Any, price: Any, sign: Any) -> Any:
    """Return the winner of a tournament among n rows, or the loser where ``sign`` is -1."""
    found = first + trees.below(s.rng, n)
    for _ in range(rounds - 1):
        other = first + trees.below(s.rng, n)
        gain = s.score[found] - s.score[other] + price * (s.length[found] - s.length[other])
        if sign * gain > 0.0:
            found = other
    return found


@compiled
def draw_price(rng: Any) -> Any:
    """Return what a node costs in units of the logarithm of the error, from .001 to .05."""
    return el.exp(-3.0 - 3.9 * trees.uniform(rng))


@compiled
def breed(s: Any, first: Any, second: Any, child: Any, donor: Any, g: Any) -> Any:
    """Write a child of one or two members; say whether it has room."""
    u = trees.uniform(s.rng)
    ops, vals, length, rng = s.ops, s.vals, s.length, s.rng
    if u < _CUTS[0]:
        return trees.crossover(ops, vals, length, first, second, child, g.arity, rng)
    if u < _CUTS[1]:
        trees.draw_tree(ops, vals, length, donor, 1 + trees.below(rng, 9), g, rng)
        return trees.replace_subtree(ops, vals, length, first, donor, child, g.arity, rng)
    if u < _CUTS[2]:
        trees.draw_tree(ops, vals, length, donor, 1 + trees.below(rng, 5), g, rng)
        return trees.insert(ops, vals, length, first, donor, child, g, rng)
    if u < _CUTS[3]:
        return trees.square(ops, vals, length, first, child, g.arity, rng)
    if u < _CUTS[4]:
        return trees.shrink(ops, vals, length, first, child, g.arity, rng)
    if u < _CUTS[5]:
        return trees.point(ops, vals, length, first, child, g, rng)
    return trees.move_constants(ops, vals, length, first, child, g, rng)


@compiled
def log_error(error: Any) -> Any:
    """Return the score of an error, finite."""
    if not np.isfinite(error):
        return _WORST
    return el.log(max(error, LEAST_ERROR))


@compiled
def fit_child(s: Any, row: Any, parent: Any, best: Any, g: Any, b: Any) -> None:
    """Score a tree and tune its constants where it may be worth it."""
    error = score_tree(s.ops, s.vals, s.length, row, g, b)
    s.score[row] = log_error(error)
    if s.score[row] == _WORST:
        return
    has_constants = False
    for k in range(s.length[row]):
        has_constants = has_constants or s.ops[row, k] == trees.CONST
    if has_constants and (s.score[row] < parent + 1.0 or trees.uniform(s.rng) < 0.05):
        error = tune_tree(s.ops, s.vals, s.length, row, error, 3, g, b)
        s.score[row] = log_error(error)
        if s.score[row] < best + 0.5:
            error = score_tree(s.ops, s.vals, s.length, row, g, b)
            error = tune_tree(s.ops, s.vals, s.length, row, error, 15, g, b)
            s.score[row] = log_error(error)


@compiled
def keep_best(s: Any, row: Any, n_members: Any, n_sizes: Any, g: Any, b: Any) -> None:
    """Keep a tree among the best of each size where it is one."""
    size = whole_size(s.ops, s.length, row, g, b)
    if size >= n_sizes:
        return
    place = n_members + size
    if s.score[row] < s.score[place] - 1e-6:
        trees.copy_tree(s.ops, s.vals, s.length, row, place)
        s.score[place] = s.score[row]


@compiled
def settle(s: Any, row: Any, first: Any, n: Any, price: Any) -> None:
    """Give a child the place of a loser; one that equals a member takes its place if smaller."""
    place, score = -1, s.score[row]
    # Counted first, without branches, hence by vectors: most children equal none.
    near, n_equal = _SAME * abs(score), 0
    for k in range(u8(first), u8(first + n)):
        n_equal += abs(s.score[k] - score) <= near
    if n_equal > 0:
        for k in range(first, first + n):
            if abs(s.score[k] - score) <= near:
                if s.length[k] <= s.length[row]:
                    return
                place = k
    if place < 0:
        place = compete(s, first, n, 3, price, -1.0)
    trees.copy_tree(s.ops, s.vals, s.length, row, place)
    s.score[place] = score


@compiled
def start_island(s: Any, island: Any, n: Any, n_sizes: Any, g: Any, b: Any) -> None:
    """Fill an island with random formulas of all sizes up to 15 nodes."""
    n_members = n * s.best.size
    row = n_members + n_sizes + 2
    s.best[island], s.idle[island] = _WORST, 0
    for k in range(island * n, island * n + n):
        for _ in range(20):
            size = 1 + trees.below(s.rng, min(15, s.room[island, 0]))
            trees.draw_tree(s.ops, s.vals, s.length, row, size, g, s.rng)
            trees.fold(s.ops, s.vals, s.length, row, g.arity)
            s.score[row] = _WORST
            depth = trees.nesting(s.ops, s.length, row, g.arity, g.stack)
            size = whole_size(s.ops, s.length, row, g, b)
            if size > g.limits[0] or depth > s.room[island, 2]:
                continue
            fit_child(s, row, -_WORST, -_WORST, g, b)
            if s.score[row] < _WORST:
                break
        trees.copy_tree(s.ops, s.vals, s.length, row, k)
        s.score[k] = s.score[row]
        keep_best(s, row, n_members, n_sizes, g, b)


@compiled
def one_child(s: Any, island: Any, n: Any, n_sizes: Any, g: Any, b: Any) -> None:
    """Breed one child on an island."""
    n_members = n * s.best.size
    child, donor, first = n_members + n_sizes, n_members + n_sizes + 1, island * n
    price = draw_price(s.rng)
    mother = compete(s, first, n, 4, price, 1.0)
    father = compete(s, first, n, 4, price, 1.0)
    if island == 0 and trees.uniform(s.rng) < 0.05:
        other = compete(s, n_members, n_sizes, 3, price, 1.0)
        if s.score[other] < _WORST:
            mother = other
    if not breed(s, mother, father, child, donor, g):
        return
    trees.fold(s.ops, s.vals, s.length, child, g.arity)
    if s.length[child] > s.room[island, 0]:
        return
    if trees.nesting(s.ops, s.length, child, g.arity, g.stack) > s.room[island, 2]:
        return
    if whole_size(s.ops, s.length, child, g, b) > g.limits[0]:
        return
    fit_child(s, child, s.score[mother], s.best[island], g, b)
    if s.score[child] == _WORST:
        return
    keep_best(s, child, n_members, n_sizes, g, b)
    if s.score[child] < s.best[island] - 0.01:
        s.best[island], s.idle[island] = s.score[child], 0
    settle(s, child, first, n, price)


@compiled
def breed_for(s: Any, n: Any, n_sizes: Any, budget: Any, enough: Any, g: Any, b: Any) -> None:
    """Breed until ``budget`` more evaluations are made or a score is ``enough``.

    Args:
        s: the islands.
        n: members of an island.
        n_sizes: F, sizes of which the best is kept.
        budget: evaluations, those of fitting constants counted.
        enough: score at which to stop.
        g: what trees are made of.
        b: the table.
    """
    until = b.spent[0] + budget
    n_islands = s.best.size
    while b.spent[0] < until:
        island = s.clock[0] % n_islands
        s.clock[0] += 1
        g.limits[1] = s.room[island, 1]
        if s.idle[island] < 0 or (island > 0 and s.idle[island] > s.patience[island]):
            start_island(s, island, n, n_sizes, g, b)
        before = b.spent[0]
        tries = 0
        while b.spent[0] < min(before + 2000, until) and tries < 20000:
            now = b.spent[0]
            one_child(s, island, n, n_sizes, g, b)
            s.idle[island] += b.spent[0] - now
            tries += 1
        if s.best[island] <= enough:
            return
