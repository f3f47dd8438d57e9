"""What a task is: data and a lifetime for each draw, and a score for how the lifetimes ended.

A task of rules emits lifetimes as phase programs and never loops over time itself; a vector task
scores a block of weight vectors at once; a Python task is any callable of the user's. New tasks are
one file with one class under ``@TASKS.register``.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, TypeAlias

import numpy as np
from numpy.typing import NDArray
from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from evosearch.engine.program import Terminal
from evosearch.outcome import FloatArray
from evosearch.populations import LowRank
from evosearch.registry import Registry

if TYPE_CHECKING:
    from evosearch.engine.lifetime import Lifetime, Projection
    from evosearch.engine.run import LifeResult
    from evosearch.rules.genes import Gene

Key: TypeAlias = tuple[int, ...]

TASKS: Registry[type[RuleTask] | type[VectorTask]] = Registry("task", "evosearch.tasks")


def _rising(pair: tuple[int, int]) -> tuple[int, int]:
    if pair[0] > pair[1]:
        raise ValueError(f"{list(pair)} is no range; its first number must not exceed its second")
    return pair


class TaskSettings(BaseModel):
    """Settings of a task; unknown ones are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


Trial: TypeAlias = Annotated[int, Field(ge=0, le=100_000)]
"""The number of a trial."""
Flips: TypeAlias = tuple[Annotated[tuple[Trial, Trial], AfterValidator(_rising)], ...]
"""Inclusive ranges of trials, one a reversal."""


@dataclass(frozen=True)
class TaskScores:
    """How P rules did on D draws.

    Attributes:
        per_draw: (P, D) fitness, higher is better, finite everywhere.
        exploded: (P, D) whether a lifetime of the draw ended in a non-finite value.
        metrics: further figures, each (P,), means over draws.
    """

    per_draw: FloatArray
    exploded: NDArray[np.bool_]
    metrics: dict[str, FloatArray] = field(default_factory=dict)


class RuleTask(ABC):
    """A compiled task: rules are scored by the lifetimes of networks that they govern.

    Attributes:
        terminals: the catalogue of terminals; a problem chooses some of them.
        worst: the least fitness of a lifetime that stayed finite.
        genes: numbers that a candidate may carry beside its rule; see ``b.inherited``.
    """

    Settings: ClassVar[type[TaskSettings]] = TaskSettings
    terminals: ClassVar[tuple[Terminal, ...]]
    genes: ClassVar[tuple[Gene, ...]] = ()
    worst: float

    def __init__(self, settings: Any, *, dtype: str, projection: Projection) -> None:
        self.settings = settings
        self.dtype = dtype
        self.projection = projection

    @abstractmethod
    def lifetimes(self, keys: Sequence[Key], split: str) -> list[Lifetime]:
        """Build one lifetime a condition; each holds all draws.

        Args:
            keys: entropy of ``np.random.SeedSequence``, one tuple a draw.
            split: what the draws are for; settings already fit the split.
        """

    @abstractmethod
    def score(
        self, results: Sequence[LifeResult], lifetimes: Sequence[Lifetime], keys: Sequence[Key]
    ) -> TaskScores:
        """Turn what the lifetimes put out into fitness; ``results`` is in their order."""


@dataclass(frozen=True)
class Domain:
    """Where the candidates of a vector task lie, and where a search for them begins.

    Attributes:
        x0: (d,) where a search starts; its length is the dimension.
        sigma0: size of its first steps, > 0.
        low: least value of each number, one or (d,); None for no bound.
        high: greatest value of each number, one or (d,); None for no bound.
        shapes: arrays that lie one after the other in a vector, e.g. ``((32, 64), (32,))`` for the
            weights and biases of a layer; empty where it is one plain vector.
        is_listed: whether a run may keep every vector, if they are short enough.
    """

    x0: FloatArray
    sigma0: float = 1.0
    low: float | FloatArray | None = None
    high: float | FloatArray | None = None
    shapes: tuple[tuple[int, ...], ...] = ()
    is_listed: bool = True


@dataclass(frozen=True)
class VectorScores:
    """How n vectors did on D draws.

    Attributes:
        per_draw: (n, D) fitness, higher is better; NaN or infinite where a vector has none.
        metrics: further figures, each (n,), means over draws.
        learned: (n, d) what its lives would add to each vector; None for nothing.
    """

    per_draw: FloatArray
    metrics: dict[str, FloatArray] = field(default_factory=dict)
    learned: FloatArray | None = None


