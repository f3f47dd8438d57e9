"""Cartesian genetic programming."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from pydantic import Field

from evosearch.outcome import Evaluation, FloatArray
from evosearch.rules.expression import Expression
from evosearch.search.base import (
    SEARCHES,
    Search,
    State,
    new_rng,
    restore_rng,
    rng_state,
    usable_fitness,
)
from evosearch.search.cgp_graph import Graph, Grid
from evosearch.search.known import Batch, Known, KnownSettings, fitness_behind

_MAX_TRIES = 50
_MOST_ROUNDS = 30


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


@SEARCHES.register("cgp")
class CartesianProgramming(Search):
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

    def __init__(self, space: Any, *, seed: int = 0, **settings: Any) -> None:
        super().__init__(space, seed=seed, **settings)
        s = self.settings
        self._rng = new_rng(seed)
        self._grid = Grid(space, s.nodes, s.constants)
        self._known = Known(space, is_on=s.skip_equal)
        self._batch = Batch(self._known)
        self._trials: list[tuple[Line, Graph, int | float]] = []
        n_lines = max(1, s.population // s.children)
        self._lines = [Line(self._small()[0]) for _ in range(n_lines)]

    def ask(self) -> list[Expression]:
        """Return the children of all lines whose functions are not known."""
        for _ in range(_MOST_ROUNDS):
            self._breed()
            if self._batch.candidates:
                return list(self._batch.candidates)
            self._learn(np.empty(0))
        return self.space.sample(self._rng, self.settings.population)

    def tell(self, candidates: Sequence[Expression], evaluation: Evaluation) -> None:
        """Let the best child of each line take its parent's place if it is as good."""
        fitness = usable_fitness(evaluation, len(candidates))
        self._batch.learn(fitness[: len(self._batch.candidates)])
        if np.isfinite(fitness).any():
            self._learn(fitness)
        self._trials = []

    def state_dict(self) -> State:
        """Return the parents and their fitness, what is known, and the generator."""
        lines = self._lines
        return {
            "rng": rng_state(self._rng),
            "nodes": np.array([line.parent.nodes for line in lines]),
            "outputs": np.array([line.parent.output for line in lines], dtype=np.int64),
            "constants": np.array([line.parent.constants for line in lines]),
            "fitness": np.array([line.fitness for line in lines]),
            "n_stalled": [line.n_stalled for line in lines],
            **self._known.state(),
        }

    def load_state_dict(self, state: State) -> None:
        """Take over the lines."""
        restore_rng(self._rng, state["rng"])
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
        self._known.load(state)
        self._trials = []

    def _breed(self) -> None:
        """Make the children of each line; a line without a scored parent asks for that first."""
        self._batch = Batch(self._known, is_on=self.settings.skip_equal)
        self._trials = []
        for line in self._lines:
            if line.n_stalled >= self.settings.patience:
                line.parent, line.fitness, line.n_stalled = self._small()[0], -np.inf, 0
            for _ in range(self.settings.children):
                child, rule = self._child(line)
                self._trials.append((line, child, self._batch.add(rule)))

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

    def _learn(self, fitness: FloatArray) -> None:
        best: dict[int, tuple[float, Graph]] = {}
        numbers = {id(line): k for k, line in enumerate(self._lines)}
        for line, child, ticket in self._trials:
            value, k = fitness_behind(ticket, fitness), numbers[id(line)]
            if value is not None and (k not in best or value > best[k][0]):
                best[k] = (value, child)
        for k, (value, child) in best.items():
            if value > -np.inf:
                self._lines[k].accept(child, value)
        self._trials = []
