"""What a beam holds and what follows from it: whole candidates and their edits, or beginnings."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import numpy as np

from evosearch.outcome import FloatArray
from evosearch.search.base import State
from evosearch.search.construction import Codes, Construction, codes_text, read_codes

Scored: TypeAlias = tuple[Any, float]
"""A candidate and its fitness."""
Choose: TypeAlias = Callable[[FloatArray], list[int]]
"""Which of n things with fitness (n,) a beam keeps, the best first."""


class Beam(ABC):
    """One descent: what the beam holds, and its successors level by level."""

    @abstractmethod
    def begin(self) -> list[Any]:
        """Start afresh; return the candidates to score first."""

    @abstractmethod
    def advance(self, scored: Sequence[Scored], choose: Choose) -> list[Any]:
        """Keep the best of what was scored; return their successors, none where it ends."""

    @abstractmethod
    def state(self) -> State:
        """Return what it holds as JSON and arrays."""

    @abstractmethod
    def load(self, state: State) -> None:
        """Take over what ``state`` returned."""


class EditBeam(Beam):
    """Whole candidates; their successors are the neighbours of the space.

    Args:
        space: with ``neighbours``.
        rng: draws the start and the successors.
        initial: random candidates of a start.
        children: successors of each member, drawn without repeats; 0 for all.
    """

    def __init__(self, space: Any, rng: np.random.Generator, initial: int, children: int) -> None:
        self._space, self._rng = space, rng
        self._initial, self._children = initial, children
        self._members: list[Scored] = []

    def begin(self) -> list[Any]:
        """Draw random candidates."""
        self._members = []
        return self._space.sample(self._rng, self._initial)

    def advance(self, scored: Sequence[Scored], choose: Choose) -> list[Any]:
        """Keep the best of the members and those scored, and edit each of them once."""
        pool = [*self._members, *scored]
        chosen = choose(np.array([fitness for _, fitness in pool]))
        self._members = [pool[k] for k in chosen]
        return [child for parent, _ in self._members for child in self._edits(parent)]

    def state(self) -> State:
        """Return the members."""
        return {
            "members": [self._space.encode_text(genotype) for genotype, _ in self._members],
            "member_fitness": np.array([fitness for _, fitness in self._members]),
        }

    def load(self, state: State) -> None:
        """Take over the members."""
        genotypes = [self._space.decode_text(text) for text in state["members"]]
        fitness = np.asarray(state["member_fitness"], dtype=np.float64).tolist()
        self._members = list(zip(genotypes, fitness, strict=True))

    def _edits(self, parent: Any) -> list[Any]:
        neighbours = self._space.neighbours(parent)
        if not self._children or self._children >= len(neighbours):
            return neighbours
        drawn = self._rng.choice(len(neighbours), self._children, replace=False)
        return [neighbours[k] for k in drawn.tolist()]


class PrefixBeam(Beam):
    """Beginnings of candidates; a beginning is worth as much as its best known playout.

    Source: T. Cazenave, "Monte Carlo Beam Search", IEEE TCIAIG 4, 2012.

    Args:
        construction: what is built.
        rng: draws the playouts.
        children: playouts after each beginning, at least one.
    """

    def __init__(self, construction: Construction, rng: np.random.Generator, children: int) -> None:
        self._construction, self._rng = construction, rng
        self._children = max(1, children)
        self._depth = 0
        self._playouts: dict[Codes, float] = {}

    def begin(self) -> list[Any]:
        """Play out every first symbol."""
        self._depth, self._playouts = 0, {}
        return self._played_out([()])

    def advance(self, scored: Sequence[Scored], choose: Choose) -> list[Any]:
        """Keep the best beginnings that are one symbol longer, and play out what follows them."""
        for genotype, fitness in scored:
            self._playouts[self._construction.codes_of(genotype)] = fitness
        self._depth += 1
        values: dict[Codes, float] = {}
        for codes, fitness in self._playouts.items():
            if len(codes) >= self._depth:
                beginning = codes[: self._depth]
                values[beginning] = max(fitness, values.get(beginning, -np.inf))
        beginnings = sorted(values)
        chosen = choose(np.array([values[beginning] for beginning in beginnings]))
        kept = [beginnings[k] for k in chosen]
        is_kept = set(kept)
        self._playouts = {
            codes: fitness
            for codes, fitness in self._playouts.items()
            if codes[: self._depth] in is_kept
        }
        return self._played_out(kept)

    def state(self) -> State:
        """Return the playouts that begin as the beam does."""
        return {
            "depth": self._depth,
            "playouts": [codes_text(codes) for codes in self._playouts],
            "playout_fitness": np.array(list(self._playouts.values())),
        }

    def load(self, state: State) -> None:
        """Take over the playouts."""
        self._depth = int(state["depth"])
        fitness = np.asarray(state["playout_fitness"], dtype=np.float64).tolist()
        codes = [read_codes(text) for text in state["playouts"]]
        self._playouts = dict(zip(codes, fitness, strict=True))

    def _played_out(self, beginnings: Sequence[Codes]) -> list[Any]:
        made: list[Any] = []
        for beginning in beginnings:
            partial = self._construction.start(beginning)
            if partial.is_complete:
                continue
            for code in self._construction.choices(partial).codes.tolist():
                for _ in range(self._children):
                    codes = self._construction.playout((*beginning, code), self._rng)
                    made.append(self._construction.genotype(codes))
        return made
