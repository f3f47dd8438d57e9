"""An ant with a damaged leg: its body, and its life against a plain loop over Gymnasium."""

from __future__ import annotations

import numpy as np
import pytest

from evosearch.control.damaged_ant import LEGS, DamagedAnt
from evosearch.tasks.ant_damage import AntDamageSettings, AntDamageTask
from evosearch.tasks.base import draw_rng

gymnasium = pytest.importorskip("gymnasium")
pytest.importorskip("mujoco")

OPTIONS = {"healthy_reward": 0.0, "ctrl_cost_weight": 0.1, "contact_cost_weight": 0.0}
OPTIONS |= {"terminate_when_unhealthy": False}
KEYS = [(4, 0, d) for d in range(2)]


def task(**settings):
    """Return the task with short lives."""
    checked = AntDamageSettings(**{"time_limit": 25, **OPTIONS, **settings})
    return AntDamageTask(checked, seed=0)


def plain_life(coefficients, key, damage, steps=25, clock=0, senses=27):
    """Live one life, synapse by synapse, in an ant that is made here."""
    options = {"include_cfrc_ext_in_observation": False, **OPTIONS}
    ant = gymnasium.make("Ant-v5", max_episode_steps=steps, **options)
    if damage:
        geom = ant.unwrapped.model.geom(LEGS[damage - 1])
        geom.size[1], geom.pos[:] = geom.size[1] * 0.5, geom.pos * 0.5
    rng = draw_rng(key)
    seed = int(rng.integers(2**31))
    a, b, c, d, h = coefficients
    n = d.shape[1]
    w = rng.uniform(-0.1, 0.1, (8, n))
    observation, _ = ant.reset(seed=seed)
    total, step, is_over = 0.0, 0, False
    while not is_over:
        x = [*(min(max(o, -5.0), 5.0) for o in observation[:senses]), 1.0]
        if clock:
            x += [np.sin(2 * np.pi * step / clock), np.cos(2 * np.pi * step / clock)]
        y = [np.tanh(sum(w[i, j] * x[j] for j in range(n))) for i in range(8)]
        action = np.array(y, ant.action_space.dtype)
        observation, reward, is_terminated, is_truncated, _ = ant.step(action)
        for i in range(8):
            for j in range(n):
                change = a[i, j] * x[j] * y[i] + b[i, j] * x[j] + c[i, j] * y[i] + d[i, j]
                w[i, j] += 0.1 * h[i, j] * change
        w = w / max(1.0, np.abs(w).max())
        total, step = total + reward, step + 1
        is_over = is_terminated or is_truncated
    return total


def test_ant_damage_lives_as_its_specification_says():
    ant = task(damages=(0, 4))
    vector = ant.domain().x0 + 0.3 * np.random.default_rng(1).standard_normal(1120)
    scores = ant.score(vector[None], KEYS, "search")
    for k, key in enumerate(KEYS):
        parts = vector.reshape(5, 8, 28)
        returns = [plain_life(parts, key, damage) for damage in (0, 4)]
        assert scores.per_draw[0, k] == pytest.approx(np.mean(returns), rel=1e-6)
    assert scores.metrics["return_0"][0] != scores.metrics["return_4"][0]


def test_coefficients_of_a_motor_are_those_of_all_its_synapses_and_a_clock_is_seen():
    ant = task(damages=(1,), is_shared=True, clock=7.0, senses=13)
    rng = np.random.default_rng(2)
    parts = [0.3 * rng.standard_normal((8, 16 if k == 3 else 1)) for k in range(5)]
    vector = np.concatenate([part.ravel() for part in parts])
    found = ant.score(vector[None], KEYS[:1], "search").per_draw
    spread = [np.broadcast_to(part, (8, 16)) for part in parts]
    assert found[0, 0] == pytest.approx(
        plain_life(spread, KEYS[0], 1, clock=7, senses=13), rel=1e-6
    )


def test_a_damage_shortens_one_leg_and_is_undone():
    ant = DamagedAnt({}, length=0.5, time_limit=5)
    model = ant._environment.unwrapped.model
    whole = model.geom_size.copy()
    ant.shorten(1)
    ant.shorten(3)
    changed = np.flatnonzero((model.geom_size != whole).any(axis=1))
    assert [model.geom(int(k)).name for k in changed] == [LEGS[2]]
    assert model.geom(LEGS[2]).size[1] == 0.5 * whole[changed[0], 1]
    ant.shorten(0)
    np.testing.assert_array_equal(model.geom_size, whole)


def test_a_rule_of_zeros_is_a_policy_of_the_weights_at_birth():
    plastic, fixed = task(), task(is_plastic=False)
    for key in KEYS:
        rng = draw_rng(key)
        rng.integers(2**31)
        born = rng.uniform(-0.1, 0.1, (1, 8 * 28))
        first = plastic.score(np.zeros((1, 1120)), [key], "search")
        second = fixed.score(born, [key], "search")
        np.testing.assert_array_equal(first.per_draw, second.per_draw)


def test_baselines_are_vectors_of_the_domain():
    kinds = [
        ({}, 1120),
        ({"is_plastic": False}, 224),
        ({"is_shared": True, "clock": 10.0}, 272),
        ({"is_plastic": False, "clock": 10.0}, 240),
        ({"is_plastic": False, "clock": 10.0, "senses": 5}, 64),
    ]
    for settings, dimension in kinds:
        ant = task(**settings)
        assert ant.domain().x0.shape == (dimension,)
        assert sum(np.prod(shape) for shape in ant.domain().shapes) == dimension
        assert not ant.baseline("zero").any()
