"""Genetic programming of formulas on islands, with constants fitted by least squares."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import Field

from evosearch.errors import InputError
from evosearch.outcome import Evaluation
from evosearch.rules.expression import Expression
from evosearch.search.base import SEARCHES, Search, SearchSettings, State, usable_fitness
from evosearch.search.formula_transforms import transforms_of

if TYPE_CHECKING:
    from evosearch.search.formula_world import World

# Nodes and terms of trees, and how deep transcendental functions may be nested: islands of small
# trees find the parts, those without such functions the rational formulas. The first one takes
# in parents from all.
_ROOMS = [(44, 4, 1), (14, 1, 1), (20, 2, 1), (30, 4, 1), (28, 2, 0), (44, 1, 0)]
_PATIENCE = [1 << 40, 20_000, 20_000, 40_000, 30_000, 60_000]
# A function of the target that helps has a formula as simple as its parts.
_ROOMS_OF_TRANSFORM = [(44, 4, 1), (20, 2, 1), (44, 4, 0)]
_PATIENCE_OF_TRANSFORM = [1 << 40, 20_000, 60_000]
# Formulas that each other world breeds for one of the world with the least error.
_SHARE = 0.25
# Evaluations after the first exact formula: as many as before it, and these.
_MORE = 200_000


class RegressionSearchSettings(SearchSettings):
    """Settings of ``gp-regression``."""

    population: int = Field(300, ge=4, le=100_000, description="formulas on each island")
    batch: int = Field(
        50_000, ge=1, description="formulas scored inside between two batches of the best"
    )
    rows: int = Field(160, ge=8, description="rows that they are scored on; the best on all rows")
    horizon: int | None = Field(
        None, ge=1, description="evaluations after which it is done; default: the budget"
    )


@SEARCHES.register("gp-regression")
class FormulaProgramming(Search):
    """Symbolic regression: islands of formulas breed in compiled code, and the best are asked.

    A formula is a sum of terms; least squares give its intercept and weights, and a few steps of
    Levenberg and Marquardt the constants inside terms. Islands differ in how large trees may be,
    how many terms they have, and whether functions such as sin may occur. An island that makes no
    progress starts afresh. Beside them a few islands each look for formulas of the inverse, the
    logarithm and the square of a positive target; who has the least error breeds the most.
    Between two batches ``batch`` formulas are scored inside, on at most
    ``rows`` rows of the space's table; then those are asked that are the best of their size and
    better than all smaller ones, with constants fitted to all rows and snapped to exact values
    where that does not lose. Evaluations inside count: the search is done when they and the asked
    ones reach the budget, or some time after a formula first fitted to roundoff, in which smaller
    ones are looked for.

    Sources: see ``formula_fit_kernels`` and ``formula_island_kernels``; weighted terms: I. Arnaldo,
    K. Krawiec, U.-M. O'Reilly, "Multiple regression genetic programming", GECCO 2014; functions of
    the target: see ``formula_transforms``.
    """

    name = "gp-regression"
    space_kinds = ("formula",)
    Settings = RegressionSearchSettings

    def __init__(self, space: Any, *, seed: int = 0, **settings: Any) -> None:
        super().__init__(space, seed=seed, **settings)
        from evosearch.search.formula_world import OVERHEAD, World

        if space.max_size <= OVERHEAD:
            raise InputError(
                f"max_size is {space.max_size}; search {self.name!r} needs {OVERHEAD + 1}."
            )
        n = self.settings.population
        rows = _chosen_rows(space.target, self.settings.rows, seed)
        self._worlds = [World(space, _ROOMS, _PATIENCE, n, rows, seed)]
        for k, transform in enumerate(transforms_of(space.target, space.functions), 1):
            if space.max_size - transform.n_nodes > OVERHEAD:
                own_seed = int(np.random.SeedSequence([seed, k]).generate_state(1)[0])
                self._worlds.append(
                    World(space, _ROOMS_OF_TRANSFORM, _PATIENCE_OF_TRANSFORM, n, rows, own_seed,
                          transform)
                )  # fmt: skip
        self._n_told = 0
        self._exact_at = 0

    def ask(self) -> list[Expression]:
        """Breed, then return the best of each size that are new; the best of all where none is."""
        from evosearch.engine.cache import announced

        with announced("formulas", seconds=50):
            self._breed()
            found = [self._formula(world, size) for world in self._worlds for size in world.news()]
        # Two sizes may end as one formula, tidied.
        fitting = [one for one in dict.fromkeys(found) if one.size <= self.space.max_size]
        leader = self._leader()
        return fitting or [self._formula(leader, leader.best_size())]

    def favourites(self) -> list[Expression]:
        """Return the best formula of each size that no smaller one equals."""
        found = [self._formula(world, size) for world in self._worlds for size in world.front()]
        return [one for one in dict.fromkeys(found) if one.size <= self.space.max_size]

    def tell(self, candidates: Sequence[Expression], evaluation: Evaluation) -> None:
        """Count the candidates; what they score is known already."""
        usable_fitness(evaluation, len(candidates))
        self._n_told += len(candidates)

    def state_dict(self) -> State:
        """Return the islands, the generators and the counters."""
        worlds = {f"world_{k}": world.state_dict() for k, world in enumerate(self._worlds)}
        return {**worlds, "n_told": self._n_told, "exact_at": self._exact_at}

    def load_state_dict(self, state: State) -> None:
        """Take over islands, generators and counters."""
        for k, world in enumerate(self._worlds):
            world.load_state_dict(state[f"world_{k}"])
        self._n_told = int(state["n_told"])
        self._exact_at = int(state["exact_at"])

    @property
    def is_done(self) -> bool:
        """Whether the budget is spent, or enough of it after a formula that fits to roundoff."""
        horizon, exact_at, n = self.settings.horizon, self._exact_at, self.n_evaluations
        is_enough = exact_at > 0 and n >= 2 * exact_at + _MORE
        return is_enough or (horizon is not None and n >= horizon)

    @property
    def n_inside(self) -> int:
        """Formulas scored inside so far, Jacobians counted as one each."""
        return sum(world.n_evaluations for world in self._worlds)

    @property
    def n_evaluations(self) -> int:
        """Formulas scored so far, inside and by those who told."""
        return self.n_inside + self._n_told

    def summary(self) -> str:
        """Say what was scored inside."""
        return f"{self.n_inside:,} formulas were scored inside the search, on rows of its own."

    def _breed(self) -> None:
        n = self.settings.batch
        if self.settings.horizon is not None:
            left = self.settings.horizon - self.n_evaluations
            # The first batch leaves room to ask for what it found.
            n = max(1, min(n, left if self._n_told else left // 2))
        parts = 1 + _SHARE * (len(self._worlds) - 1)
        leader = self._leader()
        for world in self._worlds:
            share = 1 if world is leader else _SHARE
            world.breed(max(1, round(n * share / parts)), until_exact=not self._exact_at)

    def _leader(self) -> World:
        """Return the world whose formulas had the least error for the target itself."""
        return min(self._worlds, key=lambda world: world.least_error)

    def _formula(self, world: World, size: int) -> Expression:
        """Return the best formula of a size; note when the first one was exact."""
        found, error = world.formula(int(size))
        if not self._exact_at and error < world.EXACT:
            self._exact_at = self.n_evaluations
        return found


def _chosen_rows(target: Any, most: int, seed: int) -> Any:
    """Return the rows to score on: all, or as many at random whose target varies."""
    n = len(target)
    if n <= most:
        return np.arange(n)
    chosen = np.sort(np.random.default_rng([seed, n]).permutation(n)[:most])
    return chosen if np.ptp(target[chosen]) > 0 else np.arange(n)
