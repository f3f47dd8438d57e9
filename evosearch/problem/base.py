"""What every problem is: candidates, draws, baselines, searches that fit, and a way to score."""

from __future__ import annotations

import hashlib
import zlib
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from evosearch.config import Config, SearchConfig, SplitConfig, SuccessConfig, check
from evosearch.errors import InputError, unknown_name
from evosearch.outcome import FloatArray, Lived
from evosearch.tasks.base import TASKS, Key, PythonTask
from evosearch.tasks.user import is_user_kind, load_user_task, source_hash

if TYPE_CHECKING:
    from evosearch.search.base import Search
    from evosearch.spaces.base import Space

SEARCH = "search"
_SPLIT_CODES = {"search": 0, "validation": 1, "test": 2}
_KINDS = {"tree": "rule"}  # kind of the space of a representation, where it is called otherwise
_AGGREGATES = {"mean": np.mean, "min": np.min, "median": np.median}


@dataclass(frozen=True)
class Draws:
    """Draws of one split: their keys are all that their data depend on."""

    split: str
    keys: tuple[Key, ...]

    def __len__(self) -> int:
        return len(self.keys)

    @cached_property
    def digest(self) -> str:
        """Short hash of split and keys."""
        return hashlib.sha256(repr((self.split, self.keys)).encode()).hexdigest()[:16]


@dataclass(frozen=True)
class Chunk:
    """How n candidates did on D draws.

    Attributes:
        per_draw: (n, D) fitness.
        fitness: (n,) the draws aggregated as the problem says.
        exploded: (n,) share of draws whose lifetime ended in a non-finite value.
        lived: what it took.
        metrics: further figures, each (n,).
        learned: (n, d) what its lives would add to each vector; None for nothing.
    """

    per_draw: FloatArray
    fitness: FloatArray
    exploded: FloatArray
    lived: Lived
    metrics: dict[str, FloatArray] = field(default_factory=dict)
    learned: FloatArray | None = None


