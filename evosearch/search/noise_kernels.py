"""Compiled loops over random numbers that are made where they are used and never stored.

Numbers of a row depend on a key of two words, the row and their place in it alone. All of it is
plain, unfused IEEE arithmetic in a fixed order, hence the same bits on every machine.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from evosearch.engine import elementary
from evosearch.engine.cache import compiled, compiled_with_allocation

# Numbers of a row that are made at a time; they and their sums stay in the nearest cache.
TILE = 2048
NORMAL, SIGNS = 0, 1

_PARITY = np.uint32(0x1BD11BDA)
_UNIT = np.float32(2.0**-32)
_ANGLE = np.float32(math.pi / 4 * 2.0**-29)
# Taylor series of sin(x) / x and cos(x) in x^2, of which x is at most pi/4.
_S3, _S5, _S7, _S9 = (np.float32(c) for c in (-1 / 6, 1 / 120, -1 / 5040, 1 / 362880))
_C2, _C4, _C6, _C8 = (np.float32(c) for c in (-1 / 2, 1 / 24, -1 / 720, 1 / 40320))


@compiled
def _rotated(x: Any, n: Any) -> Any:
    return np.uint32(np.uint32(x << np.uint32(n)) | np.uint32(x >> np.uint32(32 - n)))


@compiled
def _round(x0: Any, x1: Any, x2: Any, x3: Any, left: Any, right: Any) -> Any:
    """Mix two pairs of words; the second words change places for the next round."""
    x0, x2 = np.uint32(x0 + x1), np.uint32(x2 + x3)
    x1, x3 = np.uint32(_rotated(x1, left) ^ x0), np.uint32(_rotated(x3, right) ^ x2)
    return x0, x3, x2, x1


@compiled
def _first_rounds(x0: Any, x1: Any, x2: Any, x3: Any) -> Any:
    x0, x1, x2, x3 = _round(x0, x1, x2, x3, 10, 26)
    x0, x1, x2, x3 = _round(x0, x1, x2, x3, 11, 21)
    x0, x1, x2, x3 = _round(x0, x1, x2, x3, 13, 27)
    return _round(x0, x1, x2, x3, 23, 5)


@compiled
def _with_key(x0: Any, x1: Any, x2: Any, x3: Any, k0: Any, k1: Any, k2: Any, k3: Any) -> Any:
    return np.uint32(x0 + k0), np.uint32(x1 + k1), np.uint32(x2 + k2), np.uint32(x3 + k3)


@compiled
def threefry(x0: Any, x1: Any, x2: Any, x3: Any, k0: Any, k1: Any, k2: Any, k3: Any) -> Any:
    """Return four words (uint32) for a counter and a key of four words each.

    Threefry-4x32 of 13 rounds; 12 pass BigCrush. J. Salmon, M. Moraes, R. Dror, D. Shaw,
    "Parallel Random Numbers: As Easy as 1, 2, 3", SC 2011, section 4.1 and table 2.
    """
    k4 = np.uint32(_PARITY ^ k0 ^ k1 ^ k2 ^ k3)
    x0, x1, x2, x3 = _with_key(x0, x1, x2, x3, k0, k1, k2, k3)
    x0, x1, x2, x3 = _first_rounds(x0, x1, x2, x3)
    x0, x1, x2, x3 = _with_key(x0, x1, x2, x3, k1, k2, k3, np.uint32(k4 + np.uint32(1)))
    x0, x1, x2, x3 = _round(x0, x1, x2, x3, 6, 20)
    x0, x1, x2, x3 = _round(x0, x1, x2, x3, 17, 11)
    x0, x1, x2, x3 = _round(x0, x1, x2, x3, 25, 10)
    x0, x1, x2, x3 = _round(x0, x1, x2, x3, 18, 20)
    x0, x1, x2, x3 = _with_key(x0, x1, x2, x3, k2, k3, k4, np.uint32(k0 + np.uint32(2)))
    x0, x1, x2, x3 = _first_rounds(x0, x1, x2, x3)
    x0, x1, x2, x3 = _with_key(x0, x1, x2, x3, k3, k4, k0, np.uint32(k1 + np.uint32(3)))
    x0, x1, x2, x3 = _round(x0, x1, x2, x3, 6, 20)
    return x0, x3, x2, x1


@compiled
def _normal_pair(a: Any, b: Any) -> Any:
    """Return two independent numbers (float32) from N(0, 1) for two words.

    G. Box, M. Muller, "A Note on the Generation of Random Normal Deviates", Annals of Mathematical
    Statistics 29, 1958: the angle is one of -pi/4 … pi/4, by 30 bits, in one of four quarters.
    """
    uniform = (np.float32(a) + np.float32(0.5)) * _UNIT
    radius = np.float32(math.sqrt(np.float32(-2.0) * elementary.log(uniform)))
    angle = np.float32(np.int32(np.uint32(b << np.uint32(2))) >> np.int32(2)) * _ANGLE
    q = angle * angle
    sine = angle * (np.float32(1.0) + q * (_S3 + q * (_S5 + q * (_S7 + q * _S9))))
    cosine = np.float32(1.0) + q * (_C2 + q * (_C4 + q * (_C6 + q * _C8)))
    cosine = cosine if (b & np.uint32(0x80000000)) == np.uint32(0) else -cosine
    is_swapped = (b & np.uint32(0x40000000)) != np.uint32(0)
    return (
        radius * (sine if is_swapped else cosine),
        radius * (cosine if is_swapped else sine),
    )


@compiled
def _words(i: Any, kind: Any, key: Any, row: Any, tile: Any) -> Any:
    zero = np.uint32(0)
    counter = np.uint32(i), np.uint32(tile), np.uint32(row), np.uint32(kind)
    return threefry(*counter, key[0], key[1], zero, zero)


@compiled
def _sign(word: Any) -> Any:
    return np.float32(1.0) if (word & np.uint32(1)) == np.uint32(0) else np.float32(-1.0)


@compiled
def _fill_normal(z: Any, n: Any, key: Any, row: Any, tile: Any) -> None:
    """Write the first ``n`` normal numbers of a tile of a row, rounded up to four."""
    quarter = (n + 3) // 4
    for i in range(quarter):
        a, b, c, d = _words(i, NORMAL, key, row, tile)
        z[i], z[i + quarter] = _normal_pair(a, b)
        z[i + 2 * quarter], z[i + 3 * quarter] = _normal_pair(c, d)


@compiled
def _fill_signs(z: Any, n: Any, key: Any, row: Any, tile: Any) -> None:
    """Write the first ``n`` numbers -1 or 1 of a tile of a row, rounded up to four."""
    quarter = (n + 3) // 4
    for i in range(quarter):
        a, b, c, d = _words(i, SIGNS, key, row, tile)
        z[i], z[i + quarter] = _sign(a), _sign(b)
        z[i + 2 * quarter], z[i + 3 * quarter] = _sign(c), _sign(d)


@compiled_with_allocation
def _tile(z: Any, n: Any, source: Any, row: Any, start: Any) -> Any:
    """Return ``n`` numbers of a row from ``start``: drawn into ``z``, or where they are kept."""
    kind, key, kept, starts = source
    if len(starts) > 0:
        first = starts[row] + start
        return kept[first : first + n]
    if kind == SIGNS:
        _fill_signs(z, n, key, row, start // TILE)
    else:
        _fill_normal(z, n, key, row, start // TILE)
    return z[:n]


@compiled_with_allocation
def write_rows(source: Any, out: Any) -> None:
    """Write all rows to ``out`` (n, d) float32; ``source`` as in ``write_points``, none kept."""
    z = np.empty(TILE, dtype=np.float32)
    for row in range(len(out)):
        for start in range(0, out.shape[1], TILE):
            end = min(start + TILE, out.shape[1])
            out[row, start:end] = _tile(z, end - start, source, row, start)


@compiled
def _add_step(mean: Any, sigma: Any, z: Any, out: Any) -> None:
    for j in range(len(out)):
        out[j] = mean[j] + sigma[j] * z[j]


@compiled
def _add_mirrored(mean: Any, sigma: Any, z: Any, out: Any, mirrored: Any) -> None:
    for j in range(len(out)):
        step = sigma[j] * z[j]
        out[j] = mean[j] + step
        mirrored[j] = mean[j] - step


@compiled_with_allocation
def write_points(
    source: Any, first: Any, mean: Any, sigma: Any, is_mirrored: Any, out: Any
) -> None:
    """Write ``mean + sigma z`` of rows from ``first`` to ``out``, each with its mirror image.

    Args:
        source: kind, key (2,) uint32, and kept numbers with the start of each row; none: drawn.
        first: the row of the first point.
        mean: (d,) of the type of ``out``.
        sigma: (d,) the same.
        is_mirrored: whether ``mean - sigma z`` follows each point.
        out: (n, d).
    """
    z = np.empty(TILE, dtype=np.float32)
    n_per_row = 2 if is_mirrored else 1
    for start in range(0, len(mean), TILE):
        end = min(start + TILE, len(mean))
        for k in range(len(out) // n_per_row):
            numbers = _tile(z, end - start, source, first + k, start)
            m, s = mean[start:end], sigma[start:end]
            if is_mirrored:
                _add_mirrored(m, s, numbers, out[2 * k][start:end], out[2 * k + 1][start:end])
            else:
                _add_step(m, s, numbers, out[k][start:end])


@compiled
def _add_weighted(weight: Any, z: Any, out: Any) -> None:
    for j in range(len(out)):
        out[j] += weight * np.float64(z[j])


@compiled
def _add_weighted_squares(weight: Any, z: Any, out: Any) -> None:
    for j in range(len(out)):
        number = np.float64(z[j])
        out[j] += weight * (number * number)


@compiled_with_allocation
def add_sums(source: Any, weights: Any, total: Any, square_weights: Any, squares: Any) -> None:
    """Add weights times rows to ``total``, and weights times their squares to ``squares``.

    Args:
        source: see ``write_points``.
        weights: (n,) float64, of row 0 and on; rows of weight 0 are not drawn.
        total: (d,) float64.
        square_weights: (n,) float64, or (0,) for no squares.
        squares: (d,) float64, or (0,).
    """
    z = np.empty(TILE, dtype=np.float32)
    has_squares = len(square_weights) > 0
    for start in range(0, len(total), TILE):
        end = min(start + TILE, len(total))
        for row in range(len(weights)):
            if weights[row] != 0.0 or (has_squares and square_weights[row] != 0.0):
                numbers = _tile(z, end - start, source, row, start)
                _add_weighted(weights[row], numbers, total[start:end])
                if has_squares:
                    _add_weighted_squares(square_weights[row], numbers, squares[start:end])
