"""Native code where a row of synapses fills vectors: one draw a life, vectors along a row."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from evosearch.engine import phases as ph
from evosearch.engine.contract import LANES
from evosearch.engine.lifetime import Lifetime
from evosearch.engine.native.life import LifeWriter
from evosearch.engine.native.program import View, evaluate, no_expansion
from evosearch.engine.native.row_rules import MeanRule, RowRule
from evosearch.engine.native.text import Value
from evosearch.engine.native.tiles import KERNELS, addresses, fold, fold_together
from evosearch.engine.program import Level, Program, Section

MAX_UNROLLED = 2
"""Rows of more wide vectors than this are a loop: unrolled code takes long to compile."""

FOLDED = 4
"""Rows whose lanes are added up together."""

Body = Callable[["Value | int", int, int], None]
"""Writes one piece of a row: its offset, the width of its vector, and how many lanes count."""


class RowLife(LifeWriter):
    """Vectors along the units of a buffer or a row of synapses."""

    def __init__(self, life: Lifetime, program: Program, name: str, wide: int = 64) -> None:
        super().__init__(life, program, name)
        self.wide = wide if life.dtype == np.float32 else wide // 2
        self._kept: dict[tuple[int, int], int] = {}
        self._at_hand: dict[int, Value] = {}

    @property
    def widest(self) -> int:
        """The widest vector of values that are checked."""
        return self.wide

    def pieces(self, n: int, body: Body) -> None:
        """Write ``body`` for all pieces of n values: wide ones first, as a loop if many."""
        w, start = self.w, 0
        full = n // self.wide
        if full > MAX_UNROLLED:
            with w.loop(full * self.wide, self.wide) as offset:
                body(offset, self.wide, self.wide)
            start = full * self.wide
        for offset, width, count in self.static_pieces(n, start):
            body(offset, width, count)

    def static_pieces(self, n: int, start: int = 0) -> list[tuple[int, int, int]]:
        """Return (offset, width, lanes that count) for n values from ``start`` on."""
        pieces, width = [], self.wide
        while start < n:
            while width > LANES and width > n - start:
                width //= 2
            pieces.append((start, width, min(width, n - start)))
            start += width
        return pieces

    def unit(self, start: int, index: Value | int = 0) -> Value:
        """Return the address of a unit of a buffer."""
        w = self.w
        if isinstance(index, int):
            return w.pointer("%ws", start + index)
        return w.pointer(w.pointer("%ws", start), index)

    def write_load(self, target: int, n: int, table: int, chooser: int, row: Value) -> None:
        w = self.w
        if chooser >= 0:
            row = self.chosen_row(chooser, row)
        if not self.life.is_shared_table[table]:
            first = w.value(f"mul i64 %group, {self.table_field(table, 1)}")
            row = w.value(f"add i64 {first}, {row}")
        offset = w.value(f"mul i64 {row}, {n}")
        offset = w.value(f"add i64 {offset}, {self.table_field(table, 0)}")
        w.copy(self.unit(target), w.pointer("%data", offset), n)

    def write_matvec(
        self, y: int, matrix: int, x: int, n_out: int, n_in: int, examples: int
    ) -> None:
        if examples > 1:
            self._call("product", y, matrix, x, n_out, n_in, examples)
        else:
            self._write_product(y, matrix, x, n_out, n_in)
        self._note_units(y, n_out * examples)

    def _write_product(self, y: int, matrix: int, x: int, n_out: int, n_in: int) -> None:
        w, source = self.w, self.unit(x)
        # A product over its own operand reads what earlier rows wrote: one row at a time.
        is_together = n_in // self.wide <= MAX_UNROLLED and x != y
        together = n_out // FOLDED * FOLDED if is_together else 0
        if together:
            with w.loop(together, FOLDED) as i:
                first = self.row_pointer(matrix, i, n_in)
                totals = [
                    self._lanes(w.pointer(first, k * n_in), source, n_in)[0] for k in range(FOLDED)
                ]
                w.store(fold_together(w, totals), self.unit(y, i), FOLDED)
        if together < n_out:
            with w.loop(n_out - together) as k:
                i = w.value(f"add i64 {k}, {together}")
                value, _ = self._dot(self.row_pointer(matrix, i, n_in), source, n_in)
                w.store(value, self.unit(y, i))

    def example(self, base: Value, start: int, example: Value, n: int) -> Value:
        """Return the address of an example's first unit."""
        w = self.w
        return w.pointer(w.pointer(base, start), w.once(f"mul i64 {example}, {n}"))

    def _note_units(self, start: int, n: int) -> None:
        def body(offset: Value | int, width: int, count: int) -> None:
            value = self.w.load(self.unit(start, offset), width)
            self.note(value, width, count)

        self.pieces(n, body)

    def row_pointer(self, matrix: int, i: Value, n_in: int) -> Value:
        """Return the address of a row of a matrix."""
        w = self.w
        return w.pointer(w.pointer("%ws", matrix), w.once(f"mul i64 {i}, {n_in}"))

    def _dot(self, row: Value, x: Value, n_in: int) -> tuple[Value, dict[int, Value]]:
        """Return the product of a row and a vector, and the weights if they all are at hand."""
        total, weights = self._lanes(row, x, n_in)
        return fold(self.w, total), weights

    def _lanes(self, row: Value, x: Value, n_in: int) -> tuple[Value, dict[int, Value]]:
        """Return a product's sums in 16 lanes, and the weights if they all are at hand."""
        w = self.w
        o = w.arithmetic(LANES)
        weights: dict[int, Value] = {}
        total = o.real(0.0)

        def add(offset: Value | int, width: int, count: int, total: Value) -> Value:
            weight = w.load(self.w.pointer(row, offset), width)
            if isinstance(offset, int):
                weights[offset] = weight
            terms = w.arithmetic(width).mul(weight, w.load(self.w.pointer(x, offset), width))
            terms = self.masked(terms, width, count)
            for start in range(0, width, LANES):
                total = o.add(total, w.part(terms, width, start, LANES))
            return total

        full, start = n_in // self.wide, 0
        if full > MAX_UNROLLED:
            w.store(total, "%slot", LANES)
            with w.loop(full * self.wide, self.wide) as offset:
                w.store(add(offset, self.wide, self.wide, w.load("%slot", LANES)), "%slot", LANES)
            total, start = w.load("%slot", LANES), full * self.wide
        for offset, width, count in self.static_pieces(n_in, start):
            total = add(offset, width, count, total)
        return total, {} if start else weights

    def write_matvec_t(
        self, x: int, matrix: int, y: int, n_out: int, n_in: int, examples: int
    ) -> None:
        if examples > 1:
            self._call("transposed", x, matrix, y, n_out, n_in, examples)
            return
        acc = self.reserve(LANES * n_in + LANES)
        self._write_transposed(self.unit(x), matrix, self.unit(y), n_out, n_in, acc)

    def _write_transposed(
        self, target: Value, matrix: int, source: Value, n_out: int, n_in: int, scratch: int
    ) -> None:
        w = self.w
        lanes = min(n_out, LANES)
        acc = w.pointer("%scratch", scratch)
        self._clear(acc, lanes * n_in)
        with w.loop(n_out) as i:
            row = self.row_pointer(matrix, i, n_in)
            lane = w.value(f"mul i64 {w.value(f'and i64 {i}, {LANES - 1}')}, {n_in}")
            place, factor = w.pointer(acc, lane), w.load(self.w.pointer(source, i))

            def body(
                offset: Value | int, width: int, count: int,
                row: Value = row, place: Value = place, factor: Value = factor,
            ) -> None:  # fmt: skip
                o = w.arithmetic(width)
                here = self.w.pointer(place, offset)
                term = o.mul(w.load(self.w.pointer(row, offset), width), w.splat(factor, width))
                w.store_first(o.add(w.load(here, width), term), here, width, count)

            self.pieces(n_in, body)
        half = LANES // 2
        while half:
            if lanes > half:
                self._add_into(acc, w.pointer(acc, half * n_in), (lanes - half) * n_in)
                lanes = half
            half //= 2
        w.copy(target, acc, n_in)

    def write_outer(self, g: int, y: int, x: int, n_out: int, n_in: int, examples: int) -> None:
        self._call("outer", g, y, x, n_out, n_in, examples)

    def _call(
        self, kernel: str, target: int, a: int, b: int, n_out: int, n_in: int, examples: int
    ) -> None:
        address = addresses(self.life.dtype)[KERNELS.index(kernel)]
        places = ", ".join(f"ptr {self.unit(start)}" for start in (target, a, b))
        self.w.line(
            f"call void inttoptr (i64 {address} to ptr)({places}, i64 {n_out}, i64 {n_in}, "
            f"i64 {examples})"
        )

    def _clear(self, base: Value, n: int) -> None:
        def body(offset: Value | int, width: int, count: int) -> None:
            self.w.store(self.w.arithmetic(width).real(0.0), self.w.pointer(base, offset), width)

        self.pieces(n, body)

    def _add_into(self, target: Value, source: Value, n: int) -> None:
        def body(offset: Value | int, width: int, count: int) -> None:
            w, here = self.w, self.w.pointer(target, offset)
            total = w.arithmetic(width).add(
                w.load(here, width), w.load(self.w.pointer(source, offset), width)
            )
            w.store_first(total, here, width, count)

        self.pieces(n, body)

    def write_bias(self, target: int, bias: int, n: int, examples: int) -> None:
        with self.w.loop(examples) as example:
            here = self.example("%ws", target, example, n)

            def body(offset: Value | int, width: int, count: int) -> None:
                w, place = self.w, self.w.pointer(here, offset)
                shift = w.load(self.unit(bias, offset), width)
                total = w.arithmetic(width).add(w.load(place, width), shift)
                w.store_first(total, place, width, count)

            self.pieces(n, body)

    def write_map(self, view: View, target: int, n: int) -> None:
        output = view.program.outputs[0].register
        network = self._network(view)

        def body(offset: Value | int, width: int, count: int) -> None:
            find = self._unit_values(view, Level.POST, offset, width, network, Section.POST)
            self.w.store_first(find(output), self.unit(target, offset), width, count)

        if n == 1:
            find = self._unit_values(view, Level.POST, 0, 1, network, Section.POST)
            self.w.store(find(output), self.unit(target))
            return
        self.pieces(n, body)

    def _network(self, view: View) -> dict[int, Value]:
        """Write what is one number a network; return the registers as scalars."""
        values: dict[int, Value] = {}
        resolve = self._network_resolver(view)
        evaluate(self.w, view.rows(Section.NETWORK), 1, values, resolve, no_expansion)
        return values

    def _network_resolver(self, view: View) -> Callable[[int], Value]:
        def resolve(register: int) -> Value:
            if view.is_terminal(register):
                return self.w.load(self.unit(view.starts[register]))
            return view.constant(self.w, register, 1)

        return resolve

    def network_value(self, view: View, network: dict[int, Value], register: int) -> Value:
        """Return a scalar: computed before, a buffer, or a constant."""
        if register in network:
            return network[register]
        return self._network_resolver(view)(register)

    def _unit_values(
        self, view: View, level: Level, offset: Value | int, width: int,
        network: dict[int, Value], section: Section,
    ) -> Callable[[int], Value]:  # fmt: skip
        """Write a section at some units; return how to find its registers."""
        values: dict[int, Value] = {}
        at_hand = self._at_hand

        def resolve(register: int) -> Value:
            if view.is_terminal(register):
                if view.levels[register] == Level.NETWORK:
                    scalar = self.network_value(view, network, register)
                    return self.w.splat(scalar, width)
                if view.starts[register] in at_hand:
                    return at_hand[view.starts[register]]
                return self.w.load(self.unit(view.starts[register], offset), width)
            if register in view.constants:
                return view.constant(self.w, register, width)
            return self.w.splat(self.network_value(view, network, register), width)

        def expand(op: int, register: int) -> Value:
            return self.w.splat(self.network_value(view, network, register), width)

        evaluate(self.w, view.rows(section), width, values, resolve, expand)

        def find(register: int) -> Value:
            if register not in values:
                values[register] = resolve(register)
            return values[register]

        return find

    def fuse(self, pc: int, last: int) -> int:
        """Live a product, maps of its result and the rule row by row, if nothing else reads it."""
        phases, life = self.life.phases, self.life
        y, matrix, x, n_out, n_in = (int(k) for k in phases[pc, 1:6])
        if n_in == 1:
            return 0  # a map of units could then write weights
        written, end, maps = {y}, pc + 1, []
        while end < last and phases[end, ph.OP] == ph.MAP:
            site = life.maps[int(phases[end, ph.A])]
            view = self.maps[int(phases[end, ph.A])]
            starts = {b.start for b in site.operands if b.size == 1 < n_out}
            if site.target.size != n_out or view.is_costly(*Section) or starts & written:
                return 0
            written.add(site.target.start)
            maps.append((view, site.target.start))
            end += 1
        if end >= last or phases[end, ph.OP] != ph.RULE:
            return 0
        number = int(phases[end, ph.A])
        site, view = life.sites[number], self.rules[number]
        if (
            site.examples > 1
            or site.matrix.start != matrix
            or x in written
            or view.is_costly(Section.POST)
        ):
            return 0
        for register, start in enumerate(view.starts):
            if start in written and view.levels[register] in (Level.PRE, Level.NETWORK):
                return 0
        self._write_rows(number, (y, x, maps))
        self._note_units(y, n_out)
        self.check()
        return end - pc + 1

    def write_rule(self, number: int) -> None:
        if self.life.sites[number].examples > 1:
            MeanRule(self, number).write()
            self._project_rows(number)
        else:
            self._write_rows(number, None)
        self.check()

    def _write_rows(
        self, number: int, product: tuple[int, int, list[tuple[View, int]]] | None
    ) -> None:
        """Apply the rule row by row; with ``product``, compute the unit's activity first."""
        view, site = self.rules[number], self.life.sites[number]
        matrix, n_out, n_in = site.matrix.start, site.matrix.n_out, site.matrix.n_in
        network = self._network(view)
        self._write_units(view, number, Level.PRE, Section.PRE, n_in, network)
        if product is None:
            self._write_units(view, number, Level.POST, Section.POST, n_out, network)
        map_networks = [self._network(map_view) for map_view, _ in (product[2] if product else [])]
        w = self.w
        with w.loop(n_out) as i:
            row = self.row_pointer(matrix, i, n_in)
            weights: dict[int, Value] = {}
            post: Callable[[int], Value] | None = None
            if product is not None:
                y, x, maps = product
                value, weights = self._dot(row, self.unit(x), n_in)
                w.store(value, self.unit(y, i))
                if any(target == y for _, target in maps):
                    self.note(value, 1, 1)
                self._at_hand = {y: value}
                for (map_view, target), map_network in zip(maps, map_networks, strict=True):
                    find = self._unit_values(
                        map_view, Level.POST, i, 1, map_network, Section.POST
                    )  # fmt: skip
                    value = find(map_view.program.outputs[0].register)
                    w.store(value, self.unit(target, i))
                    self._at_hand[target] = value
                post = self._unit_values(view, Level.POST, i, 1, network, Section.POST)
                self._at_hand = {}
                for register in self.kept_registers(view, Level.POST):
                    w.store(post(register), self._kept_pointer(number, register, n_out, i))
            RowRule(self, number, network, i, row, post, weights).write()
        self._write_states(number, network)
        self._project_rows(number)

    def projected(
        self, number: int, new: Value, i: Value, offset: Value | int, width: int, count: int
    ) -> Value:
        """Check new weights of a row; return them within the limits that need no other weight."""
        self.note(new, width, count)
        kept = self.clipped(new, width)
        if self.life.projection.keeps_sign:
            site = self.life.sites[number]
            row = self.row_pointer(site.birth.start, i, site.matrix.n_in)
            kept = self.keep_sign(kept, self.w.load(self.w.pointer(row, offset), width), width)
        return kept

    def kept_registers(self, view: View, level: Level) -> list[int]:
        """Return the computed registers of a level that later sections read."""
        return [
            r for r in sorted(view.kept)
            if view.levels[r] == level and not view.is_terminal(r) and r not in view.constants
        ]  # fmt: skip

    def _kept_pointer(self, number: int, register: int, n: int, offset: Value | int) -> Value:
        """Return where a register of pre or post units is kept between sections."""
        key = (number, register)
        if key not in self._kept:
            self._kept[key] = self.reserve(n + LANES)
        base = self.w.pointer("%scratch", self._kept[key])
        return self.w.pointer(base, offset)

    def _write_units(
        self, view: View, number: int, level: Level, section: Section, n: int,
        network: dict[int, Value],
    ) -> None:  # fmt: skip
        """Write a section of pre or post units and keep what later sections read."""
        kept = self.kept_registers(view, level)
        if not kept:
            return

        def body(offset: Value | int, width: int, count: int) -> None:
            find = self._unit_values(view, level, offset, width, network, section)
            for register in kept:
                place = self._kept_pointer(number, register, n, offset)
                self.w.store_first(find(register), place, width, count)

        self.pieces(n, body)

    def unit_value(
        self, number: int, level: Level, register: int, offset: Value | int, width: int
    ) -> Value:
        """Read a register of pre or post units: a buffer, a constant, or what was kept."""
        view, site = self.rules[number], self.life.sites[number]
        if view.is_terminal(register):
            return self.w.load(self.unit(view.starts[register], offset), width)
        if register in view.constants:
            return view.constant(self.w, register, width)
        n = site.matrix.n_in if level == Level.PRE else site.matrix.n_out
        return self.w.load(self._kept_pointer(number, register, n, offset), width)

    def _write_states(self, number: int, network: dict[int, Value]) -> None:
        """Copy the new states of units and network, after all synapses have read the old."""
        view, site = self.rules[number], self.life.sites[number]
        for start, register in self.level_outputs(view, Level.NETWORK):
            self.w.store(self.network_value(view, network, register), self.unit(start))
        for level, n in ((Level.PRE, site.matrix.n_in), (Level.POST, site.matrix.n_out)):
            for start, register in self.level_outputs(view, level):

                def body(
                    offset: Value | int, width: int, count: int,
                    level: Level = level, register: int = register, start: int = start,
                ) -> None:  # fmt: skip
                    value = self.unit_value(number, level, register, offset, width)
                    self.w.store_first(value, self.unit(start, offset), width, count)

                self.pieces(n, body)

    def _project_rows(self, number: int) -> None:
        """Write the projections that need more than one weight."""
        w, projection, site = self.w, self.life.projection, self.life.sites[number]
        matrix, n_out, n_in = site.matrix.start, site.matrix.n_out, site.matrix.n_in
        if projection.is_zero_diagonal:
            with w.loop(min(n_in, n_out)) as i:
                place = self.unit(matrix, w.value(f"mul i64 {i}, {n_in + 1}"))
                w.store(w.arithmetic(1).real(0.0), place)
        if projection.has_norm:
            with w.loop(n_out) as i:
                self._normalise(self.row_pointer(matrix, i, n_in), n_in)

    def _normalise(self, row: Value, n_in: int) -> None:
        w = self.w
        o = w.arithmetic(LANES)
        w.store(o.real(0.0), "%slot", LANES)

        def add(offset: Value | int, width: int, count: int) -> None:
            weight = w.load(self.w.pointer(row, offset), width)
            terms = self.masked(w.arithmetic(width).mul(weight, weight), width, count)
            total = w.load("%slot", LANES)
            for start in range(0, width, LANES):
                total = o.add(total, w.part(terms, width, start, LANES))
            w.store(total, "%slot", LANES)

        self.pieces(n_in, add)
        scalar = w.arithmetic(1)
        length = scalar.sqrt(fold(self.w, w.load("%slot", LANES)))
        factor = scalar.div(w.argument("%bounds", 2, 1), length)
        is_long = scalar.greater(length, scalar.real(0.0))

        def scale(offset: Value | int, width: int, count: int) -> None:
            here, oo = self.w.pointer(row, offset), w.arithmetic(width)
            value = w.load(here, width)
            scaled = oo.mul(value, w.splat(factor, width))
            kind = w.type(width)
            chosen = w.value(f"select i1 {is_long}, {kind} {scaled}, {kind} {value}")
            w.store_first(chosen, here, width, count)

        self.pieces(n_in, scale)

    def write_argmax(self, target: int, source: int, n: int) -> None:
        w = self.w
        o = w.arithmetic(1)
        w.store(w.load(self.unit(source)), "%slot")
        w.line("store i64 0, ptr %chosen")
        with w.loop(n) as k:
            value, best = w.load(self.unit(source, k)), w.load("%slot")
            is_more = o.greater(value, best)
            w.store(o.select(is_more, value, best), "%slot")
            before = w.value("load i64, ptr %chosen")
            w.line(
                f"store i64 {w.value(f'select i1 {is_more}, i64 {k}, i64 {before}')}, ptr %chosen"
            )
        with w.loop(n) as k:
            chosen = w.value("load i64, ptr %chosen")
            is_it = w.value(f"icmp eq i64 {k}, {chosen}")
            w.store(o.select(is_it, o.real(1.0), o.real(0.0)), self.unit(target, k))

    def write_reduce(self, target: int, source: int, n: int, kind: int) -> None:
        w = self.w
        o = w.arithmetic(1)
        if kind in (ph.REDUCE_MIN, ph.REDUCE_MAX):
            w.store(w.load(self.unit(source)), "%slot")
            with w.loop(n) as k:
                value, best = w.load(self.unit(source, k)), w.load("%slot")
                compare = o.less if kind == ph.REDUCE_MIN else o.greater
                w.store(o.select(compare(value, best), value, best), "%slot")
            w.store(w.load("%slot"), self.unit(target))
            return
        oo = w.arithmetic(LANES)
        w.store(oo.real(0.0), "%slot", LANES)

        def add(offset: Value | int, width: int, count: int) -> None:
            terms = self.masked(w.load(self.unit(source, offset), width), width, count)
            total = w.load("%slot", LANES)
            for start in range(0, width, LANES):
                total = oo.add(total, w.part(terms, width, start, LANES))
            w.store(total, "%slot", LANES)

        self.pieces(n, add)
        value = fold(self.w, w.load("%slot", LANES))
        if kind == ph.REDUCE_MEAN:
            value = o.div(value, o.real(float(n)))
        w.store(value, self.unit(target))
