"""CMA-ES through pycma, with restarts and a state of plain arrays."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Annotated, Any, Literal, Self

import numpy as np
from pydantic import Field, field_validator, model_validator

from evosearch.outcome import Evaluation, FloatArray
from evosearch.search.base import (
    SEARCHES,
    Search,
    SearchSettings,
    State,
    n_penalised,
    new_rng,
    restore_rng,
    rng_state,
    usable_fitness,
)
from evosearch.search.pycma import Covariance, Strategy, bounds_of


class CmaesSettings(SearchSettings):
    """Settings of ``cmaes``."""

    population: int = Field(
        0, ge=0, le=1_000_000, description="candidates a generation; 0: 4 + 3 ln(dimension)"
    )
    sigma0: float | None = Field(
        None, gt=0, description="size of the first steps; default: the space's"
    )
    l1: float | None = Field(
        None, ge=0, description="penalty on sum |c| in the ranking; default: the space's"
    )
    restarts: Literal["none", "same", "ipop", "bipop"] = Field(
        "ipop", description="what follows convergence: stop, the same again, larger populations"
    )
    covariance: Covariance = Field(
        "full",
        description="what is learned: all of it; its diagonal; or a diagonal with one direction "
        "more (vd) or as many as it takes (vkd), for large dimensions",
    )
    integers: tuple[Annotated[int, Field(ge=0)], ...] = Field(
        (), description="positions of the numbers that are whole, from 0"
    )
    growth: float = Field(2.0, ge=1.0, le=10.0, description="population factor of a restart")
    tolerance: float = Field(
        1e-9, ge=0, description="it has converged where all steps are shorter than this"
    )
    flat: float | None = Field(
        None,
        ge=0,
        description="it has converged where the best of recent generations differ by less; "
        "default: 1e-11, for coefficients of rules 0",
    )
    patience: int = Field(
        0,
        ge=0,
        description="generations without improvement that end it; 0: 20 + 3 dimension for "
        "coefficients of rules, else 100 + 100 dimension^1.5 / population",
    )

    @model_validator(mode="after")
    def _takes_integers(self) -> Self:
        if self.integers and self.covariance == "vkd":
            raise ValueError("covariance vkd takes no integers; full, separable and vd do")
        return self

    @field_validator("population")
    @classmethod
    def _is_enough(cls, population: int) -> int:
        if 0 < population < 4:
            raise ValueError("it must be 0 or at least 4")
        return population


@SEARCHES.register("cmaes")
class CmaEs(Search):
    """Covariance matrix adaptation evolution strategy.

    pycma does the sampling and the adaptation, with our random numbers; restarts are decided
    here: ``ipop`` multiplies the population by ``growth`` each time, ``bipop`` spends about as
    much on small populations with small steps. Numbers named in ``integers`` are whole in every
    candidate. Where the budget cuts a generation short, the rest
    of it is asked next, so that an extended run equals a longer one.

    Sources: N. Hansen, A. Ostermeier, "Completely Derandomized Self-Adaptation in Evolution
    Strategies", Evolutionary Computation 9, 2001; A. Auger, N. Hansen, "A restart CMA evolution
    strategy with increasing population size", CEC 2005; N. Hansen, "Benchmarking a BI-population
    CMA-ES on the BBOB-2009 function testbed", GECCO 2009; N. Hansen, Y. Akimoto, P. Baudis,
    "CMA-ES/pycma on Github", 2019. Of the covariances: R. Ros, N. Hansen, "A Simple Modification
    in CMA-ES Achieving Linear Time and Space Complexity", PPSN 2008 (separable); Y. Akimoto,
    A. Auger, N. Hansen, "Comparison-Based Natural Gradient Optimization in High Dimension", GECCO
    2014 (vd); Y. Akimoto, N. Hansen, "Projection-Based Restricted Covariance Matrix Adaptation
    for High Dimension", GECCO 2016 (vkd). Of integers: T. Marty et al., "LB+IC-CMA-ES: Two Simple
    Modifications of CMA-ES to Handle Mixed-Integer Problems", PPSN 2024.
    """

    name = "cmaes"
    space_kinds = ("coefficients", "vector")
    Settings = CmaesSettings

    def __init__(self, space: Any, *, seed: int = 0, **settings: Any) -> None:
        super().__init__(space, seed=seed, **settings)
        s = self.settings
        self._rng = new_rng(seed)
        self._population0 = s.population or 4 + int(3 * math.log(space.dimension))
        self._sigma0 = s.sigma0 if s.sigma0 is not None else space.sigma0
        self._l1 = s.l1 if s.l1 is not None else getattr(space, "l1", 0.0)
        is_rule = space.kind == "coefficients"
        self._flat = s.flat if s.flat is not None else 0.0 if is_rule else 1e-11
        self._bounds = bounds_of(space, list(s.integers))
        self._n_large = 0
        self._cost = {"large": 0, "small": 0}
        self._regime = "large"
        self._is_done = False
        self._best = -math.inf
        self._n_stalled = 0
        self._recent: list[float] = []
        self._batch: list[FloatArray] = []
        self._scores: list[float] = []
        self._before_batch: State = {}
        self._made: Strategy | None = None

    def ask(self) -> list[FloatArray]:
        """Return a generation, or what was not yet scored of the last one."""
        if self._is_done:
            return []
        if not self._batch:
            self._before_batch = self._core_state()
            self._batch = self._strategy.ask()
            self._scores = []
        return [self._visible(point) for point in self._batch[len(self._scores) :]]

    def tell(self, candidates: Sequence[FloatArray], evaluation: Evaluation) -> None:
        """Rank the generation once all of it was scored; restart where it has converged."""
        fitness = usable_fitness(evaluation, len(candidates))
        n = n_penalised(self.space)
        penalty = [self._l1 * float(np.abs(candidate[:n]).sum()) for candidate in candidates]
        self._scores.extend((fitness - np.array(penalty)).tolist())
        if not self._batch or len(self._scores) < len(self._batch):
            return
        scores = np.array(self._scores)
        n_asked = len(self._batch)
        if np.isfinite(scores).any():
            self._strategy.tell(self._batch, _losses(scores))
            self._batch, self._scores = [], []
            self._note_progress(scores, n_asked)
        else:
            # Nothing is learned: the strategy is as before, but the next numbers are others.
            after = rng_state(self._rng)
            self._load_core(self._before_batch)
            restore_rng(self._rng, after)
            self._batch, self._scores = [], []

    def state_dict(self) -> State:
        """Return the distribution, the controller's counts and the generator.

        Within a generation that was told in part it is the state before that generation, and
        the scores so far.
        """
        core = self._before_batch if self._batch else self._core_state()
        return {**core, "scores": np.array(self._scores), "has_batch": bool(self._batch)}

    def load_state_dict(self, state: State) -> None:
        """Restore the distribution; propose a generation again that was told in part."""
        self._load_core(state)
        self._batch, self._scores = [], []
        if state["has_batch"]:
            self.ask()
            self._scores = np.asarray(state["scores"], dtype=np.float64).tolist()

    @property
    def is_done(self) -> bool:
        """Whether it has converged and may not restart."""
        return self._is_done

    def favourites(self) -> list[FloatArray]:
        """Return the mean of the distribution: where fitness is noisy, better than any sample."""
        return [self._visible(self._strategy.mean())]

    @property
    def _strategy(self) -> Strategy:
        """The descent under way; pycma takes a second to load, which a search never asked saves."""
        if self._made is None:
            self._made = self._start(self.space.x0, self._sigma0, self._population0)
        return self._made

    def _visible(self, point: FloatArray) -> FloatArray:
        """Return the candidate of a point, which has a second number in one dimension."""
        visible = np.array(point[: self.space.dimension], dtype=np.float64)
        return self.space.clip(visible) if self.settings.integers else visible

    def _start(self, x0: FloatArray, sigma0: float, population: int) -> Strategy:
        self._best, self._n_stalled, self._recent = -math.inf, 0, []
        return self._new_strategy(x0, sigma0, population)

    def _new_strategy(self, x0: FloatArray, sigma0: float, population: int) -> Strategy:
        return Strategy(
            x0,
            sigma0,
            population,
            bounds=self._bounds,
            rng=self._rng,
            covariance=self.settings.covariance,
            integers=self.settings.integers,
        )

    def _note_progress(self, scores: FloatArray, n_asked: int) -> None:
        self._cost[self._regime] += n_asked
        best = float(scores.max())
        if best > self._best:
            self._best, self._n_stalled = best, 0
        else:
            self._n_stalled += 1
        n_recent = 10 + math.ceil(30 * self.space.dimension / self._strategy.population)
        self._recent = [*self._recent, best][-n_recent:]
        is_flat = len(self._recent) == n_recent and np.ptp(self._recent) < self._flat
        if (
            is_flat
            or self._n_stalled >= self._patience()
            or self._strategy.has_converged(self.settings.tolerance)
        ):
            self._restart()

    def _patience(self) -> int:
        """Return the generations without improvement that end a descent.

        A valley of many dimensions can take hundreds before its axes are learned: by default as
        many as pycma waits for medians. Fitness of rules is noisy and restarts are worth more.
        """
        d, given = self.space.dimension, self.settings.patience
        if given or self.space.kind == "coefficients":
            return given or 20 + 3 * d
        return int(100 + 100 * d**1.5 / self._strategy.population)

    def _restart(self) -> None:
        mode = self.settings.restarts
        if mode == "none":
            self._is_done = True
            return
        (x0,) = self.space.sample(self._rng)
        population, sigma0 = self._population0, self._sigma0
        if mode == "bipop" and self._cost["small"] < self._cost["large"]:
            self._regime = "small"
            u, v = self._rng.random(2)
            largest = self.settings.growth**self._n_large
            population = int(population * (0.5 * largest) ** (u * u))
            sigma0 *= 10.0 ** (-2.0 * v)
        elif mode != "same":
            self._regime = "large"
            self._n_large += 1
            population = int(population * self.settings.growth**self._n_large)
        self._made = self._start(x0, sigma0, max(4, population))

    def _core_state(self) -> State:
        descent = self._strategy.state_dict()  # made now at the latest, which draws numbers
        return {
            "rng": rng_state(self._rng),
            "n_large": self._n_large,
            "cost": dict(self._cost),
            "regime": self._regime,
            "is_done": self._is_done,
            "best": self._best if math.isfinite(self._best) else None,
            "n_stalled": self._n_stalled,
            "recent": np.array(self._recent),
            **descent,
        }

    def _load_core(self, state: State) -> None:
        self._n_large = int(state["n_large"])
        self._cost = {regime: int(cost) for regime, cost in state["cost"].items()}
        self._regime = state["regime"]
        self._is_done = bool(state["is_done"])
        self._made = self._new_strategy(
            np.array(state["x0"], dtype=np.float64),
            float(state["sigma0"]),
            int(state["population"]),
        )
        self._strategy.load_state_dict(state)
        self._best = -math.inf if state["best"] is None else float(state["best"])
        self._n_stalled = int(state["n_stalled"])
        self._recent = np.asarray(state["recent"], dtype=np.float64).tolist()
        restore_rng(self._rng, state["rng"])


def _losses(scores: FloatArray) -> list[float]:
    """Return losses for pycma; failed candidates are worse than the worst, by its spread."""
    is_ok = np.isfinite(scores)
    worst, best = scores[is_ok].min(), scores[is_ok].max()
    failed = worst - max(1.0, best - worst)
    return (-np.where(is_ok, scores, failed)).tolist()
