"""A student neuron follows the membrane potential of a teacher: learning from an error."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import exp
from typing import TYPE_CHECKING, Annotated, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from evosearch.engine.program import Level, Terminal
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
from evosearch.tasks.spiking import Membrane

if TYPE_CHECKING:
    from evosearch.engine.lifetime import Lifetime, LifetimeBuilder, Row
    from evosearch.engine.run import LifeResult

N_INPUTS = 5
REST = -70.0  # mV
TAU_DRIVE = 100.0  # ms
HOLD = 5  # ms between two looks at the potentials
UNSCORED = 0.1  # share of a trial at its beginning
ROUNDING = 1e-9


class ErrorDrivenSettings(TaskSettings):
    """Settings of ``error_driven_lif``."""

    dt: float = Field(1.0, gt=0, le=1, description="length of a step, ms; 1 / dt is whole")
    duration: int = Field(10_000, ge=50, le=1_000_000, description="a trial, ms; 50 divides it")
    shift: tuple[Annotated[float, Field(ge=-1000, le=1000)], ...] = Field(
        (15.0,), min_length=1, description="pA added to the teacher's weights; one is drawn a trial"
    )

    @property
    def steps_a_ms(self) -> int:
        """Steps of one millisecond."""
        return round(1.0 / self.dt)

    @model_validator(mode="after")
    def _divides(self) -> Self:
        if abs(self.steps_a_ms * self.dt - 1.0) > ROUNDING:
            raise ValueError(f"dt is {self.dt}; a millisecond must be a whole number of steps")
        if self.duration % 50:
            raise ValueError(f"duration is {self.duration}; it must be a multiple of 50 ms")
        return self


@TASKS.register("error_driven_lif")
class ErrorDrivenTask(RuleTask):
    """A rule by which a neuron learns to follow the potential of a teacher on the same input.

    Student and teacher are linear membranes without reset (see ``evosearch.tasks.spiking``:
    10 ms, currents of 2 ms, 250 pF, rest -70 mV) with five Poisson inputs of U[150, 850] Hz.
    The teacher's weights are U[-20, 20] + 15 pA, the student's 5 pA at first. In each step, after
    both potentials,

        I_j <- P I_j + (1 - P) f(v, u, psp_j) ;  w_j <- w_j + eta dt I_j ;  P = exp(-dt / 100 ms)

    where the rule f reads the student's potential u and the teacher's v, both looked at every
    5 ms and held between, and the trace psp_j of unit postsynaptic potentials. The engine keeps
    eta I_j / (1 - P), so that the clip of the problem bounds this drive. Fitness is minus
    the root of the sum of (u - v)^2 over the last nine tenths of the 10 s, once a millisecond.

    Source: J. Jordan, M. Schmidt, W. Senn, M. A. Petrovici, "Evolving interpretable plasticity
    for spiking networks", eLife 10, 2021, error-driven learning; spikes of the student, which do
    not reset it there, are left out.
    """

    Settings = ErrorDrivenSettings
    terminals = (
        Terminal(
            "w", Level.SYNAPSE, "the drive eta I / (1 - P), not the weight", low=-5.0, high=5.0
        ),
        Terminal("v", Level.POST, "potential of the teacher, mV, held", low=-75.0, high=-60.0),
        Terminal("u", Level.POST, "potential of the student, mV, held", low=-75.0, high=-60.0),
        Terminal("psp", Level.PRE, "trace of unit postsynaptic potentials", low=0.0, high=0.1),
    )
    worst = -1e4
    settings: ErrorDrivenSettings

    def lifetimes(self, keys: Sequence[Key], split: str) -> list[Lifetime]:
        """Build the one condition: a trial a draw."""
        from evosearch.engine.lifetime import LifetimeBuilder

        b = LifetimeBuilder()
        student = Student(b, self.settings, [draw_trial(key, self.settings) for key in keys])
        n_held = self.settings.duration // HOLD
        n_unscored = round(UNSCORED * n_held)
        student.learn(0, n_unscored, is_scored=False)
        student.learn(n_unscored, n_held - n_unscored, is_scored=True)
        b.output(student.loss)
        return [b.build(projection=self.projection, dtype=self.dtype, draw_keys=engine_keys(keys))]

    def score(
        self, results: Sequence[LifeResult], lifetimes: Sequence[Lifetime], keys: Sequence[Key]
    ) -> TaskScores:
        """Score minus the root of the summed squares, at worst -1e4."""
        (result,) = results
        loss = np.sqrt(finite_outputs(result)[:, :, 0])
        fitness = np.maximum(-loss, self.worst)
        return TaskScores(graded(fitness, result, lifetimes[0], self.worst), exploded(result))


@dataclass(frozen=True)
class Trial:
    """One draw: spikes and traces (T, 5), and the teacher's potential (ms + 1,) above rest."""

    spikes: NDArray[np.float32]
    psp: NDArray[np.float32]
    teacher: NDArray[np.float32]


