"""Lay a table and a grammar out for the compiled search of formulas, and read formulas back."""

from __future__ import annotations

import math

import numpy as np

from evosearch.engine.contract import LANES, padded
from evosearch.engine.program import Op
from evosearch.errors import InputError
from evosearch.outcome import FloatArray
from evosearch.rules.expression import Expression, Node
from evosearch.rules.primitives import PRIMITIVES
from evosearch.search.formula_fit_kernels import MAX_TUNED, Bench
from evosearch.search.formula_island_kernels import Islands
from evosearch.search.formula_tree_kernels import CONST, COS, VAR, Grammar
from evosearch.spaces.formula import FormulaSpace

BLOCK = 256
SPARE_ROWS = 3
_P_CONSTANT = 0.25
_NEEDED = ("add", "mul")
_NAMES = {int(primitive.op): name for name, primitive in PRIMITIVES.items()}
# A term that adds less than this share of the target's deviation adds roundoff.
_NOTHING = 1e-13


def make_grammar(space: FormulaSpace, most_nodes: int, most_terms: int) -> Grammar:
    """Return what trees are made of; where there is a sine there is a cosine.

    Raises:
        InputError: the space lacks what weighted sums are made of.
    """
    missing = [name for name in _NEEDED if name not in space.functions]
    if missing or space.ephemeral is None:
        found = f"it lacks {', '.join(missing)}" if missing else "rule.ephemeral is missing"
        raise InputError(
            "search 'gp-regression' weighs terms and fits constants: it needs the functions add "
            f"and mul and a range of constants; {found}."
        )
    arity = np.zeros(VAR + len(space.terminals), np.int64)
    for primitive in PRIMITIVES.values():
        arity[int(primitive.op)] = primitive.arity
    arity[COS] = 1
    unary = [int(PRIMITIVES[name].op) for name in space.unary]
    unary += [COS] if "sin" in space.functions else []
    return Grammar(
        arity=arity,
        unary=np.array(unary, np.int64),
        binary=np.array([int(PRIMITIVES[name].op) for name in space.binary], np.int64),
        constants=np.array(space.constants, np.float64),
        draws=np.array([_P_CONSTANT, *space.ephemeral]),
        limits=np.array([space.max_size, most_terms], np.int64),
        stack=np.zeros(4 * most_nodes + 4, np.int64),
    )


def make_bench(columns: FloatArray, target: FloatArray, most_nodes: int, most_terms: int) -> Bench:
    """Lay a table out in blocks of rows; the target is centred and scaled."""
    k, n_rows = columns.shape
    counts = np.array([min(BLOCK, n_rows - start) for start in range(0, n_rows, BLOCK)])
    stride = padded(int(counts[0])) + LANES
    n_shared = 3 + 3 * most_nodes
    n_own = len(counts) * (k + 1)
    off = np.empty((len(counts), k + 1 + n_shared), np.uint64)
    off[:, : k + 1] = np.arange(n_own).reshape(len(counts), k + 1)
    off[:, k + 1 :] = n_own + np.arange(n_shared)
    off *= np.uint64(stride)
    ws = np.zeros((n_own + n_shared) * stride + LANES)
    rows = np.vstack([columns, (target - target.mean()) / target.std()])
    for block, count in enumerate(counts.tolist()):
        for register, row in enumerate(rows):
            start = int(off[block, register])
            ws[start : start + count] = row[block * BLOCK : block * BLOCK + count]
    for register, value in ((k + 1, 1.0), (k + 2, math.pi / 2)):
        start = int(off[0, register])
        ws[start : start + stride] = value
    terms, tuned = max(1, most_terms), MAX_TUNED
    return Bench(
        ws=ws, off=off, counts=counts, code=np.zeros((2 * most_nodes, 4), np.int32),
        register=np.zeros(most_nodes, np.int64), ends=np.zeros(most_nodes, np.int64),
        needs=np.zeros(most_nodes, np.bool_), terms=np.zeros(terms, np.int64),
        tuned=np.zeros(tuned, np.int64), stack=np.zeros(2 * most_nodes + 4, np.int64),
        beta=np.zeros(terms + 1), sums=np.zeros(terms), products=np.zeros((terms, terms)),
        pivots=np.zeros(terms), right=np.zeros(terms), jj=np.zeros((tuned, tuned)),
        jt=np.zeros((tuned, terms)), jr=np.zeros(tuned), js=np.zeros(tuned),
        damped=np.zeros((tuned, tuned)), step_pivots=np.zeros(tuned), step=np.zeros(tuned),
        kept=np.zeros(tuned), spent=np.zeros(1, np.int64),
    )  # fmt: skip


