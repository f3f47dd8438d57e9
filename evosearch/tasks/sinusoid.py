"""Few-shot regression: initial weights from which a few steps of learning fit any sine wave."""

from __future__ import annotations

import itertools
import math
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from evosearch.engine.program import Level, Terminal
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
    engine_keys,
)

if TYPE_CHECKING:
    from evosearch.engine.lifetime import Buffer, Lifetime, LifetimeBuilder

_START = 0
_RULE = "error*pre"
_TERMINALS = (
    Terminal("w", Level.SYNAPSE),
    Terminal("pre", Level.PRE),
    Terminal("error", Level.POST),
)
_STEEPEST = 6.0
"""Greatest logarithm to base ten by which a rate may differ from where searches begin."""


class SinusoidSettings(TaskSettings):
    """Settings of ``sinusoid``."""

    hidden: tuple[Annotated[int, Field(ge=1, le=1000)], ...] = Field(
        (40, 40), min_length=1, description="units of each layer"
    )
    shots: int = Field(10, ge=1, le=1000, description="points of a task that are learned, K")
    queries: int = Field(50, ge=1, le=10_000, description="points of a task that are asked")
    steps: int = Field(5, ge=1, le=1000, description="steps of learning; each sees all points")
    rate: float = Field(0.003, gt=0, le=10, description="learning rate where searches begin")
    inheritance: float = Field(
        0.0, ge=0, le=1, description="part of what a life learned that is inherited; 1: Lamarck"
    )


@TASKS.register("sinusoid")
class SinusoidTask(VectorTask):
    """Initial weights and learning rates of a network that learns a sine wave in a few steps.

    A draw is a task y = A sin(x + phase), A from U[0.1, 5], phase from U[0, pi], x from U[-5, 5].
    The network has hidden layers of rectified linear units. Its life begins at the candidate's
    weights, the same for every task, and takes ``steps`` steps of gradient descent on the mean
    squared error of K points; fitness is the negative mean squared error of other points then. What
    is learned in a life is lost with it: only the ability to learn is inherited, which is the
    Baldwin effect. With ``inheritance`` a part of the weights that lives gained, their mean over
    the tasks, is inherited as well, as J.-B. Lamarck thought; under an evolution strategy that is
    Reptile (A. Nichol et al. 2018) beside its own steps. ``before`` among the metrics is the error
    at birth. A candidate is the weights of all layers, then log10 of each layer's rate relative to
    ``rate``. ``start`` is a network of random weights (K. He et al. 2015) that learns at ``rate``;
    ``zero`` answers 0.

    Source: C. Fernando et al., "Meta-learning by the Baldwin effect", GECCO Companion 2018; the
    tasks: C. Finn, P. Abbeel, S. Levine, "Model-Agnostic Meta-Learning", ICML 2017.
    """

    Settings = SinusoidSettings
    baselines = ("start", "zero")
    largest_block = 64
    settings: SinusoidSettings

    def __init__(self, settings: Any, *, seed: int, device: str = "cpu") -> None:
        super().__init__(settings, seed=seed, device=device)
        sizes = (1, *self.settings.hidden, 1)
        self._shapes = [
            shape for n_in, n in itertools.pairwise(sizes) for shape in ((n, n_in), (n,))
        ]
        self._built: OrderedDict[tuple[Key, ...], Lifetime] = OrderedDict()

    @property
    def n_layers(self) -> int:
        """Layers of weights."""
        return len(self._shapes) // 2

    def domain(self) -> Domain:
        """Return all weights and log rates; searches start at random weights."""
        rng = draw_rng((self.seed,), _START)
        parts = [
            rng.standard_normal(shape).ravel() * math.sqrt(2.0 / shape[1])
            if len(shape) == 2
            else np.zeros(shape)
            for shape in self._shapes
        ]
        x0 = np.concatenate([*parts, np.zeros(self.n_layers)])
        shapes = (*self._shapes, (self.n_layers,))
        return Domain(x0, sigma0=0.05, shapes=shapes, is_listed=not self.passes_on)

    @property
    def passes_on(self) -> bool:
        """Whether what a life learned is inherited."""
        return self.settings.inheritance > 0

    def score(self, points: FloatArray | LowRank, keys: Sequence[Key], split: str) -> VectorScores:
        """Score each vector by the error that its lives end with."""
        from evosearch.engine.run import run_lifetimes
        from evosearch.rules.lower import lower
        from evosearch.rules.rule import Rule

        vectors = points.dense() if isinstance(points, LowRank) else points
        rule = lower(Rule(_RULE), _TERMINALS)
        programs = [replace(rule, genes=self._genes(vector)) for vector in vectors]
        result = run_lifetimes(self._life(keys), programs, 1.0)
        before, after = np.moveaxis(result.outputs[:, :, :2], 2, 0)
        is_lost = result.exploded_at >= 0
        fitness = np.where(is_lost | ~np.isfinite(after), np.nan, -after)
        learned = self._learned(vectors, result.outputs[:, :, 2:]) if self.passes_on else None
        return VectorScores(fitness, {"before": before.mean(axis=1)}, learned)

    def _learned(self, vectors: FloatArray, ends: FloatArray) -> FloatArray:
        """Return what is inherited of the weights (n, D, d - n_layers) at the end of lives."""
        gained = ends.mean(axis=1, dtype=np.float64) - vectors[:, : -self.n_layers]
        rates = np.zeros((len(vectors), self.n_layers))
        return np.concatenate([self.settings.inheritance * gained, rates], axis=1)

    def baseline(self, name: str) -> FloatArray:
        """Return where searches start, or a network whose weights are all zero."""
        x0 = self.domain().x0
        return np.zeros_like(x0) if name == "zero" else super().baseline(name)

    def _genes(self, vector: FloatArray) -> FloatArray:
        """Return weights as they are and rates as factors."""
        genes = vector.copy()
        logs = np.clip(vector[-self.n_layers :], -_STEEPEST, _STEEPEST)
        genes[-self.n_layers :] = self.settings.rate * 10.0**logs
        return genes

    def _life(self, keys: Sequence[Key]) -> Lifetime:
        key = tuple(keys)
        if key not in self._built:
            self._built[key] = _Life(self.settings, self._shapes, keys).build()
            while len(self._built) > 4:
                self._built.popitem(last=False)
        return self._built[key]


