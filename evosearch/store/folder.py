"""A run's folder: created at once, written one generation at a time, readable at any time."""

from __future__ import annotations

import hashlib
import json
import math
import os
import shutil
import sqlite3
import tempfile
import urllib.parse
import zlib
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import astuple, fields
from functools import wraps
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import numpy as np

from evosearch.errors import InputError, RunCorruptError
from evosearch.outcome import FloatArray
from evosearch.store.lock import RunLock
from evosearch.store.records import (
    CandidateRow,
    GenerationRecord,
    GenerationRow,
    MetRule,
    ValidationRow,
    number_to_sql,
    pack_floats,
    state_from_text,
    state_to_text,
    unpack_floats,
)

FORMAT = 1
FILE_NAME = "run.sqlite"
PROBLEM_FILE = "problem.toml"
ENVIRONMENT_FILE = "environment.json"
LOCK_FILE = "run.lock"
STATE_FOLDER = "state"
VECTOR_FOLDER = "vectors"
MAX_STATE_TEXT = 1_000_000
_KEPT_STATES = 2

_GENERATION_COLUMNS = tuple(field.name for field in fields(GenerationRow))
_VALIDATION_COLUMNS = tuple(field.name for field in fields(ValidationRow))
_CANDIDATE_COLUMNS = tuple(field.name for field in fields(CandidateRow))

_BEST_OF_SIZE = """
SELECT text, size, fitness, n_met FROM (
    SELECT COALESCE(text, genotype) AS text, size, MAX(fitness) AS fitness, COUNT(*) AS n_met,
        ROW_NUMBER() OVER (PARTITION BY size
            ORDER BY MAX(fitness) DESC, MIN(generation), MIN(position)) AS place
    FROM candidates WHERE status = 'ok' GROUP BY COALESCE(text, genotype), size)
WHERE place <= ? ORDER BY size, place
"""
_SCHEMA = f"""
CREATE TABLE facts (key TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE generations ({", ".join(_GENERATION_COLUMNS)}, PRIMARY KEY (generation));
CREATE TABLE candidates (generation INTEGER, position INTEGER, {", ".join(_CANDIDATE_COLUMNS)},
    PRIMARY KEY (generation, position)) WITHOUT ROWID;
CREATE TABLE validations (number INTEGER PRIMARY KEY, generation INTEGER,
    {", ".join(_VALIDATION_COLUMNS)});
CREATE TABLE states (generation INTEGER PRIMARY KEY, state TEXT, file TEXT);
CREATE TABLE events (number INTEGER PRIMARY KEY, generation INTEGER, kind TEXT, detail TEXT);
"""

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")


def _readable(method: Callable[P, R]) -> Callable[P, R]:
    """Turn what a damaged file raises into one sentence that says what to do."""

    @wraps(method)
    def guarded(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return method(*args, **kwargs)
        except (sqlite3.Error, zlib.error, ValueError, KeyError, TypeError, OSError) as error:
            if isinstance(error, InputError):
                raise
            store = args[0]
            raise damaged(getattr(store, "path", Path()), error) from error

    return guarded


def _write_synced(path: Path, data: bytes) -> None:
    """Write a file whole or not at all, on the disk before it has its name."""
    path.parent.mkdir(exist_ok=True)
    draft = path.with_name(f".{path.name}.tmp")
    with draft.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)


def _vector_file(name: str) -> str:
    """Return the file of a vector from its reference, e.g. ``vector:0123456789abcdef``."""
    digits = name.rpartition(":")[2]
    if not digits.isalnum():
        raise ValueError(f"{name[:40]!r} refers to no vector")
    return f"{digits}.safetensors"


def damaged(path: Path, error: Exception) -> RunCorruptError:
    """Return the error that says that a run's file is damaged, why, and what to do."""
    reason = " ".join(str(error).split()) or type(error).__name__
    return RunCorruptError(
        f"{path / FILE_NAME} is damaged or cut short ({reason}); restore it from a copy, or move "
        "the folder away and run again."
    )


