"""What is known of one candidate on given draws, and the key under which it is remembered."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from evosearch.outcome import FloatArray
from evosearch.rules.rule import Rule

MAX_REMEMBERED = 200_000


@dataclass(frozen=True)
class Outcome:
    """One candidate's result at its best step size.

    Attributes:
        status: a word of ``STATUSES``.
        fitness: aggregated over draws, ``-inf`` unless ok.
        per_draw: (D,) fitness, NaN unless ok.
        scale: factor of the step size at which it scored best.
        exploded: share of draws that ended in a non-finite value.
        message: what went wrong.
        metrics: further figures.
    """

    status: str
    fitness: float
    per_draw: FloatArray
    scale: float = 1.0
    exploded: float = 0.0
    message: str = ""
    metrics: dict[str, float] = field(default_factory=dict)


def failure(status: str, message: str, n_draws: int, scale: float) -> Outcome:
    """Return the outcome of a candidate that has no fitness."""
    text = " ".join(message.split())[:300]
    return Outcome(status, -np.inf, np.full(n_draws, np.nan), scale, message=text)


def best_outcome(parts: Iterable[Outcome]) -> Outcome:
    """Return the best of one candidate's outcomes at several step sizes, the first among equals.

    A candidate is ok if it is at one of them.
    """
    best: Outcome | None = None
    for part in parts:
        # the fitness of one that is not ok is -inf
        if best is None or part.fitness > best.fitness:
            best = part
    assert best is not None, "a candidate is scored at one step size at least"
    return best


def candidate_keys(candidates: Sequence[Any]) -> list[Hashable]:
    """Return what is equal for candidates that behave alike.

    Rules are told apart by their fingerprint and, as floats round, by their constants.
    """
    rules = [candidate for candidate in candidates if isinstance(candidate, Rule)]
    keys: Iterator[Hashable] = iter(_rule_keys(rules))
    return [
        next(keys) if isinstance(candidate, Rule) else np.asarray(candidate).tobytes()
        for candidate in candidates
    ]


def _rule_keys(rules: Sequence[Rule]) -> list[Hashable]:
    if not rules:
        return []
    from evosearch.rules.fingerprint import behaviours

    return [
        (behaviour, _constants_of(rule))
        for behaviour, rule in zip(behaviours(rules), rules, strict=True)
    ]


def _constants_of(rule: Rule) -> str:
    """Return the distinct constants of a rule as text, in order."""
    found = {
        node
        for expression in rule.parts.values()
        for node in expression.nodes
        if not isinstance(node, str)
    }
    return ",".join(map(repr, sorted(found)))


class OutcomeCache:
    """Outcomes by candidate for one set of draws and step sizes; another set empties it.

    The oldest are forgotten beyond ``MAX_REMEMBERED``, in the order in which they came, so that
    a resumed run, which is told the same outcomes in the same order, remembers the same.
    """

    def __init__(self) -> None:
        self._context: tuple[str, tuple[float, ...]] | None = None
        self._outcomes: dict[Hashable, Outcome] = {}

    def enter(self, context: tuple[str, tuple[float, ...]]) -> None:
        """Turn to one set of draws and step sizes."""
        if context != self._context:
            self._context = context
            self._outcomes.clear()

    def get(self, key: Hashable) -> Outcome | None:
        """Return what is known under ``key``."""
        return self._outcomes.get(key)

    def __getitem__(self, key: Hashable) -> Outcome:
        return self._outcomes[key]

    def add(self, key: Hashable, outcome: Outcome) -> None:
        """Remember an outcome."""
        self._outcomes[key] = outcome
        if len(self._outcomes) > MAX_REMEMBERED:
            del self._outcomes[next(iter(self._outcomes))]
