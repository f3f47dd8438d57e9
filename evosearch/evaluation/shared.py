"""Scores that runs share: a file beside them, asked before a life is lived, told after.

A score is kept under all that decides it: the numerics, the task and its settings on the split,
what a rule may do to weights, the draws, the factors of the step size, and the candidate's exact
text. So what is read is to the bit what would have been computed, and a run that reads is the run
that does not, but for lifetimes that it need not live. A file holds numbers and texts; what does
not check is taken for unknown.
"""

from __future__ import annotations

import hashlib
import json
import logging
import math
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from evosearch.engine.contract import NUMERICS
from evosearch.evaluation.outcomes import Outcome
from evosearch.outcome import OK
from evosearch.problem import Draws, Problem
from evosearch.store.records import pack_floats, unpack_floats

logger = logging.getLogger(__name__)

FOLDER = "outcomes"
FORMAT = 1
MAX_BYTES = 4_000_000_000
_AT_A_TIME = 500
# What a problem file holds beside what decides a score; of splits, settings and draws are.
_WITHOUT_EFFECT = {"title", "description", "citations", "default_search", "floor", "ceiling"}
_WITHOUT_EFFECT |= {"parsimony", "known", "success", "searches", "presets", "splits"}

_SCHEMA = """
CREATE TABLE IF NOT EXISTS outcomes (context TEXT, candidate TEXT, fitness REAL, scale REAL,
    exploded REAL, per_draw BLOB, metrics TEXT, PRIMARY KEY (context, candidate)) WITHOUT ROWID
"""
_READ = """
SELECT candidate, fitness, scale, exploded, per_draw, metrics FROM outcomes
WHERE context = ? AND candidate IN
"""
_WRITE = "INSERT OR REPLACE INTO outcomes VALUES (?, ?, ?, ?, ?, ?, ?)"

Row: TypeAlias = "tuple[Any, ...]"


class SharedOutcomes:
    """The scores of one problem that runs share.

    A file that cannot be used is said once, and the run goes on without.

    Args:
        folder: where the files lie; made where it is missing.
        problem: whose candidates are scored.

    Attributes:
        hits: scores that were read.
    """

    def __init__(self, folder: Path, problem: Problem) -> None:
        self._problem = problem
        self.path = folder / f"{problem.name}-{_digest(_of_problem(problem))[:12]}.sqlite"
        self.hits = 0
        self._db: sqlite3.Connection | None = None
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._db = sqlite3.connect(self.path, timeout=10.0, check_same_thread=False)
            self._db.execute("PRAGMA journal_mode=WAL")
            self._db.execute("PRAGMA synchronous=NORMAL")
            self._db.execute(_SCHEMA)
        except (sqlite3.Error, OSError) as error:
            self._give_up(error)
        self._is_full = self._db is not None and self.path.stat().st_size > MAX_BYTES

    def close(self) -> None:
        """Close the file."""
        if self._db is not None:
            self._db.close()
            self._db = None

    def read(
        self, candidates: Sequence[Any], draws: Draws, scales: Sequence[float]
    ) -> dict[int, Outcome]:
        """Return what is known of candidates, by their number."""
        context = self._context(draws, scales)
        numbers = {self._name(candidate): k for k, candidate in enumerate(candidates)}
        found: dict[int, Outcome] = {}
        for row in self._rows(context, list(numbers)):
            outcome = self._outcome(row, draws, scales)
            if outcome is not None and row[0] in numbers:
                found[numbers[row[0]]] = outcome
        self.hits += len(found)
        return found

    def write(
        self,
        candidates: Iterable[Any],
        outcomes: Iterable[Outcome],
        draws: Draws,
        scales: Sequence[float],
    ) -> None:
        """Keep what was found; failures are not kept, since another time may do better."""
        if self._db is None or self._is_full:
            return
        context = self._context(draws, scales)
        rows = [
            (context, self._name(candidate), one.fitness, one.scale, one.exploded,
             pack_floats(one.per_draw), json.dumps(one.metrics))
            for candidate, one in zip(candidates, outcomes, strict=True)
            if one.status == OK and not one.message
        ]  # fmt: skip
        try:
            with self._db:
                self._db.executemany(_WRITE, rows)
        except sqlite3.Error as error:
            self._give_up(error)

    def _rows(self, context: str, names: Sequence[str]) -> list[Row]:
        rows: list[Row] = []
        try:
            for start in range(0, len(names) if self._db is not None else 0, _AT_A_TIME):
                part = names[start : start + _AT_A_TIME]
                marks = ", ".join("?" * len(part))
                assert self._db is not None
                rows += self._db.execute(f"{_READ} ({marks})", (context, *part)).fetchall()
        except sqlite3.Error as error:
            self._give_up(error)
        return rows

    def _outcome(self, row: Row, draws: Draws, scales: Sequence[float]) -> Outcome | None:
        """Return what a row says, None where it does not check."""
        _, fitness, scale, exploded, packed, text = row
        try:
            per_draw, metrics = unpack_floats(packed), json.loads(text)
            values = {str(name): float(value) for name, value in metrics.items()}
            is_right = (
                per_draw.shape == (len(draws),)
                and scale in scales
                and math.isfinite(fitness)
                and 0.0 <= exploded <= 1.0
                and float(self._problem.aggregate(per_draw[None, :])[0]) == fitness
            )
        except Exception as error:  # zlib, NumPy and JSON each raise their own
            logger.debug("an outcome of %s does not check: %s", self.path, error)
            return None
        return Outcome(OK, fitness, per_draw, scale, exploded, metrics=values) if is_right else None

    def _context(self, draws: Draws, scales: Sequence[float]) -> str:
        split = self._problem.config.splits[draws.split]
        own = {"settings": split.task_settings, "eta": split.eta}
        return _digest([own, draws.digest, [repr(float(scale)) for scale in scales]])

    def _name(self, candidate: Any) -> str:
        """Return the exact text of a rule, or the hash of a vector's numbers."""
        if hasattr(candidate, "parts"):
            return self._problem.write(candidate)
        data = np.ascontiguousarray(candidate, dtype="<f8").tobytes()
        return hashlib.sha256(data).hexdigest()

    def _give_up(self, error: Exception) -> None:
        logger.warning(
            "%s cannot be used (%s); going on without it. Delete it to begin it anew.",
            self.path, " ".join(str(error).split()),
        )  # fmt: skip
        self.close()


def _of_problem(problem: Problem) -> dict[str, Any]:
    """Return all of a problem that decides what a candidate scores on given draws."""
    config = problem.config.model_dump(mode="json", exclude=_WITHOUT_EFFECT)
    return {
        "format": FORMAT,
        "numerics": NUMERICS,
        "config": config,
        "data": problem.data_hash(),
        "source": problem.source_hash(),
    }


def _digest(value: Mapping[str, Any] | Sequence[Any]) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()
