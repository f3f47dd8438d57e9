"""Simultaneous perturbation stochastic approximation."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from evosearch.outcome import FloatArray
from evosearch.search.base import SEARCHES
from evosearch.search.noise import Noise, NoiseSettings
from evosearch.search.ranks import filled
from evosearch.search.vectors import VectorSearch

# Steps over which the size of the gradient is measured that sets the gains.
_N_MEASURED = 20


class SpsaSettings(NoiseSettings):
    """Settings of ``spsa``."""

    population: int = Field(
        2, ge=1, le=1_000_000, description="candidates a step; more than 2: mean of several pairs"
    )
    step: float | None = Field(
        None, gt=0, description="how far each number moves in the first steps; default: sigma0 / 4"
    )
    directions: Literal["signs", "normal"] = Field(
        "signs", description="perturbations: plus or minus 1, or normal numbers as in MeZO"
    )
    width: float | None = Field(
        None, gt=0, description="size c of the first perturbations; default: sigma0 / 10"
    )
    stability: float = Field(
        50.0, ge=0, description="steps before they shorten much; a tenth of all is usual"
    )
    step_exponent: float = Field(0.602, gt=0, le=1, description="how steps shorten: alpha")
    width_exponent: float = Field(0.101, ge=0, le=1, description="how widths shrink: gamma")


@SEARCHES.register("spsa")
class Spsa(VectorSearch):
    """Simultaneous perturbation: a gradient from two candidates, whatever the dimension.

    All numbers are moved at once by plus or minus c_k, and back by the same; the difference of
    fitness over 2 c_k, with each number's own sign, estimates the gradient (1992, equation 2.2).
    Signs are drawn from a seed, once to ask and once to learn, so that beside the mean and its
    step no memory grows with the dimension but the two points: with ``directions="normal"`` this
    is MeZO. Gains are a_k = a / (A + k)^alpha and c_k = c / k^gamma with c = ``width`` and
    A = ``stability``; a is such that a gradient of the mean size of the first 20 moves each number
    by ``step`` at first, and no number ever moves further in a step. A failed candidate counts as
    the worst of its generation. An odd population is rounded down to pairs; candidates are clipped
    to the bounds.

    Sources: J. Spall, "Multivariate Stochastic Approximation Using a Simultaneous Perturbation
    Gradient Approximation", IEEE Transactions on Automatic Control 37, 1992; gains: J. Spall,
    "Implementation of the Simultaneous Perturbation Algorithm for Stochastic Optimization", IEEE
    Transactions on Aerospace and Electronic Systems 34, 1998; replay from seeds: S. Malladi et
    al., "Fine-Tuning Language Models with Just Forward Passes", 2023, arXiv:2305.17333,
    algorithm 1.
    """

    name = "spsa"
    Settings = SpsaSettings
    _changing = ("_mean", "_size", "_n_steps")

    def __init__(self, space: Any, *, seed: int = 0, **settings: Any) -> None:
        super().__init__(space, seed=seed, **settings)
        n_pairs = max(1, self.settings.population // 2)
        self._step = self.settings.step or self._sigma0 / 4
        self._first_width = self.settings.width or self._sigma0 / 10
        self._size = 0.0
        self._n_steps = 0
        kind = self.settings.directions
        self._noise = Noise(space.dimension, n_pairs, self.settings, is_mirrored=True, kind=kind)

    def _propose(self) -> Iterator[NDArray[Any]]:
        self._noise.draw(int(self._rng.integers(2**63)))
        return self._noise.blocks(self._mean, self._width())

    def _learn(self, fitness: FloatArray) -> None:
        s, pairs = self.settings, filled(fitness).reshape(-1, 2)
        slopes = (pairs[:, 0] - pairs[:, 1]) / (2 * self._width())
        gradient = self._noise.weighted(slopes) / len(slopes)
        self._n_steps += 1
        if self._n_steps <= _N_MEASURED:
            self._size += (float(np.abs(gradient).mean()) - self._size) / self._n_steps
        if self._size > 0.0:
            shortening = (s.stability + 1) / (s.stability + self._n_steps)
            gain = self._step / self._size * shortening**s.step_exponent
            self._move(np.clip(gain * gradient, -self._step, self._step))

    def _width(self) -> float:
        """Return c_k."""
        return float(self._first_width / (self._n_steps + 1) ** self.settings.width_exponent)
