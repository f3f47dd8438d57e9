"""Steady-state genetic programming: a few children at a time replace the worst."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from evosearch.rules.expression import Expression
from evosearch.search.base import SEARCHES
from evosearch.search.gp import GeneticProgramming, Member, TournamentSettings


class SteadySettings(TournamentSettings):
    """Settings of ``gp-steady``."""

    population: int = Field(
        20, ge=1, le=1_000_000, description="rules that are asked at a time and replace the worst"
    )
    living: int = Field(200, ge=1, le=1_000_000, description="rules among which parents are chosen")
    survivors: Literal["children", "best"] = Field(
        "children",
        description="what dies: the worst of those before, or the worst of all, children included",
    )
    elite: int = Field(
        4, ge=1, le=1_000_000, description="best rules that are scored again where rescore is set"
    )

    @model_validator(mode="after")
    def _has_room(self) -> SteadySettings:
        if self.population > self.living:
            raise ValueError(
                f"population is {self.population}; it must be at most living, {self.living}"
            )
        return self


@SEARCHES.register("gp-steady")
class SteadyProgramming(GeneticProgramming):
    """Genetic programming whose population changes by a batch of children at a time.

    The first ``living`` rules are random. From then on each batch of ``population`` rules takes
    the places of the worst members, so that good rules breed as soon as they are scored and stay
    for as long as they are good. One child at a time is Whitley's GENITOR; a batch keeps all cores
    busy. All else is as in ``gp``.

    Sources: D. Whitley, "The GENITOR Algorithm and Selection Pressure", ICGA 1989; G. Syswerda, "A
    Study of Reproduction in Generational and Steady-State Genetic Algorithms", FOGA 1991.
    """

    name = "gp-steady"
    Settings = SteadySettings

    def _next_generation(self) -> list[Expression]:
        s = self.settings
        n_missing = s.living - self._n_asked
        if n_missing > 0:
            return self._immigrants(min(s.population, n_missing))
        return super()._next_generation()

    def _survivors(self, told: list[Member]) -> list[Member]:
        """Return the living: a rule that was scored again counts as it scored last."""
        s = self.settings
        again = {member.rule for member in told}
        before = [m for m in self._ranked(self._members) if m.rule not in again]
        if s.survivors == "best":
            return self._ranked(before + told)[: s.living]
        return before[: max(0, s.living - len(told))] + told
