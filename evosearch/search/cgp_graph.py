"""Graphs of Cartesian genetic programming: genes, mutation, and the expression of their output."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from evosearch.outcome import FloatArray
from evosearch.rules.expression import Expression, Node
from evosearch.rules.primitives import PRIMITIVES
from evosearch.spaces.rule import RuleSpace


@dataclass(frozen=True, eq=False)
class Graph:
    """One genome.

    Attributes:
        nodes: (n, 3) function, first and second operand of each node; operands are numbers of
            inputs, then of earlier nodes.
        output: the number that is the result.
        constants: values of the inputs that are constants of a range, (c,).
    """

    nodes: NDArray[np.int64]
    output: int
    constants: FloatArray


class Grid:
    """One row of nodes over the inputs of a space: terminals, fixed and free constants.

    Source: J. Miller, P. Thomson, "Cartesian Genetic Programming", EuroGP 2000.

    Args:
        space: terminals, functions, constants and greatest size of the expression.
        n_nodes: nodes of a graph, active or not.
        n_constants: free constants of a graph; none where the space has no range.
    """

    def __init__(self, space: RuleSpace, n_nodes: int, n_constants: int) -> None:
        self._space = space
        self._n_nodes = n_nodes
        self._n_free = n_constants if space.ephemeral is not None else 0
        self._fixed: tuple[Node, ...] = (*space.terminals, *space.constants)
        self.n_inputs = len(self._fixed) + self._n_free

    def random(self, rng: np.random.Generator) -> Graph:
        """Return a graph of uniform genes."""
        rows = [self._random_node(k, rng) for k in range(self._n_nodes)]
        low, high = self._space.ephemeral or (0.0, 0.0)
        return Graph(
            np.array(rows, dtype=np.int64).reshape(-1, 3),
            int(rng.integers(self.n_inputs + self._n_nodes)),
            rng.uniform(low, high, self._n_free),
        )

    def mutated(self, parent: Graph, rate: float, rng: np.random.Generator) -> Graph:
        """Return a copy in which each gene is drawn anew with probability ``rate``.

        Free constants move by a step in proportion to their size instead.
        """
        nodes = parent.nodes.copy()
        is_changed = rng.random(nodes.shape) < rate
        for k, gene in np.argwhere(is_changed).tolist():
            nodes[k, gene] = self._random_node(k, rng)[gene]
        output = parent.output
        if rng.random() < rate:
            output = int(rng.integers(self.n_inputs + self._n_nodes))
        is_moved = rng.random(self._n_free) < rate
        steps = 0.3 * rng.standard_normal(self._n_free) * (np.abs(parent.constants) + 0.1)
        return Graph(nodes, output, parent.constants + np.where(is_moved, steps, 0.0))

    def expression(self, graph: Graph) -> Expression | None:
        """Return what a graph computes, None where it is larger than the space allows.

        A node that is used twice is written twice.
        """
        if self._size(graph) > self._space.max_size:
            return None
        nodes: list[Node] = []
        stack = [graph.output]
        while stack:
            number = stack.pop()
            if number < self.n_inputs:
                nodes.append(self._input(graph, number))
                continue
            function, first, second = graph.nodes[number - self.n_inputs].tolist()
            name = self._space.functions[function]
            nodes.append(name)
            if PRIMITIVES[name].arity == 2:
                stack.append(second)
            stack.append(first)
        return Expression(nodes)

    def _size(self, graph: Graph) -> int:
        """Return the nodes of the expression; whole numbers, since it may be astronomical."""
        sizes = [1] * self.n_inputs
        for function, first, second in graph.nodes.tolist():
            is_binary = PRIMITIVES[self._space.functions[function]].arity == 2
            sizes.append(1 + sizes[first] + (sizes[second] if is_binary else 0))
        return sizes[graph.output]

    def _input(self, graph: Graph, number: int) -> Node:
        n_fixed = len(self._fixed)
        return self._fixed[number] if number < n_fixed else float(graph.constants[number - n_fixed])

    def _random_node(self, k: int, rng: np.random.Generator) -> tuple[int, int, int]:
        earlier = self.n_inputs + k
        return (
            int(rng.integers(len(self._space.functions))),
            int(rng.integers(earlier)),
            int(rng.integers(earlier)),
        )
