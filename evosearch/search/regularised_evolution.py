"""Regularised evolution: tournaments among the living, of which the oldest die."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

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

    living: int = Field(50, ge=2, le=1_000_000, description="candidates alive; the oldest die")
    tournament: int = Field(
        10, ge=1, le=1_000_000, description="living of which the best becomes a parent"
    )
    mutation: float = Field(
        0.9, ge=0.0, le=1.0, description="probability that a child differs from its parent"
    )
    immigrants: float = Field(
        0.0, ge=0.0, le=1.0, description="share of random candidates in what is asked"
    )
    decimals: int | None = Field(
        None, ge=1, le=15, description="decimals that numbers are rounded to; missing: none"
    )


@SEARCHES.register("regularised-evolution")
class RegularisedEvolution(Search):
    """Candidates die of age; children are copies of winners with one part drawn anew.

    The part is one number, one row of one of the space's arrays, or a whole array, each as likely;
    what is drawn is a part of a random candidate. So where a vector is a program of several
    functions, one instruction a row, these are the mutations of the source.

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
        self._parts = _parts(space)

    def ask(self) -> list[Any]:
        """Return random candidates until enough live, then children and immigrants."""
        s = self.settings
        n_missing = s.living - len(self._living)
        n_random = max(min(s.population, n_missing), round(s.immigrants * s.population))
        n_children = s.population - n_random if self._living else 0
        drawn = [self._random() for _ in range(n_random)]
        return [*drawn, *(self._child() for _ in range(n_children))]

    def tell(self, candidates: Sequence[Any], evaluation: Evaluation) -> None:
        """Let candidates live that have a fitness, and the oldest die."""
        fitness = usable_fitness(evaluation, len(candidates))
        born = np.flatnonzero(np.isfinite(fitness))
        self._living = [*self._living, *(candidates[k] for k in born.tolist())]
        self._living = self._living[-self.settings.living :]
        self._fitness = np.concatenate([self._fitness, fitness[born]])[-self.settings.living :]

    def favourites(self) -> list[Any]:
        """Return the best of the living."""
        return [self._living[int(self._fitness.argmax())]] if self._living else []

    def state_dict(self) -> State:
        """Return the living, the oldest first, their fitness and the generator."""
        return {
            "rng": rng_state(self._rng),
            "living": np.array(self._living),
            "fitness": self._fitness.copy(),
        }

    def load_state_dict(self, state: State) -> None:
        """Take over the living and the generator."""
        restore_rng(self._rng, state["rng"])
        self._living = list(np.array(state["living"]))
        self._fitness = np.array(state["fitness"], dtype=np.float64)

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
        kind = self._parts[int(rng.integers(len(self._parts)))]
        part = kind[int(rng.integers(len(kind)))]
        child = parent.copy()
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
