"""Linear genetic programming by regularised evolution."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from pydantic import Field

from evosearch.outcome import FloatArray
from evosearch.rules.expression import Expression
from evosearch.search.base import SEARCHES, State
from evosearch.search.known import KnownSettings, fitness_behind
from evosearch.search.registers import Instruction, Machine, Program
from evosearch.search.remembering import SearchInRounds

_MAX_TRIES = 20

_Trial: TypeAlias = tuple[Program, int | float]
"""A child, and its ticket."""


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
class LinearProgramming(SearchInRounds[_Trial]):
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
    _most_rounds = 30

    def __init__(self, space: Any, *, seed: int = 0, **settings: Any) -> None:
        super().__init__(space, seed=seed, **settings)
        s = self.settings
        self._machine = Machine(space, s.scratch, s.longest)
        self._living: list[_Member] = []

    def _state(self) -> State:
        """Return the living programs, the oldest first."""
        return {
            "programs": [json.dumps(member.program) for member in self._living],
            "fitness": np.array([member.fitness for member in self._living]),
        }

    def _load(self, state: State) -> None:
        fitness = np.asarray(state["fitness"], dtype=np.float64).tolist()
        self._living = [
            _Member(tuple(Instruction(*step) for step in json.loads(text)), value)
            for text, value in zip(state["programs"], fitness, strict=True)
        ]

    def _draw(self) -> list[_Trial]:
        drawn: list[tuple[Program, Expression]] = []
        values = np.array([member.fitness for member in self._living])
        for _ in range(self.settings.population):
            for _ in range(_MAX_TRIES):
                program = self._child(values)
                rule = self._machine.expression(program)
                if rule is not None:
                    drawn.append((program, rule))
                    break
        tickets = self._batch.add_all([rule for _, rule in drawn])
        return [(program, ticket) for (program, _), ticket in zip(drawn, tickets, strict=True)]

    def _child(self, values: FloatArray) -> Program:
        if len(values) < self.settings.living:
            return self._machine.random(self._rng)
        drawn = self._rng.integers(len(values), size=self.settings.tournament)
        parent = self._living[int(drawn[np.argmax(values[drawn])])]
        return self._machine.mutated(parent.program, self._rng)

    def _learn(self, trials: Sequence[_Trial], fitness: FloatArray) -> None:
        """Let the children live, and the oldest die."""
        scored = [(program, fitness_behind(ticket, fitness)) for program, ticket in trials]
        self._living += [
            _Member(program, value)
            for program, value in scored
            if value is not None and value > -np.inf
        ]
        self._living = self._living[-self.settings.living :]
