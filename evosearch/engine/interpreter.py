"""Tier 1: one compiled call runs whole lifetimes of many candidates on many draws.

The lifetime is a list of phases (:mod:`evosearch.engine.lifetime`), the rule a program
(:mod:`evosearch.engine.program`). Candidates are the outer loop, groups of draws the next one,
time the inner one; nothing is allocated inside.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from evosearch.engine import elementary as el
from evosearch.engine import kernels
from evosearch.engine import simple_phases as simple
from evosearch.engine.cache import compiled, compiled_with_allocation
from evosearch.engine.calls import call_kernel, call_native
from evosearch.engine.contract import BLOCK, LANES
from evosearch.engine.phases import (
    ARGMAX,
    BIAS,
    LOAD,
    MAP,
    MATVEC,
    MATVEC_T,
    OP,
    OUTER,
    RANDOM,
    REDUCE,
    REPEAT,
    REPEAT_END,
    ROW,
    RULE,
    A,
    B,
    C,
    D,
    E,
    F,
)
from evosearch.engine.program import Level, Op, Section

u8 = np.uint64
_BLOCK, _LANES = u8(BLOCK), u8(LANES)
_SYNAPSE, _POST, _PRE = int(Level.SYNAPSE), int(Level.POST), int(Level.PRE)
_NETWORK_END, _PRE_END, _POST_END, _TILE_END, _SYNAPSE_END = (int(s) for s in Section)
_EXPAND_PRE = int(Op.EXPAND_PRE)


@compiled
def register_size(level: Any, n_in: Any, n_out: Any, lanes: Any) -> Any:
    """Return the values that a register takes, rounded up to whole vectors."""
    size = lanes
    if level == _SYNAPSE:
        size = _BLOCK
    elif level == _POST:
        size = n_out * lanes
    elif level == _PRE:
        size = n_in * lanes
    return (size + _LANES - u8(1)) // _LANES * _LANES


@compiled
def place(
    ws: Any, off: Any, site: Any, base: Any, bind: Any, levels: Any, first: Any, last: Any,
    constants: Any, values: Any, first_constant: Any, last_constant: Any,
    n_in: Any, n_out: Any, lanes: Any,
) -> Any:  # fmt: skip
    """Give each register its offset and write the constants; return the end of the region.

    ``bind[site]`` is the number of terminals, then the buffer of each.
    """
    position = base
    for r in range(last - first):
        if r < bind[site, 0]:
            off[site, r] = u8(max(bind[site, 1 + r], 0)) * lanes
        else:
            off[site, r] = position
            position += register_size(levels[first + r], n_in, n_out, lanes)
    for k in range(first_constant, last_constant):
        r = constants[k]
        value = ws.dtype.type(values[k])
        for t in range(register_size(levels[first + r], n_in, n_out, lanes)):
            ws[off[site, r] + t] = value
    return position


@compiled
def _update(
    ws: Any, w: Any, f: Any, count: Any, eta: Any, is_increment: Any, low: Any, high: Any
) -> Any:
    """Write project(w + eta f), or project(f); return how many values were not finite.

    Those are written as NaN, so that the clip cannot hide them.
    """
    zero, one = np.int32(0), np.int32(1)
    largest = np.finfo(ws.dtype.type).max
    nan = ws.dtype.type(np.nan)
    bad = zero
    if is_increment:
        for t in range(u8(count)):
            value = ws[w + t] + eta * ws[f + t]
            is_finite = abs(value) <= largest
            value = el.select(value > high, high, value)
            value = el.select(value < low, low, value)
            ws[w + t] = el.select(is_finite, value, nan)
            bad = np.int32(bad + el.select(is_finite, zero, one))
    else:
        for t in range(u8(count)):
            value = ws[f + t]
            is_finite = abs(value) <= largest
            value = el.select(value > high, high, value)
            value = el.select(value < low, low, value)
            ws[w + t] = el.select(is_finite, value, nan)
            bad = np.int32(bad + el.select(is_finite, zero, one))
    return bad


@compiled
def _copy(ws: Any, target: Any, source: Any, count: Any) -> None:
    for t in range(u8(count)):
        ws[target + t] = ws[source + t]


@compiled
def apply_rule(
    ws: Any, code: Any, first: Any, ends: Any, program: Any, off: Any, site: Any, levels: Any,
    bind: Any, outputs: Any, n_in: Any, n_out: Any, lanes: Any, eta: Any, low: Any, high: Any,
    total: Any,
) -> Any:  # fmt: skip
    """Apply a rule once to all synapses; return how many new weights were not finite.

    ``outputs`` has rows (terminal, register, is_increment), the weights first. Where ``total`` is
    not 0, the rule's values are added to what stands there, and nothing else is changed.
    """
    row = n_in * lanes
    execute = kernels.execute
    network, pre, post, tile, end = (
        first + ends[program, _NETWORK_END], first + ends[program, _PRE_END],
        first + ends[program, _POST_END], first + ends[program, _TILE_END],
        first + ends[program, _SYNAPSE_END],
    )  # fmt: skip
    zero = u8(0)
    if network > first:
        execute(ws, code, first, network, off, site, lanes, lanes, n_in, zero)
    if pre > network:
        execute(ws, code, network, pre, off, site, row, lanes, n_in, zero)
    if post > pre:
        execute(ws, code, pre, post, off, site, n_out * lanes, lanes, n_in, zero)
    bad = 0
    if row <= _BLOCK:
        rows = _BLOCK // row
        if tile > post:
            execute(ws, code, post, tile, off, site, rows * row, lanes, n_in, zero)
        i = zero
        while i < n_out:
            count = min(rows, n_out - i) * row
            bad += _block(ws, code, tile, end, off, site, levels, bind, outputs, i * row, count,
                          n_in, lanes, i, eta, low, high, total)  # fmt: skip
            i += rows
    else:
        width = _BLOCK // lanes * lanes
        for k in range(post, tile):
            if code[k, 0] != _EXPAND_PRE:
                execute(ws, code, k, k + u8(1), off, site, width, lanes, n_in, zero)
        for i in range(n_out):
            start = zero
            while start < row:
                # A block within one row reads values of the pre units where they stand.
                for k in range(post, tile):
                    if code[k, 0] == _EXPAND_PRE:
                        off[site, code[k, 1]] = off[site, code[k, 2]] + start
                count = min(width, row - start)
                bad += _block(ws, code, tile, end, off, site, levels, bind, outputs,
                              i * row + start, count, n_in, lanes, i, eta, low, high,
                              total)  # fmt: skip
                start += width
    if total != 0:
        return bad
    for k in range(1, outputs.shape[0]):
        target, source = outputs[k, 0], outputs[k, 1]
        level = levels[target]
        if level != _SYNAPSE:
            size = row if level == _PRE else (n_out * lanes if level == _POST else lanes)
            _copy(ws, off[site, target], off[site, source], size)
    return bad


@compiled
def _block(
    ws: Any, code: Any, first: Any, end: Any, off: Any, site: Any, levels: Any, bind: Any,
    outputs: Any, start: Any, count: Any, n_in: Any, lanes: Any, row: Any, eta: Any, low: Any,
    high: Any, total: Any,
) -> Any:  # fmt: skip
    """Run the synapse section on one block and write its results, or add them to a total."""
    for r in range(bind[site, 0]):
        if levels[r] == _SYNAPSE and bind[site, 1 + r] >= 0:
            off[site, r] = u8(bind[site, 1 + r]) * lanes + start
    if end > first:
        kernels.execute(ws, code, first, end, off, site, count, lanes, n_in, row)
    if total != 0:
        here, rule = total + start, off[site, outputs[0, 1]]
        for t in range(u8(count)):
            ws[here + t] = ws[here + t] + ws[rule + t]
        return 0
    for k in range(1, outputs.shape[0]):
        if levels[outputs[k, 0]] == _SYNAPSE:
            _copy(ws, off[site, outputs[k, 0]], off[site, outputs[k, 1]], count)
    return _update(ws, off[site, outputs[0, 0]], off[site, outputs[0, 1]], count, eta,
                   outputs[0, 2] != 0, low, high)  # fmt: skip


@compiled
def apply_mean(
    ws: Any, code: Any, first: Any, ends: Any, program: Any, off: Any, site: Any, levels: Any,
    bind: Any, strides: Any, outputs: Any, n_in: Any, n_out: Any, eta: Any, low: Any, high: Any,
    n_examples: Any, total: Any,
) -> Any:  # fmt: skip
    """Apply a rule's mean over a minibatch; examples are added up in their order, from +0."""
    lanes, size = u8(1), n_out * n_in
    for t in range(size):
        ws[total + t] = ws.dtype.type(0)
    for example in range(n_examples):
        for r in range(bind[site, 0]):
            if levels[r] != _SYNAPSE:
                off[site, r] = u8(max(bind[site, 1 + r] + example * strides[site, r], 0))
        apply_rule(ws, code, first, ends, program, off, site, levels, bind, outputs, n_in, n_out,
                   lanes, eta, low, high, total)  # fmt: skip
    count = ws.dtype.type(n_examples)
    for t in range(size):
        ws[total + t] = ws[total + t] / count
    return _update(ws, u8(bind[site, 1 + outputs[0, 0]]), total, size, eta, outputs[0, 2] != 0,
                   low, high)  # fmt: skip


