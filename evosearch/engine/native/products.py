"""Products of a matrix with the vectors of a minibatch, in the contract's 16 lanes."""

from __future__ import annotations

from evosearch.engine.contract import LANES
from evosearch.engine.native.text import Value
from evosearch.engine.native.tiles import Tile, choice, fold, fold_together

ROWS = 4
EXAMPLES = 4


def product_text(is_single: bool) -> str:
    """Return the kernel of y = w x: tiles of rows and examples, or single numbers."""
    together = 4 if is_single else 2
    wide, narrow = _Product(is_single, ROWS, together), _Product(is_single, 1, 1)
    return choice("product", wide, narrow, (("%n_out", ROWS), ("%examples", together)))


def transposed_text(is_single: bool) -> str:
    """Return the kernel of x = transpose of w times y: tiles, or one vector of one example."""
    width, vectors = LANES if is_single else LANES // 2, 4
    wide, narrow = _TransposedTile(is_single, width, vectors), _Transposed(is_single, width)
    # Fewer rows than lanes leave tiles half empty.
    least = (("%n_in", vectors * width), ("%examples", EXAMPLES), ("%n_out", LANES))
    return choice("transposed", wide, narrow, least)


class _Product(Tile):
    """Rows times examples; operands are w in ``a`` and x in ``b``.

    Each number has a vector of 16 sums; a tile's are folded together.
    """

    def __init__(self, is_single: bool, rows: int, together: int) -> None:
        is_large = rows > 1
        super().__init__(is_single, ("%n_out", rows, is_large), ("%examples", together, is_large))
        self._rows, self._together = rows, together

    def body(self, outer: Value, inner: Value) -> None:
        """Write one tile of dot products."""
        w, rows = self.w, self._rows
        weights = [self.address("%a", self.plus(outer, r), "%n_in") for r in range(rows)]
        sources = [self.address("%b", self.plus(inner, e), "%n_in") for e in range(self._together)]
        whole = w.value(f"and i64 %n_in, {-LANES}")
        totals = self._rest(weights, sources, whole, self._whole(weights, sources, whole))
        targets = [
            self.address("%target", self.plus(inner, e), "%n_out", outer)
            for e in range(self._together)
        ]
        if rows == 1:
            w.store(fold(w, totals[0]), targets[0])
            return
        folded = fold_together(w, totals)
        for e, target in enumerate(targets):
            w.store(w.part(folded, len(totals), e * rows, rows), target, rows)

    def _whole(self, weights: list[Value], sources: list[Value], whole: Value) -> list[Value]:
        """Write the loop over whole vectors; return the sums, example by example."""
        w, kind, before = self.w, self.w.type(LANES), self.w.block
        n = len(weights) * len(sources)
        has_whole = w.value(f"icmp ne i64 {whole}, 0")
        w.line(f"br i1 {has_whole}, label %whole, label %whole_done")
        w.start_block("whole")
        w.line(f"%j = phi i64 [0, %{before}], [%j1, %whole]")
        for k in range(n):
            w.line(f"%s{k} = phi {kind} [zeroinitializer, %{before}], [%t{k}, %whole]")
        rows = [w.load(w.pointer(row, "%j"), LANES) for row in weights]
        for e, source in enumerate(sources):
            x = w.load(w.pointer(source, "%j"), LANES)
            for r, row in enumerate(rows):
                k = e * len(weights) + r
                w.line(f"%t{k} = fadd {kind} %s{k}, {w.arithmetic(LANES).mul(row, x)}")
        w.line(f"%j1 = add i64 %j, {LANES}")
        w.line(f"%j_more = icmp ult i64 %j1, {whole}")
        w.line("br i1 %j_more, label %whole, label %whole_done")
        w.start_block("whole_done")
        return [
            w.value(f"phi {kind} [zeroinitializer, %{before}], [%t{k}, %whole]") for k in range(n)
        ]

    def _rest(
        self, weights: list[Value], sources: list[Value], whole: Value, totals: list[Value]
    ) -> list[Value]:
        """Add the numbers that fill no vector; the lanes beyond them add nothing."""
        w, o, kind = self.w, self.w.arithmetic(LANES), self.w.type(LANES)
        rest = w.value(f"sub i64 %n_in, {whole}")
        w.line(f"br i1 {w.value(f'icmp ne i64 {rest}, 0')}, label %rest, label %rest_done")
        w.start_block("rest")
        mask = self.mask(LANES, rest)
        rows = [w.load(w.pointer(row, whole), LANES) for row in weights]
        added = []
        for e, source in enumerate(sources):
            x = w.load(w.pointer(source, whole), LANES)
            for r, row in enumerate(rows):
                product = o.select(mask, o.mul(row, x), o.real(0.0))
                added.append(o.add(totals[e * len(weights) + r], product))
        w.line("br label %rest_done")
        w.start_block("rest_done")
        return [
            w.value(f"phi {kind} [{total}, %whole_done], [{more}, %rest]")
            for total, more in zip(totals, added, strict=True)
        ]


