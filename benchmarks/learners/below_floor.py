"""Why some learners end below the floor on digits6: all their settings, layer by layer added.

For networks of one, two, three and six hidden layers of 64 each variant of a learner lives half a
life with every rate of a wide grid on validation data; the three best live two whole lives there,
and the best mean of these lives five lives on test data. Floor and ceiling choose from the same
grid. A row that is in the record is not made again.

    python benchmarks/learners/below_floor.py [LEARNER …]
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from evosearch.beds import bed
from evosearch.circuits.base import Circuit
from evosearch.circuits.life import held_out
from evosearch.circuits.reinforce import AssociativeRewardPenalty, CoagentNetwork, Reinforce
from evosearch.data import Examples, load_data
from evosearch.data.base import examples
from evosearch.learners.base import Learned, Learner, Lesson
from evosearch.learners.bcm import Bcm
from evosearch.learners.circuit import CircuitLearner
from evosearch.learners.equilibrium import EquilibriumPropagation
from evosearch.learners.hebb import Hebb
from evosearch.learners.mlp import Curve, forward, initial_networks, minibatches, one_hot
from evosearch.learners.noprop_fm import NoPropFm
from evosearch.learners.oja import Oja
from evosearch.learners.sanger import Sanger
from evosearch.learners.softhebb import SoftHebb
from evosearch.learners.steps import Steps
from evosearch.tables import plain
from evosearch.tasks.base import draw_rng

RECORD = Path(__file__).resolve().parent / "records" / "below_floor.jsonl"
BED, DEPTHS, SEEDS, DRAWS, BEST = bed("digits6"), (6, 1, 2, 3), 5, 2, 3
ADAM = [("adam", rate) for rate in (3e-2, 1e-2, 3e-3, 1e-3, 3e-4)]
PLAIN = [("none", rate) for rate in (1.0, 0.3, 0.1, 0.01)]
SIGN = [("sign", 3e-4)]
GRID = [*ADAM, *PLAIN, *SIGN]
_NOISE = 9  # stream of the control's states


@dataclass(frozen=True)
class Variant:
    """A learner with settings of its own.

    Attributes:
        learner: what learns.
        batch: examples of a minibatch: many small ones, or fewer noisy updates.
        inputs: as they are, ``centred`` or ``whitened`` by the training part's covariance.
    """

    learner: Learner
    batch: int = BED.batch
    inputs: str = "raw"


class ReadoutAboveNoise(Learner):
    """Control: hidden units of +1 or -1 at random as of ``reinforce``, only the readout learns."""

    name, title, locks = "noise", "readout above noisy units", "U"

    def learn(self, lesson: Lesson) -> Learned:
        """Live one draw."""
        networks, curve = initial_networks(lesson), Curve(lesson)
        steps, rng = Steps(lesson.normaliser, lesson.rate), draw_rng(lesson.keys[0], _NOISE)
        top = [networks.weights[-1], networks.biases[-1]]
        with np.errstate(all="ignore"):
            for update, (inputs, labels) in enumerate(minibatches(lesson), start=1):
                states = inputs
                for weights, bias in zip(networks.weights[:-1], networks.biases[:-1], strict=True):
                    mean = np.tanh(states @ weights.swapaxes(1, 2) + bias[:, None])
                    states = np.where(rng.random(mean.shape) < 0.5 * (1 + mean), 1.0, -1.0)
                seen = forward(type(networks)(networks.weights[-1:], networks.biases[-1:]), states)
                error = one_hot(labels, lesson.sizes[-1]) - seen.posts[-1]
                change = error.swapaxes(1, 2) @ states / lesson.batch
                steps.apply(top, [change, error.mean(axis=1)])
                curve.record(update, networks, networks.parameters)
        return Learned(curve.values, curve.diverged_at, None, networks)

    def forward_equivalents(self, sizes: Sequence[int], steps: int = 1) -> float:
        """Cost as the floor."""
        return 1.0


def _of_inputs(learner: Learner) -> dict[str, Variant]:
    return {kind: Variant(learner, inputs=kind) for kind in ("raw", "centred", "whitened")}


def _of_batches(name: str, circuits: Mapping[str, Circuit]) -> dict[str, Variant]:
    return {f"{label}batches of {batch}": Variant(CircuitLearner(name, circuit=circuit), batch)
            for label, circuit in circuits.items() for batch in (32, 128)}  # fmt: skip


def variants(name: str) -> dict[str, Variant]:
    """Return the variants of a learner by what is special about them."""
    made: dict[str, Any] = {
        "shallow": lambda: {"": Variant(CircuitLearner("shallow"))},
        "bp": lambda: {"": Variant(CircuitLearner("bp"))},
        "noise": lambda: {"": Variant(ReadoutAboveNoise())},
        "hebb": lambda: _of_inputs(Hebb()),
        "oja": lambda: _of_inputs(Oja()),
        "sanger": lambda: _of_inputs(Sanger()),
        "bcm": lambda: {
            "raw, slow threshold": Variant(Bcm(threshold_rate=0.005)),
            **_of_inputs(Bcm()),
        },
        "softhebb": lambda: {
            **{f"temperature {t:g}": Variant(SoftHebb(temperature=t)) for t in (0.05, 0.2, 1.0)},
            "centred": Variant(SoftHebb(), inputs="centred"),
        },
        "reinforce": lambda: _of_batches("reinforce", {
            f"usual is the {kind}, ": Reinforce(kind) for kind in ("example", "mean")
        }),
        "arp": lambda: _of_batches("arp", {
            f"penalty {p:g}, ": AssociativeRewardPenalty(p) for p in (0.01, 0.1)
        }),
        "coagent": lambda: _of_batches("coagent", {"": CoagentNetwork()}),
        "noprop-fm": lambda: {
            **{f"length {s:g}": Variant(NoPropFm(scale=s)) for s in (1.0, 3.0, 10.0)},
            "prototype, length 3": Variant(NoPropFm(embedding="prototype", scale=3.0)),
        },
        "eqprop": lambda: {
            "0 to 1, gain 1": Variant(EquilibriumPropagation(is_signed=False, gain=1.0)),
            **{f"-1 to 1, gain {g:g}": Variant(EquilibriumPropagation(is_signed=True, gain=g))
               for g in (0.4, 0.5, 0.6)},
        },
    }  # fmt: skip
    return made[name]()


NAMES = ("shallow", "bp", "noise", "softhebb", "noprop-fm", "sanger", "eqprop", "reinforce",
         "oja", "coagent", "bcm", "hebb", "arp")  # fmt: skip


def prepared(parts: tuple[Examples, Examples], kind: str) -> tuple[Examples, Examples]:
    """Return the parts with inputs as a variant wants them, by the first part's statistics."""
    if kind == "raw":
        return parts
    seen = parts[0].inputs.astype(np.float64)
    mean, turn = seen.mean(axis=0), np.eye(seen.shape[1])
    if kind == "whitened":
        values, axes = np.linalg.eigh(np.cov(seen.T))
        turn = axes / np.sqrt(values + 1e-2) @ axes.T
    return tuple(examples((part.inputs - mean) @ turn, part.labels) for part in parts)  # type: ignore[return-value]


