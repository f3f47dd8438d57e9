"""One linear neuron extracts the first principal component of Gaussian data."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Annotated, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from evosearch.engine.program import Level, Terminal
from evosearch.outcome import FloatArray
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
    from evosearch.engine.lifetime import Buffer, Lifetime, LifetimeBuilder, Projection
    from evosearch.engine.run import LifeResult

SPECTRA = {2: (1.0, 0.5), 3: (1.0, 0.5, 0.0), 5: (1.0, 0.7, 0.2, 0.1, 0.0)}


Scale: TypeAlias = Annotated[float, Field(gt=0, le=1e6, allow_inf_nan=False)]


class OjaPc1Settings(TaskSettings):
    """Settings of ``oja_pc1``."""

    inputs: Literal[2, 3, 5] = Field(3, description="dimension of the data")
    steps: int = Field(500, ge=1, le=1_000_000, description="samples a lifetime")
    scale: tuple[Scale, Scale] = Field(
        (0.5, 1.5), description="range of the factor on all eigenvalues, drawn for each data set"
    )
    covariance: Literal["spectrum", "random"] = Field(
        "spectrum", description="fixed eigenvalues, or random with largest entry 1 (Mettler)"
    )
    w0: Literal["normal", "unit"] = Field(
        "normal", description="initial weights N(0, 0.3^2), or uniform and of length 1 (Mettler)"
    )
    measure: Literal["distance", "angle"] = Field(
        "distance",
        description="-|w -+ PC1|^2 at the end, or mean |cos| on the way - (|w| - 1)^2 (Mettler)",
    )


@TASKS.register("oja_pc1")
class OjaPc1Task(RuleTask):
    """A rule by which ``post = w . pre`` comes to carry the first principal component.

    One draw is one data set x ~ N(0, C), C = s Q' diag(D) Q with a random rotation Q and a scale
    s ~ U(0.5, 1.5); without the random scale rules that fit one variance pass as Oja's. One
    sample a step, then the rule. Fitness is minus the smaller of |w - PC1|^2 and |w + PC1|^2 at
    the end, PC1 of unit length.

    Sources: B. Confavreux, F. Zenke, E. Agnes, T. Lillicrap, T. Vogels, "A meta-learning approach
    to (re)discover plasticity rules that carve a desired function into a neural network",
    NeurIPS 2020; H. Mettler, M. Schmidt, W. Senn, M. Petrovici, J. Jordan, GECCO Companion 2021
    (the settings ``covariance = "random"``, ``w0 = "unit"``, ``measure = "angle"``).
    """

    Settings = OjaPc1Settings
    terminals = (
        Terminal("w", Level.SYNAPSE, "weight", low=-2.0, high=2.0),
        Terminal("pre", Level.PRE, "input x_j", low=-3.0, high=3.0),
        Terminal("post", Level.POST, "output y = w . x", low=-3.0, high=3.0),
    )
    settings: OjaPc1Settings

    def __init__(self, settings: OjaPc1Settings, *, dtype: str, projection: Projection) -> None:
        super().__init__(settings, dtype=dtype, projection=projection)
        bound = max(abs(projection.low), abs(projection.high))
        bound = bound if np.isfinite(bound) else 1e3
        self.worst = -((bound * np.sqrt(settings.inputs) + 1.0) ** 2)

    def lifetimes(self, keys: Sequence[Key], split: str) -> list[Lifetime]:
        """Build the one condition: a sample and a rule application a step."""
        from evosearch.engine.lifetime import LifetimeBuilder

        s = self.settings
        sets = [draw_data_set(key, s.inputs, s.steps, s.scale, s.covariance, s.w0) for key in keys]
        b = LifetimeBuilder()
        pre, post = b.vector("pre", s.inputs), b.vector("post", 1)
        w = b.matrix("w", 1, s.inputs)
        b.initial(w, b.table(one_row([data.w0 for data in sets])))
        samples = b.table(np.stack([data.samples for data in sets]))
        meter = AngleMeter(b, s.inputs, [data.pc1 for data in sets]) if self._has_angle else None
        with b.repeat(s.steps) as step:
            b.load(pre, samples, row=step)
            b.matvec(post, w, pre)
            b.rule(w=w, pre=pre, post=post)
            if meter:
                meter.add(w)
        b.output(w)
        if meter:
            b.output(meter.total)
        return [b.build(projection=self.projection, dtype=self.dtype, draw_keys=engine_keys(keys))]

    def score(
        self, results: Sequence[LifeResult], lifetimes: Sequence[Lifetime], keys: Sequence[Key]
    ) -> TaskScores:
        """Score minus the squared distance of the final weights from the component."""
        (result,) = results
        s = self.settings
        outputs = finite_outputs(result)
        weights = outputs[:, :, : s.inputs]
        truths = [draw_truth(key, s.inputs, s.scale, s.covariance)[0] for key in keys]
        loss, cosine = compare_with_component(weights, np.stack(truths))
        fitness = -loss
        if self._has_angle:
            length = np.sqrt(np.square(weights).sum(axis=2))
            fitness = outputs[:, :, s.inputs] / s.steps - np.square(length - 1.0)
        fitness = graded(np.maximum(fitness, self.worst), result, lifetimes[0], self.worst)
        return TaskScores(fitness, exploded(result), {"abs_cos": cosine.mean(axis=1)})

    @property
    def _has_angle(self) -> bool:
        return self.settings.measure == "angle"


class AngleMeter:
    """Adds up the absolute cosine of w and PC1 along a lifetime."""

    def __init__(self, b: LifetimeBuilder, n: int, components: list[NDArray[np.float64]]) -> None:
        self._b = b
        self._pc1, self._product = b.vector("pc1", n), b.vector("product", n)
        self._dot, self._length = b.scalar("dot"), b.scalar("length")
        self.total = b.scalar("total")
        b.load(self._pc1, b.table(one_row(components)), row=0)

    def add(self, w: Buffer) -> None:
        """Emit the phases that add the present angle to the total."""
        b = self._b
        b.map(self._product, "v * p", v=w, p=self._pc1)
        b.reduce(self._dot, "sum", self._product)
        b.map(self._product, "square(v)", v=w)
        b.reduce(self._length, "sum", self._product)
        b.map(self.total, "t + abs(d) / sqrt(q)", t=self.total, d=self._dot, q=self._length)


class DataSet:
    """One draw: its samples (steps, n), first component (n,) and initial weights (n,)."""

    def __init__(
        self,
        samples: NDArray[np.float64],
        pc1: NDArray[np.float64],
        w0: NDArray[np.float64],
    ) -> None:
        self.samples, self.pc1, self.w0 = samples, pc1, w0


def draw_data_set(
    key: Key, n: int, steps: int, scale: tuple[float, float], covariance: str, w0: str
) -> DataSet:
    """Draw samples and initial weights of one data set; longer lives see the same first samples."""
    pc1, root = draw_truth(key, n, scale, covariance)
    rng = draw_rng(key, 1)
    start = rng.normal(0.0, 0.3, n) if w0 == "normal" else rng.uniform(-1.0, 1.0, n)
    if w0 == "unit":
        start = start / np.linalg.norm(start)
    return DataSet(rng.standard_normal((steps, n)) @ root, pc1, start)


@lru_cache(maxsize=65_536)
def draw_truth(
    key: Key, n: int, scale: tuple[float, float], covariance: str
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Draw the first component (n,) and a root A (n, n) of the covariance C = A'A."""
    rng = draw_rng(key, 0)
    gauss = rng.standard_normal((n, n))
    if covariance == "random":
        spread = gauss @ gauss.T
        values, vectors = np.linalg.eigh(spread / np.abs(spread).max())
        return vectors[:, -1], np.sqrt(np.maximum(values, 0.0))[:, None] * vectors.T
    q, r = np.linalg.qr(gauss)
    rotation = (q * np.sign(np.diag(r))).T
    eigenvalues = rng.uniform(*scale) * np.array(SPECTRA[n])
    return rotation[0], np.sqrt(eigenvalues)[:, None] * rotation


def compare_with_component(
    weights: FloatArray, components: NDArray[np.float64]
) -> tuple[FloatArray, FloatArray]:
    """Return min |w -+ PC1|^2 and |cos(w, PC1)|, each (P, D), of weights (P, D, n)."""
    dot = np.einsum("pdn,dn->pd", weights, components)
    square = np.square(weights).sum(axis=2)
    loss = square + 1.0 - 2.0 * np.abs(dot)
    length = np.sqrt(square)
    cosine = np.divide(np.abs(dot), length, out=np.zeros_like(dot), where=length > 0)
    return loss, cosine
