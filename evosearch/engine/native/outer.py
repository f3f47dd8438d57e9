"""Mean outer products of a minibatch: examples pass while a tile of sums stays in registers.

Each number is sum over examples of y_i x_j, added up in their order from +0 and divided by their
count.
"""

from __future__ import annotations

from evosearch.engine.contract import LANES
from evosearch.engine.native.text import Value
from evosearch.engine.native.tiles import Tile, choice

ROWS = 4


def outer_text(is_single: bool) -> str:
    """Return the kernel: tiles of four rows and four vectors, or of one where those do not fit."""
    vectors = 4 if is_single else 2
    wide, narrow = _Outer(is_single, ROWS, vectors), _Outer(is_single, 1, 1)
    return choice("outer", wide, narrow, (("%n_out", ROWS), ("%n_in", vectors * LANES)))


class _Outer(Tile):
    """Rows times vectors of the target; operands are y in ``a`` and x in ``b``."""

    def __init__(self, is_single: bool, rows: int, vectors: int) -> None:
        is_large = vectors > 1
        super().__init__(
            is_single, ("%n_in", vectors * LANES, is_large), ("%n_out", rows, is_large)
        )
        self._rows, self._vectors = rows, vectors

    def body(self, outer: Value, inner: Value) -> None:
        """Write one tile of means."""
        means = self._means(inner, outer)
        w = self.w
        for r in range(self._rows):
            base = self.address("%target", self.plus(inner, r), "%n_in", outer)
            for v in range(self._vectors):
                mean = means[r * self._vectors + v]
                place = w.pointer(base, v * LANES)
                if self._vectors > 1:
                    w.store(mean, place, LANES)
                else:
                    left = w.value(f"sub i64 %n_in, {outer}")
                    self.store_within(mean, place, LANES, left)

    def _means(self, i: Value, j: Value) -> list[Value]:
        """Write the loop over examples; return the means, row by row."""
        w, o, kind = self.w, self.w.arithmetic(LANES), self.w.type(LANES)
        n = self._rows * self._vectors
        w.line("br label %examples_loop")
        w.start_block("examples_loop")
        w.line("%e = phi i64 [0, %inner], [%e1, %examples_loop]")
        for k in range(n):
            w.line(f"%s{k} = phi {kind} [zeroinitializer, %inner], [%t{k}, %examples_loop]")
        x = self.address("%b", "%e", "%n_in", j)
        y = self.address("%a", "%e", "%n_out", i)
        inputs = [w.load(w.pointer(x, v * LANES), LANES) for v in range(self._vectors)]
        for r in range(self._rows):
            factor = w.splat(w.load(w.pointer(y, r)), LANES)
            for v, value in enumerate(inputs):
                k = r * self._vectors + v
                w.line(f"%t{k} = fadd {kind} %s{k}, {o.mul(factor, value)}")
        w.line("%e1 = add i64 %e, 1")
        w.line("%e_more = icmp ult i64 %e1, %examples")
        w.line("br i1 %e_more, label %examples_loop, label %examples_done")
        w.start_block("examples_done")
        count = w.splat(w.value(f"uitofp i64 %examples to {w.real}"), LANES)
        return [o.div(f"%t{k}", count) for k in range(n)]
