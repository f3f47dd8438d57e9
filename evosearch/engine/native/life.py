"""Write the function that lives one life of one rule: what all vector axes share.

The function is ``i32 f(ws, data, tables, index, indices, group, k, eta, bounds, rows, units)`` over
the same flat workspace as the interpreter's; the last two are functions of the rule where its rows
are written apart (:mod:`evosearch.engine.native.shared`), else unused. It returns 0, or 1 where a
weight or activity ceased to be finite, in which case the workspace is worth nothing and the
interpreter starts the life anew.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np

from evosearch.engine import phases as ph
from evosearch.engine.contract import LANES, padded
from evosearch.engine.lifetime import Lifetime
from evosearch.engine.native.program import UnsupportedError, View
from evosearch.engine.native.text import Value, Writer
from evosearch.engine.program import Level, Program

MAX_INSTRUCTIONS = 2_000
"""Longer rules stay with the interpreter: a compiler's time grows faster than their length."""

MAX_ROWS = 256
"""Larger minibatches are loaded by the interpreter: each row is code of its own here."""


class LifeWriter(ABC):
    """Writes one function; subclasses know how units and draws lie in vectors."""

    def __init__(self, life: Lifetime, program: Program, name: str) -> None:
        if len(program.code) > MAX_INSTRUCTIONS:
            raise UnsupportedError("the rule is too long")
        self.life = life
        self.w = Writer(life.dtype == np.float32)
        self.rules = [View.of_rule(program, site) for site in life.sites]
        self.maps = [View.of_map(site) for site in life.maps]
        self.is_clipped = np.isfinite([life.projection.low, life.projection.high]).any()
        self.name = name
        for view, site in zip(self.rules, life.sites, strict=True):
            if any(start == site.matrix.start for start, _ in self.level_outputs(view, *Level)):
                raise UnsupportedError("a state in the place of the weights")
        self._scratch = 0
        self._is_checked = False
        self._counters: list[Value] = []

    @property
    @abstractmethod
    def widest(self) -> int:
        """The widest vector of values that are checked."""

    @property
    def scratch(self) -> int:
        """Floats of scratch memory that the function needs after the buffers."""
        return self._scratch

    def write(self) -> str:
        """Return the function's IR."""
        w = self.w
        self._write_phases(0, len(self.life.phases))
        self.check()
        real = w.real
        head = (
            f"define i32 @{self.name}(ptr noalias %ws, ptr noalias %data, ptr noalias %tables, "
            f"ptr noalias %index, ptr noalias %indices, i64 %group, ptr noalias %k, {real} %eta, "
            f"ptr noalias %bounds, ptr %rows, ptr %units) {{"
        )
        wide, n_units = w.type(self.widest), self.life.n_units * self.life.lanes
        entry = [
            "entry:",
            f"  %bad = alloca {wide}, align 64",
            f"  store {wide} zeroinitializer, ptr %bad, align 64",
            f"  %slot = alloca {w.type(LANES)}, align 64",
            f"  %sum = alloca {wide}, align 64",
            "  %chosen = alloca i64, align 8",
            f"  %scratch = getelementptr {real}, ptr %ws, i64 {n_units}",
        ]
        tail = ["  ret i32 0", "bail:", "  ret i32 1", "}"]
        return "\n".join([head, *entry, *w.lines, *tail])

    def _write_phases(self, first: int, last: int) -> None:
        """Write phases; those between two ends of loops are one segment."""
        pc = first
        while pc < last:
            if self.life.phases[pc, ph.OP] != ph.REPEAT:
                end = pc
                while end < last and self.life.phases[end, ph.OP] != ph.REPEAT:
                    end += 1
                self.write_segment(pc, end)
                pc = end
                continue
            end = self._end_of(pc)
            with self.w.loop(int(self.life.phases[pc, ph.A])) as counter:
                self._counters.append(counter)
                self._write_phases(pc + 1, end)
                self._counters.pop()
            pc = end + 1

    def write_segment(self, first: int, last: int) -> None:
        """Write phases that follow each other without a loop."""
        pc = first
        while pc < last:
            n_fused = self.fuse(pc, last) if self.life.phases[pc, ph.OP] == ph.MATVEC else 0
            if not n_fused:
                self._write_phase(pc)
            pc += max(n_fused, 1)

    def _write_phase(self, pc: int) -> None:
        op, a, b, c, d, e, f = (int(k) for k in self.life.phases[pc, : ph.ROW])
        if op == ph.LOAD:
            if e > MAX_ROWS:
                raise UnsupportedError("the minibatch is too large")
            row = self._row(pc)
            for k in range(e):
                here = row if k == 0 else self.w.value(f"add i64 {row}, {k}")
                self.write_load(a + k * b, b, c, d, here)
        elif op == ph.MATVEC:
            self.write_matvec(a, b, c, d, e, f)
        elif op == ph.MATVEC_T:
            self.write_matvec_t(a, b, c, d, e, f)
        elif op == ph.OUTER:
            self.write_outer(a, b, c, d, e, f)
        elif op == ph.BIAS:
            self.write_bias(a, b, d, f)
        elif op == ph.MAP:
            self.write_map(self.maps[a], self.life.maps[a].target.start, c)
        elif op == ph.RULE:
            self.write_rule(a)
        elif op == ph.ARGMAX:
            self.write_argmax(a, b, c)
        elif op == ph.REDUCE:
            self.write_reduce(a, b, c, d)
        else:
            raise UnsupportedError(f"phase {op}")

    def _end_of(self, start: int) -> int:
        """Return the end of the loop that starts at a phase."""
        depth = 0
        for pc in range(start, len(self.life.phases)):
            op = self.life.phases[pc, ph.OP]
            depth += int(op == ph.REPEAT) - int(op == ph.REPEAT_END)
            if depth == 0:
                return pc
        raise AssertionError("loops are closed by the builder")

    def _row(self, pc: int) -> Value:
        """Write constant + sum of coefficient * loop counter."""
        row = self.life.phases[pc, ph.ROW :]
        total: Value = str(int(row[0]))
        for counter, coefficient in zip(self._counters, row[1:], strict=False):
            if coefficient:
                term = counter
                if coefficient != 1:
                    term = self.w.value(f"mul i64 {counter}, {int(coefficient)}")
                total = self.w.value(f"add i64 {total}, {term}")
        return total

    def table_field(self, table: int, field: int) -> Value:
        """Read one entry of the table of tables, which depends on the draws of a call."""
        w = self.w
        place = w.value(f"getelementptr i64, ptr %tables, i64 {4 * table + field}")
        return w.value(f"load i64, ptr {place}")

    def chosen_row(self, chooser: int, row: Value) -> Value:
        """Read a row number from an index that all draws of a group share."""
        w = self.w
        is_shared = self.life.is_shared_index[chooser]
        length = self.life.indices[chooser].shape[-1]
        place = w.value(f"getelementptr i64, ptr %indices, i64 {3 * chooser}")
        first = w.value(f"load i64, ptr {place}")
        if not is_shared:
            offset = w.value(f"mul i64 %group, {length}")
            first = w.value(f"add i64 {first}, {offset}")
        number = w.value(f"add i64 {first}, {row}")
        place = w.value(f"getelementptr i32, ptr %index, i64 {number}")
        return w.value(f"sext i32 {w.value(f'load i32, ptr {place}')} to i64")

    def reserve(self, count: int) -> int:
        """Return the offset of new scratch memory, in whole vectors."""
        start = self._scratch
        self._scratch += padded(count)
        return start

    def note(self, value: Value, width: int, count: int) -> None:
        """Remember for good whether some of the values were not finite: x * 0 is 0 or NaN."""
        w = self.w
        o = w.arithmetic(width)
        value = self.masked(value, width, count)
        w.store(o.fuzzy(value, o.real(0.0), w.load("%bad", width)), "%bad", width)
        self._is_checked = False

    def masked(self, value: Value, width: int, count: int) -> Value:
        """Return the value with +0 in the lanes from ``count`` on."""
        if count == width:
            return value
        w = self.w
        mask = ", ".join(f"i1 {int(k < count)}" for k in range(width))
        kind = w.type(width)
        return w.value(f"select <{width} x i1> <{mask}>, {kind} {value}, {kind} zeroinitializer")

    def check(self) -> None:
        """Leave if anything was not finite."""
        if self._is_checked:
            return
        self._is_checked = True
        w, n = self.w, self.widest
        bad = w.load("%bad", n)
        mask = w.value(f"fcmp uno {w.type(n)} {bad}, zeroinitializer")
        bits = w.value(f"bitcast <{n} x i1> {mask} to i{n}")
        is_bad = w.value(f"icmp ne i{n} {bits}, 0")
        label = f"ok{len(w.lines)}"
        w.line(f"br i1 {is_bad}, label %bail, label %{label}")
        w.start_block(label)

    def updated(self, weight: Value, rule: Value, width: int, is_increment: bool) -> Value:
        """Return weight + eta * rule, or the rule's value."""
        if not is_increment:
            return rule
        o = self.w.arithmetic(width)
        return o.add(weight, o.mul(self.w.splat("%eta", width), rule))

    def clipped(self, value: Value, width: int) -> Value:
        """Return the value within the clip."""
        if not self.is_clipped:
            return value
        w = self.w
        o = w.arithmetic(width)
        high, low = w.argument("%bounds", 1, width), w.argument("%bounds", 0, width)
        value = o.select(o.greater(value, high), high, value)
        return o.select(o.less(value, low), low, value)

    def keep_sign(self, value: Value, birth: Value, width: int) -> Value:
        """Return 0 for a weight whose sign is not that of its birth."""
        o = self.w.arithmetic(width)
        zero = o.real(0.0)
        return o.select(o.less(o.mul(value, birth), zero), zero, value)

    @staticmethod
    def level_outputs(view: View, *levels: Level) -> list[tuple[int, int]]:
        """Return (start of the target, register) of the states at some levels."""
        outputs = []
        for output in view.program.outputs[1:]:
            target = view.program.terminals.index(output.target)
            if view.levels[target] in levels:
                outputs.append((view.starts[target], output.register))
        return outputs

    def fuse(self, pc: int, last: int) -> int:
        """Write several phases at once that start with a product; return how many, or 0."""
        return 0

    @abstractmethod
    def write_load(self, target: int, n: int, table: int, chooser: int, row: Value) -> None:
        """Copy a row of a table into a buffer."""

    @abstractmethod
    def write_matvec(
        self, y: int, matrix: int, x: int, n_out: int, n_in: int, examples: int
    ) -> None:
        """y_i = sum over j of w_ij x_j, for each example."""

    @abstractmethod
    def write_matvec_t(
        self, x: int, matrix: int, y: int, n_out: int, n_in: int, examples: int
    ) -> None:
        """x_j = sum over i of w_ij y_i, for each example."""

    def write_outer(self, g: int, y: int, x: int, n_out: int, n_in: int, examples: int) -> None:
        """g_ij = mean over examples of y_i x_j."""
        raise UnsupportedError("minibatches over draws side by side")

    @abstractmethod
    def write_bias(self, target: int, bias: int, n: int, examples: int) -> None:
        """Add n numbers to those of each example."""

    @abstractmethod
    def write_map(self, view: View, target: int, n: int) -> None:
        """Run an elementwise expression over n units."""

    @abstractmethod
    def write_rule(self, number: int) -> None:
        """Apply the rule at a site."""

    @abstractmethod
    def write_argmax(self, target: int, source: int, n: int) -> None:
        """Write 1 at the first greatest of n units, 0 elsewhere."""

    @abstractmethod
    def write_reduce(self, target: int, source: int, n: int, kind: int) -> None:
        """Reduce n units to one number."""
