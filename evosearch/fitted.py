"""What learners did side by side on one task: a table that prints, and JSON."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from evosearch.outcome import FloatArray, Json
from evosearch.tables import Table, plain


@dataclass(frozen=True)
class Fitted:
    """One learner on one task.

    Attributes:
        learner: its name.
        normaliser: that of the setting which was best on validation data.
        rate: its learning rate.
        curves: (K, checks) test accuracy of each seed during learning; NaN where it diverged.
        diverged_at: the update after which each seed's numbers ceased to be finite, or None.
        n90: median over seeds of the updates to 90 % test accuracy, None where most fail to.
        forward_equivalents: cost of one update in forward passes, by multiply-adds.
        seconds_per_update: of processor time, without a normaliser, one network alone.
        wall_s: seconds for all of it.
        cosine_to_bp: of each layer, bottom first, the cosine between the update and the negative
            gradient in the middle of learning, mean over seeds; NaN of a layer that does not learn.
    """

    learner: str
    normaliser: str
    rate: float
    curves: FloatArray
    diverged_at: tuple[int | None, ...]
    n90: float | None
    forward_equivalents: float
    seconds_per_update: float
    wall_s: float
    cosine_to_bp: tuple[float, ...]

    @property
    def accuracies(self) -> FloatArray:
        """(K,) test accuracy at the end; NaN where it diverged."""
        return self.curves[:, -1]


@dataclass(frozen=True)
class Fit:
    """The result of ``fit``; prints and renders as a table.

    Attributes:
        task: name of the bed.
        seeds: lifetimes of each learner.
        rows: one learner each, in the order asked for.
        check_every: updates between two accuracies of a curve.
        floor: the learner that normalised scores count from.
        ceiling: the learner whose normalised score is 1, and whose cost.
        refused: name of each learner that cannot train this network, and why.
    """

    task: str
    seeds: int
    rows: tuple[Fitted, ...]
    check_every: int = 1
    floor: str = "shallow"
    ceiling: str = "bp"
    refused: Mapping[str, str] = field(default_factory=dict)

    def to_json(self) -> dict[str, Json]:
        """Return the keys that ``fit --json`` promises."""
        return plain(
            {
                "task": self.task,
                "seeds": self.seeds,
                "floor": self.floor,
                "ceiling": self.ceiling,
                "rows": [*map(self.facts, self.rows)],
                "refused": dict(self.refused),
            }
        )

    def table(self) -> Table:
        """Return one row a learner."""
        facts = [self.facts(row) for row in self.rows]
        columns = {
            "learner": "learner", "accuracy_mean": "accuracy", "accuracy_sd": "sd",
            "normalised": "normalised", "n90": "n90", "forward_equivalents": "forward passes",
            "cost_ratio_to_bp": "cost / bp", "normaliser": "normaliser", "rate": "rate",
            "diverged_at": "diverged at", "cosine_to_bp": "cosine to bp, bottom first",
        }  # fmt: skip
        title = f"{self.task}: test accuracy of {self.seeds} seeds"
        return Table(
            title, tuple(columns.values()), tuple(tuple(map(f.get, columns)) for f in facts)
        )

    def __str__(self) -> str:
        return str(self.table())

    def _repr_html_(self) -> str:
        return self.table().to_html()

    def facts(self, row: Fitted) -> dict[str, object]:
        """Return one learner's figures by the keys of ``fit --json``."""
        floor, ceiling = self._row(self.floor), self._row(self.ceiling)
        mean = float(row.accuracies.mean())
        facts: dict[str, object] = {
            "learner": row.learner,
            "accuracy_mean": mean,
            "accuracy_sd": float(row.accuracies.std(ddof=1)) if self.seeds > 1 else None,
            "n90": row.n90,
            "normalised": None,
            "forward_equivalents": row.forward_equivalents,
            "seconds_per_update": row.seconds_per_update,
            "wall_s": row.wall_s,
            "cost_ratio_to_bp": None,
            "cosine_to_bp": [round(cosine, 3) for cosine in row.cosine_to_bp],
            "normaliser": row.normaliser,
            "rate": row.rate,
            "diverged_at": [step for step in row.diverged_at if step is not None] or None,
        }
        if ceiling is not None:
            facts["cost_ratio_to_bp"] = row.seconds_per_update / ceiling.seconds_per_update
        if floor is not None and ceiling is not None:
            low, high = float(floor.accuracies.mean()), float(ceiling.accuracies.mean())
            facts["normalised"] = (mean - low) / (high - low) if high > low else None
        return facts

    def _row(self, learner: str) -> Fitted | None:
        return next((row for row in self.rows if row.learner == learner), None)
