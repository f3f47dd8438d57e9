"""Describe the life of one network, once; every back end lives it.

A task builds a life with a :class:`LifetimeBuilder`: named buffers, phases that work on them,
and loops that nest. It emits phases and never loops over time, draws or candidates itself.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from evosearch.engine import phases as ph
from evosearch.engine.contract import BLOCK, LANES, padded
from evosearch.engine.program import Level, Program, Terminal
from evosearch.errors import InputError
from evosearch.rules.lower import lower
from evosearch.rules.rule import Rule

MAX_SIDE_BY_SIDE_INPUTS = 15
"""Up to this many inputs a row does not fill a vector, and draws stand side by side instead."""


MAX_DRAWN_AHEAD = 2**22
"""Random numbers of one life, all draws together, that are kept in memory as a table."""


@dataclass(frozen=True)
class Buffer:
    """A named array of one network: ``n_out * n_in`` numbers, row by row, for each example."""

    name: str
    start: int
    n_out: int
    n_in: int
    level: Level
    examples: int = 1

    @property
    def size(self) -> int:
        """Numbers that the buffer holds."""
        return self.examples * self.each

    @property
    def each(self) -> int:
        """Numbers of one example."""
        return self.n_out * self.n_in


@dataclass(frozen=True)
class Table:
    """Data of a life: (rows, n) shared by all draws, or (D, rows, n)."""

    number: int
    rows: int
    n: int
    is_shared: bool


@dataclass(frozen=True)
class Row:
    """A row number: a constant plus a coefficient for each enclosing loop."""

    constant: int = 0
    coefficients: tuple[int, ...] = (0,) * ph.MAX_DEPTH

    def __add__(self, other: Row | int) -> Row:
        other = other if isinstance(other, Row) else Row(other)
        pairs = zip(self.coefficients, other.coefficients, strict=True)
        return Row(self.constant + other.constant, tuple(a + b for a, b in pairs))

    __radd__ = __add__

    def __mul__(self, factor: int) -> Row:
        return Row(self.constant * factor, tuple(c * factor for c in self.coefficients))

    __rmul__ = __mul__


RowLike: TypeAlias = Row | int


@dataclass(frozen=True)
class Projection:
    """What keeps weights within limits after each application of the rule.

    Attributes:
        low: least weight.
        high: greatest weight.
        is_zero_diagonal: whether a unit has no synapse with itself.
        row_norm: Euclidean length of each post unit's weights, or None.
        keeps_sign: whether a weight that crosses zero stays there, by its sign at birth.
    """

    low: float = -np.inf
    high: float = np.inf
    is_zero_diagonal: bool = False
    row_norm: float | None = None
    keeps_sign: bool = False

    @property
    def has_norm(self) -> bool:
        """Whether rows are given a length."""
        return self.row_norm is not None and self.row_norm > 0

    def __post_init__(self) -> None:
        if not self.low < self.high:
            raise InputError(f"the clip's low end {self.low} must lie below its high {self.high}.")


@dataclass(frozen=True)
class RuleSite:
    """One place where the candidate's rule works: a matrix and what its terminals read."""

    matrix: Buffer
    birth: Buffer
    terminals: Mapping[str, Buffer]

    @property
    def examples(self) -> int:
        """Examples of a minibatch, over which the rule is averaged; 1 for none."""
        return max(buffer.examples for buffer in self.terminals.values())


@dataclass(frozen=True)
class MapSite:
    """One elementwise expression over buffers; ``program`` is lowered with these operands."""

    text: str
    program: Program
    operands: tuple[Buffer, ...]
    target: Buffer


@dataclass(frozen=True)
class Inherited:
    """A buffer that begins at genes of the candidate: (size,) numbers of the genes."""

    buffer: Buffer
    genes: NDArray[np.int64]


