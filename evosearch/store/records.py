"""The rows that a run keeps, and how arrays and states become bytes and text."""

from __future__ import annotations

import base64
import hashlib
import json
import math
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from evosearch.errors import RunCorruptError
from evosearch.outcome import OK, FloatArray

_ARRAY = "__array__"
_DTYPES = frozenset(
    ["bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"]
) | {"float32", "float64"}


@dataclass(frozen=True)
class CandidateRow:
    """One candidate of a generation.

    Attributes:
        genotype: what the search proposed, as text of its space.
        text: the decoded candidate, a rule's text.
        size: nodes or numbers.
        fitness: on search draws, ``-inf`` unless ok.
        status: a word of ``STATUSES``.
        scale: factor of the step size at which it scored best.
        exploded: share of draws that ended in a non-finite value.
        is_cached: whether it was known before.
        per_draw: (D,), None where it was known before.
        message: what went wrong.
    """

    genotype: str
    text: str
    size: int
    fitness: float
    status: str
    scale: float
    exploded: float
    is_cached: bool
    per_draw: FloatArray | None = None
    message: str = ""

    @property
    def is_ok(self) -> bool:
        """Whether it has a fitness."""
        return self.status == OK


@dataclass(frozen=True)
class MetRule:
    """A rule that a run has met, however often.

    Attributes:
        text: the rule.
        size: its nodes.
        fitness: on search draws, the highest where these changed.
        n_met: how often it was proposed.
    """

    text: str
    size: int
    fitness: float
    n_met: int


@dataclass(frozen=True)
class ValidationRow:
    """A candidate of the hall of fame, scored on validation draws.

    Attributes:
        text: the candidate.
        size: nodes or numbers.
        search_fitness: on search draws.
        fitness: on validation draws at the best step size, ``-inf`` unless ok.
        scale: factor of that step size.
        evaluations: candidate evaluations made when it was scored.
    """

    text: str
    size: int
    search_fitness: float
    fitness: float
    scale: float
    evaluations: int


@dataclass(frozen=True)
class GenerationRow:
    """Figures of one generation; counts are totals since the start.

    Attributes:
        generation: number, from 1.
        evaluations: candidate evaluations made.
        unique_evaluations: of these, not known before.
        lifetimes: lifetimes lived, validation included.
        synapse_updates: weight changes made, validation included.
        best: best fitness on search draws so far.
        generation_best: best of this generation.
        q25: lower quartile of this generation.
        median: median of this generation.
        q75: upper quartile of this generation.
        mean_size: mean size of this generation.
        best_size: size of the best so far.
        validation: best fitness on validation draws so far, NaN where there is none.
        failures: candidates without a fitness so far.
        wall_s: seconds of search so far, over all continuations.
        digest: chained hash of all candidates and fitnesses so far.
    """

    generation: int
    evaluations: int
    unique_evaluations: int
    lifetimes: int
    synapse_updates: int
    best: float
    generation_best: float
    q25: float
    median: float
    q75: float
    mean_size: float
    best_size: int
    validation: float
    failures: int
    wall_s: float
    digest: str = field(default="")


@dataclass(frozen=True)
class GenerationRecord:
    """All that is written of one generation.

    Attributes:
        row: its figures.
        candidates: those that were scored, none where they are not kept.
        validations: scores on validation draws that were made after it.
        events: kind and detail of what must not be decided again.
    """

    row: GenerationRow
    candidates: Sequence[CandidateRow] = ()
    validations: Sequence[ValidationRow] = ()
    events: Sequence[tuple[str, str]] = ()


_NOTHING_PACKED = zlib.compress(b"", 1)


def chain_digest(previous: str, rows: Sequence[CandidateRow]) -> str:
    """Return the hash of a generation's candidates and fitnesses after that of the one before."""
    lines = [f"{r.genotype}\0{r.status}\0{r.fitness!r}\0{r.scale!r}\n" for r in rows]
    return hashlib.sha256("".join([previous, *lines]).encode()).hexdigest()


def chain_digest_of_fitness(previous: str, fitness: FloatArray) -> str:
    """Return the hash of a generation of which only the fitness is kept, after the one before."""
    data = np.ascontiguousarray(fitness, dtype="<f8").tobytes()
    return hashlib.sha256(previous.encode() + data).hexdigest()


def pack_floats(values: FloatArray) -> bytes:
    """Return float64 numbers as compressed bytes."""
    if not len(values):
        return _NOTHING_PACKED
    return zlib.compress(np.ascontiguousarray(values, dtype="<f8").tobytes(), 1)


def unpack_floats(data: bytes) -> FloatArray:
    """Return what ``pack_floats`` wrote."""
    return np.frombuffer(zlib.decompress(data), dtype="<f8").astype(np.float64)


def number_to_sql(value: float) -> float | None:
    """Return a number as SQL holds it: NULL where it is not finite."""
    return float(value) if math.isfinite(value) else None


def state_to_text(state: dict[str, Any]) -> str:
    """Write a state of arrays and JSON values as JSON."""
    return json.dumps(_encoded(state), allow_nan=False)


def state_from_text(text: str) -> dict[str, Any]:
    """Read what ``state_to_text`` wrote."""
    state = _decoded(json.loads(text))
    if not isinstance(state, dict):
        raise RunCorruptError("the state of the search is no mapping.")
    return state


def _encoded(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        data = base64.b64encode(np.ascontiguousarray(value).tobytes()).decode()
        return {_ARRAY: [str(value.dtype), list(value.shape), data]}
    if isinstance(value, dict):
        return {str(key): _encoded(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_encoded(item) for item in value]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return _encoded(np.array(value))
    return value


def _decoded(value: Any) -> Any:
    if isinstance(value, list):
        return [_decoded(item) for item in value]
    if not isinstance(value, dict):
        return value
    if set(value) != {_ARRAY}:
        return {key: _decoded(item) for key, item in value.items()}
    dtype, shape, data = value[_ARRAY]
    if dtype not in _DTYPES:
        raise RunCorruptError(f"the state of the search holds an array of type {dtype!r}.")
    flat = np.frombuffer(base64.b64decode(data), dtype=dtype)
    array = flat.reshape([int(n) for n in shape]).copy()
    return float(array) if array.ndim == 0 and array.dtype.kind == "f" else array
