"""What a rule does, seen: its value over two terminals at several values of a third."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from evosearch.engine.program import Terminal
from evosearch.rules.rule import Rule

FloatArray = NDArray[np.float64]
_PREFERRED = ("pre", "post", "w")
_ONES = ("mod",)


@dataclass(frozen=True)
class Surface:
    """Values of a rule on a grid, one panel for each value of the third terminal.

    Attributes:
        x: terminal along the columns.
        y: terminal along the rows.
        x_range: least and greatest x.
        y_range: least and greatest y.
        panels: title and (n, n) values of each.
        held: the other terminals and where they are held.
    """

    x: str
    y: str
    x_range: tuple[float, float]
    y_range: tuple[float, float]
    panels: tuple[tuple[str, FloatArray], ...]
    held: dict[str, float]


def rule_surface(rule: Rule, terminals: Sequence[Terminal], *, n: int = 60) -> Surface | None:
    """Evaluate a rule over (pre, post) at three weights, or over what it reads instead.

    Args:
        rule: any rule; its main expression is shown.
        terminals: catalogue with the ranges to draw over.
        n: points along each axis.

    Returns:
        The surface; None for a rule that reads no terminal.
    """
    known = {terminal.name: terminal for terminal in terminals}
    names = [name for name in known if name in rule.main.terminals]
    if not names:
        return None
    ordered = sorted(names, key=_rank)
    x = ordered[0]
    y = next((name for name in [*ordered[1:], *_PREFERRED] if name != x and name in known), None)
    if y is None:
        return None
    third = next((name for name in ordered if name not in (x, y)), None)
    held = {name: _middle(known[name]) for name in names if name not in (x, y, third)}
    grid_x, grid_y = np.meshgrid(_axis(known[x], n), _axis(known[y], n))
    panels = []
    for title, level in _levels(known, third):
        values = dict(held) | {x: grid_x, y: grid_y}
        if third is not None:
            values[third] = np.full_like(grid_x, level)
        panels.append((title, _evaluate(rule, values, grid_x.shape)))
    ranges = [(float(known[name].low), float(known[name].high)) for name in (x, y)]
    return Surface(x, y, ranges[0], ranges[1], tuple(panels), held)


def _rank(name: str) -> int:
    return _PREFERRED.index(name) if name in _PREFERRED else len(_PREFERRED)


def _axis(terminal: Terminal, n: int) -> FloatArray:
    return np.linspace(terminal.low, terminal.high, n)


def _middle(terminal: Terminal) -> float:
    return 1.0 if terminal.name in _ONES else (terminal.low + terminal.high) / 2


def _levels(known: dict[str, Terminal], third: str | None) -> list[tuple[str, float]]:
    if third is None:
        return [("", 0.0)]
    low, high = known[third].low, known[third].high
    middle = (low + high) / 2
    span = min(high - middle, 1.0)
    return [(f"{third} = {v:.3g}", v) for v in (middle - span, middle, middle + span)]


def _evaluate(
    rule: Rule, values: dict[str, FloatArray | float], shape: tuple[int, ...]
) -> FloatArray:
    inputs = {name: np.asarray(value, dtype=np.float64) for name, value in values.items()}
    wanted = {name: inputs.get(name, np.zeros(())) for name in rule.terminals}
    return np.broadcast_to(np.asarray(rule(**wanted), dtype=np.float64), shape).copy()
