"""Products of matrices in tiles: three blocked kernels, the same in every CPU tier.

Each keeps a tile of sums in registers and writes the numbers that the numerics contract names:
``outer`` adds examples up in their order; ``product`` and ``transposed`` add in 16 lanes.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from functools import lru_cache

import llvmlite.binding as llvm
import numpy as np

from evosearch.engine.contract import LANES
from evosearch.engine.native.machine import target_machine
from evosearch.engine.native.text import Value, Writer

LEVEL = 2
"""Code generation level: a kernel is compiled once, and lower levels spill its registers."""

KERNELS = ("outer", "product", "transposed")


@lru_cache(maxsize=2)
def addresses(dtype: np.dtype[np.generic]) -> tuple[int, int, int]:
    """Return the addresses of the three kernels for a type of floats.

    All are ``void f(target, a, b, n_out, n_in, examples)``; up to 15 floats are read beyond the
    end of operands:

    - ``outer``: g (n_out, n_in) = mean over examples of y (examples, n_out) times x.
    - ``product``: y (examples, n_out) = x (examples, n_in) times the transpose of w (n_out, n_in);
      operands w, x.
    - ``transposed``: x (examples, n_in) = y (examples, n_out) times w (n_out, n_in); operands w, y.

    A target lies apart from its operands.

    Raises:
        RuntimeError: LLVM refuses the text.
    """
    from evosearch.engine.native.outer import outer_text
    from evosearch.engine.native.products import product_text, transposed_text

    is_single = dtype == np.float32
    functions = []
    for name, text in zip(KERNELS, (outer_text, product_text, transposed_text), strict=True):
        module = llvm.parse_assembly(text(is_single))
        engine = llvm.create_mcjit_compiler(module, target_machine(LEVEL))
        engine.finalize_object()
        _engines.append(engine)
        functions.append(engine.get_function_address(name))
    outer, product, transposed = functions
    return outer, product, transposed


_engines: list[object] = []
"""Owners of the kernels' code, which lives as long as the process."""

ARGUMENTS = "ptr %target, ptr %a, ptr %b, i64 %n_out, i64 %n_in, i64 %examples"


def choice(name: str, large: Tile, small: Tile, conditions: tuple[tuple[str, int], ...]) -> str:
    """Return the text of a kernel that takes large tiles where they fit.

    Args:
        name: of the kernel.
        large: tiles that need a least size.
        small: tiles for all others.
        conditions: arguments and their least values.
    """
    checks = [f"  %c{k} = icmp uge i64 {size}, {least}" for k, (size, least) in
              enumerate(conditions)]  # fmt: skip
    both = [
        f"  %a{k} = and i1 %{f'a{k - 1}' if k else 'c0'}, %c{k}" for k in range(len(conditions))
    ]
    head = "\n".join([
        f"define void @{name}({ARGUMENTS}) {{", "entry:", *checks, *both,
        f"  br i1 %a{len(conditions) - 1}, label %wide, label %narrow",
        "wide:", f"  call void @wide({ARGUMENTS})", "  ret void",
        "narrow:", f"  call void @narrow({ARGUMENTS})", "  ret void", "}",
    ])  # fmt: skip
    parts = [large.write("wide"), small.write("narrow"), head]
    return "\n".join([*sorted(large.w.declarations | small.w.declarations), *parts])


