"""A comparison over several problems: one of each, and what they amount to together."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from evosearch.comparison import FORMAT, Comparison, PairTest, Row, comparison_of, record_of
from evosearch.outcome import Json
from evosearch.scoring import normalise
from evosearch.statistics import (
    holm,
    mean_ranks,
    quartiles,
    van_elteren,
    vargha_delaney,
    wilson_interval,
)
from evosearch.tables import Table, html_table, plain

PARTS = "problems"
FOLDER = "comparisons"


@dataclass(frozen=True)
class SuiteRow:
    """What the runs of one search on all problems amount to.

    Attributes:
        search: its name.
        n_runs: runs on all problems.
        n_successes: successful ones.
        success_rate: mean over problems of the share of successful runs.
        wilson: 95 % interval of the share over all runs together.
        normalised: mean over problems of the median score, 0 at the floor and 1 at the ceiling;
            None where no problem has both.
        mean_rank: mean over problems of the place by median score, 1 for the best; equal ones
            share their places (Demšar 2006).
        budgets_to_success: budgets of its problem that all runs spent, for each success; None
            without success.
    """

    search: str
    n_runs: int
    n_successes: int
    success_rate: float
    wilson: tuple[float, float]
    normalised: float | None
    mean_rank: float
    budgets_to_success: float | None

    def to_json(self) -> dict[str, Json]:
        """Return the keys that ``compare --json`` promises for several problems."""
        names = ("search", "success_rate", "normalised", "mean_rank", "budgets_to_success")
        return {name: plain(getattr(self, name)) for name in names}


@dataclass(frozen=True)
class Suite:
    """The result of ``compare`` over several problems; prints, and renders in a notebook.

    Attributes:
        parts: the comparison on each problem, with the same searches and seeds.
        path: folder of its file.
    """

    parts: tuple[Comparison, ...]
    path: Path

    @property
    def searches(self) -> tuple[str, ...]:
        """Names of the searches, in the order given."""
        return self.parts[0].searches

    @property
    def seeds(self) -> tuple[int, ...]:
        """Seeds of the runs on each problem."""
        return self.parts[0].seeds

    @property
    def rows(self) -> list[SuiteRow]:
        """One row a search, in the order given."""
        begun = [part for part in self.parts if part.cells]
        medians = [[quartiles(part.scores(name))[1] for name in self.searches] for part in begun]
        ranks = mean_ranks(medians) if begun else np.full(len(self.searches), np.nan)
        return [self._row(name, float(ranks[k])) for k, name in enumerate(self.searches)]

    @property
    def tests(self) -> list[PairTest]:
        """Every pair of searches over all problems: van Elteren's test, Holm for all pairs."""
        pairs = list(itertools.combinations(self.searches, 2))
        groups = [[(part.scores(a), part.scores(b)) for part in self.parts] for a, b in pairs]
        groups = [[pair for pair in group if all(pair)] for group in groups]
        kept = [(pair, group) for pair, group in zip(pairs, groups, strict=True) if group]
        adjusted = holm([van_elteren(group) for _, group in kept])
        return [
            PairTest(a, b, p, float(np.mean([vargha_delaney(*scores) for scores in group])))
            for ((a, b), group), p in zip(kept, adjusted, strict=True)
        ]

    @property
    def notes(self) -> list[str]:
        """Sentences on what is not equal among problems and runs; none where all is."""
        found = []
        if len({part.budget for part in self.parts}) > 1:
            each = ", ".join(f"{part.problem} {part.budget or 0:,}" for part in self.parts)
            found.append(
                f"Budgets differ between problems, in evaluations a run: {each}. Each is its "
                f"file's for {self.searches[0]}; --budget gives all the same."
            )
        return found + [note for part in self.parts for note in part.notes]

    def table(self) -> Table:
        """Return the rows over all problems, for people."""
        columns = ("search", "runs", "successes", "success rate", "95 % interval")
        columns += ("normalised score", "mean rank", "budgets to success")
        rows = tuple(
            (
                row.search,
                row.n_runs,
                row.n_successes,
                row.success_rate,
                f"{row.wilson[0]:.2f} to {row.wilson[1]:.2f}",
                row.normalised,
                row.mean_rank,
                row.budgets_to_success,
            )
            for row in self.rows
        )
        problems = ", ".join(part.problem for part in self.parts)
        return Table(f"all problems: {problems}", columns, rows)

    def tests_table(self) -> Table:
        """Return the pairwise tests over all problems, for people."""
        rows = tuple((test.a, test.b, test.p, test.effect) for test in self.tests)
        title = "pairs over all problems (van Elteren, Holm)"
        return Table(title, ("a", "b", "p", "effect A"), rows)

    def to_json(self) -> dict[str, Json]:
        """Return what ``compare --json`` prints for several problems."""
        return {
            PARTS: [part.to_json() for part in self.parts],
            "seeds": list(self.seeds),
            "rows": [row.to_json() for row in self.rows],
            "tests": [test.to_json() for test in self.tests],
            "notes": list(self.notes),
        }

    def _row(self, search: str, mean_rank: float) -> SuiteRow:
        cells = [cell for part in self.parts for cell in part.cells_of(search)]
        n_successes = sum(cell.is_success for cell in cells)
        rates = [row.success_rate for row in self._rows_of(search) if row.n_runs]
        scores = [_normalised(part, search) for part in self.parts]
        known = [score for score in scores if score is not None]
        spent = sum(_budgets_spent(part, search) for part in self.parts)
        return SuiteRow(
            search=search,
            n_runs=len(cells),
            n_successes=n_successes,
            success_rate=float(np.mean(rates)) if rates else np.nan,
            wilson=wilson_interval(n_successes, len(cells)),
            normalised=float(np.mean(known)) if known else None,
            mean_rank=mean_rank,
            budgets_to_success=spent / n_successes if n_successes else None,
        )

    def _rows_of(self, search: str) -> list[Row]:
        return [row for part in self.parts for row in part.rows if row.search == search]

    def __str__(self) -> str:
        own = [f"{part.table().title}\n{part.table()}" for part in self.parts]
        return "\n\n".join([*own, str(self.table()), str(self.tests_table()), *self.notes])

    def _repr_html_(self) -> str:
        tests = self.tests_table()
        own = "".join(part.table().to_html() for part in self.parts)
        return own + self.table().to_html() + html_table(tests.columns, tests.rows)


def _normalised(part: Comparison, search: str) -> float | None:
    """Return the median score of a search on one problem between floor and ceiling."""
    _, median, _ = quartiles(part.scores(search))
    return normalise(median, part.floor, part.ceiling)


def _budgets_spent(part: Comparison, search: str) -> float:
    """Return what the runs of a search took until success, or in all, in budgets of the problem."""
    if not part.budget:
        return 0.0
    spent = [
        cell.evaluations if cell.evaluations_to_success is None else cell.evaluations_to_success
        for cell in part.cells_of(search)
    ]
    return sum(spent) / part.budget


def record_of_suite(suite: Suite) -> dict[str, Any]:
    """Return a suite as JSON values, from which ``suite_of`` makes it again."""
    return {
        "format": FORMAT,
        PARTS: [{**record_of(part), "folder": str(part.path)} for part in suite.parts],
        "summary": suite.to_json(),
    }


def suite_of(record: Mapping[str, Any], path: Path) -> Suite:
    """Make a suite of what ``record_of_suite`` returned; a record of another kind raises."""
    parts = tuple(comparison_of(part, Path(part["folder"])) for part in record[PARTS])
    if not parts:
        raise ValueError("a suite has at least one problem")
    return Suite(parts, path)
