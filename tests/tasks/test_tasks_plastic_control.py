"""Bodies that are learned within a life: against plain loops and Gymnasium's own equations."""

from __future__ import annotations

import math

import numpy as np
import pytest

from evosearch.control.environment import ENVIRONMENTS
from evosearch.control.lanes import LANES
from evosearch.engine.lifetime import Projection
from evosearch.engine.run import run_lifetimes
from evosearch.problem import load_problem
from evosearch.rules.genes import split_genes
from evosearch.rules.lower import lower
from evosearch.rules.rule import Rule
from evosearch.tasks.acrobot_plastic import AcrobotPlasticTask
from evosearch.tasks.base import TASKS, draw_rng
from evosearch.tasks.pendulum_plastic import PendulumPlasticTask

KEYS = [(3, 1, d) for d in range(3)]


def score(task_class, text, keys=KEYS, **settings):
    """Return the scores of one rule in float64, and what each life put out."""
    task = task_class(task_class.Settings(**settings), dtype="float64", projection=Projection())
    own, genes = split_genes(Rule(text), task.genes)
    program = lower(own, task.terminals)
    object.__setattr__(program, "genes", genes)
    lives = task.lifetimes(keys, "search")
    results = [run_lifetimes(life, [program], 1.0) for life in lives]
    return task.score(results, lives, keys), results


def pendulum(state, torque, length=1.0, mass=1.0, actuator=1.0):
    """Return the next state of Gymnasium's Pendulum-v1, and the reward; what is asked is paid."""
    a, v = state
    tilt = (a + math.pi) % (2 * math.pi) - math.pi
    reward = -(tilt**2 + 0.1 * v**2 + 0.001 * torque**2)
    v = (
        v
        + (3 * 10.0 / (2 * length) * math.sin(a) + 3.0 / (mass * length**2) * actuator * torque)
        * 0.05
    )
    v = min(max(v, -8.0), 8.0)
    return np.array([a + 0.05 * v, v]), reward


def acrobot_slope(state, torque, length=1.0, mass=1.0):
    """Return the derivative of the state by the equations of Gymnasium's Acrobot-v1."""
    m1, m2, l1, lc1, lc2, i1, i2, g = 1.0, mass, 1.0, 0.5, length / 2, 1.0, 1.0, 9.8
    p, q, v, u = state
    d1 = m1 * lc1**2 + m2 * (l1**2 + lc2**2 + 2 * l1 * lc2 * math.cos(q)) + i1 + i2
    d2 = m2 * (lc2**2 + l1 * lc2 * math.cos(q)) + i2
    phi2 = m2 * lc2 * g * math.cos(p + q - math.pi / 2)
    phi1 = -m2 * l1 * lc2 * u**2 * math.sin(q) - 2 * m2 * l1 * lc2 * u * v * math.sin(q)
    phi1 += (m1 * lc1 + m2 * l1) * g * math.cos(p - math.pi / 2) + phi2
    acc2 = torque + d2 / d1 * phi1 - m2 * l1 * lc2 * v**2 * math.sin(q) - phi2
    acc2 /= m2 * lc2**2 + i2 - d2**2 / d1
    return np.array([v, u, -(d2 * acc2 + phi1) / d1, acc2])


def acrobot(state, torque, length=1.0, mass=1.0):
    """Return the next state: one step of Runge and Kutta's method, angles and speeds limited."""
    k1 = acrobot_slope(state, torque, length, mass)
    k2 = acrobot_slope(state + 0.1 * k1, torque, length, mass)
    k3 = acrobot_slope(state + 0.1 * k2, torque, length, mass)
    k4 = acrobot_slope(state + 0.2 * k3, torque, length, mass)
    p, q, v, u = state + 0.2 / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
    p, q = ((angle + math.pi) % (2 * math.pi) - math.pi for angle in (p, q))
    tops = 4 * math.pi, 9 * math.pi
    return np.array([p, q, *(min(max(s, -top), top) for s, top in zip((v, u), tops, strict=True))])


