"""Few-shot tasks of a deep network whose errors come back through fixed random matrices."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Annotated, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from evosearch.circuits.life import held_out
from evosearch.circuits.scene import declare
from evosearch.engine.program import Level, Terminal
from evosearch.errors import InputError
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
    from evosearch.data import Examples
    from evosearch.engine.lifetime import Buffer, Lifetime, LifetimeBuilder, Projection, RowLike
    from evosearch.engine.run import LifeResult

SHARPNESS = 10.0
"""Of the units: softplus(10 u) / 10."""

ClassNumber: TypeAlias = Annotated[int, Field(ge=0, le=9_999)]
Matrices: TypeAlias = tuple[NDArray[np.float64], ...]


class DeepRandomFeedbackSettings(TaskSettings):
    """Settings of ``deep_random_feedback``."""

    data: str = Field("digits", description="name of a data set, as of classification")
    hidden: tuple[Annotated[int, Field(ge=1, le=10_000)], ...] = Field(
        (85, 65, 50, 35), description="softplus units of each hidden layer"
    )
    classes: tuple[ClassNumber, ...] = Field(
        tuple(range(10)), description="classes that tasks are drawn from"
    )
    always: tuple[ClassNumber, ...] = Field((), description="classes that every task has beside")
    ways: int = Field(5, ge=2, le=10_000, description="classes of a task, always among them")
    shots: int = Field(50, ge=1, le=100_000, description="examples of each class, shown once")
    queries: int = Field(
        10, ge=1, le=100_000, description="examples of each class asked at the end"
    )
    signal: Literal["random", "weights"] = Field(
        "random", description="what errors come down through: fixed random matrices, or the weights"
    )

    @model_validator(mode="after")
    def _classes_suffice(self) -> DeepRandomFeedbackSettings:
        named = (*self.classes, *self.always)
        if len(set(named)) != len(named):
            raise ValueError(f"classes and always name {sorted(named)}; each class once at most")
        if not len(self.always) <= self.ways <= len(named):
            raise ValueError(
                f"ways is {self.ways}; tasks take all {len(self.always)} classes of always and "
                f"choose the others among {len(self.classes)}"
            )
        return self


@TASKS.register("deep_random_feedback")
class DeepRandomFeedbackTask(RuleTask):
    """One rule in all layers of a deep network, which must learn a few-shot task online.

    Units are softplus(10 u) / 10, the top is a softmax over all classes of the data; no biases. A
    draw is one task: its classes, the examples, their order, initial weights and feedback. Each
    example is shown once and the rule acts after it; errors start as target minus probability and
    come down layer by layer, through the transpose of fixed random matrices, times the slope of
    the unit, as far as the inputs. Weights and feedback are uniform within
    sqrt(6 / (n_in + n_out)). Fitness is the share of queries whose class has the greatest output
    of all, in [0, 1]. On the splits ``search`` and ``validation`` networks learn from the training
    part of the data and are asked about the validation part; on all others they learn from both,
    and are asked about the test part.

    Source: N. Shervani-Tabar, R. Rosenbaum, "Meta-learning biologically plausible plasticity rules
    with random feedback pathways", Nature Communications 14, 2023; its data set is another.
    """

    Settings = DeepRandomFeedbackSettings
    terminals = (
        Terminal("w", Level.SYNAPSE, "weight", low=-1.0, high=1.0),
        Terminal("pre", Level.PRE, "activity of the lower unit", low=0.0, high=2.0),
        Terminal("post", Level.POST, "activity of the upper unit; on top its probability",
                 low=0.0, high=2.0),
        Terminal("error", Level.POST, "error that came down to the upper unit, in the direction "
                 "that improves", low=-1.0, high=1.0),
        Terminal("error_pre", Level.PRE, "what became of it at the lower unit", low=-1.0, high=1.0),
        Terminal("local", Level.PRE, "sum over the upper units of post * w", low=-2.0, high=2.0),
    )  # fmt: skip
    worst = 0.0
    settings: DeepRandomFeedbackSettings

    def lifetimes(self, keys: Sequence[Key], split: str) -> list[Lifetime]:
        """Build the one condition."""
        return [build_life(self.settings, keys, split, self.projection, self.dtype)]

    def score(
        self, results: Sequence[LifeResult], lifetimes: Sequence[Lifetime], keys: Sequence[Key]
    ) -> TaskScores:
        """Score the share of right answers."""
        (result,), (life,) = results, lifetimes
        share = finite_outputs(result)[:, :, 0] / (self.settings.ways * self.settings.queries)
        return TaskScores(graded(share, result, life, self.worst), exploded(result), {})


@dataclass(frozen=True)
class Episode:
    """What one draw decides.

    Attributes:
        classes: (ways,) class numbers.
        shown: (ways * shots,) rows of the part that is learned from, in their order.
        asked: (ways * queries,) rows of the part that is asked about.
        weights: (n_out, n_in) of each layer at birth, from the bottom.
        feedback: of the same shapes.
    """

    classes: NDArray[np.int64]
    shown: NDArray[np.int64]
    asked: NDArray[np.int64]
    weights: Matrices
    feedback: Matrices


def draw_episode(
    key: Key,
    s: DeepRandomFeedbackSettings,
    sizes: Sequence[int],
    labels: tuple[NDArray[np.int64], NDArray[np.int64]],
) -> Episode:
    """Draw one task and network; networks of other depths meet the same tasks.

    Args:
        key: of the draw.
        s: which classes, and how many examples.
        sizes: units of each layer, inputs first.
        labels: of the part that is learned from, and of the part that is asked about.

    Raises:
        InputError: a class has too few examples.
    """
    rng = draw_rng(key, 0)
    others = rng.choice(np.array(s.classes, np.int64), s.ways - len(s.always), replace=False)
    classes = np.concatenate([np.array(s.always, np.int64), others])
    shown = _choose(rng, labels[0], classes, s.shots, "shots")
    asked = _choose(rng, labels[1], classes, s.queries, "queries")
    weights, feedback = (_xavier(draw_rng(key, stream), sizes) for stream in (1, 2))
    return Episode(classes, rng.permutation(shown), asked, weights, feedback)


def _choose(
    rng: np.random.Generator,
    labels: NDArray[np.int64],
    classes: NDArray[np.int64],
    n: int,
    name: str,
) -> NDArray[np.int64]:
    """Return n rows of each class, none twice."""
    rows = [np.flatnonzero(labels == number) for number in classes]
    fewest = min(len(row) for row in rows)
    if n > fewest:
        raise InputError(f"{name} is {n}; a class of the task has {fewest} examples.")
    return np.concatenate([rng.choice(row, n, replace=False) for row in rows])


def _xavier(rng: np.random.Generator, sizes: Sequence[int]) -> Matrices:
    limits = [np.sqrt(6.0 / (n_in + n_out)) for n_in, n_out in pairwise(sizes)]
    return tuple(
        rng.uniform(-limit, limit, (n_out, n_in))
        for limit, (n_in, n_out) in zip(limits, pairwise(sizes), strict=True)
    )


def build_life(
    s: DeepRandomFeedbackSettings,
    keys: Sequence[Key],
    split: str,
    projection: Projection | None = None,
    dtype: str = "float32",
    *,
    is_kept: bool = False,
) -> Lifetime:
    """Build the life of one network a draw; it reports how many answers are right.

    Args:
        s: the task's settings.
        keys: one a draw.
        split: decides the parts of the data.
        projection: what keeps weights within limits.
        dtype: float32 or float64.
        is_kept: whether the weights at the end are reported as well, layer by layer.

    Raises:
        InputError: the data have not the classes or the examples.
    """
    from evosearch.data import load_data
    from evosearch.engine.lifetime import LifetimeBuilder

    data = load_data(s.data)
    highest = max((*s.classes, *s.always))
    if highest >= data.n_classes:
        raise InputError(
            f"class {highest} is asked for; data {s.data!r} have classes 0 to {data.n_classes - 1}."
        )
    parts = held_out(data, "search" if split in ("search", "validation") else "test")
    sizes = (data.n_inputs, *s.hidden, data.n_classes)
    labels = parts[0].labels, parts[1].labels
    episodes = [draw_episode(key, s, sizes, labels) for key in keys]
    b = LifetimeBuilder()
    network = _Network(b, sizes, episodes, s.signal)
    _learn(b, network, parts[0], episodes)
    b.output(_count_right(b, network, parts[1], episodes))
    for matrix in network.weights if is_kept else ():
        b.output(matrix)
    return b.build(projection=projection, dtype=dtype, draw_keys=engine_keys(keys))


class _Network:
    """Buffers of one network, and what emits its passes.

    Args:
        b: where buffers and phases go.
        sizes: units of each layer, inputs first.
        episodes: one a draw.
        signal: what errors come down through.
    """

    def __init__(
        self, b: LifetimeBuilder, sizes: Sequence[int], episodes: Sequence[Episode], signal: str
    ) -> None:
        self._b = b
        self.posts = [b.vector(f"post {k}", n) for k, n in enumerate(sizes)]
        self.target = b.vector("target", sizes[-1])
        self._errors = [b.vector(f"error {k}", n) for k, n in enumerate(sizes)]
        self._locals = [b.vector(f"local {k}", n) for k, n in enumerate(sizes[:-1])]
        self._figure = b.scalar("figure of the softmax")
        self.weights = _born(b, "weights", [episode.weights for episode in episodes])
        self._ways_down = self.weights
        if signal == "random":
            self._ways_down = _born(b, "feedback", [episode.feedback for episode in episodes])

    def forward(self) -> None:
        """Emit a pass of the inputs up to the logits."""
        for k, matrix in enumerate(self.weights):
            total = self.posts[k + 1]
            self._b.matvec(total, matrix, self.posts[k])
            if k < len(self.weights) - 1:
                self._b.map(total, f"{1 / SHARPNESS}*softplus({SHARPNESS}*u)", u=total)

    def softmax(self) -> None:
        """Emit what turns logits into probabilities."""
        b, top, figure = self._b, self.posts[-1], self._figure
        b.reduce(figure, "max", top)
        b.map(top, "exp(u - m)", u=top, m=figure)
        b.reduce(figure, "sum", top)
        b.map(top, "u/s", u=top, s=figure)

    def send_down(self) -> None:
        """Emit the errors of all units, the inputs too."""
        b, errors, posts = self._b, self._errors, self.posts
        b.map(errors[-1], "t - p", t=self.target, p=posts[-1])
        for k in reversed(range(len(self.weights))):
            b.matvec_t(errors[k], self._ways_down[k], errors[k + 1])
            b.map(errors[k], f"e*(1 - exp({-SHARPNESS}*y))", e=errors[k], y=posts[k])

    def learn(self) -> None:
        """Emit the rule in every layer."""
        for k, matrix in enumerate(self.weights):
            self._b.matvec_t(self._locals[k], matrix, self.posts[k + 1])
            self._b.rule(w=matrix, pre=self.posts[k], post=self.posts[k + 1],
                         error=self._errors[k + 1], error_pre=self._errors[k],
                         local=self._locals[k])  # fmt: skip


def _born(b: LifetimeBuilder, name: str, draws: Sequence[Matrices]) -> list[Buffer]:
    """Declare matrices of all layers and what they are at birth."""
    return [declare(b, f"{name} {k}", values) for k, values in enumerate(zip(*draws, strict=True))]


def _learn(
    b: LifetimeBuilder, network: _Network, part: Examples, episodes: Sequence[Episode]
) -> None:
    """Emit one pass over the examples shown, the rule after each."""
    load = _Loader(b, network, part, [episode.shown for episode in episodes])
    with b.repeat(load.count) as step:
        load(step)
        network.forward()
        network.softmax()
        network.send_down()
        network.learn()


def _count_right(
    b: LifetimeBuilder, network: _Network, part: Examples, episodes: Sequence[Episode]
) -> Buffer:
    """Emit the queries; return the number of those whose class has the greatest output."""
    load = _Loader(b, network, part, [episode.asked for episode in episodes])
    answer = b.vector("answer", network.target.size)
    is_right, n_right = b.scalar("is right"), b.scalar("right answers")
    with b.repeat(load.count) as query:
        load(query)
        network.forward()
        b.argmax(answer, network.posts[-1])
        b.map(answer, "a*t", a=answer, t=network.target)
        b.reduce(is_right, "sum", answer)
        b.map(n_right, "n + r", n=n_right, r=is_right)
    return n_right


class _Loader:
    """Loads examples of one part into inputs and target, chosen by row numbers a draw."""

    def __init__(
        self,
        b: LifetimeBuilder,
        network: _Network,
        part: Examples,
        rows: Sequence[NDArray[np.int64]],
    ) -> None:
        self._b, self._network, self.count = b, network, len(rows[0])
        self._inputs = b.table(part.inputs, shared=True)
        self._targets = b.table(np.eye(network.target.size)[part.labels], shared=True)
        self._rows = b.index(np.stack(rows))

    def __call__(self, row: RowLike) -> None:
        self._b.load(self._network.posts[0], self._inputs, row=row, via=self._rows)
        self._b.load(self._network.target, self._targets, row=row, via=self._rows)
