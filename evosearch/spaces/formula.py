"""Formulas over the columns of a table that the search may look at."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import numpy as np

from evosearch.errors import InputError
from evosearch.outcome import FloatArray
from evosearch.spaces.rule import RuleSpace


class FormulaSpace(RuleSpace):
    """The expressions of a :class:`RuleSpace`, and the rows that they are to fit.

    A search of this space may fit constants to the rows itself, which it counts as evaluations.

    Args:
        terminals: names of the columns.
        functions: names of primitives.
        columns: (k, N) one row a terminal, finite.
        target: (N,) what formulas are to predict; not all the same.
        **settings: those of :class:`RuleSpace`.

    Raises:
        InputError: a name is unknown, or the rows do not fit the terminals.

    Example:
        >>> space = FormulaSpace(("x",), ("add", "mul"), np.array([[0.0, 1, 2]]), np.arange(3.0))
        >>> space.columns.shape
        (1, 3)
    """

    kind = "formula"

    def __init__(
        self,
        terminals: Sequence[str],
        functions: Sequence[str],
        columns: FloatArray,
        target: FloatArray,
        **settings: Any,
    ) -> None:
        super().__init__(terminals, functions, **settings)
        self.columns = np.ascontiguousarray(columns, dtype=np.float64)
        self.target = np.ascontiguousarray(target, dtype=np.float64)
        expected = (len(self.terminals), len(self.target))
        if self.columns.shape != expected:
            raise InputError(
                f"columns have shape {self.columns.shape}; for {expected[0]} terminals and "
                f"{expected[1]} rows it must be {expected}."
            )
        if not (np.isfinite(self.columns).all() and np.isfinite(self.target).all()):
            raise InputError("columns and target must be finite.")
        with np.errstate(over="ignore"):
            is_too_large = not np.isfinite(self.target.var() + (self.columns**2).sum())
        if is_too_large:
            raise InputError("columns or target are so large that their squares overflow.")
        if np.ptp(self.target) == 0 or self.target.std() == 0:
            raise InputError("the target does not vary; there is nothing to predict.")

    def with_target(self, target: FloatArray, max_size: int) -> FormulaSpace:
        """Return the formulas of at most ``max_size`` nodes for another target (N,)."""
        other = copy.copy(self)
        other.target = np.ascontiguousarray(target, dtype=np.float64)
        other.max_size = max_size
        return other
