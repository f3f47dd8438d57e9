"""Normalisers for learners with a kernel of their own: increments become changes.

The same arithmetic as :mod:`evosearch.circuits.normalisers` gives the phases of circuits.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from evosearch.circuits.normalisers import (
    ADAM_FLOOR,
    ADAM_MEAN,
    ADAM_SQUARE,
    LARGEST_CHANGE,
    MOMENTUM,
    NORMALISERS,
)
from evosearch.errors import unknown_name


class Steps:
    """Applies increments to parameters, in place, with a state of its own.

    Args:
        normaliser: none, clip, sign, momentum or adam.
        rate: learning rate, > 0.

    Raises:
        InputError: there is no normaliser of this name.
    """

    def __init__(self, normaliser: str, rate: float) -> None:
        if normaliser not in NORMALISERS:
            raise unknown_name("normaliser", normaliser, NORMALISERS)
        self._kind, self._rate, self._count = normaliser, rate, 0
        self._states: list[list[NDArray[np.floating]]] = []

    def apply(
        self,
        parameters: Sequence[NDArray[np.floating]],
        increments: Sequence[NDArray[np.floating]],
    ) -> None:
        """Change parameters in the direction of increments, the mean over a minibatch.

        Args:
            parameters: arrays that are changed; the same ones in each call.
            increments: of the same shapes.
        """
        if not self._states:
            self._states = [[np.zeros_like(p), np.zeros_like(p)] for p in parameters]
        self._count += 1
        for parameter, increment, state in zip(parameters, increments, self._states, strict=True):
            parameter += self._change(increment, state)

    def _change(
        self, increment: NDArray[np.floating], state: list[NDArray[np.floating]]
    ) -> NDArray[np.floating]:
        if self._kind == "adam":
            mean, square = state
            mean += (1 - ADAM_MEAN) * (increment - mean)
            square += (1 - ADAM_SQUARE) * (increment**2 - square)
            full, full_square = 1 - ADAM_MEAN**self._count, 1 - ADAM_SQUARE**self._count
            return self._rate * (mean / full) / (np.sqrt(square / full_square) + ADAM_FLOOR)
        if self._kind == "momentum":
            velocity = state[0]
            velocity *= MOMENTUM
            velocity += self._rate * increment
            return velocity
        if self._kind == "sign":
            return self._rate * np.sign(increment)
        if self._kind == "clip":
            return np.clip(self._rate * increment, -LARGEST_CHANGE, LARGEST_CHANGE)
        return self._rate * increment
