"""A pendulum to be swung up and held with a weak motor."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from evosearch.control.environment import ENVIRONMENTS, Environment
from evosearch.control.lanes import LANES, cosine, sine
from evosearch.engine.cache import compiled
from evosearch.outcome import FloatArray

_TOP_SPEED, _TORQUE, _DT = 8.0, 2.0, 0.05
_GRAVITY, _INVERSE_INERTIA = 3 * 10.0 / 2, 3.0  # of a rod of 1 kg and 1 m


@compiled
def _observe(state: Any, observations: Any) -> None:
    for lane in range(LANES):
        angle = state[0, lane]
        observations[0, lane] = np.float32(cosine(angle))
        observations[1, lane] = np.float32(sine(angle))
        observations[2, lane] = np.float32(state[1, lane])


@compiled
def _step(state: Any, action: Any, reward: Any, is_done: Any) -> None:
    real = state.dtype.type
    pi, turn, top, dt = real(math.pi), real(2 * math.pi), real(_TOP_SPEED), real(_DT)
    torque, gravity, single = real(_TORQUE), real(_GRAVITY), np.float32
    for lane in range(LANES):
        angle, speed = state[0, lane], state[1, lane]
        # Gymnasium multiplies the torque in the float32 in which it is handed over.
        u = single(min(max(action[0, lane], -torque), torque))
        turned = angle + pi
        # The angle from upright, in [-pi, pi).
        tilt = turned - turn * np.floor(turned / turn) - pi
        cost = tilt * tilt + real(0.1) * (speed * speed) + real(single(0.001) * (u * u))
        speed = speed + (gravity * sine(angle) + real(single(_INVERSE_INERTIA) * u)) * dt
        speed = min(max(speed, -top), top)
        state[0, lane], state[1, lane] = angle + speed * dt, speed
        reward[lane] = -cost
        is_done[lane] = False


@ENVIRONMENTS.register("Pendulum-v1")
class Pendulum(Environment):
    """A pendulum that is swung up and held; a step costs angle^2 + 0.1 speed^2 + 0.001 torque^2.

    State: angle (0 is upright) and angular speed in [-8, 8]; observation: cosine and sine of the
    angle, and the speed. Control: the torque in [-2, 2]. An episode ends after 200 steps of 0.05 s.

    Source: the pendulum of Gymnasium; K. Furuta, M. Yamakita, S. Kobayashi, "Swing-up control of
    inverted pendulum using pseudo-state feedback", 1992, for the problem.
    """

    n_state = 2
    n_observations = 3
    n_outputs = 1
    bounds = (-2.0, 2.0)
    time_limit = 200
    observe = staticmethod(_observe)
    step = staticmethod(_step)

    def draw(self, rng: np.random.Generator) -> FloatArray:
        """Draw the angle from [-pi, pi) and the speed from [-1, 1)."""
        return rng.uniform([-math.pi, -1.0], [math.pi, 1.0])
