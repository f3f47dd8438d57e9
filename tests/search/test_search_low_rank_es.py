"""The evolution strategy of low rank: its estimate, its populations and its state."""

from __future__ import annotations

import math

import numpy as np
import pytest
from search_problems import evaluation, stored

from evosearch.errors import InputError
from evosearch.parted import PartedLowRank
from evosearch.populations import LowRank
from evosearch.search.base import SEARCHES
from evosearch.search.optimizers import adam_step
from evosearch.spaces import VectorSpace

SHAPES = ((6, 5), (6,), (3, 6), (3,))
D = sum(math.prod(shape) for shape in SHAPES)
WHOLE = {"population": 16}
PARTED = {"population": 64, "units": 2}
ALONE = {"population": 64, "units": 1, "mirrored": False}
FORMS = pytest.mark.parametrize("form", [WHOLE, PARTED, ALONE], ids=["whole", "parted", "alone"])


def make(seed=0, sigma0=0.1, space=None, **settings):
    space = space or VectorSpace(D, x0=np.linspace(-1, 1, D), sigma0=sigma0, shapes=SHAPES)
    return SEARCHES.get("low-rank-es")(space, seed=seed, **settings)


def size_of(form):
    """Return the candidates of a generation."""
    return len(asked(make(**form)))


def asked(search):
    """Return the generation written out, (n, d)."""
    return np.concatenate([block.dense() for block in search.ask_blocks()])


def told(search, score):
    points = asked(search)
    search.tell(range(len(points)), evaluation(score(points)[:, None]))
    return points


@FORMS
@pytest.mark.parametrize("noise", ["sign", "normal"])
@pytest.mark.parametrize("rank", [1, 2])
def test_ask_writes_out_what_ask_blocks_yields(form, noise, rank):
    settings = {**form, "noise": noise, "rank": rank}
    np.testing.assert_array_equal(make(**settings).ask(), asked(make(**settings)))


def test_perturbations_of_a_matrix_have_the_rank_and_unit_variance():
    points = asked(make(sigma0=0.1, rank=2, population=4000, noise="normal"))
    steps = (points[0::2] - points[1::2]) / 0.2
    matrices = steps[:, :30].reshape(-1, 6, 5)
    assert {int(np.linalg.matrix_rank(matrix, tol=1e-4)) for matrix in matrices[:50]} == {2}
    np.testing.assert_allclose(steps.mean(axis=0), 0, atol=0.12)
    np.testing.assert_allclose((steps**2).mean(axis=0), 1, atol=0.2)


@pytest.mark.parametrize("rank", [1, 3])
@FORMS
def test_step_is_adams_along_the_sum_of_weighted_perturbations(form, rank):
    slope = np.random.default_rng(5).normal(size=D)
    search = make(**form, rank=rank, rate=0.03)
    mean = search.state_dict()["mean"].copy()
    points = told(search, lambda points: points @ slope)
    steps, fitness = (points - mean) / 0.1, points @ slope
    n_signs = 1 if form is ALONE else 2
    n_parts = {16: 1, 64: 5 if form is PARTED else 9}[form["population"]]
    if n_signs == 2:
        gains, steps = (fitness[0::2] - fitness[1::2]) / 2, steps[0::2]
    else:
        by_part = fitness.reshape(-1, n_parts)
        gains = (by_part - by_part.mean(axis=0)).ravel()
    n_drawn = len(gains) // n_parts
    gains /= math.sqrt((gains**2).mean()) * n_drawn * 0.1
    gradient = gains @ steps
    expected = mean + adam_step((np.zeros(D), np.zeros(D)), gradient, n_steps=1, rate=0.03)
    is_clear = abs(gradient) > 1e-3  # Adam's first step is the sign of the gradient
    np.testing.assert_allclose(search.state_dict()["mean"][is_clear], expected[is_clear], atol=1e-6)
    np.testing.assert_allclose(search.state_dict()["first"], 0.1 * gradient, atol=1e-4)


@FORMS
def test_estimate_points_up_a_linear_slope(form):
    slope = np.random.default_rng(5).normal(size=D)
    search = make(**{**form, "population": 40 * form["population"]})
    told(search, lambda points: points @ slope)
    first = search.state_dict()["first"]
    cosine = first @ slope / np.linalg.norm(first) / np.linalg.norm(slope)
    assert cosine > 0.85  # 1 / sqrt(1 + 57 / 320) = 0.92 is expected of 320 pairs


