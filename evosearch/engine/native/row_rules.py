"""The rule on one row of synapses, and its mean over a minibatch, for vectors along rows."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from evosearch.engine.contract import LANES
from evosearch.engine.native.program import evaluate
from evosearch.engine.native.text import Value
from evosearch.engine.program import Level, Op, Section

if TYPE_CHECKING:
    from evosearch.engine.native.rows import RowLife


class RowRule:
    """Writes the synapses of one row."""

    def __init__(
        self, life: RowLife, number: int, network: dict[int, Value], i: Value, row: Value,
        post: Callable[[int], Value] | None, weights: dict[int, Value],
    ) -> None:  # fmt: skip
        self._life, self._number, self._network = life, number, network
        self._i, self._row, self._post, self._weights = i, row, post, weights
        self._view, self._site = life.rules[number], life.life.sites[number]
        self._matrix_register = self._view.program.terminals.index("w")
        self._posts: dict[tuple[int, str], Value] = {}

    def write(self) -> None:
        """Write all pieces of the row."""
        self._life.pieces(self._site.matrix.n_in, self._piece)

    def _piece(self, offset: Value | int, width: int, count: int) -> None:
        """Write the rule on one piece; its new weights are checked before they are clipped."""
        life, view, w = self._life, self._view, self._life.w
        values: dict[int, Value] = {}

        def resolve(register: int) -> Value:
            if not view.is_terminal(register):
                return view.constant(w, register, width)
            if register == self._matrix_register and offset in self._weights:
                return self._weights[offset]  # type: ignore[index]
            if register == self._matrix_register:
                return w.load(w.pointer(self._row, offset), width)
            return w.load(self._synapse(view.starts[register], offset), width)

        def expand(op: int, register: int) -> Value:
            if op == Op.EXPAND_PRE:
                return life.unit_value(self._number, Level.PRE, register, offset, width)
            if op == Op.EXPAND_NETWORK:
                return w.splat(life.network_value(view, self._network, register), width)
            return w.splat(self._post_value(register), width)

        evaluate(w, view.rows(Section.TILE, Section.SYNAPSE), width, values, resolve, expand)

        def find(register: int) -> Value:
            return values[register] if register in values else resolve(register)

        rule = view.program.outputs[0]
        weight = find(self._matrix_register)
        states = [
            (start, find(register)) for start, register in life.level_outputs(view, Level.SYNAPSE)
        ]
        new = life.updated(weight, find(rule.register), width, rule.is_increment)
        for start, value in states:
            w.store_first(value, self._synapse(start, offset), width, count)
        kept = life.projected(self._number, new, self._i, offset, width, count)
        w.store_first(kept, life.w.pointer(self._row, offset), width, count)

    def _post_value(self, register: int) -> Value:
        """Return a scalar of the row's post unit, read once a block."""
        life = self._life
        if self._post is not None:
            return self._post(register)
        key = (register, life.w.block)
        if key not in self._posts:
            self._posts[key] = life.unit_value(self._number, Level.POST, register, self._i, 1)
        return self._posts[key]

    def _synapse(self, start: int, offset: Value | int) -> Value:
        life, n_in = self._life, self._site.matrix.n_in
        return life.w.pointer(life.row_pointer(start, self._i, n_in), offset)


