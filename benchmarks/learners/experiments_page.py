"""Sections of docs/results/learners.md on single questions, from the records of their scripts."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any


def sections(records: Path) -> list[str]:
    """Return a section of each script whose record is there."""
    found = []
    for name, (title, write) in _SECTIONS.items():
        file = records / f"{name}.jsonl"
        if file.is_file():
            lines = file.read_text(encoding="utf-8").splitlines()
            rows = [json.loads(line) for line in lines]
            command = f"```\npython benchmarks/learners/{name}.py\n```\n"
            found.append(f"## {title}\n\n{command}\n{write(rows)}")
    for name, title in _PRINTED.items():
        file = records / f"{name}.txt"
        if file.is_file():
            found.append(f"## {title}\n\n```\n{file.read_text(encoding='utf-8').rstrip()}\n```\n")
    return found


def _parity(rows: Sequence[dict[str, Any]]) -> str:
    """Write one table a task: seeds that solved it, and the median updates they took."""
    parts = [
        "Hidden units see no target; a readout learns by its own error. *Solved* of five seeds "
        "(median updates); *held out* is accuracy on rows that were not shown. A normalised Hebb "
        "rule makes all weights of a unit equally large: parity then is a count, which the readout "
        "reads. It is no credit assignment: sparse parity and permuted labels stay unsolved, and "
        "so does parity of 7 and 9 inputs.\n"
    ]
    for task in dict.fromkeys(row["task"] for row in rows):
        here = [row for row in rows if row["task"] == task]
        sizes = sorted({row["n"] for row in here})
        cells = {(row["rule"], row["n"]): row for row in here}
        lines = []
        for rule in dict.fromkeys(row["rule"] for row in here):
            found = [_parity_cell(cells.get((rule, n))) for n in sizes]
            lines.append((f"`{rule}`", *found))
        parts += [f"**{task}**\n", table(("rule", *(f"n = {n}" for n in sizes)), lines)]
    return "\n".join(parts)


def _parity_cell(row: dict[str, Any] | None) -> str:
    if row is None:
        return "–"
    if row.get("held") is not None:
        return f"{sum(row['held']) / len(row['held']):.2f}"
    median = f" ({row['median']:.0f})" if row["median"] is not None else ""
    return f"{row['solved']}/{row['seeds']}{median}"


def _mupc(rows: Sequence[dict[str, Any]]) -> str:
    lines = [
        (row["parametrisation"], row["layers"], f"{100 * row['mean']:.1f} ± {100 * row['sd']:.1f}",
         row["seeds"], f"{row['rate']:g}")
        for row in rows
    ]  # fmt: skip
    first = rows[0]
    note = (
        f"Predictive coding in a residual network of {first['layers']} layers on digits, "
        f"{first['updates']} updates, {first['steps']} relaxation steps of {first['gamma']}; the "
        "rate of each was chosen on validation data. Layers further than the steps from the "
        "readout stay random.\n\n"
    )
    return note + table(("scales", "layers", "test accuracy, %", "seeds", "rate"), lines)


def _pc_graphs(rows: Sequence[dict[str, Any]]) -> str:
    lines = [
        (row["network"], row["learner"], f"{row['last_losses']:.3f}",
         f"{row['max_difference']:.1g}", f"{row['cost_over_bp']:.1f}")
        for row in rows
    ]  # fmt: skip
    note = (
        "Predictive coding along the graph of a small convolutional network (CIFAR-10 subset) and "
        "of a character LSTM (tinyshakespeare), with the initial weights and minibatches of "
        "backpropagation; *difference* is the largest one of the losses of all updates. The "
        "schedule of Z-IL follows backpropagation's curve to rounding; fixed prediction nears it "
        "with the number of steps.\n\n"
    )
    columns = ("network", "learner", "last losses", "difference", "time / backpropagation")
    return note + table(columns, lines)


def _pc_cost(rows: Sequence[dict[str, Any]]) -> str:
    steps = sorted({row["steps"] for row in rows if row["steps"] is not None})
    cells = {(row["task"], row["learner"], row["steps"]): row["cost_over_bp"] for row in rows}
    lines = []
    for task, learner in dict.fromkeys((row["task"], row["learner"]) for row in rows):
        found = [cells.get((task, learner, n)) for n in (None, *steps)]
        lines.append((task, learner, *("–" if c is None else f"{c:.1f}" for c in found)))
    note = "Processor time of an update over backpropagation's, by relaxation steps T.\n\n"
    return note + table(("bed", "learner", "own T", *(f"T = {n}" for n in steps)), lines)


def table(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """Return a Markdown table."""
    head = [f"| {' | '.join(columns)} |", "|" + "---|" * len(columns)]
    return "\n".join([*head, *(f"| {' | '.join(map(str, row))} |" for row in rows)]) + "\n"


_SECTIONS: dict[str, tuple[str, Callable[[Sequence[dict[str, Any]]], str]]] = {
    "parity": ("Parity without a target for hidden units", _parity),
    "mupc": ("64 layers of predictive coding", _mupc),
    "pc_graphs": ("Predictive coding on convolutional and recurrent graphs", _pc_graphs),
    "pc_cost": ("What relaxation costs", _pc_cost),
}
_PRINTED = {
    "dni_unlocks": "Synthetic gradients unlock a recurrent network",
    "noprop_embeddings": "NoProp with flow matching: label embeddings on 100 classes",
    "circuit_dfa": "The rule inside direct feedback alignment, from random trees",
    "speed": "Batched lifetimes against single NumPy lifetimes",
}