@pytest.mark.parametrize(
    ("name", "n_state", "plain"),
    [
        ("Pendulum-v1", 2, lambda state, push: pendulum(state, 2.0 * push)[0]),
        ("Acrobot-v1", 4, acrobot),
    ],
)
def test_the_plain_equations_are_those_of_the_environments(name, n_state, plain):
    environment, rng = ENVIRONMENTS.get(name)(), np.random.default_rng(0)
    state = np.zeros((n_state, LANES))
    state[:] = np.stack([environment.draw(rng) for _ in range(LANES)], axis=1)
    reward, is_done = np.zeros(LANES), np.zeros(LANES, np.bool_)
    for _ in range(30):
        push = rng.choice([-1.0, 1.0], LANES)
        expected = np.stack([plain(state[:, k], push[k]) for k in range(LANES)], axis=1)
        action = (2.0 * push if n_state == 2 else push + 1.0)[None]
        environment.step(state, action, reward, is_done)
        turns = np.round((expected - state)[: n_state // 2] / (2 * math.pi))
        expected[: n_state // 2] -= 2 * math.pi * turns
        np.testing.assert_allclose(state, expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("body", [(1.0, 1.0, 1.0), (1.4, 0.7, -0.8)])
def test_pendulum_plastic_lives_as_its_specification_says(body):
    steps, blocks = 40, 2
    text = (
        "dw = 5*mod*pre*post - 0.01*w; noise = 0; kinetic = 2; rate = 0.7; near = 3; "
        "innate_speed = 2"
    )
    scores, _ = score(PendulumPlasticTask, text, steps=steps, blocks=blocks, bodies=(body,))
    length, mass, actuator = body

    def critic(state):
        a, v = state[0], state[1] / 8
        tilt = max(0.0, math.cos(a)) * (math.sin(a) + 0.7 * v) ** 2
        return (math.cos(a) - 1 + 2 * v * v) ** 2 + 3 * tilt

    for k, key in enumerate(KEYS):
        rng = draw_rng(key)
        n = (blocks + 1) * steps
        starts = rng.uniform([-math.pi, -1.0], [math.pi, 1.0], (n, 2))
        w = 0.1 * rng.standard_normal(4) + np.array([0.0, 2.0, 0.0, 0.0])
        total, state = 0.0, starts[0]
        for t in range(n):
            state = starts[t] if t % steps == 0 else state
            (a, v), before = state, critic(state)
            x = np.array([math.sin(a), v / 8, v * math.cos(a) / 8, math.sin(a) * math.cos(a)])
            push = min(max(w @ x, -1.0), 1.0)
            state, reward = pendulum(state, 2.0 * push, length, mass, actuator)
            w = w + 5 * (before - critic(state)) * push * x - 0.01 * w
            total += reward if t >= blocks * steps else 0.0
        assert scores.per_draw[0, k] == pytest.approx(total, rel=1e-8)


@pytest.mark.parametrize("body", [(1.0, 1.0, 1.0), (1.3, 0.8, -1.2)])
def test_acrobot_plastic_lives_as_its_specification_says(body):
    steps, blocks = 120, 2
    text = (
        "dw = 2*mod*pre*post; noise = 0; tip = 0.4; upper_square = 1.1; lower_square = 0.9; "
        f"product = 0.5; innate_lower_dot = {0.3 * np.sign(body[2])}"
    )
    scores, results = score(AcrobotPlasticTask, text, steps=steps, blocks=blocks, bodies=(body,))
    length, mass, actuator = body

    def energy(state):
        p, q, v, u = state[0], state[1], state[2] / 4, state[3] / 8
        height = -math.cos(p) - 0.4 * math.cos(p + q)
        return height + 1.1 * v * v + 0.9 * u * u + 0.5 * v * u

    arrived = 0
    for k, key in enumerate(KEYS):
        rng = draw_rng(key)
        n = (blocks + 1) * steps
        starts = rng.uniform(-0.1, 0.1, (n, 4))
        w = 0.1 * rng.standard_normal(4) + np.array([0.0, 0.0, 0.0, 0.3 * np.sign(actuator)])
        total, goals, over, alive = 0, 0, True, True
        state = starts[0]
        for t in range(n):
            state = starts[t] if over or t % steps == 0 else state
            (p, q, v, u), before = state, energy(state)
            x = np.array([math.sin(p), math.sin(p + q), v / 4, u / 8])
            push = 1.0 if w @ x >= 0 else -1.0
            state = acrobot(state, actuator * push, length, mass)
            w = w + 2 * (energy(state) - before) * push * x
            over = -math.cos(state[0]) - length * math.cos(state[0] + state[1]) > 1.0
            if t < blocks * steps:
                goals += over
            else:
                total -= alive and not over
                alive = alive and not over
        assert scores.per_draw[0, k] == total
        assert results[0].outputs[0, k, 1] == goals
        arrived += goals
    assert arrived, "the test is of no use where no link arrives"


@pytest.mark.parametrize(
    ("task_class", "name", "good", "bad"),
    [
        (PendulumPlasticTask, "pendulum_plastic", -200, -1000),
        (AcrobotPlasticTask, "acrobot_plastic", -100, -400),
    ],
)
def test_fixed_weights_control_one_body_and_not_its_mirror(task_class, name, good, bad):
    rule = load_problem(name).known["fixed"]
    keys = [(7, 0, d) for d in range(8)]
    scores, _ = score(task_class, rule.text, keys, blocks=1)
    assert scores.metrics["return_0"][0] > good
    assert scores.metrics["return_1"][0] < bad


@pytest.mark.parametrize("name", ["pendulum_plastic", "acrobot_plastic"])
def test_genes_of_a_file_are_those_of_its_task(name):
    problem = load_problem(name)
    task = TASKS.get(name)
    assert {gene.name for gene in problem.genes} == {gene.name for gene in task.plant.genes}
    assert {gene.name for gene in task.genes} >= {f"innate_{seen}" for seen in task.plant.seen}
    searched = {tuple(body) for body in problem.task("search").settings.bodies}
    for split in ("validation", "transfer"):
        assert not searched & {tuple(body) for body in problem.task(split).settings.bodies}


def test_a_life_that_explodes_scores_below_every_life_that_does_not():
    scores, _ = score(PendulumPlasticTask, "dw = exp(exp(w + 50))", steps=20, blocks=1)
    assert scores.exploded.all()
    assert (scores.per_draw < 20 * -(math.pi**2 + 6.4 + 0.004)).all()


def test_a_pole_may_be_given_one_length_on_all_bodies():
    bodies = ((0.5, 0.1, 1.0), (0.3, 0.2, -1.0))
    given: list[dict[str, object]] = [
        {"bodies": bodies, "pole_length": 2.0},
        {"bodies": tuple((2.0, *rest) for _, *rest in bodies)},
        {"bodies": bodies},
    ]
    text, task = "dw = 0; noise = 1; innate_angle = 1", TASKS.get("cartpole_plastic")
    scores = [score(task, text, steps=300, **settings)[0].per_draw for settings in given]
    assert np.array_equal(scores[0], scores[1])
    assert not np.array_equal(scores[0], scores[2])
