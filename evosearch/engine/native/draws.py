"""Native code where rows are short: draws of one rule side by side, one vector a unit."""

from __future__ import annotations

from collections.abc import Callable

from evosearch.engine import phases as ph
from evosearch.engine.contract import LANES
from evosearch.engine.lifetime import Lifetime
from evosearch.engine.native.life import LifeWriter
from evosearch.engine.native.program import UnsupportedError, View, evaluate, no_expansion
from evosearch.engine.native.text import Value
from evosearch.engine.program import Level, Op, Program, Section

MAX_UNROLLED = 64
"""Units or synapses of a phase that are written one after the other; more are a loop of rows."""


class DrawLife(LifeWriter):
    """Each unit is one vector of draws; the whole life is lived for one vector after another.

    Args:
        life: the life.
        program: the rule.
        name: of the function.
        wide: draws side by side where that divides them all, else 16; 32 run some per cent faster
            than 16 and take 1.7 times as long to compile.
    """

    def __init__(self, life: Lifetime, program: Program, name: str, wide: int = LANES) -> None:
        super().__init__(life, program, name)
        self.width = wide if life.lanes % wide == 0 else LANES
        self._draw: Value = "0"

    @property
    def widest(self) -> int:
        """The widest vector of values that are checked."""
        return self.width

    def write_segment(self, first: int, last: int) -> None:
        """Write a segment for one vector of draws after the other, then look at the outcome."""
        with self.w.loop(self.life.lanes, self.width) as draw:
            self._draw = draw
            super().write_segment(first, last)
        if (self.life.phases[first:last, ph.OP] == ph.RULE).any():
            self.check()

    def unit(self, start: int, index: Value | int = 0) -> Value:
        """Return the address of a unit's vector."""
        return self._place("%ws", start, index)

    def _place(self, base: Value, start: int, index: Value | int) -> Value:
        w, lanes = self.w, self.life.lanes
        base = w.pointer(base, self._draw)
        if isinstance(index, int):
            return w.pointer(base, (start + index) * lanes)
        return w.pointer(w.pointer(base, start * lanes), w.once(f"mul i64 {index}, {lanes}"))

    def read(self, start: int, index: Value | int = 0) -> Value:
        """Read a unit; one that was read or written in this block is at hand."""
        if not isinstance(index, int):
            return self.w.load(self.unit(start, index), self.width)
        known = self.w.at_hand
        if start + index not in known:
            known[start + index] = self.w.load(self.unit(start, index), self.width)
        return known[start + index]

    def set(self, value: Value, start: int, index: Value | int = 0) -> None:
        """Write a unit."""
        self.w.store(value, self.unit(start, index), self.width)
        if isinstance(index, int):
            self.w.at_hand[start + index] = value
        else:
            self.w.at_hand.clear()

    def units(self, n: int, body: Callable[[Value | int], None]) -> None:
        """Write ``body`` for n units, as a loop if many."""
        if n <= MAX_UNROLLED // 4:
            for k in range(n):
                body(k)
            return
        with self.w.loop(n) as k:
            body(k)

    def write_load(self, target: int, n: int, table: int, chooser: int, row: Value) -> None:
        w, lanes = self.w, self.life.lanes
        if chooser >= 0:
            if not self.life.is_shared_index[chooser]:
                raise UnsupportedError("rows chosen draw by draw")
            row = self.chosen_row(chooser, row)
        is_shared = self.life.is_shared_table[table]
        if not is_shared:
            first = w.value(f"mul i64 %group, {self.table_field(table, 1)}")
            row = w.value(f"add i64 {first}, {row}")
        offset = w.value(f"mul i64 {row}, {n if is_shared else n * lanes}")
        offset = w.value(f"add i64 {offset}, {self.table_field(table, 0)}")
        source = w.pointer("%data", offset)

        def body(k: Value | int) -> None:
            if is_shared:
                value = w.splat(w.load(w.pointer(source, k)), self.width)
            else:
                value = w.load(self._place(source, 0, k), self.width)
            self.set(value, target, k)

        self.units(n, body)

    def _sum(self, n: int, term: Callable[[int], Value]) -> Value:
        """Return the sum of n terms in 16 lanes and a fixed tree."""
        if n > MAX_UNROLLED:
            raise UnsupportedError("long sums over draws side by side")
        o = self.w.arithmetic(self.width)
        lanes: list[Value] = []
        for j in range(n):
            if j < LANES:
                lanes.append(term(j))
            else:
                lanes[j % LANES] = o.add(lanes[j % LANES], term(j))
        half = LANES // 2
        while half:
            for k in range(half, len(lanes)):
                lanes[k - half] = o.add(lanes[k - half], lanes[k])
            del lanes[half:]
            half //= 2
        # Lanes start at +0, which matters only where all terms are -0.
        return o.add(lanes[0], o.real(0.0))

    def write_matvec(
        self, y: int, matrix: int, x: int, n_out: int, n_in: int, examples: int
    ) -> None:
        o = self.w.arithmetic(self.width)

        def body(i: Value | int) -> None:
            first = self._product(i, n_in)
            value = self._sum(
                n_in, lambda j: o.mul(self._synapse(matrix, first, j), self.read(x, j))
            )
            self.set(value, y, i)
            self.note(value, self.width, self.width)

        self.units(n_out, body)

    def _product(self, i: Value | int, n: int) -> Value | int:
        return i * n if isinstance(i, int) else self.w.once(f"mul i64 {i}, {n}")

    def _synapse(self, matrix: int, first: Value | int, j: int) -> Value:
        if isinstance(first, int):
            return self.read(matrix, first + j)
        return self.w.load(self._synapse_place(matrix, first, j), self.width)

    def _set_synapse(self, value: Value, matrix: int, first: Value | int, j: int) -> None:
        if isinstance(first, int):
            self.set(value, matrix, first + j)
            return
        self.w.store(value, self._synapse_place(matrix, first, j), self.width)
        self.w.at_hand.clear()

    def _synapse_place(self, matrix: int, first: Value, j: int) -> Value:
        return self.w.pointer(self.unit(matrix, first), j * self.life.lanes)

    def write_matvec_t(
        self, x: int, matrix: int, y: int, n_out: int, n_in: int, examples: int
    ) -> None:
        o = self.w.arithmetic(self.width)
        values = [
            self._sum(n_out, lambda i, j=j: o.mul(self.read(matrix, i * n_in + j), self.read(y, i)))  # type: ignore[misc]
            for j in range(n_in)
        ]
        for j, value in enumerate(values):
            self.set(value, x, j)

    def write_bias(self, target: int, bias: int, n: int, examples: int) -> None:
        o = self.w.arithmetic(self.width)
        for example in range(examples):

            def body(k: Value | int, start: int = target + example * n) -> None:
                self.set(o.add(self.read(start, k), self.read(bias, k)), start, k)

            self.units(n, body)

    def write_map(self, view: View, target: int, n: int) -> None:
        network = self._network(view)

        def body(k: Value | int) -> None:
            find = self._unit_values(view, k, network, Section.POST)
            self.set(find(view.program.outputs[0].register), target, k)

        self.units(n, body)

    def _network(self, view: View) -> dict[int, Value]:
        values: dict[int, Value] = {}

        def resolve(register: int) -> Value:
            return self._network_value(view, {}, register)

        evaluate(self.w, view.rows(Section.NETWORK), self.width, values, resolve, no_expansion)
        return values

    def _network_value(self, view: View, network: dict[int, Value], register: int) -> Value:
        if register in network:
            return network[register]
        if view.is_terminal(register):
            return self.read(view.starts[register])
        return view.constant(self.w, register, self.width)

    def _unit_values(
        self, view: View, k: Value | int, network: dict[int, Value], section: Section
    ) -> Callable[[int], Value]:
        """Write a section for one unit; return how to find its registers."""
        values: dict[int, Value] = {}

        def resolve(register: int) -> Value:
            if view.levels[register] == Level.NETWORK or register in view.constants:
                return self._network_value(view, network, register)
            return self.read(view.starts[register], k)

        def expand(op: int, register: int) -> Value:
            return self._network_value(view, network, register)

        evaluate(self.w, view.rows(section), self.width, values, resolve, expand)

        def find(register: int) -> Value:
            if register not in values:
                values[register] = resolve(register)
            return values[register]

        return find

    def write_rule(self, number: int) -> None:
        view, site = self.rules[number], self.life.sites[number]
        n_out, n_in = site.matrix.n_out, site.matrix.n_in
        network = self._network(view)
        pre = [self._unit_values(view, j, network, Section.PRE) for j in range(n_in)]
        post_states = self.level_outputs(view, Level.POST)
        places = {register: self.reserve(n_out * self.life.lanes) for _, register in post_states}

        def body(i: Value | int) -> None:
            post = self._unit_values(view, i, network, Section.POST)
            first = self._product(i, n_in)
            for j in range(n_in):
                self._write_synapse(number, network, pre[j], post, first, j)
            for register, place in places.items():
                self.w.store(post(register), self._kept(place, i), self.width)

        if n_out * n_in <= MAX_UNROLLED // 2:
            for i in range(n_out):
                body(i)
        else:
            # What a loop's body adds to these would not be known after it.
            for find in pre:
                for register in range(len(view.program.register_level)):
                    if view.levels[register] == Level.PRE and register in view.kept:
                        find(register)
            with self.w.loop(n_out) as i:
                body(i)
        self._write_states(number, network, pre, places)
        self._project(number)

    def _write_synapse(
        self, number: int, network: dict[int, Value], pre: Callable[[int], Value],
        post: Callable[[int], Value], first: Value | int, j: int,
    ) -> None:  # fmt: skip
        """Write the rule for one synapse; the new weight is checked before it is clipped."""
        view, site, w = self.rules[number], self.life.sites[number], self.w
        values: dict[int, Value] = {}

        def resolve(register: int) -> Value:
            if view.is_terminal(register):
                return self._synapse(view.starts[register], first, j)
            return view.constant(w, register, self.width)

        def expand(op: int, register: int) -> Value:
            if op == Op.EXPAND_PRE:
                return pre(register)
            if op == Op.EXPAND_POST:
                return post(register)
            return self._network_value(view, network, register)

        rows = view.rows(Section.TILE, Section.SYNAPSE)
        evaluate(w, rows, self.width, values, resolve, expand)

        def find(register: int) -> Value:
            return values[register] if register in values else resolve(register)

        rule = view.program.outputs[0]
        weight = find(view.program.terminals.index("w"))
        states = [
            (start, find(register)) for start, register in self.level_outputs(view, Level.SYNAPSE)
        ]
        new = self.updated(weight, find(rule.register), self.width, rule.is_increment)
        for start, value in states:
            self._set_synapse(value, start, first, j)
        self.note(new, self.width, self.width)
        kept = self.clipped(new, self.width)
        if self.life.projection.keeps_sign:
            birth = self._synapse(site.birth.start, first, j)
            kept = self.keep_sign(kept, birth, self.width)
        self._set_synapse(kept, site.matrix.start, first, j)

    def _write_states(
        self, number: int, network: dict[int, Value], pre: list[Callable[[int], Value]],
        places: dict[int, int],
    ) -> None:  # fmt: skip
        """Write the new states of units and network, after all synapses have read the old."""
        view, site = self.rules[number], self.life.sites[number]
        for start, register in self.level_outputs(view, Level.NETWORK):
            self.set(self._network_value(view, network, register), start)
        for start, register in self.level_outputs(view, Level.PRE):
            for j, find in enumerate(pre):
                self.set(find(register), start, j)
        for start, register in self.level_outputs(view, Level.POST):

            def body(i: Value | int, start: int = start, register: int = register) -> None:
                source = self._kept(places[register], i)
                self.set(self.w.load(source, self.width), start, i)

            self.units(site.matrix.n_out, body)

    def _kept(self, place: int, i: Value | int) -> Value:
        """Return where a new state of a post unit waits."""
        return self.w.pointer(self._place("%scratch", 0, i), place)

    def _project(self, number: int) -> None:
        """Write the projections that need more than one weight."""
        projection, site = self.life.projection, self.life.sites[number]
        matrix, n_out, n_in = site.matrix.start, site.matrix.n_out, site.matrix.n_in
        o = self.w.arithmetic(self.width)
        if projection.is_zero_diagonal:
            for i in range(min(n_in, n_out)):
                self.set(o.real(0.0), matrix, i * n_in + i)
        if not projection.has_norm:
            return

        def body(i: Value | int) -> None:
            first = self._product(i, n_in)
            weights = [self._synapse(matrix, first, j) for j in range(n_in)]
            length = o.sqrt(self._sum(n_in, lambda j: o.mul(weights[j], weights[j])))
            norm = self.w.argument("%bounds", 2, self.width)
            factor = o.div(norm, length)
            is_long = o.greater(length, o.real(0.0))
            for j, weight in enumerate(weights):
                value = o.select(is_long, o.mul(weight, factor), weight)
                self._set_synapse(value, matrix, first, j)

        self.units(n_out, body)

    def write_argmax(self, target: int, source: int, n: int) -> None:
        if n > MAX_UNROLLED:
            raise UnsupportedError("the greatest of many units over draws side by side")
        o = self.w.arithmetic(self.width)
        best, chosen = self.read(source, 0), o.integer(0)
        whole = o.bits(best)
        chosen = o.isub(whole, whole)
        integers = f"<{self.width} x {self.w.whole}>"
        for k in range(1, n):
            value = self.read(source, k)
            is_more = o.greater(value, best)
            best = o.select(is_more, value, best)
            chosen = self.w.value(
                f"select <{self.width} x i1> {is_more}, {integers} {o.integer(k)}, "
                f"{integers} {chosen}"
            )
        for k in range(n):
            is_it = o.iequal(chosen, o.integer(k))
            self.set(o.select(is_it, o.real(1.0), o.real(0.0)), target, k)

    def write_reduce(self, target: int, source: int, n: int, kind: int) -> None:
        o = self.w.arithmetic(self.width)
        if kind not in (ph.REDUCE_MIN, ph.REDUCE_MAX):
            total = self._sum(n, lambda j: self.read(source, j))
            self.set(total if kind == ph.REDUCE_SUM else o.div(total, o.real(float(n))), target)
            return
        if n > MAX_UNROLLED:
            raise UnsupportedError("the greatest of many units over draws side by side")
        best = self.read(source, 0)
        compare = o.less if kind == ph.REDUCE_MIN else o.greater
        for k in range(1, n):
            value = self.read(source, k)
            best = o.select(compare(value, best), value, best)
        self.set(best, target)
