"""An ant that learns to walk with a leg that its search never saw damaged."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from math import prod
from typing import Annotated

import numpy as np
from pydantic import Field

from evosearch.control.damaged_ant import LEGS, DamagedAnt
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

N_SENSES, N_ACTED = 27, 8
N_CLOCK = 2  # sine and cosine
_OF_GYMNASIUM = (
    "healthy_reward", "ctrl_cost_weight", "contact_cost_weight", "terminate_when_unhealthy",
)  # fmt: skip
_START = 0  # stream of the problem's seed


class AntDamageSettings(TaskSettings):
    """Settings of ``ant_damage``."""

    damages: tuple[Annotated[int, Field(ge=0, le=len(LEGS))], ...] = Field(
        (0, 1), min_length=1, description="which leg is short; 0 none, 1 front left, 4 front right"
    )
    length: float = Field(0.5, gt=0, le=1, description="share of a damaged lower leg that is left")
    time_limit: int = Field(200, ge=1, le=100_000, description="steps of a life")
    is_plastic: bool = Field(True, description="candidates are rules; otherwise fixed weights")
    senses: int = Field(
        N_SENSES, ge=0, le=N_SENSES, description="of the ant's numbers the first so many are seen: "
        "5 are height and orientation, 13 also the angles of joints, 27 also velocities"
    )  # fmt: skip
    is_shared: bool = Field(
        False, description="one A, B, C and h for all synapses of a motor; D is each synapse's own"
    )
    clock: float = Field(
        0.0, ge=0, le=1000, description="steps of a cycle whose phase is seen; 0: no such inputs"
    )
    rate: float = Field(0.1, gt=0, le=10, description="what all rates are multiplied by")
    healthy_reward: float = Field(0.0, ge=0, le=100, description="of each step, for being alive")
    ctrl_cost_weight: float = Field(0.1, ge=0, le=100, description="of the squared torques")
    contact_cost_weight: float = Field(
        0.0, ge=0, le=100, description="of the squared contact forces"
    )
    terminate_when_unhealthy: bool = Field(False, description="whether a fall ends the life")


@TASKS.register("ant_damage")
class AntDamageTask(VectorTask):
    """A linear policy with one Hebbian rule a synapse has to walk from random weights.

    The ant sees up to 27 numbers, cut at 5, a bias, and with a ``clock`` the sine and cosine of its
    phase, x; its torques are y = tanh(W x). A life begins at W ~ U(-0.1, 0.1); after each step W
    grows by rate h (A y x + B x + C y + D), with A, B, C, D and h of each synapse the candidate
    (5 x 224 numbers with all senses and no clock), and is divided by its greatest absolute value
    where that exceeds 1. With ``is_shared`` A, B, C and h are one number a motor, D one a synapse.
    No reward is seen. With ``is_plastic`` false a candidate is the weights themselves. Each damage
    is one life; fitness is the mean return, ``return_K`` that with damage K, and ``steps`` the mean
    length of a life.

    Sources: E. Najarro, S. Risi, "Meta-learning through Hebbian plasticity in random networks",
    NeurIPS 2020 (there two hidden layers and a leg that is cut off); J. Schulman et al.,
    "High-Dimensional Continuous Control Using Generalized Advantage Estimation", ICLR 2016, for
    the ant; Gymnasium's Ant-v5.

    Raises:
        InputError: Gymnasium or MuJoCo is not there.
    """

    Settings = AntDamageSettings
    baselines = ("start", "zero")
    largest_block = 8
    is_python = True
    settings: AntDamageSettings

    def prepare(self) -> None:
        """Make the ant."""
        _ = self._ant

    @property
    def shape(self) -> tuple[int, int]:
        """Motors and inputs."""
        s = self.settings
        return N_ACTED, s.senses + 1 + N_CLOCK * (s.clock > 0)

    @property
    def shapes(self) -> tuple[tuple[int, int], ...]:
        """Shapes of A, B, C, D and h; or of the weights."""
        if not self.settings.is_plastic:
            return (self.shape,)
        of_motor = (N_ACTED, 1) if self.settings.is_shared else self.shape
        return (of_motor, of_motor, of_motor, self.shape, of_motor)

    def domain(self) -> Domain:
        """Return coefficients without bounds, which start at 0 and rates at 1; or weights."""
        if not self.settings.is_plastic:
            born = self._born(draw_rng((self.seed,), _START))
            return Domain(born.ravel(), 0.1, shapes=self.shapes)
        x0 = [np.zeros(shape) for shape in self.shapes[:-1]]
        x0.append(np.ones(self.shapes[-1]))
        return Domain(np.concatenate([part.ravel() for part in x0]), 0.1, shapes=self.shapes)

    def score(self, points: FloatArray | LowRank, keys: Sequence[Key], split: str) -> VectorScores:
        """Score each candidate by its lives, one for each draw and damage."""
        vectors = points.dense() if isinstance(points, LowRank) else points
        damages = self.settings.damages
        lives = np.empty((len(vectors), len(keys), len(damages), 2))
        for k, damage in enumerate(damages):
            self._ant.shorten(damage)
            for of_vector, vector in zip(lives, vectors, strict=True):
                of_vector[:, k] = [self._life(vector, key) for key in keys]
        returns = lives[..., 0]
        metrics = {f"return_{d}": returns[:, :, k].mean(axis=1) for k, d in enumerate(damages)}
        metrics["steps"] = lives[..., 1].mean(axis=(1, 2))
        return VectorScores(returns.mean(axis=2), metrics)

    def baseline(self, name: str) -> FloatArray:
        """Return where searches start, or zeros."""
        x0 = self.domain().x0
        return np.zeros(len(x0)) if name == "zero" else x0

    def _life(self, vector: FloatArray, key: Key) -> tuple[float, int]:
        rng, s = draw_rng(key), self.settings
        seed, born = int(rng.integers(2**31)), self._born(rng)
        if not s.is_plastic:
            fixed = vector.reshape(self.shape)
            return self._ant.live(fixed, _left_alone, seed, senses=s.senses, clock=s.clock)
        ends = np.cumsum([prod(shape) for shape in self.shapes])[:-1]
        parts = [
            part.reshape(shape)
            for part, shape in zip(np.split(vector, ends), self.shapes, strict=True)
        ]
        hebb, pre, post, drift, rate = parts
        rate = s.rate * rate

        def learn(w: FloatArray, seen: FloatArray, acted: FloatArray) -> FloatArray:
            out = acted[:, None]
            w = w + rate * ((hebb * out + pre) * seen + post * out + drift)
            return w / max(1.0, float(np.abs(w).max()))

        return self._ant.live(born, learn, seed, senses=s.senses, clock=s.clock)

    def _born(self, rng: np.random.Generator) -> FloatArray:
        """Draw weights at birth."""
        return rng.uniform(-0.1, 0.1, self.shape)

    @cached_property
    def _ant(self) -> DamagedAnt:
        s = self.settings
        own = s.model_dump(include=set(_OF_GYMNASIUM))
        options = {"include_cfrc_ext_in_observation": False, **own}
        return DamagedAnt(options, length=s.length, time_limit=s.time_limit)


def _left_alone(w: FloatArray, seen: FloatArray, acted: FloatArray) -> FloatArray:
    return w
