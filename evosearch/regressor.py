"""Symbolic regression as a scikit-learn estimator."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.utils.validation import check_array, check_is_fitted, check_X_y

from evosearch.errors import InputError
from evosearch.outcome import plain_evaluation
from evosearch.rules.expression import Expression
from evosearch.rules.rule import Rule
from evosearch.search.base import SEARCHES
from evosearch.search.formula_snapping import error_of
from evosearch.spaces.formula import FormulaSpace
from evosearch.tasks.regression_csv import check_names

FUNCTIONS = ("add", "sub", "mul", "div", "sin", "exp", "log")
CONSTANTS = (-5.0, 5.0)
# Errors below it are roundoff, and none is better than another.
_ROUNDOFF = 1e-26


class SymbolicRegressor(RegressorMixin, BaseEstimator):
    """A formula that predicts numbers, found by the search ``gp-regression``.

    Of the best formulas of each size the one with the least N log(error) + size log(N) is kept,
    which is a form of G. Schwarz's criterion ("Estimating the dimension of a model", Annals of
    Statistics 6, 1978). scikit-learn's ``clone``, ``cross_val_score`` and pipelines accept it.

    Args:
        functions: what formulas are made of; ``add`` and ``mul`` among them.
        max_size: greatest number of nodes, at least 5.
        population: formulas on each of the six islands.
        budget: formulas to score, with the fits of their constants.
        time_s: seconds after which the search ends as well; None for no limit.
        names: of the columns in the formula; None for x0, x1, …
        seed: of the search.

    Attributes:
        formula_: text of the formula.
        rule_: the formula, to be called with the columns by name.
        front_: error and size of the best formulas by their text.
        evaluations_: formulas scored.
        n_features_in_: columns.

    Example:
        >>> x = np.linspace(1, 2, 30)[:, None]
        >>> model = SymbolicRegressor(budget=20_000).fit(x, 3 * x[:, 0] ** 2)
        >>> bool(model.score(x, 3 * x[:, 0] ** 2) > 0.999)
        True
    """

    def __init__(
        self,
        *,
        functions: Sequence[str] = FUNCTIONS,
        max_size: int = 63,
        population: int = 300,
        budget: int = 1_000_000,
        time_s: float | None = None,
        names: Sequence[str] | None = None,
        seed: int = 0,
    ) -> None:
        self.functions = functions
        self.max_size = max_size
        self.population = population
        self.budget = budget
        self.time_s = time_s
        self.names = names
        self.seed = seed

    def fit(self, X: Any, y: Any) -> SymbolicRegressor:
        """Search a formula for inputs (n, d) and targets (n,).

        Raises:
            InputError: a setting is out of range, or the target does not vary.
        """
        inputs, target = check_X_y(X, y, dtype="float64", y_numeric=True)
        self.n_features_in_: int = inputs.shape[1]
        self.names_: tuple[str, ...] = self._names()
        columns, targets = np.ascontiguousarray(inputs.T), np.asarray(target, np.float64)
        space = FormulaSpace(
            self.names_, self.functions, columns, targets,
            constants=(1.0,), ephemeral=CONSTANTS, max_size=self.max_size,
        )  # fmt: skip
        found = self._search(space)
        best = best_formula(found, len(space.target))
        self.rule_ = Rule(best)
        self.formula_ = self.rule_.text
        self.front_ = {str(one): (error, one.size) for one, error in found.items()}
        return self

    def predict(self, X: Any) -> NDArray[np.float64]:
        """Return what the formula says of inputs (n, d)."""
        check_is_fitted(self)
        inputs = check_array(X, dtype="float64")
        if inputs.shape[1] != self.n_features_in_:
            raise InputError(
                f"X has {inputs.shape[1]} columns; the formula was found for {self.n_features_in_}."
            )
        values = self.rule_(**dict(zip(self.names_, inputs.T, strict=True)))
        return np.array(np.broadcast_to(values, len(inputs)), dtype=np.float64)

    def _names(self) -> tuple[str, ...]:
        if self.names is None:
            return tuple(f"x{k}" for k in range(self.n_features_in_))
        if len(self.names) != self.n_features_in_:
            raise InputError(
                f"there are {len(self.names)} names for {self.n_features_in_} columns; give one "
                "for each."
            )
        check_names("names", self.names)
        return tuple(self.names)

    def _search(self, space: FormulaSpace) -> dict[Expression, float]:
        """Return the best formulas of their sizes, and their errors."""
        if self.budget < 1:
            raise InputError(f"budget is {self.budget}; it must be at least 1.")
        if self.time_s is not None and not self.time_s > 0:
            raise InputError(f"time_s is {self.time_s}; it must be above 0, or None.")
        search: Any = SEARCHES.get("gp-regression")(
            space, seed=self.seed, population=self.population, horizon=self.budget
        )
        found: dict[Expression, float] = {}
        started_at = time.monotonic()
        while not search.is_done:
            ask_and_tell(search, found)
            if self.time_s is not None and time.monotonic() - started_at >= self.time_s:
                break
        self.evaluations_ = search.n_evaluations
        return found


def ask_and_tell(search: Any, found: dict[Expression, float]) -> None:
    """Make one generation of a search over a ``FormulaSpace``; note the best of each size.

    Args:
        search: what is asked and told.
        found: formulas and their errors on the rows of the space, which is changed.
    """
    space = search.space
    candidates = search.ask()
    errors = [error_of(one, space.terminals, space.columns, space.target) for one in candidates]
    search.tell(candidates, plain_evaluation(-np.array(errors), 1))
    by_size = {one.size: (error, one) for one, error in found.items()}
    for one, error in zip(candidates, errors, strict=True):
        known = by_size.get(one.size)
        if math.isfinite(error) and (known is None or error < known[0]):
            by_size[one.size] = (error, one)
    found.clear()
    found.update({one: error for error, one in by_size.values()})


def best_formula(found: Mapping[Expression, float], n_rows: int) -> Expression:
    """Return the formula with the least N log(error) + size log(N), the first among equals.

    Raises:
        InputError: there is none with a finite error.
    """
    if not found:
        raise InputError("no formula with a finite error was found; raise the budget.")

    def criterion(one: Expression) -> float:
        return n_rows * math.log(found[one] + _ROUNDOFF) + one.size * math.log(max(2, n_rows))

    return min(found, key=criterion)
