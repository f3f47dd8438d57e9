"""How a network is made and taught in a circuit, phase by phase."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from evosearch.circuits.base import Change, Circuit, Layer, Wiring
from evosearch.circuits.passes import Activities, Passes
from evosearch.circuits.scene import Scene, declare
from evosearch.circuits.streams import FEEDBACK, initial_weights, order_of_examples
from evosearch.errors import InputError
from evosearch.tasks.base import Key, draw_rng

if TYPE_CHECKING:
    from evosearch.circuits.normalisers import Normaliser
    from evosearch.data import Examples
    from evosearch.engine.lifetime import Buffer, LifetimeBuilder, RowLike, Table

_MAX_TOGETHER = 64


@dataclass(frozen=True)
class Plan:
    """How a network of one life is made and taught.

    Attributes:
        sizes: units of each layer, inputs first, classes last.
        updates: minibatches shown.
        batch: examples of a minibatch.
        check_every: updates between two measurements of accuracy; ``updates`` for one at the end.
        is_probed: whether the state in the middle of the life is reported, see ``Probe``.
        is_kept: whether the weights at the end are reported.
    """

    sizes: tuple[int, ...]
    updates: int
    batch: int = 32
    check_every: int = 11
    is_probed: bool = False
    is_kept: bool = False

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
        self._b, self._normaliser, self._plan, self._keys = b, normaliser, plan, keys
        self._trained = circuit.trained(len(plan.sizes) - 1)
        self._passes = Passes(b, self._initial_weights())
        self._scene = self._declare_scene()
        self._nothing = b.vector("nothing", 1, examples=plan.batch)
        self._wiring: Wiring = circuit.wire(self._scene)
        self._before: dict[int, Buffer] = {}

    def emit(self, train: Examples, held: Examples) -> None:
        """Emit the whole life: learning from one part, measured on another."""
        b, plan, scene = self._b, self._plan, self._scene
        inputs, labels = self._tables(train)
        order = b.index(
            np.stack([order_of_examples(key, len(train), plan.batch, plan.updates)
                      for key in self._keys])
        )  # fmt: skip
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
                    b.load(scene.activities.posts[0], inputs, row=row, via=order)
                    b.load(scene.target, labels, row=row, via=order)
                    update()
                check(done)
            if snapshot is not None:
                snapshot(half)
        for pair in self._passes.matrices if plan.is_kept else ():
            for matrix in pair:
                b.output(matrix)

    def _initial_weights(self) -> list[tuple[Buffer, Buffer]]:
        """Declare weights and biases of each layer."""
        sizes = self._plan.sizes
        drawn = [initial_weights(key, sizes) for key in self._keys]
        return [
            (
                declare(self._b, f"weights {k}", [draw[k] for draw in drawn]),
                self._b.matrix(f"bias {k}", n_out, 1),
            )
            for k, n_out in enumerate(sizes[1:])
        ]

    def _declare_scene(self) -> Scene:
        b, plan = self._b, self._plan
        one = b.vector("one", 1, examples=plan.batch)
        b.load(one, b.table(np.ones((1, plan.batch)), shared=True), row=0)
        activities = self._passes.activities(plan.batch)
        return Scene(
            b=b,
            layers=self._declare_layers(activities),
            target=b.vector("target", plan.sizes[-1], examples=plan.batch),
            mod=b.vector("mod", 1, examples=plan.batch),
            one=one,
            passes=self._passes,
            activities=activities,
            generators=tuple(draw_rng(key, FEEDBACK) for key in self._keys),
        )

    def _declare_layers(self, a: Activities) -> tuple[Layer, ...]:
        errors = [self._b.vector(f"error {k - 1}", n, examples=self._plan.batch)
                  for k, n in enumerate(self._plan.sizes)]  # fmt: skip
        return tuple(
            Layer(weights, bias, a.posts[k], a.totals[k], a.posts[k + 1], errors[k + 1], errors[k])
            for k, (weights, bias) in enumerate(self._passes.matrices)
        )

    def _tables(self, part: Examples) -> tuple[Table, Table]:
        """Add inputs and one-hot labels."""
        n = self._plan.sizes[-1]
        return (
            self._b.table(part.inputs, shared=True),
            self._b.table(np.eye(n)[part.labels], shared=True),
        )

    def _updates(self) -> Callable[[], None]:
        """Declare what updates need, and return what emits one."""
        b, wiring, scene = self._b, self._wiring, self._scene
        has_before = self._normaliser.is_active or wiring.adapt is not None or self._plan.is_probed
        groups = [(k, m) for k in self._trained for m in self._passes.matrices[k]]
        before = {m.start: b.matrix(f"before {k}", m.n_out, m.n_in) for k, m in groups
                  if has_before}  # fmt: skip
        states = {m.start: self._normaliser.state(b, m) for _, m in groups}
        self._before = before

        def learn() -> None:
            wiring.send()
            for _, matrix in groups if has_before else ():
                b.map(before[matrix.start], "u", u=matrix)
            for k, matrix in groups:
                self._rule(self._read_layers[k], matrix)
            for _, matrix in groups if self._normaliser.is_active else ():
                self._normaliser.emit(b, Change(before[matrix.start], matrix), states[matrix.start])
            if wiring.adapt is not None:
                wiring.adapt([Change(before[scene.layers[k].weights.start], scene.layers[k].weights)
                              for k in self._trained])  # fmt: skip

        def emit() -> None:
            self._passes.forward(scene.activities)
            self._passes.softmax(scene.activities.posts[-1], scene.activities.totals[-1])
            self._output_error()
            if wiring.begin is not None:
                wiring.begin()
            if wiring.rounds == 1:
                learn()
            else:
                with b.repeat(wiring.rounds):
                    learn()

        return emit

    @property
    def _read_layers(self) -> Sequence[Layer]:
        """What the rule reads at each layer."""
        return self._wiring.layers or self._scene.layers

    def _output_error(self) -> None:
        """Emit the error of the output layer, and the probability of the right class."""
        b, scene, output = self._b, self._scene, self._scene.layers[-1]
        b.map(output.error, "t*p", t=scene.target, p=output.post)
        b.matvec(scene.mod, self._passes.one_row, output.error)
        b.map(output.error, "t - p", t=scene.target, p=output.post)

    def _rule(self, layer: Layer, matrix: Buffer) -> None:
        """Emit the rule at the weights of a layer or at its biases."""
        is_bias = matrix is layer.bias
        self._b.rule(
            w=matrix,
            pre=self._scene.one if is_bias else layer.pre,
            post=layer.post,
            error=layer.error,
            error_pre=self._nothing if is_bias else layer.error_pre,
            mod=self._scene.mod,
        )

    def _checks(self, held: Examples) -> Callable[[RowLike], None]:
        """Declare what measuring accuracy needs, and return what emits one measurement."""
        b, n_checks, passes = self._b, self._plan.checks, self._passes
        together = max(k for k in range(1, _MAX_TOGETHER + 1) if len(held) % k == 0)
        inputs, labels = self._tables(held)
        a, sums = passes.activities(together, "held "), passes.sums(together)
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
                passes.forward(a)
                # Right where no other class has as great a logit: sums with zeros are exact.
                b.map(a.posts[-1], "t*u", t=target, u=a.totals[-1])
                b.matvec(sums, passes.every_class, a.posts[-1])
                b.map(a.posts[-1], "1 + min(0, sign(u - s))", u=a.totals[-1], s=sums)
                b.matvec(n_right, passes.one_row, a.posts[-1])
                b.map(n_right, "2 - min(2, u)", u=n_right)
                b.reduce(share, "sum", n_right)
                b.map(curve, f"c + p*s/{len(held)}", c=curve, p=place, s=share)

        return emit

    def _snapshots(self) -> Callable[[RowLike], None]:
        """Declare copies of weights, activities and errors, and return what takes them.

        Taken in both halves, of which the second one's count 0.
        """
        b, scene = self._b, self._scene
        halves = b.table(np.array([[1.0], [0.0]]), shared=True)
        is_first = b.scalar("is first half")
        sources = {f"post {k}": post for k, post in enumerate(scene.activities.posts)}
        sources["target"] = scene.target
        for k, layer in enumerate(self._read_layers):
            sources[f"probed weights {k}"] = self._before.get(layer.weights.start, layer.weights)
            sources[f"pre {k}"] = layer.pre
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
