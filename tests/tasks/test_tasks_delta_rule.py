import numpy as np
import pytest
from tasks_lives import live, task_of
from tasks_oracle import delta_fitness, keys_of

from evosearch.tasks.delta_rule import draw_task


def delta(w, pre, post, target):
    return pre * (target - post)


@pytest.mark.parametrize("irrelevant", ["random", "zero"])
def test_delta_rule_task_agrees_with_the_plain_simulation(irrelevant):
    task, keys = task_of("delta_rule", clip=20, irrelevant=irrelevant), keys_of(33)
    scores = live(task, keys, "pre*(target - post)", "pre*error", eta=4.0)
    expected = delta_fitness(delta, keys, eta=4.0, irrelevant=irrelevant)
    np.testing.assert_allclose(scores.per_draw[0], expected, atol=1e-9)
    np.testing.assert_array_equal(scores.per_draw[0], scores.per_draw[1])


def test_delta_rule_task_applies_the_clip():
    task, keys = task_of("delta_rule", clip=0.5), keys_of(5)
    scores = live(task, keys, "pre*target", eta=1.0)
    expected = delta_fitness(lambda w, x, y, t: x * t, keys, clip=0.5)
    np.testing.assert_allclose(scores.per_draw[0], expected, atol=1e-9)


def test_drawn_tasks_keep_to_the_specification():
    for key in keys_of(300):
        inputs, targets, weights = draw_task(key)
        assert inputs.shape == (12, 6)
        assert 3 <= targets.sum() <= 9
        assert set(np.unique(inputs)) <= {0.0, 1.0}
        assert (inputs[:, 5] == 1).all()
        assert np.abs(weights).max() <= 1


def test_irrelevant_inputs_can_be_silent():
    silent = [draw_task(key, 12, "zero")[0][:, :5].any(axis=0).sum() for key in keys_of(200)]
    assert set(silent) == {2, 3, 4, 5}


def test_every_key_draws_another_task_and_the_same_key_the_same():
    first, again, other = draw_task((1, 2)), draw_task((1, 2)), draw_task((1, 3))
    np.testing.assert_array_equal(first[2], again[2])
    assert not np.array_equal(first[2], other[2])


@pytest.mark.parametrize(
    ("eta", "mean"), [(0.25, 0.844), (1, 0.946), (2, 0.975), (4, 0.992), (8, 0.976), (16, 0.862)]
)
def test_delta_reference_values_hold(eta, mean):
    fitness = delta_fitness(delta, keys_of(900, seed=7), eta=eta)
    assert fitness.mean() == pytest.approx(mean, abs=max(0.003, 4 * fitness.std() / 30))


def test_trivial_rules_score_as_published_in_the_reference():
    keys = keys_of(900, seed=7)
    assert delta_fitness(lambda w, x, y, t: 0 * w, keys).mean() == pytest.approx(0.50, abs=0.015)
    signed = delta_fitness(lambda w, x, y, t: x * (2 * t - 1), keys)
    assert signed.mean() == pytest.approx(0.73, abs=0.02)