class VectorTask(ABC):
    """A task whose candidates are vectors: the weights of a network, or a point of a function.

    What a vector scores depends on itself and the draw alone: not on the vectors beside it, nor on
    how many there are.

    Attributes:
        baselines: names of vectors to compare with, see ``baseline``.
        largest_block: vectors that ``score`` is given at most at a time.
        is_python: whether it runs Python step by step, and so in processes rather than threads.
        has_devices: whether it also scores on a torch device; ``torch`` is torch on the CPU.
    """

    Settings: ClassVar[type[TaskSettings]] = TaskSettings
    baselines: ClassVar[tuple[str, ...]] = ("start",)
    largest_block: ClassVar[int] = 64
    is_python: ClassVar[bool] = False
    has_devices: ClassVar[bool] = False

    def __init__(self, settings: Any, *, seed: int, device: str = "cpu") -> None:
        self.settings = settings
        self.seed = seed
        self.device = device

    @property
    def passes_on(self) -> bool:
        """Whether what a life learned is inherited, which its scores then hold."""
        return False

    def prepare(self) -> None:  # noqa: B027 most need nothing
        """Load what scoring needs, once, before threads share the task.

        Raises:
            InputError: data or a library are missing; the message says what to do.
        """

    @abstractmethod
    def domain(self) -> Domain:
        """Return where candidates lie; random starts follow the problem's seed."""

    @abstractmethod
    def score(self, points: FloatArray | LowRank, keys: Sequence[Key], split: str) -> VectorScores:
        """Score n vectors on the draws of a split.

        Args:
            points: (n, d), or a population of low rank, which ``dense()`` writes out.
            keys: entropy of ``np.random.SeedSequence``, one tuple a draw.
            split: ``search``, ``validation`` or ``test``: which data they are drawn from.
        """

    def baseline(self, name: str) -> FloatArray:
        """Return a vector (d,) to compare with; ``start`` is where a search begins."""
        assert name == "start", f"{type(self).__name__} has no baseline {name}"
        return self.domain().x0


class PythonTask:
    """A user's task: a callable that scores one candidate on one draw, run in processes.

    Args:
        function: ``function(candidate, rng) -> float`` or a mapping with ``fitness``; a rule is
            handed over as :class:`evosearch.Rule`, a vector as an array.
        settings: keyword arguments for every call, from the problem file.
    """

    def __init__(
        self, function: Callable[..., Any], settings: Mapping[str, Any] | None = None
    ) -> None:
        self.function = function
        self.settings = dict(settings or {})

    def __call__(self, candidate: object, key: Key) -> tuple[float, dict[str, float]]:
        """Return fitness and the other figures that the callable reported."""
        value = self.function(candidate, draw_rng(key), **self.settings)
        if isinstance(value, Mapping):
            figures = {str(name): float(figure) for name, figure in value.items()}
            return figures.pop("fitness"), figures
        return float(value), {}


def draw_rng(key: Key, *stream: int) -> np.random.Generator:
    """Return the generator of a draw; ``stream`` separates independent parts of one draw."""
    return np.random.default_rng(np.random.SeedSequence(key, spawn_key=stream))


def one_row(rows: Sequence[NDArray[np.float64]]) -> NDArray[np.float64]:
    """Stack one row a draw to the (D, 1, n) of a table, e.g. of initial weights."""
    return np.stack(rows)[:, None, :]


def engine_keys(keys: Sequence[Key], *stream: int) -> NDArray[np.uint32]:
    """Return the (D, 2) keys of the random numbers that are drawn inside the lifetimes."""
    rows = [np.random.SeedSequence(key, spawn_key=stream).generate_state(2) for key in keys]
    return np.array(rows, dtype=np.uint32).reshape(-1, 2)


def finite_outputs(result: LifeResult) -> FloatArray:
    """Return the outputs (P, D, n) with zeros for lifetimes that ended in a non-finite value."""
    return np.where(exploded(result)[:, :, None], 0.0, result.outputs)


def exploded(result: LifeResult) -> NDArray[np.bool_]:
    """Return (P, D): whether the lifetime ended in a non-finite value."""
    return result.exploded_at >= 0


def over_conditions(
    fitness: Sequence[FloatArray], results: Sequence[LifeResult], metrics: dict[str, FloatArray]
) -> TaskScores:
    """Average the fitness (P, D) of conditions; a draw exploded where it did in any of them."""
    is_exploded = np.logical_or.reduce([exploded(result) for result in results])
    return TaskScores(np.mean(fitness, axis=0), is_exploded, metrics)


def graded(fitness: FloatArray, result: LifeResult, lifetime: Lifetime, worst: float) -> FloatArray:
    """Replace the fitness of exploded lifetimes by ``worst - (1 - s/T)``, s of T when it ended.

    Args:
        fitness: (P, D) of one condition; values of exploded lifetimes are ignored.
        result: says when each lifetime ended.
        lifetime: says how many times a rule is applied in a whole lifetime.
        worst: the least fitness of a lifetime that stayed finite.
    """
    share = np.maximum(result.exploded_at, 0) / max(1, lifetime.n_rule_applications)
    return np.where(exploded(result), worst - (1.0 - share), fitness)
