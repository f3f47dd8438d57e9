"""How genetic programming makes new rules of old ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from evosearch.rules.expression import Expression, Node
from evosearch.search.gp_folding import folded
from evosearch.search.gp_trees import expression_of, tree_of
from evosearch.spaces.rule import RuleSpace

# Koza's choice: crossover points are mostly functions, since half of all nodes are leaves.
P_FUNCTION = 0.9
LARGEST_NEW = 9
# A factor near one changes what a rule does a little, which is how good rules become better.
P_NEAR_ONE = 0.75


class Variation:
    """The operators on rules of one space; call them within ``lent_random``.

    Each returns a rule of at most ``space.max_size`` nodes, which may equal its parent.

    Args:
        space: terminals, functions, constants and the greatest size.
        rng: the source of random numbers, beside the global one that DEAP's operators use.
        frequencies: how often each of ``crossover``, ``subtree``, ``point``, ``hoist`` and
            ``constant`` is used, relative to their sum.
    """

    def __init__(
        self, space: RuleSpace, rng: np.random.Generator, frequencies: Mapping[str, float]
    ) -> None:
        self._space, self._rng = space, rng
        self._names = tuple(frequencies)
        weights = np.array(list(frequencies.values()), dtype=np.float64)
        self._cumulative = np.cumsum(weights / weights.sum())

    def child(self, first: Expression, second: Expression) -> Expression:
        """Return a child of two parents by crossover, or of the first one by a mutation."""
        k = int(np.searchsorted(self._cumulative, self._rng.random(), side="right"))
        name = self._names[min(k, len(self._names) - 1)]
        made = self.crossover(first, second) if name == "crossover" else getattr(self, name)(first)
        return self._tidy(made)

    def crossover(self, first: Expression, second: Expression) -> Expression:
        """Put a subtree of ``second`` into ``first``, on average as large as what it replaces.

        Source: W. B. Langdon, "Size Fair and Homologous Tree Crossovers for Tree Genetic
        Programming", Genetic Programming and Evolvable Machines 1, 2000.
        """
        start = self._crossover_point(first)
        ends = second.subtree_ends()
        sizes = np.array(ends) - np.arange(second.size)
        taken = first.subtree_end(start) - start
        room = self._space.max_size - first.size + taken
        k = self._fair_choice(np.where(sizes <= room, sizes, 0), taken)
        if k is None:
            return first
        tree = tree_of(first.nodes)
        tree[tree.searchSubtree(start)] = tree_of(second.nodes[k : ends[k]])
        return expression_of(tree)

    def subtree(self, parent: Expression) -> Expression:
        """Replace a subtree by a random one (Koza 1992; DEAP's ``mutUniform``)."""
        from deap.gp import mutUniform

        (tree,) = mutUniform(tree_of(parent.nodes), self._grown, None)
        child = expression_of(tree)
        return child if child.size <= self._space.max_size else parent

    def point(self, parent: Expression) -> Expression:
        """Exchange each node with probability 1/size for one of the same arity, one at least."""
        is_changed = self._rng.random(parent.size) < 1.0 / parent.size
        is_changed[self._rng.integers(parent.size)] = True
        nodes = list(parent.nodes)
        for position in np.flatnonzero(is_changed).tolist():
            nodes[position] = self._other_node(nodes[position])
        return Expression(nodes)

    def hoist(self, parent: Expression) -> Expression:
        """Replace a subtree by one of its own operands (DEAP's ``mutShrink``), or lift the root's.

        Source: K. E. Kinnear, "Fitness Landscapes and Difficulty in Genetic Programming", 1994.
        """
        from deap.gp import mutShrink

        arity = Expression.arity(parent.nodes[0])
        if arity and self._rng.random() < 1.0 / 3.0:
            start = 1 if self._rng.integers(arity) == 0 else parent.subtree_end(1)
            return Expression(parent.nodes[start : parent.subtree_end(start)])
        (tree,) = mutShrink(tree_of(parent.nodes))
        return expression_of(tree)

    def constant(self, parent: Expression) -> Expression:
        """Move one constant, or multiply a subtree by a new one."""
        n = len(parent.constants)
        if n and self._rng.random() < 0.5:
            values = list(parent.constants)
            k = int(self._rng.integers(n))
            values[k] = self._near(values[k])
            return parent.with_constants(values)
        return self._multiplied(parent)

    def _tidy(self, rule: Expression) -> Expression:
        """Fold constants, unless the space fixes which there are."""
        return rule if self._space.ephemeral is None else folded(rule)

    def _near(self, value: float) -> float:
        """Return a constant near another; where the space fixes them, any of it."""
        if self._space.ephemeral is None:
            drawn = self._space.draw_constant(self._rng)
            return value if drawn is None else drawn
        step = 0.3 * self._rng.standard_normal()
        return float(value + step * (abs(value) + 0.1))

    def _multiplied(self, parent: Expression) -> Expression:
        """Multiply a subtree by a new constant; where constants have a range, by one near 1."""
        space, rng = self._space, self._rng
        constant = space.draw_constant(rng)
        if constant is None or "mul" not in space.functions or parent.size + 2 > space.max_size:
            return self.point(parent)
        if space.ephemeral is not None and rng.random() < P_NEAR_ONE:
            constant = 1.0 + 0.5 * float(rng.standard_normal())
        start = int(rng.integers(parent.size))
        end = parent.subtree_end(start)
        return parent.replace(start, end, ("mul", constant, *parent.nodes[start:end]))

    def _crossover_point(self, parent: Expression) -> int:
        functions = [k for k, node in enumerate(parent.nodes) if Expression.arity(node)]
        if functions and self._rng.random() < P_FUNCTION:
            return functions[self._rng.integers(len(functions))]
        return int(self._rng.integers(parent.size))

    def _fair_choice(self, sizes: Any, taken: int) -> int | None:
        """Return a subtree whose size is ``taken`` in the mean and at most 2 taken + 1."""
        chances = size_fair_chances(sizes, taken)
        if chances is None:
            return None
        return int(self._rng.choice(len(sizes), p=chances))

    def _grown(self, pset: Any, type_: Any) -> list[Any]:
        """Return a random tree as DEAP's nodes; its size is uniform over those possible."""
        del pset, type_
        return list(tree_of(self.new(LARGEST_NEW).nodes))

    def new(self, largest: int) -> Expression:
        """Return a random rule of at most ``largest`` nodes; its size is uniform over those."""
        sizes = self._space.possible_sizes(min(largest, self._space.max_size))
        size = sizes[self._rng.integers(len(sizes))]
        return self._tidy(self._space.sample_of_size(size, self._rng))

    def _other_node(self, node: Node) -> Node:
        space, arity = self._space, Expression.arity(node)
        if arity == 0:
            (leaf,) = space.sample_of_size(1, self._rng).nodes
            return leaf
        names: Sequence[str] = space.unary if arity == 1 else space.binary
        others = [name for name in names if name != node]
        return others[self._rng.integers(len(others))] if others else node


def size_fair_chances(sizes: Any, taken: int) -> Any:
    """Return with which probability each of the subtrees replaces one of ``taken`` nodes.

    Args:
        sizes: (n,) nodes of the subtrees; 0 for those that may not be taken.
        taken: nodes of the subtree that is replaced.

    Returns:
        Probabilities (n,), None where no subtree may be taken.
    """
    is_allowed = (sizes > 0) & (sizes <= 2 * taken + 1)
    equal, less, more = (is_allowed & m for m in (sizes == taken, sizes < taken, sizes > taken))
    n_equal, n_less, n_more = int(equal.sum()), int(less.sum()), int(more.sum())
    if not is_allowed.any():
        return None
    if not (n_less and n_more):
        kept = equal if n_equal else is_allowed
        return kept / kept.sum()
    p_equal = 1.0 / taken if n_equal else 0.0
    # Probabilities of a shorter and a longer one that leave the mean size unchanged.
    shortened = float((taken - sizes[less]).mean())
    lengthened = float((sizes[more] - taken).mean())
    p_more = (1.0 - p_equal) * shortened / (shortened + lengthened)
    chances = p_equal * equal / max(1, n_equal) + p_more * more / n_more
    return chances + (1.0 - p_equal - p_more) * less / n_less
