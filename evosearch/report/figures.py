"""Figures of a report as inline SVG whose colours follow the page, light or dark."""

from __future__ import annotations

import functools
import io
import itertools
import re
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ParamSpec

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.typing import RcKeyType

P = ParamSpec("P")
FloatArray = NDArray[np.float64]

# Marker colours that svg() replaces by style-sheet variables; no figure uses them as such.
INK, GRID, MUTED = "#010101", "#020202", "#030303"
SERIES = ("#040404", "#050505", "#060606", "#070707", "#080808", "#090909")
_VARIABLES = {INK: "var(--ink)", GRID: "var(--line)", MUTED: "var(--muted)"}
_VARIABLES |= {colour: f"var(--series-{i + 1})" for i, colour in enumerate(SERIES)}
_STYLE: dict[RcKeyType, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "evosearch",
    "font.family": "sans-serif",
    "font.size": 10,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.titlesize": 10,
    "axes.titleweight": "bold",
    "axes.edgecolor": MUTED,
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": GRID,
    "grid.linewidth": 0.7,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "lines.linewidth": 1.8,
    "legend.frameon": False,
    "text.usetex": False,
}
MAX_BARS = 64
_counter = itertools.count()


def _styled(draw: Callable[P, str]) -> Callable[P, str]:
    """Draw under the house style; the caller's matplotlib settings stay as they were."""

    @functools.wraps(draw)
    def styled(*args: P.args, **kwargs: P.kwargs) -> str:
        import matplotlib as mpl

        with mpl.rc_context(_STYLE):
            return draw(*args, **kwargs)

    return styled


def svg(figure: Figure) -> str:
    """Return a figure as an inline ``<svg>`` element that scales with the page."""
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", text, count=1)
    text = re.sub(r'(<svg[^>]*?) width="[^"]*"', r"\1", text, count=1)
    prefix = f"f{next(_counter)}-"
    text = re.sub(r'\bid="', f'id="{prefix}', text)
    text = re.sub(r'href="#', f'href="#{prefix}', text)
    text = re.sub(r"url\(#", f"url(#{prefix}", text)
    text = re.sub(r"font: ([^;\"]*?)px [^;\"]*", r"font: \1px var(--font)", text)
    for colour, variable in _VARIABLES.items():
        text = text.replace(colour, variable)
    return text


def _figure(width: float, height: float, columns: int = 1) -> tuple[Figure, list[Axes]]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, list(figure.subplots(1, columns, squeeze=False)[0])


@_styled
def curves_figure(
    history: Mapping[str, FloatArray], *, floor: float | None, ceiling: float | None
) -> str:
    """Draw best, median and spread of the fitness over evaluations.

    Args:
        history: columns ``evaluations best median q25 q75 validation``, each (generations,).
        floor: test score of the trivial control, drawn as a level.
        ceiling: test score of the reference.
    """
    figure, (axes,) = _figure(7.2, 3.6)
    x = np.asarray(history["evaluations"], dtype=np.float64)
    best, median, low, high, validation = (
        _column(history, name, x.size) for name in ("best", "median", "q25", "q75", "validation")
    )
    axes.fill_between(x, low, high, color=SERIES[0], alpha=0.18, linewidth=0, label="middle half")
    axes.plot(x, median, color=SERIES[0], linewidth=1.2, label="median of the generation")
    # With fresh draws a best of earlier generations says little, and is not remembered.
    is_fresh = bool((np.diff(best) < 0).any())
    label = "best of the generation" if is_fresh else "best so far, search draws"
    axes.plot(x, best, color=SERIES[0], linewidth=2.2, label=label)
    if np.isfinite(validation).any():
        axes.plot(x, validation, color=SERIES[1], linewidth=2.0, label="best, validation draws")
    named = {"floor": floor, "ceiling": ceiling}
    _draw_levels(axes, {name: value for name, value in named.items() if value is not None})
    axes.set(xlabel="candidate evaluations", ylabel="fitness (higher is better)")
    axes.set_ylim(*_limits(best, validation, median, floor, ceiling))
    axes.legend(loc="lower right", fontsize=9)
    return svg(figure)


