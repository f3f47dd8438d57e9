"""The 24 noiseless functions of bbob, through coco-experiment."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from functools import cached_property
from typing import Any, Literal

import numpy as np
from pydantic import Field

from evosearch.errors import InputError
from evosearch.outcome import FloatArray
from evosearch.populations import LowRank
from evosearch.tasks.base import TASKS, Domain, Key, TaskSettings, VectorScores, VectorTask
from evosearch.tasks.function import as_points, scores


class BbobSettings(TaskSettings):
    """Settings of ``bbob``."""

    function: int = Field(1, ge=1, le=24, description="number of the function")
    dimension: Literal[2, 3, 5, 10, 20, 40] = Field(10, description="numbers in a point")
    instance: int = Field(1, ge=1, le=10_000, description="which rotation, optimum and f_opt")
    sigma0: float = Field(2.0, gt=0, description="size of the first steps")


@TASKS.register("bbob")
class BbobTask(VectorTask):
    """A function of the bbob suite: separable, ill-conditioned, multimodal or weakly structured.

    Fitness is -(f(x) - f_opt), so 0 is the best; at -1e-8 the suite holds a function for solved.
    It is the same on every draw of every split. The optimum lies in [-5, 5]; points outside are
    allowed. A search starts at the origin.

    Source: N. Hansen, A. Auger, R. Ros, O. Mersmann, T. Tušar, D. Brockhoff, "COCO: A Platform for
    Comparing Continuous Optimizers in a Black-Box Setting", Optimization Methods and Software 36,
    2021; the functions: N. Hansen, S. Finck, R. Ros, A. Auger, "Real-Parameter Black-Box
    Optimization Benchmarking 2009: Noiseless Functions Definitions", INRIA RR-6829.

    Raises:
        InputError: coco-experiment is not installed.
    """

    Settings = BbobSettings
    baselines = ("start", "optimum")
    largest_block = 1024

    def prepare(self) -> None:
        """Import coco-experiment."""
        _cocoex()

    def domain(self) -> Domain:
        """Return the origin as the start; there are no bounds."""
        return Domain(np.zeros(self.settings.dimension), sigma0=self.settings.sigma0)

    def score(self, points: FloatArray | LowRank, keys: Sequence[Key], split: str) -> VectorScores:
        """Return -(f - f_opt), the same on every draw."""
        rows = as_points(points, self.settings.dimension)
        values = np.array([self._problem(row) for row in rows], dtype=np.float64)
        # f(x_opt) differs from f_opt by rounding; nothing is better than the best.
        return scores(-np.maximum(values - self._optimum[1], 0.0), len(keys))

    def baseline(self, name: str) -> FloatArray:
        """Return the start, or the optimum."""
        return self._optimum[0].copy() if name == "optimum" else super().baseline(name)

    @cached_property
    def _problem(self) -> Any:
        s = self.settings
        return _cocoex().BareProblem("bbob", s.function, s.dimension, s.instance)

    @cached_property
    def _optimum(self) -> tuple[FloatArray, float]:
        """Return x_opt (d,) and f_opt, which coco keeps to itself, from pycma's copy of bbob."""
        from cma import bbobbenchmarks

        s = self.settings
        function, value = bbobbenchmarks.instantiate(s.function, s.instance)
        function(np.zeros(s.dimension))  # the optimum is drawn when the dimension is known
        optimum = np.array(vars(function)["_xopt"], dtype=np.float64)
        return optimum.reshape(s.dimension), float(value)


def _cocoex() -> Any:
    try:
        return importlib.import_module("cocoex")
    except ImportError:
        raise InputError(
            "it needs coco-experiment, which is not installed; "
            "install it with: pip install 'evosearch[bench]'."
        ) from None
