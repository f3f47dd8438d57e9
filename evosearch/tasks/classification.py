"""Weights of a multilayer perceptron that tells classes apart."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from functools import cached_property, lru_cache
from threading import Lock
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
from pydantic import Field

from evosearch.errors import InputError
from evosearch.networks.mlp import Batch, Mlp
from evosearch.outcome import FloatArray
from evosearch.populations import LowRank
from evosearch.tasks.base import (
    TASKS,
    Domain,
    Key,
    TaskSettings,
    VectorScores,
    VectorTask,
    draw_rng,
)

if TYPE_CHECKING:
    from evosearch.data import DataSet

# Minibatches that are kept laid out: those of one generation, for all its blocks.
_KEPT = 8


class ClassificationSettings(TaskSettings):
    """Settings of ``classification``."""

    data: str = Field(
        "digits",
        description="digits, mnist, fashion_mnist, a folder of IDX files, or a .csv or .tsv table",
    )
    n_validation: int | None = Field(
        None, ge=1, description="training examples that validate; default: the data set's"
    )
    hidden: tuple[Annotated[int, Field(ge=1, le=100_000)], ...] = Field(
        (32,), description="units of each hidden layer; none for a linear readout"
    )
    activation: Literal["tanh", "relu", "sigmoid", "softplus"] = Field(
        "tanh", description="of the hidden units"
    )
    batch: int = Field(
        0, ge=0, description="examples of a search draw, the same for all candidates; 0: all"
    )
    measure: Literal["cross-entropy", "accuracy"] = Field(
        "cross-entropy", description="what fitness is: less the mean cross-entropy, or accuracy"
    )
    dtype: Literal["float32", "float64"] = Field("float32", description="computed in")
    epochs: int = Field(
        20, ge=1, le=10_000, description="passes over the training part of the baseline adam"
    )


@TASKS.register("classification")
class ClassificationTask(VectorTask):
    """A multilayer perceptron classifies the examples of a data set; its weights are the vector.

    For each layer the vector holds the matrix (outputs, inputs) row by row, then the biases. A
    search draw is a minibatch of the training part, drawn without replacement, or all of it; every
    draw of another split is the whole validation or test part. Fitness is the mean over examples:
    the negative cross-entropy in nats, <= 0, or the accuracy, in [0, 1]. Outside the search both
    are reported as metrics.

    Baselines: ``start``, the initial weights, from the problem's seed; ``adam``, the same trained
    by backpropagation for ``epochs`` passes with batches of 128, learning rate .001 and a cosine
    schedule.
    """

    Settings = ClassificationSettings
    baselines = ("start", "adam")
    largest_block = 32_768
    has_devices = True
    settings: ClassificationSettings

    def __init__(self, settings: Any, *, seed: int, device: str = "cpu") -> None:
        super().__init__(settings, seed=seed, device=device)
        sizes = _sizes(self.settings.data, self.settings.hidden)
        self.network = Mlp(sizes, self.settings.activation, self.settings.dtype)
        self._batches: OrderedDict[tuple[str, Key], Batch] = OrderedDict()
        self._lock = Lock()

    def prepare(self) -> None:
        """Read the data, and check that a minibatch fits into it."""
        if self.settings.batch > len(self._data.train):
            raise InputError(
                f"batch is {self.settings.batch}; the training part of {self.settings.data!r} has "
                f"{len(self._data.train)} examples."
            )

    def domain(self) -> Domain:
        """Return initial weights, unbounded; first steps of .05."""
        return Domain(self._start.copy(), sigma0=0.05, shapes=self.network.shapes)

    def score(self, points: FloatArray | LowRank, keys: Sequence[Key], split: str) -> VectorScores:
        """Score n networks on the minibatch of each draw, or on a whole part."""
        columns = [
            self._score(points, self.batch(key, split), self.settings.measure) for key in keys
        ]
        metrics: dict[str, FloatArray] = {}
        if split != "search":
            others = {"accuracy": "accuracy", "cross_entropy": "cross-entropy"}
            whole = self.batch(keys[0], split)
            for name, measure in others.items():
                is_known = measure == self.settings.measure
                metrics[name] = columns[0] if is_known else self._score(points, whole, measure)
        return VectorScores(np.stack(columns, axis=1), metrics)

    def baseline(self, name: str) -> FloatArray:
        """Return the initial weights, or these trained by Adam, once in a process."""
        if name == "start":
            return self._start.copy()
        assert name == "adam"
        s = self.settings
        weights = _adam(s.data, s.n_validation, s.hidden, s.activation, s.epochs, self.seed)
        return weights.copy()

    def batch(self, key: Key, split: str) -> Batch:
        """Return the examples of a draw; those of the last few draws are kept."""
        is_whole = split != "search" or self.settings.batch == 0
        name = (split, () if is_whole else tuple(key))
        with self._lock:
            if name not in self._batches:
                self._batches[name] = self._made(key, split, is_whole)
                while len(self._batches) > _KEPT:
                    self._batches.popitem(last=False)
            return self._batches[name]

    def _made(self, key: Key, split: str, is_whole: bool) -> Batch:
        parts = {"search": self._data.train, "validation": self._data.validation}
        part = parts.get(split, self._data.test)
        if is_whole:
            return self.network.batch(part)
        rng = draw_rng(key)
        chosen = rng.choice(len(part), self.settings.batch, replace=False, shuffle=False)
        return self.network.batch(part.rows(chosen))

    def _score(self, points: FloatArray | LowRank, batch: Batch, measure: str) -> FloatArray:
        if self.device == "cpu":
            return self.network.score(points, batch, measure)
        from evosearch.networks.torch_forward import score_on_device

        device = "cpu" if self.device == "torch" else self.device
        return score_on_device(self.network, points, batch, measure, device)

    @cached_property
    def _data(self) -> DataSet:
        return _load(self.settings.data, self.settings.n_validation)

    @cached_property
    def _start(self) -> FloatArray:
        return _start(self.network, self.seed)


def _sizes(data: str, hidden: tuple[int, ...]) -> tuple[int, ...]:
    from evosearch.data import data_size

    n_inputs, n_classes = data_size(data)
    return n_inputs, *hidden, n_classes


def _load(data: str, n_validation: int | None) -> DataSet:
    from evosearch.data import load_data

    return load_data(data, n_validation)


def _start(network: Mlp, seed: int) -> FloatArray:
    return network.initial(np.random.default_rng([seed, network.dimension]))


@lru_cache(maxsize=4)
def _adam(
    data: str,
    n_validation: int | None,
    hidden: tuple[int, ...],
    activation: str,
    epochs: int,
    seed: int,
) -> FloatArray:
    from evosearch.networks.adam import train_adam

    whole = _load(data, n_validation)
    network = Mlp(_sizes(data, hidden), activation)
    start = _start(network, seed)
    return train_adam(network, whole.train, start, epochs=epochs, seed=seed)