@_styled
def learning_figure(
    curves: Mapping[str, FloatArray], *, check_every: int, references: Sequence[str]
) -> str:
    """Draw one panel a learner: mean and spread of accuracy over updates.

    Args:
        curves: (K, checks) accuracies of each learner, NaN where it diverged.
        check_every: updates between two checks.
        references: learners that are drawn into every panel, in grey.
    """
    from matplotlib.figure import Figure

    n_columns = min(4, len(curves))
    n_rows = -(-len(curves) // n_columns)
    figure = Figure(figsize=(9.0, 0.5 + 1.8 * n_rows), layout="constrained")
    panels = figure.subplots(n_rows, n_columns, squeeze=False, sharex=True, sharey=True).ravel()
    lines = {name: (1.0 + np.arange(c.shape[1])) * check_every for name, c in curves.items()}
    for axes in panels[len(curves) :]:
        axes.set_axis_off()
    for axes, (name, values) in zip(panels, curves.items(), strict=False):
        for reference in references:
            mean = curves[reference].mean(axis=0)
            axes.plot(lines[reference], mean, color=MUTED, linewidth=1.0, alpha=0.8)
        mean = values.mean(axis=0)
        spread = values.std(axis=0, ddof=1) if len(values) > 1 else np.zeros_like(mean)
        axes.fill_between(lines[name], mean - spread, mean + spread, color=SERIES[0], alpha=0.2,
                          linewidth=0)  # fmt: skip
        axes.plot(lines[name], mean, color=SERIES[0])
        axes.set_title(name)
    panels[0].set(ylim=(0.0, 1.02), xscale="log")
    figure.supxlabel("updates", fontsize=10)
    figure.supylabel("test accuracy", fontsize=10)
    return svg(figure)


def _draw_levels(axes: Axes, levels: Mapping[str, float]) -> None:
    """Draw named scores as dashed lines across, each with its name at the right end."""
    for name, value in levels.items():
        axes.axhline(value, color=MUTED, linewidth=1.1, linestyle=(0, (4, 3)))
        axes.annotate(
            name, (1, value), xycoords=("axes fraction", "data"), color=MUTED,
            xytext=(4, 0), textcoords="offset points", va="center",
        )  # fmt: skip


def _column(history: Mapping[str, FloatArray], name: str, n: int) -> FloatArray:
    if name not in history:
        return np.full(n, np.nan)
    values = np.asarray(history[name], dtype=np.float64).copy()
    values[~np.isfinite(values)] = np.nan
    return values


def _limits(
    best: FloatArray,
    validation: FloatArray,
    median: FloatArray,
    floor: float | None,
    ceiling: float | None,
) -> tuple[float, float]:
    """Frame what matters; a median of exploding candidates may lie far below."""
    levels = [value for value in (floor, ceiling) if value is not None]
    inner = np.concatenate([best, validation, np.array(levels, dtype=np.float64)])
    inner = inner[np.isfinite(inner)]
    if inner.size == 0:
        return 0.0, 1.0
    low, high = float(inner.min()), float(inner.max())
    span = max(high - low, 1e-3 * max(1.0, abs(high)))
    known = median[np.isfinite(median)]
    if known.size:
        low = max(min(low, float(np.quantile(known, 0.1))), low - span)
    margin = 0.06 * max(high - low, 1e-9)
    return low - margin, high + margin


@_styled
def pareto_figure(
    sizes: Sequence[int],
    fitness: Sequence[float],
    validation: Sequence[float],
    *,
    champion_size: int | None = None,
    ceiling: float | None = None,
) -> str:
    """Draw the best fitness at each size; the marker of the champion is filled."""
    from matplotlib.ticker import MaxNLocator

    figure, (axes,) = _figure(7.2, 3.2)
    order = np.argsort(np.asarray(sizes), kind="stable")
    x = np.asarray(sizes, dtype=np.float64)[order]
    for index, (values, name) in enumerate(
        ((fitness, "search draws"), (validation, "validation draws"))
    ):
        y = np.asarray(values, dtype=np.float64)[order]
        if np.isfinite(y).any():
            axes.step(x, y, where="post", color=SERIES[index], linewidth=1.2, alpha=0.7)
            axes.plot(x, y, "o", color=SERIES[index], markersize=5, label=name)
    if ceiling is not None:
        axes.axhline(ceiling, color=MUTED, linewidth=1.1, linestyle=(0, (4, 3)))
    if champion_size is not None:
        axes.axvline(champion_size, color=SERIES[2], linewidth=1.4, alpha=0.8, label="champion")
    axes.set(xlabel="size (nodes)", ylabel="fitness")
    locator = axes.xaxis.get_major_locator()
    assert isinstance(locator, MaxNLocator)
    locator.set_params(integer=True)
    axes.legend(loc="lower right", fontsize=9)
    return svg(figure)


@_styled
def surface_figure(
    panels: Sequence[tuple[str, FloatArray]],
    *,
    x_range: tuple[float, float],
    y_range: tuple[float, float],
    x_name: str = "pre",
    y_name: str = "post",
) -> str:
    """Draw a rule's value over two terminals, one panel for each value of a third.

    Args:
        panels: title and values (rows along y, columns along x) of each panel.
        x_range: least and greatest value along x.
        y_range: least and greatest value along y.
        x_name: terminal along x.
        y_name: terminal along y.
    """
    figure, axes = _figure(2.5 * len(panels) + 0.9, 2.8, len(panels))
    finite = np.concatenate([np.abs(values[np.isfinite(values)]).ravel() for _, values in panels])
    top = float(np.quantile(finite, 0.98)) if finite.size else 1.0
    top = top or 1.0
    image = None
    for ax, (title, values) in zip(axes, panels, strict=True):
        image = ax.imshow(
            values, origin="lower", extent=(*x_range, *y_range), aspect="auto",
            cmap="RdBu_r", vmin=-top, vmax=top, interpolation="bilinear",
        )  # fmt: skip
        if np.nanmin(values) < 0 < np.nanmax(values):
            x, y = (np.linspace(*r, n) for r, n in ((x_range, values.shape[1]),
                                                    (y_range, values.shape[0])))  # fmt: skip
            ax.contour(x, y, values, levels=[0.0], colors=["#222222"], linewidths=0.9)
        ax.set(title=title, xlabel=x_name)
        ax.grid(visible=False)
    axes[0].set_ylabel(y_name)
    if image is not None:
        figure.colorbar(image, ax=axes, shrink=0.9, pad=0.02)
    return svg(figure)


@_styled
def weights_figure(trajectories: Mapping[str, tuple[FloatArray, FloatArray]]) -> str:
    """Draw weights over one lifetime, one panel a rule.

    Args:
        trajectories: by rule name, steps (T,) and weights (T, k); at most 24 weights are drawn.
    """
    figure, axes = _figure(max(6.4, 3.7 * len(trajectories)), 2.8, len(trajectories))
    tops = [w[np.isfinite(w)] for _, w in trajectories.values()]
    values = np.concatenate([top.ravel() for top in tops]) if tops else np.zeros(1)
    low, high = (float(values.min()), float(values.max())) if values.size else (-1.0, 1.0)
    margin = 0.05 * max(high - low, 1e-6)
    for ax, (name, (steps, weights)) in zip(axes, trajectories.items(), strict=True):
        chosen = np.unique(np.linspace(0, weights.shape[1] - 1, 24).round().astype(int))
        for line, column in enumerate(chosen):
            colour = SERIES[line % len(SERIES)]
            alpha = 1.0 if chosen.size <= len(SERIES) else 0.6
            ax.plot(steps, weights[:, column], color=colour, linewidth=1.3, alpha=alpha)
        ax.set(title=name, xlabel="step", ylim=(low - margin, high + margin))
    axes[0].set_ylabel("weight")
    return svg(figure)


@_styled
def experience_figure(parts: FloatArray, curves: Mapping[str, FloatArray]) -> str:
    """Draw fitness against how much of a life had plasticity.

    Args:
        parts: (T,) from 0 to 1.
        curves: fitness (T,) by name, the last one in the strongest line.
    """
    figure, (axes,) = _figure(7.2, 3.4)
    for number, (name, fitness) in enumerate(curves.items()):
        colour, is_last = SERIES[number % len(SERIES)], number == len(curves) - 1
        axes.plot(100 * parts, fitness, color=colour, linewidth=2.2 if is_last else 1.3, label=name)
    axes.set(xlabel="plasticity in the first … % of life", ylabel="fitness")
    axes.legend(loc="best", fontsize=9)
    return svg(figure)


@_styled
def vector_figure(numbers: FloatArray) -> str:
    """Draw a vector (d,): a bar for each number, or how often which value occurs in a long one."""
    drawing, (axes,) = _figure(6.4, 2.4)
    if len(numbers) <= MAX_BARS:
        axes.bar(np.arange(len(numbers)), numbers, color=SERIES[0])
        axes.set_xlabel("number")
        axes.set_ylabel("value")
    else:
        axes.hist(numbers, bins=60, color=SERIES[0])
        axes.set_xlabel("value")
        axes.set_ylabel("numbers")
    return svg(drawing)


@_styled
def anytime_figure(
    curves: Mapping[str, tuple[FloatArray, FloatArray, FloatArray]],
    evaluations: FloatArray,
    *,
    label: str,
    levels: Mapping[str, float],
    ends: Mapping[str, float] | None = None,
) -> str:
    """Draw a figure of each search over evaluations: a line, and a band where its ends differ.

    Args:
        curves: lower end, middle and upper end of each search (T,); NaN where unknown.
        evaluations: (T,) the common grid.
        label: what is drawn.
        levels: named scores.
        ends: evaluations at which something ends, by its name.
    """
    figure, (axes,) = _figure(7.2, 3.8)
    for number, (name, (low, middle, high)) in enumerate(curves.items()):
        colour = SERIES[number % len(SERIES)]
        dashes = ("-", (0, (5, 2)), (0, (1.5, 1.5)))[number // len(SERIES) % 3]
        if (high > low).any():
            axes.fill_between(evaluations, low, high, color=colour, alpha=0.14, linewidth=0)
        axes.plot(evaluations, middle, color=colour, linestyle=dashes, label=name)
    _draw_levels(axes, levels)
    for name, value in (ends or {}).items():
        axes.axvline(value, color=MUTED, linewidth=1.1, linestyle=(0, (4, 3)))
        axes.annotate(
            f"budget of {name}", (value, 1), xycoords=("data", "axes fraction"), color=MUTED,
            xytext=(0, 2), textcoords="offset points", ha="center",
        )  # fmt: skip
    axes.set(xscale="log", xlabel="candidate evaluations", ylabel=label)
    axes.legend(loc="best", fontsize=9)
    return svg(figure)


@_styled
def scores_figure(groups: Mapping[str, Sequence[float]], *, levels: Mapping[str, float]) -> str:
    """Draw held-out scores of several searches, a dot a run and a bar at the median."""
    figure, (axes,) = _figure(7.2, 0.6 + 0.5 * max(len(groups), 2))
    for row, (_, values) in enumerate(groups.items()):
        scores = np.asarray([value for value in values if np.isfinite(value)], dtype=np.float64)
        spread = (np.arange(scores.size) % 5 - 2) * 0.07
        axes.plot(scores, row + spread, "o", color=SERIES[0], alpha=0.65, markersize=5)
        if scores.size:
            axes.plot([np.median(scores)] * 2, [row - 0.3, row + 0.3], color=SERIES[1], linewidth=3)
    for name, value in levels.items():
        axes.axvline(value, color=MUTED, linewidth=1.1, linestyle=(0, (4, 3)))
        axes.annotate(
            name, (value, 1), xycoords=("data", "axes fraction"), color=MUTED,
            xytext=(0, 2), textcoords="offset points", ha="center",
        )  # fmt: skip
    axes.set_yticks(range(len(groups)), list(groups))
    axes.set(xlabel="test score", ylim=(len(groups) - 0.4, -0.6))
    return svg(figure)
