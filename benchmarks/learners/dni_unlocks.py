"""Does a synthetic gradient make up for short windows? A recurrent net on digits, 8 rows a digit.

Truncated backpropagation through time passes no credit from a window to the one before it; DNI
guesses it at the window's end, from the state, or from the state and the label. Beside them stand
the whole gradient and random hidden units. All get the same initial weights and order of examples;
normaliser and rate are chosen by two lives on validation data, and further lives are reported on
test data.

    python benchmarks/learners/dni_unlocks.py --seeds 5
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterator, Sequence
from functools import partial

import numpy as np

from evosearch.circuits.life import held_out
from evosearch.data import load_data
from evosearch.fitting import updates_to
from evosearch.learners.base import Learned, Learner, Lesson
from evosearch.learners.bptt import Bptt, ShallowRnn
from evosearch.learners.recurrent_dni import RecurrentDni

SIZES, STEPS = (8, 32, 10), 8
UPDATES, BATCH, CHECK_EVERY = 1320, 32, 11
GRID = (("adam", 3e-3), ("adam", 1e-3), ("none", 0.1), ("none", 0.3))
TUNING, REPORT = 0, 1  # what keys are for


def rows(windows: Sequence[int]) -> Iterator[tuple[str, Learner]]:
    """Yield what is compared, by the name it has in the table."""
    yield "readout alone", ShallowRnn()
    for window in windows:
        yield f"{window} steps, cut", Bptt(window=window)
        dni = partial(RecurrentDni, window=window)
        yield f"{window} steps, DNI on state", dni(is_told=False)
        yield f"{window} steps, DNI on state and label", dni(is_told=True)
    yield f"{STEPS} steps, no cut", Bptt()


def lives(learner: Learner, split: str, setting: tuple[str, float], seeds: int) -> Learned:
    """Let a learner live on one split of the digits."""
    train, held = held_out(load_data("digits"), split)
    purpose = REPORT if split == "test" else TUNING
    lesson = Lesson(
        network="rnn",
        sizes=SIZES,
        steps=STEPS,
        train=train,
        held=held,
        updates=UPDATES,
        batch=BATCH,
        check_every=CHECK_EVERY,
        normaliser=setting[0],
        rate=setting[1],
        keys=[(0, purpose, k) for k in range(seeds)],
        is_probed=True,
    )
    learner.check(lesson)
    return learner.learn(lesson)


def validated(learner: Learner, setting: tuple[str, float]) -> float:
    """Return a setting's validation accuracy, -1 for a life that diverged."""
    ends = lives(learner, "validation", setting, 2).curves[:, -1]
    return float(np.nan_to_num(ends, nan=-1.0).mean())


def reported(name: str, learner: Learner, seeds: int) -> str:
    """Return a learner's line of the table."""
    setting = max(GRID, key=partial(validated, learner))
    found = lives(learner, "test", setting, seeds)
    ends = 100.0 * found.curves[:, -1]
    reached = updates_to(found.curves, 0.9, CHECK_EVERY)
    cosine = math.nan if found.cosines is None else float(np.mean(found.cosines[:, 0]))
    spread = f"{ends.std(ddof=1):4.1f}" if seeds > 1 else "   -"
    n90 = "-" if reached is None else f"{reached:.0f}"
    return (
        f"{name:32s}{setting[0]:>5s} {setting[1]:<6g}{ends.mean():6.1f} +- {spread}"
        f"{n90:>7s}{cosine:8.2f}"
    )


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--windows", type=int, nargs="+", default=[1, 2, 4])
    options = parser.parse_args()
    print(f"{'credit over':32s}{'setting':12s}{'accuracy %':>14s}{'n90':>7s}{'cosine':>8s}")
    for name, learner in rows(options.windows):
        print(reported(name, learner, options.seeds), flush=True)


if __name__ == "__main__":
    main()
