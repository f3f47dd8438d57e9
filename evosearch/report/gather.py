"""Collect what the report of a run shows, from the run and the runs beside it."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evosearch.engine.program import Level, Terminal
from evosearch.errors import EvosearchError
from evosearch.families import best_of_each_size
from evosearch.outcome import FloatArray
from evosearch.report.families import Group, group_rules
from evosearch.report.run_report import KnownScore, RunView
from evosearch.rules.library import KNOWN
from evosearch.rules.parser import parse
from evosearch.rules.rule import Rule

if TYPE_CHECKING:
    from evosearch.comparison import Cell
    from evosearch.problem.rules import RuleProblem

logger = logging.getLogger(__name__)

MAX_SIBLINGS = 200
MAX_FAMILIES = 20
_LEVELS = {"w": Level.SYNAPSE, "pre": Level.PRE, "post": Level.POST, "mod": Level.NETWORK}


def view_of_run(run: Any) -> RunView:
    """Collect everything that the report of a run shows."""
    facts = run.to_json()
    champion: dict[str, Any] = facts["champion"] or {"text": "", "fitness": {}}
    facts = {**facts, "champion": champion}
    rule = read_rule(champion.get("text", ""))
    known = known_rules(run)
    terminals = terminals_of(run.settings, [rule, *known.values()])
    reference = getattr(run, "ceiling_name", "") or ""
    problem = problem_with_lives(run, rule)
    return RunView(
        facts=facts,
        title=str(run.settings.get("title", "")),
        history=run.history(),
        pareto=[dict(row) for row in run.pareto],
        champion=rule,
        is_formula=is_of_formulas(run.settings),
        vector=run.vector if run.champion is not None and run.is_of_vectors else None,
        simplified=read_rule(champion.get("simplified", "")) or rule,
        reference_name=reference,
        reference=known.get(reference),
        known=known_scores(run, known),
        terminals=terminals,
        families=best_of_each_size(run.families, MAX_FAMILIES),
        groups=equivalent_champions(run, rule, terminals),
        trajectories=weight_paths(run, problem, rule, known.get(reference)),
        experience=experience_of(run, problem),
        faults=dict(getattr(run, "faults", {}) or {}),
        statement=str(getattr(run, "summary", "") or ""),
        settings_text=_settings_text(run.path),
        environment=dict(run.environment or {}),
        options=run.options,
    )


def weight_paths(
    run: Any, problem: RuleProblem | None, champion: Rule | None, reference: Rule | None
) -> dict[str, tuple[FloatArray, FloatArray]]:
    """Return weights over the first test life under the champion and under the reference."""
    from evosearch.report.trajectories import trace_weights

    if problem is None or champion is None:
        return {}
    life = problem.lifetimes(problem.draws("test", count=1))[0]
    rules = {"champion": (champion, run.champion.scale)}
    if reference is not None:
        scale = run.known_scores[run.ceiling_name]["scale"]
        rules[str(run.ceiling_name)] = (reference, scale)
    eta = problem.step_size("test")
    return {
        name: trace_weights(life, problem.program(rule), eta * scale)
        for name, (rule, scale) in rules.items()
    }


def experience_of(
    run: Any, problem: RuleProblem | None
) -> tuple[FloatArray, dict[str, FloatArray]] | None:
    """Return fitness against experience within a life, under rules that were best at a time."""
    from evosearch.report.experience import experience_curves, stages

    if problem is None:
        return None
    shown = stages(run)
    found = experience_curves(problem, [(problem.read(text), scale) for _, text, scale in shown])
    if found is None:
        return None
    parts, fitness = found
    return parts, {label: fitness[:, k] for k, (label, _, _) in enumerate(shown)}


def problem_with_lives(run: Any, champion: Rule | None) -> RuleProblem | None:
    """Return the problem of a finished run whose champion is a rule with lives.

    None for a user's own task, which a report never imports.
    """
    from evosearch.problem.rules import RuleProblem
    from evosearch.run import load_problem_of

    if not run.is_finished or champion is None:
        return None
    problem = load_problem_of(run)
    if not isinstance(problem, RuleProblem) or not problem.is_compiled or problem.has_rows:
        return None
    return problem


def read_rule(text: str) -> Rule | None:
    """Parse a rule; None for text that is none, as of a weight vector."""
    try:
        return parse(text) if text else None
    except EvosearchError:
        return None


def known_rules(run: Any) -> dict[str, Rule]:
    """Return the known rules of the run's problem by name, from its own problem file."""
    rules: dict[str, Rule] = {}
    for name, entry in (run.settings.get("known") or {}).items():
        library = entry.get("library")
        text = entry.get("text") or (KNOWN[library].text if library in KNOWN else "")
        rule = read_rule(text)
        if rule is not None:
            rules[name] = rule
    return rules


