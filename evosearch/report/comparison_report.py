"""The report of a comparison of searches."""

from __future__ import annotations

from collections.abc import Sequence

from evosearch.compare import Comparison
from evosearch.report import figures
from evosearch.report.anytime import anytime, targets_between
from evosearch.report.families import Group
from evosearch.report.page import Raw, figure, page, paragraph, section, table, text


def comparison_page(comparison: Comparison, groups: Sequence[Group] = ()) -> str:
    """Return the HTML document of one comparison."""
    title = f"{comparison.problem}: {', '.join(comparison.searches)}"
    summary = comparison.table()
    tests = comparison.tests_table()
    head = f"<h1>{text(title)}</h1>" + paragraph(
        f"{len(comparison.seeds)} seeds, at most {comparison.budget:,} candidate evaluations a run."
        if comparison.budget
        else f"{len(comparison.seeds)} seeds.",
        "lead muted",
    )
    return page(
        title,
        [
            head,
            section("Summary", table(summary.columns, summary.rows), _dots(comparison)),
            section(
                "Pairs",
                paragraph(
                    "Two-sided Mann-Whitney test on test scores, p adjusted by Holm; A is the "
                    "chance that a run of the first beats one of the second.",
                    "muted",
                ),
                table(tests.columns, tests.rows),
            )
            if tests.rows
            else "",
            section("Anytime performance", _anytime(comparison)),
            _forms(groups),
            section("Runs", _runs(comparison)),
        ],
    )


def _dots(comparison: Comparison) -> str:
    groups = {name: comparison.scores(name) for name in comparison.searches}
    levels = {
        name: value
        for name, value in (("floor", comparison.floor), ("ceiling", comparison.ceiling))
        if value is not None
    }
    if not any(groups.values()):
        return ""
    drawing = figures.scores_figure(groups, levels=levels)
    return figure(drawing, "Test score of every run; the bar is the median.")


def _anytime(comparison: Comparison) -> str:
    """Draw best scores over evaluations, and the share of targets that are reached."""
    curves = anytime(comparison)
    if not curves:
        return ""
    grid = next(iter(curves.values())).evaluations
    floor, ceiling = comparison.floor, comparison.ceiling
    levels = {"floor": floor, "ceiling": ceiling}
    best = figures.anytime_figure(
        {name: curve.quartiles() for name, curve in curves.items()}, grid,
        label="best score so far",
        levels={name: value for name, value in levels.items() if value is not None},
    )  # fmt: skip
    parts = [figure(best, "Median over runs of the best validation score so far, and the middle "
                          "half of the runs.")]  # fmt: skip
    if floor is not None and ceiling is not None and ceiling > floor:
        targets = targets_between(floor, ceiling)
        shares = {name: (s := curve.reached(targets), s, s) for name, curve in curves.items()}
        drawing = figures.anytime_figure(
            shares, grid, label="share of (run, target) pairs reached", levels={}
        )
        caption = f"{len(targets)} targets, evenly spaced from the floor to the ceiling."
        parts.append(figure(drawing, caption))
    return "\n".join(parts)


def _forms(groups: Sequence[Group]) -> str:
    rows = [
        (Raw(f"<code>{text(group.form)}</code>"), len(group.members), ", ".join(group.members))
        for group in groups
    ]
    return section("Equivalent champions", table(("form", "runs", "which"), rows)) if rows else ""


def _runs(comparison: Comparison) -> str:
    rows = [
        (
            cell.search,
            cell.seed,
            cell.score,
            cell.is_success,
            cell.evaluations,
            cell.evaluations_to_success,
            round(cell.wall_s, 1),
            Raw(f"<code>{text(cell.text)}</code>"),
        )
        for cell in comparison.cells
    ]
    columns = ("search", "seed", "test", "success", "evaluations", "to success", "s", "champion")
    return table(columns, rows)
