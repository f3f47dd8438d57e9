"""Policies: what a vector of weights means, and what a network answers to an observation."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np

from evosearch.outcome import FloatArray
from evosearch.populations import layer_shapes

PolicyKind: TypeAlias = Literal["mlp", "recurrent"]

LEAST_SCALE = 1e-4
"""Observations that vary less are not scaled: they are constant."""


@dataclass(frozen=True)
class Policy:
    """A network with tanh units and linear outputs, written as one vector.

    For each layer the vector holds W (n_out, n_in) row by row, then b (n_out). A recurrent policy
    is Elman's: its first hidden layer also sees its own last activity, which is zero when an
    episode begins, in the last columns of its W.

    Source: J. Elman, "Finding Structure in Time", Cognitive Science 14, 1990.

    Attributes:
        n_observations: numbers that it sees.
        hidden: sizes of the hidden layers; none for a linear policy.
        n_outputs: numbers that it puts out.
        kind: ``mlp`` or ``recurrent``, which needs a hidden layer.
    """

    n_observations: int
    hidden: tuple[int, ...]
    n_outputs: int
    kind: PolicyKind = "mlp"

    @property
    def n_feedback(self) -> int:
        """Units whose last activity is an input; 0 without recurrence."""
        return self.hidden[0] if self.kind == "recurrent" else 0

    @property
    def sizes(self) -> tuple[int, ...]:
        """Inputs with the feedback, hidden layers, outputs."""
        return (self.n_observations + self.n_feedback, *self.hidden, self.n_outputs)

    @property
    def shapes(self) -> tuple[tuple[int, ...], ...]:
        """Shapes of W and b, layer by layer."""
        return layer_shapes(self.sizes)

    @property
    def dimension(self) -> int:
        """Numbers in a vector."""
        return sum(math.prod(shape) for shape in self.shapes)

    def draw(self, rng: np.random.Generator) -> FloatArray:
        """Draw small weights (dimension,): W from N(0, 0.01 / n_in), b = 0."""
        parts = [
            0.1 * rng.standard_normal(shape).ravel() / math.sqrt(shape[1])
            if len(shape) == 2
            else np.zeros(shape)
            for shape in self.shapes
        ]
        return np.concatenate(parts)

    def arrays(self, vector: FloatArray) -> list[FloatArray]:
        """Return W and b of each layer, as views of a vector (dimension,)."""
        ends = np.cumsum([math.prod(shape) for shape in self.shapes])
        parts = np.split(vector, ends[:-1])
        return [part.reshape(shape) for part, shape in zip(parts, self.shapes, strict=True)]

    def answer(
        self, arrays: list[FloatArray], observation: FloatArray, feedback: FloatArray
    ) -> tuple[FloatArray, FloatArray]:
        """Return outputs (n_outputs,) and the feedback (n_feedback,) of the next step."""
        units = np.concatenate([observation, feedback])
        for k in range(0, len(arrays), 2):
            units = arrays[k] @ units + arrays[k + 1]
            if k < len(arrays) - 2:
                units = np.tanh(units)
            if k == 0:
                feedback = units[: self.n_feedback]
        return units, feedback

    def folded(self, points: FloatArray, mean: FloatArray, scale: FloatArray) -> FloatArray:
        """Return points (n, dimension) that do to observations what ``points`` do to normal ones.

        Args:
            points: (n, dimension) for observations (o - mean) / scale.
            mean: (n_observations,) what is subtracted from them.
            scale: (n_observations,) what they are divided by.
        """
        folded = np.array(points)
        (n_out, n_in), n_seen = self.shapes[0], self.n_observations
        w = folded[:, : n_out * n_in].reshape(-1, n_out, n_in)
        w[:, :, :n_seen] /= scale
        folded[:, n_out * n_in : n_out * (n_in + 1)] -= w[:, :, :n_seen] @ mean
        return folded


def observation_scales(seen: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return mean and standard deviation (k,) of observations (n, k), for ``Policy.folded``."""
    deviation = seen.std(axis=0)
    return seen.mean(axis=0), np.where(deviation < LEAST_SCALE, 1.0, deviation)
