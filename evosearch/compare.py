"""Searches compared on one problem or on several: equal budgets, several seeds, honest statistics.

Each cell of a comparison is an ordinary run in the ordinary place. A run that is finished is
read, a broken one is continued and a missing one is done, so a comparison can be stopped at any
time and continued by the same call.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

from evosearch.comparison import (
    Cell,
    Comparison,
    comparison_of,
    damaged,
    read_record,
    record_of,
    write_record,
)
from evosearch.display import score_text
from evosearch.errors import InputError, RunCorruptError
from evosearch.suite import FOLDER, PARTS, Suite, record_of_suite, suite_of
from evosearch.tables import Table

if TYPE_CHECKING:
    from evosearch.problem import Problem

OnRows = Callable[[Table, str], None]


@dataclass(frozen=True)
class _Order:
    """What is asked of every problem of a comparison."""

    searches: tuple[str, ...]
    seeds: tuple[int, ...]
    budget: int | None
    preset: str | None
    settings: Mapping[str, str] | None
    out: str | Path | None
    options: Mapping[str, Any]


@overload
def compare(
    problem: str | Path | Problem,
    *,
    searches: Sequence[str],
    seeds: int | Sequence[int] = 10,
    budget: int | None = None,
    time_s: float | None = None,
    preset: str | None = None,
    settings: Mapping[str, str] | None = None,
    out: str | Path | None = None,
    on_rows: OnRows | None = None,
    **options: Any,
) -> Comparison: ...
@overload
def compare(
    problem: Sequence[str | Path | Problem],
    *,
    searches: Sequence[str],
    seeds: int | Sequence[int] = 10,
    budget: int | None = None,
    time_s: float | None = None,
    preset: str | None = None,
    settings: Mapping[str, str] | None = None,
    out: str | Path | None = None,
    on_rows: OnRows | None = None,
    **options: Any,
) -> Suite: ...
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
    on_rows: OnRows | None = None,
    **options: Any,
) -> Comparison | Suite:
    """Run several searches at equal budgets on one problem or several and compare test scores.

    Args:
        problem: shipped name, path of a TOML file or loaded problem; a list of them for several.
        searches: names of searches, two or more for pairwise tests; the same on every problem.
        seeds: a number of seeds counted from 0, or the seeds themselves.
        budget: candidate evaluations a run; None takes each problem's for the first search.
        time_s: wall-clock limit of each run.
        preset: preset of the problem file.
        settings: changed keys of the problem, by dotted path.
        out: folder of runs.
        on_rows: called with the table so far and a sentence after every run.
        options: passed to each run (``workers``, ``backend``, ``device``, ``cache``).

    Returns:
        The comparison, a ``Suite`` of them for a list; also written to ``comparison.json`` in a
        folder beside the runs. Its ``notes`` say where budgets are not equal.

    Raises:
        InputError: a search does not exist or does not fit a problem, there is no seed, or a
            problem is named twice.
    """
    numbers = tuple(range(seeds)) if isinstance(seeds, int) else tuple(seeds)
    names = tuple(dict.fromkeys([searches] if isinstance(searches, str) else searches))
    if not names or not numbers:
        raise InputError("a comparison needs at least one search and one seed.")
    order = _Order(names, numbers, budget, preset, settings, out, {**options, "time_s": time_s})
    if isinstance(problem, list | tuple):
        return _compare_all(problem, order, on_rows)
    return _compared(*_planned(problem, order), order, on_rows)


def _compare_all(problems: Sequence[Any], order: _Order, on_rows: OnRows | None) -> Suite:
    """Compare on one problem after the other; each is checked before the first run."""
    planned = [_planned(problem, order) for problem in problems]
    names = [loaded.name for loaded, _ in planned]
    if not names:
        raise InputError("a comparison needs at least one problem.")
    if len(set(names)) < len(names):
        raise InputError(f"a comparison meets each problem once; asked for: {', '.join(names)}.")
    key = hashlib.sha256(json.dumps([part.path.name for _, part in planned]).encode())
    folder = planned[0][1].path.parents[1] / FOLDER / f"compare-{key.hexdigest()[:8]}"
    suite = Suite(tuple(part for _, part in planned), folder)
    for number, (loaded, part) in enumerate(planned):
        part = _compared(loaded, part, order, _named(loaded.name, on_rows))
        parts = (*suite.parts[:number], part, *suite.parts[number + 1 :])
        suite = Suite(parts, folder)
        write_record(folder, record_of_suite(suite))
    return suite


def _named(problem: str, on_rows: OnRows | None) -> OnRows | None:
    """Return a listener that hears of which problem the news is."""
    if on_rows is None:
        return None
    return lambda table, news: on_rows(table, f"{problem}, {news}")


def _planned(problem: Any, order: _Order) -> tuple[Problem, Comparison]:
    """Return the problem and the comparison on it before any run."""
    from evosearch import api

    loaded = api.load_problem(problem, preset=order.preset, overrides=order.settings)
    for name in order.searches:
        loaded.search_settings(api.check_search(name))
    own = {name: int(loaded.default_budget(name)) for name in order.searches}
    budget, remarks = order.budget, ()
    if budget is None:
        budget = own[order.searches[0]]
        remarks = _remarks(loaded.name, own, budget)
    path = _folder(loaded.name, order, budget)
    return loaded, Comparison(
        loaded.name, budget, order.seeds, order.searches, (), path, remarks=remarks
    )


def _remarks(problem: str, own: Mapping[str, int], budget: int) -> tuple[str, ...]:
    """Say where a problem's file gives its searches other budgets than they have here."""
    others = [f"{name} {count:,}" for name, count in own.items() if count != budget]
    if not others:
        return ()
    return (
        f"The file of {problem} gives {', '.join(others)} evaluations; here every search has "
        f"{budget:,}, those of {next(iter(own))}.",
    )


