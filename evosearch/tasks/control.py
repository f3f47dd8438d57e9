"""Control: policies act in compiled environments."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from pydantic import Field

from evosearch.control.policy import Policy
from evosearch.outcome import FloatArray
from evosearch.populations import LowRank
from evosearch.tasks.base import TASKS, Domain, Key, VectorScores, VectorTask, draw_rng
from evosearch.tasks.policies import PolicySettings

if TYPE_CHECKING:
    from evosearch.control.environment import Environment

# Streams of the problem's seed.
_START, _SCALES = 0, 1


class ControlSettings(PolicySettings):
    """Settings of ``control``."""

    environment: str = Field("CartPole-v1", description="which environment")
    dtype: Literal["float32", "float64"] = Field(
        "float32", description="float32 is faster; the dynamics of float64 are Gymnasium's"
    )
    time_limit: int | None = Field(
        None, ge=1, le=1_000_000, description="steps of an episode; default: the environment's"
    )


@TASKS.register("control")
class ControlTask(VectorTask):
    """The weights of a policy that acts in an environment; fitness is the sum of its rewards.

    A draw is the state in which an episode begins, the same for all policies. Observations may be
    normalised by the mean and the standard deviation that actions at random see, which follow the
    problem's seed. ``zero`` is the policy whose weights are all zero. The metric ``steps`` is the
    length of an episode.
    """

    Settings = ControlSettings
    baselines = ("start", "zero")
    largest_block = 256
    settings: ControlSettings

    def __init__(self, settings: Any, *, seed: int, device: str = "cpu") -> None:
        from evosearch.control.environment import ENVIRONMENTS

        super().__init__(settings, seed=seed, device=device)
        self.environment: Environment = ENVIRONMENTS.get(self.settings.environment)()
        self.policy = Policy(
            self.environment.n_observations,
            self.settings.hidden,
            self.environment.n_outputs,
            self.settings.policy,
        )
        self._scales = self._seen_at_random() if self.settings.normalise else None

    def domain(self) -> Domain:
        """Return all weights, without bounds; searches start at small ones."""
        x0 = self.policy.draw(draw_rng((self.seed,), _START))
        return Domain(x0, sigma0=0.3, shapes=self.policy.shapes)

    def score(self, points: FloatArray | LowRank, keys: Sequence[Key], split: str) -> VectorScores:
        """Score each policy by its returns; all splits draw from the same states."""
        from evosearch.control.rollout import run_episodes

        vectors = points.dense() if isinstance(points, LowRank) else points
        if self._scales is not None:
            vectors = self.policy.folded(vectors, *self._scales)
        starts = np.stack([self.environment.draw(draw_rng(key)) for key in keys])
        returns, n_steps = run_episodes(
            self.environment,
            self.policy,
            vectors,
            starts,
            dtype=self.settings.dtype,
            time_limit=self.settings.time_limit,
        )
        return VectorScores(returns, {"steps": n_steps.mean(axis=1)})

    def baseline(self, name: str) -> FloatArray:
        """Return where searches start, or zeros."""
        return np.zeros(self.policy.dimension) if name == "zero" else super().baseline(name)

    def _seen_at_random(self) -> tuple[FloatArray, FloatArray]:
        from evosearch.control.observations import seen_at_random

        return seen_at_random(self.environment, draw_rng((self.seed,), _SCALES))
