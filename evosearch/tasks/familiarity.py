"""Was this input seen R steps ago? A layer of plastic weights remembers what it met."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import numpy as np
from numpy.typing import NDArray
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
    over_conditions,
)

if TYPE_CHECKING:
    from evosearch.engine.lifetime import Lifetime
    from evosearch.engine.run import LifeResult


class FamiliaritySettings(TaskSettings):
    """Settings of ``familiarity``."""

    units: int = Field(25, ge=2, le=784, description="inputs d, and units of the layer")
    lags: tuple[Annotated[int, Field(ge=1, le=1000)], ...] = Field(
        (1, 2, 4, 8), min_length=1, description="steps R after which inputs repeat, one condition"
    )
    steps: int = Field(200, ge=2, le=100_000, description="inputs of a stream, T")


@TASKS.register("familiarity")
class FamiliarityTask(RuleTask):
    """Continual familiarity detection by plastic weights A beside random fixed ones.

    A stream shows inputs x of random signs; from step R on, with probability a half and unless
    x(t-R) was a repeat itself, x(t) = x(t-R). The layer h = sigmoid(gain W x + A x + bias), W from
    N(0, 1), answers out = sigmoid(offset + readout * sum h): is x a repeat? Then
    A <- decay A + f(A, x, h) / d, A = 0 at first. The five numbers are genes. Fitness is the
    negative cross-entropy of the answers, in nats, averaged over the lags; ``accuracy_R`` among
    the metrics is the share of right answers, out > 0.5 for a repeat. A third of the inputs repeat,
    so that "never" is right in 2/3.

    Source: D. Tyulmankov, G. R. Yang, L. F. Abbott, "Meta-learning synaptic plasticity and memory
    addressing for continual familiarity detection", Neuron 110, 2022.
    """

    Settings = FamiliaritySettings
    terminals = (
        Terminal("w", Level.SYNAPSE, "plastic weight A", low=-1.0, high=1.0),
        Terminal("pre", Level.PRE, "input, -1 or 1", low=-1.0, high=1.0),
        Terminal("post", Level.POST, "activity of the unit", low=0.0, high=1.0),
    )
    genes = (
        Gene("decay", 0.5, 1.0, 0.95, "what is left of A after a step"),
        Gene("gain", 0.01, 3.0, 0.2, "factor of the fixed weights", is_log=True),
        Gene("bias", -10.0, 10.0, 0.0, "of the units"),
        Gene("readout", -3.0, 3.0, 0.0, "weight of each unit in the answer"),
        Gene("offset", -10.0, 10.0, -0.69, "of the answer; -0.69 is one in three"),
    )
    worst = -10.0
    settings: FamiliaritySettings

    def lifetimes(self, keys: Sequence[Key], split: str) -> list[Lifetime]:
        """Build one condition for each lag."""
        return [self._lifetime(keys, lag) for lag in self.settings.lags]

    def score(
        self, results: Sequence[LifeResult], lifetimes: Sequence[Lifetime], keys: Sequence[Key]
    ) -> TaskScores:
        """Score the cross-entropy, averaged over the lags."""
        metrics: dict[str, FloatArray] = {}
        per_lag: list[FloatArray] = []
        for lag, result, life in zip(self.settings.lags, results, lifetimes, strict=True):
            loss, hits = np.moveaxis(result.outputs, 2, 0) / self.settings.steps
            fitness = np.maximum(-loss, self.worst)
            per_lag.append(graded(fitness, result, life, self.worst))
            metrics[f"accuracy_{lag}"] = np.where(exploded(result), 0.0, hits).mean(axis=1)
        return over_conditions(per_lag, results, metrics)

    def _lifetime(self, keys: Sequence[Key], lag: int) -> Lifetime:
        from evosearch.engine.lifetime import LifetimeBuilder

        d, steps = self.settings.units, self.settings.steps
        draws = [draw_stream(key, d, steps, lag) for key in keys]
        b = LifetimeBuilder()
        x, h, fixed_field, field = (b.vector(name, d) for name in ("x", "h", "fixed", "field"))
        fixed, w = b.matrix("fixed_weights", d, d), b.matrix("w", d, d)
        genes = {gene.name: b.scalar(gene.name) for gene in self.genes}
        for number, buffer in enumerate(genes.values()):
            b.inherited(buffer, number)
        names = ("sum", "answer", "repeat", "loss", "hits")
        total, answer, repeat, loss, hits = (b.scalar(name) for name in names)
        b.initial(fixed, b.table(np.stack([draw[0] for draw in draws])))
        inputs = b.table(np.stack([draw[1] for draw in draws]))
        repeats = b.table(np.stack([draw[2] for draw in draws]))
        with b.repeat(steps) as t:
            b.load(x, inputs, row=t)
            b.load(repeat, repeats, row=t)
            b.matvec(fixed_field, fixed, x)
            b.matvec(field, w, x)
            b.map(h, "sigmoid(g*a + b + c)", g=genes["gain"], a=fixed_field, b=field,
                  c=genes["bias"])  # fmt: skip
            b.reduce(total, "sum", h)
            b.map(answer, "o + r*s", o=genes["offset"], r=genes["readout"], s=total)
            b.map(loss, "w + softplus(a) - r*a", a=answer, r=repeat)
            b.map(hits, "w + max(0, sign(a*(2*r - 1)))", a=answer, r=repeat)
            b.map(w, "d*w", d=genes["decay"])
            b.rule(w=w, pre=x, post=h)
        b.output(loss)
        b.output(hits)
        return b.build(
            draw_keys=engine_keys(keys, lag), projection=self.projection, dtype=self.dtype
        )


def draw_stream(
    key: Key, d: int, steps: int, lag: int
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Draw the fixed weights (1, d*d), inputs (steps, d) and what repeats (steps, 1), 0 or 1."""
    rng = draw_rng(key, lag)
    fixed = rng.standard_normal((1, d * d))
    inputs = rng.choice([-1.0, 1.0], size=(steps, d))
    coins = rng.random(steps) < 0.5
    repeats = np.zeros((steps, 1))
    for t in range(lag, steps):
        if coins[t] and not repeats[t - lag, 0]:
            inputs[t], repeats[t] = inputs[t - lag], 1.0
    return fixed, inputs, repeats
