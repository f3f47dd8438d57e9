"""Test beds on which learners are compared side by side: data, network, budget and tuning grid."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from evosearch.errors import unknown_name

if TYPE_CHECKING:
    from evosearch.learners.base import NetworkKind


@dataclass(frozen=True)
class Bed:
    """A task that every learner gets with the same network, examples and tuning effort.

    Attributes:
        name: what it is called on the command line.
        title: one line for people.
        data: name of a data set.
        hidden: tanh units of each hidden layer.
        updates: minibatches shown.
        grid: normaliser and learning rate of each setting that is tried on validation data.
        batch: examples of a minibatch.
        check_every: updates between two measurements of accuracy; divides half of ``updates``.
        network: ``mlp``, or ``rnn`` for one layer that sees an example in ``steps`` parts.
        steps: of a sequence; 1 for an ``mlp``.
        floor: learner whose hidden layers stay as they are.
        ceiling: learner that follows the gradient.
    """

    name: str
    title: str
    data: str
    hidden: tuple[int, ...]
    updates: int
    grid: tuple[tuple[str, float], ...]
    batch: int = 32
    check_every: int = 11
    network: NetworkKind = "mlp"
    steps: int = 1
    floor: str = "shallow"
    ceiling: str = "bp"


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
    Bed(
        "mnist8k", "10,000 MNIST images, 784-256-256-10", "mnist8k", (256, 256), 960,
        (("adam", 1e-3), ("adam", 3e-4), ("none", 0.1)), batch=50, check_every=48,
    ),
    Bed(
        "fashion8k", "10,000 Fashion-MNIST images, 784-256-256-10", "fashion8k", (256, 256), 960,
        (("adam", 1e-3), ("adam", 3e-4), ("none", 0.1)), batch=50, check_every=48,
    ),
    Bed(
        "mnist", "60,000 MNIST images once, 784-256-256-10", "mnist", (256, 256), 1200,
        (("adam", 1e-3), ("adam", 3e-4), ("none", 0.1)), batch=50, check_every=120,
    ),
    Bed(
        "fashion_mnist", "60,000 Fashion-MNIST images once, 784-256-256-10", "fashion_mnist",
        (256, 256), 1200, (("adam", 1e-3), ("adam", 3e-4), ("none", 0.1)), batch=50,
        check_every=120,
    ),
    Bed(
        "digits_sequence", "scikit-learn digits in 8 steps, 32 recurrent units", "digits", (32,),
        1320, (("adam", 3e-3), ("adam", 1e-3), ("none", 0.3), ("none", 0.1)), network="rnn",
        steps=8, floor="shallow-rnn", ceiling="bptt",
    ),
    Bed(
        "digits_odd", "scikit-learn digits, odd or even, 64-64-64-2", "digits_odd", (64, 64), 1320,
        (("adam", 1e-2), ("adam", 3e-3), ("adam", 1e-3), ("none", 0.1), ("none", 0.02)),
    ),
    Bed(
        "parity", "parity of six signs, the whole table, 6-24-2", "parity", (24,), 1760,
        (("adam", 3e-2), ("adam", 1e-2), ("adam", 3e-3), ("none", 0.3), ("none", 0.1)),
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
