"""Compose docs/results/engine.md from the records of ``run.py``."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from evosearch.tables import cell

HEAD = """# The rule engine: what was asked, what was measured

Made by `python benchmarks/engine/run.py`: one core of a shared virtual machine except where two are
named; times are taken in turn and ratios are medians over the turns. Where one core does the
work, times are processor time, so that other programs on the core do not count. *Run only* leaves
compilation out; it has rows of its own. NumPy is the code of a DEAP user: rules compiled by
`gp.compile`, a loop over the steps, the cheapest NumPy calls for clip and check. `evosearch bench`
prints a shorter table for any machine.
"""
MET = {True: "yes", False: "no", None: "open"}


def write_page(records: Path, sections: Sequence[str], target: Path) -> None:
    """Write the page from the records that are there."""
    found = [
        json.loads((records / f"{name}.json").read_text(encoding="utf-8"))
        for name in sections
        if (records / f"{name}.json").is_file()
    ]
    rows = [row for record in found for row in record["rows"]]
    parts = [HEAD, _machines(found), _main_table(rows)]
    missing = [name for name in sections if not (records / f"{name}.json").is_file()]
    if missing:
        parts.append(f"Not measured yet: {', '.join(missing)}.\n")
    for record in found:
        parts += [f"{note}\n" for note in record["notes"]]
        parts += [_detail(detail) for detail in record["details"]]
    hand = records.parent / "notes.md"
    if hand.is_file():
        parts.append(hand.read_text(encoding="utf-8"))
    target.write_text("\n".join(parts).rstrip() + "\n", encoding="utf-8")


def describe(record: dict[str, Any]) -> str:
    """Return a record as text for the terminal."""
    parts = [_main_table(record["rows"]), *(_detail(detail) for detail in record["details"])]
    return "\n".join(parts)


def _machines(found: Sequence[dict[str, Any]]) -> str:
    """Name each machine and the versions on it, once."""
    names = ("evosearch", "revision", "python", "numpy", "numba", "llvmlite", "deap")
    lines = []
    for record in found:
        facts = record["environment"]
        versions = ", ".join(f"{name} {facts[name]}" for name in names if name in facts)
        lines.append(f"{facts['processor']}, {record['date']}: {versions}.")
    return "Measured on " + "\n".join(dict.fromkeys(lines)) + "\n"


def _main_table(rows: Sequence[dict[str, Any]]) -> str:
    lines = [(r["workload"], r["asked"], r["measured"], MET[r["is_met"]]) for r in rows]
    return _table(("workload", "asked", "measured", "met"), lines)


def _detail(detail: dict[str, Any]) -> str:
    return f"## {detail['title']}\n\n{_table(detail['columns'], detail['rows'])}"


def _table(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    lines = [tuple(columns), tuple("---" for _ in columns)]
    lines += [tuple(cell(value) for value in row) for row in rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"
