"""Many small searches at once: full CMA-ES in float64 on stacked matrices."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from evosearch.errors import InputError
from evosearch.outcome import FloatArray
from evosearch.search.base import State, restore_rng, rng_state
from evosearch.search.cma_constants import cma_constants

Status: TypeAlias = Literal[
    "running", "target", "budget", "flat", "converged", "ill-conditioned", "diverged", "failed"
]
IndexArray: TypeAlias = NDArray[np.int64]
BatchLoss: TypeAlias = Callable[[FloatArray, IndexArray], ArrayLike]
"""``fun(points (a, population, d), which (a,)) -> losses (a, population)``: the points of those
searches that still run, and their positions among all."""

_ARRAYS = (
    "mean", "sigma", "sigma0", "path_sigma", "path_c", "covariance", "axes", "lengths", "z",
    "history", "n_failures",
)  # fmt: skip
_STREAM = 0xBA7C4  # apart from the numbers of other searches with the same seed
_NUMBERS_AHEAD, _GENERATIONS_AHEAD = 2**13, 32
_LARGEST_CONDITION = 1e14
_LARGEST_GROWTH = 1e4
_FAILURES = 20  # generations in a row without any finite loss


@dataclass(frozen=True)
class Minima:
    """What n searches found.

    Attributes:
        x: (n, d) the best points.
        loss: (n,) their losses, infinite where no point had one.
        evaluations: (n,) points scored.
        status: (n,) why each search ended: ``target`` reached, ``budget`` spent, losses ``flat``,
            steps so short that it has ``converged``, covariance ``ill-conditioned``, steps
            ``diverged``, or all points ``failed``.
    """

    x: FloatArray
    loss: FloatArray
    evaluations: IndexArray
    status: tuple[Status, ...]


class BatchedCmaEs:
    """n searches by CMA-ES side by side, minimising; each is what it would be alone.

    Covariances are full, with active updates and the constants of pycma; they are decomposed once
    they have learned enough, as in Hansen's purecma. All of a generation is a few operations on
    stacked arrays, so that for small dimensions the time goes to arithmetic and not to the
    interpreter. A search that ended leaves the batch. Bit for bit a search depends on its start,
    its seed and its losses, not on the others.

    Sources: N. Hansen, "The CMA Evolution Strategy: A Tutorial", 2016, arXiv:1604.00772;
    G. Jastrebski, D. Arnold, "Improving Evolution Strategies through Active Covariance Matrix
    Adaptation", CEC 2006.

    Args:
        x0: (n, d) where each search starts.
        sigma0: size of the first steps, one or (n,), > 0.
        population: candidates a generation, at least 4; 0: 4 + 3 ln d.
        seeds: (n,) at least 0; None for 0 … n - 1.
        budget: points that each search may score; it ends with the generation that reaches it.
        target: a search ends at a loss as low as this.
        tolerance: a search has converged where all its steps are shorter than this.
        flat: it ends where its best losses of the last generations differ by less than this.

    Attributes:
        active: (a,) positions of the searches that still run, rising.

    Raises:
        InputError: an argument is out of range, or losses have another shape.

    Example:
        >>> searches = BatchedCmaEs(np.ones((3, 2)), 0.5, target=1e-6)
        >>> while len(searches.active):
        ...     searches.tell((searches.ask() ** 2).sum(axis=2))
        >>> searches.minima().status
        ('target', 'target', 'target')
    """

    def __init__(
        self,
        x0: ArrayLike,
        sigma0: ArrayLike,
        *,
        population: int = 0,
        seeds: Sequence[int] | None = None,
        budget: int = 100_000,
        target: float = -math.inf,
        tolerance: float = 1e-11,
        flat: float = 1e-11,
    ) -> None:
        mean, sigma = _starts(x0, sigma0)
        n, d = mean.shape
        if population != 0 and population < 4:
            raise InputError(f"population is {population}; it must be 0 or at least 4.")
        if budget < 1:
            raise InputError(f"budget is {budget}; it must be at least 1.")
        self._population = population or 4 + int(3 * math.log(d))
        self._constants = cma_constants(d, self._population)
        self._gap = 0.5 / ((self._constants.c_1 + self._constants.c_mu) * d)
        self._budget, self._target = budget, target
        self._tolerance, self._flat = tolerance, flat
        self._rngs = _generators(n, seeds)
        self._n_generations, self._n_decomposed_at = 0, 0
        self._found = Minima(mean.copy(), np.full(n, np.inf), np.zeros(n, dtype=np.int64), ())
        self._status: list[Status] = ["running"] * n
        self.active: IndexArray = np.arange(n)
        self._mean, self._sigma, self._sigma0 = mean, sigma, sigma.copy()
        self._path_sigma, self._path_c = np.zeros((n, d)), np.zeros((n, d))
        # Unequal by little, as in pycma, so that no two axes are alike.
        variances = np.exp(1e-4 / d * np.arange(d))
        self._covariance: FloatArray = np.tile(np.diag(variances), (n, 1, 1))
        self._axes: FloatArray = np.tile(np.eye(d), (n, 1, 1))  # B, its columns eigenvectors
        self._lengths: FloatArray = np.tile(np.sqrt(variances), (n, 1))  # D
        self._z = np.empty((n, 0, self._population, d))
        self._n_z_used = 0
        n_kept = 10 + math.ceil(30 * d / self._population)
        self._history: FloatArray = np.full((n, n_kept), np.inf)
        self._n_failures: IndexArray = np.zeros(n, dtype=np.int64)
        self._steps: FloatArray = np.empty((0, self._population, d))

    def ask(self) -> FloatArray:
        """Return the points (a, population, d) of the searches in ``active``."""
        if self._n_z_used == self._z.shape[1]:
            self._draw()
        z = self._z[:, self._n_z_used]
        self._steps = np.matmul(z * self._lengths[:, None], self._axes.transpose(0, 2, 1))
        return self._mean[:, None] + self._sigma[:, None, None] * self._steps

    def tell(self, losses: ArrayLike) -> None:
        """Learn the losses (a, population) of the last ``ask``; not finite: a point that failed."""
        values = np.asarray(losses, dtype=np.float64)
        if values.shape != self._steps.shape[:2] or not len(self._steps):
            raise InputError(
                f"losses have shape {values.shape}; ask() was answered by points of shape "
                f"{self._steps.shape}, so they must be {self._steps.shape[:2]}."
            )
        values = np.where(np.isfinite(values), values, np.inf)
        order = np.argsort(values, axis=1, kind="stable")
        self._n_generations += 1
        best = self._note_best(values, order)
        has_failed = np.isinf(best)
        before = self._learned_state(has_failed) if has_failed.any() else None
        self._learn(order)
        if before is not None:
            for array, rows in zip(self._learned(), before, strict=True):
                array[has_failed] = rows
        self._n_z_used += 1
        self._steps = self._steps[:0]
        self._n_failures = np.where(has_failed, self._n_failures + 1, 0)
        self._stop(best)
        if self._n_generations >= self._n_decomposed_at + self._gap and len(self.active):
            self._decompose()

    def minima(self) -> Minima:
        """Return the best points so far."""
        found = self._found
        return Minima(found.x.copy(), found.loss.copy(), found.evaluations.copy(), (*self._status,))

    def state_dict(self) -> State:
        """Return all that changes, between ``tell`` and ``ask``."""
        found = self._found
        return {
            "rngs": [rng_state(rng) for rng in self._rngs],
            "arrays": {name: getattr(self, f"_{name}").copy() for name in _ARRAYS},
            "found": {
                "x": found.x.copy(),
                "loss": found.loss.copy(),
                "evaluations": found.evaluations.copy(),
            },
            "active": self.active.copy(),
            "status": list(self._status),
            "counts": [self._n_generations, self._n_decomposed_at, self._n_z_used],
        }

    def load_state_dict(self, state: State) -> None:
        """Go on as the searches that wrote ``state``, made with the same arguments."""
        self._rngs = self._rngs[: len(state["rngs"])]
        for rng, own in zip(self._rngs, state["rngs"], strict=True):
            restore_rng(rng, own)
        for name in _ARRAYS:
            setattr(self, f"_{name}", np.array(state["arrays"][name]))
        found = {name: np.array(values) for name, values in state["found"].items()}
        self._found = Minima(**found, status=())
        self.active = np.array(state["active"], dtype=np.int64)
        self._status = list(state["status"])
        self._n_generations, self._n_decomposed_at, self._n_z_used = state["counts"]
        self._steps = self._steps[:0]

    def _draw(self) -> None:
        """Draw normal numbers of several generations, each search from its own generator."""
        a, d = self._mean.shape
        per_generation = self._population * d
        n_ahead = max(1, min(_GENERATIONS_AHEAD, _NUMBERS_AHEAD // per_generation))
        self._z = np.empty((a, n_ahead, self._population, d))
        for rng, z in zip(self._rngs, self._z, strict=True):
            rng.standard_normal(out=z)
        self._n_z_used = 0

    def _note_best(self, values: FloatArray, order: IndexArray) -> FloatArray:
        """Keep points that are the best of their search so far; return the generation's best."""
        rows, first = np.arange(len(order)), order[:, 0]
        best = values[rows, first]
        is_better = best < self._found.loss[self.active]
        which = self.active[is_better]
        steps = self._steps[rows, first][is_better]
        self._found.x[which] = self._mean[is_better] + self._sigma[is_better, None] * steps
        self._found.loss[which] = best[is_better]
        self._found.evaluations[self.active] += self._population
        self._history[:, self._n_generations % self._history.shape[1]] = best
        return best

    def _learned(self) -> tuple[FloatArray, ...]:
        return self._mean, self._sigma, self._path_sigma, self._path_c, self._covariance

    def _learned_state(self, which: NDArray[np.bool_]) -> list[FloatArray]:
        return [array[which] for array in self._learned()]

    def _learn(self, order: IndexArray) -> None:
        """Update mean, paths, covariance and step size in place (tutorial, equations 41 to 47)."""
        c, d = self._constants, self._mean.shape[1]
        rows = np.arange(len(order))[:, None]
        z = self._z[:, self._n_z_used][rows, order]
        vectors = np.empty((len(order), 1 + self._population, d))  # the path, then the steps
        vectors[:, 1:] = self._steps[rows, order]
        parents = c.weights[: c.n_parents]
        step = np.matmul(parents, vectors[:, 1 : 1 + c.n_parents])
        # C^(-1/2) of a step B D z is B z, without an inverse.
        isotropic = np.matmul(self._axes, np.matmul(parents, z[:, : c.n_parents])[..., None])[
            ..., 0
        ]
        self._mean += self._sigma[:, None] * step
        self._path_sigma *= 1 - c.c_sigma
        self._path_sigma += math.sqrt(c.c_sigma * (2 - c.c_sigma) * c.mu_eff) * isotropic
        squared = (self._path_sigma * self._path_sigma).sum(axis=1)
        expected = d * (1 - (1 - c.c_sigma) ** (2 * self._n_generations))
        is_moderate = squared < (2 + 4 / (d + 1)) * expected  # h_sigma
        self._path_c *= 1 - c.c_c
        self._path_c += (math.sqrt(c.c_c * (2 - c.c_c) * c.mu_eff) * is_moderate)[:, None] * step
        vectors[:, 0] = self._path_c
        self._learn_covariance(vectors, z, is_moderate)
        change = c.c_sigma / c.damping * (np.sqrt(squared) / c.chi - 1)
        self._sigma *= np.exp(np.minimum(1.0, change))

    def _learn_covariance(
        self, vectors: FloatArray, z: FloatArray, is_moderate: NDArray[np.bool_]
    ) -> None:
        c, d = self._constants, z.shape[2]
        weights = np.empty(vectors.shape[:2])
        weights[:, 0] = c.c_1
        weights[:, 1:] = c.c_mu * c.weights
        # A step that is unlearned counts as if it had the length of sqrt(d).
        lengths = np.sqrt((z[:, c.n_parents :] ** 2).sum(axis=2))
        weights[:, 1 + c.n_parents :] *= d / (lengths + 1e-9) ** 2
        lost = np.where(is_moderate, 0.0, c.c_1 * c.c_c * (2 - c.c_c))
        kept = 1 - c.c_1 + lost - c.c_mu * c.weights.sum()
        self._covariance *= kept[:, None, None]
        weighted = (weights[:, :, None] * vectors).transpose(0, 2, 1)
        self._covariance += np.matmul(weighted, vectors)

    def _decompose(self) -> None:
        """Decompose the covariances into axes and their lengths."""
        self._covariance += self._covariance.transpose(0, 2, 1).copy()
        self._covariance *= 0.5
        values, self._axes = np.linalg.eigh(self._covariance)
        self._n_decomposed_at = self._n_generations
        condition = values[:, -1] / np.maximum(values[:, 0], 1e-300)
        self._lengths = np.sqrt(np.maximum(values, 0.0))
        self._drop({"ill-conditioned": condition > _LARGEST_CONDITION})

    def _stop(self, best: FloatArray) -> None:
        """Let go of searches that ended."""
        deviations = np.sqrt(np.einsum("aii->ai", self._covariance)).max(axis=1)
        longest = self._sigma * np.maximum(deviations, np.abs(self._path_c).max(axis=1))
        history = self._history
        is_full = self._n_generations >= history.shape[1]
        with np.errstate(invalid="ignore"):
            spread = history.max(axis=1) - history.min(axis=1)
        n_evaluations = self._n_generations * self._population
        grown = self._sigma * deviations > _LARGEST_GROWTH * self._sigma0
        self._drop(
            {
                "target": best <= self._target,
                "failed": self._n_failures >= _FAILURES,
                "diverged": grown | ~np.isfinite(longest),
                "converged": longest < self._tolerance,
                "flat": is_full & (spread < self._flat),
                "budget": np.full(len(best), n_evaluations >= self._budget),
            }
        )

    def _drop(self, reasons: dict[Status, NDArray[np.bool_]]) -> None:
        """Drop the searches for which a reason holds; the first one counts."""
        is_kept = np.ones(len(self.active), dtype=np.bool_)
        for status, holds in reasons.items():
            for k in np.flatnonzero(holds & is_kept):
                self._status[self.active[k]] = status
            is_kept &= ~holds
        if is_kept.all():
            return
        self.active = self.active[is_kept]
        self._rngs = [rng for rng, kept in zip(self._rngs, is_kept, strict=True) if kept]
        self._mean, self._sigma = self._mean[is_kept], self._sigma[is_kept]
        self._sigma0, self._history = self._sigma0[is_kept], self._history[is_kept]
        self._path_sigma, self._path_c = self._path_sigma[is_kept], self._path_c[is_kept]
        self._covariance, self._axes = self._covariance[is_kept], self._axes[is_kept]
        self._lengths, self._z = self._lengths[is_kept], self._z[is_kept]
        self._n_failures = self._n_failures[is_kept]


