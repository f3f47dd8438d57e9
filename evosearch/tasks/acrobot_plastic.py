"""Two links to swing up from random weights, on bodies that the rule does not know."""

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
    Plant,
    PlasticControlSettings,
    PlasticControlTask,
    all_genes,
)

if TYPE_CHECKING:
    from evosearch.engine.lifetime import Buffer, LifetimeBuilder

_GRAVITY, _DT = 9.8, 0.2
_MASS, _LENGTH, _CENTRE, _INERTIA = 1.0, 1.0, 0.5, 1.0  # of the upper link; inertia of both
_TOP_SPEEDS = (4 * math.pi, 9 * math.pi)
_PI, _TURN = repr(math.pi), repr(2 * math.pi)


class AcrobotPlasticSettings(PlasticControlSettings):
    """Settings of ``acrobot_plastic``."""

    blocks: int = Field(2, ge=1, le=100, description="blocks of practice before the test")
    bodies: Bodies = Field(
        ((1.0, 1.0, 1.0), (1.0, 1.0, -1.0)),
        min_length=1,
        description="length (m) and mass (kg) of the lower link, factor of the torque",
    )


class _Acrobot(Plant):
    """Two links that hang from a joint, with a motor of 1 N m between them.

    The equations are those of Gymnasium's Acrobot-v1, one step of Runge and Kutta's method; the
    episode is over when the tip is one metre above the joint.
    """

    state = ("upper", "lower", "upper_dot", "lower_dot")
    seen = ("upper", "tip", "upper_dot", "lower_dot")
    scales = (1.0, 1.0, 1 / 4, 1 / 8)
    genes = (
        Gene("noise", 0.0, 2.0, 0.2, "standard deviation of what is added to W x"),
        Gene("tip", 0.0, 2.0, 0.33, "weight of the lower link's height"),
        Gene("upper_square", 0.0, 5.0, 1.0, "weight of the upper speed squared"),
        Gene("lower_square", 0.0, 5.0, 1.0, "weight of the lower speed squared"),
        Gene("product", -5.0, 5.0, 0.5, "weight of the product of both speeds"),
    )
    least_reward = -1.0
    event = "goals"

    def __init__(self, b: LifetimeBuilder, body: Body) -> None:
        super().__init__(b, body)
        self.sines = b.scalar("sine_upper"), b.scalar("sine_tip")
        self.accelerations = [(b.scalar("upper_acc"), b.scalar("lower_acc")) for _ in range(4)]
        self.stages = [[b.scalar(f"{name}_{k}") for name in self.state] for k in range(3)]
        self.inner = [b.scalar(name) for name in ("d_1", "d_2", "phi_1", "phi_2")]

    @staticmethod
    def draw_starts(rng: np.random.Generator, n: int) -> FloatArray:
        """Draw all four numbers from [-0.1, 0.1)."""
        return rng.uniform(-0.1, 0.1, (n, 4))

    def features(self) -> Sequence[Buffer]:
        """Compute how far both links are to the side; both speeds are seen as they are."""
        p, q, v, u = self.at
        self.b.map(self.sines[0], "sin(p)", p=p)
        self.b.map(self.sines[1], "sin(p + q)", p=p, q=q)
        return (*self.sines, v, u)

    def move(self) -> None:
        """Advance by 0.2 s; angles are brought back into [-pi, pi], speeds cut."""
        b = self.b
        before = self.at
        self._accelerate(before, self.accelerations[0])
        for stage, acc, next_acc, now, share in zip(
            self.stages, self.accelerations[:-1], self.accelerations[1:],
            (before, *self.stages[:-1]), (0.5, 0.5, 1.0), strict=True,
        ):  # fmt: skip
            for angle, speed, angle_0, speed_0, speed_now, push in zip(
                stage[:2], stage[2:], before[:2], before[2:], now[2:], acc, strict=True
            ):
                b.map(angle, f"a + {share * _DT!r}*v", a=angle_0, v=speed_now)
                b.map(speed, f"v + {share * _DT!r}*c", v=speed_0, c=push)
            self._accelerate(stage, next_acc)
        for k in range(2):
            self._advance(k)

    def _advance(self, k: int) -> None:
        """Emit the weighted mean of the four slopes, for one link."""
        b, angle, speed, top = self.b, self.at[k], self.at[2 + k], repr(_TOP_SPEEDS[k])
        speeds = [stage[2 + k] for stage in self.stages]
        slopes = [acc[k] for acc in self.accelerations]
        b.map(angle, f"w + {_DT / 6!r}*(p + 2*q + 2*r + s)",
              p=speed, q=speeds[0], r=speeds[1], s=speeds[2])  # fmt: skip
        b.map(angle, f"w + {_TURN}*(max(0, sign(-{_PI} - w)) - max(0, sign(w - {_PI})))")
        b.map(speed, f"max(-{top}, min({top}, w + {_DT / 6!r}*(p + 2*q + 2*r + s)))",
              p=slopes[0], q=slopes[1], r=slopes[2], s=slopes[3])  # fmt: skip

    def _accelerate(self, state: Sequence[Buffer], target: tuple[Buffer, Buffer]) -> None:
        """Emit both angular accelerations of a state under the push."""
        b, (p, q, v, u), (d_1, d_2, phi_1, phi_2) = self.b, state, self.inner
        length, mass, actuator = self.body
        centre = length / 2
        coupling, own = mass * _LENGTH * centre, mass * centre**2
        fixed = _MASS * _CENTRE**2 + mass * _LENGTH**2 + own + 2 * _INERTIA
        upper = (_MASS * _CENTRE + mass * _LENGTH) * _GRAVITY
        cosine = f"sin(q + {QUARTER})"
        b.map(d_1, f"{fixed!r} + {2 * coupling!r}*{cosine}", q=q)
        b.map(d_2, f"{own + _INERTIA!r} + {coupling!r}*{cosine}", q=q)
        b.map(phi_2, f"{mass * centre * _GRAVITY!r}*sin(p + q)", p=p, q=q)
        b.map(phi_1, f"f + {upper!r}*sin(p) - {coupling!r}*u*(u + 2*v)*sin(q)",
              p=p, q=q, v=v, u=u, f=phi_2)  # fmt: skip
        b.map(
            target[1],
            f"({actuator!r}*a + d/c*e - {coupling!r}*square(v)*sin(q) - f)"
            f"/({own + _INERTIA!r} - square(d)/c)",
            a=self.push, c=d_1, d=d_2, e=phi_1, f=phi_2, v=v, q=q,
        )  # fmt: skip
        b.map(target[0], "-(d*a + e)/c", a=target[1], c=d_1, d=d_2, e=phi_1)

    def write_cost(self, target: Buffer) -> None:
        """Write the energy that is missing, in the critic's eyes."""
        (p, q, v, u), (tip, upper, lower, product) = self.at, self.critic
        s, r = (repr(scale) for scale in self.scales[2:])
        self.b.map(
            target,
            f"sin(p + {QUARTER}) + t*sin(p + q + {QUARTER})"
            f" - (k*square({s}*v) + m*square({r}*u) + n*({s}*v)*({r}*u))",
            p=p, q=q, v=v, u=u, t=tip, k=upper, m=lower, n=product,
        )  # fmt: skip

    def end(self) -> None:
        """Emit whether the tip is above the goal; each step that does not end there costs 1."""
        p, q, _, _ = self.at
        height = f"-sin(p + {QUARTER}) - {self.body[0]!r}*sin(p + q + {QUARTER})"
        self.b.map(self.over, f"max(0, sign({height} - {_LENGTH!r}))", p=p, q=q)
        self.b.map(self.reward, "f - 1", f=self.over)


