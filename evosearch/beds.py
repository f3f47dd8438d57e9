"""Test beds on which learners are compared side by side: data, network, budget and tuning grid."""

from __future__ import annotations

from dataclasses import dataclass

from evosearch.errors import unknown_name


@dataclass(frozen=True)
class Bed:
    """A task that every learner gets with the same network, examples and tuning effort.

    Attributes:
        name: what it is called on the command line.
        title: one line for people.
        data: name of a data set.
        hidden: tanh units of each hidden layer.
        updates: minibatches shown.
        batch: examples of a minibatch.
        check_every: updates between two measurements of accuracy.
        grid: normaliser and learning rate of each setting that is tried on validation data.
    """

    name: str
    title: str
    data: str
    hidden: tuple[int, ...]
    updates: int
    grid: tuple[tuple[str, float], ...]
    batch: int = 32
    check_every: int = 11


_BEDS = (
    Bed(
        "digits2", "scikit-learn digits, 64-64-64-10", "digits", (64, 64), 1320,
        (("adam", 1e-2), ("adam", 3e-3), ("adam", 1e-3), ("adam", 3e-4), ("none", 0.5),
         ("none", 0.1), ("none", 0.02)),
    ),
    Bed(
        "digits6", "scikit-learn digits, six hidden layers of 64", "digits", (64,) * 6, 880,
        (("adam", 3e-3), ("adam", 1e-3), ("none", 0.3), ("none", 0.1)),
    ),
)  # fmt: skip
BEDS: dict[str, Bed] = {bed.name: bed for bed in _BEDS}


def bed(name: str) -> Bed:
    """Return the bed of a name.

    Raises:
        InputError: there is none.
    """
    if name not in BEDS:
        raise unknown_name("task", name, BEDS)
    return BEDS[name]
