"""A genetic algorithm whose genomes are seeds, for large vectors."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from evosearch.outcome import FloatArray
from evosearch.search.base import SEARCHES, State
from evosearch.search.vectors import VectorSearch, VectorSettings, clip_in_place

Genome: TypeAlias = tuple[int, ...]
"""The seeds of all mutations since x0."""

_BLOCK = 16


class DeepGaSettings(VectorSettings):
    """Settings of ``deep-ga``."""

    parents: int = Field(
        0, ge=0, le=1000, description="best candidates that have children; 0: 20, a fifth at most"
    )


@SEARCHES.register("deep-ga")
class DeepGa(VectorSearch):
    """Genetic algorithm with truncation selection, whose genomes are lists of seeds.

    A child is a parent, drawn uniformly from the best of the last generation, plus normal
    perturbations of size ``sigma0``; there is no crossover. The best candidate goes on unchanged
    and is scored again, which matters where fitness is noisy. The state is seeds alone, four bytes
    a mutation whatever the dimension; only the vectors of the parents lie in memory. Candidates
    are clipped to the bounds after each mutation.

    Source: F. P. Such, V. Madhavan, E. Conti, J. Lehman, K. O. Stanley, J. Clune, "Deep
    Neuroevolution: Genetic Algorithms Are a Competitive Alternative for Training Deep Neural
    Networks for Reinforcement Learning", 2017, arXiv:1712.06567, algorithm 1.
    """

    name = "deep-ga"
    Settings = DeepGaSettings
    _changing = ()
    _has_mean = False

    def __init__(self, space: Any, *, seed: int = 0, **settings: Any) -> None:
        super().__init__(space, seed=seed, **settings)
        n = self._population
        self._n_parents = min(n, self.settings.parents or max(1, min(20, n // 5)))
        self._genomes: list[Genome] = [()]
        self._vectors: list[FloatArray] = [self._mean]
        self._choices: NDArray[np.int64] = np.zeros(0, dtype=np.int64)
        self._seeds: NDArray[np.int64] = np.zeros(0, dtype=np.int64)
        self._noise: NDArray[np.float32] = np.empty(space.dimension, dtype=np.float32)
        self._points = self._buffer(min(_BLOCK, n))

    def state_dict(self) -> State:
        """Return the genomes of the parents (parents, longest), and how long each is."""
        lengths = np.array([len(genome) for genome in self._genomes], dtype=np.int64)
        genomes = np.zeros((len(lengths), lengths.max()), dtype=np.uint32)
        for row, genome in zip(genomes, self._genomes, strict=True):
            row[: len(genome)] = genome
        return {**super().state_dict(), "genomes": genomes, "lengths": lengths}

    def load_state_dict(self, state: State) -> None:
        """Take over the genomes and build their vectors again."""
        super().load_state_dict(state)
        rows = zip(state["genomes"].tolist(), state["lengths"].tolist(), strict=True)
        self._genomes = [tuple(row[:length]) for row, length in rows]
        self._vectors = self._built(self._genomes)

    def favourites(self) -> list[FloatArray]:
        """Return the best parent."""
        return [self._vectors[0].copy()]

    def _propose(self) -> Iterator[FloatArray]:
        n = self._population - 1
        self._choices = self._rng.integers(len(self._genomes), size=n)
        self._seeds = self._rng.integers(2**32, size=n)
        return self._blocks()

    def _learn(self, fitness: FloatArray) -> None:
        order = np.argsort(-fitness, kind="stable")[: self._n_parents]
        chosen = [int(k) for k in order if np.isfinite(fitness[k])]
        self._vectors, self._genomes = (
            [self._vector(k) for k in chosen],
            [self._genome(k) for k in chosen],
        )

    def _blocks(self) -> Iterator[FloatArray]:
        for start in range(0, self._population, _BLOCK):
            points = self._points[: min(_BLOCK, self._population - start)]
            for k, point in enumerate(points, start):
                point[:] = self._vector(k)
            yield points

    def _genome(self, k: int) -> Genome:
        """Return the genome of candidate ``k``; the first is the best parent itself."""
        if k == 0:
            return self._genomes[0]
        return (*self._genomes[self._choices[k - 1]], int(self._seeds[k - 1]))

    def _vector(self, k: int) -> FloatArray:
        if k == 0:
            return self._vectors[0]
        return self._mutated(self._vectors[self._choices[k - 1]], int(self._seeds[k - 1]))

    def _mutated(self, parent: FloatArray, seed: int) -> FloatArray:
        """Return a child (dimension,): a function of the parent and the seed."""
        np.random.Generator(np.random.SFC64(seed)).standard_normal(
            dtype=np.float32, out=self._noise
        )
        child = parent + self._sigma0 * self._noise.astype(np.float64)
        clip_in_place(child, self.space)
        return child

    def _built(self, genomes: Sequence[Genome]) -> list[FloatArray]:
        """Return the vectors of genomes; ancestors that several share are built once."""
        built: dict[Genome, FloatArray] = {(): self._mean}
        for n_seeds in range(1, 1 + max(map(len, genomes))):
            longer: dict[Genome, FloatArray] = {}
            for genome in genomes:
                prefix = genome[:n_seeds]
                if prefix in built:
                    longer[prefix] = built[prefix]
                elif prefix not in longer:
                    longer[prefix] = self._mutated(built[prefix[:-1]], prefix[-1])
            built = longer
        return [built[genome] for genome in genomes]
