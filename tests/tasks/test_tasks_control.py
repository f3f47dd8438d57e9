"""Compiled environments and policies against stored trajectories, hand formulas and plain NumPy."""

import math
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from evosearch.control.environment import ENVIRONMENTS
from evosearch.control.lanes import LANES
from evosearch.control.policy import Policy
from evosearch.errors import InputError
from evosearch.outcome import OK, Evaluation
from evosearch.populations import LowRank
from evosearch.search.base import SEARCHES
from evosearch.spaces import VectorSpace
from evosearch.tasks.base import draw_rng
from evosearch.tasks.control import ControlTask
from evosearch.tasks.gymnasium import GymnasiumTask

NAMES = (
    "Acrobot-v1",
    "CartPole-v1",
    "MountainCar-v0",
    "MountainCarContinuous-v0",
    "Pendulum-v1",
)

# Twelve steps of Gymnasium 1.4.0: first state, actions, last state, sum of rewards, observation.
TRAJECTORIES = {
    "CartPole-v1": (
        [0.01, -0.02, 0.03, -0.04],
        [1, 0, 0, 1, 1, 0, 1, 0, 1, 1, 0, 1],
        [0.028138977947069134, 0.36666194531130947, -0.004234718382836129, -0.546331855556025],
        12.0,
        [0.02813897840678692, 0.366661936044693, -0.004234718158841133, -0.5463318824768066],
    ),
    "Acrobot-v1": (
        [0.0625, -0.03125, 0.09375, 0.015625],
        [2, 0, 1, 2, 2, 2, 0, 0, 0, 2, 1, 0],
        [0.15451642404267393, -0.4730676652243679, -0.05360994948302858, -0.06294013064876708],
        -12.0,
        [0.9880860447883606, 0.1539023071527481, 0.8901748061180115, -0.4556191861629486,
         -0.053609948605298996, -0.06294012814760208],
    ),
    "MountainCar-v0": (
        [-0.55, 0.0],
        [0, 0, 0, 1, 2, 2, 2, 2, 2, 2, 2, 0],
        [-0.5317502009236994, 0.005515195645168517],
        -12.0,
        [-0.5317502021789551, 0.005515195429325104],
    ),
    "MountainCarContinuous-v0": (
        [-0.5, 0.0],
        [-1.0, -0.5, -1.0, 0.25, 1.0, 1.0, 0.75, 1.0, 0.5, 1.0, -0.25, 0.0],
        [-0.5033533573150635, 0.0028819474391639233],
        -0.71875,
        [-0.5033533573150635, 0.0028819474391639233],
    ),
    "Pendulum-v1": (
        [3.0, 0.5],
        [2.0, 2.0, -1.5, 0.25, 1.0, -2.0, -2.0, 0.5, 2.0, 2.0, 1.25, -0.75],
        [3.439274883211541, 0.23647878641913345],
        -107.99729051536671,
        [-0.95601886510849, -0.2933051586151123, 0.236478790640831],
    ),
}  # fmt: skip


def make_task(environment="CartPole-v1", *, seed=3, **settings):
    return ControlTask(ControlTask.Settings(environment=environment, **settings), seed=seed)


def draw_keys(n, first=0):
    return [(11, 2, first + k) for k in range(n)]


def random_points(task, n, seed=0):
    return np.random.default_rng(seed).normal(size=(n, task.policy.dimension))


class OneLane:
    """An environment of which only lane 5 is looked at; the others hold other states."""

    def __init__(self, environment, start, dtype=np.float64):
        rng = np.random.default_rng(1)
        self.environment, self.dtype = environment, dtype
        states = np.stack([environment.draw(rng) for _ in range(LANES)], axis=1)
        self.state = states.astype(dtype)
        self.state[:, 5] = start

    def step(self, action):
        """Return the reward of one step and whether the episode is done."""
        block = np.zeros((np.size(action), LANES), self.dtype)
        block[:, 5] = action
        reward, is_done = np.zeros(LANES, self.dtype), np.zeros(LANES, np.bool_)
        self.environment.step(self.state, block, reward, is_done)
        return float(reward[5]), bool(is_done[5])

    def observe(self):
        seen = np.zeros((self.environment.n_observations, LANES), self.dtype)
        self.environment.observe(self.state, seen)
        return seen[:, 5].astype(np.float64)


