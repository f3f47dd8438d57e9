"""Write LLVM IR as text: a few lines a value cost far less than objects and passes over them."""

from __future__ import annotations

import struct
from collections.abc import Generator
from contextlib import contextmanager

import numpy as np

from evosearch.engine.formulas import Arithmetic

Value = str
"""The name of an SSA value, or the text of a constant."""


class Writer:
    """The lines of one function; names its values and blocks."""

    def __init__(self, is_single: bool) -> None:
        self.is_single = is_single
        self.real = "float" if is_single else "double"
        self.whole = "i32" if is_single else "i64"
        self.bytes = 4 if is_single else 8
        self.lines: list[str] = []
        self.declarations: set[str] = set()
        self.block = "entry"
        self._n_values = 0
        self._n_loops = 0
        self.at_hand: dict[int, Value] = {}
        """Units of the life whose values are in this block."""
        self._known: dict[tuple[object, ...], Value] = {}

    def start_function(self) -> None:
        """Begin another function: nothing is known in its first block."""
        self.lines, self.block, self._known, self.at_hand = [], "entry", {}, {}

    def value(self, instruction: str) -> Value:
        """Append an instruction that has a value; return its name."""
        self._n_values += 1
        name = f"%v{self._n_values}"
        self.lines.append(f"  {name} = {instruction}")
        return name

    def line(self, instruction: str) -> None:
        """Append an instruction without a value."""
        self.lines.append("  " + instruction)

    def start_block(self, label: str) -> None:
        """Begin a basic block; addresses and splats are made anew in each, cheaper than kept."""
        self.lines.append(f"{label}:")
        self.block = label
        self._known = {}
        self.at_hand = {}

    @contextmanager
    def loop(self, times: int | Value, step: int = 1) -> Generator[Value]:
        """Repeat what is written inside for a counter 0, step, … below ``times``."""
        self._n_loops += 1
        name, before = f"L{self._n_loops}", self.block
        self.line(f"br label %{name}")
        self.start_block(name)
        head = len(self.lines)
        self.line("the counter, once it is known which block the loop ends in")
        yield f"%{name}.i"
        end = self.block
        self.lines[head] = f"  %{name}.i = phi i64 [0, %{before}], [%{name}.n, %{end}]"
        self.line(f"%{name}.n = add i64 %{name}.i, {step}")
        self.line(f"%{name}.c = icmp ult i64 %{name}.n, {times}")
        self.line(f"br i1 %{name}.c, label %{name}, label %{name}.out")
        self.start_block(f"{name}.out")

    def type(self, width: int) -> str:
        """Return the type of ``width`` floats side by side; 1 is a scalar."""
        return self.real if width == 1 else f"<{width} x {self.real}>"

    def pointer(self, base: Value, offset: Value | int) -> Value:
        """Return the address of float number ``offset`` after ``base``."""
        if offset == 0:
            return base
        return self.once(f"getelementptr {self.real}, ptr {base}, i64 {offset}")

    def once(self, instruction: str) -> Value:
        """Return the value of an instruction that gives the same wherever it stands in a block."""
        key = (instruction,)
        if key not in self._known:
            self._known[key] = self.value(instruction)
        return self._known[key]

    def argument(self, base: Value, offset: int, width: int) -> Value:
        """Read a float that never changes during a call, side by side."""
        scalar = self.once(f"load {self.real}, ptr {self.pointer(base, offset)}")
        return self.splat(scalar, width)

    def load(self, pointer: Value, width: int = 1) -> Value:
        """Read floats that stand one after the other."""
        return self.value(f"load {self.type(width)}, ptr {pointer}, align {self.bytes}")

    def store(self, value: Value, pointer: Value, width: int = 1) -> None:
        """Write floats one after the other."""
        self.line(f"store {self.type(width)} {value}, ptr {pointer}, align {self.bytes}")

    def store_first(self, value: Value, pointer: Value, width: int, count: int) -> None:
        """Write only the first ``count`` of ``width`` floats."""
        if count == width:
            self.store(value, pointer, width)
            return
        mask = ", ".join(f"i1 {int(k < count)}" for k in range(width))
        self.store_masked(value, pointer, width, f"<{mask}>")

    def store_masked(self, value: Value, pointer: Value, width: int, mask: Value) -> None:
        """Write the floats whose bit of the mask is set."""
        letter = "f32" if self.is_single else "f64"
        name = f"@llvm.masked.store.v{width}{letter}.p0"
        kind = f"{self.type(width)}"
        self.declarations.add(f"declare void {name}({kind}, ptr, i32, <{width} x i1>)")
        self.line(
            f"call void {name}({kind} {value}, ptr {pointer}, i32 {self.bytes}, "
            f"<{width} x i1> {mask})"
        )

    def splat(self, scalar: Value, width: int) -> Value:
        """Repeat a scalar value side by side."""
        if width == 1:
            return scalar
        key = (scalar, width)
        if key not in self._known:
            kind = self.type(width)
            first = self.value(f"insertelement {kind} poison, {self.real} {scalar}, i32 0")
            self._known[key] = self.value(
                f"shufflevector {kind} {first}, {kind} poison, <{width} x i32> zeroinitializer"
            )
        return self._known[key]

    def part(self, value: Value, width: int, start: int, count: int) -> Value:
        """Return ``count`` neighbours out of ``width``."""
        if count == width:
            return value
        kind = self.type(width)
        chosen = ", ".join(f"i32 {k}" for k in range(start, start + count))
        return self.value(
            f"shufflevector {kind} {value}, {kind} poison, <{count} x i32> <{chosen}>"
        )

    def shuffle(self, a: Value, b: Value, width: int, chosen: list[int]) -> Value:
        """Return chosen floats of two vectors; those of the second count from ``width`` on."""
        kind = self.type(width)
        numbers = ", ".join(f"i32 {k}" for k in chosen)
        return self.value(
            f"shufflevector {kind} {a}, {kind} {b}, <{len(chosen)} x i32> <{numbers}>"
        )

    def copy(self, target: Value, source: Value, count: int) -> None:
        """Copy ``count`` floats between places that do not overlap."""
        self.declarations.add("declare void @llvm.memcpy.p0.p0.i64(ptr, ptr, i64, i1)")
        size = count * self.bytes
        align = f"align {self.bytes}"
        self.line(f"call void @llvm.memcpy.p0.p0.i64(ptr {align} {target}, ptr {align} {source}, "
                  f"i64 {size}, i1 false)")  # fmt: skip

    def arithmetic(self, width: int) -> VectorArithmetic:
        """Return the operations on ``width`` floats side by side."""
        return VectorArithmetic(self, width, self.is_single)