def test_parts_tell_more_than_the_whole_from_the_same_random_numbers():
    slope = np.random.default_rng(5).normal(size=D)
    cosines = []
    for n_scored, form in ((2, {}), (9, {"units": 1, "mirrored": False})):
        search = make(population=16 * n_scored, noise="sign", **form)
        told(search, lambda points: points @ slope)
        first = search.state_dict()["first"]
        cosines.append(first @ slope / np.linalg.norm(first) / np.linalg.norm(slope))
    assert cosines[1] > cosines[0] + 0.2


@FORMS
def test_climbs_to_the_top_of_a_hill(form):
    search = make(**form, sigma0=0.02, rate=0.05, horizon=300 * size_of(form))
    top = np.random.default_rng(6).normal(size=D)
    for _ in range(300):
        told(search, lambda points: -((points - top) ** 2).sum(axis=1))
    assert ((search.favourites()[0] - top) ** 2).sum() < 1e-2


@FORMS
def test_resumed_at_any_generation_it_goes_on_with_the_same_bits(form):
    def score(points):
        return -(points**2).sum(axis=1)

    search = make(**form, horizon=20 * size_of(form))
    for _ in range(12):
        state = stored(search.state_dict())
        points = told(search, score)
        other = make(**form, horizon=20 * size_of(form))
        other.load_state_dict(state)
        np.testing.assert_array_equal(told(other, score), points)
        np.testing.assert_array_equal(other.state_dict()["mean"], search.state_dict()["mean"])


def test_step_has_the_same_bits_whatever_the_threads_of_matrix_products():
    from threadpoolctl import threadpool_limits

    shapes = ((300, 200), (300,))
    space = VectorSpace(60_300, x0=0.0, sigma0=0.1, shapes=shapes)
    means = []
    for n_threads in (1, 2):
        with threadpool_limits(n_threads):
            search = make(space=space, population=300)
            (block,) = search.ask_blocks()
            fitness = np.random.default_rng(0).normal(size=(len(block), 1))
            search.tell(range(len(block)), evaluation(fitness))
        means.append(search.state_dict()["mean"])
    np.testing.assert_array_equal(*means)


def test_learns_without_asking_again_after_a_resume():
    search, other = make(**PARTED), make(**PARTED)
    points = asked(search)
    fitness = evaluation(-(points**2).sum(axis=1)[:, None])
    search.tell(range(len(points)), fitness)
    other.tell(range(len(points)), fitness)
    np.testing.assert_array_equal(other.state_dict()["mean"], search.state_dict()["mean"])


@FORMS
def test_failed_candidates_count_as_the_worst(form):
    fitness = None
    states = []
    for worst in (-np.inf, -5.0):
        search = make(**form)
        points = asked(search)
        fitness = np.linspace(-4, 4, len(points))
        fitness[[0, 3]] = -5.0
        fitness[3] = worst
        search.tell(range(len(points)), evaluation(fitness[:, None]))
        states.append(search.state_dict()["mean"])
    np.testing.assert_array_equal(*states)


@pytest.mark.parametrize(("generation", "share"), [(1, 1.0), (6, 0.5), (11, 0.0), (30, 0.0)])
def test_rate_falls_along_a_cosine_to_the_horizon(generation, share):
    search = make(**WHOLE, rate=0.1, horizon=10 * size_of(WHOLE), shaping="ranks")
    for _ in range(generation):
        before = search.state_dict()
        told(search, lambda points: points[:, 0])
    after = search.state_dict()
    gradient = (after["first"] - 0.9 * before["first"]) / 0.1
    moments = before["first"].copy(), before["second"].copy()
    step = adam_step(moments, gradient, n_steps=generation, rate=0.1 * share)
    np.testing.assert_allclose(after["mean"] - before["mean"], step, atol=1e-7)


def test_population_is_never_written_out():
    shapes = ((1000, 2000), (1000,))
    space = VectorSpace(2_001_000, x0=0.0, sigma0=0.1, shapes=shapes)
    for form, kind in ((WHOLE, LowRank), ({"population": 16_000, "units": 1}, PartedLowRank)):
        search = make(space=space, **form)
        (block,) = search.ask_blocks()
        assert type(block) is kind
        assert len(block) == form["population"]
        numbers = sum(array.size for array in (*block.left, *block.right) if array is not None)
        assert numbers == 8 * 4000


def test_bounds_hold():
    space = VectorSpace(D, low=-0.05, high=0.05, sigma0=0.1, shapes=SHAPES)
    search = make(space=space, **PARTED)
    for _ in range(5):
        points = search.ask()
        assert np.abs(points).max() <= 0.05
        search.tell(points, evaluation(np.array(points)[:, :1]))
    assert search.favourites()[0][0] == 0.05


def test_whole_perturbations_that_are_not_mirrored_are_refused():
    with pytest.raises(InputError, match="mirrored is false, which needs units"):
        make(mirrored=False)