class _Transposed(Tile):
    """One vector of one example, which has 16 vectors of sums; operands are w and y."""

    def __init__(self, is_single: bool, width: int) -> None:
        super().__init__(is_single, ("%n_in", width, False), ("%examples", 1, False))
        self._width = width

    def body(self, outer: Value, inner: Value) -> None:
        """Write the sums over rows, and fold them."""
        w, o = self.w, self.w.arithmetic(self._width)
        source = self.address("%b", inner, "%n_out")
        column = w.pointer("%a", outer)
        whole = w.value(f"and i64 %n_out, {-LANES}")
        totals = self._rest(column, source, whole, self._whole(column, source, whole))
        while len(totals) > 1:
            half = len(totals) // 2
            totals = [o.add(a, b) for a, b in zip(totals[:half], totals[half:], strict=True)]
        place = self.address("%target", inner, "%n_in", outer)
        left = w.value(f"sub i64 %n_in, {outer}")
        self.store_within(totals[0], place, self._width, left)

    def _term(self, column: Value, source: Value, row: Value) -> Value:
        """Write one row's weights times its number."""
        w, width = self.w, self._width
        weights = w.load(self.address(column, row, "%n_in"), width)
        return w.arithmetic(width).mul(weights, w.splat(w.load(w.pointer(source, row)), width))

    def _whole(self, column: Value, source: Value, whole: Value) -> list[Value]:
        """Write the loop over sixteen rows at a time; return the sums of each lane."""
        w, kind, before = self.w, self.w.type(self._width), self.w.block
        has_whole = w.value(f"icmp ne i64 {whole}, 0")
        w.line(f"br i1 {has_whole}, label %whole, label %whole_done")
        w.start_block("whole")
        w.line(f"%i = phi i64 [0, %{before}], [%i1, %whole]")
        for k in range(LANES):
            w.line(f"%s{k} = phi {kind} [zeroinitializer, %{before}], [%t{k}, %whole]")
        for k in range(LANES):
            term = self._term(column, source, self.plus("%i", k))
            w.line(f"%t{k} = fadd {kind} %s{k}, {term}")
        w.line(f"%i1 = add i64 %i, {LANES}")
        w.line(f"%i_more = icmp ult i64 %i1, {whole}")
        w.line("br i1 %i_more, label %whole, label %whole_done")
        w.start_block("whole_done")
        return [
            w.value(f"phi {kind} [zeroinitializer, %{before}], [%t{k}, %whole]")
            for k in range(LANES)
        ]

    def _rest(self, column: Value, source: Value, whole: Value, totals: list[Value]) -> list[Value]:
        """Add the rows beyond the last sixteen, one after the other as long as there are any."""
        w, o, kind = self.w, self.w.arithmetic(self._width), self.w.type(self._width)
        found: list[list[tuple[Value, str]]] = [[] for _ in totals]
        now = list(totals)
        for k in range(LANES):
            row = self.plus(whole, k)
            for values, value in zip(found, now, strict=True):
                values.append((value, w.block))
            if k == LANES - 1:
                w.line("br label %rest_done")
                break
            has_row = w.value(f"icmp ult i64 {row}, %n_out")
            w.line(f"br i1 {has_row}, label %rest{k}, label %rest_done")
            w.start_block(f"rest{k}")
            now[k] = o.add(now[k], self._term(column, source, row))
        w.start_block("rest_done")
        return [
            w.value(f"phi {kind} " + ", ".join(f"[{value}, %{block}]" for value, block in values))
            for values in found
        ]


