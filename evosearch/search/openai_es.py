"""The evolution strategy of OpenAI, with perturbations that are drawn again from seeds."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from evosearch.outcome import FloatArray
from evosearch.search.base import SEARCHES
from evosearch.search.optimizers import adam_step, momentum_step
from evosearch.search.ranks import centred_ranks
from evosearch.search.vectors import VectorSearch, VectorSettings

# Pairs whose perturbations are drawn, and summed, at a time; part of what a seed means.
_BLOCK = 8
_TABLE_SEED = 0x7AB1E
_TABLE_SIZE = 2**24


class OpenAiEsSettings(VectorSettings):
    """Settings of ``openai-es``."""

    optimizer: Literal["adam", "sgd"] = Field("adam", description="what turns gradients to steps")
    rate: float | None = Field(None, gt=0, description="learning rate; default: sigma0 / 5")
    momentum: float = Field(0.9, ge=0, lt=1, description="of sgd")
    weight_decay: float = Field(0.0, ge=0, description="what the gradient loses per unit of mean")
    decay: float = Field(
        1.0, gt=0, le=1, description="factor of step size and learning rate each generation"
    )
    noise: Literal["drawn", "table"] = Field(
        "drawn",
        description="new random numbers, or slices at random of one table of 64 MB: several "
        "times as fast, for large dimensions",
    )
    replay: bool = Field(
        True, description="draw perturbations again to learn from them, rather than keep them"
    )


@SEARCHES.register("openai-es")
class OpenAiEs(VectorSearch):
    """Evolution strategy of OpenAI: a gradient estimated from mirrored perturbations of one size.

    Fitness counts by centred ranks. A generation is one number, the seed from which each block of
    perturbations is drawn, in float32, once to ask and once to learn; with ``ask_blocks`` memory
    does not grow with the population. Numbers may also be slices of one table, as in the paper's
    section 2.1. Without ``decay`` it ends in a neighbourhood of an optimum whose size step size and
    learning rate set. An odd population is rounded down to pairs; candidates are clipped to the
    bounds.

    Source: T. Salimans, J. Ho, X. Chen, S. Sidor, I. Sutskever, "Evolution Strategies as a
    Scalable Alternative to Reinforcement Learning", 2017, arXiv:1703.03864, algorithm 2 with the
    mirrored samples, ranks and weight decay of its section 2.
    """

    name = "openai-es"
    Settings = OpenAiEsSettings
    _changing = ("_mean", "_first", "_second", "_n_steps")

    def __init__(self, space: Any, *, seed: int = 0, **settings: Any) -> None:
        super().__init__(space, seed=seed, **settings)
        d = space.dimension
        self._n_pairs = max(1, self._population // 2)
        self._rate = self.settings.rate or self._sigma0 / 5
        self._first: FloatArray = np.zeros(d)
        self._second: FloatArray = np.zeros(d if self.settings.optimizer == "adam" else 0)
        self._n_steps = 0
        self._seed = 0
        self._table = _table(d) if self.settings.noise == "table" else None
        n_kept = 1 if self.settings.replay else -(-self._n_pairs // _BLOCK)
        size = min(_BLOCK, self._n_pairs)
        self._noise: NDArray[np.float32] = np.empty((n_kept, size, d), dtype=np.float32)
        self._points = self._buffer(2 * size)

    def _propose(self) -> Iterator[FloatArray]:
        self._seed = int(self._rng.integers(2**63))
        return self._blocks()

    def _learn(self, fitness: FloatArray) -> None:
        s, sigma = self.settings, self._sigma0 * self._factor()
        ranks = centred_ranks(fitness)
        weights = (ranks[0::2] - ranks[1::2]).astype(np.float32)
        gradient = -s.weight_decay * self._mean
        for k, start in enumerate(range(0, self._n_pairs, _BLOCK)):
            noise = self._drawn(k) if s.replay else self._noise_of(k)
            gradient += (weights[start : start + _BLOCK] @ noise) / (2 * self._n_pairs * sigma)
        rate = self._rate * self._factor()
        self._n_steps += 1
        if s.optimizer == "adam":
            moments = (self._first, self._second)
            self._move(adam_step(moments, gradient, n_steps=self._n_steps, rate=rate))
        else:
            self._move(momentum_step(self._first, gradient, rate=rate, momentum=s.momentum))

    def _factor(self) -> float:
        return float(self.settings.decay**self._n_steps)

    def _blocks(self) -> Iterator[FloatArray]:
        sigma = np.float32(self._sigma0 * self._factor())
        for k in range(-(-self._n_pairs // _BLOCK)):
            noise = self._drawn(k)
            points = self._points[: 2 * len(noise)]
            np.multiply(noise, sigma, out=points[0::2])
            np.subtract(self._mean, points[0::2], out=points[1::2])
            points[0::2] += self._mean
            yield points

    def _noise_of(self, k: int) -> NDArray[np.float32]:
        """Return where block ``k`` of the perturbations lies, (pairs, dimension)."""
        n = min(_BLOCK, self._n_pairs - k * _BLOCK)
        return self._noise[k if len(self._noise) > 1 else 0, :n]

    def _drawn(self, k: int) -> NDArray[np.float32]:
        """Draw block ``k``: standard normal, from the seed of the generation and ``k`` alone."""
        noise = self._noise_of(k)
        rng = np.random.Generator(np.random.SFC64([self._seed, k]))
        if self._table is None:
            rng.standard_normal(dtype=np.float32, out=noise)
            return noise
        d = self.space.dimension
        starts = rng.integers(len(self._table) - d, size=len(noise))
        for row, start in zip(noise, starts, strict=True):
            row[:] = self._table[start : start + d]
        return noise


@lru_cache(maxsize=1)
def _table(dimension: int) -> NDArray[np.float32]:
    """Return standard normal numbers, the same for every seed, at least two vectors of them."""
    rng = np.random.Generator(np.random.SFC64(_TABLE_SEED))
    table = rng.standard_normal(max(_TABLE_SIZE, 2 * dimension), dtype=np.float32)
    table.flags.writeable = False
    return table
