"""Cartesian genetic programming."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from pydantic import Field

from evosearch.outcome import Evaluation, FloatArray
from evosearch.rules.expression import Expression
from evosearch.search.base import SEARCHES, State, usable_fitness
from evosearch.search.cgp_graph import Graph, Grid
from evosearch.search.known import KnownSettings, fitness_behind
from evosearch.search.remembering import SearchInRounds

_MAX_TRIES = 50


class CgpSettings(KnownSettings):
    """Settings of ``cgp``."""

    population: int = Field(
        40, ge=1, le=1_000_000, description="children a generation, of all lines together"
    )
    children: int = Field(4, ge=1, le=1_000_000, description="children of a line, lambda")
    nodes: int = Field(30, ge=1, le=10_000, description="nodes of a graph, active or not")
    constants: int = Field(
        3, ge=0, le=1000, description="free constants of a graph, where the space has a range"
    )
    rate: float = Field(0.05, gt=0, le=1, description="probability that a gene mutates")
    patience: int = Field(
        200, ge=1, description="generations without a gain after which a line starts afresh"
    )


@dataclass
class Line:
    """A line of parents: the one that lives, its fitness, and generations without a gain."""

    parent: Graph
    fitness: float = -np.inf
    n_stalled: int = 0

    def accept(self, child: Graph, fitness: float) -> None:
        """Let a child that is as good take the parent's place: neutral changes accumulate."""
        self.n_stalled = 0 if fitness > self.fitness else self.n_stalled + 1
        if fitness >= self.fitness:
            self.parent, self.fitness = child, fitness


_Trial: TypeAlias = tuple[Line, Graph, int | float]
"""A child of a line, and its ticket."""


@SEARCHES.register("cgp")
class CartesianProgramming(SearchInRounds[_Trial]):
    """Cartesian genetic programming: (1 + lambda) with neutral drift, many lines side by side.

    A genome is a row of nodes that read inputs and earlier nodes; what the output does not reach is
    there but does nothing. The best child takes its parent's place if it is at least as good, so
    that genes which do nothing drift. A child that computes a known function costs nothing. A line
    that stalls starts afresh; the best of all lines is kept by the run.

    Sources: J. Miller, P. Thomson, "Cartesian Genetic Programming", EuroGP 2000; for plasticity
    rules: J. Jordan, M. Schmidt, W. Senn, M. Petrovici, "Evolving Interpretable Plasticity for
    Spiking Networks", eLife 10, 2021.
    """

    name = "cgp"
    space_kinds = ("rule",)
    Settings = CgpSettings
    _most_rounds = 30

    def __init__(self, space: Any, *, seed: int = 0, **settings: Any) -> None:
        super().__init__(space, seed=seed, **settings)
        s = self.settings
        self._grid = Grid(space, s.nodes, s.constants)
        n_lines = max(1, s.population // s.children)
        self._lines = [Line(self._small()[0]) for _ in range(n_lines)]

    def tell(self, candidates: Sequence[Expression], evaluation: Evaluation) -> None:
        """Let the best child of each line take its parent's place; nothing where all failed."""
        if not np.isfinite(usable_fitness(evaluation, len(candidates))).any():
            self._trials = []
        super().tell(candidates, evaluation)

    def _state(self) -> State:
        lines = self._lines
        return {
            "nodes": np.array([line.parent.nodes for line in lines]),
            "outputs": np.array([line.parent.output for line in lines], dtype=np.int64),
            "constants": np.array([line.parent.constants for line in lines]),
            "fitness": np.array([line.fitness for line in lines]),
            "n_stalled": [line.n_stalled for line in lines],
        }

    def _load(self, state: State) -> None:
        names = ("nodes", "outputs", "constants", "fitness", "n_stalled")
        self._lines = [
            Line(
                Graph(np.array(nodes, dtype=np.int64), int(output), np.array(constants)),
                float(fitness),
                int(n_stalled),
            )
            for nodes, output, constants, fitness, n_stalled in zip(
                *(state[name] for name in names), strict=True
            )
        ]

    def _draw(self) -> list[_Trial]:
        """Make the children of each line; a line without a scored parent asks for that first."""
        drawn: list[tuple[Line, Graph, Expression]] = []
        for line in self._lines:
            if line.n_stalled >= self.settings.patience:
                line.parent, line.fitness, line.n_stalled = self._small()[0], -np.inf, 0
            for _ in range(self.settings.children):
                child, rule = self._child(line)
                drawn.append((line, child, rule))
        tickets = self._batch.add_all([rule for _, _, rule in drawn])
        return [(*trial[:2], ticket) for trial, ticket in zip(drawn, tickets, strict=True)]

    def _child(self, line: Line) -> tuple[Graph, Expression]:
        """Return a mutated parent that is not too large, a random graph where none was scored."""
        if line.fitness == -np.inf:
            return self._small()
        for _ in range(_MAX_TRIES):
            child = self._grid.mutated(line.parent, self.settings.rate, self._rng)
            rule = self._grid.expression(child)
            if rule is not None:
                return child, rule
        return self._small()

    def _small(self) -> tuple[Graph, Expression]:
        """Return a random graph whose expression is not too large."""
        while True:
            graph = self._grid.random(self._rng)
            rule = self._grid.expression(graph)
            if rule is not None:
                return graph, rule

    def _learn(self, trials: Sequence[_Trial], fitness: FloatArray) -> None:
        best: dict[int, tuple[float, Graph]] = {}
        numbers = {id(line): k for k, line in enumerate(self._lines)}
        for line, child, ticket in trials:
            value, k = fitness_behind(ticket, fitness), numbers[id(line)]
            if value is not None and (k not in best or value > best[k][0]):
                best[k] = (value, child)
        for k, (value, child) in best.items():
            if value > -np.inf:
                self._lines[k].accept(child, value)
