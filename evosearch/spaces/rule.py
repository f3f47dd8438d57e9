"""Rules as expression trees over given terminals, functions and constants."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Sequence

import numpy as np

from evosearch.errors import InputError, unknown_name
from evosearch.rules.expression import Expression, Node
from evosearch.rules.parser import parse_expression
from evosearch.rules.primitives import PRIMITIVES
from evosearch.rules.rule import Rule
from evosearch.spaces.base import SequentialSpace

# What a building search may choose where constants come from a range; they are tuned later.
_N_GRID = 5


class RuleSpace(SequentialSpace):
    """All expressions of at most ``max_size`` nodes.

    Args:
        terminals: names that a rule may read, at least one.
        functions: names of primitives, at least one.
        constants: fixed constants that a rule may contain.
        ephemeral: range from which new constants are drawn uniformly; None for none.
        max_size: greatest number of nodes.
        form: ``"increment"`` or ``"absolute"``.

    Raises:
        InputError: a name is unknown, or a number out of range.

    Example:
        >>> import numpy as np
        >>> space = RuleSpace(("w", "pre", "post"), ("add", "mul"), max_size=7)
        >>> space.sample(np.random.default_rng(0))[0].size <= 7
        True
    """

    kind = "rule"

    def __init__(
        self,
        terminals: Sequence[str],
        functions: Sequence[str],
        *,
        constants: Sequence[float] = (),
        ephemeral: tuple[float, float] | None = None,
        max_size: int = 31,
        form: str = "increment",
    ) -> None:
        for name in functions:
            if name not in PRIMITIVES:
                raise unknown_name("function", name, PRIMITIVES)
        if not terminals or not functions:
            raise InputError("a rule space needs at least one terminal and one function.")
        if max_size < 1:
            raise InputError(f"max_size is {max_size}; it must be at least 1.")
        if not all(math.isfinite(constant) for constant in constants):
            raise InputError(f"constants are {list(constants)}; all must be finite.")
        if ephemeral is not None and not -math.inf < ephemeral[0] < ephemeral[1] < math.inf:
            raise InputError(f"ephemeral is {list(ephemeral)}; give two finite numbers, rising.")
        self.terminals = tuple(dict.fromkeys(terminals))
        self.functions = tuple(dict.fromkeys(functions))
        self.constants = tuple(dict.fromkeys(float(constant) for constant in constants))
        self.ephemeral = None if ephemeral is None else (float(ephemeral[0]), float(ephemeral[1]))
        self.max_size = max_size
        self.form = form
        self.unary = tuple(f for f in self.functions if PRIMITIVES[f].arity == 1)
        self.binary = tuple(f for f in self.functions if PRIMITIVES[f].arity == 2)
        self._leaves: tuple[Node, ...] = (*self.terminals, *self.constants)
        self._counts = _TreeCounts(
            len(self._leaves) + (self.ephemeral is not None), len(self.unary), len(self.binary)
        )

    def draw_constant(self, rng: np.random.Generator) -> float | None:
        """Draw a new constant: from the range, else one of the fixed ones; None without either."""
        if self.ephemeral is not None:
            return float(rng.uniform(*self.ephemeral))
        if self.constants:
            return self.constants[rng.integers(len(self.constants))]
        return None

    def sample(self, rng: np.random.Generator, n: int = 1) -> list[Expression]:
        """Draw uniformly over the possible sizes, then over the trees of the size."""
        sizes = self.possible_sizes(self.max_size)
        return [
            self.sample_of_size(sizes[k], rng) for k in rng.integers(len(sizes), size=n).tolist()
        ]

    def possible_sizes(self, largest: int) -> list[int]:
        """Return the sizes up to ``largest`` that a rule can have, e.g. 1, 3, 5 without unary."""
        return self._counts.possible_sizes(largest)

    def left_size_chances(self, size: int) -> list[float]:
        """Return cumulated chances that a root has a left operand of 0, 1, 2, … nodes, at random.

        An operand of 0 nodes stands for a unary root; ``size`` is one of those possible, above 1.
        """
        return self._counts.cumulative(size)

    def sample_of_size(self, size: int, rng: np.random.Generator) -> Expression:
        """Draw uniformly among the trees of ``size`` nodes; all constants of a range are one."""
        nodes: list[Node] = []
        stack = [size]
        while stack:
            part = stack.pop()
            if part == 1:
                nodes.append(self._draw_leaf(rng))
                continue
            left = self._counts.draw_left_size(part, float(rng.random()))
            if left == 0:
                nodes.append(self.unary[rng.integers(len(self.unary))])
                stack.append(part - 1)
            else:
                nodes.append(self.binary[rng.integers(len(self.binary))])
                stack.extend((part - 1 - left, left))
        return Expression(nodes)

    def mutate(self, genotype: Expression, rng: np.random.Generator) -> Expression:
        """Change one node, one constant, or replace or lift one subtree.

        Without a range of constants only the fixed ones occur.
        """
        kind = rng.integers(4)
        if kind == 0:
            return self._with_other_node(genotype, rng)
        if kind == 1 and genotype.constants and self.ephemeral is not None:
            return self._with_other_constant(genotype, rng)
        start = int(rng.integers(genotype.size))
        end = genotype.subtree_end(start)
        if kind == 2:
            inner = int(rng.integers(start, end))
            return genotype.replace(start, end, genotype.nodes[inner : genotype.subtree_end(inner)])
        room = self.max_size - genotype.size + (end - start)
        sizes = self.possible_sizes(min(room, 2 * (end - start) + 3))
        new = self.sample_of_size(sizes[rng.integers(len(sizes))], rng)
        return genotype.replace(start, end, new.nodes)

    def crossover(
        self, first: Expression, second: Expression, rng: np.random.Generator
    ) -> tuple[Expression, Expression]:
        """Swap two subtrees; a child that is too large is replaced by its first parent."""
        i, k = int(rng.integers(first.size)), int(rng.integers(second.size))
        i_end, k_end = first.subtree_end(i), second.subtree_end(k)
        left = first.replace(i, i_end, second.nodes[k:k_end])
        right = second.replace(k, k_end, first.nodes[i:i_end])
        return (
            left if left.size <= self.max_size else first,
            right if right.size <= self.max_size else second,
        )

    def neighbours(self, genotype: Expression) -> list[Expression]:
        """Return rules with one node exchanged, one subtree lifted, or one leaf grown."""
        found: dict[str, Expression] = {}
        ends = genotype.subtree_ends()
        leaves = self._grid_leaves()
        for position, node in enumerate(genotype.nodes):
            for other in self._same_arity(node, leaves):
                _note(found, genotype.replace(position, position + 1, (other,)))
            for inner in range(position + 1, ends[position]):
                part = genotype.nodes[inner : ends[inner]]
                _note(found, genotype.replace(position, ends[position], part))
            if ends[position] == position + 1:
                for grown in self._grown(node, leaves):
                    _note(found, genotype.replace(position, position + 1, grown))
        found.pop(repr(genotype.nodes), None)
        return [other for other in found.values() if other.size <= self.max_size]

    def actions(self, prefix: Sequence[Node]) -> list[Node]:
        """Return the nodes that may follow ``prefix`` so that the rule can end in time.

        Constants of a range are represented by five values evenly spaced over it.
        """
        missing = 1 + sum(Expression.arity(node) - 1 for node in prefix)
        if missing == 0:
            return []
        room = self.max_size - len(prefix) - missing
        allowed: list[Node] = list(self._grid_leaves())
        if room >= 1:
            allowed.extend(self.unary)
        if room >= 2:
            allowed.extend(self.binary)
        return allowed

    def decode(self, genotype: Expression) -> Rule:
        """Return the expression as a rule of the space's form."""
        return Rule(genotype, form=self.form)

    def encode_text(self, genotype: Expression) -> str:
        """Print the expression."""
        return str(genotype)

    def decode_text(self, text: str) -> Expression:
        """Parse an expression over the terminals of the space; any function is allowed."""
        return parse_expression(text, terminals=self.terminals)

    def key(self, genotype: Expression) -> str:
        """Return the nodes as text."""
        return repr(genotype.nodes)

    def _draw_leaf(self, rng: np.random.Generator) -> Node:
        k = rng.integers(len(self._leaves) + (self.ephemeral is not None))
        if k < len(self._leaves):
            return self._leaves[k]
        assert self.ephemeral is not None
        return float(rng.uniform(*self.ephemeral))

    def _with_other_node(self, genotype: Expression, rng: np.random.Generator) -> Expression:
        position = int(rng.integers(genotype.size))
        node = genotype.nodes[position]
        arity = Expression.arity(node)
        if arity == 0:
            return genotype.replace(position, position + 1, (self._draw_leaf(rng),))
        names = self.unary if arity == 1 else self.binary
        if not names:
            return genotype
        return genotype.replace(position, position + 1, (names[rng.integers(len(names))],))

    def _with_other_constant(self, genotype: Expression, rng: np.random.Generator) -> Expression:
        values = list(genotype.constants)
        k = rng.integers(len(values))
        values[k] = values[k] * (1 + 0.2 * rng.standard_normal()) + 0.02 * rng.standard_normal()
        return genotype.with_constants(values)

    def _grid_leaves(self) -> tuple[Node, ...]:
        if self.ephemeral is None:
            return self._leaves
        grid = np.linspace(*self.ephemeral, _N_GRID).tolist()
        return tuple(dict.fromkeys((*self._leaves, *grid)))

    def _same_arity(self, node: Node, leaves: Sequence[Node]) -> Sequence[Node]:
        arity = Expression.arity(node)
        if arity == 0:
            is_tunable = self.ephemeral is not None and not isinstance(node, str)
            near = (float(node) * 1.1, float(node) / 1.1) if is_tunable else ()
            return (*leaves, *near)
        return self.unary if arity == 1 else self.binary

    def _grown(self, node: Node, leaves: Sequence[Node]) -> list[tuple[Node, ...]]:
        grown: list[tuple[Node, ...]] = [(name, node) for name in self.unary]
        for name in self.binary:
            for leaf in leaves:
                grown.append((name, node, leaf))
                grown.append((name, leaf, node))
        return grown


