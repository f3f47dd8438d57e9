"""Make docs/results/learners.md: every learner on every bed, side by side.

    python benchmarks/learners/table.py digits6 [LEARNER …]   # measure, keep one record a learner
    python benchmarks/learners/table.py times digits6         # time those again, in one call
    python benchmarks/learners/table.py page                  # compose the page from the records

Learners of one call are tuned, reported and timed together with floor and ceiling; records are
benchmarks/learners/records/BED/LEARNER.json.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path

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
    """Fit some learners beside floor and ceiling, and keep a record of each."""
    named = [name for name in learners if where.network in make_learner(name).networks]
    able = list(dict.fromkeys((where.floor, where.ceiling, *named)))
    try:
        fit = es.fit(where.name, learners=able, seeds=SEEDS)
    except InputError as error:  # one that cannot train this network, by its own check
        print(f"{where.name}: {error}", flush=True)
        if len(named) > 1:
            for name in named:
                measure(where, [name])
        return
    for row in fit.rows:
        facts = {**fit.facts(row), "accuracies": row.accuracies, "seeds": SEEDS}
        target = record_of(where, row.learner)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(json.dumps(plain(facts), indent=1) + "\n", encoding="utf-8")
        print(f"{where.name} {row.learner}: {facts['accuracy_mean']}", flush=True)


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