@TASKS.register("acrobot_plastic")
class AcrobotPlasticTask(PlasticControlTask):
    """One linear unit learns to swing up two links within its life.

    The unit sees how far the upper link and the lower one are to the side (sines of their angles
    from below) and both speeds, scaled to order 1; its torque between the links is 1 N m times
    sign(W x + noise). ``mod`` is the increase of an energy: the upper link's height + tip times
    the lower's + upper_square, lower_square and product times the squares and the product of the
    scaled speeds. In practice links that arrive hang down again; fitness is the return of the last
    episode, -1 for each step until the tip is up, averaged over the bodies, and ``goals`` counts
    arrivals in practice. Lives are those of :class:`PlasticControlTask`.

    Sources: E. Najarro, S. Risi, "Meta-learning through Hebbian plasticity in random networks",
    NeurIPS 2020 (random weights, changed bodies); R. Sutton, "Generalization in Reinforcement
    Learning", NeurIPS 8, 1996; equations as in Gymnasium's Acrobot-v1.
    """

    Settings = AcrobotPlasticSettings
    plant = _Acrobot
    genes = all_genes(_Acrobot)
    terminals = (
        Terminal("w", Level.SYNAPSE, "weight", low=-5.0, high=5.0),
        Terminal("pre", Level.PRE, "what was seen, scaled", low=-1.0, high=1.0),
        Terminal("post", Level.POST, "push, -1 or 1", low=-1.0, high=1.0),
        Terminal("mod", Level.NETWORK, "increase of the energy by the push", low=-0.5, high=0.5),
    )
