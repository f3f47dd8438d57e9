"""Lives of learning programs over scalars and vectors; see ``linreg_zero_program``.

A program is rows of four integers and a constant: operation, target, first, second. Registers of
all draws lie side by side, so that an instruction is one short loop over them.
"""

from __future__ import annotations

import math
from typing import Any

from evosearch.engine.cache import compiled

CONSTANT, INNER_PRODUCT, DIFFERENCE, PRODUCT, SCALED_VECTOR, VECTOR_SUM = 0, 1, 2, 3, 4, 5
LABEL, PREDICTION = 0, 1  # scalars
FEATURES = 0  # vector


@compiled
def live(
    codes: Any, constants: Any, ends: Any, inputs: Any, targets: Any, n_shown: Any, limit: Any,
    scalars: Any, vectors: Any, squares: Any,
) -> None:  # fmt: skip
    """Live one life a draw under each program.

    Args:
        codes: (P, instructions, 4) of setup, predict and learn, one after the other.
        constants: (P, instructions).
        ends: (3,) instruction behind the last of each part.
        inputs: (examples, features, D); those that are learned from come first.
        targets: (examples, D).
        n_shown: examples to learn from.
        limit: error beyond which a life is given up.
        scalars: (scalars, D) memory.
        vectors: (vectors, features, D) memory.
        squares: (P, D) sums of squared errors of the other examples, infinite where given up.
    """
    n_examples, n_draws = targets.shape
    for p in range(codes.shape[0]):
        _forget(scalars, vectors, squares, p)
        _run(codes, constants, p, 0, ends[0], scalars, vectors)
        for example in range(n_examples):
            _show(inputs, example, scalars, vectors)
            _run(codes, constants, p, ends[0], ends[1], scalars, vectors)
            is_asked = example >= n_shown
            if _judge(targets, example, is_asked, limit, scalars, squares, p) == n_draws:
                break
            if not is_asked:
                _run(codes, constants, p, ends[1], ends[2], scalars, vectors)


@compiled
def _forget(scalars: Any, vectors: Any, squares: Any, p: Any) -> None:
    for d in range(scalars.shape[1]):
        squares[p, d] = 0.0
        for k in range(scalars.shape[0]):
            scalars[k, d] = 0.0
        for k in range(vectors.shape[0]):
            for j in range(vectors.shape[1]):
                vectors[k, j, d] = 0.0


@compiled
def _show(inputs: Any, example: Any, scalars: Any, vectors: Any) -> None:
    """Show the input and hide the label."""
    for j in range(inputs.shape[1]):
        for d in range(inputs.shape[2]):
            vectors[FEATURES, j, d] = inputs[example, j, d]
    for d in range(inputs.shape[2]):
        scalars[LABEL, d] = 0.0


@compiled
def _judge(
    targets: Any, example: Any, is_asked: Any, limit: Any, scalars: Any, squares: Any, p: Any
) -> Any:
    """Show the label and add up the error where it counts; return how many lives are given up."""
    n_lost = 0
    for d in range(targets.shape[1]):
        error = targets[example, d] - scalars[PREDICTION, d]
        scalars[LABEL, d] = targets[example, d]
        if is_asked:
            squares[p, d] += error * error
        if not abs(error) <= limit:
            squares[p, d] = math.inf
        n_lost += squares[p, d] == math.inf
    return n_lost


@compiled
def _run(
    code: Any, constants: Any, p: Any, first: Any, end: Any, scalars: Any, vectors: Any
) -> None:
    """Execute instructions ``first`` to ``end`` of program p in all draws."""
    n_features, n_draws = vectors.shape[1], vectors.shape[2]
    for k in range(first, end):
        operation, target = code[p, k, 0], code[p, k, 1]
        a, b = code[p, k, 2], code[p, k, 3]
        if operation == CONSTANT:
            for d in range(n_draws):
                scalars[target, d] = constants[p, k]
        elif operation == INNER_PRODUCT:
            for d in range(n_draws):
                scalars[target, d] = vectors[a, 0, d] * vectors[b, 0, d]
            for j in range(1, n_features):
                for d in range(n_draws):
                    scalars[target, d] += vectors[a, j, d] * vectors[b, j, d]
        elif operation == DIFFERENCE:
            for d in range(n_draws):
                scalars[target, d] = scalars[a, d] - scalars[b, d]
        elif operation == PRODUCT:
            for d in range(n_draws):
                scalars[target, d] = scalars[a, d] * scalars[b, d]
        elif operation == SCALED_VECTOR:
            for j in range(n_features):
                for d in range(n_draws):
                    vectors[target, j, d] = scalars[a, d] * vectors[b, j, d]
        else:
            for j in range(n_features):
                for d in range(n_draws):
                    vectors[target, j, d] = vectors[a, j, d] + vectors[b, j, d]
