"""Kickback: exact with one hidden layer, and right in sign where the network is coherent."""

import numpy as np
import pytest
import torch
from small_lessons import KEYS, assert_draws_live_alone, small_lesson, some_examples

from evosearch.circuits.life import held_out
from evosearch.circuits.streams import order_of_examples
from evosearch.data import load_data
from evosearch.data.base import examples
from evosearch.errors import InputError
from evosearch.learners.base import LEARNERS
from evosearch.learners.kickback import (
    Kickback,
    backprop_errors,
    increments,
    kickback_errors,
    scalar_networks,
)

DEEP = (10, 20, 20, 20, 2)


def torch_life(lesson, weights):
    """Return the weights of one draw after plain gradient steps on half the squared error."""
    layers = [torch.tensor(w, requires_grad=True) for w in weights]
    biases = [torch.zeros(len(w), dtype=torch.float64, requires_grad=True) for w in weights]
    steps = torch.optim.SGD([*layers, *biases], lesson.rate)
    order = order_of_examples(lesson.keys[0], len(lesson.train), lesson.batch, lesson.updates)
    for shown in order.reshape(lesson.updates, lesson.batch):
        activity = torch.tensor(lesson.train.inputs[shown], dtype=torch.float64)
        for w, b in zip(layers, biases, strict=True):
            activity = activity @ w.T + b
            activity = activity if w is layers[-1] else torch.relu(activity)
        target = torch.tensor(2.0 * lesson.train.labels[shown] - 1.0)
        steps.zero_grad()
        (0.5 * (activity[:, 0] - target) ** 2).mean().backward()
        steps.step()
    return [w.detach().numpy() for w in layers]


@pytest.mark.parametrize("initial", ["coherent", "plain"])
def test_with_one_hidden_layer_it_is_backpropagation(initial):
    lesson = small_lesson((6, 9, 2), updates=30, keys=KEYS[:1])
    start = scalar_networks(lesson, is_coherent=initial == "coherent")
    wanted = torch_life(lesson, [w[0] for w in start.weights])
    found = Kickback(initial=initial).learn(lesson).networks.weights
    for w, ours in zip(wanted, found, strict=True):
        np.testing.assert_allclose(ours[0], w, atol=1e-12)


def deep_errors(*, is_coherent):
    """Return networks, activities, and the errors of Kickback and of backpropagation."""
    networks = scalar_networks(small_lesson(DEEP), is_coherent=is_coherent)
    inputs = np.random.default_rng(2).normal(size=(len(KEYS), 50, 10))
    posts = networks.activities(inputs)
    error = np.ones_like(posts[-1])
    return (
        networks,
        posts,
        kickback_errors(networks, posts, error),
        backprop_errors(networks, posts, error),
    )


def agreement(found, wanted):
    """Share of the signals that are not 0 in which both have one sign, one a layer."""
    return [(a * b > 0)[b != 0].mean() for a, b in zip(found, wanted, strict=True)]


def test_coherent_networks_give_every_active_unit_the_sign_of_its_true_influence():
    networks, posts, found, wanted = deep_errors(is_coherent=True)
    uppers = [*networks.signs[1:], np.ones((len(KEYS), 1))]
    for w, lower, upper in zip(networks.weights[1:], networks.signs, uppers, strict=True):
        assert (w * upper[:, :, None] * lower[:, None] >= 0).all()
    assert agreement(found, wanted) == [1.0] * 4
    ours, true = increments(posts, found)[0], increments(posts, wanted)[0]
    for a, b in zip(ours, true, strict=True):
        assert (a * b).sum() > 0.9 * np.linalg.norm(a) * np.linalg.norm(b)


@pytest.mark.parametrize("is_coherent", [True, False])
def test_activities_keep_their_order_of_magnitude_over_eight_layers(is_coherent):
    networks = scalar_networks(small_lesson((64,) * 9 + (2,)), is_coherent=is_coherent)
    inputs = np.random.default_rng(2).normal(size=(len(KEYS), 200, 64))
    sizes = [np.sqrt((post**2).mean()) for post in networks.activities(inputs)[1:-1]]
    assert 0.1 < sizes[-1] / sizes[0] < 4


def test_plain_networks_often_do_not_below_the_top():
    *_, found, wanted = deep_errors(is_coherent=False)
    shares = agreement(found, wanted)
    assert shares[-2:] == [1.0, 1.0]
    assert all(0.35 < share < 0.9 for share in shares[:-2])


def test_influence_is_the_signed_sum_of_weights_to_active_units():
    networks, posts, found, _ = deep_errors(is_coherent=False)
    d, b, j = 1, 4, int(posts[1][1, 4].argmax())
    w, signs = networks.weights[1][d], networks.signs[1][d]
    total = sum(w[k, j] * signs[k] for k in range(20) if posts[2][d, b, k] > 0)
    assert found[0][d, b, j] == pytest.approx(total / np.sqrt(20))


def test_the_probe_is_the_cosine_with_backpropagation():
    learned = Kickback().learn(small_lesson(DEEP, rate=1e-9, is_probed=True))
    assert learned.cosines is not None
    np.testing.assert_allclose(learned.cosines[:, -2:], 1.0)
    assert ((learned.cosines[:, :2] > 0.9) & (learned.cosines[:, :2] < 0.9999)).all()


def test_a_draw_becomes_the_same_without_the_others():
    assert_draws_live_alone(Kickback(), small_lesson((6, 8, 8, 8, 2)))


@pytest.mark.parametrize("initial", ["coherent", "plain"])
def test_odd_and_even_digits_are_told_apart(initial):
    parts = held_out(load_data("digits"), "validation")
    train, held = (examples(part.inputs, part.labels % 2) for part in parts)
    lesson = small_lesson(
        (64, 32, 32, 32, 2), train, held=held, updates=300, batch=32, check_every=300,
        normaliser="adam", rate=0.003, keys=[(1, 1)],
    )  # fmt: skip
    assert Kickback(initial=initial).learn(lesson).curves[0, -1] > 0.9


def test_other_than_two_classes_are_refused():
    assert LEARNERS.get("kickback") is Kickback
    sizes = (6, 5, 3)
    with pytest.raises(InputError, match=r"tells two classes apart; this task has 3: bp, fa, dfa"):
        Kickback().check(small_lesson(sizes, some_examples()))
    with pytest.raises(InputError, match="initial is 'random'; it must be 'coherent' or 'plain'"):
        Kickback(initial="random")
    with pytest.raises(InputError, match="trains feed-forward networks"):
        Kickback().check(small_lesson((6, 5, 2), network="rnn"))


def test_an_update_costs_influences_between_hidden_layers_alone():
    assert Kickback().forward_equivalents((8, 4, 3, 2)) == 2 + 12 / 50
