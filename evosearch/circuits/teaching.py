"""How a network is made and taught in a circuit, phase by phase."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from evosearch.circuits.base import Change, Circuit, Layer, declare
from evosearch.circuits.streams import FEEDBACK, initial_weights, order_of_examples
from evosearch.errors import InputError
from evosearch.tasks.base import Key, draw_rng

if TYPE_CHECKING:
    from evosearch.circuits.normalisers import Normaliser
    from evosearch.data import Examples
    from evosearch.engine.lifetime import Buffer, LifetimeBuilder, RowLike, Table

_MAX_TOGETHER = 64
_LARGEST_LOGIT = 80.0


@dataclass(frozen=True)
class Plan:
    """How a network of one life is made and taught.

    Attributes:
        sizes: units of each layer, inputs first, classes last.
        updates: minibatches shown.
        batch: examples of a minibatch.
        check_every: updates between two measurements of accuracy; ``updates`` for one at the end.
        is_probed: whether the state in the middle of the life is reported, see ``Probe``.
    """

    sizes: tuple[int, ...]
    updates: int
    batch: int = 32
    check_every: int = 11
    is_probed: bool = False

    def __post_init__(self) -> None:
        halves = 2 if self.is_probed else 1
        if self.updates % (self.check_every * halves):
            raise InputError(
                f"updates is {self.updates}; it must be a multiple of {self.check_every * halves}."
            )

    @property
    def checks(self) -> int:
        """How often accuracy is measured."""
        return self.updates // self.check_every


@dataclass(frozen=True)
class _Activities:
    """Buffers of one forward pass of E examples; ``posts`` begins with the inputs."""

    posts: list[Buffer]
    shifts: dict[int, Buffer]
    one: Buffer
    logits: Buffer
    classes: Buffer


class Teaching:
    """Emits the phases of one life, part by part.

    Args:
        b: where buffers and phases go.
        circuit: how errors reach the layers.
        normaliser: what happens to the rule's increments.
        plan: network and teaching.
        keys: one a draw.
    """

    def __init__(
        self,
        b: LifetimeBuilder,
        circuit: Circuit,
        normaliser: Normaliser,
        plan: Plan,
        keys: Sequence[Key],
    ) -> None:
        self._b, self._circuit, self._normaliser, self._plan = b, circuit, normaliser, plan
        self._keys = keys
        self._matrices = self._initial_weights()
        n = plan.sizes[-1]
        self._all = self._constant("all classes", np.ones((n, n)))
        self._row = self._constant("one of all", np.ones((1, n)))
        self._activities = self._declare_activities(plan.batch)
        self._layers = self._declare_layers()
        self._target = b.vector("target", n, examples=plan.batch)
        self._reward = b.vector("mod", 1, examples=plan.batch)
        self._nothing = b.vector("nothing", 1, examples=plan.batch)
        self._before: dict[int, Buffer] = {}
        generators = [draw_rng(key, FEEDBACK) for key in keys]
        self._feedback = circuit.feedback(b, self._layers, generators)

    def emit(self, train: Examples, held: Examples) -> None:
        """Emit the whole life: learning from one part, measured on another."""
        b, plan = self._b, self._plan
        inputs, labels = self._tables(train)
        order = b.index(
            np.stack(
                [order_of_examples(key, len(train), plan.batch, plan.updates) for key in self._keys]
            )
        )
        update = self._updates()
        check = self._checks(held)
        snapshot = self._snapshots() if plan.is_probed else None
        halves = 2 if plan.is_probed else 1
        per_half = plan.checks // halves
        with b.repeat(halves) as half:
            with b.repeat(per_half) as number:
                done = half * per_half + number
                with b.repeat(plan.check_every) as step:
                    row = (done * plan.check_every + step) * plan.batch
                    b.load(self._activities.posts[0], inputs, row=row, via=order)
                    b.load(self._target, labels, row=row, via=order)
                    update()
                check(done)
            if snapshot is not None:
                snapshot(half)

    def _initial_weights(self) -> list[tuple[Buffer, Buffer]]:
        """Declare weights and biases of each layer."""
        sizes = self._plan.sizes
        shapes = [(n_out, n_in) for n_in, n_out in pairwise(sizes)]
        drawn = [initial_weights(key, sizes) for key in self._keys]
        return [
            (
                declare(self._b, f"weights {k}", *shape, [draw[k] for draw in drawn]),
                self._b.matrix("bias", shape[0], 1),
            )
            for k, shape in enumerate(shapes)
        ]

    def _constant(self, name: str, values: NDArray[np.float64]) -> Buffer:
        """Declare a matrix that is the same in all draws and never changes."""
        matrix = self._b.matrix(name, *values.shape)
        self._b.initial(matrix, self._b.table(values.reshape(1, -1), shared=True))
        return matrix

    def _declare_activities(self, examples: int) -> _Activities:
        b, sizes = self._b, self._plan.sizes
        one = b.vector("one", 1, examples=examples)
        b.load(one, b.table(np.ones((1, examples)), shared=True), row=0)

        def units(name: str, n: int) -> Buffer:
            return b.vector(name, n, examples=examples)

        return _Activities(
            [units(f"post {k}", n) for k, n in enumerate(sizes)],
            {n: units("shift", n) for n in sorted(set(sizes[1:]))},
            one,
            units("logits", sizes[-1]),
            units("classes", sizes[-1]),
        )

    def _declare_layers(self) -> list[Layer]:
        b, plan, posts = self._b, self._plan, self._activities.posts
        errors = [b.vector(f"error {k - 1}", n, examples=plan.batch)
                  for k, n in enumerate(plan.sizes)]  # fmt: skip
        return [
            Layer(weights, bias, posts[k], posts[k + 1], errors[k + 1], errors[k])
            for k, (weights, bias) in enumerate(self._matrices)
        ]

    def _tables(self, part: Examples) -> tuple[Table, Table]:
        """Add inputs and one-hot labels."""
        n = self._plan.sizes[-1]
        return (
            self._b.table(part.inputs, shared=True),
            self._b.table(np.eye(n)[part.labels], shared=True),
        )

    def _forward(self, a: _Activities) -> None:
        """Emit a forward pass up to the logits."""
        b, last = self._b, len(self._matrices) - 1
        for k, (weights, bias) in enumerate(self._matrices):
            total = a.logits if k == last else a.posts[k + 1]
            shift = a.shifts[weights.n_out]
            b.matvec(total, weights, a.posts[k])
            b.matvec(shift, bias, a.one)
            b.map(total, "u + v" if k == last else "tanh(u + v)", u=total, v=shift)

    def _softmax(self, a: _Activities) -> None:
        """Emit class probabilities; logits beyond their mean + 80 count as that."""
        b, n, output = self._b, self._plan.sizes[-1], a.posts[-1]
        b.matvec(a.classes, self._all, a.logits)
        b.map(output, f"exp(min({_LARGEST_LOGIT}, u - s/{n}))", u=a.logits, s=a.classes)
        b.matvec(a.classes, self._all, output)
        b.map(output, "u/s", u=output, s=a.classes)

    def _updates(self) -> Callable[[], None]:
        """Declare what updates need, and return what emits one."""
        b, circuit, normaliser, layers = self._b, self._circuit, self._normaliser, self._layers
        trained = circuit.trained(len(layers))
        has_before = normaliser.is_active or circuit.learns_feedback or self._plan.is_probed
        groups = [(k, m) for k in trained for m in self._matrices[k]]
        before = {m.start: b.matrix(f"before {k}", m.n_out, m.n_in) for k, m in groups
                  if has_before}  # fmt: skip
        states = {m.start: normaliser.state(b, m) for _, m in groups}
        self._before = before

        def emit() -> None:
            self._forward(self._activities)
            self._softmax(self._activities)
            self._output_error()
            circuit.send(b, layers, self._feedback)
            for _, matrix in groups if has_before else ():
                b.map(before[matrix.start], "u", u=matrix)
            for k, matrix in groups:
                self._rule(layers[k], matrix)
            for _, matrix in groups if normaliser.is_active else ():
                normaliser.emit(b, Change(before[matrix.start], matrix), states[matrix.start])
            if circuit.learns_feedback:
                changes = [Change(before[layers[k].weights.start], layers[k].weights)
                           for k in trained]  # fmt: skip
                circuit.adapt(b, changes, self._feedback)

        return emit

    def _output_error(self) -> None:
        """Emit the error of the output layer, and the probability of the right class."""
        b, output = self._b, self._layers[-1]
        b.map(output.error, "t*p", t=self._target, p=output.post)
        b.matvec(self._reward, self._row, output.error)
        b.map(output.error, "t - p", t=self._target, p=output.post)

    def _rule(self, layer: Layer, matrix: Buffer) -> None:
        """Emit the rule at the weights of a layer or at its biases."""
        is_bias = matrix is layer.bias
        self._b.rule(
            w=matrix,
            pre=self._activities.one if is_bias else layer.pre,
            post=layer.post,
            error=layer.error,
            error_pre=self._nothing if is_bias else layer.error_pre,
            mod=self._reward,
        )

    def _checks(self, held: Examples) -> Callable[[RowLike], None]:
        """Declare what measuring accuracy needs, and return what emits one measurement."""
        b, n_checks = self._b, self._plan.checks
        together = max(k for k in range(1, _MAX_TOGETHER + 1) if len(held) % k == 0)
        inputs, labels = self._tables(held)
        a = self._declare_activities(together)
        target = b.vector("true class", self._plan.sizes[-1], examples=together)
        places = b.table(np.eye(n_checks), shared=True)
        place, curve = b.vector("place", n_checks), b.vector("curve", n_checks)
        n_right, share = b.vector("right", 1, examples=together), b.scalar("share")
        b.output(curve)

        def emit(number: RowLike) -> None:
            b.load(place, places, row=number)
            with b.repeat(len(held) // together) as part:
                b.load(a.posts[0], inputs, row=part * together)
                b.load(target, labels, row=part * together)
                self._forward(a)
                # Right where no other class has as great a logit: sums with zeros are exact.
                b.map(a.posts[-1], "t*u", t=target, u=a.logits)
                b.matvec(a.classes, self._all, a.posts[-1])
                b.map(a.posts[-1], "1 + min(0, sign(u - s))", u=a.logits, s=a.classes)
                b.matvec(n_right, self._row, a.posts[-1])
                b.map(n_right, "2 - min(2, u)", u=n_right)
                b.reduce(share, "sum", n_right)
                b.map(curve, f"c + p*s/{len(held)}", c=curve, p=place, s=share)

        return emit

    def _snapshots(self) -> Callable[[RowLike], None]:
        """Declare copies of weights, activities and errors, and return what takes them.

        Taken in both halves, of which the second one's count 0.
        """
        b = self._b
        halves = b.table(np.array([[1.0], [0.0]]), shared=True)
        is_first = b.scalar("is first half")
        sources = {f"post {k}": post for k, post in enumerate(self._activities.posts)}
        for k, layer in enumerate(self._layers):
            sources[f"weights {k}"] = self._before.get(layer.weights.start, layer.weights)
            sources[f"error {k}"] = layer.error
        copies = {name: _like(b, name, source) for name, source in sources.items()}
        for copy in copies.values():
            b.output(copy)

        def emit(half: RowLike) -> None:
            b.load(is_first, halves, row=half)
            for name, copy in copies.items():
                b.map(copy, "c + f*u", c=copy, f=is_first, u=sources[name])

        return emit


def _like(b: LifetimeBuilder, name: str, source: Buffer) -> Buffer:
    """Declare a buffer of the same shape."""
    if source.n_in > 1:
        return b.matrix(name, source.n_out, source.n_in)
    return b.vector(name, source.n_out, examples=source.examples)
