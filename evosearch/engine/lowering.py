"""Turn the mean of a rule over a minibatch into matrix products, where the rule separates.

Elementwise, an update of B examples costs B * n_out * n_in evaluations of the rule. Where it is
a sum of products of functions of w, of pre and of post, it is a few products of matrices. Rounding
differs, so that whether a rule is lowered is part of a run's numerics: it follows from the rule
and from shapes alone, never from timing, and all CPU tiers live the same lowered life.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from evosearch.engine import phases as ph
from evosearch.engine.contract import padded
from evosearch.engine.lifetime import Buffer, Lifetime, MapSite, RuleSite, outer_phase
from evosearch.engine.program import Level, Op, Program, Terminal
from evosearch.rules.expression import Expression, joined
from evosearch.rules.lower import lower
from evosearch.rules.primitives import PRIMITIVES
from evosearch.rules.rule import Rule
from evosearch.rules.separate import Nodes, Term, separate

MAX_PRODUCTS = 4
MIN_EXAMPLES = 4
MAX_KEPT = 256
"""Lowered lives that a life remembers; a search meets the same few again and again."""
Mean: TypeAlias = tuple[tuple[Nodes, ...], tuple[Nodes, ...]]
"""What is averaged over a minibatch: factors of pre units, factors of post units."""
_NAMES = {int(primitive.op): name for name, primitive in PRIMITIVES.items()}


def lower_minibatch(life: Lifetime, program: Program) -> tuple[Lifetime, Program] | None:
    """Return the lowered life and rule, or None where the rule is averaged elementwise.

    Lowered are lives with at least ``MIN_EXAMPLES`` examples at every site and rules that need at
    most ``MAX_PRODUCTS`` products of matrices.
    """
    if min(site.examples for site in life.sites) < MIN_EXAMPLES or len(program.outputs) != 1:
        return None
    levels = {
        name: Level(int(program.register_level[k])) for k, name in enumerate(program.terminals)
    }
    terms = separate(expression_of(program), levels)
    if terms is None or sum(bool(t.pre and t.post) for t in terms) > MAX_PRODUCTS:
        return None
    read = {name for term in terms for name in _unit_names(term)}
    # A terminal that the life does not offer is refused where lives are bound to rules.
    offered = [site.terminals for site in life.sites]
    if any(name not in there or there[name].examples == 1 for name in read for there in offered):
        return None
    means = list(dict.fromkeys((t.pre, t.post) for t in terms if t.pre or t.post))
    lowered, terminals = _kept(life, tuple(means))
    form = "increment" if program.outputs[0].is_increment else "absolute"
    rule = lower(Rule(_combined(terms, means), form=form), terminals)
    return lowered, replace(rule, genes=program.genes)


def _kept(life: Lifetime, means: tuple[Mean, ...]) -> tuple[Lifetime, list[Terminal]]:
    """Return the lowered life of these means, made at most once while it is in use."""
    kept: dict[tuple[Mean, ...], tuple[Lifetime, list[Terminal]]]
    kept = life.cache.setdefault("lowered", {})
    if means not in kept:
        if len(kept) >= MAX_KEPT:
            kept.pop(next(iter(kept)))
        kept[means] = _Lowering(life).build(means)
    return kept[means]


def expression_of(program: Program) -> Expression:
    """Return the first output of a program as an expression."""
    values: dict[int, Nodes] = {k: (name,) for k, name in enumerate(program.terminals)}
    for register, value in zip(
        program.constant_register.tolist(), program.constant_value.tolist(), strict=True
    ):
        values[register] = (value,)
    for op, dst, a, b in program.code.tolist():
        if op in (Op.EXPAND_NETWORK, Op.EXPAND_PRE, Op.EXPAND_POST):
            values[dst] = values[a]
        elif PRIMITIVES[_NAMES[op]].arity == 1:
            values[dst] = (_NAMES[op], *values[a])
        else:
            values[dst] = (_NAMES[op], *values[a], *values[b])
    return Expression(values[program.outputs[0].register])


def _unit_names(term: Term) -> set[str]:
    """Return the terminals of units that a term reads."""
    nodes = [node for factor in (*term.pre, *term.post) for node in factor]
    return {node for node in nodes if isinstance(node, str) and node not in PRIMITIVES}


def _mean_name(number: int) -> str:
    return f"mean_{number}"


def _combined(terms: Sequence[Term], means: Sequence[Any]) -> Expression:
    """Return the sum of coefficient * functions of w * means over the minibatch."""
    parts: list[Nodes] = []
    for term in terms:
        factors: list[Nodes] = list(term.synapse)
        if term.pre or term.post:
            factors.append((_mean_name(means.index((term.pre, term.post))),))
        if term.coefficient != 1.0 or not factors:
            factors.insert(0, (term.coefficient,))
        parts.append(joined("mul", factors))
    return Expression(joined("add", parts) if parts else (0.0,))


class _Lowering:
    """Builds the life in which means over the minibatch take the place of the rule's terminals."""

    def __init__(self, life: Lifetime) -> None:
        self._life = life
        self._units = life.n_units
        self._maps = list(life.maps)
        self._phases: list[list[int]] = []
        self._factors: dict[tuple[Nodes, ...], Buffer] = {}
        self._spread: dict[tuple[str, int], Buffer] = {}

    def build(self, means: Sequence[Mean]) -> tuple[Lifetime, list[Terminal]]:
        """Return the life, and the catalogue of terminals of rules in it."""
        life, catalogue = self._life, [Terminal("w", Level.SYNAPSE)]
        sites: list[RuleSite] = []
        rows: list[NDArray[np.int64]] = []
        for phase in life.phases:
            if phase[ph.OP] == ph.RULE:
                site, catalogue = self._lowered(life.sites[int(phase[ph.A])], means)
                rows.append(np.array(self._phases, np.int64).reshape(-1, ph.WIDTH))
                phase = phase.copy()
                phase[ph.A], phase[ph.F] = len(sites), 1
                sites.append(site)
            rows.append(phase[None])
        return (
            replace(
                life,
                phases=np.concatenate(rows),
                n_units=self._units,
                sites=tuple(sites),
                maps=tuple(self._maps),
            ),
            catalogue,
        )

    def _lowered(self, site: RuleSite, means: Sequence[Mean]) -> tuple[RuleSite, list[Terminal]]:
        """Collect the phases before a site, and return it with means in place of units."""
        self._site, self._phases, self._factors, self._spread = site, [], {}, {}
        terminals: dict[str, Buffer] = {"w": site.terminals["w"]}
        catalogue = [Terminal("w", Level.SYNAPSE)]
        for name, buffer in site.terminals.items():
            if name != "w" and buffer.level == Level.SYNAPSE:
                terminals[name] = buffer
                catalogue.append(Terminal(name, Level.SYNAPSE))
        for number, (pre, post) in enumerate(means):
            buffer, level = self._mean(_mean_name(number), pre, post)
            terminals[buffer.name] = buffer
            catalogue.append(Terminal(buffer.name, level))
        return replace(site, terminals=terminals), catalogue

    def _mean(
        self, name: str, pre: tuple[Nodes, ...], post: tuple[Nodes, ...]
    ) -> tuple[Buffer, Level]:
        """Write the mean over examples of post' pre, which has one factor for none."""
        n_out, n_in = self._site.matrix.n_out, self._site.matrix.n_in
        rows, columns = n_out if post else 1, n_in if pre else 1
        level = Level.SYNAPSE if pre and post else (Level.PRE if pre else Level.POST)
        target = self._buffer(name, rows, columns, level)
        left, right = self._factor(post, n_out), self._factor(pre, n_in)
        self._phase(*outer_phase(target, left, right))
        return target, level

    def _factor(self, factors: tuple[Nodes, ...], n: int) -> Buffer:
        """Return a buffer of a product of factors for all examples; of ones where there is none."""
        if factors in self._factors:
            return self._factors[factors]
        nodes = joined("mul", factors) if factors else (1.0,)
        if len(nodes) == 1 and isinstance(nodes[0], str):
            buffer = self._operand(nodes[0], n)
        else:
            units = n if factors else 1
            buffer = self._buffer("factor", units, 1, Level.POST, self._site.examples)
            self._map(buffer, Expression(nodes))
        self._factors[factors] = buffer
        return buffer

    def _operand(self, name: str, n: int) -> Buffer:
        """Return what a terminal reads, n numbers an example: one number is spread over units."""
        buffer = self._site.terminals[name]
        if buffer.each == n:
            return buffer
        if (name, n) not in self._spread:
            ones = self._ones(n)
            spread = self._buffer(name, n, 1, Level.POST, buffer.examples)
            row = (ph.MATVEC_T, spread.start, ones.start, buffer.start, 1, n, buffer.examples)
            self._phase(*row)
            self._spread[name, n] = spread
        return self._spread[name, n]

    def _ones(self, n: int) -> Buffer:
        """Return a row of ones, by which a product repeats a number."""
        if ("", n) not in self._spread:
            self._spread["", n] = ones = self._buffer("ones", n, 1, Level.POST)
            self._map(ones, Expression((1.0,)))
        return self._spread["", n]

    def _map(self, target: Buffer, expression: Expression) -> None:
        operands = [self._operand(name, target.each) for name in sorted(expression.terminals)]
        names = ["w", *sorted(expression.terminals - {"w"})]
        program = lower(
            Rule(expression, form="absolute"), [Terminal(name, Level.POST) for name in names]
        )
        site = MapSite(str(expression), program, (target, *operands), target)
        self._phase(ph.MAP, len(self._maps), 0, target.size)
        self._maps.append(site)

    def _buffer(self, name: str, n_out: int, n_in: int, level: Level, examples: int = 1) -> Buffer:
        buffer = Buffer(name, self._units, n_out, n_in, level, examples)
        self._units += padded(buffer.size)
        return buffer

    def _phase(self, op: int, *operands: int) -> None:
        row = [op, *operands]
        self._phases.append(row + [0] * (ph.WIDTH - len(row)))
