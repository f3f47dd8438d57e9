"""The evolution strategy whose perturbations of weight matrices have low rank."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, Literal

import numpy as np
from pydantic import Field

from evosearch.errors import InputError
from evosearch.outcome import FloatArray
from evosearch.parted import PartedLowRank, layers_of, unit_parts
from evosearch.populations import LowRank
from evosearch.search.base import SEARCHES
from evosearch.search.low_rank_estimate import (
    Singles,
    drawn_noise,
    estimated_gradient,
    one_core,
    standardised_gains,
)
from evosearch.search.optimizers import adam_step
from evosearch.search.ranks import centred_ranks, filled
from evosearch.search.vectors import VectorSearch, VectorSettings

# Candidates that are written out at a time where somebody needs them dense.
_BLOCK = 64


class LowRankEsSettings(VectorSettings):
    """Settings of ``low-rank-es``."""

    rank: int = Field(1, ge=1, le=64, description="of the perturbation of a matrix")
    units: int = Field(
        0,
        ge=0,
        description="units of one layer (rows of its matrix) that a candidate perturbs; 0: all "
        "units of all layers",
    )
    mirrored: bool = Field(
        True, description="score each perturbation added and subtracted, not added alone"
    )
    noise: Literal["normal", "sign"] = Field(
        "normal", description="vectors of standard normal numbers, or of -1 and 1, drawn sooner"
    )
    shaping: Literal["standardised", "ranks"] = Field(
        "standardised", description="how fitness counts"
    )
    rate: float | None = Field(None, gt=0, description="learning rate of Adam; default: sigma0 / 5")
    horizon: int = Field(
        0,
        ge=0,
        description="candidates over which the rate falls to 0 along a cosine; 0: the budget of "
        "the run, never where there is none",
    )


@SEARCHES.register("low-rank-es")
class LowRankEs(VectorSearch):
    """Evolution strategy for networks: each matrix is perturbed by a product of two thin ones.

    A perturbation of a matrix (m, n) is a sum of ``rank`` outer products, m + n random numbers in
    place of m n, so that whoever scores the population can share the products with the mean, and
    what is learned is one matrix product for each layer. ``ask_blocks`` yields populations that
    are never written out; ``ask`` writes them out, and so do both where there are bounds.

    With ``units`` a candidate perturbs the weights and biases of so many units of one layer and
    leaves the rest: a direction drawn for the whole network is scored part by part. As the noise
    in a part of the estimated gradient comes from that part's weights alone, a population of the
    same number of random numbers tells many times more; the evaluator has to compute but what the
    few units change. Candidates that add alone, rather than in mirrored pairs, give twice the
    directions where steps are so small that fitness is linear in them; their fitness counts
    relative to the mean of all perturbations of the same part.

    Sources: B. Sarkar et al., "Evolution Strategies at the Hyperscale", 2025, arXiv:2511.16652,
    for the perturbation and its update; D. Kingma, J. Ba, "Adam", ICLR 2015, for the step.
    Scoring layer by layer and unit by unit is block-coordinate search of the same estimator.
    """

    name = "low-rank-es"
    passes_on = True
    Settings = LowRankEsSettings
    settings: LowRankEsSettings
    _changing = ("_mean", "_first", "_second", "_n_steps")

    def __init__(self, space: Any, *, seed: int = 0, **settings: Any) -> None:
        super().__init__(space, seed=seed, **settings)
        s, d = self.settings, space.dimension
        if not (s.mirrored or s.units):
            raise InputError("low-rank-es: mirrored is false, which needs units of at least 1.")
        self._shapes: tuple[tuple[int, ...], ...] = getattr(space, "shapes", ()) or ((d,),)
        self._parts = unit_parts(self._shapes, s.units or d) if s.units else None
        n_scored = (2 if s.mirrored else 1) * (1 if self._parts is None else len(self._parts))
        # Without mirrors fitness counts relative to others of the same part.
        self._n_drawn = max(1 if s.mirrored else 2, self._population // n_scored)
        self._rate = s.rate or self._sigma0 / 5
        self._first: FloatArray = np.zeros(d)
        self._second: FloatArray = np.zeros(d)
        self._n_steps = 0
        self._left: tuple[Singles, ...] = ()
        self._right: tuple[Singles | None, ...] = ()

    def ask(self) -> list[FloatArray]:
        """Return a generation written out, or what was not yet scored of the last one."""
        rows = [row for block in super().ask_blocks() for row in block]
        return rows[len(self._scores) :]

    def ask_blocks(self) -> Iterator[Any]:
        """Yield the whole generation as one population of low rank.

        Where there are bounds, or no matrices, in blocks (n, dimension).
        """
        if self._is_plain:
            yield from super().ask_blocks()
            return
        self._rewind()
        population = self._drawn()
        self._n_asked = len(population)
        yield population

    @property
    def _is_plain(self) -> bool:
        is_bounded = self.space.low is not None or self.space.high is not None
        return is_bounded or all(len(shape) == 1 for shape in self._shapes)

    def _propose(self) -> Iterator[FloatArray]:
        population = self._drawn()
        for start in range(0, len(population), _BLOCK):
            yield population[start : start + _BLOCK].dense()

    def _drawn(self) -> LowRank:
        """Draw the perturbations of a generation."""
        s, k, rank = self.settings, self._n_drawn, self.settings.rank
        rng = np.random.Generator(np.random.SFC64(int(self._rng.integers(2**63))))
        left: list[Singles] = []
        right: list[Singles | None] = []
        for shape in self._shapes:
            is_matrix = len(shape) == 2
            left.append(drawn_noise(rng, s.noise, (k, rank if is_matrix else 1, shape[0])))
            right.append(drawn_noise(rng, s.noise, (k, rank, shape[1])) if is_matrix else None)
        self._left, self._right = tuple(left), tuple(right)
        given = (self._mean.copy(), self._sigma0, self._shapes, self._left, self._right)
        if self._parts is None:
            return LowRank(*given)
        return PartedLowRank(*given, n_units=s.units, is_mirrored=s.mirrored)

    def _learn(self, fitness: FloatArray) -> None:
        weights = self._weights(fitness) / self._sigma0
        gradient = np.empty_like(self._mean)
        start = 0
        with one_core():
            for k, layer in enumerate(layers_of(self._shapes)):
                of_units = self._of_units(weights, k, self._shapes[layer[0]][0])
                for shape in layer:
                    estimate = estimated_gradient(self._left[shape], self._right[shape], of_units)
                    gradient[start : start + estimate.size] = estimate
                    start += estimate.size
        self._n_steps += 1
        rate = self._rate * self._schedule()
        moments = (self._first, self._second)
        self._move(adam_step(moments, gradient, n_steps=self._n_steps, rate=rate))

    def _weights(self, fitness: FloatArray) -> Singles:
        """Return what each part of each perturbation counts, (drawn, parts)."""
        values = centred_ranks(fitness) if self.settings.shaping == "ranks" else filled(fitness)
        return standardised_gains(values, self._n_drawn, is_mirrored=self.settings.mirrored)

    def _of_units(self, weights: Singles, layer: int, n_units: int) -> Singles:
        """Return the weight of each unit of a layer in each perturbation, (drawn, units)."""
        if self._parts is None:
            return np.broadcast_to(weights, (self._n_drawn, n_units))
        mine = np.flatnonzero(self._parts[:, 0] == layer)
        sizes = self._parts[mine, 2] - self._parts[mine, 1]
        return weights[:, np.repeat(mine, sizes)]

    def _schedule(self) -> float:
        if not self.settings.horizon:
            return 1.0
        share = min(1.0, (self._n_steps - 1) * self._n_asked / self.settings.horizon)
        return 0.5 * (1.0 + math.cos(math.pi * share))
