"""The report of one run."""

from __future__ import annotations

import math
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evosearch.display import duration, score_text
from evosearch.engine.program import Terminal
from evosearch.families import Family
from evosearch.report import figures
from evosearch.report.families import Group
from evosearch.report.mathml import rule_mathml
from evosearch.report.page import (
    Raw,
    bar,
    cards,
    details,
    facts_table,
    figure,
    page,
    paragraph,
    section,
    table,
    text,
)
from evosearch.report.surfaces import rule_surface
from evosearch.rules.rule import Rule
from evosearch.scoring import normalise
from evosearch.tables import numbers_line

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class KnownScore:
    """One line of the held-out table.

    Attributes:
        name: name of the rule.
        text: its text.
        source: authors and year.
        test: score on test draws, None where it was not measured.
        role: ``floor``, ``ceiling`` or nothing.
    """

    name: str
    text: str
    source: str
    test: float | None
    role: str = ""


@dataclass(frozen=True)
class RunView:
    """All that the report of a run shows; plain values, so that it can be made without a run.

    Attributes:
        facts: what ``show --json`` prints.
        title: one line about the problem.
        history: columns over generations.
        pareto: rows ``size text fitness validation``.
        champion: the champion as evolved, None where it is no rule.
        is_formula: whether a rule computes a column of a table.
        vector: the champion's numbers, None where it is a rule.
        simplified: the same, simplified.
        reference_name: name of the best known rule.
        reference: that rule.
        known: held-out scores of known rules.
        terminals: the catalogue that the rule may read.
        families: families of equivalent rules, the best of each size.
        groups: champions that are the same rule.
        trajectories: steps (T,) and weights (T, k) over one lifetime, by rule name.
        experience: parts of a life with plasticity (T,), and fitness (T,) by when a rule was best.
        faults: counts by status.
        statement: what the search itself claims at its end.
        settings_text: the resolved problem file.
        environment: versions and hardware.
        options: what the command was given beside search and seed, by option.
    """

    facts: Mapping[str, Any]
    title: str
    history: Mapping[str, FloatArray]
    pareto: Sequence[Mapping[str, Any]]
    champion: Rule | None = None
    is_formula: bool = False
    vector: FloatArray | None = None
    simplified: Rule | None = None
    reference_name: str = ""
    reference: Rule | None = None
    known: Sequence[KnownScore] = ()
    terminals: Sequence[Terminal] = ()
    families: Sequence[Family] = ()
    groups: Sequence[Group] = ()
    trajectories: Mapping[str, tuple[FloatArray, FloatArray]] = field(default_factory=dict)
    experience: tuple[FloatArray, Mapping[str, FloatArray]] | None = None
    faults: Mapping[str, int] = field(default_factory=dict)
    statement: str = ""
    settings_text: str = ""
    environment: Mapping[str, Any] = field(default_factory=dict)
    options: Sequence[tuple[str, Any]] = ()


def run_page(view: RunView) -> str:
    """Return the HTML document of one run."""
    facts = view.facts
    title = f"{facts['problem']} · {facts['search']} · seed {facts['seed']}"
    return page(
        title,
        [
            _head(view, title),
            _formulas(view),
            _curves(view),
            _held_out(view),
            _robustness(view),
            _pareto(view),
            _families(view.families),
            _surface(view),
            _experience(view),
            _lifetime(view),
            _groups(view.groups),
            _costs(view),
            _provenance(view),
        ],
    )


def _head(view: RunView, title: str) -> str:
    facts, champion = view.facts, view.facts["champion"]
    fitness = champion["fitness"]
    normalised, is_vector = champion.get("normalised_test"), view.vector is not None
    success = facts.get("success")
    verdicts: dict[Any, str] = {True: "+criterion met", False: "criterion not met"}
    verdict = verdicts.get(success, "")
    entries = [
        ("test score", _number(fitness.get("test")), verdict),
        ("normalised", _number(normalised), "0 = floor, 1 = ceiling"),
        ("ceiling", _number(facts.get("ceiling")), f"floor {_number(facts.get('floor'))}"),
        ("champion size", champion.get("size"), "numbers" if is_vector else "nodes"),
        ("evaluations", facts.get("evaluations"), f"stopped by {facts.get('stopped_by')}"),
        ("search time", duration(float(facts.get("wall_s") or 0)), _lifetimes(facts)),
    ]
    return (
        f"<h1>{text(title)}</h1>{paragraph(view.title, 'lead muted')}{cards(entries)}"
        f"{paragraph(view.statement)}"
    )


def _lifetimes(facts: Mapping[str, Any]) -> str:
    return f"{facts['lifetimes']:,} lifetimes" if facts.get("lifetimes") else ""


def _number(value: Any) -> str:
    is_known = isinstance(value, (int, float)) and math.isfinite(value)
    return score_text(value) if is_known else "–"


