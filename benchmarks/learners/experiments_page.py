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
        "with the number of steps. Where *values settle* (Whittington and Bogacz) predictions move "
        "with them: this is no gradient descent, each step is a whole pass forward and back, and "
        "at steps of .2 the values of this LSTM grow without bound.\n\n"
    )
    columns = ("network", "learner", "last losses", "difference", "time / backpropagation")
    return note + table(columns, lines)


def _convolution(rows: Sequence[dict[str, Any]]) -> str:
    cases = list(dict.fromkeys(row["case"] for row in rows))
    cells = {(row["learner"], row["case"]): f"{_share(row)} ({row['setting']})" for row in rows}
    learners = [name for name in _CONVOLVED if any(row["learner"] == name for row in rows)]
    lines = [(f"`{name}`", *(cells.get((name, case), "–") for case in cases)) for name in learners]
    budget = ", ".join(
        f"{row['updates']} on {row['train']:,} images of {row['case']} with {row['test']:,} to test"
        for row in rows
        if row["learner"] == "bp"
    )
    note = (
        "Test accuracy in per cent, mean ± standard deviation over three seeds, with the setting "
        "that one life of each of three settings chose on validation data. *cifar* is the first "
        "4,000 training images of CIFAR-10, a part of it and no CIFAR-10 result; *plain* is "
        "conv8-pool-conv16-pool-64-10 with filters of 5 x 5, *residual* conv8-pool and two "
        "residual blocks of two 3 x 3 convolutions, each with a pool, below the output; units are "
        f"tanh. Updates of 50: {budget}. `fa` sends errors down through fixed random filters, "
        "`dfa` from the output to every layer's end at once. `rlra` has local targets through "
        "error synapses that learn; on a residual network the blocks hear the output error through "
        "random synapses past all layers, and `lra` is the same without these skips (on a plain "
        "network the two are one). Such skips, like `dfa`'s, know nothing of where in an image a "
        "number lies; where they learn by the product of error and activity, as a readout of "
        "their layer would (`rlra-activity`, whose scale and rate were the best of two looked at "
        "on validation data), they help: as published, neither `lra` nor `rlra` beats random "
        "filters on the residual network in this budget. `fpc` is predictive coding with fixed "
        "predictions, twelve steps of .7: on a chain its errors are backpropagation's times one "
        "share a layer, which Adam takes out. `shallow` trains the readout above random filters."
        "\n\n"
    )
    return note + table(("learner", *cases), lines)


_CONVOLVED = ("bp", "fpc", "rlra-activity", "lra", "rlra", "fa", "dfa", "shallow")


def _share(row: dict[str, Any]) -> str:
    if row["mean"] is None:
        return "diverged"
    return f"{100 * row['mean']:.1f} ± {100 * row['sd']:.1f}"


def _full_size(rows: Sequence[dict[str, Any]]) -> str:
    lines = [
        (row["bed"], f"`{row['learner']}`", _share(row), f"{row['normaliser']} {row['rate']:g}",
         "–" if row["n90"] is None else f"{row['n90']:,.0f}",
         f"{row['forward_equivalents']:.1f}")
        for row in rows
    ]  # fmt: skip
    first = rows[0]
    note = (
        "The 60,000 training images shown once to 784-256-256-10, "
        f"{first['updates']:,} minibatches of {first['batch']}; the official test part, per cent, "
        f"mean ± standard deviation over {first['seeds']} seeds. Settings were chosen from "
        f"{first['tried']} by two lifetimes on 10,000 validation images. With two hidden layers "
        "`rlra` sends errors along the same ways as `lra`, and its error synapses learn by "
        "another rule. `noprop` and its kin took Adam at the published rate .001, unsearched, and "
        "one-hot embeddings; `noprop` has three blocks or ten, each with one hidden layer. "
        "Embeddings of length 1 are short beside the noise of `noprop-fm`, as with 100 classes "
        "below; *scale* lengthens them.\n\n"
    )
    columns = ("bed", "learner", "test accuracy, %", "setting", "n90", "passes")
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
    "convolution": ("Convolutional and residual networks", _convolution),
    "full_size": ("All of MNIST and Fashion-MNIST", _full_size),
}
_PRINTED = {
    "dni_unlocks": "Synthetic gradients unlock a recurrent network",
    "noprop_embeddings": "NoProp with flow matching: label embeddings on 100 classes",
    "circuit_dfa": "The rule inside direct feedback alignment, from random trees",
    "speed": "Batched lifetimes against single NumPy lifetimes",
}
