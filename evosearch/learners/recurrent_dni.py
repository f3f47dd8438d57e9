"""Decoupled neural interfaces over time: short windows, and a guess at all later credit."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from evosearch.errors import InputError
from evosearch.learners.base import LEARNERS, Lesson
from evosearch.learners.bptt import backward_products
from evosearch.learners.mlp import Array
from evosearch.learners.rnn import (
    Increments,
    RnnLearner,
    RnnNetworks,
    Trace,
    back,
    equivalents,
    products,
)
from evosearch.learners.steps import Steps


@LEARNERS.register("dni-rnn")
class RecurrentDni(RnnLearner):
    """Credit passes back within short windows; at the end of each a linear guess stands for more.

    The guess reads the state there and, unless told otherwise, the label: of a network whose
    probabilities are right, the mean credit of a state is nothing, and only the label says more.
    The guess learns from the credit that arrives from the next window, itself in part a guess. It
    starts at zero: until it has learned, this is truncated backpropagation.

    Args:
        window: steps of a window, at least 1 and less than the steps of a sequence.
        rate: Adam's learning rate for the guess, at least 0.
        is_told: whether the guess reads the label beside the state.

    Raises:
        InputError: ``window`` or ``rate`` is out of range.
    """

    name = "dni-rnn"
    title = "synthetic gradients over time (M. Jaderberg et al. 2016)"
    locks = "F"
    transports_weights = True

    def __init__(self, *, window: int = 2, rate: float = 3e-4, is_told: bool = True) -> None:
        if window < 1 or rate < 0:
            raise InputError(
                f"window is {window} and rate {rate}; they must be at least 1 and at least 0."
            )
        self._window, self._rate, self._is_told = window, rate, is_told

    def check(self, lesson: Lesson) -> None:
        """Raise InputError where it cannot train this network, before anything is computed."""
        super().check(lesson)
        if self._window >= lesson.steps:
            raise InputError(
                f"dni-rnn has windows of {self._window} steps in sequences of {lesson.steps}; "
                "windows must be shorter than sequences: choose a smaller window, or bptt."
            )

    def increments(self, lesson: Lesson) -> Increments:
        """Return windows' gradients with guesses at their ends."""
        guess = _Guess(lesson, self._rate, is_told=self._is_told)
        cuts = range(self._window, lesson.steps, self._window)

        def change(networks: RnnNetworks, trace: Trace) -> Array:
            seen = [guess.features(trace, cut) for cut in cuts]
            guesses = [guess.credit(features) for features in seen]
            found, arrived = back(networks, trace, dict(zip(cuts, guesses, strict=True)))
            misses = [arrived[cut] - g for cut, g in zip(cuts, guesses, strict=True)]
            guess.learn(np.stack(misses, axis=2), np.stack(seen, axis=2))
            return found

        return change

    def forward_equivalents(self, sizes: Sequence[int], steps: int = 1) -> float:
        """Return the cost of one update of an example in forward passes, by multiply-adds.

        Windows go back as whole sequences do; at each cut a guess is made and learned from.
        """
        _, n_hidden, n_classes = sizes
        n_features = n_hidden + (n_classes if self._is_told else 0)
        guessed = 2 * len(range(self._window, steps, self._window)) * n_hidden * n_features
        return equivalents(sizes, steps, backward_products(sizes, steps) + guessed)


class _Guess:
    """Linear guesses of D networks at the credit of a state, zero at birth."""

    def __init__(self, lesson: Lesson, rate: float, *, is_told: bool) -> None:
        _, n_hidden, n_classes = lesson.sizes
        self._classes = np.eye(n_classes) if is_told else np.empty((n_classes, 0))
        n_features = n_hidden + 1 + self._classes.shape[1]
        self._weights = np.zeros((len(lesson.keys), n_hidden, n_features))
        self._steps = Steps("adam", rate)

    def features(self, trace: Trace, cut: int) -> Array:
        """Return what a guess is made from (D, B, n): state, label, and 1."""
        state = trace.hidden[:, :, cut - 1]
        ones = np.ones((*state.shape[:2], 1))
        return np.concatenate([state, self._classes[trace.labels], ones], axis=2)

    def credit(self, features: Array) -> Array:
        """Return guesses (D, B, H)."""
        return features @ self._weights.swapaxes(1, 2)

    def learn(self, misses: Array, features: Array) -> None:
        """Follow the delta rule: misses (D, B, cuts, H), features (D, B, cuts, n)."""
        self._steps.apply([self._weights], [products(misses, features)])