class RunStore:
    """One run's folder, opened to read or to write; a context manager.

    Args:
        path: the folder.
        is_writer: whether to lock it and write.

    Raises:
        RunCorruptError: the file is damaged or of another format.
        RunLockedError: another process writes it.
    """

    def __init__(self, path: Path, *, is_writer: bool = False) -> None:
        self.path = path
        self._lock = RunLock(path / LOCK_FILE) if is_writer else None
        db: sqlite3.Connection | None = None
        try:
            self._db = db = _connect(path / FILE_NAME, is_writer=is_writer)
            self._check_format()
        except (sqlite3.Error, ValueError) as error:
            if db is not None:
                db.close()
            self._release()
            if isinstance(error, InputError):
                raise
            raise damaged(path, error) from error

    @classmethod
    def create(
        cls, path: Path, *, problem: str, environment: Mapping[str, Any], facts: Mapping[str, Any]
    ) -> RunStore:
        """Make a run's folder, whole or not at all, and open it to write.

        Raises:
            InputError: it exists already, or cannot be made.
        """
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            outer = Path(tempfile.mkdtemp(prefix=".new-", dir=path.parent))
        except OSError as error:
            raise InputError(f"{path.parent} cannot be written: {error.strerror}.") from None
        try:
            draft = outer / path.name  # one level deeper than runs, so that none is taken for one
            draft.mkdir()
            (draft / PROBLEM_FILE).write_text(problem, encoding="utf-8")
            text = json.dumps(dict(environment), indent=1)
            (draft / ENVIRONMENT_FILE).write_text(text + "\n", encoding="utf-8")
            db = _connect(draft / FILE_NAME, is_writer=True)
            with db:
                db.executescript(_SCHEMA)
                rows = [(key, json.dumps(value)) for key, value in facts.items()]
                db.executemany("INSERT INTO facts VALUES (?, ?)", [("format", str(FORMAT)), *rows])
            db.close()
            os.rename(draft, path)
        except OSError:
            if path.exists():
                raise InputError(
                    f"this run exists already: {path}. Continue it with: evosearch resume {path}"
                ) from None
            raise
        finally:
            shutil.rmtree(outer, ignore_errors=True)
        return cls(path, is_writer=True)

    def __enter__(self) -> RunStore:
        return self

    def __exit__(self, *exception: Any) -> None:
        self.close()

    def close(self) -> None:
        """Close the file and let others write."""
        self._db.close()
        self._release()

    @_readable
    def facts(self) -> dict[str, Any]:
        """Return what was recorded about the run, by name."""
        rows = self._db.execute("SELECT key, value FROM facts").fetchall()
        return {key: json.loads(value) for key, value in rows}

    def set_facts(self, **facts: Any) -> None:
        """Record facts; None removes one."""
        with self._db:
            for key, value in facts.items():
                self._db.execute("DELETE FROM facts WHERE key = ?", (key,))
                if value is not None:
                    row = (key, json.dumps(value))
                    self._db.execute("INSERT INTO facts VALUES (?, ?)", row)

    def append(self, records: Sequence[GenerationRecord], state: dict[str, Any]) -> None:
        """Write generations, one at least, and the search's state after the last, at once."""
        last = records[-1].row.generation
        text, file = state_to_text(state), None
        if len(text) > MAX_STATE_TEXT:
            file = self._write_state(last, text)
        with self._db:
            rows = [_sql(astuple(record.row)) for record in records]
            self._insert("generations", _GENERATION_COLUMNS, rows)
            self._db.executemany(
                f"INSERT INTO candidates VALUES (?, ?, {_marks(_CANDIDATE_COLUMNS)})",
                [
                    (record.row.generation, position, *_candidate_sql(candidate))
                    for record in records
                    for position, candidate in enumerate(record.candidates)
                ],
            )
            for record in records:
                self._insert_validations(record.row.generation, record.validations)
            self._db.execute(
                "INSERT INTO states VALUES (?, ?, ?)", (last, None if file else text, file)
            )
            self._db.execute(
                "DELETE FROM states WHERE generation NOT IN "
                "(SELECT generation FROM states ORDER BY generation DESC LIMIT ?)",
                (_KEPT_STATES,),
            )
            self._db.executemany(
                "INSERT INTO events (generation, kind, detail) VALUES (?, ?, ?)",
                [(record.row.generation, *event) for record in records for event in record.events],
            )
        self._drop_old_states()

    def add_event(self, generation: int, kind: str, detail: str) -> None:
        """Write something that happened and that a resumed run must not decide again."""
        with self._db:
            self._db.execute(
                "INSERT INTO events (generation, kind, detail) VALUES (?, ?, ?)",
                (generation, kind, detail),
            )

    @_readable
    def generations(self) -> list[GenerationRow]:
        """Return all generations, in order."""
        names = ", ".join(_GENERATION_COLUMNS)
        rows = self._db.execute(f"SELECT {names} FROM generations ORDER BY generation")
        return [_row(GenerationRow, row, missing=math.nan) for row in rows]

    @_readable
    def validations(self) -> list[ValidationRow]:
        """Return all scores on validation draws, in the order in which they were made."""
        names = ", ".join(_VALIDATION_COLUMNS)
        rows = self._db.execute(f"SELECT {names} FROM validations ORDER BY number")
        return [_row(ValidationRow, row, missing=-math.inf) for row in rows]

    @_readable
    def candidates(self, generation: int | None = None) -> list[CandidateRow]:
        """Return the candidates of one generation, or of all, in order."""
        names = ", ".join(_CANDIDATE_COLUMNS)
        where = "" if generation is None else "WHERE generation = ?"
        values = () if generation is None else (generation,)
        rows = self._db.execute(
            f"SELECT {names} FROM candidates {where} ORDER BY generation, position", values
        )
        return [_candidate(row) for row in rows]

    @_readable
    def best_of_each_size(self, n: int) -> list[MetRule]:
        """Return the n best different candidates of each size, by size, the best first."""
        return [
            _row(MetRule, row, missing=-math.inf) for row in self._db.execute(_BEST_OF_SIZE, (n,))
        ]

    @_readable
    def status_counts(self) -> dict[str, int]:
        """Return how many candidates ended with each status."""
        return dict(self._db.execute("SELECT status, COUNT(*) FROM candidates GROUP BY status"))

    @_readable
    def events(self) -> list[tuple[int, str, str]]:
        """Return generation, kind and detail of all events."""
        rows = self._db.execute("SELECT generation, kind, detail FROM events ORDER BY number")
        return [tuple(row) for row in rows]

    @_readable
    def last_state(self) -> tuple[int, dict[str, Any]] | None:
        """Return the last generation and the search's state after it."""
        row = self._db.execute(
            "SELECT generation, state, file FROM states ORDER BY generation DESC LIMIT 1"
        ).fetchone()
        if row is None:
            return None
        generation, text, file = row
        if file is not None:
            text = self._read_state(str(file))
        return int(generation), state_from_text(text)

    @_readable
    def check(self) -> None:
        """Let the database check itself; raise RunCorruptError where it is damaged."""
        (answer,) = self._db.execute("PRAGMA quick_check(1)").fetchone()
        if answer != "ok":
            raise sqlite3.DatabaseError(str(answer))

    def problem_text(self) -> str:
        """Return the resolved problem file."""
        try:
            return (self.path / PROBLEM_FILE).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError):
            raise RunCorruptError(
                f"{self.path / PROBLEM_FILE} is missing or damaged; restore it from a copy."
            ) from None

    def environment(self) -> dict[str, Any]:
        """Return versions and hardware; empty where the file is missing."""
        try:
            value = json.loads((self.path / ENVIRONMENT_FILE).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return value if isinstance(value, dict) else {}

    def _insert(self, table: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
        names = ", ".join(columns)
        self._db.executemany(f"INSERT INTO {table} ({names}) VALUES ({_marks(columns)})", rows)

    def _insert_validations(self, generation: int, rows: Sequence[ValidationRow]) -> None:
        columns = ("generation", *_VALIDATION_COLUMNS)
        self._insert("validations", columns, [(generation, *_sql(astuple(row))) for row in rows])

    def _check_format(self) -> None:
        found = self._db.execute("SELECT value FROM facts WHERE key = 'format'").fetchone()
        if found is None or int(found[0]) != FORMAT:
            version = "no format" if found is None else f"format {found[0]}"
            raise RunCorruptError(
                f"{self.path / FILE_NAME} has {version}, this version reads format {FORMAT}; "
                "read it with the version of evosearch that wrote it."
            )

    def keep_vector(self, name: str, vector: FloatArray) -> None:
        """Write the one vector that the run keeps; those kept before are dropped."""
        from safetensors.numpy import save

        folder, file = self.path / VECTOR_FOLDER, _vector_file(name)
        if not (folder / file).is_file():
            _write_synced(folder / file, save({"vector": np.asarray(vector, dtype=np.float64)}))
        for other in folder.glob("*.safetensors"):
            if other.name != file:
                other.unlink(missing_ok=True)

    @_readable
    def vector(self, name: str) -> FloatArray:
        """Return the vector that was kept under a name."""
        from safetensors.numpy import load

        return load((self.path / VECTOR_FOLDER / _vector_file(name)).read_bytes())["vector"]

    def _write_state(self, generation: int, text: str) -> str:
        """Write a large state beside the database, synced before a row names it."""
        from safetensors.numpy import save

        data = save({"state": np.frombuffer(text.encode(), dtype=np.uint8)})
        name = f"{generation}-{hashlib.sha256(data).hexdigest()[:12]}.safetensors"
        _write_synced(self.path / STATE_FOLDER / name, data)
        return name

    def _read_state(self, name: str) -> str:
        from safetensors.numpy import load

        data = (self.path / STATE_FOLDER / Path(name).name).read_bytes()
        if hashlib.sha256(data).hexdigest()[:12] not in name:
            raise ValueError(f"the state {name} does not have its hash")
        return load(data)["state"].tobytes().decode()

    def _drop_old_states(self) -> None:
        folder = self.path / STATE_FOLDER
        if not folder.is_dir():
            return
        kept = {name for (name,) in self._db.execute("SELECT file FROM states")}
        for file in folder.iterdir():
            if file.name not in kept:
                file.unlink(missing_ok=True)

    def _release(self) -> None:
        if self._lock is not None:
            self._lock.release()


@contextmanager
def reading(path: Path) -> Generator[RunStore]:
    """Open a run to read and close it again."""
    store = RunStore(path)
    try:
        yield store
    finally:
        store.close()


def _connect(file: Path, *, is_writer: bool) -> sqlite3.Connection:
    if is_writer:
        db = sqlite3.connect(file, timeout=10.0, check_same_thread=False)
        db.execute("PRAGMA journal_mode=WAL")
        db.execute("PRAGMA synchronous=FULL")
        return db
    location = urllib.parse.quote(str(file.resolve()))
    mode = "rw" if os.access(file, os.W_OK) and os.access(file.parent, os.W_OK) else "ro"
    log = file.with_name(f"{file.name}-wal")
    is_whole = not log.is_file() or log.stat().st_size == 0
    suffix = "&immutable=1" if mode == "ro" and is_whole else ""
    return sqlite3.connect(f"file:{location}?mode={mode}{suffix}", uri=True, timeout=10.0)


def _marks(columns: Sequence[str]) -> str:
    return ", ".join("?" * len(columns))


def _sql(values: Sequence[Any]) -> list[Any]:
    return [number_to_sql(value) if isinstance(value, float) else value for value in values]


def _row(kind: type[T], values: Sequence[Any], *, missing: float) -> T:
    """Return a row as its record; a value of another type than its column's is damage.

    Raises:
        TypeError, ValueError: the row does not hold what was written.
    """
    pairs = zip(fields(kind), values, strict=True)  # pyright: ignore[reportArgumentType]
    return kind(*(_typed(str(field.type), value, missing) for field, value in pairs))


def _typed(name: str, value: Any, missing: float) -> Any:
    if name == "float":
        return missing if value is None else float(value)
    if name == "int":
        return int(value)
    if not isinstance(value, str):
        raise TypeError(f"a text is {type(value).__name__}")
    return value


def _candidate_sql(row: CandidateRow) -> tuple[Any, ...]:
    genotype, text, fitness, per_draw = row.genotype, row.text, row.fitness, row.per_draw
    return (
        genotype,
        None if text == genotype else text,
        row.size,
        fitness if math.isfinite(fitness) else None,
        row.status,
        row.scale,
        row.exploded,
        row.is_cached,
        None if per_draw is None else pack_floats(per_draw),
        row.message,
    )


def _candidate(row: Sequence[Any]) -> CandidateRow:
    genotype, text, size, fitness, status, scale, exploded, is_cached, per_draw, message = row
    return CandidateRow(
        genotype=_typed("str", genotype, 0.0),
        text=_typed("str", genotype if text is None else text, 0.0),
        size=int(size),
        fitness=_typed("float", fitness, -math.inf),
        status=_typed("str", status, 0.0),
        scale=float(scale),
        exploded=float(exploded),
        is_cached=bool(is_cached),
        per_draw=None if per_draw is None else unpack_floats(per_draw),
        message=_typed("str", message, 0.0),
    )
