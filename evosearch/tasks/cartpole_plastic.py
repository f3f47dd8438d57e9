"""A pole to balance from random weights, on bodies that the rule does not know."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from pydantic import Field

from evosearch.engine.program import Level, Terminal
from evosearch.outcome import FloatArray
from evosearch.rules.genes import Gene
from evosearch.tasks.base import TASKS
from evosearch.tasks.plastic_control import (
    QUARTER,
    Bodies,
    Body,
    Length,
    Plant,
    PlasticControlSettings,
    PlasticControlTask,
    all_genes,
)

if TYPE_CHECKING:
    from evosearch.engine.lifetime import Buffer, LifetimeBuilder

_GRAVITY, _FORCE, _TAU, _CART_MASS = 9.8, 10.0, 0.02, 1.0
_X_LIMIT, _ANGLE_LIMIT = 2.4, 12 * 2 * math.pi / 360


class CartpolePlasticSettings(PlasticControlSettings):
    """Settings of ``cartpole_plastic``."""

    bodies: Bodies = Field(
        ((0.5, 0.1, 1.0), (0.5, 0.1, -1.0)),
        min_length=1,
        description="half length (m) and mass (kg) of the pole, factor of the force; one condition",
    )
    pole_length: Length | None = Field(
        None, description="half length (m) of every body's pole, in place of its own"
    )


class _Cart(Plant):
    """A cart that is pushed by 10 N to either side, with a pole on it.

    The order of operations is that of Gymnasium's CartPole-v1.
    """

    state = seen = ("x", "x_dot", "angle", "angle_dot")
    scales = (1 / 2.4, 1 / 2.0, 1 / 0.2, 1 / 2.0)
    genes = (
        Gene("noise", 0.0, 2.0, 0.2, "standard deviation of what is added to W x"),
        Gene("rate", -5.0, 5.0, 1.0, "weight of the angular speed in u"),
        Gene("place", -2.0, 2.0, 0.0, "weight of the position in u"),
        Gene("drift", -2.0, 2.0, 0.0, "weight of the speed in u"),
    )
    event = "falls"

    def __init__(self, b: LifetimeBuilder, body: Body) -> None:
        super().__init__(b, body)
        self.angle_acc, self.acc = b.scalar("angle_acc"), b.scalar("acc")

    @staticmethod
    def draw_starts(rng: np.random.Generator, n: int) -> FloatArray:
        """Draw all four numbers from [-0.05, 0.05)."""
        return rng.uniform(-0.05, 0.05, (n, 4))

    def features(self) -> Sequence[Buffer]:
        """Return the state, which is seen whole."""
        return self.at

    def move(self) -> None:
        """Advance by one Euler step of 0.02 s."""
        b, (x, v, a, d) = self.b, self.at
        length, mass, actuator = self.body
        total, moment = _CART_MASS + mass, mass * length
        cosine = f"sin(a + {QUARTER})"
        b.map(self.acc, f"(u*{_FORCE * actuator!r} + {moment!r}*square(d)*sin(a))/{total!r}",
              u=self.push, d=d, a=a)  # fmt: skip
        b.map(self.angle_acc, f"({_GRAVITY!r}*sin(a) - {cosine}*t)/"
              f"({length!r}*({4 / 3!r} - {mass!r}*square({cosine})/{total!r}))",
              a=a, t=self.acc)  # fmt: skip
        b.map(self.acc, f"w - {moment!r}*g*{cosine}/{total!r}", g=self.angle_acc, a=a)
        for place, speed, acc in ((x, v, self.acc), (a, d, self.angle_acc)):
            b.map(place, f"w + {_TAU!r}*s", s=speed)
            b.map(speed, f"w + {_TAU!r}*c", c=acc)

    def write_cost(self, target: Buffer) -> None:
        """Write u^2, how far the pole is from balance."""
        x, v, a, d = self.at
        rate, place, drift = self.critic
        p, q, r, s = (repr(scale) for scale in self.scales)
        self.b.map(
            target, f"square({r}*a + k*({s}*d) + m*({p}*x) + n*({q}*v))",
            a=a, k=rate, d=d, m=place, x=x, n=drift, v=v,
        )  # fmt: skip

    def end(self) -> None:
        """Emit whether the pole has fallen or the cart left its track."""
        x, _, a, _ = self.at
        self.b.map(
            self.over,
            f"max(max(0, sign(abs(x) - {_X_LIMIT})), max(0, sign(abs(a) - {_ANGLE_LIMIT!r})))",
            x=x, a=a,
        )  # fmt: skip


@TASKS.register("cartpole_plastic")
class CartpolePlasticTask(PlasticControlTask):
    """One linear unit learns to balance a pole within its life.

    The unit sees position, speed, angle and angular speed, scaled to order 1, and pushes by
    sign(W x + noise). ``mod`` is the decrease of u^2, u = angle + rate angle_dot + place x +
    drift x_dot (of scaled values). In practice a pole that falls is set upright again; fitness is
    the length of the last episode, averaged over the bodies, and ``falls`` counts those of
    practice. Lives are those of :class:`PlasticControlTask`.

    Sources: E. Najarro, S. Risi, "Meta-learning through Hebbian plasticity in random networks",
    NeurIPS 2020 (random weights, changed bodies); A. Barto, R. Sutton, C. Anderson, "Neuronlike
    Adaptive Elements That Can Solve Difficult Learning Control Problems", 1983; equations as in
    Gymnasium's CartPole-v1.
    """

    Settings = CartpolePlasticSettings
    plant = _Cart
    genes = all_genes(_Cart)
    terminals = (
        Terminal("w", Level.SYNAPSE, "weight", low=-5.0, high=5.0),
        Terminal("pre", Level.PRE, "what was seen, scaled", low=-1.0, high=1.0),
        Terminal("post", Level.POST, "push, -1 or 1", low=-1.0, high=1.0),
        Terminal("mod", Level.NETWORK, "decrease of u^2 by the push", low=-0.5, high=0.5),
    )

    def bodies(self) -> Bodies:
        """Return the bodies, all with the one length where it is given."""
        settings = self.settings
        assert isinstance(settings, CartpolePlasticSettings), "settings of this task"
        length = settings.pole_length
        if length is None:
            return settings.bodies
        return tuple((length, mass, force) for _, mass, force in settings.bodies)
