"""Lives whose settings or weights are genes, against plain loops of their specifications."""

from __future__ import annotations

import math

import numpy as np
import pytest

from evosearch.engine.lifetime import Projection
from evosearch.engine.run import run_lifetimes
from evosearch.problem import load_problem
from evosearch.rules.genes import split_genes, with_genes
from evosearch.rules.lower import lower
from evosearch.rules.rule import Rule
from evosearch.tasks.base import TASKS, draw_rng
from evosearch.tasks.cartpole_plastic import CartpolePlasticSettings, CartpolePlasticTask
from evosearch.tasks.familiarity import FamiliarityTask, draw_stream
from evosearch.tasks.pattern_completion import PatternCompletionTask, draw_episode

KEYS = [(3, 1, d) for d in range(3)]


def score(task_class, text, eta, keys=KEYS, **settings):
    """Return the scores of one rule in float64."""
    task = task_class(task_class.Settings(**settings), dtype="float64", projection=Projection())
    own, genes = split_genes(Rule(text), task.genes)
    program = lower(own, task.terminals)
    object.__setattr__(program, "genes", genes)
    lives = task.lifetimes(keys, "search")
    results = [run_lifetimes(life, [program], eta) for life in lives]
    return task.score(results, lives, keys), results


def sigmoid(z):
    return 1.0 / (1.0 + np.exp(-z))


def test_familiarity_lives_as_its_specification_says():
    d, steps, lag = 6, 40, 2
    text = "dw = -post*pre; decay = 0.9; gain = 0.5; bias = -1; readout = 2; offset = -3"
    scores, _ = score(FamiliarityTask, text, 1 / d, units=d, steps=steps, lags=(lag,))
    for k, key in enumerate(KEYS):
        fixed, inputs, repeats = draw_stream(key, d, steps, lag)
        plastic, loss = np.zeros((d, d)), 0.0
        for x, (is_repeat,) in zip(inputs, repeats, strict=True):
            h = sigmoid(0.5 * fixed.reshape(d, d) @ x + plastic @ x - 1.0)
            out = sigmoid(2.0 * h.sum() - 3.0)
            loss -= is_repeat * np.log(out) + (1 - is_repeat) * np.log(1 - out)
            plastic = 0.9 * plastic - np.outer(h, x) / d
        assert scores.per_draw[0, k] == pytest.approx(-loss / steps, rel=1e-10)


def test_streams_repeat_what_was_shown_a_lag_ago_and_never_twice():
    _, inputs, repeats = draw_stream((5, 0, 0), 25, 20_000, 4)
    is_repeat = repeats[:, 0] == 1
    same = (inputs[4:] == inputs[:-4]).all(axis=1)
    np.testing.assert_array_equal(same, is_repeat[4:])
    assert not (is_repeat[4:] & is_repeat[:-4]).any()
    assert is_repeat.mean() == pytest.approx(1 / 3, abs=0.02)


def test_no_memory_answers_right_in_two_thirds():
    text = "dw = 0; readout = 0; offset = -0.693"
    scores, _ = score(FamiliarityTask, text, 0.04, steps=3000, lags=(1,))
    assert scores.metrics["accuracy_1"][0] == pytest.approx(2 / 3, abs=0.03)


def test_pattern_completion_lives_as_its_specification_says():
    settings = PatternCompletionTask.Settings(units=10, loads=(2,))
    text = "dw = post*pre - w + 0.1*field_post*pre; strength = 0.3; common = 0.02"
    scores, _ = score(PatternCompletionTask, text, 0.05, units=10, loads=(2,))
    for k, key in enumerate(KEYS):
        inputs, hidden = draw_episode(key, settings, 2)
        assert (hidden != 0).sum() == 5
        fast, y = np.zeros((10, 10)), np.zeros(10)
        for x in inputs:
            field = fast @ y
            y = np.tanh(0.3 * field + 0.02 * y.sum() + x)
            fast += 0.05 * (np.outer(y, y) - fast + 0.1 * np.outer(field, y))
        right = np.where(y >= 0, 1.0, -1.0) == hidden
        assert scores.per_draw[0, k] == pytest.approx(right.sum() / 5)


def cartpole(state, force, length, mass):
    """Return the next state by the equations of Gymnasium's CartPole-v1."""
    x, v, a, d = state
    total, moment = 1.0 + mass, mass * length
    push = (force + moment * d * d * math.sin(a)) / total
    angle_acc = (9.8 * math.sin(a) - math.cos(a) * push) / (
        length * (4 / 3 - mass * math.cos(a) ** 2 / total)
    )
    acc = push - moment * angle_acc * math.cos(a) / total
    return np.array([x + 0.02 * v, v + 0.02 * acc, a + 0.02 * d, d + 0.02 * angle_acc])


@pytest.mark.parametrize("body", [(0.5, 0.1, 1.0), (1.0, 0.3, -0.5)])
def test_cartpole_plastic_lives_as_its_specification_says(body):
    steps = 60
    text = "dw = 5*mod*pre*post; noise = 0; rate = 0.7; place = 0.2; drift = -0.1"
    scores, results = score(CartpolePlasticTask, text, 1.0, steps=steps, bodies=(body,))
    length, mass, actuator = body
    scales = np.array([1 / 2.4, 1 / 2.0, 1 / 0.2, 1 / 2.0])
    critic = np.array([0.2, -0.1, 1.0, 0.7])
    for k, key in enumerate(KEYS):
        rng = draw_rng(key)
        starts = rng.uniform(-0.05, 0.05, (2 * steps, 4))
        w = 0.1 * rng.standard_normal(4)
        fallen, alive, survived, falls = True, True, 0, 0
        state = starts[0]
        for t in range(2 * steps):
            state = starts[t] if fallen or t == steps else state
            seen = state * scales
            push = 1.0 if w @ seen >= 0 else -1.0
            state = cartpole(state, 10.0 * actuator * push, length, mass)
            mod = (critic @ seen) ** 2 - (critic @ (state * scales)) ** 2
            w = w + 5 * mod * push * seen
            fallen = abs(state[0]) > 2.4 or abs(state[2]) > 12 * 2 * math.pi / 360
            falls += fallen and t < steps
            if t >= steps:
                survived += alive
                alive = alive and not fallen
        assert scores.per_draw[0, k] == survived
        assert results[0].outputs[0, k, 1] == falls


def test_fixed_weights_balance_one_body_and_not_its_mirror():
    text = "dw = 0; noise = 0; innate_angle = 1; innate_angle_dot = 1"
    scores, _ = score(CartpolePlasticTask, text, 1.0)
    assert scores.metrics["return_0"][0] > 450
    assert scores.metrics["return_1"][0] < 30
    assert CartpolePlasticSettings().bodies[1][2] == -1.0


@pytest.mark.parametrize("name", ["familiarity", "pattern_completion", "cartpole_plastic"])
def test_genes_of_a_file_are_those_of_its_task(name):
    problem = load_problem(name)
    catalogue = {gene.name for gene in TASKS.get(name).genes}
    assert {gene.name for gene in problem.genes} <= catalogue
    assert problem.space("tree").kind == "genome"
    starts = [gene.start for gene in problem.genes]
    written = with_genes(problem.read("pre*post"), problem.genes, starts)
    assert problem.read(written.text) == written
