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

from evosearch.beds import bed
from evosearch.data import load_data
from evosearch.fitting import Bench
from evosearch.learners.base import Learner
from evosearch.learners.bptt import Bptt, ShallowRnn
from evosearch.learners.recurrent_dni import RecurrentDni

BED = bed("digits_sequence")


def rows(windows: Sequence[int]) -> Iterator[tuple[str, Learner]]:
    """Yield what is compared, by the name it has in the table."""
    yield "readout alone", ShallowRnn()
    for window in windows:
        yield f"{window} steps, cut", Bptt(window=window)
        dni = partial(RecurrentDni, window=window)
        yield f"{window} steps, DNI on state", dni(is_told=False)
        yield f"{window} steps, DNI on state and label", dni(is_told=True)
    yield f"{BED.steps} steps, no cut", Bptt()


def reported(name: str, learner: Learner, seeds: int) -> str:
    """Return a learner's line of the table."""
    bench = Bench(BED, load_data(BED.data), learner, seed=0)
    bench.check()
    found = bench.fitted(seeds)
    ends = 100.0 * found.accuracies
    cosine = found.cosine_to_bp[0] if found.cosine_to_bp else math.nan
    spread = f"{ends.std(ddof=1):4.1f}" if seeds > 1 else "   -"
    n90 = "-" if found.n90 is None else f"{found.n90:.0f}"
    return (
        f"{name:32s}{found.normaliser:>5s} {found.rate:<6g}{ends.mean():6.1f} +- {spread}"
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
