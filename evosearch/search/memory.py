"""A bounded memory of what was proposed, so that searches do not repeat themselves."""

from __future__ import annotations

from collections.abc import Hashable
from hashlib import blake2b
from typing import Any

import numpy as np
from numpy.typing import NDArray


class Memory:
    """The last ``capacity`` keys, as 64-bit hashes that are the same in every process.

    Two of a million different keys share a hash with probability 3e-8; then one candidate is
    left out.
    """

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._hashes: dict[int, None] = {}

    def __contains__(self, key: Hashable) -> bool:
        return hash_of(key) in self._hashes

    def add(self, key: Hashable) -> None:
        """Remember ``key``; the oldest one is forgotten where there are too many."""
        self._add(hash_of(key))

    def _add(self, hashed: int) -> None:
        self._hashes[hashed] = None
        if len(self._hashes) > self._capacity:
            del self._hashes[next(iter(self._hashes))]

    def add_new(self, key: Hashable) -> bool:
        """Remember ``key``; return whether it was unknown."""
        return self.add_new_hash(hash_of(key))

    def add_new_hash(self, hashed: int) -> bool:
        """Remember a key by its 64-bit hash; return whether it was unknown."""
        if hashed in self._hashes:
            return False
        self._add(hashed)
        return True

    def clear(self) -> None:
        """Forget all."""
        self._hashes.clear()

    def to_array(self) -> NDArray[np.uint64]:
        """Return the hashes, oldest first."""
        return np.fromiter(self._hashes, dtype=np.uint64, count=len(self._hashes))

    def load(self, hashes: NDArray[Any]) -> None:
        """Take over what ``to_array`` returned."""
        self._hashes = dict.fromkeys(np.asarray(hashes, dtype=np.uint64).tolist())


def hash_of(key: Hashable) -> int:
    """Return 64 bits of a key, the same in every process."""
    data = key if isinstance(key, bytes) else repr(key).encode()
    return int.from_bytes(blake2b(data, digest_size=8).digest(), "little")