def _formulas(view: RunView) -> str:
    champion = view.facts["champion"]
    if view.vector is not None:
        caption = "The champion's numbers."
        drawing = figure(figures.vector_figure(view.vector), caption)
        return section("What was found", f"<pre>{text(numbers_line(view.vector))}</pre>", drawing)
    boxes = []
    shown = view.simplified or view.champion
    if shown is not None:
        boxes.append(_rule_box("Champion, simplified", shown, "rule champion", view))
    if view.champion is not None and view.champion.text != (shown.text if shown else ""):
        boxes.append(_rule_box("Champion, as evolved", view.champion, "rule", view))
    if view.reference is not None:
        boxes.append(_rule_box(f"Best known: {view.reference_name}", view.reference, "rule", view))
    if not boxes:
        return section("Champion", f"<pre>{text(champion.get('text', ''))}</pre>")
    latex = champion.get("latex")
    return section(
        "What was found",
        f'<div class="rules">{"".join(boxes)}</div>',
        details("LaTeX", latex) if latex else "",
    )


def _rule_box(title: str, rule: Rule, kind: str, view: RunView) -> str:
    if rule.size > 11:
        kind += " wide"
    return (
        f'<div class="{kind}"><h3>{text(title)}</h3>'
        f"{rule_mathml(rule, is_formula=view.is_formula)}<code>{text(rule.text)}</code></div>"
    )


def _curves(view: RunView) -> str:
    if len(view.history.get("evaluations", ())) < 2:
        return ""
    drawing = figures.curves_figure(
        view.history, floor=view.facts.get("floor"), ceiling=view.facts.get("ceiling")
    )
    caption = "Fitness over the search; floor and ceiling are measured on test draws."
    return section("How it was found", figure(drawing, caption))


def _held_out(view: RunView) -> str:
    facts, champion = view.facts, view.facts["champion"]
    floor, ceiling = facts.get("floor"), facts.get("ceiling")
    lines: list[tuple[Any, tuple[Any, ...]]] = []
    for row in view.known:
        origin = " · ".join(filter(None, (row.role, row.source)))
        lines.append((row.test, (row.name, origin, Raw(f"<code>{text(row.text)}</code>"))))
    shown = champion.get("simplified") or champion.get("text", "")
    shown = shown if view.vector is None else numbers_line(view.vector)
    words = ("champion", "this run", Raw(f"<code>{text(shown)}</code>"))
    own = (champion["fitness"].get("test"), words)
    ordered = sorted([own, *lines], key=lambda line: -_rankable(line[0]))
    rows = [
        (*words, _number(test), bar(normalise(test, floor, ceiling))) for test, words in ordered
    ]
    index = next(i for i, line in enumerate(ordered) if line is own)
    kind = "rule" if view.vector is None else "vector"
    columns = (kind, "source", "text", "test", "normalised")
    splits = ", ".join(f"{name} {_number(value)}" for name, value in champion["fitness"].items())
    return section(
        "Held-out scores",
        paragraph(f"Champion: {splits}. Test draws were scored once, after the search."),
        table(columns, rows, champion=index),
    )


def _robustness(view: RunView) -> str:
    """Return the transplant and the leak test."""
    champion = view.facts["champion"]
    elsewhere, without = champion.get("transplants") or {}, champion.get("ablations") or {}
    parts = []
    if elsewhere:
        rows = [
            (split, *(_number(row[place]) for place in ("champion", "floor", "ceiling")))
            for split, row in elsewhere.items()
        ]
        parts += [
            paragraph("On draws of other kinds than the search and the choice of champion saw:"),
            table(("split", "champion", "floor", "ceiling"), rows),
        ]
    if without:
        ordered = sorted(without.items(), key=lambda row: _rankable(row[1]))
        parts += [
            paragraph(
                "With one terminal held at zero, on validation draws. A rule whose teacher is "
                "taken away must fall to the floor; where it does not, something else tells it."
            ),
            table(("without", "validation"), [(name, _number(value)) for name, value in ordered]),
        ]
    return section("Elsewhere, and without what it reads", *parts)


def _rankable(value: Any) -> float:
    return float(value) if isinstance(value, (int, float)) and math.isfinite(value) else -math.inf


def _pareto(view: RunView) -> str:
    if not view.pareto or view.vector is not None:
        return ""
    champion = view.facts["champion"]
    drawing = figures.pareto_figure(
        [int(row["size"]) for row in view.pareto],
        [_finite(row.get("fitness")) for row in view.pareto],
        [_finite(row.get("validation")) for row in view.pareto],
        champion_size=champion.get("size"),
    )
    rows = [
        (row["size"], _number(row.get("fitness")), _number(row.get("validation")),
         Raw(f"<code>{text(row['text'])}</code>"))
        for row in view.pareto
    ]  # fmt: skip
    index = next((i for i, r in enumerate(view.pareto) if r["text"] == champion.get("text")), None)
    return section(
        "Fitness against size",
        figure(drawing, "The best rule of each size that no smaller rule beats."),
        table(("size", "search", "validation", "rule"), rows, champion=index),
    )


