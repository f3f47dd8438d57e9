"""A car in a valley whose engine is too weak to drive straight up the hill."""

from __future__ import annotations

from typing import Any

import numpy as np

from evosearch.control.environment import ENVIRONMENTS, Environment
from evosearch.control.lanes import LANES, cosine, observe_state
from evosearch.engine.cache import compiled
from evosearch.outcome import FloatArray

_LEFT, _RIGHT, _GOAL, _TOP_SPEED = -1.2, 0.6, 0.5, 0.07
_FORCE, _GRAVITY = 0.001, 0.0025


@compiled
def _step(state: Any, action: Any, reward: Any, is_done: Any) -> None:
    real = state.dtype.type
    zero, one, three = real(0.0), real(1.0), real(3.0)
    left, right, top = real(_LEFT), real(_RIGHT), real(_TOP_SPEED)
    force, gravity = real(_FORCE), real(_GRAVITY)
    for lane in range(LANES):
        x, speed = state[0, lane], state[1, lane]
        speed += (action[0, lane] - one) * force + cosine(three * x) * -gravity
        speed = min(max(speed, -top), top)
        x = min(max(x + speed, left), right)
        if x == left and speed < zero:
            speed = zero
        state[0, lane], state[1, lane] = x, speed
        reward[lane] = -one
        is_done[lane] = (x >= real(_GOAL)) & (speed >= zero)


@ENVIRONMENTS.register("MountainCar-v0")
class MountainCar(Environment):
    """A car that must swing up to reach the hill to the right; each step costs 1.

    State and observation: position in [-1.2, 0.6] and speed in [-0.07, 0.07] a step. Actions: push
    left (0), nothing (1), push right (2). An episode ends at position 0.5, and after 200 steps.

    Source: A. Moore, "Efficient Memory-Based Learning for Robot Control", PhD thesis, Cambridge,
    1990.
    """

    n_state = 2
    n_observations = 2
    n_outputs = 3
    time_limit = 200
    observe = staticmethod(observe_state)
    step = staticmethod(_step)

    def draw(self, rng: np.random.Generator) -> FloatArray:
        """Draw the position from [-0.6, -0.4); the car stands."""
        return np.array([rng.uniform(-0.6, -0.4), 0.0])
