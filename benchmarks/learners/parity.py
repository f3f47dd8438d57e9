"""Which local rules learn XOR and n-bit parity when no unit is told what it should say.

A network of n inputs, 4n tanh units and one tanh output sees the whole truth table of +-1 inputs in
each update. The output learns by its delta rule with Adam at .01 whatever the hidden units do;
these learn by the rule of a row, and only in backprop, node perturbation and A_R-P do they hear how
the output fared. Hidden weights start from 1.5 N(0, 1/n), biases from .5 N(0, 1), the readout from
N(0, 1/4n). A seed is solved when every input shown gets the right sign within 3,000 updates; A_R-P
is asked without its noise. A cell tells seeds solved, and the median of their updates.

Controls tell whether a rule assigns credit or happens to fit parity's symmetry: ``sparse`` asks for
the parity of 3 of the n inputs, chosen anew for each seed; ``permuted`` shuffles parity's labels
over the truth table, so that nothing is left to find but the table itself; ``held-out`` shows four
fifths of parity's table, and the last figure of its cells is the accuracy on the rest after all
updates. About seven minutes of one core.

    OMP_NUM_THREADS=1 python benchmarks/learners/parity.py --records benchmarks/learners/records
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evosearch.circuits.streams import FEEDBACK, NOISE, ORDER, WEIGHTS
from evosearch.learners.steps import Steps
from evosearch.tasks.base import Key, draw_rng

Array = NDArray[np.float32]

UPDATES = 3000
SPARSE = 3
SIGMA = 0.1  # of node perturbation's noise
PENALTY = 0.05  # A_R-P's share of a step after a wrong answer
TASKS = ("parity", "sparse", "permuted", "held-out")


@dataclass
class Net:
    """S networks of one hidden layer, float32.

    Attributes:
        w: (S, H, n) hidden weights.
        b: (S, 1, H) hidden biases.
        v: (S, 1, H) readout weights.
        c: (S, 1, 1) readout bias.
    """

    w: Array
    b: Array
    v: Array
    c: Array


@dataclass
class Shown:
    """What the networks see, and what they make of it; E examples.

    Attributes:
        x: (E, n) inputs.
        target: (S, E, 1) of +-1.
        hidden: (S, E, H) activities.
        output: (S, E, 1).
        error: (S, E, 1) delta of the output, in the direction that improves.
        is_shown: (S, E, 1) 1 for examples that are learned from, else 0.
        generators: one a seed, for rules that draw noise.
    """

    x: Array
    target: Array
    hidden: Array
    output: Array
    error: Array
    is_shown: Array
    generators: Sequence[np.random.Generator]

    def normal(self) -> Array:
        """Draw N(0, 1) of the shape of the hidden activities."""
        return self._drawn(lambda rng, n: rng.standard_normal(n, dtype=np.float32), self.hidden)

    def signs(self, mean: Array) -> Array:
        """Draw +-1 of these means."""
        uniform = self._drawn(lambda rng, n: rng.random(n, dtype=np.float32), mean)
        return np.where(2 * uniform - 1 < mean, np.float32(1), np.float32(-1))

    def _drawn(
        self, draw: Callable[[np.random.Generator, tuple[int, ...]], Array], like: Array
    ) -> Array:
        return np.stack([draw(rng, like.shape[1:]) for rng in self.generators])


Post = Callable[[Net, Shown], Array]
"""What stands for the post unit in the increment post * pre of the hidden weights (S, E, H)."""


def backprop(net: Net, shown: Shown) -> Array:
    return shown.error * net.v * (1 - shown.hidden**2)


def hebb(net: Net, shown: Shown) -> Array:
    return shown.hidden


def node_perturbation(net: Net, shown: Shown) -> Array:
    noise = shown.normal()
    moved = np.tanh(hidden_sum(net, shown.x) + np.float32(SIGMA) * noise)
    before = (shown.target - shown.output) ** 2
    after = (shown.target - readout(net, moved)) ** 2
    return noise * (before - after) / np.float32(2 * SIGMA)


def reward_penalty(net: Net, shown: Shown) -> Array:
    """A_R-P of +-1 units (A. Barto, P. Anandan 1985); the output's own action is rewarded."""
    action = shown.signs(shown.hidden)
    answer = shown.signs(readout(net, action))
    is_right = answer == shown.target
    penalised = np.float32(PENALTY) * (-action - shown.hidden)
    return np.where(is_right, action - shown.hidden, penalised)


