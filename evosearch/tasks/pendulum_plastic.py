"""A pendulum to swing up and hold from random weights, on bodies that the rule does not know."""

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
    Plant,
    PlasticControlSettings,
    PlasticControlTask,
    all_genes,
)

if TYPE_CHECKING:
    from evosearch.engine.lifetime import Buffer, LifetimeBuilder
    from evosearch.tasks.plastic_control import Body

_GRAVITY, _DT, _TORQUE, _TOP_SPEED = 10.0, 0.05, 2.0, 8.0
_PI, _TURN = repr(math.pi), repr(2 * math.pi)


class PendulumPlasticSettings(PlasticControlSettings):
    """Settings of ``pendulum_plastic``."""

    steps: int = Field(200, ge=10, le=10_000, description="steps of an episode")
    blocks: int = Field(10, ge=1, le=100, description="episodes of practice before the test")


class _Pendulum(Plant):
    """A rod on a joint with a motor of 2 N m, which cannot lift it at once.

    The equations are those of Gymnasium's Pendulum-v1; the angle, 0 upright, is brought back into
    [-pi, pi) after each step.
    """

    state = ("angle", "speed")
    seen = ("sine", "speed", "turning", "double")
    scales = (1.0, 1 / _TOP_SPEED, 1 / _TOP_SPEED, 1.0)
    genes = (
        Gene("noise", 0.0, 2.0, 0.2, "standard deviation of what is added to W x"),
        Gene("kinetic", 0.0, 8.0, 2.0, "weight of the squared speed in the energy"),
        Gene("rate", -5.0, 5.0, 2.0, "weight of the speed in the tilt"),
        Gene("near", 0.0, 10.0, 3.0, "weight of the squared tilt in the upper half"),
    )
    action = "max(-1, min(1, f + n*r))"
    least_reward = -(math.pi**2 + 0.1 * _TOP_SPEED**2 + 0.001 * _TORQUE**2)

    def __init__(self, b: LifetimeBuilder, body: Body) -> None:
        super().__init__(b, body)
        self.parts = [b.scalar(name) for name in ("sine", "cosine", "turning", "double")]

    @staticmethod
    def draw_starts(rng: np.random.Generator, n: int) -> FloatArray:
        """Draw the angle from [-pi, pi) and the speed from [-1, 1)."""
        return rng.uniform([-math.pi, -1.0], [math.pi, 1.0], (n, 2))

    def features(self) -> Sequence[Buffer]:
        """Compute sine, speed, cosine times speed, and sine times cosine."""
        b, (angle, speed), (sine, cosine, turning, double) = self.b, self.at, self.parts
        b.map(sine, "sin(a)", a=angle)
        b.map(cosine, f"sin(a + {QUARTER})", a=angle)
        b.map(turning, "c*v", c=cosine, v=speed)
        b.map(double, "s*c", s=sine, c=cosine)
        return (sine, speed, turning, double)

    def move(self) -> None:
        """Advance by one step of 0.05 s, and count what it costs."""
        b, (angle, speed) = self.b, self.at
        length, mass, actuator = self.body
        b.map(self.reward, f"-(square(a) + 0.1*square(v) + {0.001 * _TORQUE**2!r}*square(u))",
              a=angle, v=speed, u=self.push)  # fmt: skip
        gravity, torque = 3 * _GRAVITY / (2 * length), 3 / (mass * length**2) * actuator * _TORQUE
        b.map(speed, f"max(-{_TOP_SPEED!r}, min({_TOP_SPEED!r}, "
              f"w + ({gravity!r}*sin(a) + {torque!r}*u)*{_DT!r}))",
              a=angle, u=self.push)  # fmt: skip
        b.map(angle, f"w + {_DT!r}*v", v=speed)
        b.map(angle, f"w + {_TURN}*(max(0, sign(-{_PI} - w)) - max(0, sign(w - {_PI})))")

    def write_cost(self, target: Buffer) -> None:
        """Write (energy - its value upright)^2 + near (sine + rate speed)^2 above the joint."""
        (angle, speed), (kinetic, rate, near) = self.at, self.critic
        cosine, scaled = f"sin(a + {QUARTER})", f"({1 / _TOP_SPEED!r}*v)"
        self.b.map(
            target,
            f"square({cosine} - 1 + k*square{scaled})"
            f" + n*max(0, {cosine})*square(sin(a) + r*{scaled})",
            a=angle, v=speed, k=kinetic, r=rate, n=near,
        )  # fmt: skip

    def end(self) -> None:
        """Emit that no episode ends before its time."""
        self.b.map(self.over, "0")


@TASKS.register("pendulum_plastic")
class PendulumPlasticTask(PlasticControlTask):
    """One linear unit learns to swing up a pendulum, and to hold it, within its life.

    The unit sees the sine of the angle, the speed, the speed times the cosine and the sine times
    the cosine, scaled to order 1; its torque is 2 N m times W x + noise, cut to [-1, 1]. ``mod`` is
    the decrease of (E - 1)^2 + near max(0, cos) (sin + rate speed)^2, E = cos + kinetic speed^2 (of
    the scaled speed). Fitness is the return of the last episode, averaged over the bodies: each
    step costs angle^2 + 0.1 speed^2 + 0.001 torque^2. Lives are those of
    :class:`PlasticControlTask`.

    Sources: E. Najarro, S. Risi, "Meta-learning through Hebbian plasticity in random networks",
    NeurIPS 2020 (random weights, changed bodies); equations as in Gymnasium's Pendulum-v1; K.
    Astrom, K. Furuta, "Swinging up a pendulum by energy control", Automatica 36, 2000.
    """

    Settings = PendulumPlasticSettings
    plant = _Pendulum
    genes = all_genes(_Pendulum, 50.0)
    terminals = (
        Terminal("w", Level.SYNAPSE, "weight", low=-5.0, high=5.0),
        Terminal("pre", Level.PRE, "what was seen, scaled", low=-1.0, high=1.0),
        Terminal("post", Level.POST, "push, from -1 to 1", low=-1.0, high=1.0),
        Terminal("mod", Level.NETWORK, "decrease of the cost by the push", low=-0.5, high=0.5),
    )