def _compared(
    loaded: Problem, comparison: Comparison, order: _Order, on_rows: OnRows | None
) -> Comparison:
    """Make the runs of one problem, or read them."""
    from evosearch import api

    for seed, name in itertools.product(order.seeds, order.searches):
        run = api.finished_run(
            loaded, search=name, seed=seed, budget=comparison.budget, out=order.out, **order.options
        )
        comparison = _with_run(comparison, run, name, seed)
        write_record(comparison.path, record_of(comparison))
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
    # what was read from other runs was not lived, and would make a search look cheap
    is_lived = not getattr(run, "shared_hits", None)
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
        synapse_updates=int(facts["synapse_updates"]) if is_lived else 0,
        updates_to_success=run.updates_to_success if is_lived else None,
    )
    return replace(
        comparison,
        cells=(*comparison.cells, cell),
        floor=facts["floor"],
        ceiling=facts["ceiling"],
        bar=success_bar(run.settings.get("success"), run.known_scores),
    )


def success_bar(
    criterion: Mapping[str, Any] | None, known: Mapping[str, Mapping[str, Any]]
) -> float | None:
    """Return the score that counts as success, None where there is no criterion.

    Args:
        criterion: the section ``success`` of the problem file.
        known: scores by split of each known candidate, by name.
    """
    if not criterion:
        return None
    if criterion.get("reference") is None:
        return float(criterion["threshold"])
    reference = known.get(criterion["reference"], {}).get(criterion.get("split", "test"))
    return None if reference is None else float(reference) + float(criterion.get("margin", 0.0))


def _folder(problem: str, order: _Order, budget: int) -> Path:
    from evosearch import api

    settings = sorted((order.settings or {}).items())
    key = json.dumps([problem, order.searches, order.seeds, budget, order.preset, settings])
    short = hashlib.sha256(key.encode()).hexdigest()[:8]
    return api.runs_folder(order.out) / problem / f"compare-{short}"


def load_comparison(path: str | Path) -> Comparison | Suite:
    """Read a comparison from its folder or its ``comparison.json``; a suite of them likewise.

    Raises:
        InputError: there is none.
        RunCorruptError: the file is damaged or of another format.
    """
    record, folder = read_record(path)
    try:
        return suite_of(record, folder) if PARTS in record else comparison_of(record, folder)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        if isinstance(error, RunCorruptError):
            raise
        raise damaged(folder) from error
