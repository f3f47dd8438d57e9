"""Make docs/results/learners.md: every learner on every bed, side by side.

    python benchmarks/learners/table.py digits6 [LEARNER …]   # measure, keep one record a learner
    python benchmarks/learners/table.py times digits6         # time those again, in one call
    python benchmarks/learners/table.py page                  # compose the page from the records

Learners of one call are timed together with the ceiling; what floor and ceiling reach is taken from
their records, benchmarks/learners/records/BED/LEARNER.json.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from table_page import write_page

import evosearch as es
from evosearch.beds import BEDS, Bed
from evosearch.errors import InputError
from evosearch.fitting import times
from evosearch.learners.catalogue import learner_names, make_learner
from evosearch.tables import plain

ROOT = Path(__file__).resolve().parents[2]
RECORDS = Path(__file__).resolve().parent / "records"
SEEDS = 5
TOGETHER = 6
# Hundreds of passes for each minibatch: an hour on the larger beds.
TOO_SLOW = {"mnist8k": ("fpc", "pc", "rtrl"), "fashion8k": ("fpc", "pc", "rtrl")}


def main(names: Sequence[str]) -> None:
    """Measure the learners of a bed, or compose the page."""
    if list(names) == ["page"]:
        write_page(RECORDS, ROOT / "docs" / "results" / "learners.md")
        return
    if names[0] == "times":
        time_again(BEDS[names[1]])
        return
    where, asked = BEDS[names[0]], list(names[1:])
    left = asked or [name for name in learner_names() if not record_of(where, name).is_file()]
    left = [name for name in left if name not in TOO_SLOW.get(where.name, ()) or asked]
    for k in range(0, len(left), TOGETHER):
        measure(where, left[k : k + TOGETHER])


def measure(where: Bed, learners: Sequence[str]) -> None:
    """Fit some learners, floor and ceiling first where they have no record, and keep each."""
    ends = (where.floor, where.ceiling)
    if not all(record_of(where, name).is_file() for name in ends):
        learners = list(dict.fromkeys((*ends, *learners)))
    named = [name for name in learners if where.network in make_learner(name).networks]
    if not named:
        return
    try:
        fit = es.fit(where.name, learners=named, seeds=SEEDS, workers=1)
    except InputError as error:  # one that cannot train this network, by its own check
        print(f"{where.name}: {error}", flush=True)
        if len(named) > 1:
            for name in named:
                measure(where, [name])
        return
    seconds = times(where.name, learners=[where.ceiling])[where.ceiling]
    for row in fit.rows:
        keep(where, {**fit.facts(row), "accuracies": row.accuracies, "seeds": SEEDS}, seconds)


def keep(where: Bed, facts: dict[str, Any], ceiling_s: float) -> None:
    """Write a learner's record, beside what floor and ceiling reached."""
    target = record_of(where, facts["learner"])
    target.parent.mkdir(parents=True, exist_ok=True)
    if facts["normalised"] is None and facts["accuracy_mean"] is not None:
        low, high = (
            json.loads(record_of(where, name).read_text(encoding="utf-8"))["accuracy_mean"]
            for name in (where.floor, where.ceiling)
        )
        facts["normalised"] = (facts["accuracy_mean"] - low) / (high - low)
    if facts["cost_ratio_to_bp"] is None:
        facts["cost_ratio_to_bp"] = facts["seconds_per_update"] / ceiling_s
    target.write_text(json.dumps(plain(facts), indent=1) + "\n", encoding="utf-8")
    print(f"{where.name} {facts['learner']}: {facts['accuracy_mean']}", flush=True)


def time_again(where: Bed) -> None:
    """Measure the time of an update of every learner with a record, taking turns."""
    files = sorted((RECORDS / where.name).glob("*.json"))
    found = times(where.name, learners=[file.stem for file in files])
    for file in files:
        facts = json.loads(file.read_text(encoding="utf-8"))
        facts["seconds_per_update"] = found[file.stem]
        facts["cost_ratio_to_bp"] = found[file.stem] / found[where.ceiling]
        file.write_text(json.dumps(plain(facts), indent=1) + "\n", encoding="utf-8")
        print(f"{file.stem}: {1e6 * found[file.stem]:.0f} us, {facts['cost_ratio_to_bp']:.2f}")


def record_of(where: Bed, learner: str) -> Path:
    """Return the file of one learner on one bed."""
    return RECORDS / where.name / f"{learner}.json"


if __name__ == "__main__":
    main(sys.argv[1:])