class Tile(ABC):
    """Writes a function that covers a matrix of numbers with tiles.

    Args:
        is_single: float32 or float64.
        outer: argument that limits the outer loop, its step, and whether the last tile overlaps
            others so that it ends within the limit.
        inner: the same of the inner loop.
    """

    def __init__(
        self, is_single: bool, outer: tuple[str, int, bool], inner: tuple[str, int, bool]
    ) -> None:
        self.w = Writer(is_single)
        self._loops = {"outer": outer, "inner": inner}

    def write(self, name: str) -> str:
        """Return the function's IR."""
        w = self.w
        head = [f"define internal void @{name}({ARGUMENTS}) {{", "entry:"]
        self.entry()
        for loop, (limit, step, _) in self._loops.items():
            w.line(f"%{loop}_last = sub i64 {limit}, {step}")
        w.line("br label %outer")
        j = self._begin("outer", "entry")
        w.line("br label %inner")
        i = self._begin("inner", "outer")
        self.body(j, i)
        self._end("inner")
        self._end("outer")
        return "\n".join([*head, *w.lines, "  ret void", "}"])

    def entry(self) -> None:  # noqa: B027
        """Write what stands before the loops."""

    @abstractmethod
    def body(self, outer: Value, inner: Value) -> None:
        """Write one tile that starts at these places of the two loops."""

    def _begin(self, loop: str, before: str) -> Value:
        """Begin a loop; return where the tile starts."""
        w = self.w
        w.start_block(loop)
        w.line(f"%{loop}_k = phi i64 [0, %{before}], [%{loop}_n, %{loop}_end]")
        if not self._loops[loop][2]:
            return f"%{loop}_k"
        is_over = w.value(f"icmp ugt i64 %{loop}_k, %{loop}_last")
        return w.value(f"select i1 {is_over}, i64 %{loop}_last, i64 %{loop}_k")

    def _end(self, loop: str) -> None:
        w, (limit, step, _) = self.w, self._loops[loop]
        w.line(f"br label %{loop}_end")
        w.start_block(f"{loop}_end")
        w.line(f"%{loop}_n = add i64 %{loop}_k, {step}")
        w.line(f"%{loop}_more = icmp ult i64 %{loop}_n, {limit}")
        w.line(f"br i1 %{loop}_more, label %{loop}, label %{loop}_done")
        w.start_block(f"{loop}_done")

    def address(self, base: Value, row: Value, length: Value, column: Value = "0") -> Value:
        """Return the address of a number of a matrix with rows of ``length``."""
        w = self.w
        start = w.value(f"mul i64 {row}, {length}")
        return w.pointer(w.pointer(base, start), column)

    def plus(self, index: Value, k: int) -> Value:
        """Return index + k."""
        return index if k == 0 else self.w.value(f"add i64 {index}, {k}")

    def store_within(self, value: Value, place: Value, width: int, left: Value) -> None:
        """Write the floats of a vector that come before ``left``."""
        self.w.store_masked(value, place, width, self.mask(width, left))

    def mask(self, width: int, left: Value) -> Value:
        """Return which lanes come before ``left``."""
        w = self.w
        first = w.value(f"insertelement <{width} x i64> poison, i64 {left}, i32 0")
        limit = w.value(
            f"shufflevector <{width} x i64> {first}, <{width} x i64> poison, "
            f"<{width} x i32> zeroinitializer"
        )
        lanes = ", ".join(f"i64 {k}" for k in range(width))
        return w.value(f"icmp ult <{width} x i64> <{lanes}>, {limit}")


def fold(w: Writer, total: Value) -> Value:
    """Add lanes k + 8 to k, then k + 4, k + 2, k + 1."""
    width = LANES
    while width > 2:
        half = width // 2
        low, high = w.part(total, width, 0, half), w.part(total, width, half, half)
        total = w.arithmetic(half).add(low, high)
        width = half
    pair = [w.value(f"extractelement {w.type(2)} {total}, i32 {k}") for k in (0, 1)]
    return w.arithmetic(1).add(*pair)


def fold_together(w: Writer, totals: list[Value]) -> Value:
    """Fold the lanes of several rows, each as :func:`fold` does; return one lane a row."""
    width, rows = LANES, 1
    while width > 1:
        half, size = width // 2, rows * width
        starts = list(range(0, size, width))
        if len(totals) == 1:
            pairs = [(totals[0], totals[0])]
        else:
            # Two vectors of ``rows`` rows become one of twice as many.
            pairs = list(zip(totals[::2], totals[1::2], strict=True))
            starts += [size + start for start in starts]
        low = [start + k for start in starts for k in range(half)]
        high = [k + half for k in low]
        o = w.arithmetic(len(low))
        totals = [o.add(w.shuffle(a, b, size, low), w.shuffle(a, b, size, high)) for a, b in pairs]
        width, rows = half, len(starts)
    return totals[0]
