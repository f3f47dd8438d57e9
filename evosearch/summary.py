"""Results as people read them, on stdout; the same results as JSON for programs."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evosearch.display import duration, rich_table, si
from evosearch.scoring import normalise
from evosearch.tables import Table, cell, numbers_line, plain

if TYPE_CHECKING:
    from rich.console import Console

    from evosearch.comparison import Comparison
    from evosearch.doctor import Finding
    from evosearch.scoring import Score
    from evosearch.suite import Suite

MAX_PARETO_ROWS = 12
MAX_FAMILY_ROWS = 12


def print_json(value: Mapping[str, Any]) -> None:
    """Print exactly one JSON object; non-finite numbers become null."""
    sys.stdout.write(json.dumps(plain(dict(value)), ensure_ascii=False, allow_nan=False) + "\n")
    sys.stdout.flush()


def print_table(table: Table) -> None:
    """Print a table; a message of its own where it has no row."""
    if len(table):
        _console().print(rich_table(table))
    else:
        sys.stdout.write(f"{table.title}: none.\n")


def print_run(run: Any, *, report: Path | None = None) -> None:
    """Print a run: the champion beside the best known rule, scores, front, and where it lies."""
    # All that is read comes first, so that a damaged file is told before anything is printed.
    facts, faults, tables = run.to_json(), _faults(run), _tables(run)
    console = _console()
    console.print(_headline(facts), style="bold")
    console.print()
    for label, text in _rule_lines(run, facts):
        console.print(f"  {label:<12} {text}", soft_wrap=True)
    console.print()
    for table in tables:
        console.print(rich_table(table))
    verdict = {True: "success criterion met", False: "success criterion not met"}
    for line in (verdict.get(facts["success"], ""), getattr(run, "summary", ""), faults):
        if line:
            console.print(f"  {line}", soft_wrap=True)
    for line in (_speed(run), _cache(run)):
        if line:
            console.print(f"  {line}", soft_wrap=True)
    console.print(f"  run     {run.path}", soft_wrap=True)
    if report is not None:
        console.print(f"  report  {report}", soft_wrap=True)


def _tables(run: Any) -> list[Table]:
    """Return the tables of a run that have rows; the scores always."""
    more = [transplants_table(run), ablations_table(run)]
    if not _is_of_vectors(run):
        more += [pareto_table(run), families_table(run)]
    return [score_table(run), *(table for table in more if len(table))]


def _is_of_vectors(run: Any) -> bool:
    return bool(getattr(run, "is_of_vectors", False))


def _faults(run: Any) -> str:
    """Return how many candidates have no fitness, and why the first has none."""
    counts = getattr(run, "faults", None) or {}
    if not counts:
        return ""
    kinds = ", ".join(f"{n:,} {status}" for status, n in counts.items())
    return f"Candidates without a fitness: {kinds}. The first: {run.first_fault}"


def _speed(run: Any) -> str:
    """Return how fast rules were lived and by which tier; empty where nothing was compiled."""
    rate, share = getattr(run, "synapse_updates_per_s", 0.0), getattr(run, "native_share", None)
    if not rate:
        return ""
    tiers = "" if share is None else f", {share:.0%} native code, {1 - share:.0%} interpreted"
    return f"speed   {si(rate)} synapse updates/s{tiers}"


def _cache(run: Any) -> str:
    """Return how many scores were known before, in the run and from others; empty where none."""
    share, hits = getattr(run, "share_met_before", None), getattr(run, "shared_hits", None)
    parts = []
    if share:
        parts.append(f"{share:.1%} of evaluations met a candidate of this run again")
    if hits is not None:
        parts.append(f"{hits:,} scores came from other runs")
    return f"cache   {'; '.join(parts)}" if parts else ""


def _headline(facts: Mapping[str, Any]) -> str:
    return (
        f"{facts['problem']} · {facts['search']} · seed {facts['seed']} · "
        f"{facts['evaluations']:,} evaluations in {duration(facts['wall_s'] or 0)} "
        f"(stopped by {facts['stopped_by']})"
    )


def _rule_lines(run: Any, facts: Mapping[str, Any]) -> list[tuple[str, str]]:
    champion = facts["champion"]
    if champion is None:
        lines = [("champion", "none yet: no candidate was scored on validation draws")]
    elif _is_of_vectors(run):
        lines = [("champion", numbers_line(run.vector))]
    else:
        lines = [("evolved", str(champion["text"])), ("simplified", str(champion["simplified"]))]
    reference = reference_of(run)
    if reference is not None:
        lines.append((reference[0], reference[1]))
    return lines


def reference_of(run: Any) -> tuple[str, str, str] | None:
    """Return name, text and source of the known rule that is the run's ceiling, if it has one."""
    from evosearch.rules.library import KNOWN

    name = getattr(run, "ceiling_name", None)
    if not name:
        return None
    rules = getattr(run, "known", {})
    if name not in rules:
        return None
    text = rules[name].text
    source = f"{KNOWN[name].authors} {KNOWN[name].year}" if name in KNOWN else ""
    return name, text, source