def _note(found: dict[str, Expression], expression: Expression) -> None:
    found.setdefault(repr(expression.nodes), expression)


class _TreeCounts:
    """How many trees there are of each size, in logarithms, to draw them uniformly.

    T(1) = leaves; T(n) = unary T(n-1) + binary sum_k T(k) T(n-1-k).
    """

    def __init__(self, n_leaves: int, n_unary: int, n_binary: int) -> None:
        self._log_unary = math.log(n_unary) if n_unary else -math.inf
        self._log_binary = math.log(n_binary) if n_binary else -math.inf
        self._log_count = [-math.inf, math.log(n_leaves)]
        self._cumulative: dict[int, list[float]] = {}

    def possible_sizes(self, largest: int) -> list[int]:
        """Return the sizes up to ``largest`` that some tree has."""
        self._extend(largest)
        return [n for n in range(1, largest + 1) if self._log_count[n] > -math.inf]

    def draw_left_size(self, size: int, uniform: float) -> int:
        """Return the size of the root's left operand, 0 for a unary root."""
        cumulative = self.cumulative(size)
        return min(bisect_right(cumulative, uniform), len(cumulative) - 1)

    def cumulative(self, size: int) -> list[float]:
        """Return the cumulated chances of the sizes of a root's left operand, from 0 on."""
        self._extend(size)
        if size not in self._cumulative:
            logs = self._root_logs(size)
            weights = np.exp(logs - logs.max())
            self._cumulative[size] = (np.cumsum(weights) / weights.sum()).tolist()
        return self._cumulative[size]

    def _root_logs(self, size: int) -> np.ndarray:
        """Return log weights by left size: index 0 a unary root, k a binary one."""
        counts = np.array(self._log_count[: size - 1])
        logs = np.full(size - 1, -math.inf)
        logs[0] = self._log_unary + self._log_count[size - 1]
        logs[1:] = self._log_binary + counts[1:] + counts[:0:-1]
        return logs

    def _extend(self, size: int) -> None:
        while len(self._log_count) <= size:
            logs = self._root_logs(len(self._log_count))
            largest = logs.max()
            if largest == -math.inf:
                self._log_count.append(-math.inf)
            else:
                total = float(largest + np.log(np.exp(logs - largest).sum()))
                self._log_count.append(total)
