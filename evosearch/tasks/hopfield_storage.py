"""An associative memory stores patterns in one pass; the rule is what stores them."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Annotated

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
    graded,
    over_conditions,
)

if TYPE_CHECKING:
    from evosearch.engine.lifetime import Buffer, Lifetime, LifetimeBuilder
    from evosearch.engine.run import LifeResult

SIGN = "sign(sign(h) + 0.5)"  # of 0 it is +1


class HopfieldSettings(TaskSettings):
    """Settings of ``hopfield_storage``."""

    units: int = Field(100, ge=4, le=784, description="units of the memory, N")
    loads: tuple[Annotated[int, Field(ge=1, le=10_000)], ...] = Field(
        (10, 20, 30, 40, 50), min_length=1, description="numbers of patterns, one condition each"
    )
    passes: int = Field(1, ge=1, le=1000, description="times that each pattern is presented")
    flip: float = Field(0.1, ge=0, lt=0.5, description="probability that a bit of a cue is wrong")
    recall_steps: int = Field(20, ge=1, le=1000, description="synchronous updates of a recall")
    overlap: float = Field(0.95, gt=0, le=1, description="final overlap that counts as recalled")


@TASKS.register("hopfield_storage")
class HopfieldStorageTask(RuleTask):
    """A rule that stores random patterns in a Hopfield network, each presented once.

    For each load P of the conditions a draw holds P patterns of independent random signs. They
    are presented in turn to N units with W = 0 at first: the fields ``h = W x`` are measured, the
    rule acts, the diagonal is set to zero. Then each pattern with a tenth of its signs flipped is
    run for 20 synchronous sign updates, sign(0) = +1. Fitness is *recall*, the share of patterns
    that end at an overlap of at least 0.95, averaged over the loads. The metrics ``recall_P`` and
    ``fixed_P`` (the share of patterns that are exact fixed points) tell it load by load.

    A field that leaves out the own terms, h_i - w_ij x_j - w_ii x_i, needs no terminal of its
    own: with a zero diagonal it is ``field_post - w*pre``, and ``field_pre - w*post`` for unit j.

    Sources: J. J. Hopfield, PNAS 79, 1982 (Hebb's rule); A. Storkey, "Increasing the capacity of
    a Hopfield network without sacrificing functionality", ICANN 1997; L. Personnaz, I. Guyon,
    G. Dreyfus, Journal de Physique Lettres 46, 1985 (pseudo-inverse).
    """

    Settings = HopfieldSettings
    terminals = (
        Terminal("w", Level.SYNAPSE, "weight", low=-1.0, high=1.0),
        Terminal("pre", Level.PRE, "pattern at the pre unit, -1 or 1", low=-1.0, high=1.0),
        Terminal("post", Level.POST, "pattern at the post unit, -1 or 1", low=-1.0, high=1.0),
        Terminal("field_pre", Level.PRE, "field (W x)_j before the update", low=-3.0, high=3.0),
        Terminal("field_post", Level.POST, "field (W x)_i before the update", low=-3.0, high=3.0),
        Terminal("inv_n", Level.NETWORK, "1 / number of units", low=0.005, high=0.02),
    )
    worst = 0.0
    settings: HopfieldSettings

    def lifetimes(self, keys: Sequence[Key], split: str) -> list[Lifetime]:
        """Build one condition for each load."""
        return [self._lifetime(keys, load) for load in self.settings.loads]

    def score(
        self, results: Sequence[LifeResult], lifetimes: Sequence[Lifetime], keys: Sequence[Key]
    ) -> TaskScores:
        """Score recall, averaged over the loads."""
        metrics: dict[str, FloatArray] = {}
        per_load: list[FloatArray] = []
        for load, result, lifetime in zip(self.settings.loads, results, lifetimes, strict=True):
            shares = result.outputs / load
            recall = graded(shares[:, :, 0], result, lifetime, self.worst)
            fixed = np.where(exploded(result), 0.0, shares[:, :, 1])
            metrics[f"recall_{load}"] = recall.mean(axis=1)
            metrics[f"fixed_{load}"] = fixed.mean(axis=1)
            per_load.append(recall)
        return over_conditions(per_load, results, metrics)

    def _lifetime(self, keys: Sequence[Key], load: int) -> Lifetime:
        from evosearch.engine.lifetime import LifetimeBuilder

        n = self.settings.units
        draws = [draw_patterns(key, n, load, self.settings.flip) for key in keys]
        b = LifetimeBuilder()
        # Pre and post units are the same units, so the same buffers stand for both.
        units, field = b.vector("units", n), b.vector("field", n)
        inv_n, w = b.scalar("inv_n"), b.matrix("w", n, n)
        patterns = b.table(np.stack([draw[0] for draw in draws]))
        cues = b.table(np.stack([draw[1] for draw in draws]))
        b.map(inv_n, repr(1.0 / n))
        with b.repeat(self.settings.passes), b.repeat(load) as row:
            b.load(units, patterns, row=row)
            b.matvec(field, w, units)
            b.rule(w=w, pre=units, post=units, field_pre=field, field_post=field, inv_n=inv_n)
        scorer = RecallScorer(b, n, self.settings.overlap, self.settings.recall_steps)
        state = b.vector("cue", n)
        with b.repeat(load) as row:
            b.load(units, patterns, row=row)
            b.load(state, cues, row=row)
            scorer.add(w, units, state)
        b.output(scorer.recalled)
        b.output(scorer.fixed)
        return b.build(
            projection=self.projection, dtype=self.dtype, draw_keys=engine_keys(keys, load)
        )


class RecallScorer:
    """Emits the phases that count the patterns recalled and the patterns that are fixed points."""

    def __init__(self, b: LifetimeBuilder, n: int, overlap: float, n_steps: int) -> None:
        self._b, self._n_steps = b, n_steps
        # Overlaps step by 2/n: half a step below the limit decides without rounding.
        self._least = overlap * n - 0.5
        self._state, self._product = b.vector("state", n), b.vector("product", n)
        self._agreement = b.scalar("agreement")
        self.recalled, self.fixed = b.scalar("recalled"), b.scalar("fixed")
        self._n = n

    def add(self, w: Buffer, pattern: Buffer, cue: Buffer) -> None:
        """Recall one pattern from its cue, and test whether it stays where it is."""
        b = self._b
        b.matvec(self._state, w, pattern)
        self._count(self.fixed, pattern, self._n - 0.5)
        with b.repeat(self._n_steps):
            b.matvec(self._state, w, cue)
            b.map(cue, SIGN, h=self._state)
        b.map(self._state, "s", s=cue)
        self._count(self.recalled, pattern, self._least)

    def _count(self, counter: Buffer, pattern: Buffer, least: float) -> None:
        b = self._b
        b.map(self._product, f"x * {SIGN}", x=pattern, h=self._state)
        b.reduce(self._agreement, "sum", self._product)
        b.map(counter, f"c + max(0, sign(s - {least!r}))", c=counter, s=self._agreement)


@lru_cache(maxsize=4096)
def draw_patterns(
    key: Key, n_units: int, n_patterns: int, flip: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Draw patterns and cues, both (n_patterns, n_units) of -1 and 1, for one load of a draw."""
    rng = draw_rng(key, n_patterns)
    patterns = rng.choice([-1.0, 1.0], (n_patterns, n_units))
    cues = np.where(rng.random(patterns.shape) < flip, -patterns, patterns)
    return patterns, cues
