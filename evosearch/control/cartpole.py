"""A pole on a cart, to be kept upright by pushes to the left or right."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from evosearch.control.environment import ENVIRONMENTS, Environment
from evosearch.control.lanes import LANES, cosine, observe_state, sine
from evosearch.engine.cache import compiled
from evosearch.outcome import FloatArray

_GRAVITY, _FORCE, _TAU = 9.8, 10.0, 0.02
_POLE_MASS, _TOTAL_MASS, _HALF_LENGTH = 0.1, 0.1 + 1.0, 0.5
_POLE_MOMENT, _FOUR_THIRDS = _POLE_MASS * _HALF_LENGTH, 4.0 / 3.0
_X_LIMIT, _ANGLE_LIMIT = 2.4, 12 * 2 * math.pi / 360


@compiled
def _step(state: Any, action: Any, reward: Any, is_done: Any) -> None:
    """Advance by one Euler step; the order of operations is part of the bits."""
    real = state.dtype.type
    one, gravity, tau = real(1.0), real(_GRAVITY), real(_TAU)
    pole, total, moment = real(_POLE_MASS), real(_TOTAL_MASS), real(_POLE_MOMENT)
    for lane in range(LANES):
        x, x_dot = state[0, lane], state[1, lane]
        angle, angle_dot = state[2, lane], state[3, lane]
        force = real(_FORCE) if action[0, lane] == one else real(-_FORCE)
        cos, sin = cosine(angle), sine(angle)
        push = (force + moment * (angle_dot * angle_dot) * sin) / total
        inertia = real(_HALF_LENGTH) * (real(_FOUR_THIRDS) - pole * (cos * cos) / total)
        angle_acc = (gravity * sin - cos * push) / inertia
        x_acc = push - moment * angle_acc * cos / total
        x, x_dot = x + tau * x_dot, x_dot + tau * x_acc
        angle, angle_dot = angle + tau * angle_dot, angle_dot + tau * angle_acc
        state[0, lane], state[1, lane] = x, x_dot
        state[2, lane], state[3, lane] = angle, angle_dot
        reward[lane] = one
        is_done[lane] = (abs(x) > real(_X_LIMIT)) | (abs(angle) > real(_ANGLE_LIMIT))


@ENVIRONMENTS.register("CartPole-v1")
class CartPole(Environment):
    """A pole hinged to a cart; each step before it falls or the cart leaves the track earns 1.

    State and observation: position (m), its speed, the pole's angle (0 is upright) and its speed.
    Actions: a push of 10 N to the left (0) or right (1). An episode ends beyond 2.4 m or 12
    degrees, and after 500 steps of 0.02 s.

    Source: A. Barto, R. Sutton, C. Anderson, "Neuronlike Adaptive Elements That Can Solve
    Difficult Learning Control Problems", IEEE Transactions on Systems, Man, and Cybernetics 13,
    1983; equations without friction as in R. Florian, "Correct equations for the dynamics of the
    cart-pole system", 2007.
    """

    n_state = 4
    n_observations = 4
    n_outputs = 2
    time_limit = 500
    observe = staticmethod(observe_state)
    step = staticmethod(_step)

    def draw(self, rng: np.random.Generator) -> FloatArray:
        """Draw all four numbers from [-0.05, 0.05)."""
        return rng.uniform(-0.05, 0.05, 4)
