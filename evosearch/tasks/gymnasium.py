"""Control in any environment of Gymnasium, in Python."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import numpy as np
from pydantic import Field

from evosearch.control.gymnasium_world import GymnasiumWorld
from evosearch.control.policy import Policy, observation_scales
from evosearch.outcome import FloatArray
from evosearch.populations import LowRank
from evosearch.tasks.base import TASKS, Domain, Key, VectorScores, VectorTask, draw_rng
from evosearch.tasks.policies import PolicySettings

# Streams of the problem's seed.
_START, _SCALES = 0, 1


class GymnasiumSettings(PolicySettings):
    """Settings of ``gymnasium``."""

    id: str = Field(description="name of the environment, e.g. Swimmer-v5")
    options: dict[str, bool | int | float | str] = Field(
        default_factory=dict, description="what the environment is made with"
    )
    time_limit: int | None = Field(
        None, ge=1, le=1_000_000, description="steps of an episode; default: the environment's"
    )


@TASKS.register("gymnasium")
class GymnasiumTask(VectorTask):
    """The weights of a policy that acts in an environment of Gymnasium.

    A draw is the seed of an episode, the same for all policies; fitness is the sum of the rewards.
    Observations are flattened, discrete ones to one number for each value. Of discrete actions the
    first of the greatest outputs acts; continuous ones are the outputs, cut to [-1, 1] and
    stretched to the bounds. Observations may be normalised by the mean and the standard deviation
    of what 4,000 steps at random see, which follow the problem's seed, so that all workers use the
    same. The metric ``steps`` is the length of an episode.

    Source: M. Towers et al., "Gymnasium: A Standard Interface for Reinforcement Learning
    Environments", 2024, arXiv:2407.17032.

    Raises:
        InputError: Gymnasium or the environment is not there, or its spaces fit no policy.
    """

    Settings = GymnasiumSettings
    baselines = ("start", "zero")
    largest_block = 8
    is_python = True
    settings: GymnasiumSettings

    def prepare(self) -> None:
        """Make the environment, and a policy that fits it."""
        _ = self.policy

    def domain(self) -> Domain:
        """Return all weights, without bounds; searches start at small ones."""
        x0 = self.policy.draw(draw_rng((self.seed,), _START))
        return Domain(x0, sigma0=0.1, shapes=self.policy.shapes)

    def score(self, points: FloatArray | LowRank, keys: Sequence[Key], split: str) -> VectorScores:
        """Score each policy by its returns; all splits draw from the same states."""
        vectors = points.dense() if isinstance(points, LowRank) else points
        if self.settings.normalise:
            vectors = self.policy.folded(vectors, *self._scales)
        seeds = [int(np.random.SeedSequence(key).generate_state(1)[0]) for key in keys]
        lives = np.empty((len(vectors), len(seeds), 2))
        for of_vector, vector in zip(lives, vectors, strict=True):
            arrays = self.policy.arrays(vector)
            of_vector[:] = [self._world.episode(self.policy, arrays, seed) for seed in seeds]
        return VectorScores(lives[:, :, 0], {"steps": lives[:, :, 1].mean(axis=1)})

    def baseline(self, name: str) -> FloatArray:
        """Return where searches start, or zeros."""
        return np.zeros(self.policy.dimension) if name == "zero" else super().baseline(name)

    @cached_property
    def policy(self) -> Policy:
        """The policy that fits the environment's observations and actions."""
        world = self._world
        hidden, kind = self.settings.hidden, self.settings.policy
        return Policy(world.n_observations, hidden, world.n_outputs, kind)

    @cached_property
    def _world(self) -> GymnasiumWorld:
        settings = self.settings
        return GymnasiumWorld(settings.id, settings.options, time_limit=settings.time_limit)

    @cached_property
    def _scales(self) -> tuple[FloatArray, FloatArray]:
        return observation_scales(self._world.seen_at_random(draw_rng((self.seed,), _SCALES)))