def draw_trial(key: Key, settings: ErrorDrivenSettings) -> Trial:
    """Draw rates, spikes and the teacher of one trial; the teacher is 0 at the beginning."""
    rng = draw_rng(key)
    n_steps = settings.duration * settings.steps_a_ms
    rates = rng.uniform(150.0, 850.0, N_INPUTS)
    weights = rng.uniform(-20.0, 20.0, N_INPUTS) + rng.choice(settings.shift)
    spikes = rng.poisson(rates * settings.dt * 1e-3, (n_steps, N_INPUTS)).astype(float)
    psp = Membrane(settings.dt).traces(spikes)
    at_ms = (psp @ weights)[settings.steps_a_ms - 1 :: settings.steps_a_ms]
    arrays = (spikes, psp, np.r_[0.0, at_ms])
    return Trial(*(array.astype(np.float32) for array in arrays))


class Student:
    """Emits the phases of a student: looks at the potentials, steps, and sums of squares."""

    def __init__(
        self, b: LifetimeBuilder, settings: ErrorDrivenSettings, trials: Sequence[Trial]
    ) -> None:
        self._b, self._settings = b, settings
        self._v, self._u, self._psp = b.vector("v", 1), b.vector("u", 1), b.vector("psp", N_INPUTS)
        self._spikes, self._synaptic = b.vector("spikes", N_INPUTS), b.vector("synaptic", 1)
        self._potential, self._current = b.vector("potential", 1), b.vector("current", 1)
        self._teacher, self.loss = b.vector("teacher", 1), b.vector("loss", 1)
        self._w, self._drive = b.matrix("w", 1, N_INPUTS), b.matrix("drive", 1, N_INPUTS)
        b.initial(self._w, b.table(np.full((1, N_INPUTS), 5.0), shared=True))
        self._tables = {
            self._spikes: b.table(np.stack([trial.spikes for trial in trials])),
            self._psp: b.table(np.stack([trial.psp for trial in trials])),
        }
        self._at_ms = b.table(np.stack([trial.teacher for trial in trials])[:, :, None])

    def learn(self, first: int, n_held: int, *, is_scored: bool) -> None:
        """Live ``n_held`` times 5 ms, the first of which is number ``first`` of the trial."""
        b, a_ms = self._b, self._settings.steps_a_ms
        with b.repeat(n_held) as held:
            start = HOLD * (held + first)
            b.load(self._teacher, self._at_ms, row=start)
            b.map(self._v, f"{REST} + x", x=self._teacher)
            b.map(self._u, f"{REST} + x", x=self._potential)
            with b.repeat(HOLD) as ms:
                with b.repeat(a_ms) as step:
                    self._step(a_ms * (start + ms) + step)
                if is_scored:
                    b.load(self._teacher, self._at_ms, row=start + ms + 1)
                    b.map(
                        self.loss, "s + square(x - y)", s=self.loss, x=self._potential,
                        y=self._teacher,
                    )  # fmt: skip

    def _step(self, row: Row) -> None:
        b, dt = self._b, self._settings.dt
        membrane, keep = Membrane(dt), exp(-dt / TAU_DRIVE)
        for buffer, table in self._tables.items():
            b.load(buffer, table, row=row)
        b.map(self._potential, f"{membrane.p22!r}*w + {membrane.p21!r}*i", i=self._current)
        b.matvec(self._synaptic, self._w, self._spikes)
        b.map(self._current, f"{membrane.p11!r}*w + s", s=self._synaptic)
        b.map(self._drive, f"{keep!r}*w")
        b.rule(w=self._drive, v=self._v, u=self._u, psp=self._psp)
        b.map(self._w, f"w + {(1 - keep) * dt!r}*d", d=self._drive)