class Problem(ABC):
    """A problem, ready to score candidates and to say which searches fit it.

    Args:
        config: the checked problem file, presets applied.
        source: name of the file in messages.
        folder: where a user's own task is looked for.

    Attributes:
        kind: what a candidate is: ``rule`` or ``vector``.

    Raises:
        InputError: a name or value of the file is wrong for the task or for a search.
    """

    kind: ClassVar[str]

    def __init__(self, config: Config, *, source: str, folder: Path) -> None:
        self.config = config
        self.source = source
        self.folder = folder
        self.name = config.name
        self._python: dict[str, PythonTask] = {}
        self._check_task()
        for split in config.splits:
            self._task_settings(split)
        for name in config.searches:
            self._check_search(name)

    @abstractmethod
    def space(self, representation: str) -> Space:
        """Return what is searched in one representation.

        Raises:
            InputError: the problem does not admit it, or a value of it is wrong.
        """

    @abstractmethod
    def score(
        self,
        candidates: Any,
        scales: NDArray[np.float64] | Sequence[float],
        draws: Draws,
        device: str = "cpu",
    ) -> Chunk:
        """Score n candidates on draws.

        Args:
            candidates: n candidates, or a block of vectors.
            scales: (n,) factors of the step size, 1 where there is none.
            draws: which draws.
            device: ``cpu`` or a torch device.

        Raises:
            InputError: a candidate does not fit the task.
        """

    @abstractmethod
    def prepare(self, draws: Draws, device: str = "cpu") -> None:
        """Build what scoring on ``draws`` needs now, e.g. before threads share it."""

    @abstractmethod
    def read(self, text: str) -> Any:
        """Return the candidate that a text writes down."""

    @abstractmethod
    def write(self, candidate: Any) -> str:
        """Return the text that ``read`` reads."""

    @abstractmethod
    def resolve(self, text: str) -> Any:
        """Return a candidate that a person names or writes.

        Raises:
            InputError: there is none of this name, or the text is no candidate.
        """

    @abstractmethod
    def known_candidate(self, name: str) -> Any:
        """Return a candidate of the section ``known``; None where it is a figure alone."""

    @property
    @abstractmethod
    def eta_factors(self) -> tuple[float, ...]:
        """Factors of the step size at which candidates are scored."""

    @property
    @abstractmethod
    def largest_chunk(self) -> int:
        """Candidates that ``score`` is best given at a time."""

    @property
    def is_compiled(self) -> bool:
        """Whether scores are made by a task of the toolkit, not by a user's Python function."""
        return not is_user_kind(self.config.task_kind)

    @property
    def is_python(self) -> bool:
        """Whether scoring runs Python step by step, and so in processes rather than threads."""
        return not self.is_compiled

    @property
    def floor(self) -> str | None:
        """Name of the trivial control."""
        return self.config.floor

    @property
    def ceiling(self) -> str | None:
        """Name of the reference."""
        return self.config.ceiling

    @property
    def success(self) -> SuccessConfig | None:
        """When a run counts as successful."""
        return self.config.success

    @property
    def default_search(self) -> str:
        """Name of the search that a run takes where none is named."""
        return self.config.default_search

    @property
    def splits(self) -> tuple[str, ...]:
        """Names of the splits."""
        return tuple(self.config.splits)

    def default_budget(self, search: str) -> int:
        """Return the candidate evaluations of a run of ``search``."""
        return self._search_config(search).budget

    def representation(self, search: str) -> str:
        """Return ``tree``, ``coefficients``, ``table`` or ``vector``."""
        return self._search_config(search).representation

    def n_search_draws(self, search: str) -> int:
        """Return how many draws a search scores candidates on: its own number or the split's."""
        own = self._search_config(search).draws
        return self.config.splits[SEARCH].draws if own is None else own

    def is_fresh(self, search: str) -> bool:
        """Whether a search meets new draws in each generation."""
        own = self._search_config(search).is_fresh
        return self.config.splits[SEARCH].is_fresh if own is None else own

    def racing(self, search: str) -> int | None:
        """Return the draws after which a search's candidates may be dropped, None for never."""
        return self._search_config(search).racing

    def search_settings(self, search: str) -> dict[str, Any]:
        """Return the settings of a search on this problem.

        Raises:
            InputError: there is no such search, or it does not search what the problem offers.
        """
        return self._search_config(search).settings

    def draws(
        self,
        split: str,
        *,
        run_seed: int = 0,
        generation: int = 0,
        count: int | None = None,
        search: str | None = None,
    ) -> Draws:
        """Return draws of a split.

        Args:
            split: name of a split.
            run_seed: seed of the run; only search draws depend on it.
            generation: matters where the search draws are fresh in each generation.
            count: how many; None for the split's own number, or for that of ``search``.
            search: name of a search, which may have its own number of draws and fresh ones.

        Raises:
            InputError: there is no such split.
        """
        if split not in self.config.splits:
            raise unknown_name("split", split, self.config.splits)
        config = self.config.splits[split]
        n = config.draws if count is None else count
        code = _SPLIT_CODES.get(split)
        code = 3 + zlib.crc32(split.encode()) if code is None else code
        if split == SEARCH:
            n = self.n_search_draws(search) if search and count is None else n
            is_fresh = self.is_fresh(search) if search else config.is_fresh
            batch = generation if is_fresh else 0
            return Draws(split, tuple((run_seed, code, batch, d) for d in range(n)))
        return Draws(split, tuple((self.config.seed, code, d) for d in range(n)))

    def python_task(self, split: str) -> PythonTask:
        """Import the user's own task with the settings of a split."""
        if split not in self._python:
            settings = self._task_settings(split)
            self._python[split] = load_user_task(self.config.task_kind, self.folder, settings)
        return self._python[split]

    def source_hash(self) -> str:
        """Return the hash of the user's own task, empty for a built-in one."""
        return "" if self.is_compiled else source_hash(self.config.task_kind, self.folder)

    def data_hash(self) -> str:
        """Return the hash of the table that a built-in task reads, empty where it names none.

        Raises:
            InputError: the file cannot be read.
        """
        file = self.config.task.get("file") if self.is_compiled else None
        return hash_of_file(file) if isinstance(file, str) else ""

    def aggregate(self, per_draw: FloatArray) -> FloatArray:
        """Return (n,) from (n, D) draws: mean, min or median."""
        return np.asarray(_AGGREGATES[self.config.aggregate](per_draw, axis=1), dtype=np.float64)

    @property
    def has_rows(self) -> bool:
        """Whether candidates are formulas that are scored on a table."""
        return False

    def check_search(self, search: Search) -> None:  # noqa: B027 most take any that fits
        """Check that a search can do what the task asks of it beyond fitting its space."""

    @abstractmethod
    def _check_fit(self, search: type[Search], representation: str, settings: Any) -> None:
        """Check that a search goes over the space of a representation, with these settings."""

    @abstractmethod
    def _check_task(self) -> None:
        """Check what the file says of candidates against the task."""

    def _task_class(self) -> Any:
        """Return the class of the built-in task."""
        try:
            return TASKS.get(self.config.task_kind)
        except InputError as error:
            raise InputError(f"{self.source}: task.kind: {error}") from None

    def _task_settings(self, split: str) -> Any:
        """Return the task's settings on a split, checked; a mapping for a user's own task."""
        own = {key: value for key, value in self.config.task.items() if key != "kind"}
        changed = self.config.splits[split].task_settings
        if not self.is_compiled:
            return own | changed
        model = self._task_class().Settings
        check(model, own, source=self.source, prefix="task", more=("kind",))
        keys = tuple(SplitConfig.model_fields)
        return check(model, own | changed, source=self.source, prefix=f"splits.{split}", more=keys)

    def _check_search(self, name: str) -> None:
        """Check that a search exists, fits its representation and takes its settings."""
        from evosearch.search.base import SEARCHES

        keys = tuple(SearchConfig.model_fields)
        try:
            cls = SEARCHES.get(name)
        except InputError as error:
            raise InputError(f"{self.source}: searches.{name}: {error}") from None
        settings, prefix = self.search_settings(name), f"searches.{name}"
        check(cls.Settings, settings, source=self.source, prefix=prefix, more=keys)
        try:
            self._check_fit(cls, self.representation(name), settings)
        except InputError as error:
            message = str(error).removeprefix(f"{self.source}: ")
            raise InputError(f"{self.source}: searches.{name}: {message}") from None

    def _search_config(self, search: str) -> SearchConfig:
        """Return the section of a search; one that has none gets the default search's budget."""
        if search in self.config.searches:
            return self.config.searches[search]
        from evosearch.search.base import SEARCHES

        usual = self.config.searches[self.config.default_search]
        used = [one.representation for one in self.config.searches.values()]
        offered = dict.fromkeys([usual.representation, *used])
        for representation in offered:
            if self._fits(search, [representation]):
                return SearchConfig.model_validate(
                    {"budget": usual.budget, "representation": representation}
                )
        fitting = [name for name in SEARCHES.names() if self._fits(name, offered)]
        raise InputError(
            f"search {search!r} does not search what {self.name} offers "
            f"({', '.join(offered)}); these do: {', '.join(fitting)}."
        )

    @staticmethod
    def _fits(search: str, representations: Iterable[str]) -> bool:
        from evosearch.search.base import SEARCHES

        kinds = SEARCHES.get(search).space_kinds
        return any(_KINDS.get(one, one) in kinds for one in representations)


def hash_of_file(path: str) -> str:
    """Return the hash of a file, which is read again where it was changed, as its table is."""
    from evosearch.data.files import stamp_of

    return _hash_of(path, stamp_of(path))


@lru_cache(maxsize=64)
def _hash_of(path: str, stamp: tuple[int, int] | None) -> str:
    try:
        return hashlib.sha256(Path(path).read_bytes()).hexdigest()[:16]
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}.") from None
