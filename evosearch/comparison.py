"""What a comparison of searches on one problem is: its runs, its rows, its tests, its file."""

from __future__ import annotations

import itertools
import json
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evosearch.errors import InputError, RunCorruptError
from evosearch.outcome import Json
from evosearch.statistics import holm, mann_whitney, quartiles, vargha_delaney, wilson_interval
from evosearch.tables import Table, html_table, plain

FILE_NAME = "comparison.json"
FORMAT = 1
_SHARE_OF_BUDGET = 0.98  # the last batch is cut to fit, so that a whole run comes this close


@dataclass(frozen=True)
class Cell:
    """One run of a comparison.

    Attributes:
        search: name of the search.
        seed: its seed.
        score: the champion's score on test draws, NaN where there is none.
        is_success: whether the problem's criterion was met.
        evaluations: candidate evaluations made.
        evaluations_to_success: those made when validation first met the criterion, or None.
        wall_s: seconds of search.
        path: folder of the run.
        text: the champion.
        synapse_updates: weight changes made; 0 where scores came from other runs.
        updates_to_success: those made when validation first met the criterion, or None.
    """

    search: str
    seed: int
    score: float
    is_success: bool
    evaluations: int
    evaluations_to_success: int | None
    wall_s: float
    path: str
    text: str = ""
    synapse_updates: int = 0
    updates_to_success: int | None = None


@dataclass(frozen=True)
class Row:
    """What the runs of one search amount to.

    Attributes:
        search: its name.
        n_runs: runs so far.
        n_successes: successful ones.
        success_rate: their share.
        wilson: 95 % interval of the success rate.
        median: median of the test scores.
        iqr: lower and upper quartile of the test scores.
        evaluations_to_success: evaluations spent in all runs for each success (expected running
            time, Hansen et al. 2021, doi:10.1080/10556788.2020.1808977), None without success.
        updates_to_success: the same in synapse updates; None where nothing has synapses.
        wall_s: median seconds of a run.
    """

    search: str
    n_runs: int
    n_successes: int
    success_rate: float
    wilson: tuple[float, float]
    median: float
    iqr: tuple[float, float]
    evaluations_to_success: float | None
    updates_to_success: float | None
    wall_s: float

    def to_json(self) -> dict[str, Json]:
        """Return the keys that ``compare --json`` promises."""
        names = ("search", "success_rate", "median", "iqr", "evaluations_to_success")
        names += ("updates_to_success", "wall_s")
        return {name: plain(getattr(self, name)) for name in names}


@dataclass(frozen=True)
class PairTest:
    """Two searches' test scores compared.

    Attributes:
        a: first search.
        b: second search.
        p: two-sided Mann-Whitney p value, adjusted by Holm for all pairs.
        effect: Vargha and Delaney's A, the chance that a run of ``a`` beats one of ``b``.
    """

    a: str
    b: str
    p: float
    effect: float

    def to_json(self) -> dict[str, Json]:
        """Return the keys that ``compare --json`` promises."""
        return {"a": self.a, "b": self.b, "p": plain(self.p), "effect": plain(self.effect)}


@dataclass(frozen=True)
class Comparison:
    """The result of ``compare``; prints, renders in a notebook, and lies as JSON in ``path``.

    Attributes:
        problem: its name.
        budget: candidate evaluations of each run.
        seeds: of the runs.
        searches: names, in the order given.
        cells: the runs so far.
        path: folder of the file.
        floor: test score of the trivial control, None where the problem has none.
        ceiling: test score of the reference.
        bar: test score that counts as success.
        remarks: what was said when the comparison was planned.
    """

    problem: str
    budget: int | None
    seeds: tuple[int, ...]
    searches: tuple[str, ...]
    cells: tuple[Cell, ...]
    path: Path
    floor: float | None = None
    ceiling: float | None = None
    bar: float | None = None
    remarks: tuple[str, ...] = ()

    @property
    def notes(self) -> list[str]:
        """Sentences on what is not equal among the runs; none where all is."""
        return [*self.remarks, *(note for name in self.searches if (note := self._early(name)))]

    @property
    def rows(self) -> list[Row]:
        """One row a search, in the order given."""
        return [row_of(name, self.cells_of(name)) for name in self.searches]

    @property
    def tests(self) -> list[PairTest]:
        """Every pair of searches with at least one score each."""
        scores = {name: self.scores(name) for name in self.searches}
        pairs = [
            (a, b) for a, b in itertools.combinations(self.searches, 2) if scores[a] and scores[b]
        ]
        adjusted = holm([mann_whitney(scores[a], scores[b]) for a, b in pairs])
        return [
            PairTest(a, b, p, vargha_delaney(scores[a], scores[b]))
            for (a, b), p in zip(pairs, adjusted, strict=True)
        ]

    def scores(self, search: str) -> list[float]:
        """Return the finite test scores of one search."""
        return [cell.score for cell in self.cells_of(search) if math.isfinite(cell.score)]

    def to_json(self) -> dict[str, Json]:
        """Return what ``compare --json`` prints."""
        return {
            "problem": self.problem,
            "budget": self.budget,
            "seeds": list(self.seeds),
            "rows": [row.to_json() for row in self.rows],
            "tests": [test.to_json() for test in self.tests],
        }

    def table(self) -> Table:
        """Return the rows with the interval of the success rate, for people."""
        columns = ("search", "runs", "successes", "success rate", "95 % interval")
        columns += ("median", "quartiles", "evaluations to success", "synapse updates to success")
        columns += ("seconds a run",)
        rows = tuple(
            (
                row.search,
                row.n_runs,
                row.n_successes,
                row.success_rate,
                f"{row.wilson[0]:.2f} to {row.wilson[1]:.2f}",
                row.median,
                f"{row.iqr[0]:.4g} to {row.iqr[1]:.4g}" if math.isfinite(row.median) else None,
                row.evaluations_to_success,
                None if row.updates_to_success is None else f"{row.updates_to_success:.2g}",
                row.wall_s,
            )
            for row in self.rows
        )
        budget = "default budgets" if self.budget is None else f"{self.budget:,} evaluations a run"
        return Table(f"{self.problem}: test scores, {budget}", columns, rows)

    def tests_table(self) -> Table:
        """Return the pairwise tests, for people."""
        rows = tuple((test.a, test.b, test.p, test.effect) for test in self.tests)
        return Table("pairs (Mann-Whitney, Holm)", ("a", "b", "p", "effect A"), rows)

    def cells_of(self, search: str) -> list[Cell]:
        """Return the runs of one search."""
        return [cell for cell in self.cells if cell.search == search]

    def _early(self, search: str) -> str:
        """Return a sentence where runs of a search ended before the budget."""
        cells = self.cells_of(search)
        whole = _SHARE_OF_BUDGET * (self.budget or 0)
        early = [cell.evaluations for cell in cells if cell.evaluations < whole]
        if not early:
            return ""
        return (
            f"{search} ended before the budget of {self.problem} in {len(early)} of {len(cells)} "
            f"runs, the shortest after {min(early):,} evaluations."
        )

    def __str__(self) -> str:
        return "\n\n".join([str(self.table()), str(self.tests_table()), *self.notes])

    def _repr_html_(self) -> str:
        tests = self.tests_table()
        return self.table().to_html() + html_table(tests.columns, tests.rows)


