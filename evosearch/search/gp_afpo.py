"""Genetic programming with two objectives: fitness and age."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from evosearch.outcome import Evaluation, FloatArray
from evosearch.rules.expression import Expression
from evosearch.search.base import SEARCHES, State
from evosearch.search.gp import GpSettings, Member, Programming
from evosearch.search.gp_constants import structure_of
from evosearch.search.pareto import front_numbers


class AfpoSettings(GpSettings):
    """Settings of ``gp-afpo``; members of many ages compete, so none is scored again."""

    survivors: Literal["children", "best"] = Field(
        "best", description="who breeds: always the best of all so far, by fitness and age"
    )

    @model_validator(mode="after")
    def _compares_all_ages(self) -> AfpoSettings:
        if self.survivors != "best":
            raise ValueError("survivors must be 'best': age and fitness decide who stays")
        if self.rescore:
            raise ValueError("rescore must be false: members of all ages are compared as scored")
        return self


@SEARCHES.register("gp-afpo")
class AfpoProgramming(Programming):
    """Age-fitness Pareto optimization: young rules compete with rules of their own age.

    The age of a rule is the number of generations since the oldest of its ancestors came in at
    random; a child of crossover is as old as the older parent. Parents are drawn uniformly.
    Members and children meet in random pairs, and who is no fitter and no younger is removed,
    until ``population`` are left or none dominates another. Constants are tuned and random rules
    come in as in ``gp``, a share of each generation instead of one rule.

    Source: M. Schmidt, H. Lipson, "Age-Fitness Pareto Optimization", Genetic Programming Theory and
    Practice VIII, 2011.
    """

    name = "gp-afpo"
    Settings = AfpoSettings

    def __init__(self, space: Any, *, seed: int = 0, **settings: Any) -> None:
        super().__init__(space, seed=seed, **settings)
        self._n_generations = 0
        # The generation in which the oldest ancestor came in, of members and of what is asked.
        self._origins: dict[Expression, int] = {}
        self._asked: dict[Expression, int] = {}

    @property
    def ages(self) -> dict[Expression, int]:
        """Generations since the oldest ancestor of each member came in."""
        return {rule: self._n_generations - origin for rule, origin in self._origins.items()}

    def ask(self) -> list[Expression]:
        """Return a generation, as ``gp`` does, and note what descends from whom."""
        self._asked = {}
        return super().ask()

    def tell(self, candidates: Sequence[Expression], evaluation: Evaluation) -> None:
        """Let who is not dominated in age and fitness be the parents of the next generation."""
        super().tell(candidates, evaluation)
        self._origins = {member.rule: self._origin(member.rule) for member in self._members}
        self._asked = {}
        self._n_generations += 1

    def state_dict(self) -> State:
        """Return what ``gp`` does, and the origins of the members."""
        origins = np.array([self._origins[m.rule] for m in self._members], dtype=np.int64)
        return {
            **super().state_dict(),
            "origins": origins,
            "n_generations": self._n_generations,
        }

    def load_state_dict(self, state: State) -> None:
        """Take over members with their origins."""
        super().load_state_dict(state)
        origins = np.asarray(state["origins"], dtype=np.int64).tolist()
        rules = [member.rule for member in self._members]
        self._origins = dict(zip(rules, origins, strict=True))
        self._asked = {}
        self._n_generations = int(state["n_generations"])

    def _select(self, n: int) -> list[Member]:
        drawn = self._rng.integers(len(self._members), size=n)
        return [self._members[k] for k in drawn.tolist()]

    def _note_descent(self, child: Expression, operator: str, *parents: Member) -> None:
        used = parents if operator == "crossover" else parents[:1]
        self._descends(child, min(self._origin(parent.rule) for parent in used))

    def _tuned(self, ranked: Sequence[Member], n: int, *, offset: int) -> list[Expression]:
        batch = super()._tuned(ranked, n, offset=offset)
        # The best member of a structure is the one whose constants are tuned.
        origins = {structure_of(m.rule): self._origin(m.rule) for m in reversed(ranked)}
        for rule in batch:
            self._descends(rule, origins[structure_of(rule)])
        return batch

    def _survivors(self, told: list[Member]) -> list[Member]:
        pool = sorted(self._members + told, key=len)
        fitness = np.array([member.fitness for member in pool])
        origins = np.array([self._origin(member.rule) for member in pool], dtype=np.int64)
        left = pareto_tournaments(fitness, origins, self.settings.population, self._rng)
        return [pool[k] for k in left.tolist()]

    def _descends(self, rule: Expression, origin: int) -> None:
        """Note the origin of a rule; one that is made again, and so not asked, keeps its first."""
        self._asked.setdefault(rule, origin)

    def _origin(self, rule: Expression) -> int:
        """Return when the oldest ancestor of a rule came in; now, where it has none."""
        return self._origins.get(rule, self._asked.get(rule, self._n_generations))


def pareto_tournaments(
    fitness: FloatArray, origins: NDArray[np.int64], n: int, rng: np.random.Generator
) -> NDArray[np.int64]:
    """Return who is left when random pairs meet and the dominated one of each pair is removed.

    Of two with the same fitness and origin the second one in order is removed.

    Args:
        fitness: (m,) finite; higher is better.
        origins: (m,) when each came in; later is better.
        n: members wanted; more are left where more are non-dominated.
        rng: draws the pairs.

    Returns:
        Numbers (k,) of members, rising.
    """
    is_front = front_numbers(fitness, -origins.astype(np.float64)) == 0
    pairs_of_values = zip(fitness[is_front].tolist(), origins[is_front].tolist(), strict=True)
    n_left = max(n, len(set(pairs_of_values)))
    left = np.arange(len(fitness))
    while len(left) > n_left:
        met = rng.permutation(left)[: len(left) // 2 * 2].reshape(-1, 2)
        first, second = met.min(axis=1), met.max(axis=1)
        is_second_out = (fitness[first] >= fitness[second]) & (origins[first] >= origins[second])
        is_first_out = (fitness[second] >= fitness[first]) & (origins[second] >= origins[first])
        losers = np.where(is_second_out, second, first)[is_second_out | is_first_out]
        left = np.setdiff1d(left, losers[: len(left) - n_left])
    return left
