"""Genetic programming with two objectives: fitness and size."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from pydantic import Field

from evosearch.search.base import SEARCHES
from evosearch.search.gp import GpSettings, Member, Programming
from evosearch.search.pareto import crowded_order


class Nsga2Settings(GpSettings):
    """Settings of ``gp-nsga2``."""

    survivors: Literal["children", "best"] = Field(
        "best",
        description="who breeds: the best of all so far, or the last generation and the elite",
    )


@SEARCHES.register("gp-nsga2")
class Nsga2Programming(Programming):
    """Genetic programming whose selection and survival are those of NSGA-II, on fitness and size.

    Members are ranked by the front of non-dominated ones that they are in, then by how far their
    neighbours on that front are; parents win tournaments of two by that rank, and the first
    ``population`` of parents and children together survive. So the best rule of each size lives
    on. All else is as in ``gp``.

    Source: K. Deb, A. Pratap, S. Agarwal, T. Meyarivan, "A Fast and Elitist Multiobjective Genetic
    Algorithm: NSGA-II", IEEE Transactions on Evolutionary Computation 6, 2002.
    """

    name = "gp-nsga2"
    Settings = Nsga2Settings

    def _select(self, n: int) -> list[Member]:
        ranked = self._ranked(self._members)
        winners = self._rng.integers(len(ranked), size=(n, 2)).min(axis=1)
        return [ranked[k] for k in winners.tolist()]

    def _ranked(self, members: Sequence[Member]) -> list[Member]:
        """Return the members by front, then the least crowded first."""
        gains = np.array([member.fitness for member in members])
        sizes = np.array([len(member) for member in members], dtype=np.float64)
        return [members[k] for k in crowded_order(gains, sizes).tolist()]
