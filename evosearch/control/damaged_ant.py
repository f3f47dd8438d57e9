"""Gymnasium's ant with a shortened leg, and the life of a network that acts in it and changes."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import numpy as np

from evosearch.control.gymnasium_world import GymnasiumWorld
from evosearch.outcome import FloatArray

LEGS = ("left_ankle_geom", "right_ankle_geom", "third_ankle_geom", "fourth_ankle_geom")
"""Lower legs 1 to 4: front left, back left, back right, front right, x being forward."""

Learning: TypeAlias = Callable[[FloatArray, FloatArray, FloatArray], FloatArray]
"""What makes new weights of weights, input and output."""


class DamagedAnt(GymnasiumWorld):
    """An ant whose lower legs may be shortened, one at a time.

    Args:
        options: what ``Ant-v5`` is made with.
        length: share of a damaged lower leg that is left; its mass is not changed.
        time_limit: steps after which an episode ends.

    Raises:
        InputError: Gymnasium or MuJoCo is not there.
    """

    def __init__(self, options: Mapping[str, Any], *, length: float, time_limit: int) -> None:
        super().__init__("Ant-v5", options, time_limit=time_limit)
        self._model = self._environment.unwrapped.model
        self._legs = [int(self._model.geom(name).id) for name in LEGS]
        self._whole = self._model.geom_size.copy(), self._model.geom_pos.copy()
        self._length = length

    def shorten(self, leg: int) -> None:
        """Make one leg short and the others whole; 0 leaves all whole."""
        for part, whole in zip(
            (self._model.geom_size, self._model.geom_pos), self._whole, strict=True
        ):
            part[:] = whole
        if leg:
            # The second number of a capsule's size is half its length.
            self._model.geom_size[self._legs[leg - 1], 1] *= self._length
            self._model.geom_pos[self._legs[leg - 1]] *= self._length

    def live(
        self, w: FloatArray, learn: Learning, seed: int, *, senses: int, clock: float = 0.0
    ) -> tuple[float, int]:
        """Return the sum of rewards and the number of steps of one life.

        Args:
            w: (8, senses + 1) weights at birth, the last column that of the bias; two columns more
                with a clock.
            learn: what changes them after each step.
            seed: of the first state.
            senses: how many observations are seen, the first of all.
            clock: steps of a cycle, whose sine and cosine are seen; 0 for none.
        """
        observation, _ = self._environment.reset(seed=seed)
        total, n_steps, is_over = 0.0, 0, False
        while not is_over:
            body = np.clip(self._flat(observation)[:senses], -5.0, 5.0)
            seen = np.concatenate([body, [1.0], _phase(n_steps, clock)])
            acted = np.tanh(w @ seen)
            observation, reward, is_terminated, is_truncated, _ = self._environment.step(
                self._action(acted)
            )
            w = learn(w, seen, acted)
            total, n_steps = total + float(reward), n_steps + 1
            is_over = is_terminated or is_truncated
        return total, n_steps


def _phase(step: int, clock: float) -> list[float]:
    """Return sine and cosine of a cycle of ``clock`` steps, nothing without a clock."""
    if not clock:
        return []
    angle = math.tau * step / clock
    return [math.sin(angle), math.cos(angle)]
