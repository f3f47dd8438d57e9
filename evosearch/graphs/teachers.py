"""Learners of graphs by name: each turns a minibatch into changes of parameters."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from torch import Tensor
from torch.nn import functional

from evosearch.errors import unknown_name
from evosearch.graphs.alignment import Alignment
from evosearch.graphs.feedback import (
    direct_feedback_alignment,
    feedback_alignment,
    random_feedback,
    random_projections,
)
from evosearch.graphs.graph import Graph, State
from evosearch.graphs.relaxation import increments, relax, softmax_error
from evosearch.graphs.settling import settle
from evosearch.graphs.sweep import Errors, sweep

if TYPE_CHECKING:
    from collections.abc import Callable

    from evosearch.learners.steps import Steps

Batch = tuple[Sequence[Tensor], Sequence[Tensor]]
"""Inputs of a graph, and the labels (B,) of each output."""


class Teacher(ABC):
    """A way to find the errors of a graph's vertices."""

    def changes(self, graph: Graph, batch: Batch) -> tuple[float, dict[str, Tensor]]:
        """Return the loss before, and what each parameter changes by: means over examples.

        The loss is the mean cross-entropy over examples and outputs.

        Args:
            graph: with the parameters of now.
            batch: a minibatch.
        """
        state, labels = graph.predict(batch[0]), batch[1]
        outputs = [state.values[k] for k in graph.outputs]
        pairs = list(zip(outputs, labels, strict=True))
        losses = [float(functional.cross_entropy(o, label)) for o, label in pairs]
        now, errors = self.errors(graph, state, labels)
        share = len(pairs) * len(outputs[0])
        found = increments(graph, now, errors)
        means = {name: change / share for name, change in found.items()}
        self.learn(graph, state, means, errors)
        return float(np.mean(losses)), means

    @abstractmethod
    def errors(self, graph: Graph, state: State, labels: Sequence[Tensor]) -> tuple[State, Errors]:
        """Return the state at which errors lie, and the errors, not divided by anything."""

    def learn(
        self, graph: Graph, state: State, changes: Mapping[str, Tensor], found: Errors
    ) -> None:
        """Change what the teacher itself has to learn: nothing, for most."""
        del graph, state, changes, found


def _taught(graph: Graph, state: State, labels: Sequence[Tensor]) -> list[Tensor]:
    """Return the error of each output."""
    outputs = [state.values[k] for k in graph.outputs]
    return [softmax_error(o, label) for o, label in zip(outputs, labels, strict=True)]


class Backpropagation(Teacher):
    """The reference: errors go down through the weights."""

    def errors(self, graph: Graph, state: State, labels: Sequence[Tensor]) -> tuple[State, Errors]:
        """Return minus the gradient at each vertex."""
        return state, sweep(graph, state, _taught(graph, state, labels), carriers={})


class Shallow(Teacher):
    """The floor: random features stay as they are, the readout learns."""

    def errors(self, graph: Graph, state: State, labels: Sequence[Tensor]) -> tuple[State, Errors]:
        """Return the error of the outputs alone."""
        found: Errors = [None] * len(graph.vertices)
        for k, error in zip(graph.outputs, _taught(graph, state, labels), strict=True):
            found[k] = error
        return state, found


class FeedbackAlignment(Teacher):
    """Errors go down through fixed random weights, convolutions' through other filters."""

    def __init__(self, graph: Graph, rng: np.random.Generator) -> None:
        self._feedback = random_feedback(graph, rng)

    def errors(self, graph: Graph, state: State, labels: Sequence[Tensor]) -> tuple[State, Errors]:
        """Return what arrives through the feedback."""
        taught = _taught(graph, state, labels)
        return state, feedback_alignment(graph, state, taught, feedback=self._feedback)


class DirectFeedbackAlignment(Teacher):
    """Every layer hears the output error through fixed random projections."""

    def __init__(self, graph: Graph, state: State, rng: np.random.Generator) -> None:
        self._projections = random_projections(graph, state, rng)

    def errors(self, graph: Graph, state: State, labels: Sequence[Tensor]) -> tuple[State, Errors]:
        """Return what arrives through the projections."""
        taught = _taught(graph, state, labels)
        return state, direct_feedback_alignment(graph, state, taught, projections=self._projections)


class RepresentationAlignment(Teacher):
    """Local targets through error synapses that learn.

    Args:
        alignment: of the graph that it will teach.
    """

    def __init__(self, alignment: Alignment) -> None:
        self._alignment = alignment

    def errors(self, graph: Graph, state: State, labels: Sequence[Tensor]) -> tuple[State, Errors]:
        """Return how far each unit's target lies."""
        return state, self._alignment.errors(graph, state, _taught(graph, state, labels))

    def learn(
        self, graph: Graph, state: State, changes: Mapping[str, Tensor], found: Errors
    ) -> None:
        """Change the error synapses."""
        self._alignment.learn(graph, state, changes, found)


