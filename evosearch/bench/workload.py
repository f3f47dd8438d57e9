"""What is lived in a measurement: random rules on one layer, from 1x3 to 256x784."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from evosearch.engine.lifetime import Lifetime
from evosearch.engine.program import Program
from evosearch.engine.run import LifeResult, Tier, run_lifetimes
from evosearch.engine.sample import TERMINALS, layer_life
from evosearch.rules.expression import Expression
from evosearch.rules.lower import lower
from evosearch.rules.rule import Rule

ETA = 1e-3
N_NODES = 9
ARITHMETIC = ("add", "sub", "mul", "div")
FUNCTIONS = ("tanh", "exp")
FUNCTION_SHARE = 0.15
"""Of the inner nodes, in the second of the two function sets."""


@dataclass(frozen=True)
class Workload:
    """Rules and the life that each of them lives, on every draw."""

    n_out: int
    n_in: int
    rules: Sequence[Rule]
    programs: Sequence[Program]
    life: Lifetime

    @property
    def n_lifetimes(self) -> int:
        """Lives of one pass: rules times draws."""
        return len(self.rules) * self.life.n_draws

    def run(self, tier: Tier = "auto", device: str = "cpu") -> LifeResult:
        """Live all lives once."""
        return run_lifetimes(self.life, self.programs, ETA, tier=tier, device=device)


def make_workload(
    n_out: int, n_in: int, *, n_draws: int, n_rules: int, steps: int, function_share: float = 0.0
) -> Workload:
    """Draw rules and data, the same ones every time."""
    rng = np.random.default_rng(1)
    rules = [random_rule(rng, N_NODES, function_share) for _ in range(n_rules)]
    life = layer_life(n_out, n_in, steps, n_draws)
    return Workload(n_out, n_in, rules, [lower(rule, TERMINALS) for rule in rules], life)


def random_rule(rng: np.random.Generator, n_nodes: int, function_share: float = 0.0) -> Rule:
    """Draw a tree over + - * / with ``n_nodes`` nodes; a fifth of its leaves are constants.

    Args:
        rng: where numbers come from.
        n_nodes: size of the tree, odd where there are no functions.
        function_share: share of inner nodes that are tanh or exp; some more are where a tree of
            even size ends.
    """
    nodes: list[str | float] = []
    stack = [n_nodes]
    while stack:
        size = stack.pop()
        if size == 1:
            is_terminal = rng.random() < 0.8
            leaf = TERMINALS[rng.integers(3)].name if is_terminal else rng.uniform(0.5, 1.5)
            nodes.append(leaf if isinstance(leaf, str) else float(np.float32(leaf)))
        elif size == 2 or (function_share and rng.random() < function_share):
            nodes.append(FUNCTIONS[rng.integers(2)])
            stack.append(size - 1)
        else:
            left = _left_size(rng, size, bool(function_share))
            nodes.append(ARITHMETIC[rng.integers(4)])
            stack += [size - 1 - left, left]
    return Rule(Expression(nodes))


def _left_size(rng: np.random.Generator, size: int, is_any: bool) -> int:
    """Return the size of the first operand of a binary node; odd unless ``is_any``."""
    if is_any:
        return int(rng.integers(1, size - 1))
    return 2 * int(rng.integers(0, (size - 1) // 2)) + 1
