"""Mean outer products of a minibatch: one blocked kernel, the same in every CPU tier.

Each number is sum over examples of y_i x_j, added up in their order from +0 and divided by their
count. Sixteen vectors of sums stay in registers while all examples pass.
"""

from __future__ import annotations

from functools import lru_cache

import llvmlite.binding as llvm
import numpy as np

from evosearch.engine.contract import LANES
from evosearch.engine.native.machine import target_machine
from evosearch.engine.native.text import Value, Writer

ROWS = 4
LEVEL = 2
"""Code generation level: a kernel is compiled once, and lower levels spill its registers."""


@lru_cache(maxsize=2)
def outer_kernel(dtype: np.dtype[np.generic]) -> int:
    """Return the address of ``void f(g, y, x, n_out, n_in, examples)`` for a type of floats.

    ``g`` is n_out x n_in, ``y`` examples x n_out and ``x`` examples x n_in; up to 15 floats are
    read beyond the end of ``x``.

    Raises:
        RuntimeError: LLVM refuses the text.
    """
    module = llvm.parse_assembly(_module(dtype == np.float32))
    engine = llvm.create_mcjit_compiler(module, target_machine(LEVEL))
    engine.finalize_object()
    _engines.append(engine)
    return engine.get_function_address("outer")


_engines: list[object] = []
"""Owners of the kernels' code, which lives as long as the process."""


def _module(is_single: bool) -> str:
    """Return the kernel: tiles of four rows and four vectors, or of one where those do not fit."""
    vectors = 4 if is_single else 2
    wide, narrow = _Tile(is_single, ROWS, vectors), _Tile(is_single, 1, 1)
    head = (
        "define void @outer(ptr %g, ptr %y, ptr %x, i64 %n_out, i64 %n_in, i64 %examples) {\n"
        "entry:\n"
        f"  %tall = icmp uge i64 %n_out, {ROWS}\n"
        f"  %long = icmp uge i64 %n_in, {vectors * LANES}\n"
        "  %large = and i1 %tall, %long\n"
        "  br i1 %large, label %large_tiles, label %small_tiles\n"
        "large_tiles:\n"
        "  call void @wide(ptr %g, ptr %y, ptr %x, i64 %n_out, i64 %n_in, i64 %examples)\n"
        "  ret void\n"
        "small_tiles:\n"
        "  call void @narrow(ptr %g, ptr %y, ptr %x, i64 %n_out, i64 %n_in, i64 %examples)\n"
        "  ret void\n}"
    )
    parts = [wide.write("wide"), narrow.write("narrow"), head]
    return "\n".join([*sorted(wide.w.declarations | narrow.w.declarations), *parts])


class _Tile:
    """Writes a function that covers the matrix with tiles; the last ones overlap others."""

    def __init__(self, is_single: bool, rows: int, vectors: int) -> None:
        self.w = Writer(is_single)
        self._rows, self._vectors = rows, vectors
        self._columns = vectors * LANES

    def write(self, name: str) -> str:
        """Return the function's IR."""
        w = self.w
        count = "uitofp i64 %examples to " + w.real
        head = [
            f"define internal void @{name}(ptr %g, ptr %y, ptr %x, i64 %n_out, i64 %n_in, "
            "i64 %examples) {",
            "entry:",
            f"  %last_row = sub i64 %n_out, {self._rows}",
            f"  %last_column = sub i64 %n_in, {self._columns}",
            f"  %count = {count}",
            "  br label %columns",
        ]
        w.start_block("columns")
        w.line("%j0 = phi i64 [0, %entry], [%j1, %columns_end]")
        j = self._tile_start("%j0", "%last_column") if self._vectors > 1 else "%j0"
        w.line("br label %rows")
        w.start_block("rows")
        w.line("%i0 = phi i64 [0, %columns], [%i1, %rows_end]")
        i = self._tile_start("%i0", "%last_row")
        sums = self._sums(i, j)
        self._store(sums, i, j)
        for index, step, limit, block in (
            ("i", self._rows, "%n_out", "rows"), ("j", self._columns, "%n_in", "columns"),
        ):  # fmt: skip
            w.line(f"br label %{block}_end")
            w.start_block(f"{block}_end")
            w.line(f"%{index}1 = add i64 %{index}0, {step}")
            w.line(f"%{index}_more = icmp ult i64 %{index}1, {limit}")
            w.line(f"br i1 %{index}_more, label %{block}, label %{block}_done")
            w.start_block(f"{block}_done")
        return "\n".join([*head, *w.lines, "  ret void", "}"])

    def _tile_start(self, wanted: Value, last: Value) -> Value:
        """Return where a tile begins so that it ends within the matrix."""
        is_over = self.w.value(f"icmp ugt i64 {wanted}, {last}")
        return self.w.value(f"select i1 {is_over}, i64 {last}, i64 {wanted}")

    def _sums(self, i: Value, j: Value) -> list[Value]:
        """Write the loop over examples; return the means, row by row."""
        w, o, kind = self.w, self.w.arithmetic(LANES), self.w.type(LANES)
        n = self._rows * self._vectors
        w.line("br label %examples_loop")
        w.start_block("examples_loop")
        w.line("%b = phi i64 [0, %rows], [%b1, %examples_loop]")
        for k in range(n):
            w.line(f"%s{k} = phi {kind} [zeroinitializer, %rows], [%t{k}, %examples_loop]")
        x = w.pointer(w.pointer("%x", j), w.value("mul i64 %b, %n_in"))
        y = w.pointer(w.pointer("%y", i), w.value("mul i64 %b, %n_out"))
        inputs = [w.load(w.pointer(x, v * LANES), LANES) for v in range(self._vectors)]
        for r in range(self._rows):
            factor = w.splat(w.load(w.pointer(y, r)), LANES)
            for v, value in enumerate(inputs):
                k = r * self._vectors + v
                w.line(f"%t{k} = fadd {kind} %s{k}, {o.mul(factor, value)}")
        w.line("%b1 = add i64 %b, 1")
        w.line("%b_more = icmp ult i64 %b1, %examples")
        w.line("br i1 %b_more, label %examples_loop, label %examples_done")
        w.start_block("examples_done")
        count = w.splat("%count", LANES)
        return [o.div(f"%t{k}", count) for k in range(n)]

    def _store(self, means: list[Value], i: Value, j: Value) -> None:
        w = self.w
        for r in range(self._rows):
            row = w.value(f"mul i64 {w.value(f'add i64 {i}, {r}')}, %n_in")
            base = w.pointer(w.pointer("%g", row), j)
            for v in range(self._vectors):
                mean = means[r * self._vectors + v]
                place = w.pointer(base, v * LANES)
                if self._vectors > 1:
                    w.store(mean, place, LANES)
                else:
                    self._store_within(mean, place, j)

    def _store_within(self, value: Value, place: Value, j: Value) -> None:
        """Write the lanes that lie within the row."""
        w = self.w
        left = w.value(f"sub i64 %n_in, {j}")
        first = w.value(f"insertelement <{LANES} x i64> poison, i64 {left}, i32 0")
        limit = w.value(
            f"shufflevector <{LANES} x i64> {first}, <{LANES} x i64> poison, "
            f"<{LANES} x i32> zeroinitializer"
        )
        lanes = ", ".join(f"i64 {k}" for k in range(LANES))
        mask = w.value(f"icmp ult <{LANES} x i64> <{lanes}>, {limit}")
        w.store_masked(value, place, LANES, mask)
