"""Bengio's task: one rule trains both layers of a small network on Boolean functions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from evosearch.circuits.scene import declare
from evosearch.engine.program import Level, Terminal
from evosearch.outcome import FloatArray
from evosearch.tasks.base import (
    TASKS,
    Key,
    RuleTask,
    TaskScores,
    TaskSettings,
    draw_rng,
    engine_keys,
    exploded,
    finite_outputs,
    graded,
)

if TYPE_CHECKING:
    from evosearch.engine.lifetime import Buffer, Lifetime, LifetimeBuilder
    from evosearch.engine.run import LifeResult

TOLERANCE, W0, FEEDBACK_LIMIT = 0.2, 0.5, 1.0

FunctionName = Literal["xor", "xnor", "parity3", "parity4", "and_xor", "or_xor", "encoder"]


@dataclass(frozen=True)
class BooleanFunction:
    """What a network must learn.

    Attributes:
        hidden: hidden units.
        inputs: (patterns, n_in), each 0 or 1.
        targets: (patterns, n_out), each 0 or 1.
        share: of the epochs of a lifetime that it gets.
    """

    hidden: int
    inputs: NDArray[np.float64]
    targets: NDArray[np.float64]
    share: float = 1.0

    def epochs(self, most: int) -> int:
        """Return its limit of epochs where others have ``most``."""
        return max(1, round(self.share * most))


def _of_bits(n: int, hidden: int, output: Callable[..., NDArray[np.int64]]) -> BooleanFunction:
    """Tabulate a function of n bits, whose columns ``output`` receives."""
    bits = np.arange(2**n)[:, None] >> np.arange(n)[::-1] & 1
    targets = output(*bits.T)[:, None].astype(float)
    return BooleanFunction(hidden, bits.astype(float), targets)


FUNCTIONS: dict[str, BooleanFunction] = {
    "xor": _of_bits(2, 3, lambda a, b: a ^ b),
    "xnor": _of_bits(2, 3, lambda a, b: 1 - (a ^ b)),
    "parity3": _of_bits(3, 6, lambda a, b, c: a ^ b ^ c),
    "parity4": _of_bits(4, 8, lambda a, b, c, d: a ^ b ^ c ^ d),
    "and_xor": _of_bits(3, 6, lambda a, b, c: (a ^ b) & c),
    "or_xor": _of_bits(3, 6, lambda a, b, c: (a ^ b) | c),
    "encoder": BooleanFunction(3, np.eye(8), np.eye(8), share=2 / 3),
}


class XorParitySettings(TaskSettings):
    """Settings of ``xor_parity``."""

    functions: tuple[FunctionName, ...] = Field(
        ("xor",), min_length=1, description="what networks learn, one condition each"
    )
    signal: Literal["delta", "error", "random"] = Field(
        "delta",
        description="what hidden units hear: the output's error times its slope through the "
        "weights, its error through the weights, or its error through a random matrix",
    )
    epochs: int = Field(600, ge=1, le=100_000, description="limit; two thirds for the encoder")


@TASKS.register("xor_parity")
class XorParityTask(RuleTask):
    """A supervised rule for all synapses and biases of a small network with one hidden layer.

    Units are logistic. Networks: xor and its opposite xnor 2-3-1, parity3 3-6-1, parity4 4-8-1,
    and_xor and or_xor 3-6-1 (whether exactly one of two bits is 1, and / or the third is), encoder
    8-3-8 (the one input that is 1). The patterns are shown in a random order each epoch, and the
    rule acts after each. ``error`` is target - post at outputs; at hidden units it is what comes
    down: with signal ``delta`` W^T ((target - post) post (1 - post)), with ``error``
    W^T (target - post), with ``random`` B^T (target - post), B from U[-1, 1]. A draw is the initial
    weights and biases, from U[-0.5, 0.5], the orders, and B. A lifetime succeeds at the first epoch
    after which all outputs of all patterns lie within 0.2 of their targets; its fitness is then
    1 - epochs / limit, else -1, averaged over functions. Metrics: ``success_F``, a share, and
    ``epochs_F``, the median of those that succeeded, the limit where none did.

    Sources: S. Bengio, Y. Bengio, J. Cloutier, "Use of genetic programming for the search of a new
    learning rule for neural networks", IEEE Conference on Evolutionary Computation 1994; A. Radi,
    R. Poli, "Discovering efficient learning rules for feedforward neural networks using genetic
    programming", 2002.
    """

    Settings = XorParitySettings
    terminals = (
        Terminal("w", Level.SYNAPSE, "weight; of a bias, the bias", low=-5.0, high=5.0),
        Terminal("pre", Level.PRE, "activity of the pre unit; 1 for a bias", low=0.0, high=1.0),
        Terminal("post", Level.POST, "activity of the post unit", low=0.0, high=1.0),
        Terminal("error", Level.POST, "teaching signal of the post unit", low=-1.0, high=1.0),
        Terminal("top", Level.NETWORK, "1 at synapses of outputs, else 0", low=0.0, high=1.0),
    )
    worst = -1.0
    settings: XorParitySettings

    def lifetimes(self, keys: Sequence[Key], split: str) -> list[Lifetime]:
        """Build one condition a function."""
        from evosearch.engine.lifetime import LifetimeBuilder

        lives: list[Lifetime] = []
        for name in self.settings.functions:
            b = LifetimeBuilder()
            _Course(b, FUNCTIONS[name], self.settings, keys).emit()
            lives.append(
                b.build(projection=self.projection, dtype=self.dtype, draw_keys=engine_keys(keys))
            )
        return lives

    def score(
        self, results: Sequence[LifeResult], lifetimes: Sequence[Lifetime], keys: Sequence[Key]
    ) -> TaskScores:
        """Score how early the networks succeeded."""
        fitness: list[FloatArray] = []
        metrics: dict[str, FloatArray] = {}
        for name, result, life in zip(self.settings.functions, results, lifetimes, strict=True):
            limit = FUNCTIONS[name].epochs(self.settings.epochs)
            outputs = finite_outputs(result)
            is_solved, epochs = outputs[:, :, 0] > 0, outputs[:, :, 1] + 1
            value = np.where(is_solved, 1.0 - epochs / limit, self.worst)
            fitness.append(graded(value, result, life, self.worst))
            metrics[f"success_{name}"] = is_solved.mean(axis=1)
            metrics[f"epochs_{name}"] = _medians(epochs, is_solved, limit)
        has_exploded = np.any([exploded(result) for result in results], axis=0)
        return TaskScores(np.mean(fitness, axis=0), has_exploded, metrics)


def _medians(values: FloatArray, is_counted: NDArray[np.bool_], otherwise: float) -> FloatArray:
    """Return (P,) medians over the draws that count (P, D); ``otherwise`` where none does."""
    return np.array(
        [np.median(row[counts]) if counts.any() else otherwise
         for row, counts in zip(values, is_counted, strict=True)]
    )  # fmt: skip


@dataclass(frozen=True)
class Draw:
    """What one draw decides.

    Attributes:
        weights: hidden (n_hidden, n_in), output (n_out, n_hidden).
        biases: hidden (n_hidden,), output (n_out,).
        order: (epochs * patterns,) which pattern is shown when.
        feedback: (n_out, n_hidden).
    """

    weights: tuple[NDArray[np.float64], NDArray[np.float64]]
    biases: tuple[NDArray[np.float64], NDArray[np.float64]]
    order: NDArray[np.int64]
    feedback: NDArray[np.float64]


def draw_network(key: Key, function: BooleanFunction, epochs: int) -> Draw:
    """Draw initial weights and biases, the orders of the patterns, and random feedback."""
    n_in, n_out, n_hidden = function.inputs.shape[1], function.targets.shape[1], function.hidden
    rng = draw_rng(key, 0)
    weights = (
        rng.uniform(-W0, W0, (n_hidden, n_in)),
        rng.uniform(-W0, W0, (n_out, n_hidden)),
    )
    biases = rng.uniform(-W0, W0, n_hidden), rng.uniform(-W0, W0, n_out)
    feedback = rng.uniform(-FEEDBACK_LIMIT, FEEDBACK_LIMIT, (n_out, n_hidden))
    orders = draw_rng(key, 1)
    shown = [orders.permutation(len(function.inputs)) for _ in range(epochs)]
    return Draw(weights, biases, np.concatenate(shown), feedback)


class _Course:
    """Emits the lifetimes of networks that learn one function."""

    def __init__(
        self,
        b: LifetimeBuilder,
        function: BooleanFunction,
        settings: XorParitySettings,
        keys: Sequence[Key],
    ) -> None:
        self._b, self._function, self._settings = b, function, settings
        self._epochs = function.epochs(settings.epochs)
        self._draws = [draw_network(key, function, self._epochs) for key in keys]
        n_in, n_out = function.inputs.shape[1], function.targets.shape[1]
        sizes = n_in, function.hidden, n_out
        self._posts = [b.vector(f"post {k}", n) for k, n in enumerate(sizes)]
        self._errors = [b.vector(f"error {k}", n) for k, n in enumerate(sizes[1:])]
        self._target, self._sent = b.vector("target", n_out), b.vector("sent down", n_out)
        self._one = b.scalar("one")
        self._tops = b.scalar("not at the top"), self._one
        b.initial(self._one, b.table(np.ones((1, 1)), shared=True))

    @cached_property
    def _weights(self) -> list[Buffer]:
        return [declare(self._b, f"weights {k}", [draw.weights[k] for draw in self._draws])
                for k in range(2)]  # fmt: skip

    @cached_property
    def _biases(self) -> list[Buffer]:
        return [declare(self._b, f"bias {k}", [draw.biases[k][:, None] for draw in self._draws])
                for k in range(2)]  # fmt: skip

    def emit(self) -> None:
        """Emit all epochs: learning from each pattern, then a look at all of them."""
        b, n_patterns = self._b, len(self._function.inputs)
        inputs = b.table(self._function.inputs, shared=True)
        targets = b.table(self._function.targets, shared=True)
        order = b.index(np.stack([draw.order for draw in self._draws]))
        gap = b.vector("greatest gaps", self._target.n_out)
        largest, solved, unsolved = b.scalar("gap"), b.scalar("solved"), b.scalar("epochs before")
        send = self._sender()
        with b.repeat(self._epochs) as epoch:
            with b.repeat(n_patterns) as k:
                b.load(self._posts[0], inputs, row=epoch * n_patterns + k, via=order)
                b.load(self._target, targets, row=epoch * n_patterns + k, via=order)
                self._forward()
                send()
                self._learn()
            b.map(gap, "0")
            with b.repeat(n_patterns) as k:
                b.load(self._posts[0], inputs, row=k)
                b.load(self._target, targets, row=k)
                self._forward()
                b.map(gap, "max(g, abs(t - y))", g=gap, t=self._target, y=self._posts[2])
            b.reduce(largest, "max", gap)
            b.map(solved, f"max(s, sign({TOLERANCE} - g))", s=solved, g=largest)
            b.map(unsolved, "n + 1 - s", n=unsolved, s=solved)
        b.output(solved)
        b.output(unsolved)

    def _forward(self) -> None:
        for k in range(2):
            total = self._posts[k + 1]
            self._b.matvec(total, self._weights[k], self._posts[k])
            self._b.add(total, self._biases[k])
            self._b.map(total, "sigmoid(u)", u=total)

    def _sender(self) -> Callable[[], None]:
        """Return what emits the errors of both layers."""
        b, (hidden, output) = self._b, self._errors
        kind, way = self._settings.signal, self._weights[1]
        if kind == "random":
            way = declare(self._b, "feedback", [draw.feedback for draw in self._draws])

        def send() -> None:
            post = self._posts[2]
            b.map(output, "t - y", t=self._target, y=post)
            b.map(self._sent, "e*(y*(1 - y))" if kind == "delta" else "e", e=output, y=post)
            b.matvec_t(hidden, way, self._sent)

        return send

    def _learn(self) -> None:
        """Emit the rule at weights and biases of both layers."""
        for k in range(2):
            for matrix, pre in ((self._weights[k], self._posts[k]), (self._biases[k], self._one)):
                self._b.rule(w=matrix, pre=pre, post=self._posts[k + 1], error=self._errors[k],
                             top=self._tops[k])  # fmt: skip
