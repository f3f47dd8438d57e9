"""Regularised evolution: tournaments among the living, of which the oldest or the worst die."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from evosearch.outcome import Evaluation, FloatArray
from evosearch.search.base import (
    SEARCHES,
    Search,
    SearchSettings,
    State,
    new_rng,
    restore_rng,
    rng_state,
    usable_fitness,
)


class RegularisedEvolutionSettings(SearchSettings):
    """Settings of ``regularised-evolution``."""

    living: int = Field(50, ge=2, le=1_000_000, description="candidates alive")
    dying: Literal["oldest", "worst"] = Field("oldest", description="who dies")
    distinct: bool = Field(
        False, description="whether of those with equal fitness the newest alone lives"
    )
    tournament: int = Field(
        10, ge=1, le=1_000_000, description="living of which the best becomes a parent"
    )
    mutation: float = Field(
        0.9, ge=0.0, le=1.0, description="probability that a child differs from its parent"
    )
    changes: int = Field(
        1, ge=1, le=100, description="parts drawn anew in such a child: from 1 to this, at random"
    )
    immigrants: float = Field(
        0.0, ge=0.0, le=1.0, description="share of random candidates in what is asked"
    )
    decimals: int | None = Field(
        None, ge=1, le=15, description="decimals that numbers are rounded to; missing: none"
    )


@SEARCHES.register("regularised-evolution")
class RegularisedEvolution(Search):
    """Candidates die of age; children are copies of winners with a part drawn anew.

    The part is one number, one row of one of the space's arrays, or a whole array, each as likely;
    what is drawn is a part of a random candidate. So where a vector is a program of several
    functions, one instruction a row, these are the mutations of the source.

    Where most changes change nothing that counts, nearly all the living become copies in effect.
    With ``distinct`` no two of them have the same fitness, and a new one takes the place of its
    equal, so that neutral changes still gather.

    Sources: E. Real, A. Aggarwal, Y. Huang, Q. Le, "Regularized Evolution for Image Classifier
    Architecture Search", AAAI 2019; E. Real, C. Liang, D. So, Q. Le, "AutoML-Zero", ICML 2020.
    """

    name = "regularised-evolution"
    space_kinds = ("vector", "table")
    Settings = RegularisedEvolutionSettings

    def __init__(self, space: Any, *, seed: int = 0, **settings: Any) -> None:
        super().__init__(space, seed=seed, **settings)
        self._rng = new_rng(seed)
        self._living: list[NDArray[Any]] = []
        self._fitness: FloatArray = np.empty(0)
        self._n_told = 0
        self._parts = _parts(space)

    def ask(self) -> list[Any]:
        """Return as many random candidates as may live, later children and immigrants."""
        s = self.settings
        n_random = max(
            min(s.population, s.living - self._n_told), round(s.immigrants * s.population)
        )
        n_random = n_random if self._living else s.population
        drawn = [self._random() for _ in range(n_random)]
        return [*drawn, *(self._child() for _ in range(s.population - n_random))]

    def tell(self, candidates: Sequence[Any], evaluation: Evaluation) -> None:
        """Let candidates live that have a fitness; equals and the oldest or worst die."""
        fitness = usable_fitness(evaluation, len(candidates))
        born = np.flatnonzero(np.isfinite(fitness))
        everyone = [*self._living, *(candidates[k] for k in born.tolist())]
        fitness = np.concatenate([self._fitness, fitness[born]])
        kept = self._survivors(fitness)
        self._n_told += len(candidates)
        self._living, self._fitness = [everyone[k] for k in kept.tolist()], fitness[kept]

    def favourites(self) -> list[Any]:
        """Return the best of the living."""
        return [self._living[int(self._fitness.argmax())]] if self._living else []

    def state_dict(self) -> State:
        """Return the living, the oldest first, their fitness and the generator."""
        return {
            "rng": rng_state(self._rng),
            "living": np.array(self._living),
            "fitness": self._fitness.copy(),
            "n_told": self._n_told,
        }

    def load_state_dict(self, state: State) -> None:
        """Take over the living and the generator."""
        restore_rng(self._rng, state["rng"])
        self._living = list(np.array(state["living"]))
        self._fitness = np.array(state["fitness"], dtype=np.float64)
        self._n_told = int(state["n_told"])

    def _survivors(self, fitness: FloatArray) -> NDArray[np.int64]:
        """Return who lives on of those with a fitness (n,), the oldest first."""
        alive = np.arange(len(fitness))
        if self.settings.distinct:
            newest = {value: k for k, value in enumerate(fitness.tolist())}
            alive = np.array(sorted(newest.values()), dtype=np.int64)
        if self.settings.dying == "worst":
            by_fitness = np.argsort(-fitness[alive], kind="stable")
            alive = alive[np.sort(by_fitness[: self.settings.living])]
        return alive[-self.settings.living :]

    def _random(self) -> NDArray[Any]:
        candidate = self.space.sample(self._rng)[0]
        decimals = self.settings.decimals
        return candidate if decimals is None else np.round(candidate, decimals)

    def _child(self) -> NDArray[Any]:
        rng = self._rng
        drawn = rng.integers(len(self._living), size=self.settings.tournament)
        parent = self._living[int(drawn[np.argmax(self._fitness[drawn])])]
        if rng.random() >= self.settings.mutation:
            return parent
        child = parent.copy()
        # One change draws no number, so that runs of the published search stay as they were.
        n_changes = 1 if self.settings.changes == 1 else 1 + rng.integers(self.settings.changes)
        for _ in range(n_changes):
            kind = self._parts[int(rng.integers(len(self._parts)))]
            part = kind[int(rng.integers(len(kind)))]
            child[part] = self._random()[part]
        return child


def _parts(space: Any) -> list[list[slice]]:
    """Return the slices that hold one number, one row, and one array; equal kinds once."""
    n = space.n_entries if space.kind == "table" else space.dimension
    shapes = ((n,),) if space.kind == "table" else space.shapes
    numbers = [slice(k, k + 1) for k in range(n)]
    rows: list[slice] = []
    arrays: list[slice] = []
    start = 0
    for shape in shapes:
        width = prod(shape[1:]) if len(shape) > 1 else 1
        rows += [slice(start + k * width, start + (k + 1) * width) for k in range(shape[0])]
        arrays.append(slice(start, start + prod(shape)))
        start += prod(shape)
    return [numbers, *([rows] if rows != numbers else []), arrays]
