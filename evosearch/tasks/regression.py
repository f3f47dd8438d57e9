"""Symbolic regression: a formula that predicts one column of a table from the others."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from pydantic import Field, model_validator

from evosearch.data.files import stamp_of
from evosearch.engine.program import Level, Terminal
from evosearch.errors import InputError, unknown_name
from evosearch.tasks.base import TASKS, Key, TaskSettings, draw_rng
from evosearch.tasks.regression_csv import read_csv
from evosearch.tasks.regression_formulas import FORMULAS
from evosearch.tasks.rows import Rows, RowTask

_STREAM = 0x5B1EC7
_VALIDATION_SHARE = 0.2
_FEWEST = 5


class RegressionSettings(TaskSettings):
    """Settings of ``regression``."""

    formula: str = Field("nguyen-7", description="the formula to find, where no file is given")
    file: str | None = Field(None, description="a CSV whose first line names the columns")
    target: str | None = Field(None, description="column to predict; default: the last one")
    sample: int = Field(0, ge=0, description="which rows are drawn to learn from, or held out")
    test_share: float = Field(0.25, gt=0, lt=1, description="share of a file's rows for the test")
    validation_share: float = Field(
        _VALIDATION_SHARE, ge=0, lt=1,
        description="share of a file's other rows to choose the champion by; where these are "
        f"fewer than {_FEWEST}, those learned from serve",
    )  # fmt: skip

    @model_validator(mode="after")
    def _is_known(self) -> RegressionSettings:
        if self.file is None and self.formula not in FORMULAS:
            raise ValueError(str(unknown_name("formula", self.formula, FORMULAS)).rstrip("."))
        return self


@TASKS.register("regression")
class RegressionTask(RowTask):
    """One table of rows: a formula of the standard tests, or a file.

    Rows of a formula are drawn as its source says. The search and the validation see the same
    ones, which follow ``sample``; those of the test follow the draw. A file's rows are dealt out
    at random, following ``sample``, to search, validation and test. Fitness is minus the mean
    squared error over the variance of the target.
    """

    Settings = RegressionSettings
    terminals = ()
    settings: RegressionSettings

    @classmethod
    def terminals_of(cls, settings: RegressionSettings) -> tuple[Terminal, ...]:
        """Return the columns, with the ranges of the rows that are learned from."""
        rows = _parts(settings)["search"]
        return tuple(
            Terminal(name, Level.POST, "column", low=float(column.min()), high=float(column.max()))
            for name, column in zip(rows.names, rows.columns, strict=True)
        )

    def rows(self, key: Key, split: str) -> Rows:
        """Return the rows of a split; of a formula's held-out splits those of the draw."""
        parts = _parts(self.settings)
        if self.settings.file is None and split not in parts:
            formula = FORMULAS[self.settings.formula]
            columns = formula.test.rows(draw_rng(key))
            return Rows(formula.names, columns, formula.function(*columns))
        return parts[split if split in parts else "test"]


def _parts(settings: RegressionSettings) -> dict[str, Rows]:
    """Return the rows of the splits that no draw changes."""
    stamp = None if settings.file is None else stamp_of(settings.file)
    return _kept_parts(settings.model_dump_json(), stamp)


@lru_cache(maxsize=8)
def _kept_parts(text: str, stamp: tuple[int, int] | None) -> dict[str, Rows]:
    """Return the rows of settings; of a file as it was at ``stamp``."""
    settings = RegressionSettings.model_validate_json(text)
    rng = np.random.default_rng([_STREAM, settings.sample])
    if settings.file is not None:
        return _dealt(settings, read_csv(settings.file, settings.target), rng)
    formula = FORMULAS[settings.formula]
    columns = formula.train.rows(rng)
    rows = Rows(formula.names, columns, formula.function(*columns))
    return {"search": rows, "validation": rows}


def _dealt(settings: RegressionSettings, table: Rows, rng: np.random.Generator) -> dict[str, Rows]:
    """Deal the rows of a file out to the splits."""
    n = len(table.target)
    order = rng.permutation(n)
    n_test = max(1, round(settings.test_share * n))
    n_validation = round(settings.validation_share * (n - n_test))
    n_validation = n_validation if n_validation >= _FEWEST else 0
    cuts = np.cumsum([n_test, n_validation])
    test, validation, search = (np.sort(part) for part in np.split(order, cuts))
    chosen = {"search": search, "validation": validation if n_validation else search, "test": test}
    parts = {
        name: Rows(table.names, np.ascontiguousarray(table.columns[:, k]), table.target[k])
        for name, k in chosen.items()
    }
    for name, rows in parts.items():
        if not rows.target.size or np.ptp(rows.target) == 0:
            raise InputError(
                f"{settings.file}: the target of the {rows.target.size} rows for the {name} does "
                "not vary; there is nothing to predict."
            )
    return parts
