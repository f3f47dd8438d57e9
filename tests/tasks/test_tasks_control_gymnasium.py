"""Compiled environments against Gymnasium's own, and policies in any of its environments."""

import numpy as np
import pytest

from evosearch.control.environment import ENVIRONMENTS
from evosearch.control.lanes import LANES
from evosearch.errors import InputError
from evosearch.problem import load_problem
from evosearch.tasks.base import draw_rng
from evosearch.tasks.control import ControlTask
from evosearch.tasks.gymnasium import GymnasiumTask

gymnasium = pytest.importorskip("gymnasium")

NAMES = (
    "Acrobot-v1",
    "CartPole-v1",
    "MountainCar-v0",
    "MountainCarContinuous-v0",
    "Pendulum-v1",
)


def random_action(environment, rng):
    """Return an action for Gymnasium, and the same for all lanes."""
    if environment.bounds is None:
        action = int(rng.integers(environment.n_outputs))
        return action, np.full((1, LANES), float(action))
    action = rng.uniform(*environment.bounds, 1).astype(np.float32)
    return action, np.full((1, LANES), float(action[0]))


def all_lanes(state):
    return np.repeat(np.array(state, dtype=np.float64)[:, None], LANES, axis=1)


@pytest.mark.parametrize("name", NAMES)
def test_each_of_1000_random_steps_equals_gymnasiums(name):
    ours, theirs = ENVIRONMENTS.get(name)(), gymnasium.make(name).unwrapped
    rng = np.random.default_rng(4)
    theirs.reset(seed=1)
    reward, is_done = np.zeros(LANES), np.zeros(LANES, np.bool_)
    seen = np.zeros((ours.n_observations, LANES))
    for _ in range(1000):
        state = all_lanes(theirs.state)
        action, block = random_action(ours, rng)
        ours.step(state, block, reward, is_done)
        ours.observe(state, seen)
        observation, their_reward, is_terminated, _, _ = theirs.step(action)
        np.testing.assert_allclose(state, all_lanes(theirs.state), rtol=0, atol=1e-6)
        np.testing.assert_allclose(seen[:, 0], observation, rtol=0, atol=1e-6)
        assert reward[0] == pytest.approx(float(their_reward), abs=1e-6)
        assert is_done[0] == is_terminated
        if is_terminated:
            theirs.reset()


def test_cartpole_in_float64_stays_on_gymnasiums_bits():
    ours, theirs = ENVIRONMENTS.get("CartPole-v1")(), gymnasium.make("CartPole-v1").unwrapped
    rng = np.random.default_rng(9)
    theirs.reset(seed=2)
    state = all_lanes(theirs.state)
    reward, is_done = np.zeros(LANES), np.zeros(LANES, np.bool_)
    for _ in range(1000):
        action, block = random_action(ours, rng)
        ours.step(state, block, reward, is_done)
        is_terminated = theirs.step(action)[2]
        np.testing.assert_array_equal(state, all_lanes(theirs.state))
        if is_terminated:
            theirs.reset()
            state = all_lanes(theirs.state)


class BeginningAt:
    """An environment of Gymnasium whose episodes begin in a given state."""

    def __init__(self, environment, start):
        self._environment, self._start = environment, start
        self.observation_space = environment.observation_space

    def reset(self, seed):
        self._environment.reset(seed=seed)
        raw = self._environment.unwrapped
        raw.state = np.array(self._start)
        for name in ("_get_ob", "_get_obs"):
            if hasattr(raw, name):
                return getattr(raw, name)(), {}
        return np.array(raw.state, dtype=np.float32), {}

    def step(self, action):
        return self._environment.step(action)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("policy", ["mlp", "recurrent"])
