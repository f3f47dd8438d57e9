"""Batched CMA-ES: equal to pycma on equal samples, each search as it would be alone, endings."""

from __future__ import annotations

import numpy as np
import pytest

from evosearch.errors import InputError
from evosearch.functions import Instance
from evosearch.search.batched_cmaes import BatchedCmaEs, minimize_many
from evosearch.search.cma_constants import cma_constants


def ellipsoid(points):
    return (points**2 * 10.0 ** np.linspace(0.0, 6.0, points.shape[-1])).sum(axis=-1)


def sphere(points, which=None):
    return (points**2).sum(axis=-1)


def rosenbrock(points, which=None):
    first, second = points[..., :-1], points[..., 1:]
    return (100 * (second - first**2) ** 2 + (first - 1) ** 2).sum(axis=-1)


def starts(n, d, seed=0):
    return np.random.default_rng(seed).uniform(-2.0, 2.0, (n, d))


@pytest.mark.parametrize("dimension", [1, 2, 5, 20, 100])
@pytest.mark.parametrize("population", [6, 7, 12, 40, 301])  # pycma mirrors samples below 6
def test_constants_are_those_of_pycma(dimension, population):
    import cma

    found = cma_constants(dimension, population)
    sampler = cma.sampler.GaussFullSampler(dimension)
    weights = cma.recombination_weights.RecombinationWeights(population)
    rates = sampler.parameters(mueff=weights.mueff, lam=population)
    weights.finalize_negative_weights(dimension, rates["c1"], rates["cmu"])

    np.testing.assert_allclose(found.weights, weights, rtol=1e-12, atol=1e-15)
    assert found.mu_eff == pytest.approx(weights.mueff, rel=1e-12)
    assert (found.c_1, found.c_mu) == pytest.approx((rates["c1"], rates["cmu"]), rel=1e-12)
    if dimension == 1:  # refused by pycma
        return
    peer = cma.CMAEvolutionStrategy(dimension * [0.0], 1, {"popsize": population, "verbose": -9})
    peer.adapt_sigma.initialize(peer)
    damping, c_sigma = peer.adapt_sigma.damps, peer.adapt_sigma.cs
    assert (found.damping, found.c_sigma) == pytest.approx((damping, c_sigma), rel=1e-12)
    assert found.c_c == pytest.approx(peer.sp.cc, rel=1e-12)
    assert found.chi == pytest.approx(cma.utilities.math.Mh.chiN(dimension), rel=1e-12)


