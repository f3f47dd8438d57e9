"""The tree of Monte Carlo tree search: visits, values and what other orders of moves say."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from evosearch.outcome import FloatArray
from evosearch.search.base import State
from evosearch.search.construction import Codes, Construction, Partial

_FIRST_ROWS = 64
_ARRAYS = {
    "child": (np.int64, -1),
    "visits": (np.int64, 0),
    "total": (np.float64, 0.0),
    "top": (np.float64, -np.inf),
    "is_closed": (np.bool_, False),
    "rapid_visits": (np.int64, 0),
    "rapid_total": (np.float64, 0.0),
}
"""What each node keeps for each symbol: type, and value where nothing is known."""


class Tree:
    """Beginnings of candidates as nodes; a symbol's value is the mean of the playouts through it.

    Fitness enters clipped from below at ``floor``; the bounds are in units of the distance from
    there to the best fitness so far, as if values lay in [0, 1].

    Each node also keeps, for each symbol that may follow it, the mean of the playouts through the
    node in which that symbol came in a place of the same context then or later: the rapid action
    value (all moves as first).

    Args:
        construction: what is built.
        exploration: factor of the upper confidence bound.
        rapid: number of visits at which a rapid value weighs half; 0 for none.
        greed: share of the best playout, the rest of the mean, in a value.

    Attributes:
        floor: fitness that counts as 0; ``-inf`` until it is known.
        best: greatest fitness so far.
        n_playouts: playouts that were added.
        is_exhausted: whether every candidate was reached.
    """

    def __init__(
        self, construction: Construction, *, exploration: float, rapid: float, greed: float
    ) -> None:
        self._construction = construction
        self._exploration, self._rapid, self._greed = exploration, rapid, greed
        self.floor, self.best = -np.inf, -np.inf
        self.n_playouts = 0
        self.is_exhausted = False
        self._n_nodes = 1
        shape = (_FIRST_ROWS, len(construction.symbols))
        self._edges = {
            name: np.full(shape, value, dtype=dtype) for name, (dtype, value) in _ARRAYS.items()
        }
        self._virtual: NDArray[np.int64] = np.zeros(shape, dtype=np.int64)

    def __len__(self) -> int:
        return self._n_nodes

    def figures(self) -> dict[Codes, tuple[int, float, float]]:
        """Return visits, sum and greatest of the fitness of each beginning with a node."""
        found: dict[Codes, tuple[int, float, float]] = {}
        pending: list[tuple[int, Codes]] = [(0, ())]
        e = self._edges
        while pending:
            node, beginning = pending.pop()
            for code in np.flatnonzero(e["child"][node] >= 0).tolist():
                longer = (*beginning, code)
                at = (node, code)
                found[longer] = (
                    int(e["visits"][at]), float(e["total"][at]), float(e["top"][at])
                )  # fmt: skip
                pending.append((int(e["child"][at]), longer))
        return found

    def select(self) -> Codes:
        """Walk down to a new node or the end of a candidate; return the beginning.

        The walk leaves virtual losses: its symbols look as if a playout had scored the floor, so
        that the next walk of the same batch goes elsewhere.
        """
        partial, node = self._construction.start(), 0
        n_here = self.n_playouts + int(self._virtual[0].sum())
        while not partial.is_complete:
            code = self._choice(node, partial, n_here)
            partial.add(code)
            self._virtual[node, code] += 1
            n_here = int(self._edges["visits"][node, code] + self._virtual[node, code])
            child = int(self._edges["child"][node, code])
            if child < 0:
                self._add(node, code)
                break
            node = child
        beginning = tuple(partial.codes)
        if partial.is_complete:
            self.close(beginning)
        return beginning

    def back_up(self, depth: int, sequence: Codes, fitness: float) -> None:
        """Add the fitness of a playout to the first ``depth`` symbols of it.

        Args:
            depth: length of the beginning that ``select`` returned for it.
            sequence: the whole candidate.
            fitness: ``-inf`` where it failed.
        """
        value = max(fitness, self.floor)
        self.best = max(self.best, fitness)
        self.n_playouts += 1
        e, node = self._edges, 0
        contexts = self._contexts(sequence)
        for k in range(min(depth + 1, len(sequence))):
            later = range(k, len(sequence))
            codes = sorted({sequence[i] for i in later if contexts[i] == contexts[k]})
            e["rapid_visits"][node, codes] += 1
            e["rapid_total"][node, codes] += value
            if k == depth:
                break
            at = (node, sequence[k])
            e["visits"][at] += 1
            e["total"][at] += value
            e["top"][at] = max(e["top"][at], value)
            node = int(e["child"][at])

    def close(self, beginning: Codes) -> None:
        """Never walk to a beginning again, nor to those before it after which all are closed."""
        nodes = [0]
        for code in beginning[:-1]:
            nodes.append(int(self._edges["child"][nodes[-1], code]))
        for k in reversed(range(len(beginning))):
            is_closed = self._edges["is_closed"][nodes[k]]
            is_closed[beginning[k]] = True
            choices = self._construction.choices(self._construction.start(beginning[:k]))
            if not is_closed[choices.codes].all():
                return
        self.is_exhausted = True

    def forget_virtual(self) -> None:
        """Take back all virtual losses."""
        self._virtual[: self._n_nodes] = 0

    def state(self) -> State:
        """Return what each node keeps, as arrays (nodes, symbols)."""
        n = self._n_nodes
        return {
            **{f"tree_{name}": array[:n].copy() for name, array in self._edges.items()},
            "tree_range": np.array([self.floor, self.best]),
            "tree_playouts": self.n_playouts,
            "tree_is_exhausted": self.is_exhausted,
        }

    def load(self, state: State) -> None:
        """Take over what ``state`` returned."""
        self._edges = {
            name: np.array(state[f"tree_{name}"], dtype=dtype)
            for name, (dtype, _) in _ARRAYS.items()
        }
        self._n_nodes = len(self._edges["child"])
        self._virtual = np.zeros(self._edges["child"].shape, dtype=np.int64)
        self.floor, self.best = (float(value) for value in state["tree_range"])
        self.n_playouts = int(state["tree_playouts"])
        self.is_exhausted = bool(state["tree_is_exhausted"])

    def _choice(self, node: int, partial: Partial, n_here: int) -> int:
        """Return the open symbol with the greatest value plus bound; the first among equals.

        Value: (1 - beta) times the symbol's own plus beta times the rapid one, where
        beta = sqrt(rapid / (3 n + rapid)) and n are its visits (Gelly & Silver 2007, 3.2).
        """
        is_known = 0.0 < self.best - self.floor < np.inf
        floor, best = (self.floor, self.best) if is_known else (0.0, 1.0)
        visits = self._edges["visits"][node] + self._virtual[node]
        values = self._own_values(node, visits, floor, best)
        if self._rapid > 0.0 and is_known:
            n_rapid = self._edges["rapid_visits"][node]
            mean = self._edges["rapid_total"][node] / np.maximum(n_rapid, 1)
            beta = np.sqrt(self._rapid / (3.0 * visits + self._rapid)) * (n_rapid > 0)
            values += beta * (mean - values)
        choices = self._construction.choices(partial)
        codes = choices.codes
        # Prior probabilities, 1 where they are uniform; one is added to the visits, so that rapid
        # values and priors tell unvisited symbols apart.
        prior = np.exp(choices.log_prior) * len(codes)
        bound = self._exploration * math.sqrt(math.log(n_here + 1.0)) * (best - floor)
        values += bound * prior / np.sqrt(visits + 1.0)
        values[self._edges["is_closed"][node]] = -np.inf
        return int(codes[values[codes].argmax()])

    def _own_values(
        self, node: int, visits: NDArray[np.int64], floor: float, best: float
    ) -> FloatArray:
        """Return means, virtual losses included, mixed with the best; the node's if unvisited."""
        e = self._edges
        mean = (e["total"][node] + self._virtual[node] * floor) / np.maximum(visits, 1)
        top = np.where(e["visits"][node] > 0, e["top"][node], floor)
        n_here = max(1, int(visits.sum()))
        first = (e["total"][node].sum() + self._virtual[node].sum() * floor) / n_here
        first = first if n_here > 1 else best
        return np.where(visits > 0, mean + self._greed * (top - mean), first)

    def _add(self, parent: int, code: int) -> None:
        if self._n_nodes == len(self._virtual):
            for name, (dtype, value) in _ARRAYS.items():
                new = np.full(self._virtual.shape, value, dtype=dtype)
                self._edges[name] = np.concatenate([self._edges[name], new])
            self._virtual = np.concatenate([self._virtual, np.zeros_like(self._virtual)])
        self._edges["child"][parent, code] = self._n_nodes
        self._n_nodes += 1

    def _contexts(self, sequence: Codes) -> list[int]:
        partial = self._construction.start()
        contexts: list[int] = []
        for code in sequence:
            contexts.append(partial.places[-1])
            partial.add(code)
        return contexts
