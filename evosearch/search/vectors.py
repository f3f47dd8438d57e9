"""What the searches over vectors share: generations, bounds and a state of named attributes."""

from __future__ import annotations

import math
import sys
from abc import abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from evosearch.errors import InputError
from evosearch.outcome import Evaluation, FloatArray
from evosearch.search.base import (
    Search,
    SearchSettings,
    State,
    n_penalised,
    new_rng,
    restore_rng,
    rng_state,
    usable_fitness,
)

_SMALLEST, _LARGEST = 1e-100, 1e100


class VectorSettings(SearchSettings):
    """Settings that all searches over vectors have."""

    population: int = Field(
        0, ge=0, le=1_000_000, description="candidates a generation; 0: 4 + 3 ln(dimension)"
    )
    sigma0: float | None = Field(
        None, gt=0, description="size of the first steps; default: the space's"
    )


class VectorSearch(Search):
    """A search that proposes a generation of vectors and learns from all of it at once.

    Candidates are clipped to the bounds, each number by its own; what a search learns from is
    the step before clipping where it draws from a distribution, whose mean is clipped as well,
    and the clipped candidate where it keeps candidates. Where the budget cuts a generation
    short, the rest of it is asked next, so that an extended run equals a longer one. Where all of
    a generation failed nothing changes but the generator. Where lives pass on what they learned,
    the mean moves by what those of a generation learned on average, after what fitness says.

    A search writes the methods below with an underscore. ``_propose`` draws numbers and changes
    nothing else that lasts, so that the generator before it and the attributes named in
    ``_changing`` are the whole state.
    """

    space_kinds = ("coefficients", "vector")
    Settings = VectorSettings
    _changing: ClassVar[tuple[str, ...]]
    """Attributes that ``_learn`` changes: arrays of float64, and numbers."""
    _has_mean: ClassVar[bool] = True
    """Whether the mean is worth a score of its own when a run ends."""

    def __init__(self, space: Any, *, seed: int = 0, **settings: Any) -> None:
        super().__init__(space, seed=seed, **settings)
        s = self.settings
        self._rng = new_rng(seed)
        self._sigma0 = float(s.sigma0 if s.sigma0 is not None else space.sigma0)
        self._population = int(s.population or 4 + int(3 * math.log(space.dimension)))
        self._l1 = float(getattr(space, "l1", 0.0))
        self._mean: FloatArray = np.array(space.x0, dtype=np.float64)
        self._scores: list[float] = []
        self._learned: FloatArray | None = None
        self._rng_before: dict[str, Any] | None = None
        self._n_asked = 0

    @abstractmethod
    def _propose(self) -> Iterable[NDArray[Any]]:
        """Return blocks (n, dimension) of one generation, the same for the same generator."""

    @abstractmethod
    def _learn(self, fitness: FloatArray) -> None:
        """Learn the fitness (n,) of all that was proposed; not finite: failed, but not all."""

    def ask(self) -> list[FloatArray]:
        """Return a generation, or what was not yet scored of the last one."""
        rows = [row for block in self.ask_blocks() for row in block.astype(np.float64)]
        return rows[len(self._scores) :]

    def ask_blocks(self) -> Iterator[NDArray[Any]]:
        """Yield the whole generation in blocks (n, dimension), float64 or float32.

        Each block is valid until the next one or ``tell``; where it is scored at once, a large
        population never lies in memory.
        """
        self._rewind()
        self._n_asked = 0
        for block in self._propose():
            clip_in_place(block, self.space)
            self._n_asked += len(block)
            yield block

    @property
    def is_between_generations(self) -> bool:
        """Whether no generation was told in part."""
        return not self._scores

    def _rewind(self) -> None:
        """Put the generator where it was before the generation: asking again gives the same."""
        if self._rng_before is None:
            self._rng_before = rng_state(self._rng)
        else:
            restore_rng(self._rng, self._rng_before)

    def tell(self, candidates: Sequence[FloatArray], evaluation: Evaluation) -> None:
        """Learn once all of the generation was scored."""
        fitness = usable_fitness(evaluation, len(candidates))
        if self._rng_before is None:
            for _ in self.ask_blocks():
                pass
        if len(self._scores) + len(fitness) > self._n_asked:
            raise InputError(f"tell() got more candidates than the {self._n_asked} asked.")
        if self._l1 > 0.0:
            n = n_penalised(self.space)
            fitness -= [self._l1 * float(np.abs(candidate[:n]).sum()) for candidate in candidates]
        if evaluation.learned is not None:
            learned = evaluation.learned[np.isfinite(fitness)].sum(axis=0)
            self._learned = learned if self._learned is None else self._learned + learned
        self._scores.extend(fitness.tolist())
        if len(self._scores) < self._n_asked:
            return
        scores, learned = np.array(self._scores), self._learned
        self._scores, self._learned, self._rng_before = [], None, None
        if np.isfinite(scores).any():
            self._learn(scores)
            if learned is not None:
                self._move(learned / np.isfinite(scores).sum())

    def state_dict(self) -> State:
        """Return the attributes that change, the scores so far and the generator before them."""
        state: State = {
            "rng": dict(self._rng_before or rng_state(self._rng)),
            "scores": np.array(self._scores),
        }
        for name in self._changing:
            value = getattr(self, name)
            state[name.lstrip("_")] = value if isinstance(value, int) else np.array(value)
        if self._learned is not None:
            state["learned"] = self._learned
        return state

    def load_state_dict(self, state: State) -> None:
        """Take over the attributes; a generation that was told in part is proposed again."""
        restore_rng(self._rng, state["rng"])
        self._rng_before = None
        self._scores = np.asarray(state["scores"], dtype=np.float64).tolist()
        self._learned = state.get("learned")
        for name in self._changing:
            value = state[name.lstrip("_")]
            if not isinstance(value, int):
                value = np.array(value, dtype=np.float64)
                value = value if value.ndim else float(value)
            setattr(self, name, value)

    def favourites(self) -> list[FloatArray]:
        """Return the mean where there is one: under noise it is better than any sample."""
        return [self.space.clip(self._mean)] if self._has_mean else []

    def _buffer(self, n: int) -> FloatArray:
        """Return an array (n, dimension) to be filled again each generation."""
        return np.empty((n, self.space.dimension))

    def _move(self, step: FloatArray) -> None:
        """Add a step (dimension,) to the mean, within bounds."""
        self._mean += step
        clip_in_place(self._mean, self.space)


