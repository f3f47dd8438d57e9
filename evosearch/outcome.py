"""What an evaluation says about candidates; the words that searches and evaluators share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

FloatArray: TypeAlias = NDArray[np.float64]
Json: TypeAlias = "bool | int | float | str | list[Json] | dict[str, Json] | None"

OK = "ok"
STATUSES = (OK, "failed", "timeout", "crashed", "oom", "invalid")


@dataclass(frozen=True)
class Lived:
    """What scoring took.

    Attributes:
        lifetimes: lifetimes lived.
        synapse_updates: weight changes made in them.
        native_updates: of these, by rules that were compiled to machine code.
    """

    lifetimes: int = 0
    synapse_updates: int = 0
    native_updates: int = 0

    def __add__(self, other: Lived) -> Lived:
        return Lived(
            self.lifetimes + other.lifetimes,
            self.synapse_updates + other.synapse_updates,
            self.native_updates + other.native_updates,
        )


@dataclass(frozen=True)
class Evaluation:
    """The scores of n candidates on D draws; higher is better everywhere.

    Attributes:
        fitness: (n,) finite where the status is ok, ``-inf`` elsewhere.
        status: n words of ``STATUSES``.
        size: (n,) nodes of the decoded rule, or parameters of a vector.
        per_draw: (n, D) fitness of each draw, NaN where it did not run; (n, 0) in a run whose
            search does not need it.
        scale: (n,) the factor of the step size at which the candidate scored best.
        exploded: (n,) share of lifetimes that ended in a non-finite value.
        is_cached: (n,) whether the value was known without living a lifetime.
        cost: candidate evaluations that count against the budget.
        lived: what scoring took.
        metrics: further figures of the problem, each (n,).
        learned: (n, d) what its lives would add to each vector, where a task passes that on.
    """

    fitness: FloatArray
    status: tuple[str, ...]
    size: NDArray[np.int64]
    per_draw: FloatArray
    scale: FloatArray
    exploded: FloatArray
    is_cached: NDArray[np.bool_]
    cost: int
    lived: Lived = Lived()
    messages: tuple[str, ...] = ()
    metrics: dict[str, FloatArray] = field(default_factory=dict)
    learned: FloatArray | None = None

    @property
    def lifetimes(self) -> int:
        """Lifetimes lived."""
        return self.lived.lifetimes

    @property
    def synapse_updates(self) -> int:
        """Weight changes made in these lifetimes."""
        return self.lived.synapse_updates

    @property
    def is_ok(self) -> NDArray[np.bool_]:
        """(n,) whether the candidate has a fitness."""
        return np.array([status == OK for status in self.status], dtype=np.bool_)

    def taken(self, rows: Sequence[int]) -> Evaluation:
        """Return what is said about some of the candidates; what all took is left out."""
        index = np.array(rows, dtype=np.int64)
        return Evaluation(
            fitness=self.fitness[index],
            status=tuple(self.status[row] for row in rows),
            size=self.size[index],
            per_draw=self.per_draw[index],
            scale=self.scale[index],
            exploded=self.exploded[index],
            is_cached=self.is_cached[index],
            cost=len(rows),
            messages=tuple(self.messages[row] for row in rows) if self.messages else (),
            metrics={name: values[index] for name, values in self.metrics.items()},
        )


def joined_evaluations(parts: Sequence[Evaluation]) -> Evaluation:
    """Return the evaluations of the blocks of one generation as one, at least one."""
    names = dict.fromkeys(name for part in parts for name in part.metrics)
    return Evaluation(
        fitness=np.concatenate([part.fitness for part in parts]),
        status=tuple(status for part in parts for status in part.status),
        size=np.concatenate([part.size for part in parts]),
        per_draw=np.concatenate([part.per_draw for part in parts]),
        scale=np.concatenate([part.scale for part in parts]),
        exploded=np.concatenate([part.exploded for part in parts]),
        is_cached=np.concatenate([part.is_cached for part in parts]),
        cost=sum(part.cost for part in parts),
        lived=sum((part.lived for part in parts), Lived()),
        messages=tuple(message for part in parts for message in part.messages),
        metrics={
            name: np.concatenate(
                [part.metrics.get(name, np.full(len(part.fitness), np.nan)) for part in parts]
            )
            for name in names
        },
        learned=_stacked([part.learned for part in parts]),
    )


def _stacked(parts: Sequence[FloatArray | None]) -> FloatArray | None:
    """Return (n, d) parts as one; None where one of them lacks it."""
    found = [part for part in parts if part is not None]
    return np.concatenate(found) if len(found) == len(parts) else None


def plain_evaluation(
    fitness: FloatArray,
    dimension: int,
    *,
    lived: Lived = Lived(),
    messages: tuple[str, ...] = (),
    metrics: dict[str, FloatArray] | None = None,
    learned: FloatArray | None = None,
) -> Evaluation:
    """Return the evaluation of n vectors from their fitness (n,), invalid where it is not finite.

    Args:
        fitness: (n,), NaN or infinite where a vector has none.
        dimension: numbers in a vector.
        lived: what scoring took.
        messages: n reasons why a vector has no fitness, empty for the usual one.
        metrics: further figures, each (n,).
        learned: (n, d) what its lives would add to each vector; None for nothing.
    """
    n, is_finite = len(fitness), np.isfinite(fitness)
    values = zip(is_finite.tolist(), fitness.tolist(), strict=True)
    reasons = tuple("" if ok else f"its fitness is {value}" for ok, value in values)
    return Evaluation(
        fitness=np.where(is_finite, fitness, -np.inf),
        status=tuple(OK if ok else "invalid" for ok in is_finite),
        size=np.full(n, dimension, dtype=np.int64),
        per_draw=np.empty((n, 0)),
        scale=np.ones(n),
        exploded=np.zeros(n),
        is_cached=np.zeros(n, dtype=np.bool_),
        cost=n,
        lived=lived,
        messages=messages or reasons,
        metrics=metrics or {},
        learned=learned,
    )
