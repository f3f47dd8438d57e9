"""The report of learners side by side: figures, learning curves, directions of updates."""

from __future__ import annotations

import numpy as np

from evosearch.fitted import Fit
from evosearch.report import figures
from evosearch.report.page import bar, figure, page, paragraph, section, table, text


def fit_page(fit: Fit) -> str:
    """Return the HTML document of one comparison of learners."""
    title = f"{fit.task}: {len(fit.rows)} learners"
    head = f"<h1>{text(title)}</h1>" + paragraph(
        f"Test accuracy of {fit.seeds} seeds. Each learner's normaliser and learning rate were "
        "chosen by two lifetimes on validation data from the same few settings. Normalised is 0 "
        f"for {fit.floor}, whose hidden layers stay random, and 1 for {fit.ceiling}.",
        "lead muted",
    )
    return page(
        title,
        [
            head,
            section("Accuracy and cost", _summary(fit)),
            section("Learning curves", _curves(fit)),
            section("Direction of the updates", _directions(fit)),
            section("Not here", table(("learner", "why"), list(fit.refused.items()))),
        ],
    )


def _summary(fit: Fit) -> str:
    columns = {
        "learner": "learner", "accuracy_mean": "accuracy", "accuracy_sd": "sd",
        "normalised": "normalised", "n90": "to 90 %", "forward_equivalents": "passes",
        "cost_ratio_to_bp": "time", "normaliser": "normaliser", "rate": "rate",
    }  # fmt: skip
    facts = sorted(map(fit.facts, fit.rows), key=_rank)
    if any(row["diverged_at"] for row in facts):
        columns["diverged_at"] = "diverged at"
    note = (
        f"To 90 %: updates, the median over seeds. Passes: cost of an update in forward passes. "
        f"Time: processor time of an update relative to {fit.ceiling}."
    )
    rows = [tuple(row[key] for key in columns) for row in facts]
    return table(tuple(columns.values()), rows) + paragraph(note, "muted")


def _rank(facts: dict[str, object]) -> float:
    mean = facts["accuracy_mean"]
    return -mean if isinstance(mean, float) and np.isfinite(mean) else np.inf


def _curves(fit: Fit) -> str:
    curves = {row.learner: row.curves for row in fit.rows}
    levels = [row.learner for row in fit.rows if row.learner in (fit.floor, fit.ceiling)]
    drawing = figures.learning_figure(curves, check_every=fit.check_every, references=levels)
    return figure(
        drawing, "Test accuracy over updates: mean and standard deviation over seeds. Grey: "
        f"{' and '.join(levels) or 'no reference'}.",
    )  # fmt: skip


def _directions(fit: Fit) -> str:
    rows = [row for row in fit.rows if row.cosine_to_bp]
    if not rows:
        return ""
    n_layers = max(len(row.cosine_to_bp) for row in rows)
    columns = ("learner", *(f"layer {k + 1}" for k in range(n_layers)))
    lines = [
        (row.learner, *(bar(None if np.isnan(c) else float(c)) for c in row.cosine_to_bp))
        for row in rows
    ]
    note = "Cosine between update and negative gradient in the middle of learning, mean over seeds."
    return paragraph(note, "muted") + table(columns, lines)
