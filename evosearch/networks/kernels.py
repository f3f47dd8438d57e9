"""Compiled forward passes of many multilayer perceptrons on one batch of examples.

Examples lie side by side in rows of ``LANES``, see :mod:`evosearch.networks.vectors`; a chunk is
one row's worth of them. What a candidate scores is the same sum in the same order whatever lies
beside it. A layer is five numbers: inputs, outputs, where its weights and its biases begin in a
vector, and its first row among the rows of all layers.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from evosearch.engine.cache import compiled, compiled_with_allocation
from evosearch.networks.vectors import (
    LANES,
    TILE,
    cross_entropy,
    product_1,
    product_2,
    product_3,
    product_4,
    product_tile,
    relu_row,
    shifted_row,
    sigmoid_row,
    softplus_row,
    subtract_row,
    tanh_row,
)

TANH, RELU, SIGMOID, SOFTPLUS = range(4)
CROSS_ENTROPY, HITS = range(2)
_DEPTH = 32
"""Inputs that a product takes at a time: these rows stay in the first cache."""
_LINE = 64
"""Bytes of a cache line."""


@compiled_with_allocation
def scratch(n_rows: Any, like: Any) -> Any:
    """Return room for rows of the type of ``like``, flat, from the start of a cache line on.

    Loads that cross cache lines take twice as long.
    """
    room = np.empty(n_rows * LANES + _LINE, like.dtype)
    first = (-room.ctypes.data % _LINE) // room.itemsize
    return room[first : first + n_rows * LANES]


@compiled
def add_products(
    out: Any, o: Any, base: Any, b: Any, w: Any, w0: Any, stride: Any, n_out: Any, x: Any,
    x0: Any, n: Any,
) -> None:  # fmt: skip
    """Write to rows ``o`` on: rows ``b`` on of base plus weights times rows ``x0`` on."""
    for start in range(0, n, _DEPTH):
        size, at, source = min(_DEPTH, n - start), w0 + start, x0 + start
        k = 0
        while k + TILE <= n_out:
            product_tile(out, o + k, base, b + k, w, at + k * stride, stride, x, source, size)
            k += TILE
        at += k * stride
        if n_out - k == 1:
            product_1(out, o + k, base, b + k, w, at, stride, x, source, size)
        elif n_out - k == 2:
            product_2(out, o + k, base, b + k, w, at, stride, x, source, size)
        elif n_out - k == 3:
            product_3(out, o + k, base, b + k, w, at, stride, x, source, size)
        elif n_out - k == 4:
            product_4(out, o + k, base, b + k, w, at, stride, x, source, size)
        base, b = out, o


@compiled
def affine(
    out: Any, o: Any, w: Any, w0: Any, b0: Any, n_out: Any, n_in: Any, x: Any, x0: Any,
) -> None:  # fmt: skip
    """Write weights times inputs plus biases to rows ``o`` on."""
    for k in range(n_out):
        for i in range(LANES):
            out[(o + k) * LANES + i] = w[b0 + k]
    add_products(out, o, out, o, w, w0, n_in, n_out, x, x0, n_in)


@compiled
def activate(rows: Any, first: Any, n: Any, function: Any) -> None:
    """Replace ``n`` rows by their activation."""
    for k in range(first, first + n):
        if function == TANH:
            tanh_row(rows, k)
        elif function == RELU:
            relu_row(rows, k)
        elif function == SIGMOID:
            sigmoid_row(rows, k)
        else:
            softplus_row(rows, k)


@compiled
def judge(logits: Any, o: Any, n: Any, is_label: Any, y: Any, measure: Any) -> Any:
    """Return the sum over lanes of the negative cross-entropy, or of the hits."""
    if measure == CROSS_ENTROPY:
        return -np.float64(cross_entropy(logits, o, n, is_label, y))
    hits = 0.0
    for i in range(LANES):
        for k in range(n):
            if is_label[(y + k) * LANES + i] > 0:
                value = logits[(o + k) * LANES + i]
                is_hit = value == value
                for other in range(n):
                    is_hit &= other == k or logits[(o + other) * LANES + i] < value
                hits += is_hit
    return hits


@compiled_with_allocation
def score_dense(
    points: Any, x: Any, is_label: Any, layers: Any, function: Any, measure: Any, sums: Any,
) -> None:  # fmt: skip
    """Add to ``sums`` (n,) what each of the points (n, d) scores on all chunks.

    ``x`` (chunks, inputs, LANES) and ``is_label`` (chunks, classes, LANES) come flat.
    """
    n, d = points.shape
    w = points.reshape(-1)
    depth, n_rows = len(layers), layers[-1, 4] + layers[-1, 1]
    rows = scratch(n_rows, points)
    n_inputs, n_classes = layers[0, 0], layers[-1, 1]
    for p in range(n):
        for c in range(len(x) // (n_inputs * LANES)):
            source, at = x, c * n_inputs
            for k in range(depth):
                n_in, n_out, w0, b0, row = layers[k]
                affine(rows, row, w, p * d + w0, p * d + b0, n_out, n_in, source, at)
                if k + 1 < depth:
                    activate(rows, row, n_out, function)
                source, at = rows, row
            sums[p] += judge(rows, at, n_classes, is_label, c * n_classes, measure)


@compiled
def perturb(
    out: Any, o: Any, base: Any, b: Any, n: Any, left: Any, u0: Any, e0: Any, rank: Any,
    stride: Any, s: Any, s0: Any, scale: Any, bias_scale: Any,
) -> None:  # fmt: skip
    """Write ``base`` rows plus the perturbation of their units: sum of left times s, and bias."""
    for k in range(n):
        factor = scale * left[u0 + k]
        shifted_row(out, o + k, base, b + k, bias_scale * left[e0 + k], factor, s, s0)
        for r in range(1, rank):
            factor = scale * left[u0 + r * stride + k]
            shifted_row(out, o + k, out, o + k, factor * 0, factor, s, s0 + r)


@compiled
def copy_rows(out: Any, source: Any, first: Any, n: Any) -> None:
    """Copy ``n`` rows to the same place of another array."""
    for i in range(first * LANES, (first + n) * LANES):
        out[i] = source[i]


@compiled
def project(s: Any, s0: Any, right: Any, v0: Any, n: Any, rank: Any, x: Any, x0: Any) -> None:
    """Write the ``rank`` products of right vectors with the inputs to rows ``s0`` on."""
    for i in range(s0 * LANES, (s0 + rank) * LANES):
        s[i] = 0
    add_products(s, s0, s, s0, right, v0, n, rank, x, x0, n)


@compiled
def unperturbed(mean: Any, x: Any, c: Any, layers: Any, function: Any, z: Any, h: Any) -> None:
    """Write the sums ``z`` and the activities ``h`` of all units of the mean on chunk ``c``."""
    source, at = x, c * layers[0, 0]
    for k in range(len(layers)):
        n_in, n_out, w0, b0, row = layers[k]
        affine(z, row, mean, w0, b0, n_out, n_in, source, at)
        copy_rows(h, z, row, n_out)
        if k + 1 < len(layers):
            activate(h, row, n_out, function)
        source, at = h, row


@compiled_with_allocation
def score_whole(
    mean: Any, sigma: Any, left: Any, right: Any, places: Any, rank: Any, batch: Any, layers: Any,
    function: Any, measure: Any, sums: Any,
) -> None:  # fmt: skip
    """Add to ``sums`` (k, 2) what mean plus and minus each perturbation of all layers scores.

    ``left`` (k, a) and ``right`` (k, b) hold the vectors of a pair; ``places`` (layers, 3) says
    where in them those of a layer's outputs, biases and inputs begin. ``batch`` is the inputs
    (chunks, inputs, LANES) and the labels (chunks, classes, LANES), both flat.
    """
    x, is_label = batch
    depth, n_rows = len(layers), layers[-1, 4] + layers[-1, 1]
    n_inputs, n_classes = layers[0, 0], layers[-1, 1]
    z, h, rows = scratch(n_rows, mean), scratch(n_rows, mean), scratch(n_rows, mean)
    s = scratch(2 * rank, mean)
    u, v = left.reshape(-1), right.reshape(-1)
    n_left, n_right = left.shape[1], right.shape[1]
    for c in range(len(x) // (n_inputs * LANES)):
        unperturbed(mean, x, c, layers, function, z, h)
        for p in range(len(left)):
            first = p * n_right + places[0, 2]
            project(s, 0, v, first, n_inputs, rank, x, c * n_inputs)
            for sign in range(2):
                size = mean.dtype.type(sigma * (1 - 2 * sign))
                scale = mean.dtype.type(size / np.sqrt(rank))
                source, at = x, c * n_inputs
                for k in range(depth):
                    n_in, n_out, w0, b0, row = layers[k]
                    if k > 0:
                        v0 = p * n_right + places[k, 2]
                        project(s, rank, v, v0, n_in, rank, source, at)
                        affine(rows, row, mean, w0, b0, n_out, n_in, source, at)
                    base, s0 = (rows, rank) if k > 0 else (z, 0)
                    u0, e0 = p * n_left + places[k, 0], p * n_left + places[k, 1]
                    perturb(rows, row, base, row, n_out, u, u0, e0, rank, n_out, s, s0, scale, size)
                    if k + 1 < depth:
                        activate(rows, row, n_out, function)
                    source, at = rows, row
                sums[p, sign] += judge(rows, at, n_classes, is_label, c * n_classes, measure)


@compiled
def carry_on(
    rows: Any, h: Any, z: Any, mean: Any, layers: Any, k: Any, low: Any, high: Any, function: Any,
) -> None:  # fmt: skip
    """Bring changed units ``low`` to ``high`` of layer ``k`` to the logits, all in ``rows``.

    The next layer adds what they changed; layers after it are computed anew.
    """
    row, depth = layers[k, 4], len(layers)
    activate(rows, row + low, high - low, function)
    for unit in range(row + low, row + high):
        subtract_row(rows, unit, h, unit)
    n_in, n_out, w0, _, after = layers[k + 1]
    add_products(rows, after, z, after, mean, w0 + low, n_in, n_out, rows, row + low, high - low)
    for j in range(k + 2, depth):
        activate(rows, layers[j - 1, 4], layers[j - 1, 1], function)
        n_in, n_out, w0, b0, after = layers[j]
        affine(rows, after, mean, w0, b0, n_out, n_in, rows, layers[j - 1, 4])


@compiled_with_allocation
def score_parts(
    mean: Any, sigma: Any, left: Any, right: Any, places: Any, rank: Any, parts: Any, first: Any,
    batch: Any, layers: Any, function: Any, measure: Any, sums: Any,
) -> None:  # fmt: skip
    """Add to ``sums`` (n, signs) what mean plus (and minus) each part of a perturbation scores.

    Candidates are numbered parts first; ``sums`` is of those from number ``first`` on. ``parts``
    (parts, 3) says layer, first and last unit, exclusive; else as ``score_whole``.
    """
    x, is_label = batch
    depth, n_rows, n_parts = len(layers), layers[-1, 4] + layers[-1, 1], len(parts)
    n_inputs = layers[0, 0]
    z, h, rows = scratch(n_rows, mean), scratch(n_rows, mean), scratch(n_rows, mean)
    s = scratch(depth * rank, mean)
    u, v = left.reshape(-1), right.reshape(-1)
    stop = first + len(sums)
    for c in range(len(x) // (n_inputs * LANES)):
        unperturbed(mean, x, c, layers, function, z, h)
        for p in range(first // n_parts, (stop - 1) // n_parts + 1):
            for k in range(depth):
                source, at = (x, c * n_inputs) if k == 0 else (h, layers[k - 1, 4])
                v0 = p * right.shape[1] + places[k, 2]
                project(s, k * rank, v, v0, layers[k, 0], rank, source, at)
            for number in range(max(first, p * n_parts), min(stop, (p + 1) * n_parts)):
                k, low, high = parts[number - p * n_parts]
                at = (p * left.shape[1], k * rank, c * layers[-1, 1])
                for sign in range(sums.shape[1]):
                    step = mean.dtype.type(sigma * (1 - 2 * sign))
                    sums[number - first, sign] += score_part(
                        rows, h, z, mean, layers, function, k, low, high, u, places, rank, s, at,
                        step, is_label, measure,
                    )  # fmt: skip


@compiled
def score_part(
    rows: Any, h: Any, z: Any, mean: Any, layers: Any, function: Any, k: Any, low: Any, high: Any,
    u: Any, places: Any, rank: Any, s: Any, at: Any, step: Any, is_label: Any, measure: Any,
) -> Any:  # fmt: skip
    """Return what the mean scores with units ``low`` to ``high`` of layer ``k`` changed."""
    u_at, s_at, y_at = at
    last, n_classes = layers[-1, 4], layers[-1, 1]
    row, n_out = layers[k, 4] + low, layers[k, 1]
    if k + 1 == len(layers):
        copy_rows(rows, z, last, n_classes)
    u0, e0 = u_at + places[k, 0] + low, u_at + places[k, 1] + low
    scale = mean.dtype.type(step / np.sqrt(rank))
    perturb(rows, row, z, row, high - low, u, u0, e0, rank, n_out, s, s_at, scale, step)
    if k + 1 < len(layers):
        carry_on(rows, h, z, mean, layers, k, low, high, function)
    return judge(rows, last, n_classes, is_label, y_at, measure)
