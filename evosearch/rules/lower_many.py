"""Lower many rules in one compiled call; the programs are those that one by one would give."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from functools import lru_cache
from itertools import chain

import numpy as np
from numpy.typing import NDArray

from evosearch.engine.program import Output, Program, Terminal
from evosearch.rules import lower_kernels as kernels
from evosearch.rules.expression import Expression, Node
from evosearch.rules.lower import lower
from evosearch.rules.lower_kernels import FIRST_TERMINAL, N_SECTIONS, Desk, Lowered
from evosearch.rules.primitives import PRIMITIVES
from evosearch.rules.rule import Rule

MAX_NODES = 500
"""Longer rules are lowered one by one: looking for equal values takes time of their square."""
_FEW = 4
_UNKNOWN = -1


def lower_many(rules: Sequence[Rule], terminals: Sequence[Terminal]) -> list[Program]:
    """Lower rules to programs over ``terminals``, as :func:`~evosearch.rules.lower.lower` does.

    Raises:
        InputError: a rule names a terminal that is not in ``terminals``.
    """
    if len(rules) < _FEW:
        return [lower(rule, terminals) for rule in rules]
    plain: list[int] = []
    parts: list[tuple[str, Expression]] = []
    for k, rule in enumerate(rules):
        if len(rule.parts) == 1:
            (part,) = rule.parts.items()
            if len(part[1].nodes) <= MAX_NODES:
                plain.append(k)
                parts.append(part)
    found = _catalogue(tuple(terminals)).lowered(parts)
    programs = dict(zip(plain, found, strict=True))
    return [programs.get(k) or lower(rule, terminals) for k, rule in enumerate(rules)]


@lru_cache(maxsize=16)
def _catalogue(terminals: tuple[Terminal, ...]) -> _Catalogue:
    return _Catalogue(terminals)


class _Catalogue:
    """What rules over one catalogue of terminals are lowered with."""

    def __init__(self, terminals: tuple[Terminal, ...]) -> None:
        self._names = tuple(terminal.name for terminal in terminals)
        self._levels = np.array([int(terminal.level) for terminal in terminals], np.int64)
        self._weights = self._names.index("w") if "w" in self._names else -1
        self._codes: dict[Node, int] = {p.name: int(p.op) for p in PRIMITIVES.values()}
        self._codes |= {name: FIRST_TERMINAL + k for k, name in enumerate(self._names)}

    def lowered(self, parts: Sequence[tuple[str, Expression]]) -> list[Program | None]:
        """Return the programs of lone parts; None for those that must be lowered one by one."""
        nodes = [expression.nodes for _, expression in parts]
        encoded = self._encoded(nodes)
        if encoded is None or self._weights < 0 or not nodes:
            return [None] * len(parts)
        codes, constants = encoded
        sizes = np.array(list(map(len, nodes)), np.int64)
        starts = np.concatenate([np.zeros(1, np.int64), np.cumsum(sizes)])
        n_terminals = len(self._names)
        out = _empty(sizes, n_terminals)
        desk = _desk(64 * -(-int(sizes.max()) // 64), n_terminals)
        kernels.lower_all(desk, codes, starts, constants, self._levels, self._weights, out)
        return self._programs([name == "dw" for name, _ in parts], out)

    def _encoded(
        self, nodes: Sequence[tuple[Node, ...]]
    ) -> tuple[NDArray[np.int32], NDArray[np.float64]] | None:
        """Return codes and constants; None where a name is unknown."""
        flat = list(chain.from_iterable(nodes))
        known = self._codes.get
        codes = np.array([known(node, _UNKNOWN) for node in flat], np.int32)
        places = np.flatnonzero(codes == _UNKNOWN)
        constants = [flat[place] for place in places.tolist()]
        if str in set(map(type, constants)):
            return None
        codes[places] = -1 - np.arange(len(places))
        return codes, np.array(constants, np.float64)

    def _programs(self, are_increments: Sequence[bool], out: Lowered) -> list[Program | None]:
        """Cut the programs out of what was written."""
        programs: list[Program | None] = []
        c0 = r0 = k0 = 0
        for is_increment, register, section_end, c1, r1, k1 in zip(
            are_increments, out.output.tolist(), out.section_end, out.code_end.tolist(),
            out.register_end.tolist(), out.constant_end.tolist(), strict=True,
        ):  # fmt: skip
            if register < 0:
                programs.append(None)
                continue
            programs.append(
                Program(
                    self._names, out.code[c0:c1], section_end, out.register_level[r0:r1],
                    out.constant_register[k0:k1], out.constant_value[k0:k1],
                    _outputs(register, is_increment), _NO_GENES,
                )
            )  # fmt: skip
            c0, r0, k0 = c1, r1, k1
        return programs


_NO_GENES = np.zeros(0)


@lru_cache(maxsize=1024)
def _outputs(register: int, is_increment: bool) -> tuple[Output, ...]:
    return (Output("w", register, is_increment),)


def _empty(sizes: NDArray[np.int64], n_terminals: int) -> Lowered:
    """Return memory for programs of rules of these sizes."""
    n, n_nodes = len(sizes), int(sizes.sum())
    # A node needs a result and its expansions to three levels; the output a copy.
    most = 4 * n_nodes + (4 * n_terminals + 2) * n
    return Lowered(
        code=np.empty((most, 4), np.int32), code_end=np.empty(n, np.int64),
        section_end=np.zeros((n, N_SECTIONS), np.int32), register_level=np.empty(most, np.int8),
        register_end=np.empty(n, np.int64), constant_register=np.empty(most, np.int32),
        constant_value=np.empty(most), constant_end=np.empty(n, np.int64),
        output=np.empty(n, np.int64),
    )  # fmt: skip


_kept = threading.local()


def _desk(most_nodes: int, n_terminals: int) -> Desk:
    """Return scratch of this thread: threads lower side by side."""
    size = (most_nodes, n_terminals)
    if getattr(_kept, "size", None) != size:
        _kept.size, _kept.desk = size, _new_desk(*size)
    return _kept.desk


def _new_desk(most_nodes: int, n_terminals: int) -> Desk:
    n_values = n_terminals + most_nodes + 1
    n_registers = 4 * n_values + 1
    numbers = np.zeros(n_values)
    return Desk(
        values=np.zeros((n_values, 3), np.int64), numbers=numbers, bits=numbers.view(np.uint64),
        levels=np.zeros(n_values, np.int64), stack=np.zeros(most_nodes + 1, np.int64),
        is_needed=np.zeros(n_values, np.bool_), known=np.zeros((n_values, 4), np.int64),
        register_level=np.zeros(n_registers, np.int64),
        is_constant=np.zeros(n_registers, np.int64),
        rows=np.zeros((N_SECTIONS, n_registers, 4), np.int64),
        counts=np.zeros(N_SECTIONS, np.int64),
        last_use=np.zeros(n_registers, np.int64), final=np.zeros(n_registers, np.int64),
        free=np.zeros((4, n_registers), np.int64), n_free=np.zeros(4, np.int64),
        born=np.zeros(n_registers, np.int64),
    )  # fmt: skip
