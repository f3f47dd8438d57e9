"""Foraging: what is food in one season is poison in the next."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, field_validator

from evosearch.engine.program import Level, Terminal
from evosearch.rules.genes import Gene
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
    one_row,
)

if TYPE_CHECKING:
    from evosearch.engine.lifetime import Buffer, Lifetime, LifetimeBuilder, Row
    from evosearch.engine.run import LifeResult

LEFT, AHEAD, RIGHT = 0, 1, 2
N_ACTIONS = 3
_GENES = (
    Gene("noise", 0.0, 2.0, 0.1, "standard deviation of what is added to W x"),
    Gene("straight", -5.0, 5.0, 0.0, "drive of the step ahead, whatever is seen; not plastic"),
    Gene("approach", -5.0, 5.0, 0.0, "innate weight from an item seen to the step towards it"),
    Gene("first", -5.0, 5.0, 0.0, "the same for the first colour alone"),
)


class ForagingSettings(TaskSettings):
    """Settings of ``foraging``."""

    size: int = Field(15, ge=3, le=201, description="cells of a side of what is kept; odd")
    items: int = Field(24, ge=2, le=225, description="items among these, as many of each colour")
    colours: int = Field(2, ge=2, le=16, description="colours of items; even, half of them food")
    seasons: int = Field(4, ge=1, le=1000, description="seasons of a life")
    season_steps: int = Field(250, ge=1, le=100_000, description="steps of a season")
    w0_sd: float = Field(0.1, ge=0, le=100, description="standard deviation of weights at birth")

    @field_validator("size")
    @classmethod
    def _is_odd(cls, size: int) -> int:
        if size % 2 == 0:
            raise ValueError(f"{size} is even; an agent in the middle needs an odd number of cells")
        return size

    @field_validator("colours")
    @classmethod
    def _is_even(cls, colours: int) -> int:
        if colours % 2:
            raise ValueError(f"{colours} is odd; half of the colours are food")
        return colours

    @property
    def steps(self) -> int:
        """Steps of a life."""
        return self.seasons * self.season_steps

    @property
    def n_seen(self) -> int:
        """Inputs: each colour to the left, ahead and to the right."""
        return N_ACTIONS * self.colours


@dataclass(frozen=True)
class World:
    """What one life meets, K items; places count from the agent, ahead is up.

    Attributes:
        places: (2, K) columns and rows of the items at birth.
        new: (steps, 3) column and row where an item that is eaten at a step comes back, and by how
            many columns items move that fall behind; to both, ``places_apart`` is added, and what
            leaves to the right or ahead comes in again from the other end.
        values: (seasons, K) 1 for food, -1 for poison.
        w0: (3 * n_seen,) weights at birth, row by row.
    """

    places: NDArray[np.float64]
    new: NDArray[np.float64]
    values: NDArray[np.float64]
    w0: NDArray[np.float64]


def colours_of(settings: ForagingSettings) -> NDArray[np.int64]:
    """Return the colour (K,) of each item."""
    return np.arange(settings.items) % settings.colours


def places_apart(settings: ForagingSettings) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return by how many columns and rows (K,) the new places of items differ."""
    rows, columns = np.divmod(np.arange(settings.items), settings.size)
    return columns, rows


def draw_world(key: Key, settings: ForagingSettings) -> World:
    """Draw places, what is food in the first season, and weights."""
    rng, reach = draw_rng(key), settings.size // 2
    places = rng.integers(-reach, reach + 1, (2, settings.items)).astype(np.float64)
    new = rng.integers(-reach, reach + 1, (settings.steps, 3)).astype(np.float64)
    new[:, 2] += reach
    is_food = rng.permutation(settings.colours) < settings.colours // 2
    first = np.where(is_food, 1.0, -1.0)[colours_of(settings)]
    turns = np.where(np.arange(settings.seasons) % 2, -1.0, 1.0)
    w0 = settings.w0_sd * rng.standard_normal(N_ACTIONS * settings.n_seen)
    return World(places, new, turns[:, None] * first, w0)


