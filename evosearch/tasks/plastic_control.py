"""Learn to control a body within one life: what the tasks of control by plasticity share."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, TypeAlias

import numpy as np
from pydantic import Field

from evosearch.outcome import FloatArray
from evosearch.rules.genes import Gene
from evosearch.tasks.base import (
    Key,
    RuleTask,
    TaskScores,
    TaskSettings,
    draw_rng,
    engine_keys,
    exploded,
    graded,
    one_row,
    over_conditions,
)

if TYPE_CHECKING:
    from evosearch.engine.lifetime import Buffer, Lifetime, LifetimeBuilder, Row, Table
    from evosearch.engine.run import LifeResult

_W0_SD = 0.1
QUARTER = repr(np.pi / 2)
"""A constant of rule text; the sine a quarter turn on is the cosine."""

Length = Annotated[float, Field(gt=0.01, le=10.0)]
Mass = Annotated[float, Field(gt=0.001, le=10.0)]
Actuator = Annotated[float, Field(ge=-10.0, le=10.0)]
Body: TypeAlias = tuple[Length, Mass, Actuator]
Bodies: TypeAlias = tuple[Body, ...]


class PlasticControlSettings(TaskSettings):
    """Settings of every task of control by plasticity; a task gives its own bodies."""

    steps: int = Field(500, ge=10, le=10_000, description="steps of a block of practice, of a test")
    blocks: int = Field(1, ge=1, le=100, description="blocks of practice before the test")
    bodies: Bodies = Field(
        ((1.0, 1.0, 1.0), (1.0, 1.0, -1.0)),
        min_length=1,
        description="length (m), mass (kg), factor of the actuator; one condition a body",
    )


class Plant(ABC):
    """Emits the phases of one step of a body: see, act, move, learn; what is over begins anew.

    Attributes:
        state: names of the numbers that move.
        seen: names of the numbers that the unit sees.
        scales: what brings each of them to order 1.
        genes: the critic's, after the standard deviation of noise.
        action: the push that follows from the field f and the noise n r.
        least_reward: the least reward of a step.
        event: what an episode of practice that ends before its time is called; None if none does.
    """

    state: ClassVar[tuple[str, ...]]
    seen: ClassVar[tuple[str, ...]]
    scales: ClassVar[tuple[float, ...]]
    genes: ClassVar[tuple[Gene, ...]]
    action: ClassVar[str] = "sign(sign(f + n*r) + 0.5)"
    least_reward: ClassVar[float] = 0.0
    event: ClassVar[str | None] = None

    def __init__(self, b: LifetimeBuilder, body: Body) -> None:
        self.b, self.body, n = b, body, len(self.seen)
        self.w, self.innate = b.matrix("w", 1, n), b.matrix("innate", 1, n)
        self.noise, *self.critic = self.own = [b.scalar(gene.name) for gene in self.genes]
        self.at = [b.scalar(name) for name in self.state]
        self.view, self.field = b.vector("view", n), b.vector("field", 1)
        self.push, self.draw, self.start = b.scalar("push"), b.scalar("draw"), b.scalar("start")
        self.cost, self.mod, self.over = b.scalar("cost"), b.scalar("mod"), b.scalar("over")
        self.reward = b.scalar("reward")
        # The scaled unit vectors that put the numbers of a view into one vector.
        self.axes = [b.vector(f"axis_{name}", n) for name in self.seen]
        for axis, row in zip(self.axes, np.diag(self.scales), strict=True):
            b.initial(axis, b.table(row[None], shared=True))
        b.map(self.reward, "1")

    def step(self, starts: Sequence[Table], row: Row) -> None:
        """Emit one step; a body whose episode is over begins at ``row`` of the starts."""
        b = self.b
        for part, table in zip(self.at, starts, strict=True):
            b.load(self.start, table, row=row)
            b.map(part, "w + f*(s - w)", f=self.over, s=self.start)
        self._see()
        self.write_cost(self.cost)
        b.matvec(self.field, self.w, self.view)
        b.random(self.draw, "normal")
        b.map(self.push, self.action, f=self.field, n=self.noise, r=self.draw)
        self.move()
        self.write_cost(self.mod)
        b.map(self.mod, "c - w", c=self.cost)
        b.rule(w=self.w, pre=self.view, post=self.push, mod=self.mod)
        self.end()

    @staticmethod
    @abstractmethod
    def draw_starts(rng: np.random.Generator, n: int) -> FloatArray:
        """Draw n states (n, len(state)) in which episodes begin."""

    @abstractmethod
    def features(self) -> Sequence[Buffer]:
        """Emit what computes the numbers that are seen, and return them, unscaled."""

    @abstractmethod
    def move(self) -> None:
        """Emit one step of the body under ``push``."""

    @abstractmethod
    def write_cost(self, target: Buffer) -> None:
        """Emit how far the body is from its aim in the critic's eyes."""

    @abstractmethod
    def end(self) -> None:
        """Emit whether the episode is ``over``, 0 or 1, and what the step earns as ``reward``."""

    def _see(self) -> None:
        values = {f"value_{k}": value for k, value in enumerate(self.features())}
        axes = {f"axis_{k}": axis for k, axis in enumerate(self.axes)}
        terms = " + ".join(f"{value}*{axis}" for value, axis in zip(values, axes, strict=True))
        self.b.map(self.view, terms, **values, **axes)


