"""The switching bandit beside a plain loop of its specification."""

import numpy as np
import pytest
from tasks_lives import live, task_of
from tasks_oracle import keys_of

from evosearch.engine import philox
from evosearch.tasks.bandit import draw_chances
from evosearch.tasks.base import engine_keys


def engine_numbers(keys, n_arms, trials):
    """Return the noise (D, trials, K) and the luck (D, trials, 1) of the lives of a condition."""
    noise, luck = np.zeros((len(keys), trials, n_arms)), np.zeros((len(keys), trials, 1))
    philox.fill(engine_keys(keys, n_arms), np.int64(0), np.int64(0), True, noise)
    philox.fill(engine_keys(keys, n_arms), np.int64(0), np.int64(1), False, luck)
    return noise, luck[:, :, 0]


def plain_bandit(rule, keys, *, arms, trials, hazard, eta, noise_sd=0.1):
    """Return (D,) the mean chance of the arms pulled under ``rule(w, post, mod)``."""
    noise, luck = engine_numbers(keys, arms, trials)
    found = []
    for d, key in enumerate(keys):
        chances, w, total = draw_chances(key, arms, trials, hazard), np.zeros(arms), 0.0
        for trial in range(trials):
            post = np.eye(arms)[np.argmax(w + noise_sd * noise[d, trial])]
            chance = post @ chances[trial]
            mod = float(luck[d, trial] < chance) - 0.5
            w = np.clip(w + eta * rule(w, post, mod), -4, 4)
            total += chance
        found.append(total / trials)
    return np.array(found)


@pytest.mark.parametrize("arms", [2, 5])
@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("mod*post", lambda w, y, m: m * y),
        ("post*(mod - w) - 0.1*(1 - post)*w", lambda w, y, m: y * (m - w) - 0.1 * (1 - y) * w),
        ("pre*mod - w", lambda w, y, m: m - w),
    ],
)
def test_bandit_task_agrees_with_the_plain_loop(arms, text, rule):
    keys, settings = keys_of(18), {"trials": 60, "hazard": 0.05}
    task = task_of("bandit", clip=4, arms=(arms,), **settings)
    expected = plain_bandit(rule, keys, arms=arms, eta=0.3, **settings)
    np.testing.assert_allclose(live(task, keys, text, eta=0.3).per_draw[0], expected, atol=1e-9)


def test_conditions_are_averaged_and_each_is_told():
    task, keys = task_of("bandit", clip=4, arms=(2, 3), trials=40), keys_of(9)
    scores = live(task, keys, "mod*post")
    parts = [scores.metrics[f"chance_{n}"][0] for n in (2, 3)]
    assert scores.per_draw.mean() == pytest.approx(np.mean(parts))


def test_without_the_modulator_arms_are_pulled_at_random():
    scores = live(task_of("bandit", clip=4), keys_of(150), "0*w", "post - w", "-post", "1 - 2*post")
    assert np.abs(scores.per_draw.mean(axis=1) - 0.5).max() < 0.02


def test_chances_change_together_as_often_as_the_hazard_says():
    chances = np.stack([draw_chances(key, 3, 200, 0.02) for key in keys_of(200)])
    is_change = np.diff(chances, axis=1) != 0
    assert (is_change.all(axis=2) == is_change.any(axis=2)).all()
    assert is_change.any(axis=2).mean() == pytest.approx(0.02, abs=0.003)
    assert chances.mean() == pytest.approx(0.5, abs=0.02)
    assert (draw_chances((1, 2), 3, 50, 0.0) == draw_chances((1, 2), 3, 50, 0.0)[0]).all()