@TASKS.register("foraging")
class ForagingTask(RuleTask):
    """A forager that learns which colour is food, and learns anew in each season.

    The agent walks on an endless meadow, of which ``size`` x ``size`` cells around it are kept:
    items that fall behind come back at the far end in other columns. It sees which colours lie in
    the cells to its left, ahead and to its right, and steps into one of the three: argmax(W x +
    noise), where the step ahead has an innate drive. Items there are eaten and grow somewhere else.
    ``mod`` is 1 for each food and -1 for each poison that was eaten; then the rule acts. Half of
    the colours are food, which ones is drawn for each life, and with each season food and poison
    change places. Weights begin at N(0, w0_sd^2) plus what is innate. Fitness is food minus poison
    in 100 steps; the metrics tell them apart.

    Sources: A. Yaman, G. Iacca, D. Mocanu, M. Coler, G. Fletcher, M. Pechenizkiy, "Evolving
    plasticity for autonomous learning under changing environmental conditions", Evolutionary
    Computation 29, 2021 (seasons; there a walled world of 100 x 100 and a hidden layer); A.
    Soltoggio, P. Durr, C. Mattiussi, D. Floreano, "Evolving neuromodulatory topologies for
    reinforcement learning-like problems", CEC 2007.
    """

    Settings = ForagingSettings
    terminals = (
        Terminal("w", Level.SYNAPSE, "weight", low=-4.0, high=4.0),
        Terminal("pre", Level.PRE, "1 for a colour that is seen at a place", low=0.0, high=1.0),
        Terminal("post", Level.POST, "1 for the step taken, else 0", low=0.0, high=1.0),
        Terminal("mod", Level.NETWORK, "food minus poison that was eaten", low=-1.0, high=1.0),
    )
    genes = _GENES
    worst = -100.0
    settings: ForagingSettings

    def lifetimes(self, keys: Sequence[Key], split: str) -> list[Lifetime]:
        """Build the one condition."""
        from evosearch.engine.lifetime import LifetimeBuilder

        s, b = self.settings, LifetimeBuilder()
        forager = _Forager(b, s, [draw_world(key, s) for key in keys])
        with b.repeat(s.seasons) as season:
            forager.turn(season)
            with b.repeat(s.season_steps) as t:
                forager.step(s.season_steps * season + t)
        b.output(forager.food)
        b.output(forager.poison)
        return [b.build(draw_keys=engine_keys(keys), projection=self.projection, dtype=self.dtype)]

    def score(
        self, results: Sequence[LifeResult], lifetimes: Sequence[Lifetime], keys: Sequence[Key]
    ) -> TaskScores:
        """Score food minus poison in 100 steps."""
        (result,), (life,) = results, lifetimes
        share = 100.0 / self.settings.steps
        food, poison = np.moveaxis(share * finite_outputs(result), 2, 0)
        metrics = {"food": food.mean(axis=1), "poison": poison.mean(axis=1)}
        fitness = graded(food - poison, result, life, self.worst)
        return TaskScores(fitness, exploded(result), metrics)


