"""Does a synthetic gradient make up for short windows? A recurrent net on digits, 8 rows a digit.

Truncated backpropagation through time passes no credit from a window to the one before it; DNI
guesses it at the window's end, from the state, or from the state and the label. Beside them stand
the whole gradient and random hidden units. All get the same initial weights and order of examples;
normaliser and rate, of guesses too their own rate, are chosen by two lives on validation data, and
further lives are reported on test data.

    python benchmarks/learners/dni_unlocks.py --seeds 5
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterator, Mapping, Sequence
from functools import partial

from evosearch.beds import bed
from evosearch.data import load_data
from evosearch.fitting import Bench
from evosearch.learners.base import Learner
from evosearch.learners.bptt import Bptt, ShallowRnn
from evosearch.learners.recurrent_dni import RecurrentDni

BED = bed("digits_sequence")
GUESS_RATES = (3e-3, 1e-3, 3e-4, 1e-4)


def rows(windows: Sequence[int]) -> Iterator[tuple[str, dict[str, Learner]]]:
    """Yield what is compared: its name in the table, and learners by their guesses' rate."""
    yield "readout alone", {"": ShallowRnn()}
    for window in windows:
        yield f"{window} steps, cut", {"": Bptt(window=window)}
        for is_told in (False, True):
            dni = partial(RecurrentDni, window=window, is_told=is_told)
            seen = "state and label" if is_told else "state"
            yield f"{window} steps, DNI on {seen}", {f"{r:g}": dni(rate=r) for r in GUESS_RATES}
    yield f"{BED.steps} steps, no cut", {"": Bptt()}


def reported(name: str, learners: Mapping[str, Learner], seeds: int) -> str:
    """Return the line of the table that the learner best on validation data gets."""
    data = load_data(BED.data)
    benches = {rate: Bench(BED, data, learner, seed=0) for rate, learner in learners.items()}
    rate = max(benches, key=lambda rate: benches[rate].tuned()[1]) if len(benches) > 1 else ""
    found = benches[rate].fitted(seeds)
    ends = 100.0 * found.accuracies
    cosine = found.cosine_to_bp[0] if found.cosine_to_bp else math.nan
    spread = f"{ends.std(ddof=1):4.1f}" if seeds > 1 else "   -"
    n90 = "-" if found.n90 is None else f"{found.n90:.0f}"
    return (
        f"{name:32s}{found.normaliser:>5s} {found.rate:<6g}{rate:>7s}"
        f"{ends.mean():8.1f} +- {spread}"
        f"{n90:>7s}{cosine:8.2f}"
    )


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--windows", type=int, nargs="+", default=[1, 2, 4])
    options = parser.parse_args()
    print(f"{'credit over':32s}{'setting':12s}{'guess':>7s}{'accuracy %':>16s}"
          f"{'n90':>7s}{'cosine':>8s}")  # fmt: skip
    for name, learners in rows(options.windows):
        print(reported(name, learners, options.seeds), flush=True)


if __name__ == "__main__":
    main()
