"""A pole to balance from random weights, on bodies that the rule does not know."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import numpy as np
from pydantic import Field

from evosearch.engine.program import Level, Terminal
from evosearch.outcome import FloatArray
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
    graded,
    one_row,
    over_conditions,
)

if TYPE_CHECKING:
    from evosearch.engine.lifetime import Buffer, Lifetime, LifetimeBuilder, Row, Table
    from evosearch.engine.run import LifeResult

_GRAVITY, _FORCE, _TAU, _CART_MASS = 9.8, 10.0, 0.02, 1.0
_X_LIMIT, _ANGLE_LIMIT = 2.4, 12 * 2 * math.pi / 360
_SCALES = (1 / 2.4, 1 / 2.0, 1 / 0.2, 1 / 2.0)
_W0_SD = 0.1
_STATE = ("x", "x_dot", "angle", "angle_dot")
_GENES = (
    Gene("noise", 0.0, 2.0, 0.2, "standard deviation of what is added to W x"),
    Gene("rate", -5.0, 5.0, 1.0, "weight of the angular speed in u"),
    Gene("place", -2.0, 2.0, 0.0, "weight of the position in u"),
    Gene("drift", -2.0, 2.0, 0.0, "weight of the speed in u"),
)
# A constant of rule text; the sine a quarter turn on is the cosine.
_QUARTER = repr(math.pi / 2)

Length = Annotated[float, Field(gt=0.01, le=10.0)]
Mass = Annotated[float, Field(gt=0.001, le=10.0)]
Actuator = Annotated[float, Field(ge=-10.0, le=10.0)]


class CartpolePlasticSettings(TaskSettings):
    """Settings of ``cartpole_plastic``."""

    steps: int = Field(500, ge=10, le=10_000, description="steps of practice, and of the test")
    bodies: tuple[tuple[Length, Mass, Actuator], ...] = Field(
        ((0.5, 0.1, 1.0), (0.5, 0.1, -1.0)),
        min_length=1,
        description="half length (m) and mass (kg) of the pole, factor of the force; one condition",
    )


@TASKS.register("cartpole_plastic")
class CartpolePlasticTask(RuleTask):
    """One linear unit learns to balance a pole within its life.

    The unit sees position, speed, angle and angular speed, scaled to order 1, and pushes by
    sign(W x + noise); weights begin at N(0, 0.1^2) plus what is innate. After each step the rule
    acts, with ``mod`` the decrease of u^2, u = angle + rate angle_dot + place x + drift x_dot (of
    scaled values). A life is ``steps`` steps of practice, in which a pole that falls is set upright
    again, and then one episode of ``steps`` steps with plasticity on; fitness is the length of
    that episode, averaged over the bodies. ``return_K`` among the metrics is that of body K, and
    ``falls`` counts those of practice. A policy of fixed weights is the rule 0 with innate weights.

    Sources: E. Najarro, S. Risi, "Meta-learning through Hebbian plasticity in random networks",
    NeurIPS 2020 (random weights, changed bodies); A. Barto, R. Sutton, C. Anderson, "Neuronlike
    Adaptive Elements That Can Solve Difficult Learning Control Problems", 1983; equations as in
    Gymnasium's CartPole-v1.
    """

    Settings = CartpolePlasticSettings
    terminals = (
        Terminal("w", Level.SYNAPSE, "weight", low=-5.0, high=5.0),
        Terminal("pre", Level.PRE, "what was seen, scaled", low=-1.0, high=1.0),
        Terminal("post", Level.POST, "push, -1 or 1", low=-1.0, high=1.0),
        Terminal("mod", Level.NETWORK, "decrease of u^2 by the push", low=-0.5, high=0.5),
    )
    genes = (
        *_GENES,
        *(Gene(f"innate_{name}", -20.0, 20.0, 0.0, "weight at birth") for name in _STATE),
    )
    worst = 0.0
    settings: CartpolePlasticSettings

    def lifetimes(self, keys: Sequence[Key], split: str) -> list[Lifetime]:
        """Build one condition for each body."""
        return [self._lifetime(keys, body) for body in self.settings.bodies]

    def score(
        self, results: Sequence[LifeResult], lifetimes: Sequence[Lifetime], keys: Sequence[Key]
    ) -> TaskScores:
        """Score the length of the last episode, averaged over the bodies."""
        metrics: dict[str, FloatArray] = {}
        returns: list[FloatArray] = []
        falls: list[FloatArray] = []
        for number, (result, life) in enumerate(zip(results, lifetimes, strict=True)):
            length = graded(result.outputs[:, :, 0], result, life, self.worst)
            metrics[f"return_{number}"] = length.mean(axis=1)
            returns.append(length)
            falls.append(np.where(exploded(result), 0.0, result.outputs[:, :, 1]))
        metrics["falls"] = np.mean(falls, axis=(0, 2))
        return over_conditions(returns, results, metrics)

    def _lifetime(self, keys: Sequence[Key], body: tuple[float, float, float]) -> Lifetime:
        from evosearch.engine.lifetime import LifetimeBuilder

        b, steps = LifetimeBuilder(), self.settings.steps
        cart = _Cart(b, body)
        length, falls, alive = b.scalar("length"), b.scalar("falls"), b.scalar("alive")
        rngs = [draw_rng(key) for key in keys]
        drawn = np.stack([rng.uniform(-0.05, 0.05, (2 * steps, len(_STATE))) for rng in rngs])
        starts = [b.table(drawn[:, :, [k]]) for k in range(len(_STATE))]
        births = one_row([_W0_SD * rng.standard_normal(len(_STATE)) for rng in rngs])
        b.initial(cart.w, b.table(births))
        for number, buffer in enumerate(cart.genes):
            b.inherited(buffer, number)
        b.inherited(cart.innate, len(cart.genes) + np.arange(len(_STATE)))
        b.map(cart.w, "w + v", v=cart.innate)
        b.map(alive, "1")
        with b.repeat(steps) as t:
            cart.step(starts, t)
            b.map(falls, "w + f", f=cart.fallen)
        b.map(cart.fallen, "1")
        with b.repeat(steps) as t:
            cart.step(starts, t + steps)
            b.map(length, "w + a", a=alive)
            b.map(alive, "w*(1 - f)", f=cart.fallen)
        b.output(length)
        b.output(falls)
        return b.build(draw_keys=engine_keys(keys), projection=self.projection, dtype=self.dtype)


class _Cart:
    """Emits the phases of one step: see, push, move, learn; a fallen pole is set up first.

    The order of operations is that of Gymnasium's CartPole-v1.
    """

    def __init__(self, b: LifetimeBuilder, body: tuple[float, float, float]) -> None:
        self.b, self.body, n = b, body, len(_STATE)
        self.w, self.innate = b.matrix("w", 1, n), b.matrix("innate", 1, n)
        self.noise, *self.critic = self.genes = [b.scalar(gene.name) for gene in _GENES]
        self.state = [b.scalar(name) for name in _STATE]
        self.seen, self.field = b.vector("seen", n), b.vector("field", 1)
        self.push, self.draw, self.start = b.scalar("push"), b.scalar("draw"), b.scalar("start")
        self.angle_acc, self.acc = b.scalar("angle_acc"), b.scalar("acc")
        self.cost, self.mod, self.fallen = b.scalar("cost"), b.scalar("mod"), b.scalar("fallen")
        # The scaled unit vectors that put four numbers into one vector.
        self.axes = [b.vector(f"axis_{name}", n) for name in _STATE]
        for axis, row in zip(self.axes, np.diag(_SCALES), strict=True):
            b.initial(axis, b.table(row[None], shared=True))
        b.map(self.fallen, "1")

    def step(self, starts: Sequence[Table], row: Row) -> None:
        """Emit one step; a pole that fell before begins at ``row`` of the starts."""
        b, (x, v, a, d) = self.b, self.state
        for part, table in zip(self.state, starts, strict=True):
            b.load(self.start, table, row=row)
            b.map(part, "w + f*(s - w)", f=self.fallen, s=self.start)
        ax, av, aa, ad = self.axes
        b.map(self.seen, "x*p + v*q + a*r + d*s", x=x, p=ax, v=v, q=av, a=a, r=aa, d=d, s=ad)
        self._cost(self.cost)
        b.matvec(self.field, self.w, self.seen)
        b.random(self.draw, "normal")
        b.map(self.push, "sign(sign(f + n*r) + 0.5)", f=self.field, n=self.noise, r=self.draw)
        self._move()
        self._cost(self.mod)
        b.map(self.mod, "c - w", c=self.cost)
        b.rule(w=self.w, pre=self.seen, post=self.push, mod=self.mod)
        b.map(
            self.fallen,
            f"max(max(0, sign(abs(x) - {_X_LIMIT})), max(0, sign(abs(a) - {_ANGLE_LIMIT!r})))",
            x=x, a=a,
        )  # fmt: skip

    def _move(self) -> None:
        """Advance by one Euler step of 0.02 s."""
        b, (x, v, a, d) = self.b, self.state
        length, mass, actuator = self.body
        total, moment = _CART_MASS + mass, mass * length
        cosine = f"sin(a + {_QUARTER})"
        b.map(self.acc, f"(u*{_FORCE * actuator!r} + {moment!r}*square(d)*sin(a))/{total!r}",
              u=self.push, d=d, a=a)  # fmt: skip
        b.map(self.angle_acc, f"({_GRAVITY!r}*sin(a) - {cosine}*t)/"
              f"({length!r}*({4 / 3!r} - {mass!r}*square({cosine})/{total!r}))",
              a=a, t=self.acc)  # fmt: skip
        b.map(self.acc, f"w - {moment!r}*g*{cosine}/{total!r}", g=self.angle_acc, a=a)
        for place, speed, acc in ((x, v, self.acc), (a, d, self.angle_acc)):
            b.map(place, f"w + {_TAU!r}*s", s=speed)
            b.map(speed, f"w + {_TAU!r}*c", c=acc)

    def _cost(self, target: Buffer) -> None:
        """Write u^2, how far the pole is from balance in the critic's eyes."""
        x, v, a, d = self.state
        rate, place, drift = self.critic
        p, q, r, s = (repr(scale) for scale in _SCALES)
        self.b.map(
            target, f"square({r}*a + k*({s}*d) + m*({p}*x) + n*({q}*v))",
            a=a, k=rate, d=d, m=place, x=x, n=drift, v=v,
        )  # fmt: skip