def make_islands(
    room: list[tuple[int, int, int]], patience: list[int], members: int, n_sizes: int, seed: int
) -> Islands:
    """Return islands that are yet to be filled."""
    n_rows = members * len(room) + n_sizes + SPARE_ROWS
    most_nodes = max(nodes for nodes, _, _ in room)
    state = np.random.SFC64(seed).state["state"]["state"]
    return Islands(
        ops=np.zeros((n_rows, most_nodes), np.int16),
        vals=np.zeros((n_rows, most_nodes)),
        length=np.ones(n_rows, np.int64),
        score=np.full(n_rows, 1e300),
        best=np.full(len(room), 1e300),
        idle=np.full(len(room), -1, np.int64),
        patience=np.array(patience, np.int64),
        room=np.array(room, np.int64),
        clock=np.zeros(1, np.int64),
        rng=np.array(state, np.uint64),
    )


def read_formula(
    islands: Islands, row: int, n_terms: int, bench: Bench, space: FormulaSpace
) -> list[Node]:
    """Return the nodes of the tree that was scored last on ``bench``, with its weights.

    Weights of 1 and an intercept of 0 are written out, so that they can be snapped to.
    """
    scale = float(space.target.std())
    n_rows = len(space.target)
    nodes: list[Node] = [float(space.target.mean() + scale * bench.beta[0])]
    for k in range(n_terms):
        weight = float(bench.beta[1 + k])
        deviation = math.sqrt(max(0.0, float(bench.products[k, k])) / n_rows)
        if abs(weight) * deviation > _NOTHING:
            term = _term(islands, row, int(bench.terms[k]), bench, space)
            nodes = ["add", *_weighted(scale * weight, term), *nodes]
    return nodes


def _weighted(weight: float, term: list[Node]) -> list[Node]:
    """Return a term times its weight; a constant factor that it begins with goes into that."""
    factor = term[1] if len(term) > 1 else ""
    if isinstance(factor, str) or term[0] not in ("mul", "div"):
        return ["mul", weight, *term]
    if term[0] == "mul":
        return _weighted(weight * factor, term[2:])
    return ["div", weight * factor, *term[2:]]


def _term(islands: Islands, row: int, start: int, bench: Bench, space: FormulaSpace) -> list[Node]:
    stack: list[list[Node]] = []
    for k in range(int(bench.ends[start]) - 1, start - 1, -1):
        op = int(islands.ops[row, k])
        if op >= VAR:
            stack.append([space.terminals[op - VAR]])
        elif op == CONST:
            stack.append([float(islands.vals[row, k])])
        elif op == COS:
            stack.append(["sin", "add", *stack.pop(), math.pi / 2])
        else:
            name = _NAMES[op]
            operands = [stack.pop() for _ in range(PRIMITIVES[name].arity)]
            stack.append([name, *(node for operand in operands for node in operand)])
    return stack.pop()


def tidy(nodes: list[Node]) -> Expression:
    """Return an expression without sums with 0 and products with 1 or 0."""
    stack: list[list[Node]] = []
    for node in reversed(nodes):
        arity = Expression.arity(node)
        operands = [stack.pop() for _ in range(arity)]
        stack.append(_tidied(node, operands) if arity == 2 else _joined(node, operands))
    return Expression(stack.pop())


def _tidied(node: Node, operands: list[list[Node]]) -> list[Node]:
    left, right = operands
    if node in ("add", "mul"):
        nothing = 0.0 if node == "add" else 1.0
        if left == [nothing]:
            return right
        if right == [nothing]:
            return left
        if node == "mul" and [0.0] in operands:
            return [0.0]
        if node == "add" and len(right) == 1 and isinstance(right[0], float) and right[0] < 0:
            return ["sub", *left, -right[0]]
    return _joined(node, operands)


def _joined(node: Node, operands: list[list[Node]]) -> list[Node]:
    return [node, *(inner for operand in operands for inner in operand)]


assert set(_NAMES) == {int(op) for op in Op if op < Op.EXPAND_NETWORK}
