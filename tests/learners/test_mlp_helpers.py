"""What learners with NumPy kernels share, against plain loops and numeric differences."""

from __future__ import annotations

import numpy as np
import pytest

from evosearch.circuits.streams import order_of_examples
from evosearch.data.base import examples
from evosearch.errors import InputError
from evosearch.learners.base import Lesson
from evosearch.learners.mlp import (
    Curve,
    MlpNetworks,
    accuracies,
    cosines,
    descents,
    forward,
    initial_networks,
    is_middle,
    minibatches,
    one_hot,
)

KEYS = [(3, 1, k) for k in range(3)]


def lesson(updates=6, batch=4, check_every=2, **changes):
    rng = np.random.default_rng(0)
    parts = [examples(rng.normal(size=(n, 5)), rng.integers(0, 3, n)) for n in (14, 9)]
    settings = {"normaliser": "none", "rate": 0.1, "keys": KEYS, "is_probed": True} | changes
    return Lesson("mlp", (5, 4, 6, 3), 1, *parts, updates, batch, check_every, **settings)


def test_a_pass_of_all_draws_is_each_examples_own_sum():
    networks = initial_networks(lesson())
    networks.biases[1][:] = 0.3
    x = np.random.default_rng(1).normal(size=(3, 4, 5))
    seen = forward(networks, x)
    for draw in range(3):
        for row in range(4):
            post = x[draw, row]
            for layer in range(3):
                total = networks.weights[layer][draw] @ post + networks.biases[layer][draw]
                np.testing.assert_allclose(seen.sums[layer][draw, row], total, rtol=1e-12)
                post = np.tanh(total)
            odds = np.exp(total)
            np.testing.assert_allclose(seen.posts[-1][draw, row], odds / odds.sum(), rtol=1e-12)


def test_descents_are_numeric_differences_of_the_mean_cross_entropy():
    networks = initial_networks(lesson())
    x = np.random.default_rng(1).normal(size=(3, 4, 5))
    targets = one_hot(np.random.default_rng(2).integers(0, 3, (3, 4)), 3)
    ours = descents(networks, forward(networks, x), targets)

    def losses():
        return -(targets * np.log(forward(networks, x).posts[-1])).sum(axis=-1).mean(axis=1)

    for layer, weights in enumerate(networks.weights):
        for place in np.ndindex(weights.shape[1:]):
            weights[(slice(None), *place)] += 1e-6
            above = losses()
            weights[(slice(None), *place)] -= 2e-6
            slopes = (above - losses()) / 2e-6
            weights[(slice(None), *place)] += 1e-6
            np.testing.assert_allclose(ours[layer][(slice(None), *place)], -slopes, atol=1e-8)


def test_all_draws_start_and_see_examples_by_their_key_alone():
    given = lesson()
    together = initial_networks(given).weights
    for k, key in enumerate(KEYS):
        alone = initial_networks(lesson(keys=[key])).weights
        assert all(np.array_equal(a[k], b[0]) for a, b in zip(together, alone, strict=True))
    shown = list(minibatches(given))
    order = order_of_examples(KEYS[1], 14, 4, 6)
    assert len(shown) == 6
    assert np.array_equal(shown[4][0][1], given.train.inputs[order[16:20]])
    assert np.array_equal(shown[4][1][1], given.train.labels[order[16:20]])


def test_a_minibatch_larger_than_the_data_is_refused():
    with pytest.raises(InputError, match="batch is 15; the training part has 14 examples"):
        next(minibatches(lesson(batch=15)))


def test_predictions_are_those_of_the_pass_and_do_not_depend_on_how_many_are_asked_for():
    networks = initial_networks(lesson())
    x = np.random.default_rng(1).normal(size=(2500, 5))
    labels = forward(networks, x[None]).posts[-1].argmax(axis=-1)
    assert np.array_equal(networks.predict(x), labels)
    part = examples(x[:7], labels[2, :7])
    assert accuracies(networks, part)[2] == 1.0


def test_cosines_tell_the_same_the_opposite_and_no_direction():
    one = np.random.default_rng(0).normal(size=(2, 3, 4))
    found = cosines([one, one, 0 * one], [2 * one, -one, one])
    np.testing.assert_allclose(found[:, :2], [[1, -1], [1, -1]])
    assert np.isnan(found[:, 2]).all()


def test_a_curve_is_nan_from_where_a_draw_ceased_to_be_finite_and_says_when():
    given = lesson()
    networks = initial_networks(given)
    curve = Curve(given)
    for update in range(1, 7):
        if update == 3:
            networks.weights[0][1, 0, 0] = np.nan
        if update == 4:
            networks.weights[0][1] = 0.0  # what ceased to be finite stays so
        curve.record(update, networks, networks.parameters)
    assert curve.diverged_at == (None, 3, None)
    assert np.isnan(curve.values[1]).tolist() == [False, True, True]
    expected = accuracies(networks, given.held)
    assert np.array_equal(curve.values[[0, 2], 2], expected[[0, 2]])


def test_cosines_are_measured_once_at_the_end_of_the_first_half():
    assert [u for u in range(1, 7) if is_middle(lesson(), u)] == [3]
    assert not any(is_middle(lesson(is_probed=False), u) for u in range(1, 7))


def test_networks_that_overflow_predict_without_warnings():
    networks = MlpNetworks([np.full((1, 2, 2), np.inf)], [np.zeros((1, 2))])
    assert networks.predict(np.array([[1.0, -1.0]])).shape == (1, 1)