def test_all_environments_of_the_docs_are_registered():
    assert set(NAMES) <= set(ENVIRONMENTS.names())


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float64, 1e-12), (np.float32, 2e-5)])
def test_environment_repeats_a_stored_trajectory_of_gymnasium(name, dtype, tolerance):
    start, actions, end, rewards, seen = TRAJECTORIES[name]
    lane = OneLane(ENVIRONMENTS.get(name)(), start, dtype)
    total = 0.0
    for action in actions:
        reward, is_done = lane.step(action)
        total += reward
        assert not is_done
    assert lane.state[:, 5] == pytest.approx(end, rel=tolerance, abs=tolerance)
    assert total == pytest.approx(rewards, rel=max(tolerance, 1e-9))
    assert lane.observe() == pytest.approx(seen, rel=max(tolerance, 1e-7))


def test_first_push_of_an_upright_pole_is_newtons():
    lane = OneLane(ENVIRONMENTS.get("CartPole-v1")(), [0.0, 0.0, 0.0, 0.0])
    lane.step(1)
    # A cart of 1 kg, a pole of 0.1 kg and 1 m, 10 N, 0.02 s: the pole falls against the push.
    angle_acc = -(10.0 / 1.1) / (0.5 * (4 / 3 - 0.1 / 1.1))
    x_acc = 10.0 / 1.1 - 0.05 * angle_acc / 1.1
    assert lane.state[:, 5] == pytest.approx([0.0, 0.02 * x_acc, 0.0, 0.02 * angle_acc])


@pytest.mark.parametrize(
    ("name", "state", "action", "reward", "is_done"),
    [
        ("CartPole-v1", [2.39, 1.0, 0.0, 0.0], 1, 1.0, True),
        ("CartPole-v1", [0.0, 0.0, -0.209, -0.1], 1, 1.0, True),
        ("CartPole-v1", [2.37, 1.0, 0.0, 0.0], 1, 1.0, False),
        ("MountainCar-v0", [0.499, 0.05], 2, -1.0, True),
        ("MountainCar-v0", [0.4, 0.05], 2, -1.0, False),
        ("MountainCarContinuous-v0", [0.449, 0.05], 0.5, 100.0 - 0.025, True),
        ("MountainCarContinuous-v0", [0.3, 0.05], 0.5, -0.025, False),
        ("Acrobot-v1", [math.pi, 0.0, 0.0, 0.0], 1, 0.0, True),
        ("Acrobot-v1", [0.0, 0.0, 0.0, 0.0], 1, -1.0, False),
        ("Pendulum-v1", [0.0, 0.0], 0.0, 0.0, False),
        ("Pendulum-v1", [math.pi + 0.5, 2.0], 1.0, -((math.pi - 0.5) ** 2) - 0.401, False),
    ],
)
def test_episode_ends_and_earns_as_its_rules_say(name, state, action, reward, is_done):
    lane = OneLane(ENVIRONMENTS.get(name)(), state)
    assert lane.step(action) == (pytest.approx(reward, abs=1e-8), is_done)


def test_car_stops_dead_at_the_left_wall():
    for name, action in (("MountainCar-v0", 0), ("MountainCarContinuous-v0", -1.0)):
        lane = OneLane(ENVIRONMENTS.get(name)(), [-1.19, -0.06])
        lane.step(action)
        assert lane.state[:, 5] == pytest.approx([-1.2, 0.0])


def reference_episode(task, vector, start):
    """Return the sum of rewards and the steps of one episode, in plain NumPy."""
    environment, policy = task.environment, task.policy
    lane, memory = OneLane(environment, start), np.zeros(policy.n_feedback)
    bounds, total, n_steps, is_done = environment.bounds, 0.0, 0, False
    while not is_done and n_steps < environment.time_limit:
        x, position = np.append(lane.observe(), memory), 0
        for k, (n_in, n_out) in enumerate(zip(policy.sizes, policy.sizes[1:], strict=False)):
            w = vector[position : position + n_in * n_out].reshape(n_out, n_in)
            b = vector[position + n_in * n_out : position + (n_in + 1) * n_out]
            position += (n_in + 1) * n_out
            x = w @ x + b
            x = np.tanh(x) if k < len(policy.hidden) else x
            memory = x[: len(memory)] if k == 0 else memory
        assert position == policy.dimension
        action = np.argmax(x) if bounds is None else bounds[1] * np.clip(x, -1, 1)
        reward, is_done = lane.step(np.float32(action))
        total, n_steps = total + reward, n_steps + 1
    return total, n_steps


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    ("policy", "hidden"), [("mlp", ()), ("mlp", (7,)), ("mlp", (5, 3)), ("recurrent", (6, 4))]
)
def test_returns_equal_those_of_a_plain_loop(name, policy, hidden):
    task = make_task(name, policy=policy, hidden=hidden, dtype="float64")
    points, keys = random_points(task, 2), draw_keys(2)
    scores = task.score(points, keys, "search")
    starts = [task.environment.draw(draw_rng(key)) for key in keys]
    expected = [[reference_episode(task, point, start) for start in starts] for point in points]
    returns, steps = np.moveaxis(np.array(expected), -1, 0)
    np.testing.assert_allclose(scores.per_draw, returns, rtol=1e-7)
    np.testing.assert_array_equal(scores.metrics["steps"], steps.mean(axis=1))


