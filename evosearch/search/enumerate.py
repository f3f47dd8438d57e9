"""Every rule up to a size, each function once: a search that ends with a proof."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

import numpy as np
from pydantic import Field

from evosearch.outcome import Evaluation
from evosearch.rules.expression import Expression, Node
from evosearch.search.base import SEARCHES, Search, SearchSettings, State, usable_fitness
from evosearch.search.enumeration import Enumeration
from evosearch.search.gradings import Gradings

logger = logging.getLogger(__name__)


class PrunedSettings(SearchSettings):
    """Settings that say which rules are enumerated, whatever their size."""

    scales: bool = Field(
        True,
        description="score each rule at all step size factors of the problem, not only at 1",
    )
    units: dict[str, tuple[int, ...]] = Field(
        {},
        description="exponents of units, by terminal: only rules whose sums have terms of equal "
        "units are built",
    )
    reflections: tuple[tuple[str, ...], ...] = Field(
        (),
        description="terminals that turn their signs together: only rules that turn with the "
        "weight, from parts that are odd or even, are built",
    )
    constants: tuple[float, ...] | None = Field(
        None, description="constants to build with; default: the space's, or 1 where it has a range"
    )
    max_combinations: int = Field(
        50_000_000, ge=1, description="rules looked at for one size; beyond it the search ends"
    )


class EnumerateSettings(PrunedSettings):
    """Settings of ``enumerate``."""

    population: int = Field(200, ge=1, le=1_000_000, description="rules that are asked at a time")
    max_size: int = Field(
        9, ge=1, le=63, description="nodes of the largest rules; the space's limit holds too"
    )


@SEARCHES.register("enumerate")
class EnumerateSearch(Search):
    """All rules bottom-up by size, two that compute the same function counted once.

    Candidates come in order of size; the seed changes nothing. When it is done, no rule of up to
    ``max_size`` nodes over the space's terminals, functions and constants scores higher on the
    draws. The state is a position, since the order is always the same. See
    :class:`~evosearch.search.enumeration.Enumeration` for how functions are told apart, and
    :class:`~evosearch.search.gradings.Gradings` for rules that ``units`` and ``reflections`` leave
    out.

    Source: A. Udupa, A. Raghavan, J. Deshmukh, S. Mador-Haim, M. Martin, R. Alur, "TRANSIT:
    Specifying Protocols with Concolic Snippets", PLDI 2013.
    """

    name = "enumerate"
    space_kinds = ("rule",)
    Settings = EnumerateSettings

    def __init__(self, space: Any, *, seed: int = 0, **settings: Any) -> None:
        super().__init__(space, seed=seed, **settings)
        constants = self.settings.constants
        if constants is None:
            constants = space.constants or ((1.0,) if space.ephemeral is not None else ())
        leaves: list[Node] = [*space.terminals, *(float(c) for c in dict.fromkeys(constants))]
        self._leaves = tuple(leaves)
        self._max_size = min(self.settings.max_size, space.max_size)
        s = self.settings
        self._gradings = Gradings(space.terminals, s.units, s.reflections)
        self._functions = Enumeration(self._leaves, space.functions, self._gradings)
        self._position = 0
        self._n_failed = 0
        self._is_cut = False

    def ask(self) -> list[Expression]:
        """Return the next rules, of the same or rising size."""
        self._reach(self._position + self.settings.population)
        end = min(self._position + self.settings.population, self._functions.n_functions)
        return [self._functions.expression(number) for number in range(self._position, end)]

    def tell(self, candidates: Sequence[Expression], evaluation: Evaluation) -> None:
        """Move on by as many rules as were scored."""
        fitness = usable_fitness(evaluation, len(candidates))
        self._position += len(candidates)
        self._n_failed += int(np.isneginf(fitness).sum())

    def state_dict(self) -> State:
        """Return the position."""
        return {"position": self._position, "n_failed": self._n_failed}

    def load_state_dict(self, state: State) -> None:
        """Go on at the stored position; the functions before it are built again when asked."""
        self._position = int(state["position"])
        self._n_failed = int(state["n_failed"])

    @property
    def n_told(self) -> int:
        """Rules that were told, which is how far it has come."""
        return self._position

    def size_of(self, number: int) -> int:
        """Return the nodes of candidate ``number``, counted from 0 in the order of asking."""
        return self._functions.size_of(number)

    @property
    def is_done(self) -> bool:
        """Whether all rules up to the largest size were scored."""
        self._reach(self._position + 1)
        return self._position >= self._functions.n_functions

    def summary(self) -> str:
        """Say up to which size the search is complete, and what that means."""
        self._reach(self._position + 1)
        size = self._functions.size
        if not self.is_done:
            size = self._functions.size_of(self._position) - 1
        if size == 0:
            return ""
        n = self._functions.n_up_to(size)
        functions = ", ".join(self.space.functions)
        leaves = ", ".join(leaf if isinstance(leaf, str) else f"{leaf:g}" for leaf in self._leaves)
        failed = f" {self._n_failed:,} could not be scored." if self._n_failed else ""
        equal = "" if self._functions.is_exact else ", told apart by 24 values to ten digits"
        return (
            f"Among all rules of up to {size} nodes over these terminals, operators and constants "
            f"({leaves}; {functions}){self._gradings.phrase()}, counted as functions "
            f"({n:,}{equal}), none scores higher on these draws than the best found.{failed}"
        )

    def _reach(self, n_functions: int) -> None:
        """Build functions until there are ``n_functions`` of them or all sizes are done."""
        functions = self._functions
        while functions.n_functions < n_functions and functions.size < self._max_size:
            if self._is_cut:
                return
            if functions.n_combinations() > self.settings.max_combinations:
                logger.warning(
                    "enumeration ends at %d nodes: the next size has %d combinations, more than "
                    "max_combinations",
                    functions.size,
                    functions.n_combinations(),
                )
                self._is_cut = True
                return
            functions.extend()
