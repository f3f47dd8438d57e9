"""The augmented Lagrangian: its penalties by hand, constrained optima, exact states."""

from __future__ import annotations

import numpy as np
import pytest
from search_problems import evaluation, stored

from evosearch.errors import InputError
from evosearch.search.base import SEARCHES
from evosearch.search.constraints import AugmentedLagrangian
from evosearch.spaces import VectorSpace

SCALES = 10.0 ** np.linspace(0.0, 2.0, 6)


def sphere(points):
    return (points**2).sum(axis=1)


def inside_ball(points):
    return sphere(points)[:, None] - 1.0


def off_centre(points):
    return (points - 2.0) ** 2 @ SCALES


def nearest_in_ball():
    """Return the minimum of ``off_centre`` in the unit ball: (s_i + l) x_i = 2 s_i, |x| = 1."""
    low, high = 0.0, 1e6
    for _ in range(200):
        middle = (low + high) / 2
        is_outside = ((2 * SCALES / (SCALES + middle)) ** 2).sum() > 1.0
        low, high = (middle, high) if is_outside else (low, middle)
    return 2 * SCALES / (SCALES + low)


PROBLEMS = [
    (sphere, lambda x: 1.0 - x[:, :1], np.eye(6)[0], [2.0]),
    (sphere, lambda x: 1e3 * (1.0 - x[:, :1]), np.eye(6)[0], [2e-3]),
    (sphere, lambda x: np.stack([1 - x[:, 0], 2 - x[:, 1], x[:, 2] - 9], 1), None, [2.0, 4.0, 0.0]),
    (lambda x: x.sum(axis=1), inside_ball, np.full(6, -(6**-0.5)), [6**0.5 / 2]),
    (off_centre, inside_ball, nearest_in_ball(), None),
]


def make(name="cmaes", seed=0):
    settings = {"restarts": "none", "patience": 10**9, "flat": 0.0} if name == "cmaes" else {}
    return SEARCHES.get(name)(VectorSpace(6, x0=3.0), seed=seed, **settings)


def learn(search, lagrangian, n_generations=1):
    for _ in range(n_generations):
        if search.is_done:  # converged
            break
        points = np.array(search.ask())
        search.tell(points, evaluation(-lagrangian(points)[:, None]))
        lagrangian.update(search.favourites()[0])
    return points


@pytest.mark.parametrize(("loss", "constraints", "optimum", "multipliers"), PROBLEMS)
@pytest.mark.parametrize("seed", range(2))
def test_cmaes_finds_constrained_optima_and_their_multipliers(
    loss, constraints, optimum, multipliers, seed
):
    optimum = np.array([1.0, 2.0, 0.0, 0.0, 0.0, 0.0]) if optimum is None else optimum
    lagrangian, search = AugmentedLagrangian(loss, constraints), make(seed=seed)
    learn(search, lagrangian, 700)

    np.testing.assert_allclose(search.favourites()[0], optimum, atol=1e-5)
    assert lagrangian.loss == pytest.approx(float(loss(optimum[None])[0]), rel=1e-4)
    assert (constraints(lagrangian.x[None]) <= 0.0).all()
    if multipliers is not None:
        found = lagrangian.state_dict()["multipliers"]
        np.testing.assert_allclose(found, multipliers, rtol=1e-3, atol=1e-6)


def test_penalties_and_updates_are_those_of_the_paper():
    lagrangian = AugmentedLagrangian(sphere, lambda x: x - np.array([1.0, -2.0]))
    start = {
        "multipliers": np.array([0.5, 0.1]),
        "weights": np.array([2.0, 4.0]),
        "last": np.array([5.0, 1.0, 0.2]),
        "x": np.zeros(0),
        "loss": np.array(np.inf),
    }
    lagrangian.load_state_dict(start)
    # g = (0.5, -1); the second is cut at -0.1/4.
    by_hand = 11.25 + 0.5 * 0.5 + 2 * 0.25 / 2 - 0.1**2 / (2 * 4)
    assert lagrangian(np.array([[1.5, -3.0]]))[0] == pytest.approx(by_hand, rel=1e-14)

    lagrangian.update(np.array([1.5, -3.0]))
    state = lagrangian.state_dict()
    assert state["multipliers"] == pytest.approx([0.5 + 2 / 5 * 0.5, 0.1 - 4 / 5 * 0.1 / 4])
    # Both w g^2 = 0.5 and 4 are below 3 |dh| / 2, dh about 4.7: both weights grow.
    assert state["weights"] == pytest.approx([2 * 1.15**0.25, 4 * 1.15**0.25])
    assert state["last"].tolist() == [11.25, 0.5, -1.0]


def test_a_weight_shrinks_where_the_constraint_dominates_and_moves():
    lagrangian = AugmentedLagrangian(sphere, lambda x: 10.0 * x[:, :1])
    start = {"multipliers": [0.0], "weights": [9.0], "last": [1.0, -10.0], "x": [], "loss": np.inf}
    lagrangian.load_state_dict(start)
    lagrangian.update(np.array([0.1, 0.0]))  # g = 1, |dh| = 3.51: w g^2 = 9 > 3 * 3.51 / 2

    assert lagrangian.state_dict()["weights"] == pytest.approx([9.0 / 1.15])


@pytest.mark.parametrize("name", ["cmaes", "sep-cmaes", "snes"])
def test_search_and_lagrangian_resume_bit_identically_at_every_generation(name):
    search, lagrangian = make(name), AugmentedLagrangian(off_centre, inside_ball)
    for _ in range(30):
        resumed, other = make(name), AugmentedLagrangian(off_centre, inside_ball)
        resumed.load_state_dict(stored(search.state_dict()))
        other.load_state_dict(stored(lagrangian.state_dict()))
        points = learn(search, lagrangian)
        np.testing.assert_array_equal(learn(resumed, other), points)
        state, again = stored(lagrangian.state_dict()), stored(other.state_dict())
        for key, value in state.items():
            np.testing.assert_array_equal(value, again[key], err_msg=key)


def test_points_that_have_no_loss_are_never_the_best():
    lagrangian = AugmentedLagrangian(lambda x: np.array([np.nan, 3.0, 1.0]), lambda x: x - 1.0)
    lagrangian(np.array([[0.0], [0.5], [2.0]]))

    assert (lagrangian.x.tolist(), lagrangian.loss) == ([0.5], 3.0)


@pytest.mark.parametrize(
    ("loss", "constraints", "message"),
    [
        (sphere, sphere, r"constraints of 4 points have shape \(4,\); it must be \(4, m\)"),
        (lambda x: x, inside_ball, r"loss of 4 points has shape \(4, 6\); it must be \(4,\)"),
    ],
)
def test_values_of_another_shape_are_refused(loss, constraints, message):
    with pytest.raises(InputError, match=message):
        AugmentedLagrangian(loss, constraints)(np.zeros((4, 6)))
