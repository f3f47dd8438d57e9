"""pycma's strategy with random numbers from a given generator and a state of arrays."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable, Generator, Sequence
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from evosearch.errors import InputError
from evosearch.outcome import FloatArray

Covariance: TypeAlias = Literal["full", "separable", "vd", "vkd"]
Bounds: TypeAlias = "tuple[float | FloatArray | None, float | FloatArray | None]"
"""Least and greatest value, one for all numbers or (dimension,), None for none."""

# Everything in pycma's object that changes between generations and that a later ask or tell
# reads, under the options below. Histories, timers and the best so far are not among it: they
# serve pycma's own stopping and logging, which are not used. A test compares each generation.
_CHANGING = (
    "mean",
    "mean_old",
    "mean_old_old",
    "mean_after_tell",
    "sigma",
    "_sigma_old",
    "pc",
    "pc2",
    "dC",
    "_isotropic_mean_shift",
    "_isotropic_mean_shift_iteration",
    "countiter",
    "countevals",
    "evaluations_per_f_value",
    "itereigenupdated",
    "number_of_injections",
    "adapt_sigma.ps",
    "adapt_sigma.delta",
    "adapt_sigma._last_multiplier",
    "adapt_sigma._ps_updated_iteration",
    "sm.B",
    "sm.C",
    "sm.D",
    "sm.count_eigen",
    "sm.count_tell",
    "sm.last_update",
    # of the separable covariance, and of integers
    "sigma_vec.scaling",
    "sigma_vec.is_identity",
    # of VD-CMA
    "sm.pc",
    "sm.dvec",
    "sm.vvec",
    "sm.vn",
    "sm.vnn",
    "sm.norm_v",
    "sm.norm_v2",
    # of VkD-CMA
    "sm.sigma",
    "sm.k",
    "sm.k_active",
    "sm.flg_injection",
    "sm.ps",
    "sm.V",
    "sm.S",
    "sm.dx",
    "sm.opt_conv",
    "sm.itr_after_k_inc",
    "sm.last_log_sigma",
    "sm.last_log_d",
    "sm.last_log_cond_corr",
    *(
        f"sm.{average}.{name}"
        for average in ("ema_log_sigma", "ema_log_d", "ema_log_s")
        for name in ("decay", "M", "S", "flg_init")
    ),
)
_AVERAGES = ("ema_log_sigma", "ema_log_d", "ema_log_s")
_ALIASES = {"B": "sm.B", "C": "sm.C", "D": "sm.D"}
_PREFIX = "cma."


class Strategy:
    """One descent of CMA-ES, minimising.

    Args:
        x0: start (dimension,).
        sigma0: standard deviation of the first steps.
        population: candidates a generation, at least 4.
        bounds: least and greatest values.
        rng: the only source of random numbers.
        covariance: all of it, its diagonal, or D(I + VV')D with one (vd) or adaptively many (vkd)
            columns V.
        integers: positions of the numbers that are whole; bounds lie half way between integers.
    """

    def __init__(
        self,
        x0: FloatArray,
        sigma0: float,
        population: int,
        *,
        bounds: Bounds,
        rng: np.random.Generator,
        covariance: Covariance = "full",
        integers: Sequence[int] = (),
    ) -> None:
        import cma
        from cma.utilities.utils import ElapsedWCTime

        # pycma refuses one dimension; a second number that nothing reads does no harm.
        self._x0 = np.asarray(x0, dtype=np.float64) if len(x0) > 1 else np.append(x0, x0)
        self._sigma0 = float(sigma0)
        self.population = population
        self._rng = rng
        self._integers = list(integers)
        self._is_full = covariance == "full"

        def randn(*shape: int) -> FloatArray:
            return rng.standard_normal(shape)

        options: dict[str, Any] = {
            "popsize": population,
            "randn": randn,
            "seed": np.nan,
            "verbose": -9,
            "verb_log": 0,
            **_covariance_options(covariance, len(self._x0), randn),
        }
        if self._integers:
            options["integer_variables"] = list(integers)
        if any(bound is not None for bound in bounds):
            options["bounds"] = [_listed(bound, len(self._x0)) for bound in bounds]
        with np.errstate(invalid="ignore"):  # of infinite bounds it takes the remainder
            self._es: Any = cma.CMAEvolutionStrategy(self._x0.copy(), self._sigma0, options)
        # Its first ask makes one; a restored strategy never asks for the first time.
        self._es.timer = ElapsedWCTime()

    def ask(self) -> list[FloatArray]:
        """Draw a generation of ``population`` points."""
        return self._es.ask()

    def tell(self, points: Sequence[FloatArray], losses: Sequence[float]) -> None:
        """Adapt to the ranking of a whole generation; losses are finite."""
        if not self._integers:
            self._es.tell(list(points), list(losses))
            return
        # pycma draws from NumPy's global generator to centre integers.
        seed = int(self._rng.integers(2**32))
        with _seeded_globally(seed), np.errstate(invalid="ignore"):
            self._es.tell(list(points), list(losses))

    def mean(self) -> FloatArray:
        """Return the mean of the distribution, within bounds, integers rounded."""
        es = self._es
        mean = np.array(es.gp.pheno(es.mean, into_bounds=es.boundary_handler.repair))
        mean[self._integers] = np.round(mean[self._integers])
        return mean

    def has_converged(self, tolerance: float) -> bool:
        """Whether all steps are short, but for integers, or the covariance is too flat."""
        if self._is_full and not self._integers:
            axes = np.asarray(self._es.sm.D, dtype=np.float64)
            is_flat = axes.max() > 1e7 * axes.min()
            return bool(is_flat or self._es.sigma * axes.max() < tolerance)
        steps = np.delete(np.asarray(self._es.stds, dtype=np.float64), self._integers)
        return bool(steps.size and steps.max() < tolerance)

    def state_dict(self) -> dict[str, Any]:
        """Return arrays, numbers as arrays of no dimension, to call between tell and ask."""
        state: dict[str, NDArray[Any] | Any] = {
            "x0": self._x0.copy(),
            "sigma0": self._sigma0,
            "population": self.population,
        }
        for path in _CHANGING:
            holder, name = self._locate(path)
            if hasattr(holder, name):
                state[_PREFIX + path] = np.array(getattr(holder, name))
        return state

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on as the strategy that wrote ``state``, which had the same arguments."""
        if _PREFIX + "sm.opt_conv" in state:  # VkD-CMA makes its averages when first told
            from cma.restricted_gaussian_sampler import ExponentialMovingAverage

            for average in _AVERAGES:
                setattr(self._es.sm, average, ExponentialMovingAverage(1.0, 1))
        for path in _CHANGING:
            if _PREFIX + path in state:
                value = np.array(state[_PREFIX + path])
                holder, name = self._locate(path)
                setattr(holder, name, value if value.ndim else value.item())
        if self._is_full:
            for name, path in _ALIASES.items():
                holder, source = self._locate(path)
                setattr(self._es, name, getattr(holder, source))

    def _locate(self, path: str) -> tuple[Any, str]:
        """Return the object of pycma that holds an attribute, and the attribute's name."""
        holder = self._es
        *parents, name = path.split(".")
        for parent in parents:
            holder = getattr(holder, parent, None)
        return holder, name


def bounds_of(space: Any, integers: list[int]) -> Bounds:
    """Return the bounds of the space; those of integers half a step outside the whole numbers."""
    outside = [k for k in integers if k >= space.dimension]
    if outside:
        raise InputError(
            f"search 'cmaes': integers names position {outside[0]}; a vector has "
            f"{space.dimension} numbers, and the first is 0."
        )
    if not integers:
        return space.low, space.high
    low, high = (
        None if bound is None else np.array(np.broadcast_to(bound, (space.dimension,)))
        for bound in (space.low, space.high)
    )
    if low is not None:
        low[integers] = np.ceil(low[integers]) - 0.5
    if high is not None:
        high[integers] = np.floor(high[integers]) + 0.5
    return low, high


def _covariance_options(
    covariance: Covariance, dimension: int, randn: Callable[..., FloatArray]
) -> dict[str, Any]:
    """Return the options of pycma that stand for a form of the covariance."""
    if covariance == "full":
        return {}
    if covariance == "separable":
        return {"CMA_diagonal": True}
    from cma.restricted_gaussian_sampler import GaussVDSampler, GaussVkDSampler

    sampler_class: Any = GaussVDSampler if covariance == "vd" else GaussVkDSampler
    with contextlib.redirect_stdout(io.StringIO()):  # it prints advice on small dimensions
        sampler = sampler_class(dimension, randn=randn)
    return {**sampler_class.extend_cma_options(), "CMA_sampler": sampler}


def _listed(bound: float | FloatArray | None, dimension: int) -> list[float | None] | None:
    """Return a bound as pycma reads it, one entry a number, None where there is none."""
    if bound is None:
        return None
    values = np.broadcast_to(np.asarray(bound, dtype=np.float64), (dimension,)).tolist()
    return [value if np.isfinite(value) else None for value in values]


@contextlib.contextmanager
def _seeded_globally(seed: int) -> Generator[None]:
    """Seed NumPy's global generator, and put it back where it was."""
    before = np.random.get_state()  # noqa: NPY002
    np.random.seed(seed)  # noqa: NPY002
    try:
        yield
    finally:
        np.random.set_state(before)  # noqa: NPY002
