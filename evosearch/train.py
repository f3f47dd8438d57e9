"""Train any torch module without a gradient: ``evosearch.train``."""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from evosearch.driver import DriveResult, drive
from evosearch.errors import InputError
from evosearch.modules.scores import LossScores, ReturnScores
from evosearch.modules.weights import Weights
from evosearch.outcome import FloatArray
from evosearch.search.base import SEARCHES, Search, with_horizon
from evosearch.spaces.vector import Bound, VectorSpace

if TYPE_CHECKING:
    import torch

    from evosearch.loop import Progress

_POPULATION = 128
_SIGMA0_OF_POLICY = 0.5
_N_TOGETHER_ON_DEVICE = 1024


@dataclass(frozen=True)
class TrainResult:
    """A trained module and how it was found.

    Attributes:
        module: a copy of the module with the best weights; the one that was given is as it was.
            With ``normalise`` it is a ``Normalised`` policy that holds the copy.
        loss: its loss on all of the data; NaN for a policy, infinite where no weights had one.
        returns: of a policy, its sums of rewards (E,) in episodes that chose nothing; else None.
        fitness: negative of the loss, or mean of the returns on which it was chosen.
        weights: (d,) the best vector, float64.
        evaluations: sets of weights scored that count against the budget.
        generations: times that the search was asked.
        history: columns ``generation evaluations best median cpu_s``, each (generations,): losses,
            or returns of a policy, on the examples or episodes of each generation.
        stopped_by: ``budget``, ``done``, ``time``, ``target``, ``interrupt`` or ``terminate``.
        device: where it was trained.
        chunk: members computed at a time; on a CUDA device last digits depend on it.
    """

    module: torch.nn.Module
    loss: float
    returns: FloatArray | None
    fitness: float
    weights: FloatArray
    evaluations: int
    generations: int
    history: Mapping[str, NDArray[Any]]
    stopped_by: str
    device: str
    chunk: int

    @property
    def state_dict(self) -> dict[str, torch.Tensor]:
        """Parameters and buffers of the trained module, copies of their own."""
        state = self.module.state_dict()
        return {name: value.detach().clone().contiguous() for name, value in state.items()}

    def save(self, path: str | Path) -> Path:
        """Write the state dict as safetensors; return the path."""
        from safetensors.torch import save_file

        target = Path(path)
        save_file(self.state_dict, target)
        return target

    def __repr__(self) -> str:
        found = f"loss={self.loss:.6g}"
        if self.returns is not None:
            found = f"return={self.returns.mean():.6g}"
        return (
            f"TrainResult({found}, weights={len(self.weights):,}, "
            f"evaluations={self.evaluations:,}, stopped_by={self.stopped_by!r})"
        )


def train(
    module: torch.nn.Module,
    loss: Callable[[Any, Any], Any] | None = None,
    data: Any = None,
    *,
    environment: Any = None,
    search: str = "snes",
    population: int | None = None,
    budget: int = 10_000,
    seed: int = 0,
    device: str = "cpu",
    batch: int | None = None,
    episodes: int = 8,
    normalise: bool = False,
    parameters: Sequence[str] | None = None,
    bounds: tuple[Bound, Bound] | None = None,
    sigma0: float | None = None,
    chunk: int | None = None,
    target: float | None = None,
    time_s: float | None = None,
    on_progress: Callable[[Progress], Any] | None = None,
    show_progress: bool | None = None,
    **settings: Any,
) -> TrainResult:
    """Train a module on data, or a policy in an environment, without a gradient.

    The search begins at the module's own weights. All members of a generation are scored on the
    same examples or episodes, drawn from the seed and the generation's number. Layers that draw
    random numbers or change their statistics are refused in training mode; call ``module.eval()``.

    Args:
        module: any ``torch.nn.Module``; it is not changed.
        loss: ``loss(outputs, targets)``, the mean over a batch; lower is better.
        data: a pair (inputs, targets) of tensors or arrays, or batches of them, such as a
            ``DataLoader``, of which each generation has the next one.
        environment: in place of loss and data: the name of a compiled environment such as
            ``cartpole``, the id of another of Gymnasium, or an object with its interface. The
            module then takes observations (n, k) and puts out one number for each action, of
            which the greatest acts, or controls, of which -1 to 1 is stretched to the bounds.
        search: name of a search over vectors (``evosearch list searches``).
        population: members of a generation; None: 128, or the search's own number.
        budget: sets of weights to score, at least 1.
        seed: at least 0; on a CPU the same seed gives the same result, whatever its threads.
        device: where members are computed, such as ``cpu`` or ``cuda``.
        batch: examples of a generation; None: all.
        episodes: episodes of each member in a generation, new ones each time.
        normalise: whether the policy sees observations less the mean, and divided by the standard
            deviation, of all that was seen in the generations before (ARS V2). The trained module
            holds both.
        parameters: names of the parameters to move, or patterns such as ``"head.*"``; None: all.
        bounds: least and greatest value of each weight, one number, (d,) or None.
        sigma0: size of the first steps; None: .3 times the root mean square of the weights, and
            .5 for a policy, all of whose neighbours may act alike.
        chunk: members computed at a time; None: 64 on a CPU, else as many as fit.
        target: loss, or mean return, of a generation's best at which to stop.
        time_s: seconds after which no generation begins.
        on_progress: called with the progress after each generation.
        show_progress: whether to show it after two seconds; None: where stderr is a terminal.
        **settings: settings of the search.

    Returns:
        The best weights: of all that were scored where generations share all data; else the better
        one of the last generation's best and of the search's favourites, such as its mean, on all
        data or on further episodes.

    Raises:
        InputError: an argument, the module or the data is wrong; nothing was scored then.

    Example:
        >>> import torch
        >>> x = torch.linspace(-1, 1, 50)[:, None]
        >>> line = torch.nn.Linear(1, 1)
        >>> result = train(line, torch.nn.functional.mse_loss, (x, 3 * x + 1), budget=4000)
        >>> bool(result.loss < 1e-6)
        True
    """
    _check_module(module, device)
    weights = Weights(module, parameters)
    scores: LossScores | ReturnScores
    common: dict[str, Any] = {"seed": seed, "device": device, "chunk": chunk}
    if environment is None:
        fun = _checked_loss(loss, data, normalise)
        scores = LossScores(module, weights, fun, data, batch=batch, **common)
    else:
        _check_alone(loss, data, batch)
        scores = ReturnScores(
            module, weights, environment, episodes=episodes, normalise=normalise, **common
        )
    step = weights.sigma0 if environment is None else _SIGMA0_OF_POLICY
    space = _space(weights, bounds, step if sigma0 is None else sigma0)

    def after(progress: Progress) -> None:
        scores.begin(progress.generation)
        if on_progress is not None:
            on_progress(progress)

    with _fitting(search, space.dimension):
        searching = _search(search, space, seed, population, budget, settings)
        found = drive(
            searching,
            scores,
            budget=budget,
            time_s=time_s,
            target=None if target is None else scores.sign * target,
            is_fresh=scores.is_fresh,
            n_together=1 if device == "cpu" else chunk or _N_TOGETHER_ON_DEVICE,
            title=f"train · {search}",
            on_progress=after,
            show_progress=show_progress,
        )
    best, fitness = _chosen(found, searching, scores)
    return _result(module, weights, scores, found, best, fitness, device)


