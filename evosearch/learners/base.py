"""What a learner is: it lives through a lesson and leaves networks that answer.

Circuits with a rule in their slot are learners (:mod:`evosearch.learners.circuit`); what their
phases cannot express is one file here with one class under ``@LEARNERS.register``, which has a
kernel of its own: NumPy over all draws at once, or a compiled loop.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from evosearch.errors import InputError
from evosearch.outcome import FloatArray
from evosearch.registry import Registry

if TYPE_CHECKING:
    from evosearch.data import Examples
    from evosearch.tasks.base import Key

LEARNERS: Registry[type[Learner]] = Registry("learner", "evosearch.learners")

NetworkKind: TypeAlias = Literal["mlp", "rnn"]
_NAMES: dict[NetworkKind, str] = {"mlp": "feed-forward networks", "rnn": "recurrent networks"}


@dataclass(frozen=True)
class Lesson:
    """What a learner is taught, on which network and with what budget.

    The same lesson gives every learner the same initial weights and order of examples, see
    :mod:`evosearch.circuits.streams`.

    Attributes:
        network: ``mlp`` (tanh units, softmax) or ``rnn`` (one tanh layer, softmax at the last
            step).
        sizes: units of each layer, inputs first, classes last; of an ``rnn`` the inputs of one
            step, hidden units, classes.
        steps: of a sequence, which an example's numbers are cut into; 1 for an ``mlp``.
        train: what is learned from.
        held: what accuracy is measured on.
        updates: minibatches shown.
        batch: examples of a minibatch.
        check_every: updates between two measurements of accuracy; divides ``updates``.
        normaliser: what happens to increments: none, clip, sign, momentum, adam.
        rate: learning rate.
        keys: one a draw.
        is_probed: whether the cosine with the gradient is wanted.
    """

    network: NetworkKind
    sizes: tuple[int, ...]
    steps: int
    train: Examples
    held: Examples
    updates: int
    batch: int
    check_every: int
    normaliser: str
    rate: float
    keys: Sequence[Key]
    is_probed: bool = False

    @property
    def checks(self) -> int:
        """How often accuracy is measured."""
        return self.updates // self.check_every


class Networks(Protocol):
    """What D lives left: networks that answer."""

    def predict(self, inputs: NDArray[np.floating]) -> NDArray[np.int64]:
        """Return (D, n) labels of n inputs (n, d)."""
        ...


@dataclass(frozen=True)
class Learned:
    """How D lives went.

    Attributes:
        curves: (D, checks) accuracy on the held part; NaN from where numbers ceased to be finite.
        diverged_at: the update after which that was, or None, one a draw.
        cosines: (D, layers) cosine of the update with the negative gradient over one minibatch in
            the middle of the life, NaN of a layer that does not learn; None where not measured.
        networks: what they have become.
    """

    curves: FloatArray
    diverged_at: tuple[int | None, ...]
    cosines: FloatArray | None
    networks: Networks


class Learner(ABC):
    """A way to train a network without backpropagation, or a control beside them.

    Attributes:
        name: what it is registered as.
        title: one line with the authors and the year.
        locks: what an update waits for: F forward pass, B backward pass, U update phase.
        transports_weights: whether errors travel through the forward weights, or their signs.
        networks: kinds of networks that it trains.
        has_rate: whether it has steps, so that normaliser and learning rate mean something.
    """

    name: str
    title: str
    locks: str
    transports_weights: bool = False
    networks: tuple[NetworkKind, ...] = ("mlp",)
    has_rate: bool = True

    def check(self, lesson: Lesson) -> None:
        """Raise InputError where it cannot train this network, before anything is computed."""
        if lesson.network not in self.networks:
            trained = " and ".join(_NAMES[kind] for kind in self.networks)
            raise InputError(
                f"learner {self.name!r} trains {trained}; this task has {_NAMES[lesson.network]}."
            )

    @abstractmethod
    def learn(self, lesson: Lesson) -> Learned:
        """Live all draws of the lesson."""

    @abstractmethod
    def forward_equivalents(self, sizes: Sequence[int], steps: int = 1) -> float:
        """Return the cost of one update of an example in forward passes, by multiply-adds."""
