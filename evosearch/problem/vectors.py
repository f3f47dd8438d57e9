"""Problems whose candidates are vectors: weights of networks, or points of a function's domain."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from evosearch.config import VectorConfig
from evosearch.errors import InputError, unknown_name
from evosearch.outcome import FloatArray, Lived
from evosearch.populations import LowRank
from evosearch.problem.base import Chunk, Draws, Problem
from evosearch.spaces.vector import VectorSpace, read_vector
from evosearch.tasks.base import Domain, VectorTask

if TYPE_CHECKING:
    from evosearch.search.base import Search


class VectorProblem(Problem):
    """A problem whose candidates are vectors of real numbers."""

    kind = "vector"

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._tasks: dict[tuple[str, str], VectorTask] = {}
        self._known: dict[str, FloatArray] = {}
        super().__init__(*args, **kwargs)

    @property
    def eta_factors(self) -> tuple[float, ...]:
        """A vector has no step size."""
        return (1.0,)

    @property
    def largest_chunk(self) -> int:
        """Vectors that the task is given at a time."""
        return self._task_class().largest_block if self.is_compiled else 1

    @property
    def is_python(self) -> bool:
        """Whether scoring runs Python step by step, and so in processes rather than threads."""
        return not self.is_compiled or self._task_class().is_python

    @property
    def dimension(self) -> int:
        """Numbers in a vector."""
        return self._space.dimension

    def space(self, representation: str = "vector") -> VectorSpace:
        """Return the vectors that are searched.

        Raises:
            InputError: a bound or a start of the file does not fit the task.
        """
        if representation != "vector":
            raise unknown_name("representation", representation, ["vector"])
        return self._space

    def task(self, split: str, device: str = "cpu") -> VectorTask:
        """Return the built-in task with the settings of a split, made once."""
        key = (split, device)
        if key not in self._tasks:
            if device != "cpu" and not self._task_class().has_devices:
                raise InputError(
                    f"{self.source}: the task {self.config.task_kind} runs on the CPU alone; "
                    "leave out --device."
                )
            settings, seed = self._task_settings(split), self.config.seed
            try:
                self._tasks[key] = self._task_class()(settings, seed=seed, device=device)
            except InputError as error:
                raise InputError(f"{self.source}: task: {error}") from None
        return self._tasks[key]

    def prepare(self, draws: Draws, device: str = "cpu") -> None:
        """Build the task of the draws' split now, e.g. before threads share it."""
        if self.is_compiled:
            try:
                self.task(draws.split, device).prepare()
            except InputError as error:
                raise InputError(f"{self.source}: task {self.config.task_kind}: {error}") from None

    def score(
        self,
        candidates: Sequence[FloatArray] | FloatArray | LowRank,
        scales: NDArray[np.float64] | Sequence[float],
        draws: Draws,
        device: str = "cpu",
    ) -> Chunk:
        """Score n vectors on draws.

        Args:
            candidates: n vectors (d,), an array (n, d), or a population of low rank.
            scales: (n,) of no meaning for vectors.
            draws: which draws.
            device: ``cpu`` or a torch device.
        """
        points = candidates if isinstance(candidates, LowRank) else np.asarray(candidates)
        scores = self.task(draws.split, device).score(points, draws.keys, draws.split)
        n = len(scores.per_draw)
        return Chunk(
            scores.per_draw,
            self.aggregate(scores.per_draw),
            np.zeros(n),
            Lived(n * len(draws)),
            scores.metrics,
            scores.learned,
        )

    def read(self, text: str) -> FloatArray:
        """Read a JSON list of as many numbers as the problem has."""
        return read_vector(text, self.dimension)

    def write(self, candidate: FloatArray) -> str:
        """Write a JSON list; of a long vector a reference that only tells it from others."""
        return self._space.label(candidate)

    def resolve(self, text: str) -> FloatArray:
        """Return a vector given by the name of a known one or as a JSON list."""
        name = text.strip()
        if name in self.config.known:
            known = self.known_candidate(name)
            if known is None:
                raise InputError(f"{name} is a figure of {self.name}, not a vector.")
            return known
        if not name.startswith("["):
            raise unknown_name("vector", name, self.config.known)
        return self.read(name)

    def known_candidate(self, name: str) -> FloatArray | None:
        """Return a baseline of the task, made when first asked for; None for a figure alone."""
        baseline = self.config.known[name].baseline
        if baseline is None:
            return None
        if name not in self._known:
            found = self.task("search").baseline(baseline) if self.is_compiled else self._space.x0
            self._known[name] = np.asarray(found, np.float64)
        return self._known[name]

    @property
    def _vector(self) -> VectorConfig:
        assert self.config.vector is not None, "a problem of vectors has a section vector"
        return self.config.vector

    @cached_property
    def _space(self) -> VectorSpace:
        own = self._vector
        domain = self.task("search").domain() if self.is_compiled else self._domain_of_user()
        given = own.model_dump(exclude={"dimension"}, exclude_none=True)
        values = {name: getattr(domain, name) for name in ("x0", "sigma0", "low", "high")} | given
        try:
            shapes, is_listed = domain.shapes, domain.is_listed
            return VectorSpace(len(domain.x0), shapes=shapes, is_listed=is_listed, **values)
        except InputError as error:
            raise InputError(f"{self.source}: vector: {error}") from None

    def _domain_of_user(self) -> Domain:
        if self._vector.dimension is None:
            raise InputError(
                f"{self.source}: vector.dimension is missing; a task of your own needs it."
            )
        return Domain(np.zeros(self._vector.dimension))

    def _check_fit(self, search: type[Search], representation: str, settings: Any) -> None:
        """A search over many numbers is only made to be run; here its kind is looked at."""
        from evosearch.search.base import searches_of

        if VectorSpace.kind not in search.space_kinds:
            able = ", ".join(searches_of(VectorSpace.kind))
            raise InputError(f"it does not search vectors; these do: {able}.")

    def check_search(self, search: Search) -> None:
        """Check that a search passes on what lives learned, where the task says so.

        Raises:
            InputError: it keeps to what it drew.
        """
        is_passed_on = self.is_compiled and self.task("search").passes_on
        if is_passed_on and not search.passes_on:
            from evosearch.search.base import SEARCHES

            able = [name for name in SEARCHES.names() if SEARCHES.get(name).passes_on]
            raise InputError(
                f"{self.source}: what a life learned is inherited here, which {search.name} does "
                f"not do; use one of {', '.join(able)}."
            )

    def _check_task(self) -> None:
        if self.is_compiled:
            task = self._task_class()
            if not issubclass(task, VectorTask):
                raise InputError(
                    f"{self.source}: task.kind {self.config.task_kind!r} scores rules, not "
                    "vectors; replace the section [vector] by [rule]."
                )
            if self._vector.dimension is not None:
                raise InputError(
                    f"{self.source}: vector.dimension is given, but the task "
                    f"{self.config.task_kind} has its own; leave it out."
                )
            self._check_known(task.baselines)
            self._check_space(task)
        else:
            self._check_known(("start",))

    def _check_space(self, task: type[VectorTask]) -> None:
        """Check bounds and start now, where this needs no library that may be missing."""
        if not task.is_python:
            self.space()

    def _check_known(self, baselines: Sequence[str]) -> None:
        for name, entry in self.config.known.items():
            where = f"{self.source}: known.{name}"
            if entry.library is not None or entry.text is not None:
                raise InputError(f"{where}: a vector is given by baseline or value.")
            if entry.baseline is not None and entry.baseline not in baselines:
                raise InputError(
                    f"{where}.baseline: {unknown_name('baseline', entry.baseline, baselines)}"
                )
