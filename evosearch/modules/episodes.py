"""Returns of torch policies: episodes of many members, a step of all of them at a time."""

from __future__ import annotations

import importlib
import re
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from evosearch.errors import InputError, unknown_name

if TYPE_CHECKING:
    import torch

    from evosearch.control.environment import Environment
    from evosearch.modules.members import Chunk
    from evosearch.modules.observations import Moments

# Keeps the draws of episodes apart from other uses of the same seed.
_STREAM = 0xE915
_TEST = 0x7E57


class World(Protocol):
    """Where episodes take place.

    Attributes:
        n_observations: numbers that a policy sees.
        n_outputs: numbers that it puts out: one for each action, of which the greatest acts, or
            one for each control, of which -1 to 1 are stretched to the bounds.
        is_batched: whether many members act side by side.
    """

    n_observations: int
    n_outputs: int
    is_batched: bool

    def returns(
        self,
        chunk: Chunk,
        n: int,
        keys: list[np.random.SeedSequence],
        moments: Moments | None = None,
    ) -> torch.Tensor:
        """Return the sums of rewards (n, E) of n members in the episodes of E keys.

        Args:
            chunk: puts out what the members do for observations (n, E, n_observations).
            n: members.
            keys: of the episodes.
            moments: where to add what is seen, a row an episode of each member.
        """
        ...


def episode_keys(
    seed: int, generation: int, n_episodes: int, *, is_test: bool = False
) -> list[np.random.SeedSequence]:
    """Return what the episodes of a generation are drawn from, the same for all its members."""
    root = [seed, generation, _STREAM, _TEST if is_test else 0]
    return [np.random.SeedSequence([*root, episode]) for episode in range(n_episodes)]


def open_world(environment: Any) -> World:
    """Return where episodes of an environment take place.

    Args:
        environment: the name of a compiled one, such as ``CartPole-v1`` or ``cartpole``; the id of
            another of Gymnasium; or an object with Gymnasium's ``reset`` and ``step``.

    Raises:
        InputError: there is no such environment, or its spaces fit no policy.
    """
    if not isinstance(environment, str):
        return GymnasiumEpisodes(environment)
    from evosearch.control.environment import ENVIRONMENTS

    by_word = {_word(name): name for name in ENVIRONMENTS.names()}
    if _word(environment) in by_word:
        return CompiledEpisodes(ENVIRONMENTS.get(by_word[_word(environment)])())
    try:
        gymnasium = importlib.import_module("gymnasium")
    except ImportError:
        error = unknown_name("compiled environment", environment, by_word.values())
        raise InputError(f"{error} Others need Gymnasium: pip install 'evosearch[gym]'.") from None
    try:
        return GymnasiumEpisodes(gymnasium.make(environment))
    except gymnasium.error.Error as error:
        raise InputError(f"environment {environment!r} cannot be made: {error}") from None


class CompiledEpisodes:
    """Episodes in a compiled environment, those of all members of a chunk side by side.

    Args:
        environment: the environment; numbers are float32.
    """

    is_batched = True

    def __init__(self, environment: Environment) -> None:
        self._environment = environment
        self.n_observations, self.n_outputs = environment.n_observations, environment.n_outputs

    def returns(
        self,
        chunk: Chunk,
        n: int,
        keys: list[np.random.SeedSequence],
        moments: Moments | None = None,
    ) -> torch.Tensor:
        """Return the sums of rewards (n, E), float64."""
        import torch

        world, n_episodes = self._environment, len(keys)
        lanes = _Lanes(world, n, keys)
        for _ in range(world.time_limit):
            observed = lanes.observed()
            if moments is not None:
                moments.add(observed, lanes.is_alive)
            seen = torch.from_numpy(observed).unflatten(0, (n, n_episodes))
            outputs = chunk(own=(seen.to(chunk.device),)).cpu().numpy()
            lanes.act(outputs.reshape(n * n_episodes, -1))
            if not lanes.is_alive.any():
                break
        return torch.from_numpy(lanes.total.reshape(n, n_episodes))


