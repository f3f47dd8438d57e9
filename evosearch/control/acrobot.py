"""Two links that hang from a joint, to be swung up by a motor at the elbow."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from evosearch.control.environment import ENVIRONMENTS, Environment
from evosearch.control.lanes import LANES, cosine, inlined, sine
from evosearch.engine.cache import compiled
from evosearch.outcome import FloatArray

_GRAVITY, _DT = 9.8, 0.2
_TOP_SPEED_1, _TOP_SPEED_2 = 4 * math.pi, 9 * math.pi


@inlined
def _accelerations(angle_1: Any, angle_2: Any, speed_1: Any, speed_2: Any, torque: Any) -> Any:
    """Return both angular accelerations, of links of 1 kg, 1 m and inertia 1 kg m^2."""
    real = type(angle_1)
    half, one, two, gravity = real(0.5), real(1.0), real(2.0), real(_GRAVITY)
    quarter_turn = real(math.pi / 2)
    cos_2, sin_2 = cosine(angle_2), sine(angle_2)
    d_1 = real(0.25) + (real(1.25) + cos_2) + one + one
    d_2 = (real(0.25) + half * cos_2) + one
    phi_2 = half * gravity * cosine(angle_1 + angle_2 - quarter_turn)
    phi_1 = (
        -half * (speed_2 * speed_2) * sin_2
        - two * half * speed_2 * speed_1 * sin_2
        + real(1.5) * gravity * cosine(angle_1 - quarter_turn)
        + phi_2
    )
    acc_2 = (torque + d_2 / d_1 * phi_1 - half * (speed_1 * speed_1) * sin_2 - phi_2) / (
        real(1.25) - d_2 * d_2 / d_1
    )
    return -(d_2 * acc_2 + phi_1) / d_1, acc_2


@inlined
def _wrapped(angle: Any) -> Any:
    """Bring an angle that is less than two turns off into [-pi, pi]."""
    real = type(angle)
    pi, turn = real(math.pi), real(2 * math.pi)
    for _ in range(2):
        angle = angle - turn if angle > pi else angle
        angle = angle + turn if angle < -pi else angle
    return angle


@compiled
def _observe(state: Any, observations: Any) -> None:
    for lane in range(LANES):
        observations[0, lane] = np.float32(cosine(state[0, lane]))
        observations[1, lane] = np.float32(sine(state[0, lane]))
        observations[2, lane] = np.float32(cosine(state[1, lane]))
        observations[3, lane] = np.float32(sine(state[1, lane]))
        observations[4, lane] = np.float32(state[2, lane])
        observations[5, lane] = np.float32(state[3, lane])


@compiled
def _step(state: Any, action: Any, reward: Any, is_done: Any) -> None:
    """Advance by one step of the classical Runge-Kutta method."""
    real = state.dtype.type
    two, dt, half, sixth = real(2.0), real(_DT), real(_DT / 2.0), real(_DT / 6.0)
    top_1, top_2 = real(_TOP_SPEED_1), real(_TOP_SPEED_2)
    for lane in range(LANES):
        p, q, v, w = state[0, lane], state[1, lane], state[2, lane], state[3, lane]
        torque = action[0, lane] - real(1.0)
        a1, b1 = _accelerations(p, q, v, w, torque)
        v2, w2 = v + half * a1, w + half * b1
        a2, b2 = _accelerations(p + half * v, q + half * w, v2, w2, torque)
        v3, w3 = v + half * a2, w + half * b2
        a3, b3 = _accelerations(p + half * v2, q + half * w2, v3, w3, torque)
        v4, w4 = v + dt * a3, w + dt * b3
        a4, b4 = _accelerations(p + dt * v3, q + dt * w3, v4, w4, torque)
        p = _wrapped(p + sixth * (v + two * v2 + two * v3 + v4))
        q = _wrapped(q + sixth * (w + two * w2 + two * w3 + w4))
        v = min(max(v + sixth * (a1 + two * a2 + two * a3 + a4), -top_1), top_1)
        w = min(max(w + sixth * (b1 + two * b2 + two * b3 + b4), -top_2), top_2)
        state[0, lane], state[1, lane], state[2, lane], state[3, lane] = p, q, v, w
        is_up = -cosine(p) - cosine(q + p) > real(1.0)
        reward[lane] = real(0.0) if is_up else real(-1.0)
        is_done[lane] = is_up


@ENVIRONMENTS.register("Acrobot-v1")
class Acrobot(Environment):
    """Two hanging links; until the tip is one link above the joint, each step costs 1.

    State: both angles (0 hangs down, the second relative to the first) and their speeds, at most
    4 pi and 9 pi; observation: cosine and sine of either angle, and the speeds. Actions: a torque
    of -1, 0 or 1 N m at the elbow. An episode ends when the tip is up, and after 500 steps of
    0.2 s.

    Source: R. Sutton, "Generalization in Reinforcement Learning: Successful Examples Using Sparse
    Coarse Coding", NeurIPS 8, 1996, with the equations of R. Sutton, A. Barto, "Reinforcement
    Learning", 1998.
    """

    n_state = 4
    n_observations = 6
    n_outputs = 3
    time_limit = 500
    observe = staticmethod(_observe)
    step = staticmethod(_step)

    def draw(self, rng: np.random.Generator) -> FloatArray:
        """Draw all four numbers from [-0.1, 0.1), in float32."""
        return rng.uniform(-0.1, 0.1, 4).astype(np.float32).astype(np.float64)
