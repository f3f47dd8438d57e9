"""Numbers that a candidate carries beside its rule: settings of the life, coefficients, weights.

A rule text gives them as further parts, ``dw = -post*pre; decay = 0.95``; what it leaves out
begins where the catalogue says.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from evosearch.errors import InputError
from evosearch.rules.expression import Expression
from evosearch.rules.rule import Rule


@dataclass(frozen=True)
class Gene:
    """One number that a task lets a candidate choose.

    Attributes:
        name: the word used in rule text.
        low: its least value.
        high: its greatest value.
        start: its value where a rule does not give one, and where searches begin.
        meaning: one phrase for people.
        is_log: whether searches step in proportion to it; ``low`` is above 0 then.

    Example:
        >>> decay = Gene("decay", 0.5, 1.0, 0.9)
        >>> decay.at(0.5), round(decay.place(0.75), 6)
        (0.75, 0.5)
    """

    name: str
    low: float
    high: float
    start: float
    meaning: str = ""
    is_log: bool = False

    def at(self, place: float) -> float:
        """Return the value at a place from 0, the least, to 1, the greatest; others are moved."""
        place = min(max(place, 0.0), 1.0)
        if place in (0.0, 1.0):
            return self.high if place else self.low
        if self.is_log:
            value = self.low * (self.high / self.low) ** place
        else:
            value = self.low + (self.high - self.low) * place
        # Twelve digits: so a value that was given comes back as it was written.
        return min(max(float(f"{value:.12g}"), self.low), self.high)

    def place(self, value: float) -> float:
        """Return the place of a value; the inverse of ``at``."""
        if self.is_log:
            return math.log(value / self.low) / math.log(self.high / self.low)
        return (value - self.low) / (self.high - self.low)


def split_genes(rule: Rule, genes: Sequence[Gene]) -> tuple[Rule, NDArray[np.float64]]:
    """Return the rule without its genes, and their values (g,) in the order of ``genes``.

    Raises:
        InputError: a gene is given by more than a number, or lies out of its range.
    """
    if not genes:
        return rule, np.zeros(0)
    values = [gene.start for gene in genes]
    parts = dict(rule.parts)
    for k, gene in enumerate(genes):
        if gene.name in parts:
            values[k] = _number(gene, parts.pop(gene.name))
    return Rule(parts), np.array(values)


def with_genes(rule: Rule, genes: Sequence[Gene], values: Sequence[float]) -> Rule:
    """Return the rule with values of some genes as further parts."""
    given = {
        gene.name: Expression((float(value),)) for gene, value in zip(genes, values, strict=True)
    }
    return Rule({**rule.parts, **given})


def _number(gene: Gene, expression: Expression) -> float:
    value = expression.nodes[-1]
    if not expression.is_number or isinstance(value, str):
        raise InputError(f"{gene.name} = {expression}: the gene {gene.name} must be a number.")
    value = -value if len(expression.nodes) == 2 else value
    if not gene.low <= value <= gene.high:
        raise InputError(
            f"{gene.name} = {value:g}: the gene {gene.name} must lie in [{gene.low:g}, "
            f"{gene.high:g}]."
        )
    return value
