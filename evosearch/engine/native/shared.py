"""A life in two parts: what all rules share, and the rows of one rule.

The time of compilation goes with the length of a function. Loads, products, maps, the check and
the clip are the same under every rule and are compiled once a life; they call a short function of
the rule for some rows at a time. Numbers are those of :class:`~.rows.RowLife`, to the bit.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from evosearch.engine.contract import LANES
from evosearch.engine.lifetime import Lifetime
from evosearch.engine.native.program import View
from evosearch.engine.native.row_rules import RowRule
from evosearch.engine.native.rows import FOLDED, RowLife
from evosearch.engine.native.text import Value
from evosearch.engine.native.tiles import fold_together
from evosearch.engine.program import Level, Output, Program, Section

MAX_BYTES = 16_384
"""Weights of the rows that are lived together: they stay in the nearest cache meanwhile."""


def is_shareable(life: Lifetime, program: Program) -> bool:
    """Whether a life can be lived in two parts: one layer, one expression, no minibatch."""
    return (
        life.lanes == 1
        and len(life.sites) == 1
        and life.sites[0].examples == 1
        and len(program.outputs) == 1
        and program.section_end[Section.NETWORK] == 0
    )


def catalogue_of(program: Program) -> tuple[tuple[str, int], ...]:
    """Return the terminals of a program and their levels, on which the shared part depends."""
    levels = program.register_level[: len(program.terminals)].tolist()
    return tuple(zip(program.terminals, levels, strict=True))


class SharedLife(RowLife):
    """Writes the shared part; ``%rows`` and ``%units`` are the rule's functions.

    Args:
        life: the life.
        program: any rule over the catalogue of the rules to come.
        name: of the function.
        is_fused: whether some rows are lived from the product to the clip before the next.
    """

    def __init__(self, life: Lifetime, program: Program, name: str, is_fused: bool) -> None:
        n_terminals = len(program.terminals)
        bare = replace(
            program,
            code=np.zeros((0, 4), np.int32),
            section_end=np.zeros(len(Section), np.int32),
            register_level=program.register_level[:n_terminals],
            constant_register=np.zeros(0, np.int32),
            constant_value=np.zeros(0),
            outputs=(Output("w", program.terminals.index("w"), True),),
        )
        super().__init__(life, bare, name)
        self._is_fused = is_fused
        self._n_loops = 0

    def fuse(self, pc: int, last: int) -> int:
        return super().fuse(pc, last) if self._is_fused else 0

    def _write_rows(
        self, number: int, product: tuple[int, int, list[tuple[View, int]]] | None
    ) -> None:
        w, site = self.w, self.life.sites[number]
        n_out, n_in = site.matrix.n_out, site.matrix.n_in
        self._n_loops += 1
        label = f"U{self._n_loops}"
        has_units = w.value("icmp ne ptr %units, null")
        w.line(f"br i1 {has_units}, label %{label}, label %{label}.out")
        w.start_block(label)
        place = w.pointer("%scratch", self.SCRATCH)
        w.line(f"call void %units(ptr %ws, ptr {place}, ptr %k)")
        w.line(f"br label %{label}.out")
        w.start_block(f"{label}.out")
        networks = [self._network(view) for view, _ in (product[2] if product else [])]
        size = max(MAX_BYTES // (w.bytes * n_in) // FOLDED * FOLDED, FOLDED)
        full = n_out // size * size
        if full > size:
            with w.loop(full, size) as first:
                self._write_block(number, product, networks, first, size)
        elif full:
            self._write_block(number, product, networks, "0", size)
        if full < n_out:
            self._write_block(number, product, networks, str(full), n_out - full)
        self._project_rows(number)

    SCRATCH = "%rule_scratch"
    """Floats of scratch memory that the shared part takes, known when all of it is written."""

    def write(self) -> str:
        text = super().write()
        return text.replace(self.SCRATCH, str(self.scratch))

    def _write_block(
        self, number: int, product: tuple[int, int, list[tuple[View, int]]] | None,
        networks: list[dict[int, Value]], first: Value, count: int,
    ) -> None:  # fmt: skip
        """Live ``count`` rows from ``first`` on."""
        w, site = self.w, self.life.sites[number]
        n_in = site.matrix.n_in
        if product is not None:
            y, x, maps = product
            self._write_dots(y, site.matrix.start, x, n_in, first, count)
            if maps:
                with w.loop(count) as k:
                    i = w.value(f"add i64 {first}, {k}")
                    self._write_maps(y, maps, networks, i)
        place = w.pointer("%scratch", self.SCRATCH)
        w.line(
            f"call void %rows(ptr %ws, ptr {place}, ptr %k, {w.real} %eta, i64 {first}, "
            f"i64 {count})"
        )
        self._finish(number, first, count * n_in)

    def _write_maps(
        self, y: int, maps: list[tuple[View, int]], networks: list[dict[int, Value]], i: Value
    ) -> None:
        """Write what follows the product of one unit."""
        w = self.w
        value = w.load(self.unit(y, i))
        if any(target == y for _, target in maps):
            self.note(value, 1, 1)
        self._at_hand = {y: value}
        for (view, target), network in zip(maps, networks, strict=True):
            find = self._unit_values(view, Level.POST, i, 1, network, Section.POST)
            value = find(view.program.outputs[0].register)
            w.store(value, self.unit(target, i))
            self._at_hand[target] = value
        self._at_hand = {}

    def _write_product(self, y: int, matrix: int, x: int, n_out: int, n_in: int) -> None:
        if x == y:
            # A product over its own operand reads what earlier rows wrote: one row at a time.
            super()._write_product(y, matrix, x, n_out, n_in)
        else:
            self._write_dots(y, matrix, x, n_in, "0", n_out)

    def _write_dots(self, y: int, matrix: int, x: int, n_in: int, first: Value, count: int) -> None:
        """Write the products of ``count`` rows, some of them together."""
        w, together = self.w, count // FOLDED * FOLDED
        source = self.unit(x)
        if together:
            with w.loop(together, FOLDED) as k:
                i = w.value(f"add i64 {first}, {k}")
                row = self.row_pointer(matrix, i, n_in)
                totals = self._sums([w.pointer(row, r * n_in) for r in range(FOLDED)], source, n_in)
                w.store(fold_together(w, totals), self.unit(y, i), FOLDED)
        if together < count:
            with w.loop(count - together) as k:
                i = w.value(f"add i64 {first}, {w.value(f'add i64 {k}, {together}')}")
                value, _ = self._dot(self.row_pointer(matrix, i, n_in), source, n_in)
                w.store(value, self.unit(y, i))

    def _sums(self, rows: list[Value], source: Value, n_in: int) -> list[Value]:
        """Return the sums in 16 lanes of some rows' products; whole vectors are a loop."""
        w, o, kind = self.w, self.w.arithmetic(LANES), self.w.type(LANES)
        whole = n_in // LANES * LANES
        totals: list[Value] = [o.real(0.0)] * len(rows)
        if whole:
            self._n_loops += 1
            name, before = f"S{self._n_loops}", w.block
            sums = [f"%{name}.s{k}" for k in range(len(rows))]
            w.line(f"br label %{name}")
            w.start_block(name)
            w.line(f"%{name}.j = phi i64 [0, %{before}], [%{name}.n, %{name}]")
            for s in sums:
                w.line(f"{s} = phi {kind} [zeroinitializer, %{before}], [{s}.t, %{name}]")
            value = w.load(w.pointer(source, f"%{name}.j"), LANES)
            for s, row in zip(sums, rows, strict=True):
                weight = w.load(w.pointer(row, f"%{name}.j"), LANES)
                w.line(f"{s}.t = fadd {kind} {s}, {o.mul(weight, value)}")
            w.line(f"%{name}.n = add i64 %{name}.j, {LANES}")
            w.line(f"%{name}.c = icmp ult i64 %{name}.n, {whole}")
            w.line(f"br i1 %{name}.c, label %{name}, label %{name}.out")
            w.start_block(f"{name}.out")
            totals = [f"{s}.t" for s in sums]
        if whole < n_in:
            value = w.load(w.pointer(source, whole), LANES)
            for k, row in enumerate(rows):
                terms = o.mul(w.load(w.pointer(row, whole), LANES), value)
                totals[k] = o.add(totals[k], self.masked(terms, LANES, n_in - whole))
        return totals

    def _finish(self, number: int, first: Value, size: int) -> None:
        """Check the new weights of some rows, then clip them."""
        w, site = self.w, self.life.sites[number]
        row = self.row_pointer(site.matrix.start, first, site.matrix.n_in)
        birth = self.row_pointer(site.birth.start, first, site.matrix.n_in)

        def kept(offset: Value | int, width: int, count: int) -> Value:
            """Clip one piece; return it as it was before."""
            place = w.pointer(row, offset)
            new = w.load(place, width)
            value = self.clipped(new, width)
            if self.life.projection.keeps_sign:
                value = self.keep_sign(value, w.load(w.pointer(birth, offset), width), width)
            if value != new:
                w.store_first(value, place, width, count)
            return new

        whole = size // self.wide * self.wide
        if whole:
            self.note(self._checked(whole, kept), self.wide, self.wide)
        for offset, width, count in self.static_pieces(size, whole):
            self.note(kept(offset, width, count), width, count)

    def _checked(self, size: int, kept: Callable[[Value, int, int], Value]) -> Value:
        """Write a loop over whole pieces; return 0, or NaN where a lane had what is not finite.

        The sum stays in registers, since memory would make each round wait for the last one.
        """
        w, wide, kind = self.w, self.wide, self.w.type(self.wide)
        self._n_loops += 1
        name, before = f"F{self._n_loops}", w.block
        w.line(f"br label %{name}")
        w.start_block(name)
        w.line(f"%{name}.j = phi i64 [0, %{before}], [%{name}.n, %{name}]")
        w.line(f"%{name}.s = phi {kind} [zeroinitializer, %{before}], [%{name}.t, %{name}]")
        o, value = w.arithmetic(wide), kept(f"%{name}.j", wide, wide)
        total = o.fuzzy(value, o.real(0.0), f"%{name}.s")
        w.line(f"%{name}.t = bitcast {kind} {total} to {kind}")
        w.line(f"%{name}.n = add i64 %{name}.j, {wide}")
        w.line(f"%{name}.c = icmp ult i64 %{name}.n, {size}")
        w.line(f"br i1 %{name}.c, label %{name}, label %{name}.out")
        w.start_block(f"{name}.out")
        return f"%{name}.t"


