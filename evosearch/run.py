"""A run as its folder holds it."""

from __future__ import annotations

import html
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from evosearch.errors import InputError, RunCorruptError
from evosearch.outcome import FloatArray, Json
from evosearch.recorded import check_facts, problem_of
from evosearch.spaces.vector import REFERENCE, read_vector
from evosearch.store import GenerationRow, ValidationRow
from evosearch.store.folder import reading
from evosearch.tables import cell, plain

if TYPE_CHECKING:
    from evosearch.families import Family
    from evosearch.problem import Problem


@dataclass(frozen=True)
class Champion:
    """The candidate that did best on validation draws.

    Attributes:
        text: as evolved.
        simplified: the same function, shorter.
        latex: the simplified rule, typeset.
        size: nodes as evolved.
        fitness: by split; test only once the run has ended.
        scale: factor of the step size that goes with it.
        normalised_test: 0 at the floor, 1 at the ceiling.
        metrics: further figures on test draws.
        transplants: by further split, the fitness of ``champion``, ``floor`` and ``ceiling``.
        ablations: by terminal, its fitness on validation draws where that is held at zero.
    """

    text: str
    simplified: str
    latex: str
    size: int
    fitness: Mapping[str, float | None]
    scale: float
    normalised_test: float | None = None
    metrics: Mapping[str, float] = field(default_factory=dict)
    transplants: Mapping[str, Mapping[str, float | None]] = field(default_factory=dict)
    ablations: Mapping[str, float | None] = field(default_factory=dict)