@dataclass(frozen=True)
class Rule:
    """How hidden units learn.

    Attributes:
        post: what their increments hold beside the input; None where they do not learn.
        normaliser: what happens to the increments.
        rate: learning rate.
        decay: power of the activity in Oja's ``- y^2 w``, or 0 for none.
        start: ``normal``, or ``count`` for weights +-1.5 and biases from U(-n, n).
    """

    post: Post | None = None
    normaliser: str = "none"
    rate: float = 0.01
    decay: float = 0.0
    start: str = "normal"


RULES: dict[str, Rule] = {
    "bp": Rule(backprop, "adam"),
    "hebb+adam": Rule(hebb, "adam"),
    "hebb+sign": Rule(hebb, "sign"),
    "hebb+sgd .01": Rule(hebb),
    "hebb+sgd .1": Rule(hebb, rate=0.1),
    "oja": Rule(hebb, decay=1.0),
    "oja+adam": Rule(hebb, "adam", decay=1.0),
    "a_r-p": Rule(reward_penalty, "adam"),
    "node-perturbation": Rule(node_perturbation, "adam"),
    "frozen random": Rule(),
    "frozen +-c": Rule(start="count"),
}


def hidden_sum(net: Net, x: Array) -> Array:
    return np.matmul(x, net.w.transpose(0, 2, 1)) + net.b


def readout(net: Net, hidden: Array) -> Array:
    return np.tanh(np.matmul(hidden, net.v.transpose(0, 2, 1)) + net.c)


def truth_table(n: int) -> Array:
    return np.array(list(product((-1, 1), repeat=n)), np.float32)


def targets(task: str, x: Array, keys: Sequence[Key]) -> Array:
    """Return what is to be learned (S, E, 1), one table a seed."""
    n, parity = x.shape[1], x.prod(axis=1)
    rows: list[Array] = []
    for key in keys:
        rng = draw_rng(key, FEEDBACK)
        if task == "sparse":
            rows.append(x[:, rng.permutation(n)[:SPARSE]].prod(axis=1))
        else:
            rows.append(rng.permutation(parity) if task == "permuted" else parity)
    return np.stack(rows)[:, :, None]