def minimize_many(
    fun: BatchLoss,
    x0: ArrayLike,
    sigma0: ArrayLike,
    *,
    population: int = 0,
    seeds: Sequence[int] | None = None,
    budget: int = 100_000,
    target: float = -math.inf,
    tolerance: float = 1e-11,
    flat: float = 1e-11,
) -> Minima:
    """Minimise n functions of d numbers in one call, each by its own CMA-ES.

    Args:
        fun: ``fun(points (a, population, d), which (a,)) -> losses (a, population)``, where
            ``which`` are the positions of the searches that still run.
        x0: (n, d) where each search starts.
        sigma0: see ``BatchedCmaEs``, as are the others.
        population: candidates a generation.
        seeds: (n,) one a search.
        budget: points that each search may score.
        target: loss at which a search ends.
        tolerance: length of steps at which it ends.
        flat: spread of losses at which it ends.

    Raises:
        InputError: an argument is out of range, or losses have another shape.

    Example:
        >>> targets = np.array([[1.0, 2.0], [3.0, 4.0]])
        >>> def fun(points, which):
        ...     return ((points - targets[which, None]) ** 2).sum(axis=2)
        >>> minimize_many(fun, np.zeros((2, 2)), 1.0, budget=2000).x.round(3).tolist()
        [[1.0, 2.0], [3.0, 4.0]]
    """
    searches = BatchedCmaEs(
        x0,
        sigma0,
        population=population,
        seeds=seeds,
        budget=budget,
        target=target,
        tolerance=tolerance,
        flat=flat,
    )
    while len(searches.active):
        searches.tell(fun(searches.ask(), searches.active))
    return searches.minima()


