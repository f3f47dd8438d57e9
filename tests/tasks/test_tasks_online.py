"""One pass over a stream beside a plain loop of its specification."""

import numpy as np
import pytest
from tasks_lives import live, task_of

from evosearch.circuits.streams import FEEDBACK, initial_weights, order_of_examples
from evosearch.data import load_data
from evosearch.errors import InputError
from evosearch.problem import load_problem
from evosearch.tasks.base import draw_rng

KEYS = [(4, 0), (4, 1)]
SIZES = (64, 12, 10)


def plain_stream(rule, key, shown, eta):
    """Return the accuracy after a stream in direct feedback alignment, example by example."""
    data = load_data("digits")
    pairs = [np.array(w, np.float64) for w in initial_weights(key, SIZES)]
    biases = [np.zeros(12), np.zeros(10)]
    feedback = draw_rng(key, FEEDBACK).uniform(-1.0, 1.0, (10, 12)).T / np.sqrt(10)
    for row in order_of_examples(key, len(data.train), 1, shown):
        x = data.train.inputs[row].astype(np.float64)
        hidden, out = forward(pairs, biases, x)
        probability = np.exp(out - out.max())
        top = np.eye(10)[data.train.labels[row]] - probability / probability.sum()
        errors = [feedback @ top * (1 - hidden**2), top]
        for k, pre in enumerate((x, hidden)):
            pairs[k] = pairs[k] + eta * rule(pairs[k], pre[None, :], errors[k][:, None])
            bias = biases[k][:, None]
            biases[k] = (bias + eta * rule(bias, np.ones((1, 1)), errors[k][:, None]))[:, 0]
    outs = [forward(pairs, biases, x)[1].argmax() for x in data.validation.inputs]
    return np.mean(outs == data.validation.labels)


def forward(pairs, biases, x):
    hidden = np.tanh(pairs[0] @ x + biases[0])
    return hidden, pairs[1] @ hidden + biases[1]


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("error*pre", lambda w, pre, error: error * pre),
        ("error*(pre - 0.4) - 0.01*w", lambda w, pre, error: error * (pre - 0.4) - 0.01 * w),
    ],
)
def test_a_stream_in_feedback_alignment_agrees_with_the_plain_loop(text, rule):
    task = task_of("online", clip=1e6, hidden=(12,), shown=300)
    found = live(task, KEYS, text, eta=0.1).per_draw[0]
    expected = [plain_stream(rule, key, 300, 0.1) for key in KEYS]
    np.testing.assert_allclose(found, expected, atol=1e-9)
    assert found.min() > 0.5


def test_moved_pixels_change_a_life_and_not_what_is_learned_from_many():
    lives = [live(task_of("online", clip=9, hidden=(12,), permuted=p, shown=600),
                  [(5, d) for d in range(12)], "error*pre", eta=0.1).per_draw[0]
             for p in (False, True)]  # fmt: skip
    assert (lives[0] != lives[1]).any()
    assert lives[0].mean() == pytest.approx(lives[1].mean(), abs=0.04)


def test_held_out_splits_are_judged_by_the_test_part_and_few_may_judge():
    task = task_of("online", clip=9, hidden=(12,), shown=100, judged=50)
    found = {split: live(task, KEYS, "error*pre", eta=0.1, split=split).per_draw[0]
             for split in ("search", "validation", "test", "transfer")}  # fmt: skip
    np.testing.assert_array_equal(found["search"], found["validation"])
    np.testing.assert_array_equal(found["test"], found["transfer"])
    assert (found["search"] != found["test"]).any()
    assert all(np.allclose(50 * one, np.round(50 * one), atol=1e-4) for one in found.values())


def test_a_stream_longer_than_a_pass_is_refused():
    with pytest.raises(InputError, match="shown is 9999; a pass over 'digits' has 1077"):
        live(task_of("online", clip=1, shown=9999), KEYS, "error*pre")


@pytest.mark.parametrize("name", ["online_digits", "online_mnist"])
def test_success_is_one_point_below_backpropagation(name):
    config = load_problem(name).config
    assert config.success.threshold == pytest.approx(config.known["backprop"].value - 0.01)