@pytest.mark.parametrize("loss", [ellipsoid, rosenbrock])
@pytest.mark.parametrize("dimension", [2, 5, 10, 20])
def test_equals_pycma_on_equal_samples_for_a_hundred_generations(loss, dimension):
    import cma

    searches = BatchedCmaEs(starts(1, dimension), 0.5, seeds=[3])
    peer = cma.CMAEvolutionStrategy(
        starts(1, dimension)[0],
        0.5,
        {
            "randn": lambda *shape: searches._z[0, searches._n_z_used].copy(),
            "updatecovwait": searches._gap,
            "verbose": -9,
            "seed": np.nan,
        },
    )
    for _ in range(100):
        points, theirs = searches.ask(), np.array(peer.ask())
        np.testing.assert_allclose(points[0], theirs, rtol=1e-10, atol=1e-10)
        # The same ranks, also where points differ by rounding; the same points, so that
        # rounding does not add up over generations.
        losses = loss(points)
        searches.tell(losses)
        peer.tell(theirs, losses[0].tolist())
        if not len(searches.active):
            break
        np.testing.assert_allclose(searches._sigma[0], peer.sigma, rtol=1e-10)
        np.testing.assert_allclose(searches._path_c[0], peer.pc, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("dimension", [1, 2, 3, 5, 10, 20, 33])
def test_a_search_is_bit_identical_alone_and_among_sixty_four(dimension):
    x0, seeds = starts(64, dimension), list(range(100, 164))
    sigma0 = np.linspace(0.1, 2.0, 64)
    turned = np.random.default_rng(5).standard_normal((64, dimension))

    def fun(points, which):
        return np.abs(points * turned[which, None]).sum(axis=2) + 0.1 * sphere(points)

    settings = {"target": 1e-6, "budget": 60 * 40}
    together = minimize_many(fun, x0, sigma0, seeds=seeds, **settings)
    for chosen in ([0], [17], [63], [40, 3, 11]):
        of = np.array(chosen)
        fewer = minimize_many(
            lambda points, which, of=of: fun(points, of[which]),
            x0[chosen],
            sigma0[chosen],
            seeds=[seeds[k] for k in chosen],
            **settings,
        )
        np.testing.assert_array_equal(fewer.x, together.x[chosen])
        np.testing.assert_array_equal(fewer.loss, together.loss[chosen])
        np.testing.assert_array_equal(fewer.evaluations, together.evaluations[chosen])
        assert fewer.status == tuple(together.status[k] for k in chosen)


@pytest.mark.parametrize(("name", "budget"), [("sphere", 3_000), ("ellipsoid", 8_000)])
def test_every_search_reaches_its_own_rotated_optimum(name, budget):
    functions = [Instance(name, 8, instance=k) for k in range(20)]

    def fun(points, which):
        return [functions[k](rows) for k, rows in zip(which, points, strict=True)]

    found = minimize_many(fun, starts(20, 8), 2.0, target=1e-8, budget=budget)
    assert set(found.status) == {"target"}
    assert (found.loss <= 1e-8).all()
    for function, x, loss in zip(functions, found.x, found.loss, strict=True):
        assert function(x[None])[0] == loss
    assert (found.evaluations <= budget).all()


def test_evaluations_are_about_those_of_pycma():
    """pycma needs a mean of 1,699 to reach 1e-8 on this function (150 runs, s.d. 191)."""
    found = minimize_many(rosenbrock, np.zeros((100, 5)), 0.5, target=1e-8)
    counts = found.evaluations[np.array(found.status) == "target"]

    assert len(counts) >= 95
    assert 1_550 < counts.mean() < 1_900


def test_searches_that_end_leave_the_batch_and_each_says_why():
    def fun(points, which):
        losses = 1.0 + sphere(points)
        losses[which == 1] = 2.0
        losses[which == 2] = np.nan
        losses[which == 3] = 1e9 + points[which == 3].sum(axis=2)
        losses[which == 4] = 1.0 + np.abs(points[which == 4]).sum(axis=2) ** 0.25
        return losses

    settings = {"target": 1.0 + 1e-6, "tolerance": 1e-6, "budget": 20_000}
    found = minimize_many(fun, starts(5, 3), 0.5, **settings)

    assert found.status == ("target", "flat", "failed", "diverged", "converged")
    assert found.loss[2] == np.inf
    np.testing.assert_array_equal(found.x[2], starts(5, 3)[2])
    assert found.evaluations[0] < found.evaluations[4] < 20_000


def test_a_budget_ends_with_the_generation_that_reaches_it():
    counts = np.zeros(3, dtype=int)

    def fun(points, which):
        counts[which] += points.shape[1]
        return sphere(points)

    found = minimize_many(fun, starts(3, 4), 1.0, budget=100, population=9)
    assert found.status == ("budget",) * 3
    assert found.evaluations.tolist() == counts.tolist() == [108] * 3


def test_an_ill_conditioned_covariance_ends_a_search():
    def fun(points, which):
        return points[..., 0] ** 2 + 1e16 * points[..., 1] ** 2

    assert minimize_many(fun, np.ones((1, 2)), 1.0, flat=0.0).status == ("ill-conditioned",)


def test_points_that_failed_rank_last_and_a_failed_generation_teaches_nothing():
    searches = BatchedCmaEs(starts(2, 3), 0.5)
    for k in range(60):
        losses = sphere(searches.ask())
        losses[0, 1::3] = np.nan
        losses[1, ::4] = np.inf
        if k % 5 == 0:
            before = [array[1].copy() for array in searches._learned()]
            losses[1] = np.nan
        searches.tell(losses)
        if k % 5 == 0:
            for old, array in zip(before, searches._learned(), strict=True):
                np.testing.assert_allclose(array[1], old, rtol=1e-15)
    assert (searches.minima().loss < 1e-2).all()


def test_a_search_goes_on_when_single_generations_fail():
    n = 0

    def fun(points, which):
        nonlocal n
        n += 1
        return np.full(points.shape[:2], np.nan) if n % 3 == 0 else sphere(points)

    assert minimize_many(fun, starts(4, 3), 0.5, target=1e-8).status == ("target",) * 4


def test_another_seed_is_another_search():
    one, other = (minimize_many(sphere, np.ones((1, 3)), 1.0, seeds=[s], budget=50) for s in (1, 2))

    assert one.loss[0] != other.loss[0]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"x0": np.zeros(3)}, r"x0 has shape \(3,\); it must be finite numbers \(n, d\)"),
        ({"x0": np.full((2, 2), np.nan)}, r"x0 has shape \(2, 2\)"),
        ({"sigma0": np.ones(3)}, r"sigma0 has shape \(3,\); it must be a number or \(2,\)"),
        ({"sigma0": -1.0}, "sigma0 holds a value"),
        ({"population": 3}, "population is 3; it must be 0 or at least 4"),
        ({"budget": 0}, "budget is 0"),
        ({"seeds": [1]}, "seeds are 1; they must be 2 numbers"),
        ({"seeds": [1, -1]}, "at least 0"),
    ],
)
def test_arguments_out_of_range_are_refused_in_one_sentence(arguments, message):
    arguments = {"x0": np.zeros((2, 4)), "sigma0": 1.0, **arguments}

    with pytest.raises(InputError, match=message) as caught:
        minimize_many(sphere, **arguments)
    assert "\n" not in str(caught.value)


def test_losses_of_another_shape_are_refused():
    with pytest.raises(InputError, match=r"losses have shape \(2,\); .* they must be \(2, 8\)"):
        minimize_many(lambda points, which: points[:, 0, 0], np.zeros((2, 4)), 1.0)


def test_losses_before_any_points_are_refused():
    with pytest.raises(InputError, match="losses have shape"):
        BatchedCmaEs(np.zeros((2, 4)), 1.0).tell(np.zeros((2, 8)))