def test_policies_see_their_own_past_only_when_recurrent():
    sizes = {kind: Policy(4, (16,), 2, kind).shapes[0] for kind in ("mlp", "recurrent")}
    assert sizes == {"mlp": (16, 4), "recurrent": (16, 20)}
    assert Policy(4, (16,), 2).dimension == 5 * 16 + 17 * 2


@pytest.mark.parametrize("name", ["CartPole-v1", "MountainCarContinuous-v0"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_score_of_a_policy_depends_on_nothing_beside_it(name, dtype):
    task = make_task(name, dtype=dtype, policy="recurrent", hidden=(4,))
    points, keys = random_points(task, 70), draw_keys(3)
    together = task.score(points, keys, "search").per_draw
    assert len(np.unique(together)) > 10
    backwards = task.score(points[::-1].copy(), keys[::-1], "search").per_draw
    np.testing.assert_array_equal(backwards[::-1, ::-1], together)
    for k in (0, 33, 69):
        np.testing.assert_array_equal(
            task.score(points[k : k + 1], keys[1:2], "search").per_draw, together[k : k + 1, 1:2]
        )


def test_threads_change_nothing():
    task = make_task()
    blocks = random_points(task, 120).reshape(4, 30, -1)
    alone = [task.score(block, draw_keys(4), "search").per_draw for block in blocks]
    with ThreadPoolExecutor(4) as threads:
        together = list(threads.map(lambda b: task.score(b, draw_keys(4), "search"), blocks))
    for first, second in zip(alone, together, strict=True):
        np.testing.assert_array_equal(first, second.per_draw)


def test_population_of_low_rank_scores_as_its_points():
    task = make_task()
    rng = np.random.default_rng(5)
    left, right = [], []
    for shape in task.policy.shapes:
        left.append(rng.normal(size=(3, 1, shape[0])).astype(np.float32))
        is_matrix = len(shape) == 2
        right.append(rng.normal(size=(3, 1, shape[1])).astype(np.float32) if is_matrix else None)
    mean = task.domain().x0
    population = LowRank(mean, 0.5, task.policy.shapes, tuple(left), tuple(right))
    np.testing.assert_array_equal(
        task.score(population, draw_keys(2), "search").per_draw,
        task.score(population.dense(), draw_keys(2), "search").per_draw,
    )


def balancing_weights(task):
    """Return weights (dimension,) whose action is the sign of a known balancing law."""
    vector = np.zeros(task.policy.dimension)
    arrays = task.policy.arrays(vector)
    arrays[0][0] = [0.1, 0.2, 1.0, 0.3]
    arrays[2][1, 0] = 1.0
    return vector


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_balancing_law_keeps_the_pole_up_for_500_steps(dtype):
    task = make_task(dtype=dtype)
    scores = task.score(balancing_weights(task)[None], draw_keys(100), "test")
    assert (scores.per_draw == 500.0).all()
    assert scores.metrics["steps"] == 500.0


def test_float32_agrees_with_float64_while_nothing_is_chaotic():
    for name in ("MountainCarContinuous-v0", "Pendulum-v1"):
        tasks = [make_task(name, dtype=dtype) for dtype in ("float32", "float64")]
        points = 0.1 * random_points(tasks[0], 20)
        single, double = (t.score(points, draw_keys(3), "search").per_draw for t in tasks)
        np.testing.assert_allclose(single, double, rtol=1e-3)


def test_time_limit_ends_episodes():
    task = make_task("MountainCar-v0", time_limit=17)
    assert (task.score(random_points(task, 3), draw_keys(4), "search").per_draw == -17.0).all()


def test_no_policies_score_nothing_and_huge_weights_score_something():
    task = make_task()
    assert (
        task.score(np.empty((0, task.policy.dimension)), draw_keys(2), "search").per_draw.size == 0
    )
    huge = np.full((1, task.policy.dimension), 1e300)
    assert 1.0 <= task.score(huge, draw_keys(1), "search").per_draw[0, 0] <= 500.0


def test_equal_outputs_choose_the_first_action():
    task = make_task(dtype="float64")
    zero = task.baseline("zero")
    start = task.environment.draw(draw_rng(draw_keys(1)[0]))
    lane, n_steps, is_done = OneLane(task.environment, start), 0, False
    while not is_done:
        _, is_done = lane.step(0)
        n_steps += 1
    assert task.score(zero[None], draw_keys(1), "search").per_draw == [[n_steps]]


def test_controls_are_cut_to_the_bounds():
    task = make_task("MountainCarContinuous-v0", hidden=())
    full_throttle = np.array([[0.0, 0.0, 30.0]])
    # Full throttle never gets up the hill and costs 0.1 a step.
    returns = task.score(full_throttle, draw_keys(3), "search").per_draw
    np.testing.assert_allclose(returns, -99.9, rtol=1e-5)


@pytest.mark.parametrize("kind", ["mlp", "recurrent"])
def test_folded_weights_do_to_observations_what_the_weights_do_to_normalised_ones(kind):
    rng = np.random.default_rng(8)
    policy = Policy(3, (5, 4), 2, kind)
    points = rng.normal(size=(2, policy.dimension))
    mean, scale = rng.normal(size=3), rng.uniform(0.1, 3.0, 3)
    folded = policy.folded(points, mean, scale)
    observation, feedback = rng.normal(size=3), rng.normal(size=policy.n_feedback)
    for point, other in zip(points, folded, strict=True):
        wanted = policy.answer(policy.arrays(point), (observation - mean) / scale, feedback)
        found = policy.answer(policy.arrays(other), observation, feedback)
        np.testing.assert_allclose(np.concatenate(found), np.concatenate(wanted), rtol=1e-12)


def test_normalisation_follows_the_seed_of_the_problem_alone():
    def returns(seed):
        task = make_task("Pendulum-v1", normalise=True, seed=seed)
        return task.score(0.3 * random_points(task, 1), draw_keys(2), "search").per_draw

    assert (returns(1) == returns(1)).all()
    assert (returns(1) != returns(2)).all()


def test_normalised_pendulum_sees_its_speed_as_small_as_its_direction():
    from evosearch.control.observations import seen_at_random

    mean, scale = seen_at_random(ENVIRONMENTS.get("Pendulum-v1")(), np.random.default_rng(0))
    # It mostly hangs: the cosine of the angle is negative; the speed is large.
    assert mean[0] < -0.2
    assert scale[2] > 3 * scale[1]


def test_search_starts_at_small_weights_that_follow_the_seed():
    first, same, other = (make_task(seed=seed).domain().x0 for seed in (1, 1, 2))
    assert (first == same).all()
    assert (first != other).any()
    assert 0.0 < np.abs(first).max() < 0.5


def test_unknown_environment_is_named_with_the_known_ones():
    with pytest.raises(InputError, match=r"unknown environment 'CartPole'.*'CartPole-v1'"):
        make_task("CartPole")


def test_recurrent_policy_needs_a_hidden_layer():
    with pytest.raises(ValueError, match="at least one hidden layer"):
        ControlTask.Settings(policy="recurrent", hidden=())


def test_absent_gymnasium_is_said_with_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "gymnasium", None)
    task = GymnasiumTask(GymnasiumTask.Settings(id="CartPole-v1"), seed=0)
    with pytest.raises(InputError, match=r"pip install 'evosearch\[gym\]'"):
        task.domain()


def evaluated(per_draw):
    n = len(per_draw)
    return Evaluation(
        fitness=per_draw.mean(axis=1),
        status=(OK,) * n,
        size=np.ones(n, dtype=np.int64),
        per_draw=per_draw,
        scale=np.ones(n),
        exploded=np.zeros(n),
        is_cached=np.zeros(n, dtype=np.bool_),
        cost=n,
    )


def learned_mean(search_name, seed, settings, n_generations=20):
    """Return the mean of a search after some generations of 128 on CartPole, (dimension,)."""
    task = make_task(normalise=True, seed=0)
    domain = task.domain()
    space = VectorSpace(len(domain.x0), x0=domain.x0, sigma0=domain.sigma0)
    search = SEARCHES.get(search_name)(space, seed=seed, population=128, **settings)
    for generation in range(n_generations):
        candidates = search.ask()
        keys = [(seed, generation, k) for k in range(4)]
        search.tell(
            candidates, evaluated(task.score(np.array(candidates), keys, "search").per_draw)
        )
    return task.score(np.array(search.favourites()), draw_keys(500), "test").per_draw.mean()


def test_pgpe_balances_the_pole_within_20_generations_of_128():
    assert learned_mean("pgpe", 0, {"max_speed": 1.5}) >= 475.0


@pytest.mark.full
@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(
    ("search_name", "settings"),
    [
        ("pgpe", {"max_speed": 1.5}),
        ("openai-es", {"rate": 0.3}),
        ("ars", {"sigma0": 0.1, "rate": 0.2}),
        ("cem", {"sigma0": 0.5, "elite": 0.1}),
        ("snes", {}),
    ],
)
def test_every_search_of_the_problem_balances_the_pole(search_name, settings, seed):
    assert learned_mean(search_name, seed, settings) >= 475.0
