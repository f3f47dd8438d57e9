"""The car in the valley with a throttle."""

from __future__ import annotations

from typing import Any

import numpy as np

from evosearch.control.environment import ENVIRONMENTS, Environment
from evosearch.control.lanes import LANES, cosine, observe_state
from evosearch.engine.cache import compiled
from evosearch.outcome import FloatArray

_LEFT, _RIGHT, _GOAL, _TOP_SPEED = -1.2, 0.6, 0.45, 0.07
_POWER, _GRAVITY = 0.0015, 0.0025
_PRIZE, _FUEL = 100.0, 0.1


@compiled
def _step(state: Any, action: Any, reward: Any, is_done: Any) -> None:
    """Advance by one step; Gymnasium keeps the state in float32, so the bits are those of it."""
    real, single = state.dtype.type, np.float32
    zero, one = real(0.0), real(1.0)
    left, right, top = real(single(_LEFT)), real(single(_RIGHT)), real(single(_TOP_SPEED))
    goal, gravity = real(single(_GOAL)), real(_GRAVITY)
    for lane in range(LANES):
        x, speed, throttle = state[0, lane], state[1, lane], action[0, lane]
        force = min(max(throttle, -one), one)
        thrust = single(force) * single(_POWER)
        pull = single(gravity * cosine(real(single(3.0) * single(x))))
        speed = real(single(speed + real(thrust - pull)))
        speed = min(max(speed, -top), top)
        x = min(max(real(single(x + speed)), left), right)
        if x == left and speed < zero:
            speed = zero
        is_there = (x >= goal) & (speed >= zero)
        state[0, lane], state[1, lane] = x, speed
        reward[lane] = real(_PRIZE) * is_there - real(_FUEL) * (throttle * throttle)
        is_done[lane] = is_there


@ENVIRONMENTS.register("MountainCarContinuous-v0")
class MountainCarContinuous(Environment):
    """A car that must swing up to reach the hill to the right, with as little fuel as it can.

    State and observation: position in [-1.2, 0.6] and speed in [-0.07, 0.07] a step. Control: the
    throttle in [-1, 1], of which a step costs a tenth of the square; the goal earns 100. An
    episode ends at position 0.45, and after 999 steps.

    Source: A. Moore, "Efficient Memory-Based Learning for Robot Control", PhD thesis, Cambridge,
    1990, with the continuous control of Gymnasium.
    """

    n_state = 2
    n_observations = 2
    n_outputs = 1
    bounds = (-1.0, 1.0)
    time_limit = 999
    observe = staticmethod(observe_state)
    step = staticmethod(_step)

    def draw(self, rng: np.random.Generator) -> FloatArray:
        """Draw the position from [-0.6, -0.4); the car stands."""
        return np.array([rng.uniform(-0.6, -0.4), 0.0])
