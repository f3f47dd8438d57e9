"""What decides a run's result: problem, search, budget, seed; and the name that follows from it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evosearch.engine.contract import NUMERICS
from evosearch.errors import InputError
from evosearch.problem import Problem
from evosearch.search.base import SEARCHES, Search, with_horizon


@dataclass(frozen=True)
class Plan:
    """A run before it is made.

    Attributes:
        problem: what is searched.
        search: name of the search.
        seed: seed of the search and of the search draws.
        budget: candidate evaluations.
        device: ``cpu`` or a torch device, whose numbers differ in the last digits.
        init: rules to start from.
    """

    problem: Problem
    search: str
    seed: int
    budget: int
    device: str = "cpu"
    init: tuple[str, ...] = ()

    @property
    def settings(self) -> dict[str, Any]:
        """Settings of the search, with the rules to start from and the budget where it plans."""
        given = self.problem.search_settings(self.search)
        settings = with_horizon(SEARCHES.get(self.search), given, self.budget)
        return settings | {"start": list(self.init)} if self.init else settings

    @property
    def folder_name(self) -> str:
        """``search-sSEED-ID``, the id a hash of all that decides the result."""
        identity = [
            self.problem.config.to_toml(),
            self.search,
            self.seed,
            self.budget,
            self.device,
            list(self.init),
            NUMERICS,
        ]
        if data := self.problem.data_hash():
            identity.append(data)
        short = hashlib.sha256(json.dumps(identity).encode()).hexdigest()[:8]
        return f"{self.search}-s{self.seed}-{short}"

    def folder(self, out: Path) -> Path:
        """Return where the run lies in a folder of runs."""
        return out / self.problem.name / self.folder_name

    def make_search(self) -> Search:
        """Build the search.

        Raises:
            InputError: rules to start from are given to a search that takes none, or candidates
                shall race that cannot.
        """
        cls = SEARCHES.get(self.search)
        if self.init and "start" not in cls.Settings.model_fields:
            raise InputError(f"the search {self.search!r} starts from no rules; leave out --init.")
        space = self.problem.space(self.problem.representation(self.search))
        search = cls(space, seed=self.seed, **self.settings)
        self.problem.check_search(search)
        self._check_racing(search)
        return search

    def _check_racing(self, search: Search) -> None:
        """Check that candidates can race, where the problem's file says that they do."""
        first = self.problem.racing(self.search)
        if first is None:
            return
        where = f"searches.{self.search}.racing is {first}"
        n_draws = self.problem.n_search_draws(self.search)
        if first >= n_draws:
            raise InputError(f"{where}; it must be less than the {n_draws} search draws.")
        if self.problem.config.aggregate != "mean":
            found = self.problem.config.aggregate
            raise InputError(f"{where}, but draws aggregate by {found}; races compare means.")
        if search.scores_scales and len(self.problem.eta_factors) > 1:
            raise InputError(f"{where}, but scales is true; races have one step size.")
        if getattr(search.space, "is_listed", True) is False:
            raise InputError(f"{where}, but vectors this long are not kept and do not race.")

    def to_facts(self) -> dict[str, Any]:
        """Return what the store keeps."""
        return {
            "problem": self.problem.name,
            "search": self.search,
            "representation": self.problem.representation(self.search),
            "seed": self.seed,
            "budget": self.budget,
            "device": self.device,
            "init": list(self.init),
            "numerics": NUMERICS,
            "source_hash": self.problem.source_hash(),
            "data_hash": self.problem.data_hash(),
            "task_folder": str(self.problem.folder) if not self.problem.is_compiled else "",
        }


def make_plan(
    problem: Problem,
    search: str | None,
    *,
    seed: int,
    budget: int | None,
    device: str = "cpu",
    init: Sequence[str] = (),
) -> Plan:
    """Fill in the defaults of a run and check its arguments.

    Raises:
        InputError: there is no such search, or it does not fit the problem.
    """
    name = search or problem.default_search
    SEARCHES.get(name)
    problem.search_settings(name)
    if budget is not None and budget < 1:
        raise InputError(f"budget is {budget}; it must be at least 1.")
    if not 0 <= seed < 2**63:
        raise InputError(f"seed is {seed}; it must be from 0 to 2^63 - 1.")
    total = problem.default_budget(name) if budget is None else budget
    return Plan(problem, name, seed, total, device, tuple(init))


def plan_of_facts(problem: Problem, facts: Mapping[str, Any]) -> Plan:
    """Return the plan of a run from what its store keeps."""
    return Plan(
        problem,
        str(facts["search"]),
        int(facts["seed"]),
        int(facts["budget"]),
        str(facts["device"]),
        tuple(facts["init"]),
    )