def score_table(run: Any) -> Table:
    """Return the champion's scores on all splits beside floor, ceiling and known rules."""
    facts = run.to_json()
    rows: list[tuple[Any, ...]] = []
    if (champion := facts["champion"]) is not None:
        scores = (champion["fitness"].get(n) for n in ("search", "validation", "test"))
        rows.append(("champion", *scores, champion["normalised_test"]))
    floor, ceiling = facts["floor"], facts["ceiling"]
    named = {
        getattr(run, "floor_name", None): "floor",
        getattr(run, "ceiling_name", None): "ceiling",
    }
    for name, test in sorted(facts["baselines"].items(), key=lambda item: -_key(item[1])):
        label = f"{name} ({named[name]})" if name in named else name
        rows.append((label, None, None, test, normalise(test, floor, ceiling)))
    kind = "vector" if _is_of_vectors(run) else "rule"
    return Table("scores", (kind, "search", "validation", "test", "normalised"), tuple(rows))


def _key(value: Any) -> float:
    return float(value) if isinstance(value, (int, float)) and math.isfinite(value) else -math.inf


def pareto_table(run: Any) -> Table:
    """Return the Pareto front of fitness and size, at most twelve rows of it."""
    front = list(run.pareto)
    shown = front[:MAX_PARETO_ROWS]
    rows = tuple((row["size"], row["fitness"], row["validation"], row["text"]) for row in shown)
    more = f" (the {MAX_PARETO_ROWS} smallest of {len(front)})" if len(front) > len(shown) else ""
    title = f"Pareto front of fitness and size{more}"
    return Table(title, ("size", "search", "validation", "rule"), rows)


def families_table(run: Any) -> Table:
    """Return families of equivalent rules, the best of each size, at most twelve of them."""
    from evosearch.families import best_of_each_size

    found = getattr(run, "families", [])
    shown = best_of_each_size(found, MAX_FAMILY_ROWS)
    columns = ("size", "validation", "search", "rules", "met", "form", "smallest rule")
    rows = tuple(
        (f.size, f.validation, f.fitness, f.n_rules, f.n_met, f.short_form or "–", f.short_text)
        for f in shown
    )
    title = f"families of equivalent rules, the best of each size: {len(shown)} of {len(found)}"
    return Table(title, columns, rows)


def transplants_table(run: Any) -> Table:
    """Return how the champion does on other splits than it was chosen by, floor and ceiling too."""
    rows = tuple(
        (split, row["champion"], row["floor"], row["ceiling"])
        for split, row in _of_champion(run, "transplants").items()
    )
    return Table("other draws than searched", ("split", "champion", "floor", "ceiling"), rows)


def ablations_table(run: Any) -> Table:
    """Return how the champion does without each terminal that it reads, by rising fitness."""
    found = _of_champion(run, "ablations")
    rows = tuple(sorted(found.items(), key=lambda row: _key(row[1])))
    return Table("without what it reads", ("held at zero", "validation"), rows)


def _of_champion(run: Any, name: str) -> Mapping[str, Any]:
    champion = getattr(run, "champion", None)
    return getattr(champion, name, None) or {}


def print_score(score: Score) -> None:
    """Print what ``evaluate`` measured."""
    console = _console()
    console.print(f"{score.problem} · {score.split} · {score.draws} draws", style="bold")
    facts = score.to_json()
    facts["candidate"] = _shortened(score.candidate)
    for name in ("candidate", "mean", "sd", "normalised", "floor", "ceiling", "parameters"):
        console.print(f"  {name:<12} {cell(facts[name])}", soft_wrap=True)
    for name, value in score.metrics.items():
        console.print(f"  {name:<12} {cell(value)}", soft_wrap=True)


def _shortened(candidate: str) -> str:
    """Return a candidate as people read it: a rule whole, of a vector the first numbers."""
    return numbers_line(json.loads(candidate)) if candidate.startswith("[") else candidate


def print_comparison(comparison: Comparison | Suite, *, report: Path | None = None) -> None:
    """Print the summary of each problem and of all, the tests, and where the comparison lies."""
    console = _console()
    parts = getattr(comparison, "parts", ())
    for part in (*parts, comparison):
        console.print(rich_table(part.table()))
        tests = part.tests_table()
        if len(tests):
            console.print(rich_table(tests))
    for note in comparison.notes:
        console.print(f"  {note}", soft_wrap=True)
    console.print(f"  comparison  {comparison.path}", soft_wrap=True)
    if report is not None:
        console.print(f"  report      {report}", soft_wrap=True)


def print_findings(findings: Sequence[Finding]) -> None:
    """Print the checks of ``doctor``, one a line."""
    console = _console()
    for finding in findings:
        mark = "ok   " if finding.is_ok else "FAIL "
        console.print(f"{mark} {finding.name}: {finding.detail}", soft_wrap=True)


def records_table(title: str, records: Sequence[Any]) -> Table:
    """Return dataclass records of one kind as a table of their fields."""
    columns = tuple(field.name for field in fields(records[0])) if records else ()
    rows = tuple(tuple(getattr(record, name) for name in columns) for record in records)
    return Table(title, columns, rows)


def _console() -> Console:
    from rich.console import Console

    width = None if sys.stdout.isatty() else 160
    return Console(file=sys.stdout, highlight=False, markup=False, emoji=False, width=width)