class RuleRows(RowLife):
    """Writes the functions of one rule: its rows, and what it computes of units before.

    Attributes:
        is_fused: whether its rows fit a shared part that lives some rows at a time.
        has_units: whether there is anything to compute of units before.
    """

    def __init__(self, life: Lifetime, program: Program, name: str) -> None:
        is_single = life.dtype == np.float32
        super().__init__(life, program, name, LANES if is_single else 2 * LANES)
        view = self.rules[0]
        self._levels = [Level.PRE]
        self.is_fused = not view.is_costly(Section.POST)
        if not self.is_fused:
            self._levels.append(Level.POST)
        self.has_units = any(self.kept_registers(view, level) for level in self._levels)

    def write(self) -> str:
        rows = self._function("rows", f", {self.w.real} %eta, i64 %first, i64 %count", self._rows)
        return rows + (self._function("units", "", self._units) if self.has_units else "")

    def _function(self, kind: str, arguments: str, body: Callable[[], None]) -> str:
        w = self.w
        w.start_function()
        body()
        head = f"define void @{self.name}_{kind}(ptr %ws, ptr %scratch, ptr %k{arguments}) {{"
        return "\n".join([head, "entry:", *w.lines, "  ret void", "}", ""])

    def _rows(self) -> None:
        w, view, site = self.w, self.rules[0], self.life.sites[0]
        with w.loop("%count") as k:
            i = w.value(f"add i64 {k}, %first")
            post = None
            if self.is_fused:
                post = self._unit_values(view, Level.POST, i, 1, {}, Section.POST)
            row = self.row_pointer(site.matrix.start, i, site.matrix.n_in)
            RowRule(self, 0, {}, i, row, post, {}).write()

    def _units(self) -> None:
        view, matrix = self.rules[0], self.life.sites[0].matrix
        sizes = {Level.PRE: (Section.PRE, matrix.n_in), Level.POST: (Section.POST, matrix.n_out)}
        for level in self._levels:
            section, n = sizes[level]
            self._write_units(view, 0, level, section, n, {})

    def projected(
        self, number: int, new: Value, i: Value, offset: Value | int, width: int, count: int
    ) -> Value:
        """Leave the check and the clip to the shared part."""
        return new