def _result(
    module: torch.nn.Module,
    weights: Weights,
    scores: LossScores | ReturnScores,
    found: DriveResult,
    best: FloatArray,
    fitness: float,
    device: str,
) -> TrainResult:
    history = dict(found.history)
    history |= {name: scores.sign * history[name] for name in ("best", "median")}
    return TrainResult(
        module=scores.finished(weights.loaded(module, best)),
        loss=-fitness if isinstance(scores, LossScores) else math.nan,
        returns=scores.tested(best),
        fitness=fitness,
        weights=best,
        evaluations=found.evaluations,
        generations=found.generations,
        history=history,
        stopped_by=found.stopped_by,
        device=device,
        chunk=scores.chunk,
    )


def _chosen(
    found: DriveResult, search: Search, scores: LossScores | ReturnScores
) -> tuple[FloatArray, float]:
    """Return the best vector and its fitness on what all candidates are compared by."""
    if not scores.is_fresh:
        return found.best, found.fitness
    candidates = np.stack([*search.favourites(), found.best])
    fitness = scores.compared(candidates)
    k = int(np.where(np.isfinite(fitness), fitness, -np.inf).argmax())
    return candidates[k], float(fitness[k])


def _search(
    name: str,
    space: VectorSpace,
    seed: int,
    population: int | None,
    budget: int,
    settings: dict[str, Any],
) -> Search:
    cls = SEARCHES.get(name)
    if population is None and not cls.Settings.model_fields["population"].default:
        population = _POPULATION
    if population is not None:
        settings = {"population": population, **settings}
    return cls(space, seed=seed, **with_horizon(cls, settings, budget))


@contextmanager
def _fitting(search: str, dimension: int) -> Generator[None]:
    """Say what to do where a search cannot hold its population."""
    try:
        yield
    except MemoryError as error:
        raise InputError(
            f"the population of search {search!r} does not fit into the memory for {dimension:,} "
            "weights; take a smaller one, or openai-es, snes or pgpe, which keep none."
        ) from error


def _space(weights: Weights, bounds: tuple[Bound, Bound] | None, sigma0: float) -> VectorSpace:
    low, high = bounds if bounds is not None else (None, None)
    space = VectorSpace(
        weights.dimension,
        low=low,
        high=high,
        x0=weights.x0,
        sigma0=sigma0,
        shapes=weights.shapes,
    )
    if not np.array_equal(space.x0, weights.x0):
        k = int(np.flatnonzero(space.x0 != weights.x0)[0])
        raise InputError(
            f"the module's weights lie outside the bounds: number {k} is {weights.x0[k]:g}."
        )
    return space


def _check_module(module: Any, device: str) -> None:
    import torch

    if not isinstance(module, torch.nn.Module):
        raise InputError(f"module is of type {type(module).__name__}; it must be a torch module.")
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise InputError(f"device is {device!r}, which torch cannot use here.") from error


def _check_alone(loss: Any, data: Any, batch: int | None) -> None:
    if not (loss is None and data is None and batch is None):
        raise InputError("train takes loss, data and batch, or an environment, not both.")


def _checked_loss(loss: Any, data: Any, normalise: bool) -> Callable[[Any, Any], Any]:
    if normalise:
        raise InputError("normalise is for observations; it needs an environment.")
    if loss is None or data is None:
        raise InputError("train needs a loss and data, or an environment.")
    if not callable(loss):
        raise InputError(f"loss is {loss!r:.60}; it must be callable: loss(outputs, targets).")
    return loss
