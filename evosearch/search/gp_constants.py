"""Tune the constants of good rules while the search for structures goes on."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from evosearch.outcome import FloatArray
from evosearch.rules.expression import Expression

_STEP = 0.3
_SHORTEST_STEP = 1e-3
_LONGEST_STEP = 1.0
_ON_SUCCESS = 1.1
_ON_FAILURE = 0.75
# Fewer trials say less: the step size shrinks less after them.
_ENOUGH_TRIALS = 8
_FLOOR = 0.1


@dataclass(frozen=True)
class Trial:
    """One proposal: candidate number ``index`` of a batch, made with steps of ``step``."""

    index: int
    structure: str
    step: float
    parent_fitness: float


class ConstantTuner:
    """A (1 + lambda) evolution strategy on the constants of each of a few structures.

    Each trial draws its own step size about the one of its structure; a trial that is better
    hands its step size on, and a structure whose trials all fail gets a shorter one, until it
    counts as tuned. Steps are in proportion to a constant.

    Source: H.-P. Schwefel, "Numerical Optimization of Computer Models", 1981 (self-adaptation).
    """

    def __init__(self, rng: np.random.Generator) -> None:
        self._rng = rng
        self._steps: dict[str, float] = {}

    def chosen(self, rules: Iterable[Expression], n: int) -> list[int]:
        """Return the first ``n`` rules with constants yet to tune, one a structure."""
        found: dict[str, int] = {}
        for index, rule in enumerate(rules):
            structure = structure_of(rule)
            if rule.constants and structure not in found and not self._is_tuned(structure):
                found[structure] = index
            if len(found) == n:
                break
        return list(found.values())

    def propose(self, rule: Expression, n: int) -> tuple[list[Expression], list[float]]:
        """Return the rule n times with other constants, and the size of the steps of each."""
        rng, values = self._rng, np.array(rule.constants)
        spread = np.exp(0.7 * rng.standard_normal(n))
        steps = np.clip(self._steps.get(structure_of(rule), _STEP) * spread, 1e-6, _LONGEST_STEP)
        is_moved = rng.random((n, len(values))) < 0.7
        is_moved[np.arange(n), rng.integers(len(values), size=n)] = True
        moves = steps[:, None] * (np.abs(values) + _FLOOR) * rng.standard_normal(is_moved.shape)
        found = np.where(is_moved, values + moves, values)
        found = np.where(np.isfinite(found), found, values)
        return [_with_constants(rule, row) for row in found.tolist()], steps.tolist()

    def learn(self, trials: Sequence[Trial], fitness: FloatArray) -> None:
        """Adapt the step size of each structure to its trials; ``fitness`` is of the batch."""
        for structure in dict.fromkeys(trial.structure for trial in trials):
            own = [t for t in trials if t.structure == structure]
            best = max(own, key=lambda trial: fitness[trial.index])
            if fitness[best.index] > best.parent_fitness:
                self._steps[structure] = _ON_SUCCESS * best.step
            else:
                shrunk = _ON_FAILURE ** min(1.0, len(own) / _ENOUGH_TRIALS)
                self._steps[structure] = shrunk * self._steps.get(structure, _STEP)

    def to_list(self) -> list[list[str | float]]:
        """Return the step size of each structure as JSON."""
        return [[structure, step] for structure, step in self._steps.items()]

    def load(self, steps: Sequence[Sequence[str | float]]) -> None:
        """Take over what ``to_list`` returned."""
        self._steps = {str(structure): float(step) for structure, step in steps}

    def _is_tuned(self, structure: str) -> bool:
        return self._steps.get(structure, _STEP) < _SHORTEST_STEP


def _with_constants(rule: Expression, values: Sequence[float]) -> Expression:
    """Return the same structure with other constants, all finite, which is not checked again."""
    left = iter(values)
    nodes = tuple(node if isinstance(node, str) else next(left) for node in rule.nodes)
    return Expression.made_of(nodes)


def structure_of(rule: Expression) -> str:
    """Return the nodes as text, with ``#`` for each constant."""
    return " ".join(node if isinstance(node, str) else "#" for node in rule.nodes)
