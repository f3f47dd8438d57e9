"""What a policy sees before it has learned anything; observations are normalised by it."""

from __future__ import annotations

import numpy as np

from evosearch.control.environment import Environment
from evosearch.control.lanes import LANES
from evosearch.control.policy import observation_scales
from evosearch.outcome import FloatArray


def seen_at_random(
    environment: Environment, rng: np.random.Generator
) -> tuple[FloatArray, FloatArray]:
    """Return mean and standard deviation (n_observations,) of what actions at random see.

    A number of episodes run for the environment's time limit, with actions drawn uniformly; those
    that end begin again.
    """
    state = np.stack([environment.draw(rng) for _ in range(LANES)], axis=1)
    seen = np.empty((environment.time_limit, environment.n_observations, LANES))
    reward, is_done = np.empty(LANES), np.empty(LANES, dtype=np.bool_)
    for observations in seen:
        environment.observe(state, observations)
        environment.step(state, _random_action(environment, rng), reward, is_done)
        for lane in np.flatnonzero(is_done):
            state[:, lane] = environment.draw(rng)
    return observation_scales(seen.transpose(0, 2, 1).reshape(-1, environment.n_observations))


def _random_action(environment: Environment, rng: np.random.Generator) -> FloatArray:
    if environment.bounds is None:
        return rng.integers(environment.n_outputs, size=(1, LANES)).astype(np.float64)
    return rng.uniform(*environment.bounds, (environment.n_outputs, LANES))
