"""Run lifetimes: candidates × draws in, what the lives reported out.

The one entry point of the engine. It lays programs and data out for the compiled call, or hands
them to the torch path; the numbers do not depend on how candidates are cut into calls.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from evosearch.engine import phases as ph
from evosearch.engine.contract import BLOCK, LANES, padded
from evosearch.engine.lifetime import Lifetime, program_terminals
from evosearch.engine.program import Level, Program
from evosearch.errors import InputError

if TYPE_CHECKING:
    from evosearch.engine.native.compiler import Native

logger = logging.getLogger(__name__)

Tier: TypeAlias = Literal["auto", "interpreter", "native", "native-1"]
"""``native`` and ``native-1`` compile all rules, at code generation level 0 or 1."""


@dataclass(frozen=True)
class LifeResult:
    """What P candidates × D draws reported.

    Attributes:
        outputs: (P, D, k) float64, the output buffers one after the other.
        exploded_at: (P, D) rule applications made when a value ceased to be finite, or -1.
        clip_hits: (P,) share of weights that stand at the clip when lives end.
        synapse_updates: weight changes made.
        native_updates: of these, by compiled rules.
    """

    outputs: NDArray[np.float64]
    exploded_at: NDArray[np.int64]
    clip_hits: NDArray[np.float64]
    synapse_updates: int
    native_updates: int = 0


def run_lifetimes(
    life: Lifetime,
    programs: Sequence[Program],
    eta: Any,
    *,
    device: str = "cpu",
    tier: Tier = "auto",
) -> LifeResult:
    """Live ``life`` once for every program and draw.

    Args:
        life: a built lifetime with the data of D draws.
        programs: P rules, lowered over one catalogue of terminals.
        eta: (P,) step sizes, or one for all; increments are multiplied by it.
        device: ``"cpu"`` for the compiled engine, else a torch device such as ``"cuda"``, or
            ``"torch"`` for the torch path on the CPU.
        tier: how the CPU lives them; never visible in results.

    Raises:
        InputError: a program reads a terminal that the life does not offer.
    """
    steps = np.ascontiguousarray(np.broadcast_to(np.asarray(eta, np.float64), (len(programs),)))
    if life.is_lowered and any(site.examples > 1 for site in life.sites):
        return _run_lowered(life, programs, steps, device, tier)
    return _run_as_is(life, programs, steps, device, tier)


def _run_lowered(
    life: Lifetime, programs: Sequence[Program], steps: NDArray[np.float64], device: str, tier: Tier
) -> LifeResult:
    """Live minibatches as matrix products where rules separate, the others as they are."""
    from evosearch.engine.lowering import lower_minibatch

    groups: dict[int, tuple[Lifetime, list[int], list[Program]]] = {}
    for number, program in enumerate(programs):
        there, rule = lower_minibatch(life, program) or (life, program)
        if device == "cpu" and id(there) not in groups:
            there.cache.setdefault("layout", _layout(life))
        _, numbers, rules = groups.setdefault(id(there), (there, [], []))
        numbers.append(number)
        rules.append(rule)
    parts = [
        (numbers, _run_as_is(there, rules, steps[numbers], device, tier))
        for there, numbers, rules in groups.values()
    ]
    order = np.argsort(np.concatenate([numbers for numbers, _ in parts]))
    results = [result for _, result in parts]
    return LifeResult(
        np.concatenate([result.outputs for result in results])[order],
        np.concatenate([result.exploded_at for result in results])[order],
        np.concatenate([result.clip_hits for result in results])[order],
        sum(result.synapse_updates for result in results),
        sum(result.native_updates for result in results),
    )


def _run_as_is(
    life: Lifetime, programs: Sequence[Program], steps: NDArray[np.float64], device: str, tier: Tier
) -> LifeResult:
    if device != "cpu":
        from evosearch.engine.torch_path import run_on_torch

        try:
            return run_on_torch(life, programs, steps, "cpu" if device == "torch" else device)
        except MemoryError as error:
            _say_once(f"{error}; such lives run on the CPU, whose numbers agree to tolerance only")
    from evosearch.engine import interpreter
    from evosearch.engine.cache import announced

    batch = pack_programs([*programs, *(site.program for site in life.maps)], life.dtype)
    layout = _layout(life)
    n, lanes = len(programs), life.lanes
    binds = _bind_sites(life, programs)
    shapes = np.array(
        [
            (s.matrix.n_out, s.matrix.n_in, s.birth.start, s.matrix.start, s.examples)
            for s in life.sites
        ],
        np.int64,
    ).reshape(-1, 5)
    flags = np.array([life.projection.is_zero_diagonal, life.projection.keeps_sign])
    bounds = np.array(
        [life.projection.low, life.projection.high, life.projection.row_norm or 0.0], life.dtype
    )
    units = np.concatenate(
        [np.arange(b.start, b.start + b.size) for b in life.outputs] or [np.zeros(0)]
    ).astype(np.int64)
    results = np.zeros((n, life.n_draws, units.size))
    exploded = np.full((n, life.n_draws), -1, np.int64)
    clipped = np.zeros((n, life.n_draws))
    n_sites = len(life.sites) + len(life.maps)
    # Holding them keeps their code in memory until the lives are over.
    functions = _natives(life, programs, tier)
    natives = np.array([f.addresses if f else (0, 0, 0) for f in functions], np.int64)
    workspace = _workspace(life, batch, max((f.scratch for f in functions if f), default=0))
    offsets = np.zeros((n_sites, int(batch.register_counts.max(initial=1))), np.uint64)
    with announced(str(life.dtype)):
        applications, native = interpreter.run_chunk(
            workspace, offsets, np.uint64(life.n_units), life.phases, batch.code, batch.code_start,
            batch.ends, batch.levels, batch.level_start, batch.constants, batch.values,
            batch.constant_start, batch.outputs, batch.output_start,
            batch.outputs[batch.output_start[n] :], n, binds, _strides(life, programs, binds),
            shapes,
            np.array([site.target.size for site in life.maps], np.int64), life.births, layout.data,
            layout.tables, layout.index, layout.indices, life.draw_keys, np.uint64(lanes),
            steps.astype(life.dtype), bounds, flags, units, results, exploded, clipped, natives,
            life.n_rule_applications, _tiles(life), life.gene_units, genes_of(life, programs),
        )  # fmt: skip
    n = life.synapses
    return LifeResult(
        results, exploded, clipped.mean(axis=1), int(applications) * n, int(native) * n
    )


def genes_of(life: Lifetime, programs: Sequence[Program]) -> NDArray[Any]:
    """Return the genes (P, g) that the life's buffers begin at, in its type.

    Raises:
        InputError: a candidate has fewer than the life reads.
    """
    fewest = min(len(program.genes) for program in programs)
    if fewest < life.n_genes:
        raise InputError(f"this life needs {life.n_genes} genes, a candidate has {fewest}.")
    return np.stack([program.genes[: life.n_genes] for program in programs]).astype(life.dtype)


@lru_cache(maxsize=16)
def _say_once(sentence: str) -> None:
    logger.warning(sentence)


def _tiles(life: Lifetime) -> NDArray[np.int64]:
    """Return the addresses of the kernels of minibatches, 0 where there are none."""
    ops, examples = life.phases[:, ph.OP], life.phases[:, ph.F]
    is_product = np.isin(ops, (ph.MATVEC, ph.MATVEC_T)) & (examples > 1)
    if not (is_product | (ops == ph.OUTER)).any():
        return np.zeros(3, np.int64)
    from evosearch.engine.native.tiles import addresses

    return np.array(addresses(life.dtype), np.int64)


def _natives(life: Lifetime, programs: Sequence[Program], tier: Tier) -> Sequence[Native | None]:
    """Return each program's compiled life, None for those that the interpreter lives."""
    if tier == "interpreter" or not life.sites:
        return [None] * len(programs)
    from evosearch.engine.native import tiers

    def live(measured: Lifetime, rules: Sequence[Program], measured_tier: Any) -> LifeResult:
        return run_lifetimes(measured, rules, 1e-3, tier=measured_tier)

    return tiers.choose(life, programs, tier, live)


