"""The baseline: what a user of DEAP writes, rules compiled to NumPy and a loop over the steps."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evosearch.bench.workload import ETA, Workload
from evosearch.engine.sample import CLIP
from evosearch.rules.rule import Rule

Compiled = Callable[..., Any]

# Bare division: the protected one would slow the baseline.
_BINARY = {"add": np.add, "sub": np.subtract, "mul": np.multiply, "div": np.divide}
_UNARY = {"tanh": np.tanh, "exp": np.exp}


def compile_with_deap(rules: Sequence[Rule]) -> list[Compiled]:
    """Compile rules drawn here (never a user's text) as a DEAP user would."""
    from deap import gp

    primitives = gp.PrimitiveSet("RULE", 3)
    primitives.renameArguments(ARG0="w", ARG1="pre", ARG2="post")
    for arity, functions in ((2, _BINARY), (1, _UNARY)):
        for name, function in functions.items():
            primitives.addPrimitive(function, arity, name=name)

    def compiled(rule: Rule) -> Compiled:
        nodes = [
            primitives.mapping[node]
            if isinstance(node, str)
            else gp.Terminal(float(node), False, object)
            for node in rule.main.nodes
        ]
        return gp.compile(gp.PrimitiveTree(nodes), primitives)

    return [compiled(rule) for rule in rules]


class NumpyLives:
    """The lives of a workload in NumPy, all draws of a rule in one array."""

    def __init__(self, work: Workload) -> None:
        self._functions = compile_with_deap(work.rules)
        births, inputs = work.life.tables[0], work.life.tables[1]
        shape = (work.n_out, work.n_in)
        self._is_single = work.life.n_draws == 1
        self._birth = births[0, 0].reshape(shape) if self._is_single else births.reshape(-1, *shape)
        # (steps, n_in), or (steps, draws, 1, n_in): one contiguous block a step.
        batched = np.ascontiguousarray(inputs.swapaxes(0, 1))[:, :, None, :]
        self._inputs = inputs[0] if self._is_single else batched

    def run(self, is_checked: bool) -> list[NDArray[np.float32]]:
        """Live all lives; return the weights in the end, one array a rule.

        Args:
            is_checked: clip the weights at each step, and end lives that are no longer finite.
        """
        with np.errstate(all="ignore"):
            one = self._one_draw if self._is_single else self._many_draws
            return [one(function, is_checked) for function in self._functions]

    def _one_draw(self, function: Compiled, is_checked: bool) -> NDArray[np.float32]:
        weights, eta = self._birth.copy(), np.float32(ETA)
        for x in self._inputs:
            post = weights @ x
            weights = weights + eta * function(weights, x, post[:, None])
            if is_checked:
                # Methods: the functions of the same names cost small arrays twice the time.
                if not math.isfinite(weights.sum()):
                    break
                weights.clip(-CLIP, CLIP, out=weights)
        return weights

    def _many_draws(self, function: Compiled, is_checked: bool) -> NDArray[np.float32]:
        weights, eta = self._birth.copy(), np.float32(ETA)
        is_alive: NDArray[np.bool_] = np.ones(len(weights), np.bool_)
        for x in self._inputs:
            post = weights @ x.swapaxes(1, 2)
            weights = weights + eta * function(weights, x, post)
            if is_checked:
                is_alive &= np.isfinite(weights.sum((1, 2)))
                if not is_alive.any():
                    break
                weights.clip(-CLIP, CLIP, out=weights)
        return weights
