"""Forward-Forward: its gradient, its labels and its predictions, against written-out ones."""

import numpy as np
import pytest
from small_lessons import assert_draws_live_alone, small_lesson

from evosearch.circuits.life import held_out
from evosearch.data import load_data
from evosearch.errors import InputError
from evosearch.learners.base import LEARNERS
from evosearch.learners.forward_forward import (
    ForwardForward,
    GoodnessNetworks,
    goodness,
    layer_increments,
    logistic,
    overlaid,
    wrong_labels,
)

THRESHOLD = 0.7


def rectified(inputs, w, b):
    return np.maximum(inputs @ w.T + b, 0)


def loss(w, b, right, wrong):
    """Return a layer's loss of one draw as the paper has it."""
    of_right = (rectified(right, w, b) ** 2).mean(axis=1)
    of_wrong = (rectified(wrong, w, b) ** 2).mean(axis=1)
    return np.mean(np.logaddexp(0, THRESHOLD - of_right) + np.logaddexp(0, of_wrong - THRESHOLD))


def test_a_layer_follows_the_gradient_of_its_loss():
    rng = np.random.default_rng(1)
    w, b = rng.normal(size=(2, 4, 5)), rng.normal(size=(2, 4))
    right, wrong = rng.normal(size=(2, 2, 8, 5))
    posts = [np.stack([rectified(x[d], w[d], b[d]) for d in range(2)]) for x in (right, wrong)]
    found_w, found_b = layer_increments(right, posts[0], wrong, posts[1], THRESHOLD)
    for d in range(2):
        for found, of_draw in ((found_w[d], w[d]), (found_b[d], b[d])):
            numeric = np.zeros_like(of_draw)
            for index in np.ndindex(of_draw.shape):
                kept, ends = of_draw[index], []
                for step in (1e-6, -1e-6):
                    of_draw[index] = kept + step
                    ends.append(loss(w[d], b[d], right[d], wrong[d]))
                of_draw[index] = kept
                numeric[index] = (ends[0] - ends[1]) / 2e-6
            np.testing.assert_allclose(found, -numeric, atol=1e-8)


def test_one_update_is_that_of_each_layer_on_activities_of_mean_square_one():
    lesson = small_lesson((6, 5, 4, 3), updates=1, check_every=1, rate=0.5)
    networks = ForwardForward(threshold=THRESHOLD).learn(small_lesson(rate=1e-12)).networks
    passes = networks.passes(lesson.train.inputs[None].astype(np.float64))
    assert [pre.shape[2] for pre, _ in passes] == [6, 5]
    seen, active = passes[1][0], passes[0][1].any(axis=2)
    np.testing.assert_allclose(goodness(seen)[active], 1.0)
    learned = ForwardForward(threshold=THRESHOLD).learn(lesson).networks
    assert all((a != b).any() for a, b in zip(learned.weights, networks.weights, strict=True))


def test_labels_take_the_place_of_the_first_inputs():
    inputs = np.arange(10.0).reshape(1, 2, 5)
    found = overlaid(inputs, np.array([[2, 0], [1, 1]]), 3)
    np.testing.assert_array_equal(
        found,
        [[[0, 0, 1, 3, 4], [1, 0, 0, 8, 9]], [[0, 1, 0, 3, 4], [0, 1, 0, 8, 9]]],
    )


def test_wrong_labels_are_never_right_and_each_other_is_as_frequent():
    labels = np.tile(np.arange(4), (2, 3000))
    found = wrong_labels(labels, 4, [np.random.default_rng(k) for k in range(2)])
    for true in range(4):
        counts = np.bincount(found[labels == true], minlength=4)
        assert counts[true] == 0
        assert (np.abs(np.delete(counts, true) - 2000) < 200).all()


def test_the_label_with_the_greatest_sum_of_goodness_is_predicted():
    rng = np.random.default_rng(3)
    networks = GoodnessNetworks(
        [rng.normal(size=(2, 5, 6)), rng.normal(size=(2, 4, 5))],
        [1 + rng.random((2, 5)), 1 + rng.random((2, 4))],
        3,
    )
    inputs = rng.normal(size=(1500, 6))
    found = networks.predict(inputs)
    assert len(np.unique(found)) == 3
    for draw, k in ((0, 0), (1, 7), (0, 1200), (1, 1499)):
        sums = []
        for label in range(3):
            pre, total = np.concatenate([np.eye(3)[label], inputs[k, 3:]]), 0.0
            for w, b in zip(networks.weights, networks.biases, strict=True):
                post = rectified(pre, w[draw], b[draw])
                total += (post**2).mean()
                pre = post / np.sqrt((post**2).mean())
            sums.append(total)
        assert found[draw, k] == np.argmax(sums)


def test_the_logistic_function_does_not_overflow():
    values = np.array([-800.0, -2.0, 0.0, 2.0, 800.0])
    with np.errstate(all="raise", under="ignore"):
        found = logistic(values)
    np.testing.assert_allclose(found[1:4], 1 / (1 + np.exp(-values[1:4])))
    np.testing.assert_array_equal(found[[0, 4]], [0, 1])


def test_a_draw_becomes_the_same_without_the_others():
    assert_draws_live_alone(ForwardForward(), small_lesson())


def test_digits_are_learned():
    train, held = held_out(load_data("digits"), "validation")
    lesson = small_lesson(
        (64, 64, 10), train, held=held, updates=200, batch=32, check_every=200,
        normaliser="adam", rate=0.01, keys=[(1, 1)],
    )  # fmt: skip
    assert ForwardForward().learn(lesson).curves[0, -1] > 0.6


def test_what_has_no_place_for_labels_or_no_hidden_layer_is_refused():
    learner = ForwardForward()
    assert LEARNERS.get("ff") is ForwardForward
    with pytest.raises(InputError, match="over the first 3 inputs; this task has 3 inputs"):
        learner.check(small_lesson((3, 5, 3)))
    with pytest.raises(InputError, match="this network has none: give it one"):
        learner.check(small_lesson((6, 3)))
    with pytest.raises(InputError, match="trains feed-forward networks"):
        learner.check(small_lesson(network="rnn"))
    with pytest.raises(InputError, match="threshold is 0; it must be a number above 0"):
        ForwardForward(threshold=0)


def test_an_update_costs_two_passes_and_two_increments_of_hidden_synapses():
    assert ForwardForward().forward_equivalents((8, 4, 2)) == 4 * 32 / 40