class Run:
    """A run as its folder holds it, finished or not; prints and renders in a notebook.

    Attributes:
        path: the folder.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        with reading(path) as store:
            self._facts = store.facts()
            self._generations = store.generations()
            self._validations = store.validations()
            self._problem_text = store.problem_text()
            self.environment: dict[str, Any] = store.environment()
        check_facts(path, self._facts)

    @property
    def is_finished(self) -> bool:
        """Whether the search has ended and the champion was tested."""
        return "result" in self._facts

    @property
    def seed(self) -> int:
        """Seed of the search."""
        return int(self._facts["seed"])

    @property
    def budget(self) -> int:
        """Candidate evaluations that it may make."""
        return int(self._facts["budget"])

    @property
    def options(self) -> list[tuple[str, Any]]:
        """What makes the same run of its problem file beside search and seed, by option."""
        device = self._facts["device"]
        named = [("device", device)] if device != "cpu" else []
        return [("budget", self.budget), *named, *(("init", t) for t in self._facts["init"])]

    @property
    def digest(self) -> str:
        """Hash over all candidates and fitnesses, equal for equal runs."""
        return self._generations[-1].digest if self._generations else ""

    @cached_property
    def settings(self) -> dict[str, Any]:
        """The resolved problem file as plain values."""
        import tomllib

        try:
            return tomllib.loads(self._problem_text)
        except tomllib.TOMLDecodeError as error:
            raise RunCorruptError(
                f"{self.path / 'problem.toml'} is damaged ({error}); restore it from a copy."
            ) from None

    @property
    def champion(self) -> Champion | None:
        """The champion; of a run that has not ended the best on validation so far."""
        if self.is_finished:
            record = self._facts["result"]["champion"]
            return Champion(**record) if record else None
        if not self._validations:
            return None
        price = float(self.settings.get("parsimony", 0.0))
        best = min(self._validations, key=lambda r: (price * r.size - r.fitness, r.size))
        fitness = {"search": best.search_fitness, "validation": best.fitness, "test": None}
        return Champion(best.text, best.text, "", best.size, fitness, best.scale)

    @property
    def validations(self) -> list[ValidationRow]:
        """All scores on validation draws, in the order in which they were made."""
        return list(self._validations)

    @property
    def pareto(self) -> list[dict[str, Any]]:
        """Rows ``size text fitness validation``: no smaller rule is as good on search draws."""
        if self.is_finished:
            return list(self._facts["result"]["pareto"])
        rows: list[dict[str, Any]] = []
        best: dict[int, Any] = {}
        for row in self._validations:
            if row.size not in best or row.search_fitness > best[row.size].search_fitness:
                best[row.size] = row
        for size in sorted(best):
            row = best[size]
            if not rows or row.search_fitness > rows[-1]["fitness"]:
                rows.append(
                    {
                        "size": size,
                        "text": row.text,
                        "fitness": row.search_fitness,
                        "validation": row.fitness,
                    }
                )
        return rows

    @cached_property
    def families(self) -> list[Family]:
        """Families of equivalent rules among the 100 best of each size, by rising size."""
        from evosearch.families import N_OF_SIZE, families_of

        if self.is_of_vectors:
            return []
        with reading(self.path) as store:
            met = store.best_of_each_size(N_OF_SIZE)
        return families_of(met, {row.text: row.fitness for row in self._validations})

    @property
    def known(self) -> dict[str, Any]:
        """Known rules of the problem by name."""
        from evosearch.report.gather import known_rules

        return known_rules(self)

    @property
    def known_scores(self) -> dict[str, dict[str, Any]]:
        """``validation test scale`` of each known rule, by name; empty until the run has ended."""
        return dict(self._facts["result"]["known"]) if self.is_finished else {}

    @property
    def baselines(self) -> dict[str, float | None]:
        """Test score of each known rule, by name."""
        return {name: score["test"] for name, score in self.known_scores.items()}

    @property
    def floor_name(self) -> str | None:
        """Name of the trivial control."""
        return self.settings.get("floor")

    @property
    def ceiling_name(self) -> str | None:
        """Name of the reference."""
        return self.settings.get("ceiling")

    @property
    def summary(self) -> str:
        """What the search says that it has shown."""
        return str(self._facts["result"]["summary"]) if self.is_finished else ""

    @property
    def evaluations_to_success(self) -> int | None:
        """Evaluations made when validation first met the criterion, None without success."""
        return self._facts["result"]["evaluations_to_success"] if self.is_finished else None

    @property
    def updates_to_success(self) -> int | None:
        """Synapse updates made when validation first met the criterion, None without success."""
        evaluations = self.evaluations_to_success
        if evaluations is None:
            return None
        rows = (row for row in self._generations if row.evaluations >= evaluations)
        return next((row.synapse_updates for row in rows), None)

    @cached_property
    def faults(self) -> dict[str, int]:
        """Counts of candidates by status, ok left out."""
        with reading(self.path) as store:
            counts = store.status_counts()
        found = {status: n for status, n in counts.items() if status != "ok"}
        # Where candidates are not kept, their number alone is known.
        n_lost = self._generations[-1].failures if self._generations else 0
        return found or ({"lost": n_lost} if n_lost else {})

    @cached_property
    def first_fault(self) -> str:
        """The first candidate without a fitness and why, empty where all have one."""
        with reading(self.path) as store:
            return next((detail for _, kind, detail in store.events() if kind != "stopped"), "")

    def candidate(self, problem: Problem) -> Any:
        """Return the champion as its problem knows it: a rule, or a vector.

        Raises:
            InputError: there is no champion.
        """
        if self.champion is None:
            raise InputError(f"the run {self.path} has no champion; resume it if it has not ended.")
        if self.champion.text.startswith(REFERENCE):
            return self.vector
        return problem.read(self.champion.text)

    @property
    def vector(self) -> FloatArray:
        """The champion's numbers, of a run over vectors."""
        champion = self.champion
        if champion is None:
            raise InputError(f"the run {self.path} has no champion; resume it if it has not ended.")
        if champion.text.startswith(REFERENCE):
            with reading(self.path) as store:
                return store.vector(champion.text)
        return read_vector(champion.text, champion.size)

    @property
    def is_of_vectors(self) -> bool:
        """Whether candidates were vectors, not rules."""
        return "vector" in self.settings

    @property
    def is_long(self) -> bool:
        """Whether candidates were vectors too long to be kept one by one."""
        champion = self.champion
        return champion is not None and champion.text.startswith(REFERENCE)

    def history(self) -> dict[str, FloatArray]:
        """Return the figures of all generations as columns, each (generations,)."""
        names = [item.name for item in fields(GenerationRow) if item.name != "digest"]
        rows = self._generations
        return {name: np.array([getattr(r, name) for r in rows], np.float64) for name in names}

    def to_json(self) -> dict[str, Json]:
        """Return the keys that ``run --json`` promises."""
        last = self._generations[-1] if self._generations else None
        champion = self.champion
        result = self._facts.get("result") or {}
        baselines = self.baselines
        record = None
        if champion is not None:
            record = {
                "text": champion.text,
                "simplified": champion.simplified,
                "latex": champion.latex,
                "size": champion.size,
                "fitness": dict(champion.fitness),
                "normalised_test": champion.normalised_test,
                "transplants": {name: dict(row) for name, row in champion.transplants.items()},
                "ablations": dict(champion.ablations),
            }
        return plain(
            {
                "run": str(self.path),
                "problem": self._facts["problem"],
                "search": self._facts["search"],
                "seed": self.seed,
                "generations": last.generation if last else 0,
                "evaluations": last.evaluations if last else 0,
                "lifetimes": last.lifetimes if last else 0,
                "synapse_updates": last.synapse_updates if last else 0,
                "life": result.get("life"),
                "wall_s": last.wall_s if last else 0.0,
                "champion": record,
                "floor": baselines.get(self.floor_name or ""),
                "ceiling": baselines.get(self.ceiling_name or ""),
                "baselines": baselines,
                "success": result.get("success"),
                "stopped_by": self._facts.get("stopped_by"),
            }
        )

    @property
    def synapse_updates_per_s(self) -> float:
        """Weight changes a second of the run, validation included."""
        last = self._generations[-1] if self._generations else None
        return last.synapse_updates / last.wall_s if last and last.wall_s else 0.0

    @property
    def native_share(self) -> float | None:
        """Share of weight changes that compiled rules made; None where it was not recorded."""
        last, native = self._generations[-1:], self._facts.get("native_updates")
        if native is None or not last or not last[0].synapse_updates:
            return None
        return min(1.0, native / last[0].synapse_updates)

    @property
    def share_met_before(self) -> float | None:
        """Share of evaluations whose score was known in the run; None before the first."""
        last = self._generations[-1] if self._generations else None
        if last is None or not last.evaluations:
            return None
        return 1.0 - last.unique_evaluations / last.evaluations

    @property
    def shared_hits(self) -> int | None:
        """Scores that came from other runs; None where the run shared none."""
        return self._facts.get("shared_hits")

    def __repr__(self) -> str:
        champion = self.champion
        rule = champion.simplified if champion else "no champion"
        return f"Run({str(self.path)!r}, champion={rule!r})"

    def _repr_html_(self) -> str:
        from evosearch.summary import pareto_table, score_table

        champion = self.champion
        if champion is None:
            return f"<p>{html.escape(repr(self))}</p>"
        rule = html.escape(champion.simplified)
        test = cell(champion.fitness.get("test"))
        return (
            f"<p><b>{html.escape(str(self.path.name))}</b>: <code>{rule}</code>, "
            f"test {html.escape(test)}</p>"
            + score_table(self).to_html()
            + pareto_table(self).to_html()
        )


def load_run(path: Path) -> Run:
    """Read a run without changing it."""
    return Run(path)


def load_problem_of(run: Run) -> Problem:
    """Build the problem that a run was made on, from the run's own folder."""
    with reading(run.path) as store:
        return problem_of(run.path, store.problem_text(), store.facts())
