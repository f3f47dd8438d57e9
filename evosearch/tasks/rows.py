"""Tasks whose rules are formulas: no network lives, a table of rows is predicted."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from evosearch.engine.program import Level, Program, Terminal
from evosearch.outcome import FloatArray
from evosearch.tasks.base import Key, RuleTask, TaskScores

if TYPE_CHECKING:
    from evosearch.engine.lifetime import Lifetime
    from evosearch.engine.run import LifeResult
    from evosearch.engine.table_code import TableCode

WORST = -1e6
"""The least fitness of a formula whose predictions are finite."""
WEIGHT = Terminal("w", Level.POST, "what a rule adds to, always 0 here")


@dataclass(frozen=True)
class Rows:
    """A table: what is known of each row, and what shall be predicted.

    Attributes:
        names: k names of the columns.
        columns: (k, N) float64.
        target: (N,) float64.
    """

    names: tuple[str, ...]
    columns: FloatArray
    target: FloatArray


class RowTask(RuleTask):
    """A task that scores rules as formulas over the columns of a table, all at once.

    Which terminals there are depends on its settings. Fitness is minus the mean squared error over
    the variance of the target, so 0 at best and about -1 for the mean alone; a formula with a
    prediction that is not finite scores below ``worst``.
    """

    worst = WORST

    @classmethod
    @abstractmethod
    def terminals_of(cls, settings: Any) -> tuple[Terminal, ...]:
        """Return the terminals that the settings offer: the columns, at the level of a row.

        Raises:
            InputError: the data cannot be read.
        """

    @abstractmethod
    def rows(self, key: Key, split: str) -> Rows:
        """Return the table of a draw."""

    def lifetimes(self, keys: Sequence[Key], split: str) -> list[Lifetime]:
        """Return nothing: formulas have no lives."""
        del keys, split
        return []

    def score(
        self, results: Sequence[LifeResult], lifetimes: Sequence[Lifetime], keys: Sequence[Key]
    ) -> TaskScores:
        """Formulas are scored by ``score_programs``."""
        raise AssertionError("a task of rows has no lifetimes")

    def score_programs(
        self, programs: Sequence[Program], keys: Sequence[Key], split: str
    ) -> TaskScores:
        """Score P formulas on the tables of D draws.

        Args:
            programs: lowered over the terminals of the settings, then ``WEIGHT`` if none is "w".
            keys: entropy of ``np.random.SeedSequence``, one tuple a draw.
            split: what the draws are for.
        """
        from evosearch.engine.table_code import table_code

        code = table_code(programs, np.float64)
        errors = np.stack([normalised_errors(code, self.rows(key, split)) for key in keys], axis=1)
        is_lost = ~np.isfinite(errors)
        fitness = np.where(is_lost, self.worst - 1.0, np.maximum(-errors, self.worst))
        with np.errstate(over="ignore"):
            r2 = np.where(is_lost, self.worst, 1.0 - errors).mean(axis=1)
        return TaskScores(fitness, is_lost, {"r2": np.maximum(r2, self.worst)})


def with_weight(terminals: Sequence[Terminal]) -> tuple[Terminal, ...]:
    """Return the terminals that formulas are lowered over: a rule acts on a weight."""
    has_weight = any(terminal.name == WEIGHT.name for terminal in terminals)
    return tuple(terminals) if has_weight else (*terminals, WEIGHT)


def normalised_errors(code: TableCode, rows: Rows) -> FloatArray:
    """Return mean squared errors (P,) over the variance of the target, inf where not finite.

    Args:
        code: P formulas, lowered over at least the columns; further terminals are 0.
        rows: a table whose targets are not all the same.
    """
    from evosearch.engine.table import squared_errors

    columns = np.zeros((code.n_terminals, len(rows.target)))
    columns[: len(rows.columns)] = rows.columns
    with np.errstate(all="ignore"):
        errors = squared_errors(code, columns, rows.target) / rows.target.var()
    return np.where(np.isfinite(errors), errors, np.inf)
