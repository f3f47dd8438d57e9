"""Make docs/results/engine.md: every measurement of the engine, on one core, in one call.

    python benchmarks/engine/run.py                  # all sections, then the page: 15 minutes
    python benchmarks/engine/run.py layers page      # only some
    EVOSEARCH_BENCH_QUICK=1 python benchmarks/engine/run.py layers   # tiny, nothing is written

Ratios compare times taken in turn and are medians over the turns. Records, one JSON file a
section, lie beside this script, so that a section that needs another machine can be made there.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

from common import IS_QUICK, Record, Row, pin
from compiling import automatic, compiling
from expressions import fingerprints, node_evaluations
from layers import functions, layers, networks, threads
from minibatch import separable
from page import describe, write_page
from whole_runs import whole_runs

from evosearch.bench.timing import one_blas_thread
from evosearch.environment import describe_environment
from evosearch.tables import plain

ROOT = Path(__file__).resolve().parents[2]
RECORDS = Path(__file__).resolve().parent / "records"


def gpu() -> Record:
    """Open: made on a machine with a GPU."""
    name = "H200 GPU: 4,096 rules x 32 draws, W 32x64, T=500"
    return Record(
        [
            Row(name, "≥ 500 G updates/s", "not measured yet", None),
            Row("MLP 784-256-10 populations", "networks/s", "not measured yet", None),
        ]
    )


SECTIONS: dict[str, Callable[[], Record]] = {
    "layers": layers,
    "networks": networks,
    "compiling": compiling,
    "automatic": automatic,
    "functions": functions,
    "node_evaluations": node_evaluations,
    "fingerprints": fingerprints,
    "separable": separable,
    "threads": threads,
    "whole_runs": whole_runs,
    "gpu": gpu,
}


def main(names: Sequence[str]) -> None:
    """Measure the sections that are named; ``page`` composes the page from all records."""
    pin(1)
    for name in names or [*SECTIONS, "page"]:
        if name == "page":
            write_page(RECORDS, list(SECTIONS), ROOT / "docs" / "results" / "engine.md")
            continue
        start = time.perf_counter()
        with one_blas_thread():
            record = SECTIONS[name]()
        print(f"{name}: {time.perf_counter() - start:.0f} s", flush=True)
        print(describe(asdict(record)), flush=True)
        if not IS_QUICK:
            _keep(name, record)


def _keep(name: str, record: Record) -> None:
    RECORDS.mkdir(exist_ok=True)
    facts = {
        "date": datetime.now(UTC).date().isoformat(),
        "environment": describe_environment(),
        **asdict(record),
    }
    text = json.dumps(plain(facts), indent=1, ensure_ascii=False)
    (RECORDS / f"{name}.json").write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
