"""ADMM: every sub-step solves its problem, as a numeric solver and a fine grid say."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import minimize, minimize_scalar

from evosearch.data.base import examples
from evosearch.errors import InputError
from evosearch.learners.admm import Admm, fit_posts, fit_sums, fit_top, fit_weights
from evosearch.learners.base import LEARNERS, Lesson


def lesson(n_draws=2, updates=200, **changes):
    rng = np.random.default_rng(0)
    labels = [rng.integers(0, 3, size) for size in (50, 40)]
    centres = rng.normal(size=(3, 4))
    parts = [examples(centres[y] + 0.4 * rng.normal(size=(len(y), 4)), y) for y in labels]
    keys = [(3, 1, k) for k in range(n_draws)]
    sizes = changes.get("sizes", (4, 6, 5, 3))
    network = changes.get("network", "mlp")
    return Lesson(network, sizes, 1, *parts, updates, 5, 10, "none", 0.1, keys)


def test_weights_minimise_their_sub_problem():
    rng = np.random.default_rng(0)
    posts, sums, ridge = rng.normal(size=(2, 20, 3)), rng.normal(size=(2, 20, 2)), 0.7
    weights, biases = fit_weights(posts, sums, ridge)

    def cost(flat):
        w, b = flat[:6].reshape(2, 3), flat[6:]
        return ((sums[1] - posts[1] @ w.T - b) ** 2).sum() + ridge * (flat**2).sum()

    found = minimize(cost, np.zeros(8), tol=1e-14, method="BFGS", options={"gtol": 1e-9}).x
    ours = np.concatenate([weights[1].ravel(), biases[1]])
    assert cost(ours) <= cost(found) + 1e-12
    np.testing.assert_allclose(ours, found, atol=1e-7)


def test_posts_minimise_their_sub_problem():
    rng = np.random.default_rng(0)
    up, wanted = rng.normal(size=(2, 4, 3)), rng.normal(size=(2, 5, 4))
    activities, beta, gamma = rng.normal(size=(2, 5, 3)), 0.6, 3.0
    posts = fit_posts(up, wanted, activities, beta, gamma)
    for row in range(5):

        def cost(a, row=row):
            return (
                beta * ((wanted[1, row] - up[1] @ a) ** 2).sum()
                + gamma * ((a - activities[1, row]) ** 2).sum()
            )

        options = {"xatol": 1e-10, "fatol": 1e-15, "maxiter": 4000, "maxfev": 8000}
        found = minimize(cost, np.zeros(3), method="Nelder-Mead", options=options)
        assert cost(posts[1, row]) <= found.fun + 1e-12
        np.testing.assert_allclose(posts[1, row], found.x, atol=1e-6)


def least(cost):
    """Return the least cost on the line, from a fine grid and Brent's method between its points."""
    grid = np.linspace(-8, 8, 1601)
    best = grid[cost(grid).argmin()]
    options = {"xatol": 1e-12}
    bounds = (best - 0.02, best + 0.02)
    return minimize_scalar(cost, bounds=bounds, method="bounded", options=options).fun


@pytest.mark.parametrize("activation", ["relu", "hard-tanh"])
def test_sums_minimise_their_sub_problem(activation):
    rng = np.random.default_rng(0)
    posts, inputs = 1.5 * rng.normal(size=(2, 60))
    beta, gamma = 0.8, 2.0
    sums = fit_sums(posts, inputs, activation, beta, gamma)
    for k in range(60):

        def cost(z, k=k):
            h = np.maximum(z, 0) if activation == "relu" else np.clip(z, -1, 1)
            return gamma * (posts[k] - h) ** 2 + beta * (z - inputs[k]) ** 2

        assert cost(sums[k]) <= least(cost) + 1e-8


def test_top_sums_minimise_hinge_multiplier_and_penalty():
    rng = np.random.default_rng(0)
    multipliers, inputs = rng.normal(size=(2, 120))
    is_label = (np.arange(120) % 2).astype(np.float64)
    beta = 0.8
    sums = fit_top(multipliers, inputs, is_label, beta)
    for k in range(120):

        def cost(z, k=k):
            hinge = np.maximum(1 - z, 0) if is_label[k] else np.maximum(z, 0)
            return hinge + multipliers[k] * z + beta * (z - inputs[k]) ** 2

        assert cost(sums[k]) <= least(cost) + 1e-8


@pytest.mark.parametrize("activation", ["relu", "hard-tanh"])
def test_it_learns_and_a_draw_is_the_same_alone(activation):
    learned = Admm(activation=activation).learn(lesson())
    assert learned.diverged_at == (None, None)
    assert (learned.curves[:, -1] > 0.8).all()
    alone = Admm(activation=activation).learn(lesson(n_draws=1))
    assert np.array_equal(alone.curves[0], learned.curves[0])
    assert np.array_equal(alone.networks.weights[2][0], learned.networks.weights[2][0])
    answers = learned.networks.predict(lesson().held.inputs)
    assert np.array_equal((answers == lesson().held.labels).mean(axis=1), learned.curves[:, -1])


def test_the_multiplier_waits_for_its_share_of_the_sweeps():
    always, late, never = (Admm(warm=warm).learn(lesson()).networks for warm in (0.0, 0.5, 1.0))
    assert not np.allclose(late.weights[2], never.weights[2])
    assert not np.allclose(late.weights[2], always.weights[2])


def test_units_without_a_closed_form_are_refused_with_what_there_is_instead():
    with pytest.raises(InputError, match=r"piecewise linear units only, not 'tanh'.*learner mac"):
        Admm(activation="tanh")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"network": "rnn"}, "trains feed-forward networks"),
        ({"updates": 9}, "counts as 10 updates; updates is 9"),
        ({"sizes": (4, 2_000_000, 3)}, "limit is 4 GiB, so give fewer seeds"),
    ],
)
def test_what_it_cannot_train_is_refused(changes, message):
    with pytest.raises(InputError, match=message):
        LEARNERS.get("admm")().check(lesson(**changes))


def test_settings_out_of_range_are_refused():
    with pytest.raises(InputError, match=r"admm has beta 0\.0"):
        Admm(beta=0.0)


def test_its_cost_counts_covariances_sums_and_activities():
    assert Admm().forward_equivalents((3, 4, 2)) == pytest.approx((9 + 16 + 2 * 20 + 8 + 16) / 20)
