"""Learners that need the whole training part at once: sweeps counted as updates."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evosearch.errors import InputError
from evosearch.learners.base import Lesson, Networks
from evosearch.learners.mlp import Array, Curve

MEMORY_LIMIT = 4 * 2**30
"""Bytes of auxiliary values that a full-batch learner may hold."""


def updates_per_sweep(lesson: Lesson) -> int:
    """Return how many updates of a minibatch show as many examples as one sweep, at least 1."""
    return max(1, len(lesson.train) // lesson.batch)


def check_sweeps(name: str, lesson: Lesson, copies: int) -> None:
    """Raise InputError where a lesson has no time for a sweep or no memory for its values.

    Args:
        name: of the learner.
        lesson: what is to be learned.
        copies: float64 numbers that it holds for each unit, example and draw.
    """
    span = updates_per_sweep(lesson)
    if lesson.updates < span:
        raise InputError(
            f"learner {name!r} sweeps over the whole training part, which counts as {span} "
            f"updates; updates is {lesson.updates}, give more or use a learner of minibatches, "
            "such as bp."
        )
    needed = 8 * copies * len(lesson.keys) * len(lesson.train) * sum(lesson.sizes)
    if needed > MEMORY_LIMIT:
        raise InputError(
            f"learner {name!r} holds values of all {len(lesson.train)} examples of "
            f"{len(lesson.keys)} draws at once, {needed / 2**30:.1f} GiB; the limit is "
            f"{MEMORY_LIMIT / 2**30:.0f} GiB, so give fewer seeds or examples, or use a learner of "
            "minibatches, such as bp."
        )


def live_in_sweeps(
    lesson: Lesson,
    networks: Networks,
    state: list[Array],
    sweep: Callable[[int, int], None],
) -> Curve:
    """Let D lives go through their sweeps, and return their curves.

    A sweep counts as as many updates as show its examples in minibatches; it is done when they
    are, so accuracy stands still in between. Updates that are left over are not used.

    Args:
        lesson: what is learned.
        networks: which ``sweep`` changes.
        state: arrays (D, ...) that must stay finite; changed in place by ``sweep``.
        sweep: called with the number of the sweep, from 0, and how many there are.
    """
    curve = Curve(lesson)
    span = updates_per_sweep(lesson)
    for update in range(1, lesson.updates + 1):
        if update % span == 0:
            with np.errstate(all="ignore"):
                sweep(update // span - 1, lesson.updates // span)
        if update % span == 0 or update % lesson.check_every == 0:
            curve.record(update, networks, state)
    return curve


def solve(matrices: NDArray[Any], right: NDArray[Any]) -> NDArray[Any]:
    """Return the solutions of D systems of positive definite matrices; NaN where not finite.

    Args:
        matrices: (D, n, n).
        right: (D, n, k).
    """
    both = np.concatenate([matrices, right], axis=2)
    is_finite = np.asarray(np.isfinite(both).all(axis=(1, 2)))
    if is_finite.all():
        return np.linalg.solve(matrices, right)
    keep = is_finite[:, None, None]
    found = np.linalg.solve(np.where(keep, matrices, np.eye(matrices.shape[1])), right)
    return np.where(keep, found, np.nan)
