"""Units and symmetries of rules: which functions may be added, and what a rule must keep."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from evosearch.errors import InputError, unknown_name
from evosearch.rules.expression import Node

Grades = NDArray[np.int16]
"""(rows, n): the exponent of each unit, then the sign under each symmetry, of n functions."""

_OF_WEIGHTS = "w"
# Odd functions turn their sign with their operand's; of the others only even operands have one.
_ODD = frozenset({"neg", "sign", "tanh", "sin"})
_EVEN = frozenset({"square", "abs", "sqrt", "log"})
_KEEP_UNITS = frozenset({"neg", "abs"})
_LIKE_SUMS = frozenset({"add", "sub", "max", "min"})


class Gradings:
    """Grades of functions: exponents of units, and signs under reflections (0 even, 1 odd).

    Terms of a sum must have equal grades; those of factors add up. So a rule whose parts all have
    grades is consistent in its units and, for each reflection, turns its sign where all the named
    terminals turn theirs (odd) or keeps it (even). A change of weights must do as the weight does.
    Constants have no unit and are even; step sizes may have any unit.

    Args:
        terminals: of the rules.
        units: exponents of each terminal that has a unit, all of one length.
        reflections: for each, the terminals that turn their signs together.

    Raises:
        InputError: a terminal is not one of the rule's, or exponents differ in number.

    Example:
        >>> gradings = Gradings(("w", "pre", "post"), {"pre": (1,), "post": (1,)}, [("w", "post")])
        >>> gradings.leaf("post").tolist()
        [1, 1]
    """

    def __init__(
        self,
        terminals: Sequence[str],
        units: Mapping[str, Sequence[int]],
        reflections: Sequence[Sequence[str]],
    ) -> None:
        for name in (*units, *(name for group in reflections for name in group)):
            if name not in terminals:
                raise unknown_name("terminal", name, terminals)
        lengths = {name: len(exponents) for name, exponents in units.items()}
        if len(set(lengths.values())) > 1:
            raise InputError(f"units have {lengths} exponents; all must have the same number.")
        self._units = {name: tuple(exponents) for name, exponents in units.items()}
        self._reflections = tuple(frozenset(group) for group in reflections)
        self._n_units = max(lengths.values(), default=0)

    def __bool__(self) -> bool:
        return bool(self._n_units or self._reflections)

    def leaf(self, leaf: Node) -> NDArray[np.int16]:
        """Return the grades (rows,) of a terminal or constant."""
        exponents: tuple[int, ...] = (0,) * self._n_units
        if isinstance(leaf, str):
            exponents = self._units.get(leaf, exponents)
        signs = [int(leaf in group) for group in self._reflections]
        return np.array([*exponents, *signs], dtype=np.int16)

    def apply(self, name: str, a: Grades, b: Grades) -> tuple[Grades, NDArray[np.bool_]]:
        """Return the grades of a primitive of each pair, and which pairs it may take."""
        n = self._n_units
        units, may_units = _units_of(name, a[:n], b[:n])
        signs, may_signs = _signs_of(name, a[n:], b[n:])
        may = np.concatenate([may_units, may_signs]).all(axis=0)
        return np.concatenate([units, signs]), np.asarray(may)

    def are_rules(self, grades: Grades) -> NDArray[np.bool_]:
        """Return which functions have the signs of a weight, so that they may change one."""
        own = self.leaf(_OF_WEIGHTS)[self._n_units :]
        return (grades[self._n_units :] == own[:, None]).all(axis=0)

    def phrase(self) -> str:
        """Say which rules are meant, as the end of a sentence about all of them; may be empty."""
        said: list[str] = []
        if self._n_units:
            units = ", ".join(f"{name} {list(e)}" for name, e in self._units.items())
            said.append(f"sums have terms of equal units ({units})")
        said += [
            f"parts are odd or even where the signs of {', '.join(sorted(group))} turn"
            for group in self._reflections
        ]
        return f" whose {' and whose '.join(said)}" if said else ""


def _units_of(name: str, a: Grades, b: Grades) -> tuple[Grades, NDArray[np.bool_]]:
    anything = np.ones_like(a, dtype=np.bool_)
    if name in _LIKE_SUMS:
        return a, a == b
    if name in _KEEP_UNITS:
        return a, anything
    if name == "mul":
        return a + b, anything
    if name == "div":
        return a - b, anything
    if name == "square":
        return a + a, anything
    if name == "sqrt":
        return a // 2, a % 2 == 0
    if name == "sign":
        return np.zeros_like(a), anything
    return np.zeros_like(a), (a == 0) & (b == 0)


def _signs_of(name: str, a: Grades, b: Grades) -> tuple[Grades, NDArray[np.bool_]]:
    anything = np.ones_like(a, dtype=np.bool_)
    if name in ("add", "sub"):
        return a, a == b
    if name in ("mul", "div"):
        return (a + b) % 2, anything
    if name in _ODD:
        return a, anything
    if name in _EVEN:
        return np.zeros_like(a), anything
    return np.zeros_like(a), (a == 0) & (b == 0)
