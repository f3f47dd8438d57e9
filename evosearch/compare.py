"""Searches compared on one problem: equal budgets, several seeds, and honest statistics.

Each cell of the comparison is an ordinary run in the ordinary place. A run that is finished is
read, a broken one is continued and a missing one is done, so a comparison can be stopped at any
time and continued by the same call.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import math
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evosearch.display import score_text
from evosearch.errors import InputError, RunCorruptError
from evosearch.outcome import Json
from evosearch.statistics import holm, mann_whitney, quartiles, vargha_delaney, wilson_interval
from evosearch.tables import Table, html_table, plain

FILE_NAME = "comparison.json"
FORMAT = 1


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
        synapse_updates: weight changes made.
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
    """The result of ``compare``; prints, renders in a notebook, and lies as JSON in ``path``."""

    problem: str
    budget: int | None
    seeds: tuple[int, ...]
    searches: tuple[str, ...]
    cells: tuple[Cell, ...]
    path: Path
    floor: float | None = None
    ceiling: float | None = None

    @property
    def rows(self) -> list[Row]:
        """One row a search, in the order given."""
        return [row_of(name, self._cells_of(name)) for name in self.searches]

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
        return [cell.score for cell in self._cells_of(search) if math.isfinite(cell.score)]

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

    def _cells_of(self, search: str) -> list[Cell]:
        return [cell for cell in self.cells if cell.search == search]

    def __str__(self) -> str:
        return f"{self.table()}\n\n{self.tests_table()}"

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


def compare(
    problem: Any,
    *,
    searches: Sequence[str],
    seeds: int | Sequence[int] = 10,
    budget: int | None = None,
    time_s: float | None = None,
    preset: str | None = None,
    settings: Mapping[str, str] | None = None,
    out: str | Path | None = None,
    on_rows: Callable[[Table, str], None] | None = None,
    **options: Any,
) -> Comparison:
    """Run several searches on one problem at equal budgets and compare their test scores.

    Args:
        problem: shipped name or path of a TOML file.
        searches: names of searches, two or more for pairwise tests.
        seeds: a number of seeds counted from 0, or the seeds themselves.
        budget: candidate evaluations a run; None takes the problem's for the first search.
        time_s: wall-clock limit of each run.
        preset: preset of the problem file.
        settings: changed keys of the problem, by dotted path.
        out: folder of runs.
        on_rows: called with the table so far and a sentence after every run.
        options: passed to each run (``workers``, ``backend``, ``device``).

    Returns:
        The comparison, also written to ``comparison.json`` in a folder beside the runs.

    Raises:
        InputError: a search does not exist or does not fit the problem, or there is no seed.
    """
    from evosearch import api

    numbers = tuple(range(seeds)) if isinstance(seeds, int) else tuple(seeds)
    names = tuple(dict.fromkeys([searches] if isinstance(searches, str) else searches))
    if not names or not numbers:
        raise InputError("a comparison needs at least one search and one seed.")
    loaded = api.load_problem(problem, preset=preset, overrides=settings)
    for name in names:
        loaded.search_settings(api.check_search(name))
    if budget is None:
        budget = int(loaded.default_budget(names[0]))
    path = _folder(loaded.name, names, numbers, budget, preset, settings, out)
    comparison = Comparison(loaded.name, budget, numbers, names, (), path)
    for seed, name in itertools.product(numbers, names):
        run = api.finished_run(
            loaded, search=name, seed=seed, budget=budget, time_s=time_s, out=out, **options
        )
        comparison = _with_run(comparison, run, name, seed)
        _save(comparison)
        if on_rows is not None:
            cell = comparison.cells[-1]
            outcome = "success" if cell.is_success else "no success"
            on_rows(comparison.table(), f"{name} seed {seed}: {_score_text(cell.score)}, {outcome}")
    return comparison


def _score_text(score: float) -> str:
    return score_text(score) if math.isfinite(score) else "no champion"


def _with_run(comparison: Comparison, run: Any, search: str, seed: int) -> Comparison:
    facts = run.to_json()
    champion: dict[str, Any] = facts["champion"] or {"text": "", "fitness": {}}
    test = champion["fitness"].get("test")
    cell = Cell(
        search=search,
        seed=seed,
        score=math.nan if test is None else float(test),
        is_success=bool(facts["success"]),
        evaluations=int(facts["evaluations"]),
        evaluations_to_success=run.evaluations_to_success,
        wall_s=float(facts["wall_s"]),
        path=str(run.path),
        text=str(champion["text"]),
        synapse_updates=int(facts["synapse_updates"]),
        updates_to_success=run.updates_to_success,
    )
    return Comparison(
        comparison.problem,
        comparison.budget,
        comparison.seeds,
        comparison.searches,
        (*comparison.cells, cell),
        comparison.path,
        floor=facts["floor"],
        ceiling=facts["ceiling"],
    )


def _folder(
    problem: str,
    searches: tuple[str, ...],
    seeds: tuple[int, ...],
    budget: int,
    preset: str | None,
    settings: Mapping[str, str] | None,
    out: str | Path | None,
) -> Path:
    from evosearch import api

    key = json.dumps([problem, searches, seeds, budget, preset, sorted((settings or {}).items())])
    short = hashlib.sha256(key.encode()).hexdigest()[:8]
    return api.runs_folder(out) / problem / f"compare-{short}"


def _save(comparison: Comparison) -> None:
    record = {
        "format": FORMAT,
        "problem": comparison.problem,
        "budget": comparison.budget,
        "seeds": list(comparison.seeds),
        "searches": list(comparison.searches),
        "floor": plain(comparison.floor),
        "ceiling": plain(comparison.ceiling),
        "cells": [{k: plain(v) for k, v in vars(cell).items()} for cell in comparison.cells],
        "summary": comparison.to_json(),
    }
    comparison.path.mkdir(parents=True, exist_ok=True)
    target = comparison.path / FILE_NAME
    draft = target.with_suffix(f".{os.getpid()}.tmp")
    draft.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    draft.replace(target)


def load_comparison(path: str | Path) -> Comparison:
    """Read a comparison from its folder or its ``comparison.json``.

    Raises:
        InputError: there is none.
        RunCorruptError: the file is damaged or of another format.
    """
    file = Path(path) / FILE_NAME if Path(path).is_dir() else Path(path)
    if not file.is_file():
        raise InputError(f"{path} holds no comparison; make one with: evosearch compare.")
    try:
        record = json.loads(file.read_text(encoding="utf-8"))
        if record["format"] != FORMAT:
            raise RunCorruptError(
                f"{file} has format {record['format']}, this version reads {FORMAT}; "
                "repeat the compare command, finished runs are not done again."
            )
        cells = tuple(_read_cell(row) for row in record["cells"])
        return Comparison(
            record["problem"],
            record["budget"],
            tuple(record["seeds"]),
            tuple(record["searches"]),
            cells,
            file.parent,
            record["floor"],
            record["ceiling"],
        )
    except (ValueError, KeyError, TypeError) as error:
        if isinstance(error, RunCorruptError):
            raise
        raise RunCorruptError(
            f"{file} is damaged; repeat the compare command, finished runs are not done again."
        ) from error


def _read_cell(record: Mapping[str, Any]) -> Cell:
    score = math.nan if record["score"] is None else record["score"]
    values: dict[str, Any] = {**record, "score": score}
    return Cell(**values)