def _families(families: Sequence[Family]) -> str:
    rows = [
        (f.size, _number(f.fitness), _number(f.validation), f.n_rules, f.n_met, f.short_form or "–",
         Raw(f"<code>{text(f.short_text)}</code>"))
        for f in families
    ]  # fmt: skip
    words = (
        "Rules that are one polynomial but for its constants are one family, as are other rules "
        "that behave alike. Of the families whose smallest rule has a size, the one of the highest "
        "fitness; how many different rules of it are among the hundred best of their size, and how "
        "often these were proposed. Constants are shown in four digits."
    )
    columns = ("size", "search", "validation", "rules", "met", "form", "smallest rule")
    body = table(columns, rows)
    return section("Families of equivalent rules", paragraph(words, "muted"), body) if rows else ""


def _finite(value: Any) -> float:
    return float(value) if isinstance(value, (int, float)) else math.nan


def _surface(view: RunView) -> str:
    parts = []
    for name, rule in (("champion", view.champion), (view.reference_name, view.reference)):
        surface = rule_surface(rule, view.terminals) if rule is not None else None
        if surface is None:
            continue
        held = ", ".join(f"{key} = {value:.3g}" for key, value in surface.held.items())
        caption = f"{name}: value of the rule over {surface.x} and {surface.y}; the line is zero."
        drawing = figures.surface_figure(
            surface.panels,
            x_range=surface.x_range,
            y_range=surface.y_range,
            x_name=surface.x,
            y_name=surface.y,
        )
        parts.append(figure(drawing, caption + (f" Held: {held}." if held else "")))
    return section("What it does", *parts)


def _experience(view: RunView) -> str:
    if view.experience is None:
        return ""
    parts, curves = view.experience
    caption = (
        "Fitness on test draws where plasticity is switched off after a part of the life, under "
        "the rules that were best so far at several moments of the search."
    )
    return section(
        "Performance against experience", figure(figures.experience_figure(parts, curves), caption)
    )


def _lifetime(view: RunView) -> str:
    if not view.trajectories:
        return ""
    drawing = figures.weights_figure(view.trajectories)
    caption = "Weights over one lifetime on the first test draw, each rule at its own step size."
    return section("Weights over one lifetime", figure(drawing, caption))


def _groups(groups: Sequence[Group]) -> str:
    rows = [
        (Raw(f"<code>{text(group.form)}</code>"), len(group.members), group.n_behaviours,
         ", ".join(group.members[:12]) + (" …" if len(group.members) > 12 else ""))
        for group in groups
    ]  # fmt: skip
    words = (
        "Rules with the same signed terms stand together, whatever their constants; rules that "
        "are no polynomial are grouped by how they behave on fixed probes."
    )
    body = table(("form", "members", "behaviours", "which"), rows)
    return section("Equivalent champions", paragraph(words, "muted"), body) if rows else ""


def _costs(view: RunView) -> str:
    facts = view.facts
    names = ("generations", "evaluations", "lifetimes", "synapse_updates", "wall_s")
    rows: list[tuple[Any, ...]] = [
        (name.replace("_", " ").replace("wall s", "seconds"), facts.get(name))
        for name in names
        if facts.get(name) or name != "synapse_updates"
    ]
    life = facts.get("life") or {}
    rows += [(f"{name.replace('_', ' ')} of one lifetime", value) for name, value in life.items()]
    rows += [(f"candidates {status}", count) for status, count in view.faults.items()]
    return section("What it cost", facts_table(rows))


def _provenance(view: RunView) -> str:
    facts = view.facts
    rows = [(key, value) for key, value in _flat(view.environment)]
    search = shlex.quote(str(facts["search"]))
    command = f"evosearch run problem.toml --search {search} --seed {facts['seed']}"
    command += "".join(f" --{key} {shlex.quote(str(value))}" for key, value in view.options)
    return section(
        "Settings and versions",
        f"<pre>{text(command)}</pre>",
        paragraph("The file problem.toml, which is shown below, lies in the folder of the run."),
        details("the problem as it was run", view.settings_text) if view.settings_text else "",
        facts_table(rows),
        f"<footer>Run {text(facts['run'])}.</footer>",
    )


def _flat(mapping: Mapping[str, Any]) -> list[tuple[str, str]]:
    rows = []
    for key, value in mapping.items():
        if isinstance(value, Mapping):
            rows += [(f"{key} · {inner}", str(item)) for inner, item in value.items()]
        else:
            rows.append((str(key), str(value)))
    return rows
