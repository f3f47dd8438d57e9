"""Genomes of two parts: a rule, and numbers that say how the network lives."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from evosearch.errors import InputError
from evosearch.rules.expression import Expression
from evosearch.rules.genes import Gene, split_genes, with_genes
from evosearch.rules.parser import parse
from evosearch.rules.rule import Rule
from evosearch.spaces.base import Space
from evosearch.spaces.rule import RuleSpace

_STEP = 0.1
"""Steps of a gene's place between its least and greatest value."""


@dataclass(frozen=True)
class Genome:
    """A rule's expression and the places of its genes, each from 0 to 1."""

    rule: Expression
    places: tuple[float, ...]

    @property
    def size(self) -> int:
        """Nodes of the rule."""
        return self.rule.size


class GenomeSpace(Space):
    """All pairs of a rule of a space of rules and values of genes.

    Args:
        rules: what rules may be made of.
        genes: numbers that a genome holds beside its rule, at least one.

    Raises:
        InputError: there is no gene.
    """

    kind = "genome"

    def __init__(self, rules: RuleSpace, genes: Sequence[Gene]) -> None:
        if not genes:
            raise InputError("a space of genomes needs at least one gene.")
        self.rules = rules
        self.genes = tuple(genes)

    def sample(self, rng: np.random.Generator, n: int = 1) -> list[Genome]:
        """Draw rules as their space does, and the places of genes uniformly."""
        rules = self.rules.sample(rng, n)
        places = rng.random((n, len(self.genes))).tolist()
        return [Genome(*pair) for pair in zip(rules, map(tuple, places), strict=True)]

    def mutate(self, genotype: Genome, rng: np.random.Generator) -> Genome:
        """Change the rule, or move one gene, or both."""
        kind = rng.integers(3)
        rule = self.rules.mutate(genotype.rule, rng) if kind != 0 else genotype.rule
        return Genome(rule, self.moved(genotype.places, rng) if kind != 1 else genotype.places)

    def moved(self, places: tuple[float, ...], rng: np.random.Generator) -> tuple[float, ...]:
        """Move one gene by N(0, 0.1) of its range."""
        k = int(rng.integers(len(places)))
        place = float(np.clip(places[k] + _STEP * rng.standard_normal(), 0.0, 1.0))
        return (*places[:k], place, *places[k + 1 :])

    def crossover(
        self, first: Genome, second: Genome, rng: np.random.Generator
    ) -> tuple[Genome, Genome]:
        """Swap two subtrees, and each gene with probability a half."""
        left, right = self.rules.crossover(first.rule, second.rule, rng)
        pairs = list(zip(first.places, second.places, strict=True))
        is_swapped = rng.random(len(pairs)) < 0.5
        swapped = [pair[::-1] if s else pair for pair, s in zip(pairs, is_swapped, strict=True)]
        return (
            Genome(left, tuple(pair[0] for pair in swapped)),
            Genome(right, tuple(pair[1] for pair in swapped)),
        )

    def neighbours(self, genotype: Genome) -> list[Genome]:
        """Return the rule's neighbours with the same genes, then steps of a tenth of each gene."""
        found = [Genome(rule, genotype.places) for rule in self.rules.neighbours(genotype.rule)]
        for k, place in enumerate(genotype.places):
            for other in (max(0.0, place - _STEP), min(1.0, place + _STEP)):
                if other != place:
                    places = (*genotype.places[:k], other, *genotype.places[k + 1 :])
                    found.append(Genome(genotype.rule, places))
        return found

    def start(self, rule: Expression) -> Genome:
        """Return a rule with all genes where they begin."""
        return Genome(rule, tuple(gene.place(gene.start) for gene in self.genes))

    def decode(self, genotype: Genome) -> Rule:
        """Return the rule with its genes as further parts."""
        values = [gene.at(place) for gene, place in zip(self.genes, genotype.places, strict=True)]
        return with_genes(self.rules.decode(genotype.rule), self.genes, values)

    def encode_text(self, genotype: Genome) -> str:
        """Write the rule and the places of its genes, which read back exactly."""
        numbers = ", ".join(repr(place) for place in genotype.places)
        return f"{genotype.rule} | {numbers}"

    def decode_text(self, text: str) -> Genome:
        """Read what ``encode_text`` wrote, or a rule with genes as its further parts."""
        rule, mark, numbers = text.partition("|")
        if not mark:
            return self._read_rule(text)
        try:
            places = tuple(float(number) for number in numbers.split(","))
        except ValueError:
            raise InputError(f"{numbers.strip()[:60]!r} is no list of numbers.") from None
        if len(places) != len(self.genes) or not all(0.0 <= place <= 1.0 for place in places):
            raise InputError(
                f"{numbers.strip()[:60]!r} must be {len(self.genes)} numbers from 0 to 1."
            )
        return Genome(self.rules.decode_text(rule), places)

    def key(self, genotype: Genome) -> str:
        """Return nodes and places as text."""
        return f"{self.rules.key(genotype.rule)} {genotype.places!r}"

    def _read_rule(self, text: str) -> Genome:
        rule, values = split_genes(parse(text, terminals=self.rules.terminals), self.genes)
        pairs = zip(self.genes, values.tolist(), strict=True)
        return Genome(rule.main, tuple(gene.place(value) for gene, value in pairs))