@dataclass(frozen=True)
class _Layer:
    """Weights and biases with what flows through them, for all examples."""

    weights: Buffer
    bias: Buffer
    rate: Buffer
    pre: Buffer
    field: Buffer
    error: Buffer
    step: Buffer


class _Life:
    """Builds one life: the error at birth, steps of learning, the error in the end."""

    def __init__(
        self, settings: SinusoidSettings, shapes: Sequence[tuple[int, ...]], keys: Sequence[Key]
    ) -> None:
        from evosearch.engine.lifetime import LifetimeBuilder

        self.settings, self.keys = settings, keys
        self.b: LifetimeBuilder = LifetimeBuilder()
        self.n = settings.shots
        waves = [draw_wave(key, settings) for key in keys]
        self.shots, self.queries = ([wave[part] for wave in waves] for part in (0, 1))
        self.weights = [self.b.matrix("w", *shape) for shape in shapes[::2]]
        self.biases = [self.b.matrix("bias", shape[0], 1) for shape in shapes[::2]]
        self.rates = [self.b.scalar("rate") for _ in shapes[::2]]
        start = 0
        for weights, bias in zip(self.weights, self.biases, strict=True):
            for buffer in (weights, bias):
                self.b.inherited(buffer, start + np.arange(buffer.size))
                start += buffer.size
        for number, rate in enumerate(self.rates):
            self.b.inherited(rate, start + number)

    def build(self) -> Lifetime:
        """Return the life of all draws."""
        b = self.b
        before, after = b.scalar("before"), b.scalar("after")
        self._ask(before)
        self._learn()
        self._ask(after)
        b.output(before)
        b.output(after)
        if self.settings.inheritance > 0:
            for weights, bias in zip(self.weights, self.biases, strict=True):
                b.output(weights)
                b.output(bias)
        return b.build(draw_keys=engine_keys(self.keys), dtype="float32")

    def _learn(self) -> None:
        b, k = self.b, self.settings.shots
        one = b.vector("one", 1, examples=k)
        target = b.vector("target", 1, examples=k)
        layers = self._layers(k)
        b.map(one, "1")
        self._load(layers[0].pre, target, self.shots)
        with b.repeat(self.settings.steps):
            self._forward(layers)
            b.map(layers[-1].error, "t - y", t=target, y=layers[-1].field)
            for layer, below in zip(reversed(layers), [*reversed(layers[:-1]), None], strict=True):
                if below is not None:
                    b.matvec_t(below.error, layer.weights, layer.error)
                    b.map(below.error, "w*max(0, sign(a))", a=below.field)
            for layer in layers:
                b.map(layer.step, "r*e", r=layer.rate, e=layer.error)
                b.rule(w=layer.weights, pre=layer.pre, error=layer.step)
                b.rule(w=layer.bias, pre=one, error=layer.step)

    def _ask(self, loss: Buffer) -> None:
        """Write the mean squared error of the queries."""
        b, n = self.b, self.settings.queries
        target = b.vector("asked", 1, examples=n)
        layers = self._layers(n)
        self._load(layers[0].pre, target, self.queries)
        self._forward(layers)
        b.map(target, "square(w - y)", y=layers[-1].field)
        b.reduce(loss, "mean", target)

    def _layers(self, n: int) -> list[_Layer]:
        layers: list[_Layer] = []
        pre = self.b.vector("x", 1, examples=n)
        for weights, bias, rate in zip(self.weights, self.biases, self.rates, strict=True):
            names = ("field", "error", "step", "y")
            field, error, step, y = (
                self.b.vector(name, weights.n_out, examples=n) for name in names
            )
            layers.append(_Layer(weights, bias, rate, pre, field, error, step))
            pre = y
        return layers

    def _forward(self, layers: Sequence[_Layer]) -> None:
        for layer, above in zip(layers, [*layers[1:], None], strict=True):
            self.b.matvec(layer.field, layer.weights, layer.pre)
            self.b.add(layer.field, layer.bias)
            if above is not None:
                self.b.map(above.pre, "max(0, a)", a=layer.field)

    def _load(self, x: Buffer, y: Buffer, points: Sequence[NDArray[np.float64]]) -> None:
        table = np.stack(points)
        self.b.load(x, self.b.table(table[:, 0, :, None]), row=0)
        self.b.load(y, self.b.table(table[:, 1, :, None]), row=0)


def draw_wave(
    key: Key, settings: SinusoidSettings
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Draw a wave: the points that are learned (2, K) and asked (2, queries), rows x and y."""
    rng = draw_rng(key)
    amplitude, phase = rng.uniform(0.1, 5.0), rng.uniform(0.0, math.pi)
    x = rng.uniform(-5.0, 5.0, settings.shots + settings.queries)
    points = np.stack([x, amplitude * np.sin(x + phase)])
    return points[:, : settings.shots], points[:, settings.shots :]
