"""What a draw decides, the same for every learner: initial weights and the order of examples."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from evosearch.tasks.base import Key, draw_rng

WEIGHTS, ORDER, FEEDBACK, NOISE = 0, 1, 2, 3
"""Streams of a draw: no two purposes share random numbers."""


def normal_weights(rng: np.random.Generator, n_out: int, n_in: int) -> NDArray[np.float64]:
    """Draw a matrix (n_out, n_in) from N(0, 1 / n_in)."""
    return rng.normal(0.0, n_in**-0.5, (n_out, n_in))


def initial_weights(key: Key, sizes: Sequence[int]) -> list[NDArray[np.float64]]:
    """Draw the matrix (n_out, n_in) of each layer, from the bottom.

    Args:
        key: of the draw.
        sizes: units of each layer, inputs first.
    """
    rng = draw_rng(key, WEIGHTS)
    return [normal_weights(rng, n_out, n_in) for n_in, n_out in pairwise(sizes)]


def order_of_examples(key: Key, n: int, batch: int, updates: int) -> NDArray[np.int64]:
    """Draw which example is shown when (updates * batch,).

    Examples are shuffled anew for every pass; a last minibatch that is not full is left out.

    Args:
        key: of the draw.
        n: examples.
        batch: of a minibatch, at most n.
        updates: minibatches.
    """
    rng = draw_rng(key, ORDER)
    whole = n // batch * batch
    passes = -(-updates * batch // whole)
    order = np.concatenate([rng.permutation(n)[:whole] for _ in range(passes)])
    return order[: updates * batch]
