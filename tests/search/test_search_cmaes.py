"""CMA-ES through pycma: every form of the covariance, bounds, integers, exact states."""

from __future__ import annotations

import numpy as np
import pytest
from search_problems import evaluation, stored

from evosearch.errors import InputError
from evosearch.search.cmaes import CmaEs
from evosearch.spaces import VectorSpace

COVARIANCES = ("full", "separable", "vd", "vkd")
ALL = pytest.mark.parametrize("covariance", COVARIANCES)

# What each form learns: a condition of 1e4, of all axes turned, of the axes themselves, or of
# one long direction among unequal axes.
SCALES = 10.0 ** np.linspace(0.0, 4.0, 10)


def turned():
    return np.linalg.qr(np.random.default_rng(7).standard_normal((10, 10)))[0]


def rotated(points):
    return ((np.asarray(points) - 1.0) @ turned().T) ** 2 @ SCALES


def separable(points):
    return (np.asarray(points) - 1.0) ** 2 @ SCALES


def long_direction(points):
    steps = (np.asarray(points) - 1.0) * np.sqrt(SCALES)
    along = steps.sum(axis=1) / np.sqrt(10.0)
    return (steps**2).sum(axis=1) - (1.0 - 1e-4) * along**2


def learn(search, loss, n_generations=1):
    asked = []
    for _ in range(n_generations):
        points = search.ask()
        search.tell(points, evaluation(-loss(points)[:, None]))
        asked.append(np.array(points))
    return asked


def best_within(search, loss, budget):
    n_used, best = 0, np.inf
    while n_used < budget and best > 1e-8:
        (points,) = learn(search, loss)
        n_used += len(points)
        best = min(best, float(loss(points).min()))
    return best


@pytest.mark.parametrize(
    ("covariance", "loss", "budget"),
    [
        ("full", rotated, 8_000),
        ("separable", separable, 6_000),
        ("vd", long_direction, 12_000),
        ("vkd", long_direction, 12_000),
    ],
)
@pytest.mark.parametrize("seed", range(3))
def test_each_covariance_solves_the_quadratic_of_its_class(covariance, loss, budget, seed):
    space = VectorSpace(10, sigma0=1.0)

    assert best_within(CmaEs(space, seed=seed, covariance=covariance), loss, budget) <= 1e-8


@ALL
@pytest.mark.parametrize("bounds", [(None, None), (-2.0, [0.5] * 5 + [np.inf] * 5)])
@pytest.mark.parametrize("integers", [(), (0, 7)])
def test_resumes_bit_identically_at_every_generation(covariance, bounds, integers):
    if integers and covariance == "vkd":
        pytest.skip("takes no integers")
    low, high = bounds
    settings = {"covariance": covariance, "integers": integers, "population": 12}
    space = VectorSpace(10, low=low, high=high, sigma0=0.7)
    search = CmaEs(space, seed=5, **settings)
    for _ in range(50):
        resumed = CmaEs(space, seed=5, **settings)
        resumed.load_state_dict(stored(search.state_dict()))
        (expected,) = learn(search, rotated)
        (asked,) = learn(resumed, rotated)
        np.testing.assert_array_equal(asked, expected)
        after, again = stored(search.state_dict()), stored(resumed.state_dict())
        assert after.keys() == again.keys()
        for key, value in after.items():
            np.testing.assert_array_equal(value, again[key], err_msg=key)


@ALL
def test_one_restored_search_goes_on_for_a_hundred_generations_as_the_first(covariance):
    settings = {"covariance": covariance, "population": 12, "restarts": "none"}
    space = VectorSpace(10, sigma0=0.7)
    search, resumed = (CmaEs(space, seed=5, **settings) for _ in range(2))
    learn(search, long_direction, 40)
    resumed.load_state_dict(stored(search.state_dict()))

    expected = learn(search, long_direction, 100)
    np.testing.assert_array_equal(learn(resumed, long_direction, 100), expected)


@pytest.mark.parametrize("covariance", ["full", "separable"])
@pytest.mark.parametrize("dimension", [2, 10])
def test_equals_pycma_on_equal_samples_for_a_hundred_generations(covariance, dimension):
    import cma

    scales = 10.0 ** np.linspace(0.0, 4.0, dimension)
    z = np.random.default_rng(3)
    search = CmaEs(
        VectorSpace(dimension, x0=2.0, sigma0=0.5),
        seed=0,
        restarts="none",
        covariance=covariance,
        tolerance=0.0,
        flat=0.0,
        patience=1000,
    )
    samples = []

    class Recorder:
        """The generator of the search, whose normal numbers are kept."""

        def standard_normal(self, shape):
            samples.append(z.standard_normal(shape))
            return samples[-1].copy()

    search._strategy._es.sm.randn = lambda *shape: Recorder().standard_normal(shape)
    replay = iter(())
    peer = cma.CMAEvolutionStrategy(
        np.full(dimension, 2.0),
        0.5,
        {
            "CMA_diagonal": covariance == "separable",
            "randn": lambda *shape: next(replay).reshape(shape),
            "verbose": -9,
            "seed": np.nan,
        },
    )
    for _ in range(100):
        samples.clear()
        (points,) = learn(search, lambda x: (np.asarray(x) ** 2) @ scales)
        replay = iter(samples)
        theirs = peer.ask()
        peer.tell(theirs, [float(np.dot(x**2, scales)) for x in theirs])
        np.testing.assert_allclose(points, theirs, rtol=1e-10, atol=1e-10)


