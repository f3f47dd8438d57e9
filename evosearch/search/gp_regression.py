"""Genetic programming of formulas on islands, with constants fitted by least squares."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from pydantic import Field

from evosearch.errors import InputError
from evosearch.outcome import Evaluation
from evosearch.rules.expression import Expression
from evosearch.search.base import SEARCHES, Search, SearchSettings, State, usable_fitness

# Nodes and terms of trees, and how deep transcendental functions may be nested: islands of small
# trees find the parts, those without such functions the rational formulas. The first one takes
# in parents from all.
_ROOM = ((44, 4, 1), (14, 1, 1), (20, 2, 1), (30, 4, 1), (28, 2, 0), (44, 1, 0))
_PATIENCE = (1 << 40, 20_000, 20_000, 40_000, 30_000, 60_000)
_POLISH_STEPS = 10
_LOG_EXACT = -59.0
_LOG_NEVER = -1e9
# Evaluations after the first exact formula: as many as before it, and these.
_MORE = 200_000
_SNAP_BELOW = 1e-5
_CHANGED = (
    "ops", "vals", "length", "score", "best", "idle", "clock", "rng",
)  # fmt: skip


class RegressionSearchSettings(SearchSettings):
    """Settings of ``gp-regression``."""

    population: int = Field(300, ge=4, le=100_000, description="formulas on each island")
    batch: int = Field(
        50_000, ge=1, description="formulas scored inside between two batches of the best"
    )
    rows: int = Field(160, ge=8, description="rows that they are scored on; the best on all rows")
    horizon: int | None = Field(
        None, ge=1, description="evaluations after which it is done; default: the budget"
    )


@SEARCHES.register("gp-regression")
class FormulaProgramming(Search):
    """Symbolic regression: islands of formulas breed in compiled code, and the best are asked.

    A formula is a sum of terms; least squares give its intercept and weights, and a few steps of
    Levenberg and Marquardt the constants inside terms. Islands differ in how large trees may be,
    how many terms they have, and whether functions such as sin may occur. An island that makes no
    progress starts afresh. Between two batches ``batch`` formulas are scored inside, on at most
    ``rows`` rows of the space's table; then those are asked that are the best of their size and
    better than all smaller ones, with constants fitted to all rows and snapped to exact values
    where that does not lose. Evaluations inside count: the search is done when they and the asked
    ones reach the budget, or some time after a formula first fitted to roundoff, in which smaller
    ones are looked for.

    Sources: see ``formula_fit_kernels`` and ``formula_island_kernels``; weighted terms: I. Arnaldo,
    K. Krawiec, U.-M. O'Reilly, "Multiple regression genetic programming", GECCO 2014.
    """

    name = "gp-regression"
    space_kinds = ("formula",)
    Settings = RegressionSearchSettings

    def __init__(self, space: Any, *, seed: int = 0, **settings: Any) -> None:
        super().__init__(space, seed=seed, **settings)
        from evosearch.search import formula_layout as layout

        # A weighted term and an intercept take four nodes beside the term's own.
        most = space.max_size - 4
        if most < 1:
            raise InputError(f"max_size is {space.max_size}; search {self.name!r} needs 5.")
        room = [(min(nodes, most), terms, nested) for nodes, terms, nested in _ROOM]
        nodes, terms = max(one[0] for one in room), max(one[1] for one in room)
        self._n_sizes = space.max_size + 1
        self._n_members = self.settings.population * len(room)
        self._grammar = layout.make_grammar(space, nodes, terms)
        self._terms = terms
        self._chosen = chosen = _chosen_rows(space.target, self.settings.rows, seed)
        self._bench = layout.make_bench(
            space.columns[:, chosen], space.target[chosen], nodes, terms
        )
        self._whole = layout.make_bench(space.columns, space.target, nodes, terms)
        self._islands = layout.make_islands(
            room, list(_PATIENCE), self.settings.population, self._n_sizes, seed
        )
        self._shown = np.full(self._n_sizes, math.inf)
        self._n_told = 0
        self._exact_at = 0

    def ask(self) -> list[Expression]:
        """Breed, then return the best of each size that are new; the best of all where none is."""
        from evosearch.engine.cache import announced

        with announced("formulas", seconds=50):
            self._breed()
            scores = self._best_scores()
            sizes = np.flatnonzero(_is_better(scores) & (scores < self._shown))
            self._shown = np.minimum(self._shown, scores)
            found = [self._formula(int(size)) for size in sizes]
        # Two sizes may end as one formula, tidied.
        fitting = [one for one in dict.fromkeys(found) if one.size <= self.space.max_size]
        return fitting or [self._formula(int(np.argmin(scores)))]

    def favourites(self) -> list[Expression]:
        """Return the best formula of each size that no smaller one equals."""
        scores = self._best_scores()
        found = [self._formula(int(size)) for size in np.flatnonzero(_is_better(scores))]
        return [one for one in found if one.size <= self.space.max_size]

    def tell(self, candidates: Sequence[Expression], evaluation: Evaluation) -> None:
        """Count the candidates; what they score is known already."""
        usable_fitness(evaluation, len(candidates))
        self._n_told += len(candidates)

    def state_dict(self) -> State:
        """Return the islands, the generator and the counters."""
        islands = {name: getattr(self._islands, name).copy() for name in _CHANGED}
        finite = np.where(np.isfinite(self._shown), self._shown, 1e300)
        return {
            **islands,
            "shown": finite,
            "spent": [int(self._bench.spent[0]), int(self._whole.spent[0])],
            "n_told": self._n_told,
            "exact_at": self._exact_at,
        }

    def load_state_dict(self, state: State) -> None:
        """Take over islands, generator and counters."""
        for name in _CHANGED:
            getattr(self._islands, name)[...] = state[name]
        shown = np.array(state["shown"], dtype=np.float64)
        self._shown = np.where(shown < 1e300, shown, math.inf)
        self._bench.spent[0], self._whole.spent[0] = state["spent"]
        self._n_told = int(state["n_told"])
        self._exact_at = int(state["exact_at"])

    @property
    def is_done(self) -> bool:
        """Whether the budget is spent, or enough of it after a formula that fits to roundoff."""
        horizon, exact_at, n = self.settings.horizon, self._exact_at, self.n_evaluations
        is_enough = exact_at > 0 and n >= 2 * exact_at + _MORE
        return is_enough or (horizon is not None and n >= horizon)

    @property
    def n_inside(self) -> int:
        """Formulas scored inside so far, Jacobians counted as one each."""
        return int(self._bench.spent[0] + self._whole.spent[0])

    @property
    def n_evaluations(self) -> int:
        """Formulas scored so far, inside and by those who told."""
        return self.n_inside + self._n_told

    def summary(self) -> str:
        """Say what was scored inside."""
        return f"{self.n_inside:,} formulas were scored inside the search, on rows of its own."

    def _breed(self) -> None:
        from evosearch.search.formula_island_kernels import breed_for

        n = self.settings.batch
        if self.settings.horizon is not None:
            left = self.settings.horizon - self.n_evaluations
            # The first batch leaves room to ask for what it found.
            n = max(1, min(n, left if self._n_told else left // 2))
        breed_for(
            self._islands, self.settings.population, self._n_sizes, n,
            _LOG_NEVER if self._exact_at else _LOG_EXACT, self._grammar, self._bench,
        )  # fmt: skip

    def _best_scores(self) -> Any:
        """Return the least logarithm of an error of each size (F,), inf where there is none."""
        scores = self._islands.score[self._n_members : self._n_members + self._n_sizes]
        return np.where(scores < 1e300, scores, math.inf)

    def _formula(self, size: int) -> Expression:
        """Return the best formula of a size, fitted to all rows and snapped."""
        from evosearch.search.formula_fit_kernels import score_tree, tune_tree
        from evosearch.search.formula_layout import read_formula, tidy
        from evosearch.search.formula_snapping import snapped
        from evosearch.search.formula_tree_kernels import copy_tree, find_terms

        s, g, b, space = self._islands, self._grammar, self._whole, self.space
        row = len(s.length) - 1
        copy_tree(s.ops, s.vals, s.length, self._n_members + size, row)
        g.limits[1] = self._terms
        error = score_tree(s.ops, s.vals, s.length, row, g, b)
        if math.isfinite(error):
            error = tune_tree(s.ops, s.vals, s.length, row, error, _POLISH_STEPS, g, b)
            error = score_tree(s.ops, s.vals, s.length, row, g, b)
        n_terms = find_terms(s.ops, row, g.arity, g.limits[1], b.terms, b.stack)
        nodes = read_formula(s, row, n_terms, b, space)
        if not error < _SNAP_BELOW:
            return tidy(nodes)
        exact, error = snapped(Expression(nodes), space.terminals, space.columns, space.target)
        if not self._exact_at and math.log(error + 1e-32) < _LOG_EXACT:
            self._exact_at = self.n_evaluations
        return tidy(list(exact.nodes))


def _chosen_rows(target: Any, most: int, seed: int) -> Any:
    """Return the rows to score on: all, or as many at random whose target varies."""
    n = len(target)
    if n <= most:
        return np.arange(n)
    chosen = np.sort(np.random.default_rng([seed, n]).permutation(n)[:most])
    return chosen if np.ptp(target[chosen]) > 0 else np.arange(n)


def _is_better(scores: Any) -> Any:
    """Return which sizes (F,) have a lesser score than all smaller ones."""
    return scores < np.concatenate([[math.inf], np.minimum.accumulate(scores)[:-1]])