@dataclass(frozen=True)
class Batch:
    """Programs one after the other in flat arrays; ``x_start[k]`` is where program k begins."""

    code: NDArray[np.int32]
    code_start: NDArray[np.int64]
    ends: NDArray[np.int64]
    levels: NDArray[np.int8]
    level_start: NDArray[np.int64]
    constants: NDArray[np.int32]
    values: NDArray[Any]
    constant_start: NDArray[np.int64]
    outputs: NDArray[np.int64]
    output_start: NDArray[np.int64]
    register_counts: NDArray[np.int64]


def pack_programs(programs: Sequence[Program], dtype: np.dtype[Any]) -> Batch:
    """Lay programs out one after the other for compiled code."""

    def starts(parts: Sequence[Any]) -> NDArray[np.int64]:
        return np.concatenate([[0], np.cumsum([len(part) for part in parts])]).astype(np.int64)

    codes = [program.code for program in programs]
    levels = [program.register_level for program in programs]
    constants = [program.constant_register for program in programs]
    outputs = [program.outputs for program in programs]
    written = [
        (program.terminals.index(out.target), out.register, out.is_increment)
        for program in programs
        for out in program.outputs
    ]
    return Batch(
        code=np.concatenate(codes),
        code_start=starts(codes),
        ends=np.array([program.section_end for program in programs], np.int64),
        levels=np.concatenate(levels),
        level_start=starts(levels),
        constants=np.concatenate(constants),
        values=np.concatenate([p.constant_value for p in programs]).astype(dtype),
        constant_start=starts(constants),
        outputs=np.array(written, np.int64).reshape(-1, 3),
        output_start=starts(outputs),
        register_counts=np.array([len(level) for level in levels], np.int64),
    )