@compiled
def _project_rows(
    ws: Any, w: Any, birth: Any, n_out: Any, n_in: Any, lanes: Any, acc: Any,
    is_zero_diagonal: Any, keeps_sign: Any, row_norm: Any,
) -> None:  # fmt: skip
    """Apply the projections that need more than one weight or the weight at birth."""
    zero = ws.dtype.type(0)
    row = n_in * lanes
    if keeps_sign:
        for t in range(n_out * row):
            value = ws[w + t]
            ws[w + t] = el.select(value * ws[birth + t] < zero, zero, value)
    if is_zero_diagonal:
        for i in range(min(n_in, n_out)):
            for t in range(lanes):
                ws[w + i * row + i * lanes + t] = zero
    if row_norm > zero:
        square, total = acc, acc + row
        for i in range(n_out):
            start = w + i * row
            for t in range(row):
                ws[square + t] = ws[start + t] * ws[start + t]
            kernels.sum_rows(ws, total, square, n_in, lanes, total + lanes)
            for j in range(n_in):
                for t in range(lanes):
                    length = np.sqrt(ws[total + t])
                    value = ws[start + j * lanes + t]
                    ws[start + j * lanes + t] = el.select(
                        length > zero, value * (row_norm / length), value
                    )


@compiled
def _mark_exploded(
    ws: Any, values: Any, n: Any, lanes: Any, matrix: Any, size: Any, exploded: Any, step: Any
) -> Any:
    """Note each draw with a non-finite value and zero its weights; return how many are new.

    A dead draw keeps its lane, but its zeroed weights no longer raise the alarm.
    """
    largest = np.finfo(ws.dtype.type).max
    new = 0
    for lane in range(exploded.size):
        is_bad = False
        for k in range(n):
            if not abs(ws[values + k * lanes + u8(lane)]) <= largest:
                is_bad = True
                break
        if is_bad:
            if exploded[lane] < 0:
                exploded[lane] = step
                new += 1
            for k in range(size):
                ws[matrix + k * lanes + u8(lane)] = ws.dtype.type(0)
    return new


