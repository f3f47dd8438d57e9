"""What the weights of a module score: losses on data, or returns in an environment."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from evosearch.errors import InputError
from evosearch.modules.data import Batch, check_labels, read_data, takes_labels
from evosearch.modules.episodes import episode_keys, open_world
from evosearch.modules.members import Chunk, Members
from evosearch.modules.observations import Moments, RunningScales, merged
from evosearch.modules.weights import Weights
from evosearch.outcome import FloatArray

if TYPE_CHECKING:
    import torch

# Episodes that choose among the last candidates, and that tell how good the chosen one is.
_N_COMPARED = 100


class LossScores:
    """Negative losses of members, all on the same examples.

    Args:
        module: the module.
        weights: which of its parameters the points are.
        loss: ``loss(outputs, targets)``, the mean over examples.
        data: see ``read_data``.
        batch: examples of a generation; None: all.
        seed: of the batches.
        device: where members are computed.
        chunk: members at a time; None: the usual number.

    Attributes:
        generation: whose examples are used.
        is_fresh: whether generations have different examples.
        sign: of a loss as fitness.

    Raises:
        InputError: module, loss and data do not fit each other; the message says what is wrong.
    """

    sign = -1.0

    def __init__(
        self,
        module: torch.nn.Module,
        weights: Weights,
        loss: Callable[[Any, Any], Any],
        data: Any,
        *,
        batch: int | None,
        seed: int,
        device: str,
        chunk: int | None,
    ) -> None:
        self._data = read_data(data, batch=batch, seed=seed, device=device, dtype=weights.dtype)
        self.is_fresh = self._data.is_fresh
        self.generation = 0
        (first,) = self._data.of_generation(0)
        if takes_labels(loss):
            one = Members(module, weights, _outputs, device=device, n_threads=1)
            check_labels(loss, one.prepare(first[0][:2]), self._data.all())
        self._members = Members(module, weights, _loss_by(loss), device=device, chunk=chunk)
        value = self._members.prepare(*first)
        if value.ndim:
            raise InputError(
                f"the loss returned shape {tuple(value.shape)}; it must return one number: the "
                "mean over the batch."
            )

    @property
    def chunk(self) -> int:
        """Members computed at a time."""
        return self._members.chunk

    def __call__(self, points: NDArray[Any]) -> FloatArray:
        """Return fitness (n,) on the examples of the generation."""
        return self._fitness(points, self._data.of_generation(self.generation))

    def begin(self, generation: int) -> None:
        """Go on to the examples of a generation."""
        self.generation = generation

    def finished(self, module: torch.nn.Module) -> torch.nn.Module:
        """Return the module, which needs nothing else."""
        return module

    def compared(self, points: FloatArray) -> FloatArray:
        """Return fitness (n,) on all examples."""
        return self._fitness(points, self._data.all())

    def tested(self, point: FloatArray) -> None:
        """Return nothing: a loss is known on all data."""
        return

    def _fitness(self, points: NDArray[Any], batches: Sequence[Batch]) -> FloatArray:
        total, n_examples = np.zeros(len(points)), 0
        for inputs, targets in batches:
            losses = self._members.map(points, _job(inputs, targets))
            total += len(inputs) * losses.double().numpy()
            n_examples += len(inputs)
        return -total / n_examples


class ReturnScores:
    """Mean returns of policies, all in the same episodes, new ones each generation.

    Args:
        policy: takes observations (E, k), puts out (E, n_outputs).
        weights: which of its parameters the points are.
        environment: see ``open_world``.
        episodes: episodes of each member.
        seed: of the episodes.
        device: where members are computed.
        chunk: members at a time; None: the usual number.
        normalise: whether policies see observations less their running mean, divided by their
            running standard deviation, see ``RunningScales``.

    Attributes:
        generation: whose episodes are used.
        is_fresh: that generations have different episodes.
        sign: of a return as fitness.

    Raises:
        InputError: the policy does not fit the environment.
    """

    is_fresh = True
    sign = 1.0

    def __init__(
        self,
        policy: torch.nn.Module,
        weights: Weights,
        environment: Any,
        *,
        episodes: int,
        seed: int,
        device: str,
        chunk: int | None,
        normalise: bool = False,
    ) -> None:
        import torch

        if episodes < 1:
            raise InputError(f"episodes is {episodes}; it must be at least 1.")
        self._world = open_world(environment)
        self._n_episodes, self._seed, self.generation = episodes, seed, 0
        # Beside each other only where the environment holds many episodes.
        one = {} if self._world.is_batched else {"n_threads": 1}
        chunk = chunk if self._world.is_batched else 1
        n_seen, dtype = self._world.n_observations, weights.dtype
        self._scales = RunningScales(n_seen, dtype=dtype, device=device) if normalise else None
        compute = _outputs_by(dtype, self._scales)
        self._members = Members(policy, weights, compute, device=device, chunk=chunk, **one)
        seen = torch.zeros(1, episodes, self._world.n_observations, device=device)
        outputs = self._members.prepare(own=(seen,))
        expected = (episodes, self._world.n_outputs)
        if tuple(outputs.shape) != expected:
            raise InputError(
                f"the policy put out shape {tuple(outputs.shape)} for observations "
                f"{tuple(seen.shape[1:])}; the environment takes {expected}."
            )

    @property
    def chunk(self) -> int:
        """Members computed at a time."""
        return self._members.chunk

    def __call__(self, points: NDArray[Any]) -> FloatArray:
        """Return mean returns (n,) in the episodes of the generation."""
        keys = episode_keys(self._seed, self.generation, self._n_episodes)
        if self._scales is None:
            return self._returns(points, keys).mean(axis=1)
        rows = self._members.map(points, self._watched(keys)).numpy()
        self._scales.gather(rows[:, len(keys) :])
        return rows[:, : len(keys)].mean(axis=1)

    def begin(self, generation: int) -> None:
        """Go on to the episodes of a generation, and normalise by what the last one saw too."""
        self.generation = generation
        if self._scales is not None:
            self._scales.advance()

    def finished(self, policy: torch.nn.Module) -> torch.nn.Module:
        """Return a policy with what it needs to be used on its own."""
        if self._scales is None:
            return policy
        from evosearch.modules.normalised import Normalised

        whole = Normalised(policy, self._world.n_observations)
        whole.set(self._scales.mean, self._scales.scale)
        return whole

    def compared(self, points: FloatArray) -> FloatArray:
        """Return mean returns (n,) in episodes after the last generation's."""
        keys = episode_keys(self._seed, self.generation + 1, self._n_more)
        return self._returns(points, keys).mean(axis=1)

    def tested(self, point: FloatArray) -> FloatArray:
        """Return the returns (E,) of a point in episodes of their own."""
        keys = episode_keys(self._seed, 0, self._n_more, is_test=True)
        return self._returns(point[None], keys)[0]

    @property
    def _n_more(self) -> int:
        return max(self._n_episodes, _N_COMPARED) if self._world.is_batched else self._n_episodes

    def _returns(self, points: NDArray[Any], keys: list[np.random.SeedSequence]) -> FloatArray:
        return self._members.map(
            points, lambda chunk, n: self._world.returns(chunk, n, keys)
        ).numpy()

    def _watched(self, keys: list[np.random.SeedSequence]) -> Callable[[Chunk, int], Any]:
        """Return the job that finds returns (n, E), and the moments of what each member saw."""
        import torch

        def job(chunk: Chunk, n: int) -> Any:
            moments = Moments(n * len(keys), self._world.n_observations)
            returns = self._world.returns(chunk, n, keys, moments)
            rows = moments.rows().reshape(n, len(keys), -1)
            return torch.cat([returns, torch.from_numpy(merged(rows))], dim=1)

        return job


def _outputs(call: Callable[..., Any], inputs: Any) -> Any:
    """Compute what one member puts out."""
    return call(inputs)


def _outputs_by(dtype: torch.dtype, scales: RunningScales | None) -> Callable[..., Any]:
    """Return how one member answers to what it sees."""
    if scales is None:
        return lambda call, seen: call(seen.to(dtype)).float()
    return lambda call, seen: call(scales.normalised(seen)).float()


def _loss_by(loss: Callable[[Any, Any], Any]) -> Callable[..., Any]:
    """Return how the loss of one member is computed."""

    def compute(call: Callable[..., Any], inputs: Any, targets: Any) -> Any:
        return loss(call(inputs), targets)

    return compute


def _job(inputs: Any, targets: Any) -> Callable[[Chunk, int], Any]:
    return lambda chunk, n: chunk(inputs, targets)