@dataclass(frozen=True)
class Lifetime:
    """A built life: phases, buffers and the data of all D draws.

    ``is_lowered`` says whether means over minibatches may be matrix products.
    """

    phases: NDArray[np.int64]
    n_units: int
    sites: tuple[RuleSite, ...]
    maps: tuple[MapSite, ...]
    births: NDArray[np.int64]
    inherited: tuple[Inherited, ...]
    tables: tuple[NDArray[Any], ...]
    is_shared_table: tuple[bool, ...]
    indices: tuple[NDArray[np.int32], ...]
    is_shared_index: tuple[bool, ...]
    outputs: tuple[Buffer, ...]
    projection: Projection
    dtype: np.dtype[Any]
    draw_keys: NDArray[np.uint32]
    is_lowered: bool = True
    cache: dict[Any, Any] = field(default_factory=dict, init=False, compare=False, repr=False)

    @cached_property
    def n_rule_applications(self) -> int:
        """How often the rule is applied, all sites together, in a life that stays finite."""
        return ph.applications(self.phases)

    @cached_property
    def n_genes(self) -> int:
        """Genes that a candidate must have."""
        return max((int(each.genes.max()) for each in self.inherited), default=-1) + 1

    @cached_property
    def gene_units(self) -> NDArray[np.int64]:
        """Which unit begins at which gene, (k, 2)."""
        pairs = [
            np.stack([each.buffer.start + np.arange(each.buffer.size), each.genes], axis=1)
            for each in self.inherited
        ]
        return np.concatenate([*pairs, np.zeros((0, 2), np.int64)])

    @property
    def n_draws(self) -> int:
        """Draws in this life's data."""
        return len(self.draw_keys)

    @property
    def synapses(self) -> int:
        """Weights that one application of the rule changes, at the first site."""
        return self.sites[0].matrix.size if self.sites else 0

    @cached_property
    def lanes(self) -> int:
        """Draws side by side; a fixed function of shapes, which never shows in results."""
        inputs = max([site.matrix.n_in for site in self.sites], default=LANES)
        has_batches = bool((self.phases[:, ph.F] > 1).any())
        if inputs > MAX_SIDE_BY_SIDE_INPUTS or self.n_draws == 1 or has_batches:
            return 1
        widest = max(BLOCK // inputs // LANES * LANES, LANES)
        return min(padded(self.n_draws), widest)


class LifetimeBuilder:
    """Collects buffers, data and phases; ``build`` binds them to draws.

    Example:
        >>> import numpy as np
        >>> b = LifetimeBuilder()
        >>> x, y, w = b.vector("pre", 3), b.vector("post", 1), b.matrix("w", 1, 3)
        >>> inputs = b.table(np.ones((10, 3)), shared=True)
        >>> with b.repeat(10) as t:
        ...     b.load(x, inputs, row=t)
        ...     b.matvec(y, w, x)
        ...     b.rule(w=w, pre=x, post=y)
        >>> b.output(w)
        >>> b.build(draw_keys=np.zeros((1, 2), np.uint32)).n_rule_applications
        10
    """

    def __init__(self) -> None:
        self._phases: list[list[int]] = []
        self._births: list[list[int]] = []
        self._inherited: list[Inherited] = []
        self._units = 0
        self._sites: list[RuleSite] = []
        self._maps: list[MapSite] = []
        self._tables: list[NDArray[Any]] = []
        self._shared_tables: list[bool] = []
        self._indices: list[NDArray[np.int32]] = []
        self._shared_indices: list[bool] = []
        self._outputs: list[Buffer] = []
        self._loops: list[int] = []
        self._random: list[tuple[int, int]] = []

    def scalar(self, name: str) -> Buffer:
        """Declare one number, 0 at birth."""
        return self._buffer(name, 1, 1, Level.NETWORK)

    def vector(self, name: str, n: int, *, examples: int = 1) -> Buffer:
        """Declare one number for each of ``n`` units, of each example, 0 at birth."""
        return self._buffer(name, n, 1, Level.POST, examples)

    def matrix(self, name: str, n_out: int, n_in: int) -> Buffer:
        """Declare one number for each synapse, 0 at birth."""
        return self._buffer(name, n_out, n_in, Level.SYNAPSE)

    def table(self, values: Any, *, shared: bool = False) -> Table:
        """Add data: (D, rows, n), or (rows, n) where ``shared`` by all draws."""
        array = np.asarray(values)
        if array.ndim != (2 if shared else 3):
            shape = "(rows, n)" if shared else "(draws, rows, n)"
            raise InputError(f"a table needs the shape {shape}, found {array.shape}.")
        self._tables.append(array)
        self._shared_tables.append(shared)
        return Table(len(self._tables) - 1, array.shape[-2], array.shape[-1], shared)

    def index(self, rows: Any, *, shared: bool = False) -> int:
        """Add a list of row numbers: (D, k), or (k,) where ``shared``; use it as ``via``."""
        array = np.asarray(rows, np.int32)
        if array.ndim != (1 if shared else 2):
            shape = "(rows,)" if shared else "(draws, rows)"
            raise InputError(f"an index needs the shape {shape}, found {array.shape}.")
        self._indices.append(array)
        self._shared_indices.append(shared)
        return len(self._indices) - 1

    def initial(self, buffer: Buffer, table: Table) -> None:
        """Start ``buffer`` at the single row of ``table``."""
        self._check_width(buffer, table)
        self._births.append(self._row(ph.LOAD, buffer.start, table.n, table.number, -1, 1))

    def inherited(self, buffer: Buffer, genes: Any) -> None:
        """Start ``buffer`` at genes of the candidate.

        Args:
            buffer: weights, coefficients of synapses, or one setting of the life.
            genes: which gene each number is, (n_out, n_in) or any shape of as many numbers, or one
                for all; a gene that stands more than once is shared.
        """
        numbers = np.asarray(genes, np.int64)
        if numbers.size not in (1, buffer.size) or (numbers < 0).any():
            raise InputError(
                f"buffer {buffer.name!r} has {buffer.size} numbers, its genes are "
                f"{numbers.size}; each needs one, numbered from 0."
            )
        each = np.broadcast_to(numbers.ravel(), (buffer.size,)).copy()
        self._inherited.append(Inherited(buffer, each))

    @contextmanager
    def repeat(self, times: int) -> Generator[Row]:
        """Repeat the phases inside; yields the loop counter, usable in row numbers."""
        if times < 1:
            raise InputError(f"a loop repeats at least once, found {times}.")
        if len(self._loops) == ph.MAX_DEPTH:
            raise InputError(f"loops nest at most {ph.MAX_DEPTH} deep.")
        self._phases.append(self._row(ph.REPEAT, times))
        depth = len(self._loops)
        self._loops.append(times)
        yield Row(0, tuple(int(k == depth) for k in range(ph.MAX_DEPTH)))
        self._loops.pop()
        self._phases.append(self._row(ph.REPEAT_END))

    def load(self, buffer: Buffer, table: Table, *, row: RowLike, via: int | None = None) -> None:
        """Copy row ``row`` of the table, or row ``via[row]``, into the buffer.

        A buffer of several examples takes as many rows, the first of which is ``row``.
        """
        n_rows = 1 if table.n == buffer.size else buffer.examples
        self._check_width(buffer, table)
        chooser = -1 if via is None else via
        row = row if isinstance(row, Row) else Row(row)
        limit = table.rows if via is None else self._indices[via].shape[-1]
        last = row.constant + n_rows - 1
        last += sum(c * (n - 1) for c, n in zip(row.coefficients, self._loops, strict=False))
        if not 0 <= row.constant <= last < limit:
            raise InputError(f"row {last} of a table of {limit} rows is read.")
        self._phases.append(
            self._row(ph.LOAD, buffer.start, table.n, table.number, chooser, n_rows, row=row)
        )

    def matvec(self, target: Buffer, matrix: Buffer, source: Buffer) -> None:
        """target_i = sum over j of matrix_ij source_j, for each example."""
        self._check_product(target, source, matrix)
        _check_apart(target, source)
        self._phases.append(
            self._row(ph.MATVEC, target.start, matrix.start, source.start, matrix.n_out,
                      matrix.n_in, source.examples)
        )  # fmt: skip

    def matvec_t(self, target: Buffer, matrix: Buffer, source: Buffer) -> None:
        """target_j = sum over i of matrix_ij source_i, for each example."""
        self._check_product(source, target, matrix)
        _check_apart(target, source)
        self._phases.append(
            self._row(ph.MATVEC_T, target.start, matrix.start, source.start, matrix.n_out,
                      matrix.n_in, source.examples)
        )  # fmt: skip

    def add(self, target: Buffer, bias: Buffer) -> None:
        """Add one number a unit to ``target``, the same for each example."""
        if bias.size != target.each:
            raise InputError(
                f"bias {bias.name!r} has {bias.size} numbers, an example of {target.name!r} "
                f"{target.each}."
            )
        self._phases.append(
            self._row(ph.BIAS, target.start, bias.start, 0, bias.size, 0, target.examples)
        )

    def outer(self, target: Buffer, post: Buffer, pre: Buffer) -> None:
        """target_ij = mean over examples of post_i pre_j, added up in their order."""
        self._check_product(post, pre, target)
        self._phases.append(
            self._row(*outer_phase(target, post, pre)),
        )

    def map(self, target: Buffer, text: str, **operands: Buffer) -> None:
        """Set target = expression, elementwise; operands have the target's size or are scalars."""
        for name, buffer in operands.items():
            if buffer.size not in (1, target.size):
                raise InputError(
                    f"operand {name!r} of {text!r} has {buffer.size} numbers, allowed are 1 and "
                    f"{target.size}."
                )
        names = {"w": target, **operands}
        terminals = [
            Terminal(name, Level.NETWORK if buffer.size == 1 < target.size else Level.POST)
            for name, buffer in names.items()
        ]
        program = lower(Rule(text, form="absolute"), terminals)
        site = MapSite(text, program, tuple(names.values()), target)
        self._phases.append(self._row(ph.MAP, len(self._maps), 0, target.size))
        self._maps.append(site)

    def rule(self, **terminals: Buffer) -> None:
        """Apply the candidate's rule: ``w`` (a matrix) and states change, the others are read.

        Where terminals hold several examples, the rule's mean over them is applied.
        """
        matrix = terminals.get("w")
        if matrix is None or matrix.level != Level.SYNAPSE:
            raise InputError("a rule phase needs the terminal w, bound to a matrix.")
        site = RuleSite(
            matrix,
            self._buffer("birth", matrix.n_out, matrix.n_in, Level.SYNAPSE),
            dict(terminals),
        )
        for name, buffer in terminals.items():
            if buffer.examples not in (1, site.examples):
                raise InputError(
                    f"terminal {name!r} holds {buffer.examples} examples, others {site.examples}."
                )
        self._phases.append(self._row(ph.RULE, len(self._sites), 0, 0, 0, 0, site.examples))
        self._sites.append(site)

    def random(self, target: Buffer, kind: str) -> None:
        """Fill with numbers from N(0, 1) (``"normal"``) or U(0, 1) (``"uniform"``)."""
        if kind not in ("normal", "uniform"):
            raise InputError(f"unknown kind of random number {kind!r}: normal, uniform.")
        step, stride = Row(), 1
        for depth in reversed(range(len(self._loops))):
            counter = Row(0, tuple(int(k == depth) for k in range(ph.MAX_DEPTH)))
            step = step + counter * stride
            stride *= self._loops[depth]
        self._random.append((len(self._phases), stride))
        self._phases.append(
            self._row(ph.RANDOM, target.start, target.size, int(kind == "normal"),
                      len(self._random) - 1, row=step)
        )  # fmt: skip

    def argmax(self, target: Buffer, source: Buffer) -> None:
        """Write 1 at the first greatest unit of ``source`` and 0 elsewhere."""
        if target.size != source.size:
            raise InputError(f"argmax of {source.size} units into {target.size}.")
        self._phases.append(self._row(ph.ARGMAX, target.start, source.start, source.size))

    def reduce(self, target: Buffer, kind: str, source: Buffer) -> None:
        """Write the sum, mean, min or max of all units of ``source`` into a scalar."""
        if kind not in ph.REDUCTIONS or target.size != 1:
            raise InputError(f"a reduction writes {', '.join(ph.REDUCTIONS)} into a scalar.")
        self._phases.append(
            self._row(ph.REDUCE, target.start, source.start, source.size, ph.REDUCTIONS[kind])
        )

    def output(self, buffer: Buffer) -> None:
        """Report the buffer's final values."""
        self._outputs.append(buffer)

    def build(
        self,
        *,
        draw_keys: Any,
        projection: Projection | None = None,
        dtype: str = "float32",
        lowering: Literal["auto", "off"] = "auto",
    ) -> Lifetime:
        """Bind the life to its draws.

        Args:
            draw_keys: (D, 2) uint32, one Philox key a draw.
            projection: what keeps weights within limits.
            dtype: float32 or float64.
            lowering: whether the mean of a rule over a minibatch becomes matrix products where
                the rule separates, or is always elementwise.
        """
        keys = np.ascontiguousarray(draw_keys, np.uint32)
        for array, is_shared in zip(
            (*self._tables, *self._indices),
            (*self._shared_tables, *self._shared_indices),
            strict=True,
        ):
            if not is_shared and len(array) != len(keys):
                raise InputError(f"a table holds {len(array)} draws, the life has {len(keys)}.")
        real = np.dtype(dtype)
        phases = np.array(self._phases, np.int64).reshape(-1, ph.WIDTH)
        drawn = self._draw_ahead(phases, keys)
        return Lifetime(
            phases=phases,
            n_units=self._units,
            sites=tuple(self._sites),
            maps=tuple(self._maps),
            births=np.array(self._births, np.int64).reshape(-1, ph.WIDTH),
            inherited=tuple(self._inherited),
            tables=tuple(np.ascontiguousarray(table, real) for table in (*self._tables, *drawn)),
            is_shared_table=(*self._shared_tables, *(False for _ in drawn)),
            indices=tuple(self._indices),
            is_shared_index=tuple(self._shared_indices),
            outputs=tuple(self._outputs),
            projection=projection or Projection(),
            dtype=real,
            draw_keys=keys,
            is_lowered=lowering == "auto",
        )

    def _draw_ahead(
        self, phases: NDArray[np.int64], keys: NDArray[np.uint32]
    ) -> list[NDArray[np.float64]]:
        """Turn random phases into rows of tables: all candidates meet the same numbers.

        Returns the tables, (D, steps, n) each; what would fill too much memory stays a phase.
        """
        from evosearch.engine.philox import fill

        tables: list[NDArray[np.float64]] = []
        free = MAX_DRAWN_AHEAD
        for pc, steps in self._random:
            target, n, is_normal, stream = (int(k) for k in phases[pc, [ph.A, ph.B, ph.C, ph.D]])
            free -= len(keys) * steps * n
            if free < 0:
                break
            numbers = np.empty((len(keys), steps, n))
            fill(keys, 0, stream, is_normal == 1, numbers)
            number = len(self._tables) + len(tables)
            phases[pc, : ph.ROW] = (ph.LOAD, target, n, number, -1, 1, 0)
            tables.append(numbers)
        return tables

    def _buffer(self, name: str, n_out: int, n_in: int, level: Level, examples: int = 1) -> Buffer:
        if n_out < 1 or n_in < 1 or examples < 1:
            raise InputError(
                f"buffer {name!r} needs at least one unit and example, found {n_out} x {n_in}, "
                f"{examples} examples."
            )
        buffer = Buffer(name, self._units, n_out, n_in, level, examples)
        self._units += padded(buffer.size)
        return buffer

    def _row(self, op: int, *operands: int, row: Row | None = None) -> list[int]:
        row = row or Row()
        padded = [*operands, *[0] * (ph.ROW - 1 - len(operands))]
        return [op, *padded, row.constant, *row.coefficients]

    def _check_width(self, buffer: Buffer, table: Table) -> None:
        if table.n not in (buffer.size, buffer.each):
            raise InputError(
                f"buffer {buffer.name!r} has {buffer.size} numbers, the table's rows {table.n}."
            )

    def _check_product(self, post: Buffer, pre: Buffer, matrix: Buffer) -> None:
        if (post.each, pre.each) != (matrix.n_out, matrix.n_in):
            raise InputError(
                f"matrix {matrix.name!r} is {matrix.n_out} x {matrix.n_in}, the vectors are "
                f"{post.each} and {pre.each}."
            )
        if post.examples != pre.examples:
            raise InputError(
                f"{post.name!r} holds {post.examples} examples, {pre.name!r} {pre.examples}."
            )


def _check_apart(target: Buffer, source: Buffer) -> None:
    if target.examples > 1 and target.start == source.start:
        raise InputError(f"a product of the minibatch {source.name!r} is written over itself.")


def outer_phase(target: Buffer, post: Buffer, pre: Buffer) -> tuple[int, ...]:
    """Return operation and operands of target_ij = mean over examples of post_i pre_j.

    A single column is written as a row, which lies in memory alike and fills vectors.
    """
    n_out, n_in = target.n_out, target.n_in
    if n_in == 1:
        post, pre, n_out, n_in = pre, post, 1, n_out
    return (ph.OUTER, target.start, post.start, pre.start, n_out, n_in, pre.examples)


def program_terminals(programs: Sequence[Program]) -> tuple[str, ...]:
    """Return the terminals that all programs of a batch share."""
    names = programs[0].terminals
    assert all(program.terminals == names for program in programs), "one catalogue a batch"
    return names
