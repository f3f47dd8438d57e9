"""What a compiled environment is; each is one file of this package with one registered class."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar

import numpy as np

from evosearch.outcome import FloatArray
from evosearch.registry import Registry

ENVIRONMENTS: Registry[type[Environment]] = Registry("environment", "evosearch.control")


class Environment(ABC):
    """An environment that advances a block of episodes, one a lane, by one step at a time.

    ``observe`` and ``step`` are compiled functions on arrays of float32 or float64 whose last axis
    is the lanes of :mod:`evosearch.control.lanes`: what happens in a lane depends on this lane
    alone. Angles are in radians, times in seconds.

    Attributes:
        n_state: numbers that are the whole state of an episode.
        n_observations: numbers that a policy sees.
        n_outputs: numbers that a policy puts out: one for each action, of which the greatest acts,
            or where ``bounds`` is set one for each control.
        bounds: least and greatest value of a control; None where actions are discrete.
        time_limit: steps after which an episode ends.
        observe: ``observe(state, observations)`` fills rows of ``observations``, rounded to
            float32 as Gymnasium hands them out.
        step: ``step(state, action, reward, is_done)`` changes ``state`` (n_state, lanes) and fills
            ``reward`` (lanes,) and ``is_done`` (lanes,); ``action`` (controls, lanes) holds the
            controls, or the number of the action in row 0.
    """

    n_state: ClassVar[int]
    n_observations: ClassVar[int]
    n_outputs: ClassVar[int]
    bounds: ClassVar[tuple[float, float] | None] = None
    time_limit: ClassVar[int]
    observe: ClassVar[Any]
    step: ClassVar[Any]

    @abstractmethod
    def draw(self, rng: np.random.Generator) -> FloatArray:
        """Draw the state (n_state,) in which an episode begins."""