def test_whole_episodes_earn_what_they_earn_in_gymnasium(name, policy, monkeypatch):
    settings = {"policy": policy, "hidden": (8, 5)}
    task = ControlTask(ControlTask.Settings(environment=name, dtype="float64", **settings), seed=3)
    other = GymnasiumTask(GymnasiumTask.Settings(id=name, **settings), seed=3)
    assert other.policy == task.policy
    points = np.random.default_rng(0).normal(size=(3, task.policy.dimension))
    keys = [(1, 2, k) for k in range(2)]
    compiled = task.score(points, keys, "search").per_draw
    world = other._world
    environment = world._environment
    for k, key in enumerate(keys):
        start = task.environment.draw(draw_rng(key))
        monkeypatch.setattr(world, "_environment", BeginningAt(environment, start))
        monkeypatch.setattr(world._environment, "action_space", environment.action_space, False)
        theirs = other.score(points, [key], "search").per_draw
        np.testing.assert_allclose(compiled[:, k : k + 1], theirs, rtol=1e-7, atol=1e-7)


@pytest.mark.parametrize("normalise", [False, True])
def test_episode_of_gymnasium_depends_on_policy_and_key_alone(normalise):
    def task():
        settings = GymnasiumTask.Settings(id="CartPole-v1", hidden=(4,), normalise=normalise)
        return GymnasiumTask(settings, seed=1)

    points = np.random.default_rng(2).normal(size=(3, task().policy.dimension))
    keys = [(5, 0, k) for k in range(3)]
    together = task().score(points, keys, "search")
    assert len(np.unique(together.per_draw)) > 2
    np.testing.assert_array_equal(together.metrics["steps"], together.per_draw.mean(axis=1))
    alone = task()
    for k in (2, 0):
        assert (
            alone.score(points[k : k + 1], keys[::-1], "search").per_draw[0, ::-1]
            == together.per_draw[k]
        ).all()


def test_discrete_observations_are_one_number_for_each_value():
    task = GymnasiumTask(GymnasiumTask.Settings(id="FrozenLake-v1", hidden=()), seed=0)
    assert task.domain().shapes == ((4, 16), (4,))


def test_time_limit_ends_an_episode_of_gymnasium():
    task = GymnasiumTask(GymnasiumTask.Settings(id="Pendulum-v1", time_limit=9), seed=0)
    scores = task.score(task.baseline("zero")[None], [(1,)], "search")
    assert scores.metrics["steps"] == 9


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"id": "NoSuch-v0"}, "environment 'NoSuch-v0' cannot be made"),
        ({"id": "CartPole-v1", "options": {"colour": "red"}}, "colour"),
        ({"id": "Blackjack-v1"}, "has no time limit; set time_limit"),
    ],
)
def test_environment_that_fits_no_policy_is_refused_in_one_sentence(settings, message):
    task = GymnasiumTask(GymnasiumTask.Settings(**settings), seed=0)
    with pytest.raises(InputError, match=message):
        task.domain()


@pytest.mark.filterwarnings("ignore")  # what MuJoCo says of the worlds' files is not ours
@pytest.mark.parametrize("name", ["swimmer", "half_cheetah"])
def test_linear_policies_in_mujoco_earn_the_rewards_that_gymnasium_pays(name):
    pytest.importorskip("mujoco")
    task = load_problem(name, preset="quick").task("test")
    environment = gymnasium.make(task.settings.id)
    n_seen, n_acts = environment.observation_space.shape[0], environment.action_space.shape[0]
    point = np.random.default_rng(6).normal(size=n_acts * (n_seen + 1))
    w, b = point[:-n_acts].reshape(n_acts, n_seen), point[-n_acts:]
    mean, scale = task._scales if task.settings.normalise else (0.0, 1.0)
    key = (3, 1)
    observation, _ = environment.reset(seed=int(np.random.SeedSequence(key).generate_state(1)[0]))
    total = 0.0
    for _ in range(task.settings.time_limit):
        action = np.clip(w @ ((observation - mean) / scale) + b, -1.0, 1.0)
        observation, reward, *_ = environment.step(action.astype(np.float32))
        total += reward
    scores = task.score(point[None], [key], "test")
    assert abs(total) > 0.1
    assert scores.per_draw[0, 0] == pytest.approx(total, rel=1e-4, abs=1e-4)
    assert scores.metrics["steps"] == task.settings.time_limit