class PlasticControlTask(RuleTask):
    """One linear unit that learns to control a body by practice, and is then tested.

    Weights begin at N(0, 0.1^2) plus what is innate. The rule acts after each step, with ``mod``
    the decrease of an innate critic's cost in that step. A life is ``blocks`` blocks of practice
    of ``steps`` steps each, in which an episode that is over begins anew, and then one episode of
    at most ``steps`` steps, with plasticity on; fitness is that episode's return, averaged over
    the bodies. ``return_K`` among the metrics is that of body K. A policy of fixed weights is the
    rule 0 with innate weights.

    Attributes:
        plant: the body's dynamics, and what is seen and judged of it.
    """

    plant: ClassVar[type[Plant]]
    settings: PlasticControlSettings

    def __init__(self, settings: Any, **options: Any) -> None:
        super().__init__(settings, **options)
        self.worst = self.plant.least_reward * self.settings.steps

    def lifetimes(self, keys: Sequence[Key], split: str) -> list[Lifetime]:
        """Build one condition for each body."""
        return [self._lifetime(keys, body) for body in self.bodies()]

    def bodies(self) -> Bodies:
        """Return the bodies that are learned, one condition each."""
        return self.settings.bodies

    def score(
        self, results: Sequence[LifeResult], lifetimes: Sequence[Lifetime], keys: Sequence[Key]
    ) -> TaskScores:
        """Score the return of the last episode, averaged over the bodies."""
        metrics: dict[str, FloatArray] = {}
        returns: list[FloatArray] = []
        events: list[FloatArray] = []
        for number, (result, life) in enumerate(zip(results, lifetimes, strict=True)):
            total = graded(result.outputs[:, :, 0], result, life, self.worst)
            metrics[f"return_{number}"] = total.mean(axis=1)
            returns.append(total)
            events.append(np.where(exploded(result), 0.0, result.outputs[:, :, 1]))
        if self.plant.event is not None:
            metrics[self.plant.event] = np.mean(events, axis=(0, 2))
        return over_conditions(returns, results, metrics)

    def _lifetime(self, keys: Sequence[Key], body: Body) -> Lifetime:
        from evosearch.engine.lifetime import LifetimeBuilder

        b, steps, blocks = LifetimeBuilder(), self.settings.steps, self.settings.blocks
        plant = self.plant(b, body)
        total, events, alive = b.scalar("total"), b.scalar("events"), b.scalar("alive")
        starts = self._at_birth(b, plant, keys)
        b.map(alive, "1")
        with b.repeat(blocks) as block:
            b.map(plant.over, "1")
            with b.repeat(steps) as t:
                plant.step(starts, steps * block + t)
                b.map(events, "w + f", f=plant.over)
        b.map(plant.over, "1")
        with b.repeat(steps) as t:
            plant.step(starts, t + blocks * steps)
            b.map(total, "w + a*r", a=alive, r=plant.reward)
            b.map(alive, "w*(1 - f)", f=plant.over)
        b.output(total)
        b.output(events)
        return b.build(draw_keys=engine_keys(keys), projection=self.projection, dtype=self.dtype)

    def _at_birth(self, b: LifetimeBuilder, plant: Plant, keys: Sequence[Key]) -> list[Table]:
        """Emit weights and genes at birth; return the tables of states that episodes begin in."""
        rngs, n = [draw_rng(key) for key in keys], (self.settings.blocks + 1) * self.settings.steps
        drawn = np.stack([plant.draw_starts(rng, n) for rng in rngs])
        births = one_row([_W0_SD * rng.standard_normal(len(plant.seen)) for rng in rngs])
        b.initial(plant.w, b.table(births))
        for number, buffer in enumerate(plant.own):
            b.inherited(buffer, number)
        b.inherited(plant.innate, len(plant.own) + np.arange(len(plant.seen)))
        b.map(plant.w, "w + v", v=plant.innate)
        return [b.table(drawn[:, :, [k]]) for k in range(len(plant.state))]


def all_genes(plant: type[Plant], largest: float = 20.0) -> tuple[Gene, ...]:
    """Return the genes of a body: noise, its critic's, and an innate weight for each thing seen.

    Args:
        plant: the body.
        largest: bound of the innate weights.
    """
    innate = (Gene(f"innate_{name}", -largest, largest, 0.0, "weight at birth")
              for name in plant.seen)  # fmt: skip
    return (*plant.genes, *innate)