def _starts(x0: ArrayLike, sigma0: ArrayLike) -> tuple[FloatArray, FloatArray]:
    """Return copies of the starts (n, d) and step sizes (n,)."""
    mean = np.array(x0, dtype=np.float64)
    if mean.ndim != 2 or 0 in mean.shape or not np.isfinite(mean).all():
        raise InputError(
            f"x0 has shape {mean.shape}; it must be finite numbers (n, d), one row a search."
        )
    sigma = np.asarray(sigma0, dtype=np.float64)
    if sigma.shape not in ((), (len(mean),)):
        raise InputError(f"sigma0 has shape {sigma.shape}; it must be a number or ({len(mean)},).")
    if not (np.isfinite(sigma) & (sigma > 0)).all():
        raise InputError("sigma0 holds a value that is not a finite number above 0.")
    return mean, np.array(np.broadcast_to(sigma, len(mean)))


def _generators(n: int, seeds: Sequence[int] | None) -> list[np.random.Generator]:
    if seeds is None:
        seeds = range(n)
    if len(seeds) != n or any(seed < 0 for seed in seeds):
        raise InputError(f"seeds are {len(seeds)}; they must be {n} numbers of at least 0.")
    return [np.random.default_rng(np.random.SeedSequence([seed, _STREAM])) for seed in seeds]
