"""Print the table of a record of runs: how many found the formula, and how well the rest fit.

python benchmarks/regression/page.py records/runs.jsonl
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from pathlib import Path
from statistics import median

EXACT, CLOSE = 1e-9, 1e-3


def cell(rows):
    """Return exact / close / runs, the median error and the median size."""
    if not rows:
        return "–"
    errors = [row["test"] for row in rows]
    exact, close = (sum(error < limit for error in errors) for limit in (EXACT, CLOSE))
    size = median(row["size"] for row in rows)
    return f"{exact} / {close} / {len(rows)}; {median(errors):.0e}; {size:.0f}"


def total(rows):
    """Return exact / close / runs over all formulas, and evaluations a CPU second."""
    errors = [row["test"] for row in rows]
    exact, close = (sum(error < limit for error in errors) for limit in (EXACT, CLOSE))
    rate = median(row["evaluations"] / max(row["cpu_s"], 0.01) for row in rows)
    seconds = median(row["cpu_s"] for row in rows)
    return f"{exact} / {close} / {len(rows)}; {seconds:.0f} s; {rate:,.0f} a s"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("records", type=Path, nargs="+")
    lines = [line for path in parser.parse_args().records for line in path.read_text().splitlines()]
    groups = defaultdict(list)
    for row in map(json.loads, lines):
        groups[row["formula_name"], row["engine"]].append(row)
    names = list(dict.fromkeys(name for name, _ in groups))
    engines = list(dict.fromkeys(engine for _, engine in groups))
    print("| formula | " + " | ".join(engines) + " |\n|---" + "|---" * len(engines) + "|")
    for name in names:
        print(f"| {name} | " + " | ".join(cell(groups[name, one]) for one in engines) + " |")
    every = ([row for name in names for row in groups[name, engine]] for engine in engines)
    print("| **all** | " + " | ".join(total(rows) for rows in every) + " |")


if __name__ == "__main__":
    main()
