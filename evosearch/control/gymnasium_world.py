"""An environment of Gymnasium, seen as flat observations and one list of outputs."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from evosearch.control.policy import Policy
from evosearch.errors import InputError
from evosearch.outcome import FloatArray

STEPS_AT_RANDOM = 4000
"""Steps whose observations stand for what there is to see."""


class GymnasiumWorld:
    """One environment, made once and reset for each episode with a seed of its own.

    Args:
        name: its id, e.g. ``Swimmer-v5``.
        options: what it is made with.
        time_limit: steps after which an episode ends; None: the environment's.

    Attributes:
        n_observations: numbers of a flat observation.
        n_outputs: numbers that a policy puts out.

    Raises:
        InputError: Gymnasium or the environment is not there, or its spaces fit no policy.
    """

    def __init__(
        self, name: str, options: Mapping[str, Any], *, time_limit: int | None = None
    ) -> None:
        self._environment = _made(name, options, time_limit)
        spaces = _gymnasium().spaces
        seen, acted = self._environment.observation_space, self._environment.action_space
        try:
            self.n_observations = int(spaces.utils.flatdim(seen))
        except (NotImplementedError, ValueError):
            raise InputError(
                f"environment {name!r} shows {seen}; observations must flatten to numbers."
            ) from None
        self._flatten: Callable[[Any, Any], Any] = spaces.utils.flatten
        self._is_discrete = isinstance(acted, spaces.Discrete)
        if self._is_discrete:
            self.n_outputs, self._first = int(acted.n), int(acted.start)
        elif isinstance(acted, spaces.Box) and acted.is_bounded():
            low, high = np.asarray(acted.low, np.float64), np.asarray(acted.high, np.float64)
            self._centre, self._reach = (high + low) / 2, (high - low) / 2
            self.n_outputs = int(low.size)
        else:
            raise InputError(
                f"environment {name!r} takes {acted}; actions must be Discrete or a bounded Box."
            )

    def episode(self, policy: Policy, arrays: list[FloatArray], seed: int) -> tuple[float, int]:
        """Return the sum of rewards and the number of steps of one episode."""
        observation, _ = self._environment.reset(seed=seed)
        feedback = np.zeros(policy.n_feedback)
        total, n_steps, is_over = 0.0, 0, False
        while not is_over:
            outputs, feedback = policy.answer(arrays, self._flat(observation), feedback)
            step = self._environment.step(self._action(outputs))
            observation, reward, is_terminated, is_truncated, _ = step
            total, n_steps = total + float(reward), n_steps + 1
            is_over = is_terminated or is_truncated
        return total, n_steps

    def seen_at_random(self, rng: np.random.Generator) -> FloatArray:
        """Return observations (steps, n_observations) under actions drawn at random."""
        space = self._environment.action_space
        space.seed(int(rng.integers(2**31)))
        seen = np.empty((STEPS_AT_RANDOM, self.n_observations))
        is_over, observation = True, None
        for row in seen:
            if is_over:
                observation, _ = self._environment.reset(seed=int(rng.integers(2**31)))
            row[:] = self._flat(observation)
            step = self._environment.step(space.sample())
            observation, is_over = step[0], step[2] or step[3]
        return seen

    def _flat(self, observation: Any) -> FloatArray:
        flat = self._flatten(self._environment.observation_space, observation)
        return np.asarray(flat, dtype=np.float64)

    def _action(self, outputs: FloatArray) -> Any:
        if self._is_discrete:
            return self._first + int(np.argmax(outputs))
        space = self._environment.action_space
        controls = np.clip(outputs, -1.0, 1.0).reshape(space.shape)
        return (self._centre + self._reach * controls).astype(space.dtype)


def _made(name: str, options: Mapping[str, Any], time_limit: int | None) -> Any:
    gymnasium = _gymnasium()
    limit = {} if time_limit is None else {"max_episode_steps": time_limit}
    try:
        environment = gymnasium.make(name, **limit, **options)
    except (gymnasium.error.Error, ImportError, TypeError) as error:
        raise InputError(f"environment {name!r} cannot be made: {error}") from None
    if environment.spec is None or environment.spec.max_episode_steps is None:
        raise InputError(f"environment {name!r} has no time limit; set time_limit.")
    return environment


def _gymnasium() -> Any:
    try:
        return importlib.import_module("gymnasium")
    except ImportError:
        raise InputError(
            "this task needs Gymnasium, which is not installed; pip install 'evosearch[gym]'."
        ) from None