@ALL
def test_it_has_converged_when_all_steps_are_shorter_than_the_tolerance(covariance):
    space = VectorSpace(10, sigma0=1.0)
    settings = {"covariance": covariance, "restarts": "none", "tolerance": 1e-5}
    search = CmaEs(space, seed=3, patience=10_000, **settings)
    spreads = []
    while not search.is_done:
        (points,) = learn(search, separable)
        spreads.append(points.std(axis=0).max())

    assert 1e-7 < spreads[-1] < 3e-5
    assert min(spreads[:-20]) > 1e-6


@ALL
def test_each_number_stays_in_its_own_bounds(covariance):
    low = np.array([-1.0, -np.inf, 0.5, -3.0, -2.0])
    high = np.array([1.0, 0.0, np.inf, -2.0, 2.0])
    space = VectorSpace(5, low=low, high=high, x0=[0.0, -1.0, 1.0, -2.5, 0.0], sigma0=1.0)
    search = CmaEs(space, seed=1, covariance=covariance, restarts="none")
    asked = np.concatenate(learn(search, lambda x: ((np.asarray(x) - 5.0) ** 2).sum(axis=1), 60))

    assert (asked >= low).all()
    assert (asked <= high).all()
    (favourite,) = search.favourites()
    np.testing.assert_allclose(favourite, [1.0, 0.0, 5.0, -2.0, 2.0], atol=0.05)


@pytest.mark.parametrize("covariance", ["full", "separable", "vd"])
def test_integers_are_whole_in_every_candidate_and_found(covariance):
    space = VectorSpace(6, low=[0.2, -5.0] + [-5.0] * 4, high=[3.7, 5.0] + [5.0] * 4, x0=1.0)
    search = CmaEs(space, seed=2, covariance=covariance, integers=[0, 1])
    optimum = np.array([3.4, -2.2, 0.5, 0.5, 0.5, 0.5])

    def loss(points):
        return ((np.asarray(points) - optimum) ** 2).sum(axis=1)

    asked = np.concatenate(learn(search, loss, 150))
    assert (asked[:, :2] == np.round(asked[:, :2])).all()
    assert set(asked[:, 0]) <= {1.0, 2.0, 3.0}
    best = asked[loss(asked).argmin()]
    assert best[:2].tolist() == [3.0, -2.0]
    np.testing.assert_allclose(best[2:], 0.5, atol=1e-3)
    (favourite,) = search.favourites()
    assert (favourite[:2] == np.round(favourite[:2])).all()


def test_integers_leave_the_global_generator_where_it_was():
    np.random.seed(3)  # noqa: NPY002
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    space = VectorSpace(4, low=-2.0, high=2.0)
    learn(CmaEs(space, seed=2, integers=[0, 1, 2, 3]), separable_of_four, 20)

    np.testing.assert_array_equal(np.random.get_state()[1], before)  # noqa: NPY002


def separable_of_four(points):
    return (np.asarray(points) ** 2).sum(axis=1)


def test_all_integers_resume_bit_identically_though_candidates_repeat():
    space = VectorSpace(4, low=-2.0, high=2.0)
    search = CmaEs(space, seed=2, integers=[0, 1, 2, 3], population=16)
    for _ in range(40):
        resumed = CmaEs(space, seed=2, integers=[0, 1, 2, 3], population=16)
        resumed.load_state_dict(stored(search.state_dict()))
        (expected,) = learn(search, separable_of_four)
        np.testing.assert_array_equal(learn(resumed, separable_of_four)[0], expected)


def test_a_position_outside_the_vector_is_refused_in_one_sentence():
    with pytest.raises(InputError, match="integers names position 3; a vector has 3 numbers"):
        CmaEs(VectorSpace(3), integers=[0, 3])


def test_vkd_with_integers_is_refused():
    with pytest.raises(InputError, match="covariance vkd takes no integers"):
        CmaEs(VectorSpace(3), covariance="vkd", integers=[0])


def test_an_unknown_covariance_is_refused_with_what_is_allowed():
    with pytest.raises(InputError, match="'full', 'separable', 'vd' or 'vkd'"):
        CmaEs(VectorSpace(3), covariance="diagonal")


def test_nothing_is_printed_for_small_dimensions(capsys):
    learn(CmaEs(VectorSpace(3), covariance="vd"), lambda x: np.abs(np.asarray(x)).sum(axis=1))

    assert capsys.readouterr() == ("", "")


def test_a_descent_that_sees_flat_losses_ends_after_recent_generations_only():
    """30 d / population + 10 generations, as pycma: 30 * 4 / 8 + 10 = 25."""
    search = CmaEs(VectorSpace(4), population=8, restarts="none")
    learn(search, lambda x: np.ones(len(x)), 24)
    assert not search.is_done
    learn(search, lambda x: np.ones(len(x)))
    assert search.is_done


def test_a_descent_without_improvement_ends_after_its_patience():
    """By default 100 + 100 d^1.5 / population generations: 100 + 800 / 8 = 200."""
    search = CmaEs(VectorSpace(4), population=8, restarts="none", flat=0.0)
    learn(search, lambda x: np.ones(len(x)), 200)
    assert not search.is_done
    learn(search, lambda x: np.ones(len(x)))
    assert search.is_done