class _Settling(Teacher):
    """A teacher that settles.

    Args:
        steps: T, at least 1.
        gamma: step, in (0, 1].
    """

    def __init__(self, *, steps: int = 100, gamma: float = 0.1) -> None:
        self._steps, self._gamma = steps, gamma


class FixedPrediction(_Settling):
    """Predictive coding whose predictions stand still while errors settle."""

    def errors(self, graph: Graph, state: State, labels: Sequence[Tensor]) -> tuple[State, Errors]:
        """Return what errors have settled to."""
        taught = _taught(graph, state, labels)
        return state, relax(graph, state, taught, steps=self._steps, gamma=self._gamma)


class StrictPredictiveCoding(_Settling):
    """Predictive coding whose values and predictions both settle."""

    def errors(self, graph: Graph, state: State, labels: Sequence[Tensor]) -> tuple[State, Errors]:
        """Return where values have settled, and the errors there."""

        def teach(outputs: list[Tensor]) -> list[Tensor]:
            return [softmax_error(o, label) for o, label in zip(outputs, labels, strict=True)]

        return settle(graph, state, teach, steps=self._steps, gamma=self._gamma)


TEACHERS: dict[str, Callable[[Graph, State, np.random.Generator], Teacher]] = {
    "bp": lambda graph, state, rng: Backpropagation(),
    "shallow": lambda graph, state, rng: Shallow(),
    "fa": lambda graph, state, rng: FeedbackAlignment(graph, rng),
    "dfa": DirectFeedbackAlignment,
    "lra": lambda graph, state, rng: RepresentationAlignment(
        Alignment(graph, state, rng, is_recursive=False)
    ),
    "rlra": lambda graph, state, rng: RepresentationAlignment(Alignment(graph, state, rng)),
    "fpc": lambda graph, state, rng: FixedPrediction(),
    "pc": lambda graph, state, rng: StrictPredictiveCoding(),
}


def make_teacher(
    name: str, graph: Graph, inputs: Sequence[Tensor], rng: np.random.Generator
) -> Teacher:
    """Return a learner of a graph with its default settings.

    Args:
        name: bp, shallow, fa, dfa, lra, rlra (recursive, the same where no block is residual), fpc
            (predictive coding with fixed predictions) or pc (with values that settle).
        graph: that it will teach.
        inputs: a few examples, for the shapes of feedback.
        rng: draws feedback.

    Raises:
        InputError: there is none of this name, or it cannot train the graph: the message names
            what stands in the way and which learners can.

    Example:
        >>> import numpy as np, torch
        >>> from evosearch.graphs import cnn
        >>> graph = cnn((1, 8, 8), (2,), (4,), 3, np.random.default_rng(0), kernel=3)
        >>> images = torch.zeros(5, 1, 8, 8)
        >>> teacher = make_teacher("dfa", graph, [images], np.random.default_rng(1))
        >>> loss, _ = teacher.changes(graph, ([images], [torch.zeros(5, dtype=torch.int64)]))
        >>> round(loss, 3)
        1.099
    """
    if name not in TEACHERS:
        raise unknown_name("learner of graphs", name, TEACHERS)
    return TEACHERS[name](graph, graph.predict(inputs), rng)


def train(graph: Graph, teacher: Teacher, batches: Iterable[Batch], steps: Steps) -> list[float]:
    """Let a graph learn from minibatches; return the loss of each before its update.

    Where a loss is not finite learning has diverged: it ends, and that loss is the last.

    Args:
        graph: whose parameters change in place.
        teacher: of this graph.
        batches: minibatches in their order.
        steps: what turns increments into changes, new for every graph.
    """
    parameters = [values.numpy() for values in graph.parameters.values()]
    losses: list[float] = []
    for batch in batches:
        loss, found = teacher.changes(graph, batch)
        losses.append(loss)
        if not np.isfinite(loss):
            break
        steps.apply(parameters, [found[name].numpy() for name in graph.parameters])
    return losses


def accuracy(graph: Graph, inputs: Tensor, labels: Tensor, *, together: int = 500) -> float:
    """Return the share of examples that a graph of one input and one output labels rightly.

    Args:
        graph: that answers.
        inputs: (n, ...).
        labels: (n,) integers.
        together: examples of one forward pass.
    """
    right = 0
    for start in range(0, len(labels), together):
        rows = slice(start, start + together)
        values = graph.predict([inputs[rows]]).values[graph.outputs[0]]
        right += int((values.argmax(1) == labels[rows]).sum())
    return right / len(labels)