class _Lanes:
    """Episodes in blocks of the lanes that a compiled environment advances at a time."""

    def __init__(self, world: Environment, n: int, keys: list[np.random.SeedSequence]) -> None:
        from evosearch.control.lanes import LANES

        self._world, self._n_lanes = world, LANES
        self._count = n * len(keys)
        n_blocks = -(-self._count // LANES)
        starts = np.stack([world.draw(np.random.default_rng(key)) for key in keys])
        # Lanes that are left over live the first episode again.
        which = np.arange(n_blocks * LANES) % len(keys)
        self._state = self._blocks(starts[which])
        self._seen = np.zeros((n_blocks, world.n_observations, LANES), dtype=np.float32)
        n_controls = 1 if world.bounds is None else world.n_outputs
        self._action = np.zeros((n_blocks * LANES, n_controls), dtype=np.float32)
        self._reward = np.zeros((n_blocks, LANES), dtype=np.float32)
        self._is_done = np.zeros((n_blocks, LANES), dtype=np.bool_)
        self.is_alive = np.ones(self._count, dtype=np.bool_)
        self.total = np.zeros(self._count)

    def observed(self) -> NDArray[np.float32]:
        """Return what the policies see (episodes, n_observations)."""
        for block in range(len(self._seen)):
            self._world.observe(self._state[block], self._seen[block])
        seen = self._seen.transpose(0, 2, 1).reshape(-1, self._world.n_observations)
        return seen[: self._count]

    def act(self, outputs: NDArray[Any]) -> None:
        """Take a step for outputs (episodes, n_outputs) and add up the rewards."""
        self._action[: self._count] = _actions(outputs, self._world.bounds)
        action = self._blocks(self._action)
        for block in range(len(self._state)):
            self._world.step(
                self._state[block], action[block], self._reward[block], self._is_done[block]
            )
        reward = self._reward.reshape(-1)[: self._count]
        self.total += np.where(self.is_alive, reward, 0.0)
        self.is_alive &= ~self._is_done.reshape(-1)[: self._count]

    def _blocks(self, rows: NDArray[Any]) -> NDArray[np.float32]:
        """Return rows (lanes of all blocks, k) as blocks (n_blocks, k, lanes)."""
        cut = rows.reshape(-1, self._n_lanes, rows.shape[1])
        return np.ascontiguousarray(cut.transpose(0, 2, 1), dtype=np.float32)


def _actions(outputs: NDArray[Any], bounds: tuple[float, float] | None) -> NDArray[Any]:
    """Return the number of the greatest output, or controls stretched to the bounds."""
    if bounds is None:
        return outputs.argmax(axis=1)[:, None]
    low, high = bounds
    return (high + low) / 2 + (high - low) / 2 * np.clip(outputs, -1.0, 1.0)


class GymnasiumEpisodes:
    """Episodes in an object with Gymnasium's ``reset(seed=…)`` and ``step``, one at a time.

    Args:
        environment: has ``observation_space`` and ``action_space``, a Discrete one or a bounded
            Box.

    Raises:
        InputError: it has not, or its spaces fit no policy.
    """

    is_batched = False

    def __init__(self, environment: Any) -> None:
        for name in ("reset", "step", "observation_space", "action_space"):
            if not hasattr(environment, name):
                raise InputError(
                    f"environment is of type {type(environment).__name__}, which has no {name}; it "
                    "must be a name or have Gymnasium's interface."
                )
        seen, acted = environment.observation_space, environment.action_space
        shape = getattr(seen, "shape", None)
        if shape is None:
            raise InputError(f"the environment shows {seen}; observations must be arrays.")
        self._environment = environment
        self.n_observations = int(np.prod(shape))
        self._n_actions = getattr(acted, "n", None)
        if self._n_actions is not None:
            self.n_outputs, self._first = int(self._n_actions), int(getattr(acted, "start", 0))
            return
        low, high = (np.asarray(getattr(acted, end, np.inf)) for end in ("low", "high"))
        if not (np.isfinite(low).all() and np.isfinite(high).all()):
            raise InputError(
                f"the environment takes {acted}; actions must be Discrete or a bounded Box."
            )
        self.n_outputs = int(low.size)

    def returns(
        self,
        chunk: Chunk,
        n: int,
        keys: list[np.random.SeedSequence],
        moments: Moments | None = None,
    ) -> torch.Tensor:
        """Return the sums of rewards (1, E) of one member."""
        import torch

        assert n == 1, "one environment holds one episode"
        totals = [self._episode(chunk, key, k, moments) for k, key in enumerate(keys)]
        return torch.tensor([totals], dtype=torch.float64)

    def _episode(
        self, chunk: Chunk, key: np.random.SeedSequence, number: int, moments: Moments | None
    ) -> float:
        import torch

        seed = int(key.generate_state(1)[0]) % 2**31
        seen, _ = self._environment.reset(seed=seed)
        total, is_over = 0.0, False
        while not is_over:
            flat = np.asarray(seen, dtype=np.float32).reshape(1, -1)
            if moments is not None:
                moments.add_one(number, flat[0])
            row = torch.from_numpy(flat[None])
            outputs = chunk(own=(row.to(chunk.device),)).cpu().numpy().reshape(-1)
            seen, reward, is_terminated, is_truncated, _ = self._environment.step(
                self._action(outputs)
            )
            total += float(reward)
            is_over = bool(is_terminated or is_truncated)
        return total

    def _action(self, outputs: NDArray[Any]) -> Any:
        if self._n_actions is not None:
            return self._first + int(outputs.argmax())
        space = self._environment.action_space
        low, high = np.asarray(space.low, np.float64), np.asarray(space.high, np.float64)
        controls = np.clip(outputs, -1.0, 1.0).reshape(low.shape)
        return ((high + low) / 2 + (high - low) / 2 * controls).astype(low.dtype)


def _word(name: str) -> str:
    """Return a name without version, case and hyphens."""
    return re.sub(r"[-_ ]", "", re.sub(r"-v\d+$", "", name)).lower()
