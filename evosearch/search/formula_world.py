"""Islands of formulas for one function of the target, and what is read from them."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from evosearch.outcome import FloatArray
from evosearch.rules.expression import Expression, Node
from evosearch.search import formula_layout as layout
from evosearch.search.base import State
from evosearch.search.formula_fit_kernels import score_tree, tune_tree
from evosearch.search.formula_island_kernels import breed_for
from evosearch.search.formula_snapping import error_of, snapped
from evosearch.search.formula_transforms import Transform
from evosearch.search.formula_tree_kernels import copy_tree, find_terms
from evosearch.spaces.formula import FormulaSpace

# An intercept and a weighted term take four nodes beside the term's own.
OVERHEAD = 4
_LOG_EXACT = -59.0
_LOG_NEVER = -1e9
_POLISH_STEPS = 10
_SNAP_BELOW = 1e-5
_CHANGED = (
    "ops", "vals", "length", "score", "best", "idle", "clock", "rng",
)  # fmt: skip


class World:
    """Islands that breed formulas of one target.

    Args:
        space: the formulas and the rows.
        rooms: nodes, terms and nesting of the trees of each island.
        patience: evaluations without progress after which each island starts afresh.
        population: formulas on each island.
        rows: numbers of the rows that formulas are scored on.
        seed: of the islands.
        transform: the function of the target that they are to predict; None for itself.

    Attributes:
        least_error: of the formulas that were returned, for the target itself.
    """

    EXACT = math.exp(_LOG_EXACT)
    """An error below it is roundoff."""

    def __init__(
        self,
        space: FormulaSpace,
        rooms: list[tuple[int, int, int]],
        patience: list[int],
        population: int,
        rows: NDArray[np.int64],
        seed: int,
        transform: Transform | None = None,
    ) -> None:
        self._whole_space = space
        self._transform = transform
        if transform is not None:
            room = space.max_size - transform.n_nodes
            space = space.with_target(transform.apply(space.target), room)
        self._space = space
        self._population = population
        most = space.max_size - OVERHEAD
        fitting = [(min(nodes, most), terms, nested) for nodes, terms, nested in rooms]
        nodes, self._terms = max(one[0] for one in fitting), max(one[1] for one in fitting)
        self._n_sizes = space.max_size + 1
        self._n_members = population * len(rooms)
        self._grammar = layout.make_grammar(space, nodes, self._terms)
        columns, target = space.columns[:, rows], space.target[rows]
        self._bench = layout.make_bench(columns, target, nodes, self._terms)
        self._whole = layout.make_bench(space.columns, space.target, nodes, self._terms)
        self._islands = layout.make_islands(fitting, patience, population, self._n_sizes, seed)
        self._shown = np.full(self._n_sizes, math.inf)
        self.least_error = math.inf

    @property
    def n_evaluations(self) -> int:
        """Formulas scored so far, Jacobians counted as one each."""
        return int(self._bench.spent[0] + self._whole.spent[0])

    def breed(self, n: int, *, until_exact: bool) -> None:
        """Breed for ``n`` evaluations; where asked, end as soon as a formula fits to roundoff."""
        enough = _LOG_EXACT if until_exact else _LOG_NEVER
        breed_for(
            self._islands, self._population, self._n_sizes, n, enough, self._grammar, self._bench
        )

    def front(self) -> NDArray[np.int64]:
        """Return the sizes whose best formula is better than those of all smaller ones."""
        scores = self._best_scores()
        before = np.concatenate([[math.inf], np.minimum.accumulate(scores)[:-1]])
        return np.flatnonzero(scores < before)

    def news(self) -> NDArray[np.int64]:
        """Return the sizes of the front whose best formula has changed since the last call."""
        scores, front = self._best_scores(), self.front()
        found = front[scores[front] < self._shown[front]]
        self._shown = np.minimum(self._shown, scores)
        return found

    def best_size(self) -> int:
        """Return the size of the best formula."""
        return int(np.argmin(self._best_scores()))

    def formula(self, size: int) -> tuple[Expression, float]:
        """Return the best formula of a size, fitted to all rows, and its error there.

        One that is near to exact has its constants snapped.
        """
        s, g, b = self._islands, self._grammar, self._whole
        row = len(s.length) - 1
        copy_tree(s.ops, s.vals, s.length, self._n_members + size, row)
        g.limits[1] = self._terms
        error = score_tree(s.ops, s.vals, s.length, row, g, b)
        if math.isfinite(error):
            error = tune_tree(s.ops, s.vals, s.length, row, error, _POLISH_STEPS, g, b)
            error = score_tree(s.ops, s.vals, s.length, row, g, b)
        n_terms = find_terms(s.ops, row, g.arity, g.limits[1], b.terms, b.stack)
        nodes: list[Node] = layout.read_formula(s, row, n_terms, b, self._space)
        if self._transform is not None:
            nodes = self._transform.undo(nodes)
        space = self._whole_space
        table = space.terminals, space.columns, space.target
        found = Expression(nodes)
        if error < _SNAP_BELOW:
            found, error = snapped(found, *table)
        else:
            error = error_of(found, *table)
        self.least_error = min(self.least_error, error)
        return layout.tidy(list(found.nodes)), error

    def state_dict(self) -> State:
        """Return the islands and the counters."""
        islands = {name: getattr(self._islands, name).copy() for name in _CHANGED}
        shown = np.where(np.isfinite(self._shown), self._shown, 1e300)
        spent = [int(self._bench.spent[0]), int(self._whole.spent[0])]
        least = min(self.least_error, 1e300)
        return {**islands, "shown": shown, "spent": spent, "least_error": least}

    def load_state_dict(self, state: State) -> None:
        """Take over islands and counters."""
        for name in _CHANGED:
            getattr(self._islands, name)[...] = state[name]
        shown = np.array(state["shown"], dtype=np.float64)
        self._shown = np.where(shown < 1e300, shown, math.inf)
        self._bench.spent[0], self._whole.spent[0] = state["spent"]
        self.least_error = float(state["least_error"])

    def _best_scores(self) -> FloatArray:
        """Return the least logarithm of an error of each size (F,), inf where there is none."""
        scores = self._islands.score[self._n_members : self._n_members + self._n_sizes]
        return np.where(scores < 1e300, scores, math.inf)
