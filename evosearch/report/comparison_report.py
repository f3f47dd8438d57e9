"""The report of a comparison of searches."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from evosearch.comparison import Comparison
from evosearch.report import figures
from evosearch.report.anytime import N_TARGETS, anytime, profile, targets_of
from evosearch.report.families import Group
from evosearch.report.page import Raw, figure, page, paragraph, section, table, text
from evosearch.suite import Suite


def comparison_page(comparison: Comparison, groups: Sequence[Group] = ()) -> str:
    """Return the HTML document of one comparison."""
    title = f"{comparison.problem}: {', '.join(comparison.searches)}"
    lead = _seeds(comparison.seeds)
    if comparison.budget:
        lead = f"{lead}, at most {comparison.budget:,} candidate evaluations a run"
    head = f"<h1>{text(title)}</h1>" + paragraph(f"{lead}.", "lead muted")
    return page(title, [head, *_sections(comparison, groups)])


def suite_page(suite: Suite, groups: Mapping[str, Sequence[Group]]) -> str:
    """Return the HTML document of a comparison over several problems.

    Args:
        suite: the comparison.
        groups: champions that are the same rule, by problem.
    """
    names = ", ".join(part.problem for part in suite.parts)
    title = f"{', '.join(suite.searches)} on {len(suite.parts)} problems"
    summary, tests = suite.table(), suite.tests_table()
    return page(
        title,
        [
            f"<h1>{text(title)}</h1>",
            paragraph(f"{names}: {_seeds(suite.seeds)} of each search on each.", "lead muted"),
            *(paragraph(note) for note in suite.notes),
            section(
                "All problems",
                paragraph(
                    "Success rate, normalised score (0 at the floor, 1 at the ceiling) and rank "
                    "are means over problems; the interval is of all runs together.",
                    "muted",
                ),
                table(summary.columns, summary.rows),
            ),
            section("Targets reached", _profile(suite)),
            section("Pairs over all problems", _SUITE_TEST, table(tests.columns, tests.rows))
            if tests.rows
            else "",
            *(
                one
                for part in suite.parts
                for one in _sections(part, groups.get(part.problem, ()), part.problem)
            ),
        ],
    )


_SUITE_TEST = paragraph(
    "Two-sided test of van Elteren on test scores, ranks within each problem, p adjusted by Holm; "
    "A is the chance that a run of the first beats one of the second, the mean over problems.",
    "muted",
)


def _seeds(seeds: Sequence[int]) -> str:
    return f"{len(seeds)} seed{'s' if len(seeds) != 1 else ''}"


def _sections(comparison: Comparison, groups: Sequence[Group], problem: str = "") -> list[str]:
    """Return what is told of the comparison on one problem, which headings name where given."""
    summary, tests = comparison.table(), comparison.tests_table()
    notes = [] if problem else [paragraph(note) for note in comparison.notes]
    shown = table(summary.columns, summary.rows)
    words = (
        "Two-sided Mann-Whitney test on test scores, p adjusted by Holm; A is the chance that a "
        "run of the first beats one of the second."
    )
    pairs = [paragraph(words, "muted"), table(tests.columns, tests.rows)] if tests.rows else []
    return [
        section(_heading(problem, "Summary"), *notes, shown, _dots(comparison)),
        section(_heading(problem, "Pairs"), *pairs),
        section(_heading(problem, "Anytime performance"), _anytime(comparison)),
        section(_heading(problem, "Equivalent champions"), _forms(groups)),
        section(_heading(problem, "Runs"), _runs(comparison)),
    ]


def _heading(problem: str, words: str) -> str:
    return f"{problem}: {words.lower()}" if problem else words


def _profile(suite: Suite) -> str:
    """Draw the share of (problem, target) pairs that each search has reached by when."""
    found = profile(suite)
    if found is None:
        return ""
    last = max(found.ends.values())
    drawing = figures.anytime_figure(
        {name: (share, share, share) for name, share in found.shares.items()},
        found.evaluations,
        label="share of (problem, target) pairs reached",
        levels={},
        ends={name: end for name, end in found.ends.items() if end < last},
    )
    caption = (
        f"Empirical cumulative distribution over problems, targets and runs, every problem alike: "
        f"{N_TARGETS} targets each, evenly spaced from the floor to the ceiling, or to the score "
        "that counts as success where that is higher; reached by the best validation score so far."
    )
    if found.left_out:
        caption += f" Without floor and ceiling: {', '.join(found.left_out)}."
    rows = [(name, float(share[-1])) for name, share in found.shares.items()]
    return figure(drawing, caption) + table(("search", "share reached in the end"), rows)


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
    targets = targets_of(comparison)
    if targets is not None:
        shares = {name: (s := curve.reached(targets), s, s) for name, curve in curves.items()}
        drawing = figures.anytime_figure(
            shares, grid, label="share of (run, target) pairs reached", levels={}
        )
        caption = (
            f"{len(targets)} targets, evenly spaced from the floor to the ceiling, or to the score "
            "that counts as success where that is higher."
        )
        parts.append(figure(drawing, caption))
    return "\n".join(parts)


def _forms(groups: Sequence[Group]) -> str:
    rows = [
        (Raw(f"<code>{text(group.form)}</code>"), len(group.members), ", ".join(group.members))
        for group in groups
    ]
    return table(("form", "runs", "which"), rows)


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
