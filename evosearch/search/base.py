"""What every search offers, and the few functions that all of them share."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar, TypeAlias

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from evosearch.errors import InputError, unknown_name
from evosearch.outcome import OK, Evaluation, FloatArray
from evosearch.registry import Registry
from evosearch.spaces.base import Space

State: TypeAlias = dict[str, Any]
"""Arrays, and values that JSON writes and reads back unchanged."""


class SearchSettings(BaseModel):
    """Settings that all searches have; unknown ones are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    population: int = Field(
        100, ge=1, le=1_000_000, description="candidates that are asked at a time"
    )
    scales: bool = Field(
        False,
        description="score each candidate at all step size factors of the problem, not only at 1",
    )


class Search(ABC):
    """An ask/tell optimizer over a space; higher fitness is better.

    All that changes lives in what ``state_dict`` returns, so that a search which loads it goes on
    exactly as the one that wrote it. Random numbers come from a generator of its own; global ones
    are left as they were.

    Args:
        space: what is searched; its kind must be one of ``space_kinds``.
        seed: at least 0; the same seed proposes the same candidates for the same fitness.
        **settings: see ``Settings``.

    Attributes:
        name: the word by which the search is registered.
        space_kinds: kinds of space that it searches.
        needs: what it reads of an evaluation beside fitness, e.g. ``"per_draw"``.
        passes_on: whether vectors inherit what lives learned, ``learned`` of an evaluation.

    Raises:
        InputError: a setting is unknown or out of range, or the space is of another kind.

    Example:
        >>> from evosearch.spaces import VectorSpace
        >>> search = SEARCHES.get("random")(VectorSpace(2), seed=1, population=3)
        >>> len(search.ask())
        3
    """

    name: ClassVar[str]
    space_kinds: ClassVar[tuple[str, ...]]
    needs: ClassVar[frozenset[str]] = frozenset()
    Settings: ClassVar[type[SearchSettings]] = SearchSettings
    passes_on: ClassVar[bool] = False

    def __init__(self, space: Space, *, seed: int = 0, **settings: Any) -> None:
        if space.kind not in self.space_kinds:
            raise InputError(
                f"search {self.name!r} does not search spaces of kind {space.kind!r}, only of "
                f"{', '.join(self.space_kinds)}; these do: {', '.join(searches_of(space.kind))}."
            )
        if seed < 0:
            raise InputError(f"seed is {seed}; it must be at least 0.")
        self.space: Any = space
        self.seed = seed
        self.settings: Any = read_settings(self.name, self.Settings, settings)

    @abstractmethod
    def ask(self) -> list[Any]:
        """Return the genotypes to score next; none where the search is done.

        Asking again before ``tell`` returns another batch only where the search says so; the
        rule is: ask, score, tell.
        """

    @abstractmethod
    def tell(self, candidates: Sequence[Any], evaluation: Evaluation) -> None:
        """Learn what the candidates scored.

        Args:
            candidates: those of the last ``ask``, or the first few of them where the budget
                ended.
            evaluation: of these candidates, in their order. A fitness that is not finite ranks
                last; where all failed nothing changes.
        """

    @abstractmethod
    def state_dict(self) -> State:
        """Return all that changes, as arrays and JSON values; call it after ``tell``."""

    @abstractmethod
    def load_state_dict(self, state: State) -> None:
        """Go on as the search that wrote ``state``: same class, space, seed and settings."""

    @property
    def is_done(self) -> bool:
        """Whether nothing is left to ask."""
        return False

    @property
    def n_inside(self) -> int:
        """Evaluations that it made itself, without an evaluator; they count against the budget."""
        return 0

    @property
    def scores_scales(self) -> bool:
        """Whether each candidate shall be scored at all step size factors of the problem."""
        return self.settings.scales

    def favourites(self) -> list[Any]:
        """Return genotypes that it holds to be best, scored or not; none for some.

        They are scored when the run ends, and one of them may become the champion. Where candidates
        are too long to be kept, nothing else may.
        """
        return []

    def summary(self) -> str:
        """Return one sentence on what the search has shown; empty for most."""
        return ""


SEARCHES: Registry[type[Search]] = Registry("search", "evosearch.search")


def searches_of(kind: str) -> list[str]:
    """Return the names of the searches that search spaces of a kind."""
    return [name for name in SEARCHES.names() if kind in SEARCHES.get(name).space_kinds]


def read_settings(name: str, model: type[SearchSettings], values: dict[str, Any]) -> SearchSettings:
    """Check settings; raise InputError, one sentence, for the first that is wrong."""
    try:
        return model.model_validate(values)
    except ValidationError as error:
        problem = error.errors()[0]
    path = ".".join(str(part) for part in problem["loc"])
    if problem["type"] == "extra_forbidden":
        raise unknown_name(f"setting of search {name!r}:", path, model.model_fields)
    field = model.model_fields.get(str(problem["loc"][0])) if problem["loc"] else None
    meaning = f" ({field.description})" if field is not None and field.description else ""
    message = problem["msg"].removeprefix("Value error, ")
    raise InputError(
        f"search {name!r}: {path or 'settings'}{meaning} is {problem['input']!r}; "
        f"{message[0].lower()}{message[1:].rstrip('.')}."
    )


def n_penalised(space: Any) -> int | None:
    """Return how many numbers of a vector an l1 penalty counts: coefficients, not genes."""
    return getattr(space, "n_coefficients", None)


def with_horizon(search: type[Search], settings: dict[str, Any], budget: int) -> dict[str, Any]:
    """Return settings with the budget as ``horizon``, where a search plans for one unnamed."""
    if "horizon" not in search.Settings.model_fields or settings.get("horizon"):
        return settings
    return {**settings, "horizon": budget}


def usable_fitness(evaluation: Evaluation, n_candidates: int) -> FloatArray:
    """Return fitness (n,) with ``-inf`` for each candidate that failed or has no finite value.

    Raises:
        InputError: the evaluation is not of ``n_candidates`` candidates.
    """
    fitness = np.array(evaluation.fitness, dtype=np.float64)
    if fitness.shape != (n_candidates,):
        raise InputError(
            f"tell() got {n_candidates} candidates, but fitness of shape {fitness.shape}."
        )
    is_ok = np.array([status == OK for status in evaluation.status], dtype=np.bool_)
    fitness[~(is_ok & np.isfinite(fitness))] = -np.inf
    return fitness


def new_rng(seed: int) -> np.random.Generator:
    """Return the generator of a search; PCG64, whose whole state is a few integers."""
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence([seed, _STREAM])))


# Keeps a search's numbers apart from those of draws that are keyed by the same seed.
_STREAM = 0x5EA2C4


def rng_state(rng: np.random.Generator) -> dict[str, Any]:
    """Return the state of a PCG64 generator as JSON; its 128-bit numbers as hexadecimal text."""
    state = rng.bit_generator.state
    return {
        "state": hex(state["state"]["state"]),
        "inc": hex(state["state"]["inc"]),
        "has_uint32": int(state["has_uint32"]),
        "uinteger": int(state["uinteger"]),
    }


def restore_rng(rng: np.random.Generator, state: dict[str, Any]) -> None:
    """Put ``rng`` where ``rng_state`` found it."""
    rng.bit_generator.state = {
        "bit_generator": "PCG64",
        "state": {"state": int(state["state"], 16), "inc": int(state["inc"], 16)},
        "has_uint32": int(state["has_uint32"]),
        "uinteger": int(state["uinteger"]),
    }
