"""Test functions as a task: find the least value of a shifted and rotated function."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any, Literal, Self

import numpy as np
from pydantic import Field, model_validator

from evosearch.errors import InputError
from evosearch.functions import Instance
from evosearch.functions.instances import LARGEST_ROTATION
from evosearch.outcome import FloatArray
from evosearch.populations import LowRank
from evosearch.tasks.base import (
    TASKS,
    Domain,
    Key,
    TaskSettings,
    VectorScores,
    VectorTask,
    draw_rng,
)

_START = 1  # stream of the start, beside those of the instance


class FunctionSettings(TaskSettings):
    """Settings of ``function``."""

    name: Literal[
        "ackley",
        "cigar",
        "different_powers",
        "discus",
        "ellipsoid",
        "griewank",
        "rastrigin",
        "rosenbrock",
        "schwefel_1_2",
        "sharp_ridge",
        "sphere",
        "step_ellipsoid",
    ] = Field("rosenbrock", description="which function")
    dimension: int = Field(10, ge=1, le=10_000_000, description="numbers in a point")
    instance: int = Field(1, ge=0, le=2**31, description="which rotation and which optimum")
    is_rotated: bool = Field(True, description="whether the axes are turned")
    shift: tuple[float, float] = Field(
        (-4.0, 4.0), description="range of the optimum, and of the start"
    )
    bounds: tuple[float, float] | None = Field(
        None, description="least and greatest value of each number; missing: none"
    )
    sigma0: float = Field(2.0, gt=0, description="size of the first steps")

    @model_validator(mode="after")
    def _fits(self) -> Self:
        pairs = {"shift": self.shift, "bounds": self.bounds or (0.0, 1.0)}
        for name, pair in pairs.items():
            if not pair[0] < pair[1]:
                raise ValueError(f"{name} {list(pair)} is no range of rising numbers")
        if self.bounds and not self.bounds[0] <= self.shift[0] < self.shift[1] <= self.bounds[1]:
            raise ValueError(
                f"shift {list(self.shift)} leaves the bounds {list(self.bounds)}, and so may the "
                "optimum"
            )
        if self.name == "rosenbrock" and self.dimension < 2:
            raise ValueError("rosenbrock needs a dimension of 2 or more")
        if self.is_rotated and self.dimension > LARGEST_ROTATION:
            raise ValueError(
                f"dimension {self.dimension} is above {LARGEST_ROTATION}, the greatest that is "
                "rotated; set is_rotated = false"
            )
        return self


@TASKS.register("function")
class FunctionTask(VectorTask):
    """The least value of a test function, shifted and rotated by the number of an instance.

    Fitness is -(f(x) - f_opt), so 0 is the best. The function is the same on every draw of every
    split; the start is uniform in the range of the optimum, by the seed of the problem.

    Source: see :mod:`evosearch.functions.shapes`.
    """

    Settings = FunctionSettings
    baselines = ("start", "optimum")
    largest_block = 1024

    @cached_property
    def _function(self) -> Instance:
        s = self.settings
        return Instance(
            s.name, s.dimension, instance=s.instance, is_rotated=s.is_rotated, shift=s.shift
        )

    def domain(self) -> Domain:
        """Return the start and the bounds."""
        s = self.settings
        x0 = draw_rng((self.seed, s.instance), _START).uniform(s.shift[0], s.shift[1], s.dimension)
        low, high = s.bounds or (None, None)
        return Domain(x0, sigma0=s.sigma0, low=low, high=high)

    def score(self, points: FloatArray | LowRank, keys: Sequence[Key], split: str) -> VectorScores:
        """Return -(f - f_opt), the same on every draw."""
        return scores(-self._function(as_points(points, self.settings.dimension)), len(keys))

    def baseline(self, name: str) -> FloatArray:
        """Return the start, or the optimum."""
        return self._function.optimum.copy() if name == "optimum" else super().baseline(name)


def as_points(points: FloatArray | LowRank, dimension: int) -> FloatArray:
    """Return points (n, d) written out, of ``dimension`` numbers each."""
    rows: Any = points.dense() if isinstance(points, LowRank) else points
    rows = np.ascontiguousarray(rows, dtype=np.float64)
    if rows.ndim != 2 or rows.shape[1] != dimension:
        raise InputError(f"points have shape {rows.shape}; they must be (n, {dimension}).")
    return rows


def scores(fitness: FloatArray, n_draws: int) -> VectorScores:
    """Return the fitness (n,) of a function without chance on each of its draws."""
    per_draw = np.repeat(fitness[:, None], n_draws, axis=1)
    per_draw += 0.0  # -0 reads as if something were lost
    return VectorScores(per_draw)
