"""A recurrent network keeps patterns in fast weights and completes one from a half of it."""

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
    graded,
    over_conditions,
)

if TYPE_CHECKING:
    from evosearch.engine.lifetime import Lifetime
    from evosearch.engine.run import LifeResult


class PatternCompletionSettings(TaskSettings):
    """Settings of ``pattern_completion``."""

    units: int = Field(100, ge=4, le=1000, description="units of the network, N")
    loads: tuple[Annotated[int, Field(ge=1, le=1000)], ...] = Field(
        (5, 10), min_length=1, description="numbers of patterns, one condition each"
    )
    shown: int = Field(6, ge=1, le=100, description="steps that a pattern, or the probe, is shown")
    gap: int = Field(4, ge=0, le=100, description="steps without input after each pattern")
    presentations: int = Field(2, ge=1, le=100, description="times that each pattern is shown")


@TASKS.register("pattern_completion")
class PatternCompletionTask(RuleTask):
    """Fast weights store patterns within one episode; the rule is what changes them.

    P patterns of N random signs are shown twice in random order, 6 steps each with gaps of 4; then
    a probe shows one of them with half of its signs set to zero, for 6 steps. Each step
    y = tanh(strength * H y + common * sum y + input), then the rule acts on the fast weights H with
    the new y on both sides; H = 0 and y = 0 at first. ``strength`` and ``common`` are genes.
    Fitness is the share of the hidden signs that y has right in the end, sign(0) = +1, averaged
    over the loads; ``recovered_P`` tells each. Guessing has a half right.

    Source: T. Miconi, J. Clune, K. Stanley, "Differentiable plasticity: training plastic neural
    networks with backpropagation", ICML 2018, with N = 1000.
    """

    Settings = PatternCompletionSettings
    terminals = (
        Terminal("w", Level.SYNAPSE, "fast weight", low=-1.0, high=1.0),
        Terminal("pre", Level.PRE, "activity of the pre unit", low=-1.0, high=1.0),
        Terminal("post", Level.POST, "activity of the post unit", low=-1.0, high=1.0),
        Terminal("field_pre", Level.PRE, "field (H y)_j that made y", low=-5.0, high=5.0),
        Terminal("field_post", Level.POST, "field (H y)_i that made y", low=-5.0, high=5.0),
    )
    genes = (
        Gene("strength", 1e-3, 10.0, 0.05, "factor of the fast weights", is_log=True),
        Gene("common", -0.1, 0.1, 0.0, "fixed weight between any two units"),
    )
    worst = 0.0
    settings: PatternCompletionSettings

    def lifetimes(self, keys: Sequence[Key], split: str) -> list[Lifetime]:
        """Build one condition for each load."""
        return [self._lifetime(keys, load) for load in self.settings.loads]

    def score(
        self, results: Sequence[LifeResult], lifetimes: Sequence[Lifetime], keys: Sequence[Key]
    ) -> TaskScores:
        """Score the share of hidden signs that are right, averaged over the loads."""
        metrics: dict[str, FloatArray] = {}
        per_load: list[FloatArray] = []
        n_hidden = self.settings.units - self.settings.units // 2
        for load, result, life in zip(self.settings.loads, results, lifetimes, strict=True):
            share = graded(result.outputs[:, :, 0] / n_hidden, result, life, self.worst)
            metrics[f"recovered_{load}"] = share.mean(axis=1)
            per_load.append(share)
        return over_conditions(per_load, results, metrics)

    def _lifetime(self, keys: Sequence[Key], load: int) -> Lifetime:
        from evosearch.engine.lifetime import LifetimeBuilder

        n = self.settings.units
        episodes = [draw_episode(key, self.settings, load) for key in keys]
        b = LifetimeBuilder()
        x, y, field, wanted = (b.vector(name, n) for name in ("input", "y", "field", "wanted"))
        w, total, right = b.matrix("w", n, n), b.scalar("sum"), b.scalar("right")
        strength, common = (b.scalar(gene.name) for gene in self.genes)
        b.inherited(strength, 0)
        b.inherited(common, 1)
        inputs = b.table(np.stack([inputs for inputs, _ in episodes]))
        hidden = b.table(np.stack([hidden for _, hidden in episodes])[:, None])
        with b.repeat(inputs.rows) as t:
            b.load(x, inputs, row=t)
            b.matvec(field, w, y)
            b.reduce(total, "sum", y)
            b.map(y, "tanh(a*f + c*s + x)", a=strength, f=field, c=common, s=total, x=x)
            b.rule(w=w, pre=y, post=y, field_pre=field, field_post=field)
        b.load(wanted, hidden, row=0)
        b.map(wanted, "max(0, w*sign(sign(y) + 0.5))", y=y)
        b.reduce(right, "sum", wanted)
        b.output(right)
        return b.build(
            draw_keys=engine_keys(keys, load), projection=self.projection, dtype=self.dtype
        )


def draw_episode(
    key: Key, settings: PatternCompletionSettings, load: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Draw the inputs (steps, N) of an episode, and the hidden signs (N,), 0 where shown."""
    rng, n = draw_rng(key, load), settings.units
    patterns = rng.choice([-1.0, 1.0], size=(load, n))
    silence = np.zeros((settings.gap, n))
    rows: list[NDArray[np.float64]] = []
    for _ in range(settings.presentations):
        for k in rng.permutation(load):
            rows += [np.tile(patterns[k], (settings.shown, 1)), silence]
    probed = patterns[rng.integers(load)]
    is_shown = rng.permutation(n) < n // 2
    rows.append(np.tile(np.where(is_shown, probed, 0.0), (settings.shown, 1)))
    return np.concatenate(rows), np.where(is_shown, 0.0, probed)
