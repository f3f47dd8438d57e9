"""pycma's strategy with random numbers from a given generator and a state of arrays."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evosearch.outcome import FloatArray

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
)
_ALIASES = {"B": "sm.B", "C": "sm.C", "D": "sm.D"}
_PREFIX = "cma."


class Strategy:
    """One descent of CMA-ES, minimising.

    Args:
        x0: start (dimension,).
        sigma0: standard deviation of the first steps.
        population: candidates a generation, at least 4.
        bounds: least and greatest value of every number, None for none.
        rng: the only source of random numbers.
    """

    def __init__(
        self,
        x0: FloatArray,
        sigma0: float,
        population: int,
        *,
        bounds: tuple[float | None, float | None],
        rng: np.random.Generator,
    ) -> None:
        import cma
        from cma.utilities.utils import ElapsedWCTime

        # pycma refuses one dimension; a second number that nothing reads does no harm.
        self._x0 = np.asarray(x0, dtype=np.float64) if len(x0) > 1 else np.append(x0, x0)
        self._sigma0 = float(sigma0)
        self._population = population
        options: dict[str, Any] = {
            "popsize": population,
            "randn": lambda *shape: rng.standard_normal(shape),
            "seed": np.nan,
            "verbose": -9,
            "verb_log": 0,
        }
        if bounds != (None, None):
            options["bounds"] = list(bounds)
        self._es: Any = cma.CMAEvolutionStrategy(self._x0.copy(), self._sigma0, options)
        # Its first ask makes one; a restored strategy never asks for the first time.
        self._es.timer = ElapsedWCTime()

    def ask(self) -> list[FloatArray]:
        """Draw a generation of ``population`` points."""
        return self._es.ask()

    def tell(self, points: Sequence[FloatArray], losses: Sequence[float]) -> None:
        """Adapt to the ranking of a whole generation; losses are finite."""
        self._es.tell(list(points), list(losses))

    def mean(self) -> FloatArray:
        """Return the mean of the distribution, within bounds."""
        es = self._es
        return np.array(es.gp.pheno(es.mean, into_bounds=es.boundary_handler.repair))

    def has_converged(self, tolerance: float) -> bool:
        """Whether all steps are short, or the covariance is too flat to go on."""
        axes = np.asarray(self._es.sm.D, dtype=np.float64)
        is_flat = axes.max() > 1e7 * axes.min()
        return bool(is_flat or self._es.sigma * axes.max() < tolerance)

    def state_dict(self) -> dict[str, Any]:
        """Return arrays, numbers as arrays of no dimension, to call between tell and ask."""
        state: dict[str, NDArray[Any] | Any] = {
            "x0": self._x0.copy(),
            "sigma0": self._sigma0,
            "population": self._population,
        }
        for path in _CHANGING:
            holder, name = self._locate(path)
            if hasattr(holder, name):
                state[_PREFIX + path] = np.array(getattr(holder, name))
        return state

    @classmethod
    def from_state(
        cls,
        state: dict[str, Any],
        *,
        bounds: tuple[float | None, float | None],
        rng: np.random.Generator,
    ) -> Strategy:
        """Build the strategy that wrote ``state``; ``rng`` is to be restored afterwards."""
        x0 = np.array(state["x0"], dtype=np.float64)
        strategy = cls(x0, float(state["sigma0"]), int(state["population"]), bounds=bounds, rng=rng)
        for path in _CHANGING:
            if _PREFIX + path in state:
                value = np.array(state[_PREFIX + path])
                holder, name = strategy._locate(path)
                setattr(holder, name, value if value.ndim else value.item())
        for name, path in _ALIASES.items():
            holder, source = strategy._locate(path)
            setattr(strategy._es, name, getattr(holder, source))
        return strategy

    def _locate(self, path: str) -> tuple[Any, str]:
        """Return the object of pycma that holds an attribute, and the attribute's name."""
        holder = self._es
        *parents, name = path.split(".")
        for parent in parents:
            holder = getattr(holder, parent)
        return holder, name
