"""The numerics contract: what every CPU tier must reproduce to the bit.

- Multiplication and addition are never fused and never reordered; there are no fast-math flags.
- Every sum over an index j runs in 16 lanes: lane k starts at +0 and adds the terms with
  j = k (mod 16) in ascending order; then lanes k and k + 8 are added, k and k + 4, k + 2, k + 1.
- Elementary functions are those of :mod:`evosearch.engine.elementary`.
- Random numbers inside lives are Philox 4x32-10 (Salmon et al. 2011), keyed by the draw, counted
  by (iteration, unit, stream, 0); see :mod:`evosearch.engine.philox`.

A deliberate change of any of these raises ``NUMERICS``; runs of another number are not resumed.
Since 2, means over minibatches of rules that read a modulator are matrix products too; since 3,
genetic programming breeds in batches and proposes other rules for the same seed.
"""

from __future__ import annotations

NUMERICS = 3
LANES = 16
BLOCK = 512
"""Values that one pass of the interpreter handles; a register of them stays in the L1 cache."""


def padded(n: int) -> int:
    """Return the values that n take in memory: whole vectors."""
    return -(-n // LANES) * LANES