class _TransposedTile(Tile):
    """Examples times vectors: one lane of all sums after the other, kept until they are folded.

    So a tile's sums stay in registers, although each number has 16 of them; operands are w and y.
    """

    def __init__(self, is_single: bool, width: int, vectors: int) -> None:
        super().__init__(is_single, ("%n_in", vectors * width, True), ("%examples", EXAMPLES, True))
        self._width, self._vectors = width, vectors

    def entry(self) -> None:
        """Reserve the place where lanes wait."""
        n = LANES * EXAMPLES * self._vectors * self._width
        self.w.line(f"%lanes = alloca [{n} x {self.w.real}], align 64")

    def body(self, outer: Value, inner: Value) -> None:
        """Write the sums of one tile, and fold them."""
        w, o, width = self.w, self.w.arithmetic(self._width), self._width
        n = EXAMPLES * self._vectors
        self._write_lanes(outer, inner)
        for k in range(n):
            totals = [
                w.load(w.pointer("%lanes", (lane * n + k) * width), width) for lane in range(LANES)
            ]
            while len(totals) > 1:
                half = len(totals) // 2
                totals = [o.add(a, b) for a, b in zip(totals[:half], totals[half:], strict=True)]
            e, v = divmod(k, self._vectors)
            place = self.address("%target", self.plus(inner, e), "%n_in", outer)
            w.store(totals[0], w.pointer(place, v * width), width)

    def _write_lanes(self, outer: Value, inner: Value) -> None:
        """Write the loop over lanes, each a loop over every sixteenth row."""
        w, width = self.w, self._width
        kind, n = w.type(width), EXAMPLES * self._vectors
        columns = w.pointer("%a", outer)
        sources = [self.address("%b", self.plus(inner, e), "%n_out") for e in range(EXAMPLES)]
        before = w.block
        w.line("br label %lane")
        w.start_block("lane")
        w.line(f"%k = phi i64 [0, %{before}], [%k1, %lane_end]")
        w.line("%has_rows = icmp ult i64 %k, %n_out")
        w.line("br i1 %has_rows, label %rows, label %lane_end")
        self._write_rows(columns, sources)
        w.start_block("lane_end")
        for c in range(n):
            w.line(f"%u{c} = phi {kind} [zeroinitializer, %lane], [%t{c}, %rows]")
        place = w.pointer("%lanes", w.value(f"mul i64 %k, {n * width}"))
        for c in range(n):
            w.store(f"%u{c}", w.pointer(place, c * width), width)
        w.line("%k1 = add i64 %k, 1")
        w.line(f"%k_more = icmp ult i64 %k1, {LANES}")
        w.line("br i1 %k_more, label %lane, label %folded")
        w.start_block("folded")

    def _write_rows(self, columns: Value, sources: list[Value]) -> None:
        w, width = self.w, self._width
        kind = w.type(width)
        w.start_block("rows")
        w.line("%i = phi i64 [%k, %lane], [%i1, %rows]")
        for c in range(EXAMPLES * self._vectors):
            w.line(f"%s{c} = phi {kind} [zeroinitializer, %lane], [%t{c}, %rows]")
        row = self.address(columns, "%i", "%n_in")
        weights = [w.load(w.pointer(row, v * width), width) for v in range(self._vectors)]
        for e, source in enumerate(sources):
            factor = w.splat(w.load(w.pointer(source, "%i")), width)
            for v, weight in enumerate(weights):
                c = e * self._vectors + v
                w.line(f"%t{c} = fadd {kind} %s{c}, {w.arithmetic(width).mul(weight, factor)}")
        w.line(f"%i1 = add i64 %i, {LANES}")
        w.line("%i_more = icmp ult i64 %i1, %n_out")
        w.line("br i1 %i_more, label %rows, label %lane_end")