def _bind_sites(life: Lifetime, programs: Sequence[Program]) -> NDArray[np.int64]:
    """Return one row a site: the number of terminals, then the buffer of each or -1."""
    rows: list[list[int]] = []
    if life.sites:
        names = program_terminals(programs)
        used = _used_terminals(programs, len(names))
        for site in life.sites:
            for name, is_used in zip(names, used, strict=True):
                if is_used and name not in site.terminals:
                    raise InputError(
                        f"the rule reads {name!r}, which this life does not offer. Offered: "
                        f"{', '.join(sorted(site.terminals))}."
                    )
            starts = [site.terminals[n].start if n in site.terminals else -1 for n in names]
            rows.append([len(names), *starts])
    rows += [[len(m.operands), *(b.start for b in m.operands)] for m in life.maps]
    width = max((len(row) for row in rows), default=1)
    return np.array([row + [-1] * (width - len(row)) for row in rows], np.int64).reshape(-1, width)


def _strides(
    life: Lifetime, programs: Sequence[Program], binds: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Return how far apart the examples of each terminal lie, shaped like the binds."""
    strides = np.zeros_like(binds)
    for number, site in enumerate(life.sites):
        for k, name in enumerate(program_terminals(programs)):
            buffer = site.terminals.get(name)
            if buffer is not None and buffer.examples > 1:
                strides[number, k] = buffer.each
        if site.examples > 1 and any(len(program.outputs) > 1 for program in programs):
            raise InputError("a rule with states of its own cannot be averaged over a minibatch.")
    return strides


def _used_terminals(programs: Sequence[Program], n_terminals: int) -> NDArray[np.bool_]:
    read = np.concatenate([program.code for program in programs])[:, 2:]
    registers = {out.register for program in programs for out in program.outputs}
    targets = {out.target for program in programs for out in program.outputs}
    used = np.zeros(n_terminals, np.bool_)
    used[read[read < n_terminals]] = True
    used[[register for register in registers if register < n_terminals]] = True
    used[[programs[0].terminals.index(target) for target in targets]] = True
    return used


@dataclass(frozen=True)
class _Layout:
    """The data of a life, flat, with the draws of a group side by side."""

    data: NDArray[Any]
    tables: NDArray[np.int64]
    index: NDArray[np.int32]
    indices: NDArray[np.int64]


def _layout(life: Lifetime) -> _Layout:
    """Lay the data out once a life; kept with it."""
    if "layout" in life.cache:
        return life.cache["layout"]
    data, tables, start = [], [], 0
    for table, is_shared in zip(life.tables, life.is_shared_table, strict=True):
        flat = table.ravel() if is_shared else _side_by_side(table, life.lanes).ravel()
        tables.append((start, table.shape[-2], table.shape[-1], int(is_shared)))
        data.append(flat)
        start += flat.size
    index, indices, start = [], [], 0
    for rows, is_shared in zip(life.indices, life.is_shared_index, strict=True):
        flat = rows.ravel() if is_shared else _side_by_side(rows, life.lanes).ravel()
        indices.append((start, rows.shape[-1], int(is_shared)))
        index.append(flat)
        start += flat.size
    layout = _Layout(
        data=np.concatenate(data) if data else np.zeros(1, life.dtype),
        tables=np.array(tables, np.int64).reshape(-1, 4),
        index=np.concatenate(index) if index else np.zeros(1, np.int32),
        indices=np.array(indices, np.int64).reshape(-1, 3),
    )
    life.cache["layout"] = layout
    return layout


def _side_by_side(array: NDArray[Any], lanes: int) -> NDArray[Any]:
    """Turn (D, …) into (groups, …, lanes); the last draw fills lanes that have none."""
    groups = -(-len(array) // lanes)
    lane = np.minimum(np.arange(groups * lanes), len(array) - 1)
    grouped = array[lane].reshape(groups, lanes, *array.shape[1:])
    return np.ascontiguousarray(np.moveaxis(grouped, 1, -1))


def _workspace(life: Lifetime, batch: Batch, native_scratch: int) -> NDArray[Any]:
    """Make the flat memory of one call: buffers, registers of the largest program, scratch."""
    lanes = life.lanes
    n_candidates = len(batch.register_counts) - len(life.maps)
    size, widest = life.n_units * lanes, LANES
    first = np.repeat(np.arange(len(batch.register_counts)), batch.register_counts)
    for number, site in enumerate([*life.sites, *life.maps]):
        is_rule = number < len(life.sites)
        n_in = site.matrix.n_in if is_rule else 1  # type: ignore[union-attr]
        n_out = site.matrix.n_out if is_rule else site.target.size  # type: ignore[union-attr]
        per_level = {
            Level.NETWORK: lanes,
            Level.PRE: n_in * lanes,
            Level.POST: n_out * lanes,
            Level.SYNAPSE: BLOCK,
        }
        sizes = np.array([padded(per_level[level]) for level in Level], np.int64)
        totals = np.bincount(first, sizes[batch.levels], len(batch.register_counts))
        chosen = totals[:n_candidates] if is_rule else totals[n_candidates:]
        size += int(chosen.max(initial=0))
        widest = max(widest, n_in, n_out)
    totals = max((s.matrix.size for s in life.sites if s.examples > 1), default=0)
    scratch = (LANES + 2) * widest * lanes + totals
    # One vector more than is addressed: the dot product reads whole vectors.
    size = max(size + scratch, life.n_units * lanes + native_scratch)
    raw = np.zeros(size + 4 * LANES, life.dtype)
    shift = -raw.ctypes.data % 64 // life.dtype.itemsize
    return raw[shift:]