def ends(
    variant: Variant,
    depth: int,
    setting: tuple[str, float],
    split: str,
    draws: int,
    updates: int = BED.updates,
) -> list[float]:
    """Return accuracies at the end of lives; one that diverged counts 0."""
    data = load_data(BED.data)
    parts = prepared(held_out(data, split), variant.inputs)
    purpose = 1 if split == "test" else 0
    sizes = (data.n_inputs, *BED.hidden[:depth], data.n_classes)
    found: list[float] = []
    for draw in range(draws):
        lesson = Lesson("mlp", sizes, 1, *parts, updates, variant.batch, updates, *setting,
                        [(0, purpose, draw)])  # fmt: skip
        found.append(float(np.nan_to_num(variant.learner.learn(lesson).curves[0, -1])))
    return found


def row(name: str, depth: int) -> dict[str, Any]:
    """Search a learner's settings at a depth, and report the best."""
    start, made = time.process_time(), variants(name)
    grid = [*ADAM[2:], ("none", 0.1), ("none", 0.03)] if name == "eqprop" else GRID
    tried = {(label, setting): ends(variant, depth, setting, "validation", 1, BED.updates // 2)[0]
             for label, variant in made.items() for setting in grid}  # fmt: skip
    best = {(label, setting): np.mean(ends(made[label], depth, setting, "validation", DRAWS))
            for label, setting in sorted(tried, key=lambda one: -tried[one])[:BEST]}  # fmt: skip
    label, setting = max(best, key=lambda one: best[one])
    accuracies = ends(made[label], depth, setting, "test", SEEDS)
    return {
        "learner": name,
        "depth": depth,
        "variant": label,
        "normaliser": setting[0],
        "rate": setting[1],
        "validation": best[label, setting],
        "tried": len(tried),
        "of_variants": {
            one: max(found for (other, _), found in tried.items() if other == one) for one in made
        },
        "accuracies": accuracies,
        "mean": float(np.mean(accuracies)),
        "sd": float(np.std(accuracies, ddof=1)),
        "cpu_s": round(time.process_time() - start, 1),
    }


def main(names: Sequence[str]) -> None:
    """Make the rows that are not there yet."""
    lines = RECORD.read_text(encoding="utf-8").splitlines() if RECORD.is_file() else []
    there = {(one["learner"], one["depth"]) for one in map(json.loads, lines)}
    for depth in DEPTHS:
        for name in names or NAMES:
            if (name, depth) in there:
                continue
            made = row(name, depth)
            with RECORD.open("a", encoding="utf-8") as file:
                file.write(json.dumps(plain(made)) + "\n")
            print({key: made[key] for key in made if key != "accuracies"}, flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