class MeanRule:
    """Writes the mean of a rule over a minibatch: pieces of rows outside, examples inside."""

    def __init__(self, life: RowLife, number: int) -> None:
        self._life, self._w = life, life.w
        self._view, self._site = life.rules[number], life.life.sites[number]
        self._places: dict[int, int] = {}

    def write(self) -> None:
        """Write what is per unit for all examples, then the synapses."""
        life, w, view, site = self._life, self._w, self._view, self._site
        n_out, n_in, examples = site.matrix.n_out, site.matrix.n_in, site.examples
        with w.loop(examples) as example:
            self._write_units(Level.NETWORK, Section.NETWORK, 1, example)
            self._write_units(Level.PRE, Section.PRE, n_in, example)
            self._write_units(Level.POST, Section.POST, n_out, example)
        rule = view.program.outputs[0]

        def body(offset: Value | int, width: int, count: int) -> None:
            o = w.arithmetic(width)
            with w.loop(n_out) as i:
                w.store(o.real(0.0), "%sum", width)
                with w.loop(examples) as example:
                    value = self._rule_value(i, offset, width, example)
                    w.store(o.add(w.load("%sum", width), value), "%sum", width)
                mean = o.div(w.load("%sum", width), o.real(float(examples)))
                place = life.w.pointer(life.row_pointer(site.matrix.start, i, n_in), offset)
                new = life.updated(w.load(place, width), mean, width, rule.is_increment)
                life.note(new, width, count)
                kept = life.clipped(new, width)
                if life.life.projection.keeps_sign:
                    birth = life.w.pointer(life.row_pointer(site.birth.start, i, n_in), offset)
                    kept = life.keep_sign(kept, w.load(birth, width), width)
                w.store_first(kept, place, width, count)

        life.pieces(n_in, body)

    def _write_units(self, level: Level, section: Section, n: int, example: Value) -> None:
        """Write a section for the units of one example and keep what later sections read."""
        life, w, view = self._life, self._w, self._view
        kept = life.kept_registers(view, level)
        if not kept:
            return
        for register in kept:
            if register not in self._places:
                self._places[register] = life.reserve(self._site.examples * n + LANES)

        def body(offset: Value | int, width: int, count: int) -> None:
            values: dict[int, Value] = {}

            def resolve(register: int) -> Value:
                return self._unit(level, register, offset, width, example)

            def expand(op: int, register: int) -> Value:
                return w.splat(self._unit(Level.NETWORK, register, 0, 1, example), width)

            evaluate(w, view.rows(section), width, values, resolve, expand)
            for register in kept:
                place = life.example("%scratch", self._places[register], example, n)
                w.store_first(values[register], life.w.pointer(place, offset), width, count)

        if n == 1:
            body(0, 1, 1)
        else:
            life.pieces(n, body)

    def _unit(
        self, level: Level, register: int, offset: Value | int, width: int, example: Value
    ) -> Value:
        """Read a register of one example's units: a buffer, a constant, or what was kept."""
        life, view, site = self._life, self._view, self._site
        if register in view.constants:
            return view.constant(self._w, register, width)
        n = {Level.PRE: site.matrix.n_in, Level.POST: site.matrix.n_out}.get(level, 1)
        if not view.is_terminal(register):
            base = life.example("%scratch", self._places[register], example, n)
        elif site.terminals[view.program.terminals[register]].examples > 1:
            base = life.example("%ws", view.starts[register], example, n)
        else:
            base = life.unit(view.starts[register])
        return self._w.load(life.w.pointer(base, offset), width)

    def _rule_value(self, i: Value, offset: Value | int, width: int, example: Value) -> Value:
        """Write the rule on one piece of a row for one example."""
        life, w, view, n_in = self._life, self._w, self._view, self._site.matrix.n_in
        values: dict[int, Value] = {}

        def resolve(register: int) -> Value:
            if not view.is_terminal(register):
                return view.constant(w, register, width)
            row = life.row_pointer(view.starts[register], i, n_in)
            return w.load(life.w.pointer(row, offset), width)

        def expand(op: int, register: int) -> Value:
            if op == Op.EXPAND_PRE:
                return self._unit(Level.PRE, register, offset, width, example)
            level, place = (Level.POST, i) if op == Op.EXPAND_POST else (Level.NETWORK, 0)
            return w.splat(self._unit(level, register, place, 1, example), width)

        evaluate(w, view.rows(Section.TILE, Section.SYNAPSE), width, values, resolve, expand)
        register = view.program.outputs[0].register
        return values[register] if register in values else resolve(register)
