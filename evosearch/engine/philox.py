"""Random numbers inside lives: Philox 4x32-10, counter-based, specified to the bit.

Salmon, Moraes, Dror, Shaw (2011), "Parallel random numbers: as easy as 1, 2, 3".
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from evosearch.engine import elementary
from evosearch.engine.cache import compiled

_M0, _M1 = np.uint64(0xD2511F53), np.uint64(0xCD9E8D57)
_W0, _W1 = np.uint64(0x9E3779B9), np.uint64(0xBB67AE85)
_MASK, _HALF = np.uint64(0xFFFFFFFF), np.uint64(32)


@compiled
def philox(c0: Any, c1: Any, c2: Any, c3: Any, k0: Any, k1: Any) -> Any:
    """Return four 32-bit words (as uint64) for a counter of four words and a key of two."""
    for _ in range(10):
        p0, p1 = _M0 * c0, _M1 * c2
        c0, c1, c2, c3 = (
            (p1 >> _HALF) ^ c1 ^ k0,
            p1 & _MASK,
            (p0 >> _HALF) ^ c3 ^ k1,
            p0 & _MASK,
        )
        k0, k1 = (k0 + _W0) & _MASK, (k1 + _W1) & _MASK
    return c0, c1, c2, c3


@compiled
def uniform(high: Any, low: Any) -> Any:
    """Return a float64 in (0, 1): 52 bits of two words, centred in their interval."""
    bits = (high << np.uint64(20)) | (low >> np.uint64(12))
    return (np.float64(bits) + 0.5) * 2.0**-52


@compiled
def normal(first: Any, second: Any) -> Any:
    """Return a float64 from N(0, 1) by Box and Muller (1958), from two uniforms."""
    return math.sqrt(-2.0 * elementary.log(first)) * elementary.sin(
        2.0 * math.pi * second + 0.5 * math.pi
    )


@compiled
def fill(keys: Any, first_step: Any, stream: Any, is_normal: Any, out: Any) -> None:
    """Fill ``out`` (D, steps, n) float64 with the numbers of one phase."""
    for draw in range(out.shape[0]):
        k0, k1 = np.uint64(keys[draw, 0]), np.uint64(keys[draw, 1])
        for step in range(out.shape[1]):
            counter = np.uint64(first_step + step)
            for unit in range(out.shape[2]):
                a, b, c, d = philox(
                    counter, np.uint64(unit), np.uint64(stream), np.uint64(0), k0, k1
                )
                value = uniform(a, b)
                if is_normal:
                    value = normal(value, uniform(c, d))
                out[draw, step, unit] = value
