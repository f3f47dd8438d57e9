"""Linear genetic programming by regularised evolution."""

from __future__ import annotations

import json
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
from evosearch.search.known import Batch, Known, KnownSettings, fitness_behind
from evosearch.search.registers import Instruction, Machine, Program

_MAX_TRIES = 20
_MOST_ROUNDS = 30


class LinearGpSettings(KnownSettings):
    """Settings of ``linear-gp``."""

    population: int = Field(50, ge=1, le=1_000_000, description="children asked at a time")
    living: int = Field(200, ge=2, le=1_000_000, description="programs alive; the oldest die")
    tournament: int = Field(
        10, ge=1, le=1_000_000, description="programs of which the best becomes a parent"
    )
    longest: int = Field(12, ge=1, le=1000, description="most instructions of a program")
    scratch: int = Field(2, ge=0, le=100, description="registers beyond those of the terminals")


@dataclass(frozen=True)
class _Member:
    program: Program
    fitness: float


@SEARCHES.register("linear-gp")
class LinearProgramming(Search):
    """Programs over registers, evolved by tournaments among the living, of which the oldest die.

    A child is the mutated best of a few living programs drawn at random; when it is scored the
    oldest dies, however good it is. Programs are decoded to the expression that they compute; one
    that computes a known function is a child all the same, with the known fitness, at no cost.

    Sources: M. Brameier, W. Banzhaf, "Linear Genetic Programming", 2007; E. Real, C. Liang, D. So,
    Q. Le, "AutoML-Zero: Evolving Machine Learning Algorithms From Scratch", ICML 2020.
    """

    name = "linear-gp"
    space_kinds = ("rule",)
    Settings = LinearGpSettings

    def __init__(self, space: Any, *, seed: int = 0, **settings: Any) -> None:
        super().__init__(space, seed=seed, **settings)
        s = self.settings
        self._rng = new_rng(seed)
        self._machine = Machine(space, s.scratch, s.longest)
        self._known = Known(space, is_on=s.skip_equal)
        self._batch = Batch(self._known)
        self._trials: list[tuple[Program, int | float]] = []
        self._living: list[_Member] = []

    def ask(self) -> list[Expression]:
        """Return children whose functions are not known; random programs until enough live."""
        for _ in range(_MOST_ROUNDS):
            self._breed()
            if self._batch.candidates:
                return list(self._batch.candidates)
            self._learn(np.empty(0))
        return self.space.sample(self._rng, self.settings.population)

    def tell(self, candidates: Sequence[Expression], evaluation: Evaluation) -> None:
        """Let the children live, and the oldest die."""
        fitness = usable_fitness(evaluation, len(candidates))
        self._batch.learn(fitness[: len(self._batch.candidates)])
        self._learn(fitness)

    def state_dict(self) -> State:
        """Return the living programs, the oldest first, what is known, and the generator."""
        return {
            "rng": rng_state(self._rng),
            "programs": [json.dumps(member.program) for member in self._living],
            "fitness": np.array([member.fitness for member in self._living]),
            **self._known.state(),
        }

    def load_state_dict(self, state: State) -> None:
        """Take over the living."""
        restore_rng(self._rng, state["rng"])
        fitness = np.asarray(state["fitness"], dtype=np.float64).tolist()
        self._living = [
            _Member(tuple(Instruction(*step) for step in json.loads(text)), value)
            for text, value in zip(state["programs"], fitness, strict=True)
        ]
        self._known.load(state)
        self._trials = []

    def _breed(self) -> None:
        self._batch = Batch(self._known, is_on=self.settings.skip_equal)
        self._trials = []
        values = np.array([member.fitness for member in self._living])
        for _ in range(self.settings.population):
            for _ in range(_MAX_TRIES):
                program = self._child(values)
                rule = self._machine.expression(program)
                if rule is not None:
                    self._trials.append((program, self._batch.add(rule)))
                    break

    def _child(self, values: FloatArray) -> Program:
        if len(values) < self.settings.living:
            return self._machine.random(self._rng)
        drawn = self._rng.integers(len(values), size=self.settings.tournament)
        parent = self._living[int(drawn[np.argmax(values[drawn])])]
        return self._machine.mutated(parent.program, self._rng)

    def _learn(self, fitness: FloatArray) -> None:
        scored = [(program, fitness_behind(ticket, fitness)) for program, ticket in self._trials]
        self._trials = []
        self._living += [
            _Member(program, value)
            for program, value in scored
            if value is not None and value > -np.inf
        ]
        self._living = self._living[-self.settings.living :]
