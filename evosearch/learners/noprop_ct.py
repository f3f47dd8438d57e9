"""NoProp in continuous time: one network denoises the label at any time; the noise learns too."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from evosearch.circuits.base import forward_products
from evosearch.errors import InputError
from evosearch.learners.base import LEARNERS, Lesson
from evosearch.learners.mlp import Array, softmax
from evosearch.learners.noprop_parts import (
    Net,
    Noise,
    NoPropLearner,
    answer,
    beside,
    check_solver,
    cross_entropy,
    drawn_net,
    integrate,
    of_labels,
    teach_guess,
    to_labels,
    zero_net,
)
from evosearch.outcome import FloatArray

_LARGEST_WEIGHT = 1.0


def share(log_ratios: Array) -> Array:
    """Return the share of the label where log(share / noise) is this."""
    return 1 / (1 + np.exp(-log_ratios))


def flow(guess: Array, z: Array, log_ratio: Array, slope: Array) -> Array:
    """Return dz/dt of the probability flow between noise and label.

    Of z = sqrt(s) u + sqrt(1 - s) noise, s = share(g(t)): its velocity, with the noise written by z
    and u, is g'(t) / 2 * sqrt(s) (u - sqrt(s) z). It is also the limit of many blocks of NoProp-DT
    in its noiseless form, the drift less half the diffusion times the score.

    Args:
        guess: of the embedding u, of the shape of z.
        z: points.
        log_ratio: g(t), which broadcasts against z.
        slope: g'(t).
    """
    amplitude = np.sqrt(share(log_ratio))
    return slope / 2 * amplitude * (guess - amplitude * z)


@dataclass(frozen=True)
class Schedule:
    """How the logarithm of signal to noise rises with time: pieces that are straight and learn.

    Attributes:
        start: (D, 1) its value at t = 0.
        rises: (D, pieces) of each piece, as what softplus makes positive.
    """

    start: Array
    rises: Array

    @classmethod
    def straight(cls, n_draws: int, pieces: int, low: float, high: float) -> Schedule:
        """Return schedules that rise from low to high at one speed."""
        rise = (high - low) / pieces
        return cls(np.full((n_draws, 1), low), np.full((n_draws, pieces), np.log(np.expm1(rise))))

    def at(self, t: Array) -> tuple[Array, Array]:
        """Return log ratios and their slopes at times t (D, B) from 0 to 1."""
        steps = np.logaddexp(0, self.rises)[:, None]
        passed, inside = self._pieces(t)
        ratios = self.start + (passed * steps).sum(axis=2)
        return ratios, (inside * steps).sum(axis=2)

    def teach(self, t: Array, at_ratios: Array, at_slopes: Array) -> list[Array]:
        """Return changes of start and rises for errors of log ratios and slopes (D, B)."""
        passed, inside = self._pieces(t)
        errors = passed * at_ratios[..., None] + inside * at_slopes[..., None]
        return [at_ratios.sum(axis=1, keepdims=True), errors.sum(axis=1) * share(self.rises)]

    def _pieces(self, t: Array) -> tuple[Array, Array]:
        """Return (D, B, pieces): how much of each is over, and how fast that grows with t."""
        pieces = self.rises.shape[1]
        passed = np.clip(pieces * t[..., None] - np.arange(pieces), 0.0, 1.0)
        current = np.minimum((t * pieces).astype(np.int64), pieces - 1)
        return passed, pieces * np.eye(pieces)[current]


class ContinuousNetworks:
    """D denoisers with time as an input, their schedules, label embeddings and heads.

    Args:
        lesson: what is learned.
        weight: of the denoising loss, eta in the paper.
        schedule: of the noise at birth.
        embedding: (D, classes, d) at birth.
        is_learned: whether the embedding learns.
        steps: of the integration that answers.
        solver: euler or heun.
    """

    def __init__(
        self,
        lesson: Lesson,
        *,
        weight: float,
        schedule: Schedule,
        embedding: Array,
        is_learned: bool,
        steps: int,
        solver: str,
    ) -> None:
        self._keys, self._weight, self._is_learned = lesson.keys, weight, is_learned
        self._steps, self._solver = steps, solver
        width = embedding.shape[2]
        sizes = (lesson.sizes[0] + width + 1, *lesson.sizes[1:])
        self._net: Net = drawn_net(lesson.keys, sizes)
        self._head = zero_net(len(lesson.keys), width, lesson.sizes[-1])
        self.schedule, self.embedding = schedule, embedding

    @property
    def parameters(self) -> list[Array]:
        """What learns."""
        own = [self.embedding] if self._is_learned else []
        schedule = [self.schedule.start, self.schedule.rises]
        return [*self._net.parameters, *self._head.parameters, *schedule, *own]

    def changes(self, inputs: Array, labels: NDArray[np.int64], noise: Noise) -> list[Array]:
        """Return what parameters are to change by, at times and under noise drawn for it."""
        batch = labels.shape[1]
        times, drawn = noise.uniform(batch), noise.normal(2, batch, self.embedding.shape[2])
        return self.losses_and_changes(inputs, labels, times, drawn)[1]

    def losses_and_changes(
        self, inputs: Array, labels: NDArray[np.int64], times: Array, noise: Array
    ) -> tuple[FloatArray, list[Array]]:
        """Return mean losses (D,), and minus their gradient for each of the parameters.

        Args:
            inputs: (D, B, n).
            labels: (D, B).
            times: (D, B) from 0 to 1.
            noise: (D, 2, B, d) standard normal, of the denoiser and of the head.
        """
        clean = of_labels(self.embedding, labels)
        middle = self._denoise(inputs, clean, times, noise[:, 0])
        end = self._classify(clean, labels, noise[:, 1])
        start = self._divergence(clean)
        changes = [*middle.net, *end.net]
        schedules = [part.schedule for part in (middle, end, start)]
        changes += [np.sum(parts, axis=0) for parts in zip(*schedules, strict=True)]
        if self._is_learned:
            at_clean = middle.clean + end.clean + start.clean
            n_classes = self.embedding.shape[1]
            changes.append(middle.embedding + to_labels(at_clean, labels, n_classes))
        return middle.losses + end.losses + start.losses, changes

    def _denoise(self, inputs: Array, clean: Array, times: Array, noise: Array) -> _Part:
        """Teach the weighted squared error of the guess at each example's time."""
        ratios, slopes = self.schedule.at(times)
        z, z_slopes = _noisy(clean, noise, ratios)
        posts = self._net.activities(beside(inputs, z, times[..., None]))
        odds = softmax(posts[-1])
        missing = clean - odds @ self.embedding
        n = inputs.shape[1]
        rises = self._weight / 2 * np.exp(ratios)  # of the weight with the slope
        weights = np.minimum(rises * slopes, _LARGEST_WEIGHT) / n
        rises = np.where(rises * slopes < _LARGEST_WEIGHT, rises, 0.0) / n
        squares = (missing**2).sum(axis=2)
        error = 2 * weights[..., None] * missing
        at_logits, to_embedding = teach_guess(odds, self.embedding, error)
        net, at_inputs = self._net.teach(posts, at_logits)
        at_z = at_inputs[..., inputs.shape[2] : -1]
        at_ratios = (at_z * z_slopes).sum(axis=2) - rises * slopes * squares
        schedule = self.schedule.teach(times, at_ratios, -rises * squares)
        at_clean = np.sqrt(share(ratios))[..., None] * at_z - error
        return _Part((weights * squares).sum(axis=1), net, schedule, at_clean, to_embedding)

    def _classify(self, clean: Array, labels: NDArray[np.int64], noise: Array) -> _Part:
        """Teach the head's cross-entropy at t = 1."""
        ends = np.ones(labels.shape)
        ratios, _ = self.schedule.at(ends)
        z, z_slopes = _noisy(clean, noise, ratios)
        posts = self._head.activities(z)
        losses, error = cross_entropy(posts[-1], labels)
        head, at_z = self._head.teach(posts, error / labels.shape[1])
        at_ratios = (at_z * z_slopes).sum(axis=2)
        schedule = self.schedule.teach(ends, at_ratios, np.zeros(labels.shape))
        at_clean = np.sqrt(share(ratios))[..., None] * at_z
        return _Part(losses.mean(axis=1), head, schedule, at_clean, np.zeros(()))

    def _divergence(self, clean: Array) -> _Part:
        """Teach the divergence of z at t = 0 from mere noise."""
        n, width = clean.shape[1:]
        starts = np.zeros(clean.shape[:2])
        ratios, _ = self.schedule.at(starts)
        label = share(ratios)
        squares = (clean**2).sum(axis=2)
        losses = (label * (squares - width) - width * np.log1p(-label)) / 2
        at_ratios = -label * (1 - label) * (squares - width + width / (1 - label)) / (2 * n)
        schedule = self.schedule.teach(starts, at_ratios, np.zeros_like(ratios))
        return _Part(losses.mean(axis=1), [], schedule, -label[..., None] * clean / n, np.zeros(()))

    def predict(self, inputs: NDArray[np.floating]) -> NDArray[np.int64]:
        """Return (D, n) labels of n inputs (n, d), each with noise of its own."""
        return answer(self._keys, inputs, (self.embedding.shape[2],), self._label)

    def _label(self, inputs: Array, noise: Array) -> NDArray[np.int64]:
        def field(t: float, z: Array) -> Array:
            times = np.full((*z.shape[:2], 1), t)
            logits = self._net.activities(beside(inputs, z, times))[-1]
            ratios, slopes = self.schedule.at(times[:, :1, 0])
            guess = softmax(logits) @ self.embedding
            return flow(guess, z, ratios[..., None], slopes[..., None])

        ends = integrate(field, noise, self._steps, self._solver)
        return self._head.activities(ends)[-1].argmax(axis=-1)