def row_of(search: str, cells: Sequence[Cell]) -> Row:
    """Summarise the runs of one search."""
    n_successes = sum(cell.is_success for cell in cells)
    low, median, high = quartiles([cell.score for cell in cells])
    _, wall_s, _ = quartiles([cell.wall_s for cell in cells])
    spent = sum(_spent(cell.is_success, cell.evaluations_to_success, cell.evaluations)
                for cell in cells)  # fmt: skip
    updates = sum(_spent(cell.is_success, cell.updates_to_success, cell.synapse_updates)
                  for cell in cells)  # fmt: skip
    return Row(
        search=search,
        n_runs=len(cells),
        n_successes=n_successes,
        success_rate=n_successes / len(cells) if cells else math.nan,
        wilson=wilson_interval(n_successes, len(cells)),
        median=median,
        iqr=(low, high),
        evaluations_to_success=spent / n_successes if n_successes else None,
        updates_to_success=updates / n_successes if n_successes and updates else None,
        wall_s=wall_s,
    )


def _spent(is_success: bool, to_success: int | None, whole: int) -> int:
    return to_success if is_success and to_success is not None else whole


def record_of(comparison: Comparison) -> dict[str, Any]:
    """Return a comparison as JSON values, from which ``comparison_of`` makes it again."""
    return {
        "format": FORMAT,
        "problem": comparison.problem,
        "budget": comparison.budget,
        "seeds": list(comparison.seeds),
        "searches": list(comparison.searches),
        "floor": plain(comparison.floor),
        "ceiling": plain(comparison.ceiling),
        "bar": plain(comparison.bar),
        "remarks": list(comparison.remarks),
        "cells": [{k: plain(v) for k, v in vars(cell).items()} for cell in comparison.cells],
        "summary": comparison.to_json(),
    }


def comparison_of(record: Mapping[str, Any], path: Path) -> Comparison:
    """Make a comparison of what ``record_of`` returned; a record of another kind raises."""
    return Comparison(
        record["problem"],
        record["budget"],
        tuple(record["seeds"]),
        tuple(record["searches"]),
        tuple(_read_cell(row) for row in record["cells"]),
        path,
        record["floor"],
        record["ceiling"],
        record.get("bar"),
        tuple(record.get("remarks", ())),
    )


def write_record(folder: Path, record: Mapping[str, Any]) -> None:
    """Write the file of a comparison whole or not at all."""
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / FILE_NAME
    draft = target.with_suffix(f".{os.getpid()}.tmp")
    draft.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    draft.replace(target)


def read_record(path: str | Path) -> tuple[dict[str, Any], Path]:
    """Return what the file of a comparison holds, and its folder.

    Raises:
        InputError: there is none.
        RunCorruptError: the file is damaged or of another format.
    """
    file = Path(path) / FILE_NAME if Path(path).is_dir() else Path(path)
    if not file.is_file():
        raise InputError(f"{path} holds no comparison; make one with: evosearch compare.")
    try:
        record = json.loads(file.read_text(encoding="utf-8"))
        found = record["format"]
    except (ValueError, KeyError, TypeError) as error:
        raise damaged(file.parent) from error
    if found != FORMAT:
        raise RunCorruptError(
            f"{file} has format {found}, this version reads {FORMAT}; "
            "repeat the compare command, finished runs are not done again."
        )
    return record, file.parent


def damaged(folder: Path) -> RunCorruptError:
    """Return the error that says that the file of a comparison is damaged, and what to do."""
    return RunCorruptError(
        f"{folder / FILE_NAME} is damaged; repeat the compare command, finished runs are not done "
        "again."
    )


def _read_cell(record: Mapping[str, Any]) -> Cell:
    score = math.nan if record["score"] is None else record["score"]
    values: dict[str, Any] = {**record, "score": score}
    return Cell(**values)