@compiled
def _row_of(phases: Any, pc: Any, counters: Any) -> Any:
    """Return constant + sum of coefficient * loop counter."""
    row = phases[pc, ROW]
    for depth in range(counters.size):
        row += phases[pc, ROW + 1 + depth] * counters[depth]
    return row


@compiled
def run_group(
    ws: Any, off: Any, phases: Any, code: Any, code_start: Any, ends: Any, levels: Any,
    outputs: Any, map_outputs: Any, candidate: Any, n_candidates: Any, binds: Any, strides: Any,
    shapes: Any, scratch: Any, data: Any, tables: Any, index: Any, indices: Any, keys: Any,
    group: Any, lanes: Any, eta: Any, bounds: Any, flags: Any, exploded: Any, counters: Any,
    starts: Any, tiles: Any,
) -> Any:  # fmt: skip
    """Live one life of one candidate on one group of draws; return the rule applications made.

    ``off`` holds one row of register offsets a rule or map phase, placed by the caller; ``levels``
    and ``outputs`` are those of the candidate.
    """
    depth, step, alive, pc = 0, 0, exploded.size, 0
    low, high, row_norm = bounds[0], bounds[1], bounds[2]
    largest = np.finfo(ws.dtype.type).max
    n_rules = shapes.shape[0]
    counters[:] = 0
    while pc < phases.shape[0]:
        op, a, b, c = phases[pc, OP], phases[pc, A], phases[pc, B], phases[pc, C]
        if op == RULE:
            n_out, n_in = u8(shapes[a, 0]), u8(shapes[a, 1])
            matrix, size = u8(shapes[a, 3]) * lanes, n_out * n_in
            if shapes[a, 4] == 1:
                bad = apply_rule(
                    ws, code, u8(code_start[candidate]), ends, candidate, off, a, levels, binds,
                    outputs, n_in, n_out, lanes, eta, low, high, u8(0),
                )  # fmt: skip
            else:
                bad = apply_mean(
                    ws, code, u8(code_start[candidate]), ends, candidate, off, a, levels, binds,
                    strides, outputs, n_in, n_out, eta, low, high, shapes[a, 4], scratch,
                )  # fmt: skip
            if bad > 0:
                alive -= _mark_exploded(ws, matrix, size, lanes, matrix, size, exploded, step + 1)
            if flags[0] or flags[1] or row_norm > 0:
                _project_rows(ws, matrix, u8(shapes[a, 2]) * lanes, n_out, n_in, lanes,
                              scratch, flags[0], flags[1], row_norm)  # fmt: skip
            step += 1
        elif op == MATVEC:
            y, w, n_out, n_in = (
                u8(a) * lanes, u8(b) * lanes, u8(phases[pc, D]), u8(phases[pc, E]),
            )  # fmt: skip
            n_examples = u8(phases[pc, F])
            if n_examples == 1:
                kernels.matvec(ws, y, w, u8(c) * lanes, n_out, n_in, lanes, scratch)
            else:
                call_kernel(tiles[1], ws, y, w, u8(c), phases[pc, D], phases[pc, E], phases[pc, F])
            n = n_out * n_examples
            bad = 0
            for t in range(n * lanes):
                bad += 0 if abs(ws[y + t]) <= largest else 1
            if bad > 0:
                alive -= _mark_exploded(ws, y, n, lanes, w, n_out * n_in, exploded, step)
        elif op == LOAD:
            simple.load(ws, phases, pc, _row_of(phases, pc, counters), data, tables, index, indices,
                  group, lanes)  # fmt: skip
        elif op == MAP:
            program, site, n = n_candidates + a, n_rules + a, u8(c) * lanes
            first = u8(code_start[program])
            network, start, end = (
                first + ends[program, _NETWORK_END], first + ends[program, _PRE_END],
                first + ends[program, _POST_END],
            )  # fmt: skip
            if network > first:
                kernels.execute(ws, code, first, network, off, site, lanes, lanes, u8(1), u8(0))
            kernels.execute(ws, code, start, end, off, site, n, lanes, u8(1), u8(0))
            _copy(ws, off[site, map_outputs[a, 0]], off[site, map_outputs[a, 1]], n)
        elif op == REPEAT:
            counters[depth], starts[depth] = 0, pc
            depth += 1
        elif op == REPEAT_END:
            counters[depth - 1] += 1
            if counters[depth - 1] < phases[starts[depth - 1], A]:
                pc = starts[depth - 1]
            else:
                depth -= 1
                counters[depth] = 0
        elif op == MATVEC_T:
            if phases[pc, F] == 1:
                kernels.matvec_t(ws, u8(a) * lanes, u8(b) * lanes, u8(c) * lanes,
                                 u8(phases[pc, D]), u8(phases[pc, E]), lanes, scratch)  # fmt: skip
            else:
                call_kernel(tiles[2], ws, u8(a), u8(b), u8(c), phases[pc, D], phases[pc, E],
                            phases[pc, F])  # fmt: skip
        elif op == OUTER:
            call_kernel(tiles[0], ws, u8(a), u8(b), u8(c), phases[pc, D], phases[pc, E],
                        phases[pc, F])  # fmt: skip
        elif op == BIAS:
            simple.add_bias(ws, u8(a) * lanes, u8(b) * lanes, u8(phases[pc, D]) * lanes,
                            u8(phases[pc, F]))  # fmt: skip
        elif op == RANDOM:
            simple.random(ws, u8(a) * lanes, u8(b), lanes, c == 1, _row_of(phases, pc, counters),
                    u8(phases[pc, D]), keys, group * lanes)  # fmt: skip
        elif op == ARGMAX:
            simple.argmax(ws, u8(a) * lanes, u8(b) * lanes, u8(c), lanes)
        elif op == REDUCE:
            simple.reduce(ws, u8(a) * lanes, u8(b) * lanes, u8(c), lanes, phases[pc, D], scratch)
        if alive == 0:
            break
        pc += 1
    return step


