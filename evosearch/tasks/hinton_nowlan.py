"""How learning can guide evolution: genomes whose undecided loci are guessed within a life."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from evosearch.outcome import FloatArray
from evosearch.populations import LowRank
from evosearch.tasks.base import (
    TASKS,
    Domain,
    Key,
    TaskSettings,
    VectorScores,
    VectorTask,
    engine_keys,
)
from evosearch.tasks.function import as_points

WRONG_BELOW, RIGHT_BELOW = 0.25, 0.5
"""A number below the first is the allele 0, below the second 1, all others are undecided."""


class HintonNowlanSettings(TaskSettings):
    """Settings of ``hinton_nowlan``."""

    loci: int = Field(20, ge=1, le=64, description="loci of a genome")
    guesses: int = Field(1000, ge=1, le=10_000_000, description="guesses in a lifetime at most")
    learning: bool = Field(True, description="whether undecided loci are guessed within a lifetime")
    prize: float = Field(
        19.0, gt=0, allow_inf_nan=False, description="fitness that finding the target at once adds"
    )


@TASKS.register("hinton_nowlan")
class HintonNowlanTask(VectorTask):
    """A needle in a haystack, found sooner because lifetimes guess around it.

    A candidate holds one number in [0, 1] for each locus: below 1/4 the allele is 0, below 1/2 it
    is 1, otherwise undecided, so that uniform numbers give these three alleles with probabilities
    1/4, 1/4 and 1/2. The target is all ones. A lifetime guesses all undecided loci at once, up to
    ``guesses`` times, until all loci are right; fitness is 1 + prize * n / guesses with n guesses
    left, and 1 where none was right, as with any 0. Without learning an undecided locus counts as
    wrong. A draw is the luck of one lifetime. Its guesses follow from the draw and from which loci
    are undecided: genomes that differ in these guess independently; those that do not differ guess
    the same, so that a genome has one fitness on a draw. (In the source copies of a genome differ
    in luck as well.) Metrics: mean guesses of a lifetime, in vain or not, and the shares of the
    three alleles.

    Source: G. Hinton, S. Nowlan, "How learning can guide evolution", Complex Systems 1, 1987.
    """

    Settings = HintonNowlanSettings
    baselines = ("start", "undecided", "target")
    largest_block = 4096
    settings: HintonNowlanSettings

    def domain(self) -> Domain:
        """Return the unit box, with a start of which every locus is undecided."""
        return Domain(np.full(self.settings.loci, 0.75), sigma0=0.25, low=0.0, high=1.0)

    def score(self, points: FloatArray | LowRank, keys: Sequence[Key], split: str) -> VectorScores:
        """Live one lifetime a draw for each genome."""
        s = self.settings
        points = as_points(points, s.loci)
        is_wrong, is_open = alleles(points)
        used = np.where(is_open.any(axis=1, keepdims=True), s.guesses + 1.0, 0.0)
        used = np.repeat(used, len(keys), axis=1)
        if s.learning:
            from evosearch.tasks.kernels.guessing import guess

            seeds = engine_keys(keys).astype(np.uint64)
            seeds = seeds[:, 0] << np.uint64(32) | seeds[:, 1]
            guess(_bits(is_wrong), _bits(is_open), seeds, s.guesses, used)
        is_hit = ~is_wrong.any(axis=1, keepdims=True) & (used <= s.guesses)
        fitness = 1.0 + s.prize * is_hit * (s.guesses - used) / s.guesses
        guesses = np.minimum(used, s.guesses).mean(axis=1) * s.learning
        shares = {"zeros": is_wrong, "ones": ~(is_wrong | is_open), "undecided": is_open}
        metrics = {name: share.mean(axis=1) for name, share in shares.items()}
        return VectorScores(fitness, {"guesses": guesses, **metrics})

    def baseline(self, name: str) -> FloatArray:
        """Return a genome of undecided loci, or of ones."""
        return np.full(self.settings.loci, 0.375) if name == "target" else self.domain().x0


def alleles(points: FloatArray) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Return which loci of genomes (n, loci) are 0, and which are undecided."""
    return points < WRONG_BELOW, points >= RIGHT_BELOW


def _bits(flags: NDArray[np.bool_]) -> NDArray[np.uint64]:
    """Return (n,) words with locus k as bit k."""
    places = np.uint64(1) << np.arange(flags.shape[1], dtype=np.uint64)
    return np.where(flags, places, np.uint64(0)).sum(axis=1, dtype=np.uint64)