class VectorArithmetic(Arithmetic):
    """Strict IEEE arithmetic on vectors of one width, written as IR."""

    def __init__(self, writer: Writer, width: int, is_single: bool) -> None:
        self._w = writer
        self.width = width
        self.is_single = is_single
        letter = "float" if is_single else "double"
        self._real = letter
        self._whole = "i32" if is_single else "i64"
        self.kind = letter if width == 1 else f"<{width} x {letter}>"
        self._integers = self._whole if width == 1 else f"<{width} x {self._whole}>"
        self._masks = "i1" if width == 1 else f"<{width} x i1>"
        self._suffix = (
            ("f32" if is_single else "f64")
            if width == 1
            else (f"v{width}{'f32' if is_single else 'f64'}")
        )

    def real(self, value: float) -> Value:
        exact = float(np.float32(value)) if self.is_single else float(value)
        text = f"0x{struct.unpack('<Q', struct.pack('<d', exact))[0]:016X}"
        return text if self.width == 1 else f"splat ({self._real} {text})"

    def integer(self, value: int) -> Value:
        return str(value) if self.width == 1 else f"splat ({self._whole} {value})"

    def add(self, a: Value, b: Value) -> Value:
        return self._w.value(f"fadd {self.kind} {a}, {b}")

    def sub(self, a: Value, b: Value) -> Value:
        return self._w.value(f"fsub {self.kind} {a}, {b}")

    def mul(self, a: Value, b: Value) -> Value:
        return self._w.value(f"fmul {self.kind} {a}, {b}")

    def div(self, a: Value, b: Value) -> Value:
        return self._w.value(f"fdiv {self.kind} {a}, {b}")

    def neg(self, a: Value) -> Value:
        return self._w.value(f"fneg {self.kind} {a}")

    def abs(self, a: Value) -> Value:
        return self._call("fabs", a)

    def sqrt(self, a: Value) -> Value:
        return self._call("sqrt", a)

    def less(self, a: Value, b: Value) -> Value:
        return self._w.value(f"fcmp olt {self.kind} {a}, {b}")

    def greater(self, a: Value, b: Value) -> Value:
        return self._w.value(f"fcmp ogt {self.kind} {a}, {b}")

    def equal(self, a: Value, b: Value) -> Value:
        return self._w.value(f"fcmp oeq {self.kind} {a}, {b}")

    def select(self, mask: Value, if_true: Value, if_false: Value) -> Value:
        kind = self.kind
        return self._w.value(f"select {self._masks} {mask}, {kind} {if_true}, {kind} {if_false}")

    def bits(self, a: Value) -> Value:
        return self._w.value(f"bitcast {self.kind} {a} to {self._integers}")

    def from_bits(self, k: Value) -> Value:
        return self._w.value(f"bitcast {self._integers} {k} to {self.kind}")

    def to_real(self, k: Value) -> Value:
        return self._w.value(f"sitofp {self._integers} {k} to {self.kind}")

    def iadd(self, a: Value, b: Value) -> Value:
        return self._w.value(f"add {self._integers} {a}, {b}")

    def isub(self, a: Value, b: Value) -> Value:
        return self._w.value(f"sub {self._integers} {a}, {b}")

    def iand(self, a: Value, b: Value) -> Value:
        return self._w.value(f"and {self._integers} {a}, {b}")

    def shl(self, a: Value, count: int) -> Value:
        return self._w.value(f"shl {self._integers} {a}, {self.integer(count)}")

    def ashr(self, a: Value, count: int) -> Value:
        return self._w.value(f"ashr {self._integers} {a}, {self.integer(count)}")

    def iequal(self, a: Value, b: Value) -> Value:
        return self._w.value(f"icmp eq {self._integers} {a}, {b}")

    def widen(self, a: Value) -> tuple[Arithmetic, Value]:
        wide = VectorArithmetic(self._w, self.width, False)
        return wide, self._w.value(f"fpext {self.kind} {a} to {wide.kind}")

    def narrow(self, a: Value) -> Value:
        wide = "double" if self.width == 1 else f"<{self.width} x double>"
        return self._w.value(f"fptrunc {wide} {a} to {self.kind}")

    def fuzzy(self, a: Value, b: Value, c: Value) -> Value:
        """Return a * b + c, fused or not: only for numbers that never reach a result."""
        return self._call("fmuladd", a, b, c)

    def _call(self, name: str, *operands: Value) -> Value:
        function = f"@llvm.{name}.{self._suffix}"
        kinds = ", ".join([self.kind] * len(operands))
        self._w.declarations.add(f"declare {self.kind} {function}({kinds})")
        typed = ", ".join(f"{self.kind} {operand}" for operand in operands)
        return self._w.value(f"call {self.kind} {function}({typed})")