def shown_share(task: str, n_examples: int, keys: Sequence[Key]) -> Array:
    """Return which examples are learned from (S, E, 1)."""
    mask = np.ones((len(keys), n_examples, 1), np.float32)
    if task == "held-out":
        for k, key in enumerate(keys):
            mask[k, draw_rng(key, ORDER).permutation(n_examples)[: n_examples // 5]] = 0
    return mask


def start(rule: Rule, n: int, keys: Sequence[Key]) -> Net:
    n_hidden = 4 * n
    w, b, v = [], [], []
    for key in keys:
        rng = draw_rng(key, WEIGHTS)
        w.append(1.5 * rng.normal(0, n**-0.5, (n_hidden, n)))
        b.append(0.5 * rng.normal(0, 1, (1, n_hidden)))
        v.append(rng.normal(0, n_hidden**-0.5, (1, n_hidden)))
        if rule.start == "count":
            w[-1] = 1.5 * np.sign(w[-1])
            b[-1] = rng.uniform(-n, n, (1, n_hidden))
    made = [np.stack(parts).astype(np.float32) for parts in (w, b, v)]
    return Net(*made, c=np.zeros((len(keys), 1, 1), np.float32))


def hidden_increments(rule: Rule, net: Net, shown: Shown) -> list[Array]:
    """Return the increments of hidden weights and biases, means over the examples shown."""
    assert rule.post is not None
    post = rule.post(net, shown) * shown.is_shown
    n_shown = shown.is_shown.sum(axis=1, keepdims=True)
    weights = np.matmul(post.transpose(0, 2, 1), shown.x) / n_shown
    biases = post.sum(axis=1, keepdims=True) / n_shown
    if rule.decay:
        square = (shown.hidden**2 * shown.is_shown).sum(axis=1, keepdims=True) / n_shown
        weights -= rule.decay * square.transpose(0, 2, 1) * net.w
        biases -= rule.decay * square * net.b
    return [weights, biases]


def readout_increments(shown: Shown) -> list[Array]:
    error = shown.error * shown.is_shown
    n_shown = shown.is_shown.sum(axis=1, keepdims=True)
    weights = np.matmul(error.transpose(0, 2, 1), shown.hidden) / n_shown
    return [weights, error.sum(axis=1, keepdims=True) / n_shown]


def look(net: Net, x: Array, target: Array, is_shown: Array, keys: Sequence[Key]) -> Shown:
    """Return what networks that have learned nothing yet make of the table."""
    empty = np.zeros(0, np.float32)
    generators = [draw_rng(key, NOISE) for key in keys]
    shown = Shown(x, target, empty, empty, empty, is_shown, generators)
    forward(net, shown)
    return shown


def forward(net: Net, shown: Shown) -> None:
    shown.hidden = np.tanh(hidden_sum(net, shown.x))
    shown.output = readout(net, shown.hidden)
    shown.error = (shown.target - shown.output) * (1 - shown.output**2)


def live(task: str, rule: Rule, n: int, keys: Sequence[Key]) -> dict[str, Any]:
    """Return after how many updates each seed was right, None where never, and accuracies."""
    x = truth_table(n)
    net = start(rule, n, keys)
    shown = look(net, x, targets(task, x, keys), shown_share(task, len(x), keys), keys)
    steps, readout_steps = Steps(rule.normaliser, rule.rate), Steps("adam", 0.01)
    solved: list[int | None] = [None] * len(keys)
    for done in range(UPDATES + 1):
        wrong = ((shown.output * shown.target <= 0) * shown.is_shown).sum(axis=(1, 2))
        solved = [done if s is None and w == 0 else s for s, w in zip(solved, wrong, strict=True)]
        if done == UPDATES or (task != "held-out" and None not in solved):
            break
        increments = readout_increments(shown)
        if rule.post is not None:
            steps.apply([net.w, net.b], hidden_increments(rule, net, shown))
        readout_steps.apply([net.v, net.c], increments)
        forward(net, shown)
    return {"updates": solved, **accuracies(shown)}


def accuracies(shown: Shown) -> dict[str, list[float]]:
    is_right, is_shown = shown.output * shown.target > 0, shown.is_shown > 0
    found = {"shown": (is_right & is_shown).sum(axis=(1, 2)) / is_shown.sum(axis=(1, 2))}
    if not is_shown.all():
        n_held = (~is_shown).sum(axis=(1, 2))
        found["held"] = (is_right & ~is_shown).sum(axis=(1, 2)) / n_held
    return {name: [round(float(a), 4) for a in share] for name, share in found.items()}


def measure(task: str, name: str, n: int, n_seeds: int) -> dict[str, Any]:
    before = time.process_time()
    found = live(task, RULES[name], n, [(n, k) for k in range(n_seeds)])
    reached = [u for u in found["updates"] if u is not None]
    return {
        "task": task,
        "n": n,
        "hidden": 4 * n,
        "rule": name,
        "seeds": n_seeds,
        "solved": len(reached),
        "median": float(np.median(reached)) if reached else None,
        **found,
        "cpu_s": round(time.process_time() - before, 2),
    }


def cases(largest: int) -> list[tuple[str, int]]:
    """Return tasks and sizes; sparse parity needs more inputs than it is of, held-out many."""
    sizes = {
        "parity": range(2, largest + 1),
        "sparse": range(4, largest + 1, 2),
        "permuted": range(4, min(largest, 8) + 1, 2),
        "held-out": range(6, largest + 1, 2),
    }
    return [(task, n) for task in TASKS for n in sizes[task]]


def text(row: dict[str, Any]) -> str:
    """Return a row's cell: solved of seeds (median updates), or held-out accuracy as well."""
    shown = f"{row['solved']}/{row['seeds']}"
    shown += f" ({row['median']:.0f})" if row["median"] is not None else ""
    return shown + (f" {np.mean(row['held']):.2f}" if "held" in row else "")


def table(rows: Sequence[dict[str, Any]]) -> str:
    """Return rules as columns, tasks and sizes as rows, in Markdown."""
    names = list(dict.fromkeys(row["rule"] for row in rows))
    lines = ["| task | n (H) | " + " | ".join(names) + " |", "|---" * (len(names) + 2) + "|"]
    for task, n in dict.fromkeys((row["task"], row["n"]) for row in rows):
        of_case = {row["rule"]: text(row) for row in rows if (row["task"], row["n"]) == (task, n)}
        cells = [of_case.get(name, "–") for name in names]
        lines.append(f"| {task} | {n} ({4 * n}) | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rules", nargs="+", choices=tuple(RULES), default=tuple(RULES))
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--largest", type=int, default=10, help="most inputs, at least 4")
    parser.add_argument("--records", type=Path, help="folder for parity.jsonl, one line a cell")
    options = parser.parse_args()
    rows: list[dict[str, Any]] = []
    for task, n in cases(options.largest):
        rows += [measure(task, name, n, options.seeds) for name in options.rules]
    print(table(rows))
    if options.records is not None:
        options.records.mkdir(parents=True, exist_ok=True)
        lines = "".join(json.dumps(row) + "\n" for row in rows)
        (options.records / "parity.jsonl").write_text(lines, encoding="utf-8")


if __name__ == "__main__":
    main()