def known_scores(run: Any, known: Mapping[str, Rule]) -> list[KnownScore]:
    """Return the held-out scores of the known rules with their sources and roles."""
    roles = {
        getattr(run, "floor_name", None): "floor",
        getattr(run, "ceiling_name", None): "ceiling",
    }
    lines = []
    for name, test in run.to_json()["baselines"].items():
        entry = (run.settings.get("known") or {}).get(name, {})
        library = entry.get("library", name if name in known else None)
        source = f"{KNOWN[library].authors} {KNOWN[library].year}" if library in KNOWN else ""
        text = known[name].text if name in known else ""
        lines.append(KnownScore(name, text, source, test, roles.get(name, "")))
    return lines


def terminals_of(
    settings: Mapping[str, Any], rules: Iterable[Rule | None] = ()
) -> tuple[Terminal, ...]:
    """Return the terminals that the problem offers, with the ranges of a built-in task.

    A user's own task is never imported here: its terminals get the usual range.
    """
    chosen = list((settings.get("rule") or {}).get("terminals") or ())
    for rule in rules:
        chosen += sorted(name for name in (rule.terminals if rule else ()) if name not in chosen)
    kind = str((settings.get("task") or {}).get("kind", ""))
    catalogue: dict[str, Terminal] = {}
    if kind and ":" not in kind:
        from evosearch.tasks.base import TASKS

        if kind in TASKS.names():
            offered: tuple[Terminal, ...] = getattr(TASKS.get(kind), "terminals", ())
            catalogue = {terminal.name: terminal for terminal in offered}
    return tuple(
        catalogue.get(name, Terminal(name, _LEVELS.get(name, Level.SYNAPSE))) for name in chosen
    )


def is_of_formulas(settings: Mapping[str, Any]) -> bool:
    """Return whether the rules of a problem compute a column of a table."""
    from evosearch.tasks.base import TASKS
    from evosearch.tasks.rows import RowTask

    kind = str((settings.get("task") or {}).get("kind", ""))
    return kind in TASKS.names() and issubclass(TASKS.get(kind), RowTask)


def equivalent_champions(run: Any, rule: Rule | None, terminals: Sequence[Terminal]) -> list[Group]:
    """Group this run's champion and front with the champions of the runs beside it."""
    entries: list[tuple[str, Rule]] = []
    if rule is not None:
        entries.append(("this champion", rule))
    for row in run.pareto:
        front_rule = read_rule(str(row["text"]))
        if front_rule is not None and front_rule != rule:
            entries.append((f"front, size {row['size']}", front_rule))
    entries += _siblings(run)
    # Runs beside this one, of other tables, may read columns that it has not.
    known = {terminal.name for terminal in terminals}
    read = {name for _, each in entries for name in each.terminals} - known
    more = [Terminal(name, _LEVELS.get(name, Level.SYNAPSE)) for name in sorted(read)]
    return group_rules(entries, [*terminals, *more]) if entries else []


def _siblings(run: Any) -> list[tuple[str, Rule]]:
    from evosearch.api import load_run

    entries: list[tuple[str, Rule]] = []
    folders = sorted(path.parent for path in run.path.parent.glob("*/run.sqlite"))
    for folder in folders[:MAX_SIBLINGS]:
        if folder == run.path:
            continue
        try:
            champion = load_run(folder).champion
        except EvosearchError as error:
            logger.debug("left out of the groups: %s", error)
            continue
        rule = read_rule(champion.text) if champion is not None else None
        if rule is not None:
            entries.append((folder.name, rule))
    return entries


def groups_of_cells(cells: Sequence[Cell]) -> list[Group]:
    """Group the champions of a comparison."""
    entries = []
    for cell in cells:
        rule = read_rule(cell.text)
        if rule is not None:
            entries.append((f"{cell.search} {cell.seed}", rule))
    names = sorted({name for _, rule in entries for name in rule.terminals})
    terminals = [Terminal(name, _LEVELS.get(name, Level.SYNAPSE)) for name in names]
    return group_rules(entries, terminals)


def _settings_text(path: Path) -> str:
    file = path / "problem.toml"
    return file.read_text(encoding="utf-8") if file.is_file() else ""
