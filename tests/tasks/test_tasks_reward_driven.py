"""Learning from reward when to answer: the unit and the spiking neuron against plain loops."""

import numpy as np
import pytest
from spiking_oracle import lif_reward, proxy_reward
from tasks_lives import live, task_of
from tasks_oracle import keys_of

from evosearch.engine import philox
from evosearch.problem import load_problem
from evosearch.tasks.base import engine_keys
from evosearch.tasks.reward_driven_lif import draw_life, peak
from evosearch.tasks.spiking import Membrane

RULES = {
    "mod*elig": lambda mod, mean, elig: mod * elig,
    "(mod - mod_mean)*elig": lambda mod, mean, elig: (mod - mean) * elig,
    "elig*(mod - 1) - 0.01*mod": lambda mod, mean, elig: elig * (mod - 1) - 0.01 * mod,
}
SMALL = {"trials": 40, "duration": 120, "patterns": 6, "rate": 20.0}


def chances(keys, steps, n):
    """Return the (D, steps, n) numbers that the engine draws in the lives."""
    numbers = np.zeros((len(keys), steps, n))
    philox.fill(engine_keys(keys), np.int64(0), np.int64(0), False, numbers)
    return numbers


@pytest.mark.parametrize("text", RULES)
def test_unit_agrees_with_the_plain_simulation(text):
    task, keys = task_of("reward_driven_proxy", clip=50, trials=200), keys_of(6)
    found = live(task, keys, text, eta=0.1).per_draw[0]
    rows = chances(keys, 200, 1)[:, :, 0]
    expected = [
        proxy_reward(RULES[text], key, task.settings, row)
        for key, row in zip(keys, rows, strict=True)
    ]
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("text", RULES)
def test_spiking_neuron_agrees_with_the_plain_simulation(text):
    task, keys = task_of("reward_driven_lif", clip=100, **SMALL), keys_of(3)
    found = live(task, keys, text, eta=0.2).per_draw[0]
    rows = chances(keys, SMALL["trials"], SMALL["duration"])
    expected = [
        lif_reward(RULES[text], key, task.settings, row)
        for key, row in zip(keys, rows, strict=True)
    ]
    np.testing.assert_array_equal(found, expected)


def test_rewards_of_the_two_tasks_are_not_all_alike():
    """Equal rewards alone would also come of a neuron that always or never answers."""
    for name, settings in (("reward_driven_proxy", {}), ("reward_driven_lif", SMALL)):
        scores = live(task_of(name, clip=100, **settings), keys_of(4), "mod*elig", "0", eta=0.1)
        assert np.ptp(scores.per_draw) > 0
        assert (np.abs(scores.per_draw) < task_of(name, clip=100, **settings).settings.trials).all()


def test_without_the_reward_nothing_is_learnt():
    task = task_of("reward_driven_proxy", clip=50, dtype="float32")
    scores = live(task, keys_of(100), "elig", "pre*post", "pre*post - 0.1*w", eta=0.1)
    assert (np.abs(scores.per_draw.mean(axis=1)) < 35).all()


def test_reinforce_and_its_offsets_score_as_measured_elsewhere():
    """R E 251, (R - mean) E 238, (R - 1) E 198, (R + 1) E 189 with standard errors of 4."""
    problem = load_problem("reward_driven_proxy")
    names = ("reinforce", "reinforce_baseline", "jordan_best", "rewarded_only")
    rules = [problem.known[name] for name in names]
    found = problem.score(rules, np.ones(4), problem.draws("test")).fitness
    np.testing.assert_allclose(found, [251, 238, 198, 189], atol=15)


def test_unit_potential_has_the_peak_of_one():
    settings = task_of("reward_driven_lif", clip=1).settings
    assert peak(1.0) == pytest.approx(2.5 / 250 * 1000 * 0.535, rel=0.01)
    spike = np.eye(100)[:, :1]
    assert (Membrane(1.0).traces(spike) * 1000 / peak(1.0)).max() == pytest.approx(1.0)
    psp = draw_life((0, 0, 0, 0), settings).psp
    joined = (psp.max(axis=(0, 1)) > 0).mean()
    assert psp.shape == (30, 500, 50)
    assert 0.6 < joined < 0.98


def test_the_published_rule_learns_with_spikes_and_hebb_does_not():
    problem = load_problem("reward_driven_lif", overrides={"task.trials": "200"})
    rules = [problem.read(text) for text in ("elig*(mod - 1)", "elig", "0")]
    published, hebb, zero = problem.score(rules, np.ones(3), problem.draws("search")).fitness
    assert published > 25
    assert max(hebb, zero) < 15
