"""Nonlinear constraints for searches that know none: an augmented Lagrangian around a loss."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np

from evosearch.errors import InputError
from evosearch.outcome import FloatArray

BatchFunction: TypeAlias = Callable[[FloatArray], Any]

_K_1, _K_2, _DAMPING = 3.0, 5.0, 5.0  # of Atamna et al. 2017
# Factor by which a weight grows in four generations, and shrinks in one. The paper's 2^(1/(5 d)) is
# so near to 1 that a linear loss in a ball of ten dimensions is far from its optimum after 1,300
# generations; with this it takes 700.
_GROWTH = 1.15


class AugmentedLagrangian:
    """A loss under constraints g(x) <= 0 as a loss without, whose coefficients adapt.

    The loss is f + sum_j (l_j p_j + w_j p_j^2 / 2) with p_j = max(g_j, -l_j / w_j). After each
    generation, ``update`` moves the multipliers l along the constraints at the mean of the search
    and changes the weights w, until the least loss lies where the constrained optimum is. So the
    loss changes from generation to generation, and a search must neither restart nor stop when a
    loss of old is not reached again: for ``cmaes``, ``restarts="none"``, ``flat=0`` and a great
    ``patience``.

    Source: A. Atamna, A. Auger, N. Hansen, "Linearly Convergent Evolution Strategies via Augmented
    Lagrangian Constraint Handling", FOGA 2017, algorithm 1, with a faster change of weights, which
    begin at the first generation's spread; multipliers begin at 0.

    Args:
        fun: points (n, d) to losses (n,).
        constraints: points (n, d) to values (n, m), feasible where all are at most 0.

    Attributes:
        x: (d,) the best feasible point so far, None where there was none.
        loss: its loss, infinite where there is none.

    Example:
        >>> lagrangian = AugmentedLagrangian(lambda x: (x**2).sum(axis=1), lambda x: 1 - x[:, :1])
        >>> lagrangian(np.array([[0.0, 0.0], [2.0, 0.0]])).shape
        (2,)
        >>> lagrangian.update(np.array([0.5, 0.0])), lagrangian.loss
        (None, 4.0)
    """

    def __init__(self, fun: BatchFunction, constraints: BatchFunction) -> None:
        self._fun, self._constraints = fun, constraints
        self._multipliers: FloatArray | None = None
        self._weights: FloatArray = np.zeros(0)
        self._last: FloatArray | None = None  # loss, then constraints at the last mean
        self.x: FloatArray | None = None
        self.loss = math.inf

    def __call__(self, points: FloatArray) -> FloatArray:
        """Return the losses (n,) to minimise at present; note feasible points."""
        f, g = self._evaluated(points)
        if self._multipliers is None:
            self._begin(f, g, points.shape[1])
        feasible = np.where((g <= 0.0).all(axis=1) & np.isfinite(f), f, np.inf)
        best = int(feasible.argmin())
        if feasible[best] < self.loss:
            self.x, self.loss = np.array(points[best]), float(feasible[best])
        return f + self._penalties(g)

    def update(self, mean: FloatArray) -> None:
        """Adapt the coefficients to the mean (d,) of the search, after each generation."""
        assert self._multipliers is not None, "there has been no generation yet"
        f, g = (values[0] for values in self._evaluated(mean[None]))
        if not (np.isfinite(f) and np.isfinite(g).all()):
            return
        last, self._last = self._last, np.concatenate([[f], g])
        if last is not None:
            d = len(mean)
            change = f + self._penalties(g) - last[0] - self._penalties(last[1:])
            is_light = self._weights * g * g < _K_1 * abs(change) / d
            is_slow = _K_2 * np.abs(g - last[1:]) < np.abs(last[1:])
            factors = np.where(is_light | is_slow, _GROWTH**0.25, 1 / _GROWTH)
        else:
            factors = np.ones(len(g))
        bounded = np.maximum(g, -self._multipliers / self._weights)
        self._multipliers = self._multipliers + self._weights / _DAMPING * bounded
        self._weights = self._weights * factors

    def state_dict(self) -> dict[str, Any]:
        """Return the coefficients and the best point, as arrays; empty ones for what is not yet."""
        arrays = {"multipliers": self._multipliers, "last": self._last, "x": self.x}
        state = {name: np.zeros(0) if a is None else a.copy() for name, a in arrays.items()}
        return {**state, "weights": self._weights.copy(), "loss": np.array(self.loss)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on as the one that wrote ``state``."""
        arrays = {name: np.array(state[name], dtype=np.float64) for name in state}
        is_there = {name: array if array.size else None for name, array in arrays.items()}
        self._multipliers, self._weights = is_there["multipliers"], arrays["weights"]
        self._last, self.x, self.loss = is_there["last"], is_there["x"], float(arrays["loss"])

    def _evaluated(self, points: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Return losses (n,) and constraints (n, m) of points (n, d)."""
        n = len(points)
        f = np.asarray(self._fun(points), dtype=np.float64)
        g = np.asarray(self._constraints(points), dtype=np.float64)
        if f.shape != (n,):
            raise InputError(f"the loss of {n} points has shape {f.shape}; it must be ({n},).")
        if g.ndim != 2 or len(g) != n or g.shape[1] == 0:
            raise InputError(
                f"the constraints of {n} points have shape {g.shape}; it must be ({n}, m), one "
                "column a constraint."
            )
        return f, g

    def _begin(self, f: FloatArray, g: FloatArray, dimension: int) -> None:
        """Weigh constraints so that their spread is to that of losses as one number is to all."""
        is_ok = np.isfinite(f) & np.isfinite(g).all(axis=1)
        if not is_ok.any():
            self._multipliers, self._weights = np.zeros(g.shape[1]), np.ones(g.shape[1])
            return
        spread_f, spread_g = (_spread(values[is_ok]) for values in (f, g * g))
        weights = spread_f / (dimension * np.maximum(spread_g, 1e-300))
        self._weights = np.where((weights > 0) & np.isfinite(weights), weights, 1.0)
        self._multipliers = np.zeros(g.shape[1])

    def _penalties(self, g: FloatArray) -> FloatArray:
        """Return the sums of penalties of constraints (..., m)."""
        assert self._multipliers is not None
        bounded = np.maximum(g, -self._multipliers / self._weights)
        return (self._multipliers * bounded + 0.5 * self._weights * bounded * bounded).sum(axis=-1)


def _spread(values: FloatArray) -> FloatArray:
    """Return the interquartile range of values (n, ...)."""
    low, high = np.quantile(values, (0.25, 0.75), axis=0)
    return high - low
