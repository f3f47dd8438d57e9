"""Hopfield's associative memory: patterns are stored in one pass and recalled from parts.

It tells no classes apart and so is no learner of the tables. The task ``hopfield_storage`` asks
what other rules store; its units follow the same sign, of which that of 0 is +1, all at once.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from evosearch.engine.cache import compiled
from evosearch.errors import InputError
from evosearch.outcome import FloatArray


@dataclass(frozen=True)
class HopfieldNetwork:
    """N units of 1 or -1 that fall into the nearest of the patterns they were taught.

    Source: J. J. Hopfield, "Neural networks and physical systems with emergent collective
    computational abilities", PNAS 79, 1982.

    Attributes:
        weights: (N, N), symmetric, with zeros on the diagonal.

    Example:
        >>> memory = HopfieldNetwork.fit([[1, 1, 1, -1, -1, -1], [1, -1, 1, -1, 1, -1]])
        >>> memory.recall([[1, 1, 1, -1, -1, 1]])
        array([[ 1.,  1.,  1., -1., -1., -1.]])
    """

    weights: FloatArray

    @classmethod
    def fit(cls, patterns: ArrayLike) -> HopfieldNetwork:
        """Store patterns by Hebb's rule: the sum of their outer products over N, no diagonal.

        Args:
            patterns: (P, N) of 1 and -1; beyond .138 N random ones none is recalled well.

        Raises:
            InputError: the patterns are of another shape, or hold other numbers.
        """
        given = _signs("patterns", patterns, None)
        weights = given.T @ given / given.shape[1]
        np.fill_diagonal(weights, 0.0)
        return cls(weights)

    def recall(
        self, probes: ArrayLike, *, sweeps: int = 100, rng: np.random.Generator | None = None
    ) -> FloatArray:
        """Return where probes end (n, N) when units take turns until none changes.

        Args:
            probes: (n, N) of 1 and -1, such as patterns with some signs wrong.
            sweeps: turns of every unit at most, at least 1.
            rng: draws the order of each sweep; without it the units' own order.

        Raises:
            InputError: the probes are of another shape or hold other numbers, or there is no sweep.
        """
        states = _signs("probes", probes, len(self.weights))
        if sweeps < 1:
            raise InputError(f"sweeps is {sweeps}; it must be at least 1.")
        order = np.arange(len(self.weights))
        for _ in range(sweeps):
            if rng is not None:
                order = rng.permutation(len(self.weights))
            if not take_turns(self.weights, states, order):
                break
        return states

    def energy(self, states: ArrayLike) -> FloatArray:
        """Return -(1/2) s' W s of states (n, N); no turn of a unit raises it.

        Raises:
            InputError: the states are of another shape, or hold other numbers.
        """
        given = _signs("states", states, len(self.weights))
        return -0.5 * ((given @ self.weights) * given).sum(axis=1)


def _signs(name: str, values: ArrayLike, n_units: int | None) -> FloatArray:
    """Return a copy (n, N) after a look at its shape and numbers."""
    array = np.array(values, dtype=np.float64)
    if array.ndim != 2 or not array.size or n_units not in (None, array.shape[1]):
        wanted = "(n, N)" if n_units is None else f"(n, {n_units})"
        raise InputError(f"{name} have the shape {array.shape}; it must be {wanted}, n at least 1.")
    if not (np.abs(array) == 1).all():
        raise InputError(f"{name} hold other numbers than 1 and -1; they must hold only these.")
    return array


@compiled
def take_turns(weights: FloatArray, states: FloatArray, order: NDArray[np.int64]) -> int:
    """Let units of each state (n, N) follow the sign of their field in turn, in place.

    Args:
        weights: (N, N).
        states: (n, N) of 1 and -1, changed.
        order: units, in the order of their turns.

    Returns:
        How many units changed.
    """
    n_changed = 0
    for k in range(states.shape[0]):
        for unit in order:
            field = 0.0
            for other in range(states.shape[1]):
                field += weights[unit, other] * states[k, other]
            sign = 1.0 if field >= 0 else -1.0
            if sign != states[k, unit]:
                states[k, unit] = sign
                n_changed += 1
    return n_changed
