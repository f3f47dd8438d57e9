"""Sections of docs/results/learners.md on single questions, from the records of their scripts."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from evosearch.statistics import wilson_interval


def sections(records: Path) -> list[str]:
    """Return a section of each script whose record is there."""
    found = []
    for name, (title, write) in _SECTIONS.items():
        file = records / f"{name}.jsonl"
        if file.is_file():
            lines = file.read_text(encoding="utf-8").splitlines()
            rows = [json.loads(line) for line in lines]
            more = _ARGUMENTS.get(name, "")
            command = f"```\npython benchmarks/learners/{name}.py{more}\n```\n"
            found.append(f"## {title}\n\n{command}\n{write(rows)}")
    for name, title in _PRINTED.items():
        file = records / f"{name}.txt"
        if file.is_file():
            note = _NOTES.get(name, "")
            text = file.read_text(encoding="utf-8").rstrip()
            found.append(f"## {title}\n\n```\n{text}\n```\n{note}")
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
        "`noprop-fm` has embeddings of length 3; those of length 1 (*scale 1*) are short beside "
        "its noise.\n\n"
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


def _circuit_search(rows: Sequence[dict[str, Any]]) -> str:
    """Write two tables a problem: what was found, and what is known."""
    parts = [
        "Searches start from random trees. Champions are chosen on validation draws; no search "
        "sees any split that is shown. *Success* is what the problem's file calls so, with "
        "Wilson's 95 % interval; *evaluations* are the candidates tried when validation first met "
        "it, median of the runs that succeeded.\n"
    ]
    for problem in dict.fromkeys(row["problem"] for row in rows):
        runs = [row for row in rows if row["problem"] == problem and "seed" in row]
        known = [row for row in rows if row["problem"] == problem and "known" in row]
        parts.append(f"### {problem}\n\n{_SLOTS.get(problem, '')}\n")
        splits = list(dict.fromkeys(split for row in (*known, *runs) for split in row["scores"]))
        parts += [
            _found([row for row in runs if row["search"] == search], splits)
            for search in dict.fromkeys(row["search"] for row in runs)
        ]
        if known:
            lines = [(f"`{row['known']}`", f"`{row['rule']}`", *_on_splits(row, splits))
                     for row in known]  # fmt: skip
            parts.append(table(("known", "rule", *splits), lines))
    return "\n".join(parts)


def _found(runs: Sequence[dict[str, Any]], splits: Sequence[str]) -> str:
    """Write how often a search succeeded, and its champions, equal ones together."""
    n = sum(bool(row["success"]) for row in runs)
    low, high = wilson_interval(n, len(runs))
    spent = [row["to_success"] for row in runs if row["success"] and row["to_success"]]
    after = f", after {median(spent):,.0f} evaluations" if spent else ""
    text = (
        f"`{runs[0]['search']}` with {runs[0]['budget']:,} evaluations at most: {n} of {len(runs)} "
        f"runs succeeded ({low:.2f} to {high:.2f}){after}.\n\n"
    )
    rules: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for row in runs:
        rules.setdefault((row["rule"], "yes" if row["success"] else "no"), []).append(row)
    lines = [(len(same), f"`{rule}`", is_met, *_on_splits(same[0], splits))
             for (rule, is_met), same in rules.items()]  # fmt: skip
    return text + table(("runs", "champion", "success", *splits), lines)


def _on_splits(row: dict[str, Any], splits: Sequence[str]) -> list[str]:
    return [_score(row["scores"].get(split)) for split in splits]


def _score(found: dict[str, Any] | None) -> str:
    """Write a mean, and of Boolean functions the share that was learned and after what epochs."""
    if found is None:
        return "–"
    learned = [
        f"{name.removeprefix('success_')} {100 * share:.1f} %, "
        f"{found[name.replace('success', 'epochs')]:.0f}"
        for name, share in found.items()
        if name.startswith("success_")
    ]
    return "; ".join([f"{found['mean']:.3f}", *learned])


_SLOTS = {
    "circuit_dfa": "Direct feedback alignment, six hidden layers, accuracy on digits; a run ends "
    "when its best rule is as good on validation as `error*pre` less .003.",
    "circuit_fa": "The same in feedback alignment.",
    "xor_parity": "Rules for one hidden layer: validation is XOR and its opposite, test parity of "
    "three bits and the encoder, transfer three more functions. Per function the share of networks "
    "that learned it, and their median epochs.",
    "deep_random_feedback": "Few-shot tasks, each example once, errors through random matrices. "
    "Backpropagation took the best of six step sizes on validation tasks.",
    "feedback_plasticity": "The rule of the matrices that carry errors down through ten hidden "
    "layers. Learners of the same life, network and budget stand beside the rules, with the best "
    "of three step sizes on validation: `lra` and `dtp` have feedback of their own kind and all "
    "their weights learn by `error*pre`, with plain steps or by sign.",
}


def _below_floor(rows: Sequence[dict[str, Any]]) -> str:
    """Write accuracy by depth, and the settings that were best at six layers."""
    depths = sorted({row["depth"] for row in rows})
    cells = {(row["learner"], row["depth"]): row for row in rows}
    lines = []
    deep = {row["learner"]: row["mean"] for row in rows if row["depth"] == depths[-1]}
    names = dict.fromkeys(row["learner"] for row in rows)
    for name in sorted(names, key=lambda name: -deep.get(name, 0.0)):
        found = [cells.get((name, depth)) for depth in depths]
        shown = ["–" if row is None else _share(row) for row in found]
        deepest = next((row for row in reversed(found) if row is not None), None)
        assert deepest is not None
        setting = f"{deepest['normaliser']} {deepest['rate']:g}"
        what = ", ".join(part for part in (deepest["variant"], setting) if part)
        lines.append((f"`{name}`", *shown, what, deepest["tried"]))
    columns = ("learner", *(f"{n} hidden" for n in depths), "best at the last depth", "tried")
    return _BELOW_FLOOR + table(columns, lines)


_BELOW_FLOOR = (
    "Test accuracy on digits by hidden layers of 64, per cent, mean ± standard deviation over five "
    "seeds. Each learner chose among its variants and a grid wider than the bed's, *tried* in all, "
    "by half a life on validation data, and among the three best by two whole ones; floor and "
    "ceiling chose from the same grid. With Adam at .03, which the bed's grid lacks, the readout "
    "alone reaches 91.9 above six random layers, not 85.9.\n\n"
    "For two a setting was wrong. Embeddings of length 1 are lost in the noise of `noprop-fm`; of "
    "length 3, now its default, they reach about 95 through two, three and six layers, at six "
    "above the floor. In `eqprop` with states between 0 and 1 units that rest at 0 pass no error; "
    "signed states and weaker initial weights, now the default, stay within a point and a half of "
    "backpropagation through three hidden layers, and through six behind the better floor.\n\n"
    "The others fail by depth, not by setting (not measured: `sanger`, `coagent`, `bcm`, `arp`, "
    "and `softhebb` with fewer layers). `noise` is a control: the readout alone above "
    "units that are +1 or -1 at random, as of `reinforce`, `arp` and `coagent`. Six layers of coin "
    "tosses leave so little of the input that the reward tells next to nothing; `reinforce` with "
    "one hidden layer is as good as backpropagation, of four times the examples. Rules without a "
    "target are near the floor with one hidden layer and lose by each that is added, presumably "
    "as every layer keeps less of the classes than a random one does.\n\n"
)


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
    "below_floor": ("Below the floor: settings and depth", _below_floor),
    "circuit_search": ("Rules in the slots of circuits, searched", _circuit_search),
}
_ARGUMENTS = {
    "circuit_search": " PROBLEM\npython benchmarks/learners/circuit_search.py PROBLEM --known"
}
_NOTES = {
    "speed": "\nThe engine's products run at more than half of what one large product reaches, on "
    "matrices of 32 x 64: ten times NumPy's speed on one thread would leave an update 43 us, less "
    "than the products alone take. What grows with units is tanh, slopes and errors, "
    "computed to the same bits on every tier and machine.\n",
    "dni_unlocks": "\nTest accuracy, mean and standard deviation over five seeds. *Guess* is "
    "Adam's rate for the guesses, chosen like the setting by two lives on validation data. With "
    "credit over one step, guesses from state and label reach 92.5 where a cut reaches 89.4; with "
    "two steps or four they add nothing that five seeds can tell.\n",
    "noprop_embeddings": "\nTest accuracy after 500, 1,500 and 3,000 updates, mean over seeds, "
    "and seconds for all of them. One-hot embeddings of 100 classes fail at length 1, beside noise "
    "of ten times their length; longer ones, learned ones and prototypes learn, below "
    "backpropagation's accuracy.\n",
}
_PRINTED = {
    "dni_unlocks": "Synthetic gradients unlock a recurrent network",
    "noprop_embeddings": "NoProp with flow matching: label embeddings on 100 classes",
    "speed": "Batched lifetimes against single NumPy lifetimes",
}
