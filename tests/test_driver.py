"""Driving a search by a function: budget, failures, what is returned and what stops it."""

from __future__ import annotations

import signal

import numpy as np
import pytest

from evosearch.driver import drive
from evosearch.errors import InputError
from evosearch.search.base import SEARCHES
from evosearch.spaces import VectorSpace

OPTIMUM = np.array([1.0, -2.0, 0.5])
IN_BLOCKS = "openai-es"
IN_ROWS = "cmaes"
BOTH = pytest.mark.parametrize("name", [IN_BLOCKS, IN_ROWS])


def sphere(points):
    return -((points - OPTIMUM) ** 2).sum(axis=1)


def make(name=IN_BLOCKS, dimension=3, **settings):
    settings = {"population": 12, **settings}
    return SEARCHES.get(name)(VectorSpace(dimension, sigma0=0.5), seed=3, **settings)


class Recorded:
    """A score that keeps what it was asked."""

    def __init__(self, score=sphere):
        self.score, self.points = score, []

    def __call__(self, points):
        self.points.append(np.array(points, dtype=np.float64))
        return self.score(points)


@BOTH
def test_the_best_of_all_that_was_scored_is_returned(name):
    score = Recorded()

    result = drive(make(name), score, budget=120)

    points = np.concatenate(score.points)
    np.testing.assert_array_equal(result.best, points[sphere(points).argmax()])
    assert result.fitness == sphere(points).max()


@BOTH
def test_the_budget_is_spent_to_the_last_point(name):
    score = Recorded()
    result = drive(make(name), score, budget=41)

    n_favourites = 1
    assert sum(map(len, score.points)) == 41 + n_favourites
    assert (result.evaluations, result.generations, result.stopped_by) == (41, 4, "budget")
    assert result.history["evaluations"].tolist() == [12, 24, 36, 41]


@pytest.mark.parametrize("name", ["snes", "pgpe", "ars", "spsa", "cem", "l-shade", "cr-fm-nes"])
def test_driving_is_ask_score_tell(name):
    by_hand, driven = make(name), make(name)
    for _ in range(4):
        points = by_hand.ask()
        by_hand.tell(points, _evaluation(sphere(np.array(points))))
        n = len(points)

    drive(driven, sphere, budget=4 * n)

    np.testing.assert_array_equal(driven.favourites(), by_hand.favourites())


def _evaluation(fitness):
    from evosearch.outcome import plain_evaluation

    return plain_evaluation(fitness, 3)


@BOTH
def test_what_is_not_finite_ranks_last(name):
    def score(points):
        fitness = sphere(points)
        fitness[::3] = [np.nan, np.inf, -np.inf, np.nan][: len(fitness[::3])]
        return fitness

    result = drive(make(name), score, budget=600)

    assert np.isfinite(result.fitness)
    assert result.fitness > -0.5


@BOTH
def test_nothing_is_found_where_all_fails(name):
    result = drive(make(name), lambda points: [None] * len(points), budget=30)

    assert result.fitness == -np.inf
    assert np.isfinite(result.best).all()
    assert np.isnan(result.history["best"]).all()


@pytest.mark.parametrize(
    ("values", "named"),
    [
        (lambda n: None, "None"),
        (lambda n: 1.0, "shape ()"),
        (lambda n: np.zeros((n, 1)), "shape (12, 1)"),
        (lambda n: np.zeros(n + 1), "shape (13,)"),
        (lambda n: "good", "'good'"),
    ],
)
def test_a_wrong_number_of_values_is_refused(values, named):
    with pytest.raises(InputError, match="score of 12 points") as refused:
        drive(make(), lambda points: values(len(points)), budget=100)

    assert named in str(refused.value)


def test_what_the_score_raises_is_passed_on():
    def score(points):
        raise ZeroDivisionError("the user's")

    with pytest.raises(ZeroDivisionError, match="the user's"):
        drive(make(), score, budget=100)


@pytest.mark.parametrize(
    "options",
    [{"budget": 0}, {"budget": 9, "time_s": 0.0}, {"budget": 9, "target": np.nan}],
)
def test_limits_out_of_range_are_refused(options):
    with pytest.raises(InputError):
        drive(make(), sphere, **options)


def test_it_ends_at_the_target():
    result = drive(make("snes"), sphere, budget=100_000, target=-0.01)

    assert result.stopped_by == "target"
    assert result.fitness >= -0.01
    assert result.evaluations < 5_000


def test_it_ends_where_the_search_is_done():
    result = drive(make(IN_ROWS, restarts="none"), sphere, budget=100_000)

    assert result.stopped_by == "done"
    assert result.fitness > -1e-12


def test_ctrl_c_returns_what_was_found():
    def score(points):
        if score.calls == 5:
            signal.raise_signal(signal.SIGINT)
        score.calls += 1
        return sphere(points)

    score.calls = 0
    result = drive(make(), score, budget=10**6)

    assert result.stopped_by == "interrupt"
    assert np.isfinite(result.fitness)


def test_a_changing_score_looks_for_the_best_at_the_end():
    # Early points gain by their generation alone.
    def score(points):
        score.calls += 1
        return sphere(points) + (1e6 if score.calls == 1 else 0.0)

    score.calls = 0
    fresh = drive(make("snes"), score, budget=2_000, is_fresh=True)
    score.calls = 0
    fixed = drive(make("snes"), score, budget=2_000)

    assert -0.01 < fresh.fitness <= 0.0
    assert fixed.fitness > 1e5


def test_the_best_is_not_a_view_of_the_search():
    search = make()
    result = drive(search, sphere, budget=24)
    before = result.best.copy()
    search.ask()

    np.testing.assert_array_equal(result.best, before)


def test_progress_is_reported_after_each_generation():
    seen = []
    drive(make(), sphere, budget=36, on_progress=seen.append)

    assert [progress.evaluations for progress in seen] == [12, 24, 36]
    assert seen[0].best <= seen[-1].best