def asked(search: Search) -> tuple[Sequence[Any], Iterable[Any]]:
    """Return the candidates of a generation, to be told, and the blocks of points to score.

    A search over plain vectors that learns from fitness alone draws its candidates again when it
    learns, so that neither they nor all blocks need to be kept; their number stands for them.
    """
    if isinstance(search, VectorSearch) and search.space.kind == "vector":
        return range(sys.maxsize), search.ask_blocks()
    candidates = search.ask()
    return candidates, [np.array(candidates)] if candidates else []


def clip_in_place(points: NDArray[Any], space: Any) -> None:
    """Move every number of ``points`` (…, dimension) into the bounds of its parameter."""
    if space.low is not None:
        np.maximum(points, _inside(space.low, np.inf, points.dtype), out=points)
    if space.high is not None:
        np.minimum(points, _inside(space.high, -np.inf, points.dtype), out=points)


def _inside(bound: Any, inner: float, dtype: Any) -> NDArray[Any]:
    """Return a bound in the type of the points, rounded towards ``inner``, not out of the box."""
    rounded = np.asarray(bound, dtype=dtype)
    is_outside = rounded < bound if inner > 0 else rounded > bound
    return np.where(is_outside, np.nextafter(rounded, dtype.type(inner)), rounded)


def limited(sigma: Any) -> Any:
    """Keep step sizes, one or many, where neither they nor their squares over- or underflow."""
    return np.clip(sigma, _SMALLEST, _LARGEST)