@compiled_with_allocation
def run_chunk(
    ws: Any, off: Any, n_buffer: Any, phases: Any, code: Any, code_start: Any, ends: Any,
    levels: Any, level_start: Any, constants: Any, values: Any, constant_start: Any, outputs: Any,
    output_start: Any, map_outputs: Any, n_candidates: Any, binds: Any, strides: Any, shapes: Any,
    map_sizes: Any, births: Any, data: Any, tables: Any, index: Any, indices: Any, keys: Any,
    lanes: Any, eta: Any, bounds: Any, flags: Any, result_units: Any, results: Any,
    exploded: Any, clipped: Any, natives: Any, n_applications: Any, tiles: Any, gene_units: Any,
    genes: Any,
) -> Any:  # fmt: skip
    """Live all lives of a chunk of candidates; return the rule applications made.

    The second number is how many of these compiled rules made.

    ``natives`` (P, 3) holds addresses of compiled lives and of two functions of their rules, or
    0. Those make ``n_applications`` of the rule; a life that does not stay finite is lived once
    more, by the interpreter.

    ``tiles`` holds the addresses of the kernels of minibatches: outer, product, transposed.
    ``results`` is (P, D, k) float64 and takes the values of ``result_units``, ``exploded`` (P, D)
    the rule application at which a life ended or -1, ``clipped`` (P, D) the share of weights
    that stand at the clip in the end. ``genes`` (P, g) begin at ``gene_units`` (k, 2): unit, gene.
    """
    n_draws = u8(keys.shape[0])
    n_groups = (n_draws + lanes - u8(1)) // lanes
    counters, starts = np.zeros(4, np.int64), np.zeros(4, np.int64)
    updates, native = 0, 0
    for p in range(n_candidates):
        rule_levels = levels[level_start[p] : level_start[p + 1]]
        rule_outputs = outputs[output_start[p] : output_start[p + 1]]
        for group in range(n_groups):
            first = group * lanes
            n_here = min(lanes, n_draws - first)
            ended = exploded[p, first : first + n_here]
            _begin(ws, n_buffer * lanes, births, data, tables, index, indices, group, lanes,
                   shapes, flags, gene_units, genes[p])  # fmt: skip
            steps = n_applications
            is_finite = natives[p, 0] != 0 and call_native(
                natives[p, 0], ws, data, tables, index, indices, np.int64(group), values,
                constant_start[p], eta[p], bounds, natives[p, 1], natives[p, 2],
            ) == 0  # fmt: skip
            if not is_finite:
                if natives[p, 0] != 0:
                    _begin(ws, n_buffer * lanes, births, data, tables, index, indices, group,
                           lanes, shapes, flags, gene_units, genes[p])  # fmt: skip
                scratch = _place_all(
                    ws, off, n_buffer * lanes, levels, level_start, constants, values,
                    constant_start, p, n_candidates, binds, shapes, map_sizes, lanes,
                )  # fmt: skip
                steps = run_group(
                    ws, off, phases, code, code_start, ends, rule_levels, rule_outputs,
                    map_outputs, p, n_candidates, binds, strides, shapes, scratch, data, tables,
                    index, indices, keys, group, lanes, eta[p], bounds, flags, ended, counters,
                    starts, tiles,
                )  # fmt: skip
            for lane in range(n_here):
                lived = steps if ended[lane] < 0 else ended[lane]
                updates += lived
                native += lived if is_finite else 0
                for k in range(result_units.size):
                    results[p, first + lane, k] = ws[u8(result_units[k]) * lanes + lane]
                clipped[p, first + lane] = _clip_share(ws, shapes, bounds, lanes, lane)
    return updates, native


