"""The random points at which rules are compared, and how their values are rounded."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

MODULUS = 2**61 - 1
N_NUMERIC, N_HASHED = 24, 16
DIGIT_BITS, HASHED_BITS = 33, 30
TINY = 1e-10
_PROBE_SEED, _HASHED_SEED = 20_241_961, 20_240_117


def residues_of(name: str) -> NDArray[np.uint64]:
    """Return a terminal's two random residues modulo 2^61 - 1."""
    return _rng(name).integers(0, MODULUS, 2).astype(np.uint64)


def numbers_of(name: str) -> NDArray[np.float64]:
    """Return a terminal's 24 random numbers in (-2, 2)."""
    return _rng(name).uniform(-2.0, 2.0, N_NUMERIC)


def hashed_numbers_of(name: str) -> NDArray[np.float64]:
    """Return a terminal's 16 random numbers in (-2, 2), for hashes."""
    return np.random.default_rng([_HASHED_SEED, *name.encode()]).uniform(-2.0, 2.0, N_HASHED)


@lru_cache(maxsize=1)
def mixing_words() -> NDArray[np.uint64]:
    """Return odd random weights (2, 2, 24, 1): of digits and of exponents, for two sums."""
    words = _rng("words").integers(0, 2**63, (2, 2, N_NUMERIC, 1), dtype=np.uint64)
    return words * np.uint64(2) + np.uint64(1)


def _rng(name: str) -> np.random.Generator:
    """Return the generator of a terminal's probe values; the same in every search."""
    return np.random.default_rng([_PROBE_SEED, *name.encode()])