class _Forager:
    """Emits the phases of one step; items are seen from the agent, so that the world turns."""

    def __init__(self, b: LifetimeBuilder, s: ForagingSettings, worlds: Sequence[World]) -> None:
        self.b, self.reach, self.size = b, s.size // 2, s.size
        self.food, self.poison = b.scalar("food"), b.scalar("poison")
        self.mod, self.eaten = b.scalar("mod"), b.scalar("eaten")
        self.x, self.y = b.vector("x", s.items), b.vector("y", s.items)
        self.here, self.old = b.vector("here", s.items), b.vector("old", s.items)
        self.value, self.worth = b.vector("value", s.items), b.vector("worth", s.items)
        self.seen = b.vector("seen", s.n_seen)
        self.found = [b.vector(f"found_{k}", s.n_seen) for k in range(N_ACTIONS)]
        self.field, self.noise_now = b.vector("field", N_ACTIONS), b.vector("draw", N_ACTIONS)
        self.act = b.vector("act", N_ACTIONS)
        self.turns = [b.vector(f"turn_{k}", N_ACTIONS) for k in range(2)]
        self.sideways, self.onward = b.scalar("sideways"), b.scalar("onward")
        self.apart = [b.vector(name, s.items) for name in ("apart_x", "apart_y")]
        self.new = [b.scalar(name) for name in ("new_x", "new_y", "shift")]
        self.noise, self.straight = b.scalar("noise"), b.scalar("straight")
        self._at_birth(s, worlds)
        self.values = b.table(np.stack([world.values for world in worlds]))
        self.places = [b.table(np.stack([world.new[:, [k]] for world in worlds])) for k in range(3)]

    def turn(self, season: Row) -> None:
        """Emit which items are food now."""
        self.b.load(self.value, self.values, row=season)

    def step(self, row: Row) -> None:
        """Emit one step: see, choose, walk, eat, learn."""
        b = self.b
        for new, table in zip(self.new, self.places, strict=True):
            b.load(new, table, row=row)
        self._see()
        b.matvec(self.field, self.w, self.seen)
        b.random(self.noise_now, "normal")
        b.map(self.field, "w + n*r + d*o", n=self.noise, r=self.noise_now, d=self.straight,
              o=self.turns[1])  # fmt: skip
        b.argmax(self.act, self.field)
        self._walk()
        self._eat()
        b.rule(w=self.w, pre=self.seen, post=self.act, mod=self.mod)

    def _at_birth(self, s: ForagingSettings, worlds: Sequence[World]) -> None:
        b, shape = self.b, (N_ACTIONS, s.n_seen)
        self.w = b.matrix("w", *shape)
        b.initial(self.w, b.table(one_row([world.w0 for world in worlds])))
        b.inherited(self.noise, 0)
        b.inherited(self.straight, 1)
        for number, pattern in enumerate(_innate(s), 2):
            gene, where = b.scalar(f"gene_{number}"), b.matrix(f"where_{number}", *shape)
            b.inherited(gene, number)
            b.initial(where, b.table(pattern.reshape(1, -1), shared=True))
            b.map(self.w, "w + g*m", g=gene, m=where)
        for k, buffer in enumerate((self.x, self.y)):
            b.initial(buffer, b.table(one_row([world.places[k] for world in worlds])))
        # Items that lie in one cell come apart when they move to another.
        for apart, steps in zip(self.apart, places_apart(s), strict=True):
            b.initial(apart, b.table(steps[None].astype(np.float64), shared=True))
        self.sensors = [self._sensor(s, side) for side in range(N_ACTIONS)]
        for turn, weights in zip(self.turns, ([1.0, 0.0, -1.0], [0.0, 1.0, 0.0]), strict=True):
            b.initial(turn, b.table(np.array([weights]), shared=True))

    def _sensor(self, s: ForagingSettings, side: int) -> Buffer:
        """Return the matrix from items that lie at one side to the inputs of their colours."""
        matrix = self.b.matrix(f"sensor_{side}", s.n_seen, s.items)
        wires = np.zeros((s.n_seen, s.items))
        wires[s.colours * side + colours_of(s), np.arange(s.items)] = 1.0
        self.b.initial(matrix, self.b.table(wires.reshape(1, -1), shared=True))
        return matrix

    def _see(self) -> None:
        b, x, y = self.b, self.x, self.y
        cells = ("abs(x + 1) + abs(y)", "abs(x) + abs(y - 1)", "abs(x - 1) + abs(y)")
        for cell, sensor, found in zip(cells, self.sensors, self.found, strict=True):
            b.map(self.here, f"1 - min(1, {cell})", x=x, y=y)
            b.matvec(found, sensor, self.here)
        left, ahead, right = self.found
        b.map(self.seen, "min(1, p + q + r)", p=left, q=ahead, r=right)

    def _walk(self) -> None:
        """Turn the world against the agent's turn, move it one cell back, and renew its far end."""
        b, x, y, behind = self.b, self.x, self.y, self.here
        for part, turn in zip((self.sideways, self.onward), self.turns, strict=True):
            b.map(self.field, "a*t", a=self.act, t=turn)
            b.reduce(part, "sum", self.field)
        b.map(self.old, "x", x=x)
        b.map(x, "o*w + s*y", o=self.onward, s=self.sideways, y=y)
        b.map(y, "o*w - s*x - 1", o=self.onward, s=self.sideways, x=self.old)
        b.map(behind, f"max(0, sign(-{self.reach} - y))", y=y)
        b.map(y, f"w + {self.size}*b", b=behind)
        b.map(x, "w + b*(s + c)", b=behind, s=self.new[2], c=self.apart[0])

    def _eat(self) -> None:
        b = self.b
        b.map(self.here, "1 - min(1, abs(x) + abs(y))", x=self.x, y=self.y)
        b.map(self.worth, "h*v", h=self.here, v=self.value)
        b.reduce(self.mod, "sum", self.worth)
        b.reduce(self.eaten, "sum", self.here)
        b.map(self.food, "w + 0.5*(e + m)", e=self.eaten, m=self.mod)
        b.map(self.poison, "w + 0.5*(e - m)", e=self.eaten, m=self.mod)
        far, size = self.reach, self.size
        for place, new, apart in zip((self.x, self.y), self.new[:2], self.apart, strict=True):
            b.map(place, "w + h*(n + c - w)", h=self.here, n=new, c=apart)
            b.map(place, f"w - {size}*(max(0, sign(w - {far})) + max(0, sign(w - {far + size})))")


def _innate(s: ForagingSettings) -> list[NDArray[np.float64]]:
    """Return where the innate weights lie: towards items, and towards the first colour."""
    approach, first = (np.zeros((N_ACTIONS, s.n_seen)) for _ in range(2))
    for side in (LEFT, AHEAD, RIGHT):
        approach[side, s.colours * side : s.colours * (side + 1)] = 1.0
        first[side, s.colours * side] = 1.0
    return [approach, first]
