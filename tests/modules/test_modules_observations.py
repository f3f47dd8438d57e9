"""Running statistics of observations: what they are, when they count, and that all agree."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from evosearch.errors import InputError
from evosearch.modules.episodes import episode_keys
from evosearch.modules.normalised import Normalised
from evosearch.modules.observations import Moments, merged, scales_of
from evosearch.modules.scores import ReturnScores
from evosearch.modules.weights import Weights
from evosearch.train import train

FEW = {"search": "openai-es", "population": 6, "budget": 18, "episodes": 2}


class Space:
    shape = (2,)


class Actions:
    n, start = 2, 0


class Valley:
    """Two steps a second to the left or right; a place is shown far from 0, a speed very small."""

    observation_space, action_space = Space(), Actions()

    def __init__(self):
        self.seen = []

    def reset(self, *, seed=None):
        self.n_steps, self.speed = 0, 0.0
        self.place = float(np.random.default_rng(seed).uniform(-1, 1))
        self.seen.append([])
        return self._shown(), {}

    def step(self, action):
        self.n_steps += 1
        self.speed += 0.1 if action else -0.1
        self.place += 0.1 * self.speed
        return self._shown(), -abs(self.place), False, self.n_steps == 20 + len(self.seen) % 3, {}

    def _shown(self):
        shown = np.array([5000.0 + 10.0 * self.place, 0.01 * self.speed], dtype=np.float32)
        self.seen[-1].append(shown)
        return shown

    def acted_on(self, n_episodes):
        """Return all that policies saw in the first episodes; none acts on what ends one."""
        return np.array([row for rows in self.seen[:n_episodes] for row in rows[:-1]], np.float64)


def policy(n_in=2):
    torch.manual_seed(0)
    return nn.Linear(n_in, 2)


def test_moments_are_those_of_all_that_was_counted():
    rng = np.random.default_rng(0)
    seen = 1e6 + 0.1 * rng.standard_normal((50, 4, 3))
    is_counted = rng.random((50, 4)) < 0.7
    is_counted[:, 3] = False
    moments, singly = Moments(4, 3), Moments(4, 3)
    for values, flags in zip(seen, is_counted, strict=True):
        moments.add(values, flags)
        for row in np.flatnonzero(flags):
            singly.add_one(row, values[row])
    mean, scale = scales_of(merged(moments.rows()))

    np.testing.assert_array_equal(moments.rows(), singly.rows())
    np.testing.assert_allclose(mean, seen[is_counted].mean(axis=0), rtol=1e-14)
    np.testing.assert_allclose(scale, seen[is_counted].std(axis=0), rtol=1e-7)


def test_merging_in_parts_and_at_once_agree_and_nan_does_not_count():
    rng = np.random.default_rng(1)
    moments = Moments(6, 2)
    for _ in range(20):
        moments.add(rng.standard_normal((6, 2)), rng.random(6) < 0.5)
    rows = moments.rows()
    broken = np.vstack([rows, np.full((1, 5), np.nan)])

    parts = merged(merged(rows.reshape(3, 2, 5)))

    np.testing.assert_allclose(parts, merged(rows), rtol=1e-13)
    np.testing.assert_array_equal(merged(broken), merged(rows))


def test_nothing_seen_is_mean_0_and_scale_1_and_what_is_constant_is_not_scaled():
    moments = Moments(1, 2)
    mean, scale = scales_of(merged(moments.rows()))
    np.testing.assert_array_equal([*mean, *scale], [0, 0, 1, 1])
    for place in (1.0, 3.0):
        moments.add(np.array([[7.0, place]]), np.array([True]))

    mean, scale = scales_of(merged(moments.rows()))

    np.testing.assert_array_equal([*mean, *scale], [7, 2, 1, 1])


def test_a_trained_policy_holds_the_statistics_of_all_generations():
    world = Valley()
    result = train(policy(), environment=world, normalise=True, **FEW)
    seen = world.acted_on(18 * 2)

    assert isinstance(result.module, Normalised)
    np.testing.assert_allclose(result.module.mean, seen.mean(axis=0), rtol=1e-5)
    np.testing.assert_allclose(result.module.scale, seen.std(axis=0), rtol=1e-5)


def lived(world, module, key):
    """Return the sum of rewards of one episode, step by step."""
    seen, _ = world.reset(seed=int(key.generate_state(1)[0]) % 2**31)
    total, is_over = 0.0, False
    while not is_over:
        with torch.no_grad():
            action = int(module(torch.from_numpy(seen)[None]).argmax())
        seen, reward, _, is_over, _ = world.step(action)
        total += reward
    return total


def test_a_generation_is_scored_by_what_earlier_ones_saw():
    world, module = Valley(), policy()
    weights = Weights(module)
    scores = ReturnScores(
        module, weights, world, episodes=2, seed=3, device="cpu", chunk=None, normalise=True
    )
    points = np.random.default_rng(0).standard_normal((5, weights.dimension))
    world.seen.clear()
    scores(points)
    seen = world.acted_on(10)
    scores.begin(1)
    world.seen.clear()
    found = scores(points)

    other, expected = Valley(), []
    for point in points:
        whole = Normalised(weights.loaded(module, point), 2)
        whole.set(seen.mean(axis=0), seen.std(axis=0))
        expected.append(np.mean([lived(other, whole, key) for key in episode_keys(3, 1, 2)]))

    np.testing.assert_allclose(found, expected, rtol=1e-12)
    assert len(set(found)) > 1


def test_statistics_depend_on_no_threads_and_no_chunks():
    before = torch.get_num_threads()
    module, found = policy(4), []
    weights = Weights(module)
    points = np.random.default_rng(0).standard_normal((10, weights.dimension))
    for n_threads, chunk in ((1, None), (2, 3), (1, 1)):
        torch.set_num_threads(n_threads)
        options = {"episodes": 3, "seed": 2, "device": "cpu", "chunk": chunk, "normalise": True}
        scores = ReturnScores(module, weights, "cartpole", **options)
        returns = []
        for generation in (1, 2):
            # As a search that proposes in blocks has them scored.
            returns += [scores(points[:4]), scores(points[4:])]
            scores.begin(generation)
        state = scores.finished(module).state_dict()
        found.append([*returns, state["mean"].numpy(), state["scale"].numpy()])
    torch.set_num_threads(before)

    for other in found[1:]:
        for one, same in zip(found[0], other, strict=True):
            np.testing.assert_array_equal(one, same)
    assert not np.array_equal(found[0][0], found[0][2])


def test_returns_are_those_of_the_module_that_is_saved(tmp_path):
    world = Valley()
    result = train(policy(), environment=world, normalise=True, **FEW)
    loaded = Normalised(policy(), 2)
    loaded.load_state_dict(load_file(result.save(tmp_path / "policy.safetensors")))
    keys = episode_keys(0, 0, 2, is_test=True)
    world.seen = world.seen[:-2]

    np.testing.assert_allclose([lived(world, loaded, key) for key in keys], result.returns)


def test_badly_scaled_observations_are_learned_from_once_they_are_normalised():
    options = {"search": "ars", "population": 8, "budget": 64, "episodes": 2, "seed": 1}
    raw, normal = (
        train(policy(), environment=Valley(), normalise=normalise, **options).returns.mean()
        for normalise in (False, True)
    )

    assert normal > -7.0
    assert raw < normal - 3.0


def test_normalise_without_an_environment_is_refused():
    with pytest.raises(InputError, match="needs an environment"):
        train(policy(), nn.functional.mse_loss, (np.ones((3, 2)), np.ones((3, 2))), normalise=True)