@dataclass(frozen=True)
class _Part:
    """What one part of the loss teaches: the loss (D,), and minus its gradients."""

    losses: FloatArray
    net: list[Array]
    schedule: list[Array]
    clean: Array
    embedding: Array


def _noisy(clean: Array, noise: Array, ratios: Array) -> tuple[Array, Array]:
    """Return z at log ratios (D, B), and how it changes with them."""
    label = share(ratios)[..., None]
    signal, rest = np.sqrt(label) * clean, np.sqrt(1 - label) * noise
    return signal + rest, ((1 - label) * signal - label * rest) / 2


@LEARNERS.register("noprop-ct")
class NoPropCt(NoPropLearner):
    """One network that guesses the label from the input, a noisy label and the time.

    It has the hidden layers of the lesson, through which errors do travel back, but never through
    the steps of an answer, which follow the probability flow from mere noise. The schedule of the
    noise learns with it. float64.

    Source: Li, Teh & Pascanu (2025), NoProp-CT; the schedule is straight in pieces here,
    and the weight of an example's loss at most 1.

    Args:
        weight: of the denoising loss, eta, > 0.
        low: logarithm of signal to noise at the beginning, at birth.
        high: the same at the end, greater.
        pieces: of the schedule, at least 1.
        steps: of an answer, at least 1.
        solver: euler or heun.
        embedding: of labels: one-hot, learned or prototype, a training example of each class, which
            stays as it is.
        width: numbers in a learned embedding, at least 1.
        scale: what embeddings are multiplied by at birth, > 0.
    """

    name = "noprop-ct"
    title = "NoProp in continuous time (Li, Teh & Pascanu 2025)"
    locks = "FBU"

    def __init__(
        self,
        *,
        weight: float = 1.0,
        low: float = -5.0,
        high: float = 5.0,
        pieces: int = 8,
        steps: int = 20,
        solver: str = "heun",
        embedding: str = "one-hot",
        width: int = 20,
        scale: float = 1.0,
    ) -> None:
        super().__init__(embedding, width, scale)
        check_solver(self.name, steps, solver)
        if not (weight > 0 and low < high) or pieces < 1:
            raise InputError(
                f"noprop-ct has weight {weight}, low {low}, high {high} and pieces {pieces}; "
                "weight must be above 0, low below high, and pieces at least 1."
            )
        self._weight, self._low, self._high, self._pieces = weight, low, high, pieces
        self._steps, self._solver = steps, solver

    def _networks(
        self, lesson: Lesson, embedding: Array, *, is_learned: bool
    ) -> ContinuousNetworks:
        return ContinuousNetworks(
            lesson,
            weight=self._weight,
            schedule=Schedule.straight(len(lesson.keys), self._pieces, self._low, self._high),
            embedding=embedding,
            is_learned=is_learned,
            steps=self._steps,
            solver=self._solver,
        )

    def forward_equivalents(self, sizes: Sequence[int], steps: int = 1) -> float:
        """Return the cost of one update of an example in forward passes.

        Forward, back to the inputs, whose noisy label teaches the schedule, and all changes.
        """
        width = self._embedding_width(sizes)
        own = (sizes[0] + width + 1, *sizes[1:])
        return 3 * forward_products(own) / forward_products(sizes)
