"""Any learner as a scikit-learn classifier."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.validation import check_array, check_is_fitted, check_X_y

from evosearch.circuits.base import CIRCUITS, DEFAULT_RULE
from evosearch.data.base import check_examples, examples
from evosearch.errors import InputError, RunError
from evosearch.learners.base import Learned, Learner, Lesson
from evosearch.learners.catalogue import make_learner
from evosearch.learners.circuit import CircuitLearner


class LearnerClassifier(ClassifierMixin, BaseEstimator):
    """A network of tanh units that one of the learners trains to classify.

    Inputs are taken as they are; learners expect them of order 1. scikit-learn's ``clone``,
    ``cross_val_score`` and pipelines accept it.

    Args:
        learner: a name of ``list_learners``.
        hidden: units of each hidden layer.
        updates: minibatches shown.
        batch: examples of a minibatch; no more than there are.
        normaliser: none, clip, sign, momentum or adam.
        rate: learning rate, > 0.
        rule: text of the rule in a circuit's slot; None for the published one.
        seed: of initial weights, the order of examples and all else.

    Attributes:
        classes_: (C,) labels, sorted.
        n_features_in_: numbers in an example.
        learned_: how the life went.

    Example:
        >>> from sklearn.datasets import load_iris
        >>> x, y = load_iris(return_X_y=True)
        >>> model = LearnerClassifier("dfa", hidden=(16,), updates=300).fit(x, y)
        >>> bool(model.score(x, y) > 0.9)
        True
    """

    def __init__(
        self,
        learner: str = "bp",
        *,
        hidden: Sequence[int] = (64, 64),
        updates: int = 1000,
        batch: int = 32,
        normaliser: str = "adam",
        rate: float = 3e-3,
        rule: str | None = None,
        seed: int = 0,
    ) -> None:
        self.learner = learner
        self.hidden = hidden
        self.updates = updates
        self.batch = batch
        self.normaliser = normaliser
        self.rate = rate
        self.rule = rule
        self.seed = seed

    def fit(self, X: Any, y: Any) -> LearnerClassifier:
        """Train a new network on inputs (n, d) and labels (n,).

        Raises:
            InputError: a setting is out of range, or the learner cannot train this network.
            RunError: the network's numbers ceased to be finite.
        """
        inputs, labels = check_X_y(X, y, dtype="float32")
        self.n_features_in_: int = inputs.shape[1]
        self.classes_: NDArray[Any]
        self.classes_, numbers = np.unique(labels, return_inverse=True)
        learner = self._made()
        lesson = self._lesson(np.asarray(inputs), numbers)
        learner.check(lesson)
        self.learned_: Learned = learner.learn(lesson)
        (ended,) = self.learned_.diverged_at
        if ended is not None:
            raise RunError(
                f"learner {self.learner!r} diverged at update {ended} with rate {self.rate}; "
                "take a smaller rate or another normaliser."
            )
        return self

    def predict(self, X: Any) -> NDArray[Any]:
        """Return the labels (n,) of inputs (n, d)."""
        check_is_fitted(self)
        inputs = check_array(X, dtype="float32")
        if inputs.shape[1] != self.n_features_in_:
            raise InputError(
                f"X has {inputs.shape[1]} numbers an example; the network was trained on "
                f"{self.n_features_in_}."
            )
        (numbers,) = self.learned_.networks.predict(inputs)
        return self.classes_[numbers]

    def _made(self) -> Learner:
        if self.rule is None:
            return make_learner(self.learner)
        if self.learner not in CIRCUITS.names():
            raise InputError(
                f"learner {self.learner!r} has no slot for a rule; those that have: "
                f"{', '.join(CIRCUITS.names())}."
            )
        return CircuitLearner(self.learner, self.rule or DEFAULT_RULE)

    def _lesson(self, inputs: NDArray[np.float32], labels: NDArray[np.int64]) -> Lesson:
        if self.updates < 1 or self.batch < 1 or not self.rate > 0:
            raise InputError(
                f"updates is {self.updates}, batch {self.batch} and rate {self.rate}; all must be "
                "above 0."
            )
        part = examples(inputs, labels)
        check_examples("X", part, len(self.classes_))
        sizes = (inputs.shape[1], *self.hidden, len(self.classes_))
        return Lesson(
            "mlp", sizes, 1, part, part, self.updates, min(self.batch, len(part)), self.updates,
            self.normaliser, self.rate, [(self.seed,)],
        )  # fmt: skip
