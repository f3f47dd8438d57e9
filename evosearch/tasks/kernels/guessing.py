"""Lives that guess undecided loci until all are right; see ``hinton_nowlan``."""

from __future__ import annotations

from typing import Any

import numpy as np

from evosearch.engine.cache import compiled

# SplitMix64: G. Steele, D. Lea, C. Flood, "Fast Splittable Pseudorandom Number Generators", 2014.
_STEP = np.uint64(0x9E3779B97F4A7C15)
_MIX = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)


@compiled
def _mixed(word: Any) -> Any:
    word = (word ^ (word >> np.uint64(30))) * _MIX[0]
    word = (word ^ (word >> np.uint64(27))) * _MIX[1]
    return word ^ (word >> np.uint64(31))


@compiled
def guess(wrong: Any, undecided: Any, seeds: Any, n_guesses: Any, used: Any) -> None:
    """Write the number (n, D) of the first guess that is right, where there is one.

    What a genome guesses follows from the draw's seed and its undecided loci alone. Genomes with a
    0, which guess in vain, and those with nothing to guess are left as they are.
    """
    for n in range(wrong.size):
        if wrong[n] != 0 or undecided[n] == 0:
            continue
        for d in range(seeds.size):
            state = _mixed(seeds[d] + _STEP * _mixed(undecided[n]))
            for number in range(n_guesses):
                state += _STEP
                if _mixed(state) & undecided[n] == undecided[n]:
                    used[n, d] = number + 1
                    break
