"""MAP-Elites: the best candidate of each size and behaviour."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from pydantic import Field, model_validator

from evosearch.errors import unknown_name
from evosearch.outcome import Evaluation, FloatArray
from evosearch.rules.expression import Expression
from evosearch.search.base import SEARCHES, State
from evosearch.search.known import KnownSettings
from evosearch.search.proposals import Proposals
from evosearch.search.remembering import RememberingSearch
from evosearch.search.semantics import probe_values

_MAX_TRIES = 20
_SEED = 20_150_415


class MapElitesSettings(KnownSettings):
    """Settings of ``map-elites``."""

    population: int = Field(100, ge=1, le=1_000_000, description="candidates asked at a time")
    initial: int = Field(20, ge=1, le=1_000_000, description="random candidates of the start")
    descriptor: Literal["terminals", "behaviour", "metric"] = Field(
        "terminals",
        description="second axis beside size: which terminals are read, the signs of the values on "
        "fixed random directions, or a figure of the problem",
    )
    directions: int = Field(4, ge=1, le=16, description="directions of ``behaviour``: 2^n cells")
    metric: str = Field("", description="name of the figure where descriptor = metric")
    low: float = Field(0.0, description="lower end of the figure's cells")
    high: float = Field(1.0, description="upper end of the figure's cells")
    cells: int = Field(10, ge=1, le=10_000, description="cells between low and high")
    p_crossover: float = Field(0.3, ge=0, le=1, description="share of children with two parents")
    p_best: float = Field(
        0.8,
        ge=0,
        le=1,
        description="share of parents taken among the best of each size; the rest from any cell",
    )

    @model_validator(mode="after")
    def _has_range(self) -> MapElitesSettings:
        if not self.low < self.high:
            raise ValueError("low must be less than high")
        if (self.descriptor == "metric") != bool(self.metric):
            raise ValueError("metric must be named where descriptor is 'metric', and only there")
        return self


@dataclass(frozen=True)
class Elite:
    """The best candidate of a cell.

    Attributes:
        cell: size of the decoded rule, and a number on the second axis.
        genotype: the candidate.
        fitness: its fitness.
    """

    cell: tuple[int, int]
    genotype: Any
    fitness: float


@SEARCHES.register("map-elites")
class MapElites(RememberingSearch):
    """MAP-Elites over size and behaviour: an archive that keeps the best candidate of each cell.

    Parents are drawn from the cells, children by mutation or crossover; a child takes the place of
    the candidate of its cell if it is better. So rules that differ in size or in what they compute
    do not compete, and the archive at the end holds families of rules. Plain MAP-Elites draws
    parents uniformly (``p_best = 0``).

    Source: J.-B. Mouret, J. Clune, "Illuminating Search Spaces by Mapping Elites",
    arXiv 1504.04909, 2015.
    """

    name = "map-elites"
    Settings = MapElitesSettings

    def __init__(self, space: Any, *, seed: int = 0, **settings: Any) -> None:
        super().__init__(space, seed=seed, **settings)
        self._proposals = Proposals(space, self._rng)
        self._elites: dict[tuple[int, int], Elite] = {}
        self._names = _terminals(space)

    def ask(self) -> list[Any]:
        """Return children of the archive, random candidates at the start."""
        if not self._elites:
            return self._new(self.settings.initial, self._random)
        best = list(self._best_of_sizes().values())
        everyone = list(self._elites.values())
        with self._proposals.lent():
            children = self._new(self.settings.population, lambda: self._child(best, everyone))
        return children or self.space.sample(self._rng, self.settings.population)

    def tell(self, candidates: Sequence[Any], evaluation: Evaluation) -> None:
        """Put each candidate into its cell where it is better than what is there."""
        fitness = self._noted(candidates, evaluation)
        figures = self._figures(evaluation)
        for k, candidate in enumerate(candidates):
            if fitness[k] == -np.inf or (figures is not None and not np.isfinite(figures[k])):
                continue
            cell = self._cell(candidate, None if figures is None else float(figures[k]))
            before = self._elites.get(cell)
            if before is None or fitness[k] > before.fitness:
                self._elites[cell] = Elite(cell, candidate, float(fitness[k]))

    def families(self) -> list[Elite]:
        """Return the elites, the best first, the smaller one first among equals."""
        return sorted(self._elites.values(), key=lambda elite: (-elite.fitness, elite.cell))

    def favourites(self) -> list[Any]:
        """Return the best of each size."""
        return [elite.genotype for elite in self._best_of_sizes().values()]

    def summary(self) -> str:
        """Say how many cells are filled."""
        n, sizes = len(self._elites), {cell[0] for cell in self._elites}
        return f"{n:,} cells of {len(sizes)} sizes hold a candidate." if n else ""

    def _state(self) -> State:
        elites = list(self._elites.values())
        return {
            "cells": [list(elite.cell) for elite in elites],
            "genotypes": [self.space.encode_text(elite.genotype) for elite in elites],
            "fitness": np.array([elite.fitness for elite in elites]),
        }

    def _load(self, state: State) -> None:
        fitness = np.asarray(state["fitness"], dtype=np.float64).tolist()
        parts = zip(state["cells"], state["genotypes"], fitness, strict=True)
        self._elites = {
            (int(cell[0]), int(cell[1])): Elite(
                (int(cell[0]), int(cell[1])), self.space.decode_text(text), value
            )
            for cell, text, value in parts
        }

    def _cell(self, genotype: Any, figure: float | None) -> tuple[int, int]:
        s, rule = self.settings, self.space.decode(genotype).main
        if figure is not None:
            share = (figure - s.low) / (s.high - s.low)
            return rule.size, int(np.clip(share * s.cells, 0, s.cells - 1))
        if s.descriptor == "behaviour":
            return rule.size, behaviour_of(rule, s.directions)
        return rule.size, terminals_of(rule, self._names)

    def _figures(self, evaluation: Evaluation) -> FloatArray | None:
        """Return the figure of each candidate (n,), where it makes the second axis."""
        if self.settings.descriptor != "metric":
            return None
        name = self.settings.metric
        if name not in evaluation.metrics:
            raise unknown_name("metric of the problem", name, evaluation.metrics)
        return np.asarray(evaluation.metrics[name], dtype=np.float64)

    def _best_of_sizes(self) -> dict[int, Elite]:
        found: dict[int, Elite] = {}
        for cell, elite in sorted(self._elites.items()):
            before = found.get(cell[0])
            if before is None or elite.fitness > before.fitness:
                found[cell[0]] = elite
        return found

    def _parent(self, best: Sequence[Elite], everyone: Sequence[Elite]) -> Any:
        pool = best if self._rng.random() < self.settings.p_best else everyone
        return pool[int(self._rng.integers(len(pool)))].genotype

    def _child(self, best: Sequence[Elite], everyone: Sequence[Elite]) -> Any:
        parent = self._parent(best, everyone)
        if self._rng.random() < self.settings.p_crossover:
            return self._proposals.crossed(parent, self._parent(best, everyone))
        return self._proposals.mutated(parent)

    def _random(self) -> Any:
        return self.space.sample(self._rng)[0]

    def _new(self, n: int, make: Any) -> list[Any]:
        """Make up to ``n`` candidates whose functions are not known; fewer after many tries."""
        made: dict[int, Any] = {}
        for _ in range(n * _MAX_TRIES):
            if len(made) == n:
                break
            candidate = make()
            key = self._known.key(candidate) if self.settings.skip_equal else len(made)
            if key not in made and self._known.fitness(key) is None:
                made[key] = candidate
        return list(made.values())


def terminals_of(rule: Expression, names: Sequence[str]) -> int:
    """Return which terminals of the space a rule reads, as bits in their order."""
    return sum(1 << k for k, name in enumerate(names) if name in rule.terminals)


def _terminals(space: Any) -> tuple[str, ...]:
    if space.kind == "rule":
        return space.terminals
    return tuple(sorted(frozenset[str]().union(*(entry.terminals for entry in space.entries))))


def behaviour_of(rule: Expression, n_directions: int) -> int:
    """Return the signs of a rule's values, less their mean, on fixed random directions, as bits.

    Rules in proportion to each other with a positive factor share a cell, and so do rules that
    differ by a constant.

    Source: M. Charikar, "Similarity Estimation Techniques from Rounding Algorithms", STOC 2002.
    """
    values = np.nan_to_num(probe_values(rule), posinf=0.0, neginf=0.0)
    directions = np.random.default_rng(_SEED).standard_normal((16, len(values)))
    signs = directions[:n_directions] @ (values - values.mean()) > 0.0
    return int(sum(1 << k for k in np.flatnonzero(signs).tolist()))
