"""The steps of L-SHADE: settings drawn, mutants, and the means of settings that succeeded."""

from __future__ import annotations

from typing import Any

import numpy as np

from evosearch.outcome import FloatArray


def drawn_settings(
    rng: np.random.Generator, means_f: FloatArray, means_cr: FloatArray, n: int
) -> tuple[FloatArray, FloatArray]:
    """Draw F and CR of n trials, each about one of the remembered means.

    A remembered mean of CR below 0 stands for 0 for ever.
    """
    chosen = rng.integers(len(means_f), size=n)
    means = means_cr[chosen]
    cr = np.clip(means + 0.1 * rng.standard_normal(n), 0.0, 1.0)
    cr = np.where(means < 0.0, 0.0, cr)
    f = means_f[chosen] + 0.1 * rng.standard_cauchy(n)
    while (is_low := f <= 0.0).any():
        redrawn = means_f[chosen[is_low]]
        f[is_low] = redrawn + 0.1 * rng.standard_cauchy(len(redrawn))
    np.minimum(f, 1.0, out=f)
    return f, cr


def mutants(
    rng: np.random.Generator,
    members: FloatArray,
    fitness: FloatArray,
    archive: FloatArray,
    *,
    f: FloatArray,
    best_share: float,
    space: Any,
) -> FloatArray:
    """Return current-to-pbest/1 of each member (n, d), with the archive, within bounds.

    A number that leaves the bounds is put half way between its parent's and the bound.
    """
    x, f = members, f[:, None]
    n, own = len(x), np.arange(len(x))
    n_best = min(n, max(2, round(best_share * n)))
    best = np.argsort(-fitness, kind="stable")[:n_best]
    attracting = best[rng.integers(n_best, size=n)]
    first = rng.integers(n - 1, size=n)
    first += first >= own
    pool = np.concatenate([x, archive])
    second = rng.integers(len(pool) - 2, size=n)
    second += second >= np.minimum(own, first)
    second += second >= np.maximum(own, first)
    moved = x + f * (x[attracting] - x) + f * (x[first] - pool[second])
    if space.low is not None:
        moved = np.where(moved < space.low, (space.low + x) / 2, moved)
    if space.high is not None:
        moved = np.where(moved > space.high, (space.high + x) / 2, moved)
    return moved


def crossed(
    rng: np.random.Generator, moved: FloatArray, members: FloatArray, cr: FloatArray
) -> FloatArray:
    """Return members (n, d) that take each number of a mutant with probability CR, one at least."""
    n, d = moved.shape
    is_new = rng.random((n, d)) < cr[:, None]
    is_new[np.arange(n), rng.integers(d, size=n)] = True
    return np.where(is_new, moved, members)


def successful_means(
    gain: FloatArray, f: FloatArray, cr: FloatArray, last_cr: float
) -> tuple[float, float]:
    """Return the Lehmer means of F and CR that succeeded, weighted by what was gained.

    Args:
        gain: (k,) fitness gained, > 0; infinite where the parent had none.
        f: (k,) F of the trials.
        cr: (k,) CR of the trials.
        last_cr: the mean that is replaced; once it is below 0 it stays so.
    """
    is_finite = np.isfinite(gain)
    gain = np.where(is_finite, gain, gain[is_finite].max(initial=1.0))
    gain /= gain.max()
    is_over = last_cr < 0.0 or cr.max() == 0.0
    mean_f = (gain @ f**2) / (gain @ f)
    return float(mean_f), -1.0 if is_over else float((gain @ cr**2) / (gain @ cr))
