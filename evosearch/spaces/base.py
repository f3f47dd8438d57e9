"""What every space offers; a search that needs only these methods works on any of them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Hashable, Sequence
from typing import Any, ClassVar

import numpy as np


class Space(ABC):
    """A set of candidates.

    A *genotype* is what a search varies: an :class:`~evosearch.rules.expression.Expression` for
    rules, an array for tables and vectors. ``decode`` turns it into what is scored.

    Attributes:
        kind: ``"rule"``, ``"formula"``, ``"genome"``, ``"coefficients"``, ``"table"`` or
            ``"vector"``.
    """

    kind: ClassVar[str]

    @abstractmethod
    def sample(self, rng: np.random.Generator, n: int = 1) -> list[Any]:
        """Draw ``n`` genotypes, independent and uniform in the sense that the space documents."""

    @abstractmethod
    def mutate(self, genotype: Any, rng: np.random.Generator) -> Any:
        """Return a changed copy."""

    @abstractmethod
    def crossover(self, first: Any, second: Any, rng: np.random.Generator) -> tuple[Any, Any]:
        """Return two genotypes, each made of parts of both."""

    @abstractmethod
    def neighbours(self, genotype: Any) -> list[Any]:
        """Return the genotypes one smallest step away, in a fixed order, without ``genotype``."""

    @abstractmethod
    def decode(self, genotype: Any) -> Any:
        """Return the candidate that is scored: a Rule, or an array; pure."""

    @abstractmethod
    def encode_text(self, genotype: Any) -> str:
        """Write ``genotype`` as text that ``decode_text`` reads back exactly."""

    @abstractmethod
    def decode_text(self, text: str) -> Any:
        """Read what ``encode_text`` wrote; raises InputError for anything else."""

    @abstractmethod
    def key(self, genotype: Any) -> Hashable:
        """Return a value that is equal for equal genotypes, to find repeats."""


class SequentialSpace(Space):
    """A space whose genotypes can be built one choice at a time, from the left."""

    @abstractmethod
    def actions(self, prefix: Sequence[Any]) -> list[Any]:
        """Return the choices that may follow ``prefix``; none where it is complete."""