@compiled
def _begin(
    ws: Any, size: Any, births: Any, data: Any, tables: Any, index: Any, indices: Any, group: Any,
    lanes: Any, shapes: Any, flags: Any, gene_units: Any, genes: Any,
) -> None:  # fmt: skip
    """Set all buffers to their values at birth."""
    for t in range(size):
        ws[t] = ws.dtype.type(0)
    for k in range(births.shape[0]):
        simple.load(ws, births, k, 0, data, tables, index, indices, group, lanes)
    for k in range(gene_units.shape[0]):
        start, value = u8(gene_units[k, 0]) * lanes, genes[gene_units[k, 1]]
        for lane in range(lanes):
            ws[start + lane] = value
    if flags[1]:
        for r in range(shapes.shape[0]):
            n = u8(shapes[r, 0]) * u8(shapes[r, 1]) * lanes
            _copy(ws, u8(shapes[r, 2]) * lanes, u8(shapes[r, 3]) * lanes, n)


@compiled
def _clip_share(ws: Any, shapes: Any, bounds: Any, lanes: Any, lane: Any) -> Any:
    """Return the share of all weights that stand at a bound of the clip."""
    hits, total = 0, 0
    for r in range(shapes.shape[0]):
        size = u8(shapes[r, 0]) * u8(shapes[r, 1])
        start = u8(shapes[r, 3]) * lanes + lane
        for k in range(size):
            value = ws[start + k * lanes]
            hits += 1 if value <= bounds[0] or value >= bounds[1] else 0
        total += int(size)
    return hits / max(total, 1)


@compiled
def _place_all(
    ws: Any, off: Any, base: Any, levels: Any, level_start: Any, constants: Any, values: Any,
    constant_start: Any, candidate: Any, n_candidates: Any, binds: Any, shapes: Any,
    map_sizes: Any, lanes: Any,
) -> Any:  # fmt: skip
    """Place the registers of every rule phase, then of every map; return the scratch's start."""
    position = base
    n_rules = shapes.shape[0]
    for site in range(n_rules + map_sizes.size):
        if site < n_rules:
            program, n_in, n_out = candidate, u8(shapes[site, 1]), u8(shapes[site, 0])
        else:
            program, n_in, n_out = (
                n_candidates + site - n_rules, u8(1), u8(map_sizes[site - n_rules]),
            )  # fmt: skip
        position = place(
            ws, off, site, position, binds, levels, level_start[program],
            level_start[program + 1], constants, values, constant_start[program],
            constant_start[program + 1], n_in, n_out, lanes,
        )  # fmt: skip
    return position
