"""The front door to functions: single or batched, bounded or not, good input and bad."""

import numpy as np
import pytest

import evosearch as es
from evosearch.errors import InputError, RunError
from evosearch.search.base import SEARCHES

# They keep to a table or to rules, or to points of a list.
OVER_VECTORS = [n for n in SEARCHES.names() if "vector" in SEARCHES.get(n).space_kinds]
CENTRE = np.array([0.5, -1.5, 2.0])


def bowl(x):
    return float(((x - CENTRE) ** 2).sum())


def bowls(points):
    return ((points - CENTRE) ** 2).sum(axis=1)


@pytest.mark.parametrize("search", OVER_VECTORS)
def test_every_search_over_vectors_goes_down_a_bowl(search):
    result = es.minimize(bowl, np.zeros(3), search=search, bounds=(-4.0, 4.0), budget=600, seed=1)

    assert result.evaluations <= 600
    assert result.loss < bowl(np.zeros(3))
    assert result.loss == bowl(result.x)
    assert result.fitness == -result.loss


@pytest.mark.parametrize("search", ["cmaes", "snes", "l-shade"])
def test_a_batched_function_gives_what_a_single_one_gives(search):
    one = es.minimize(bowl, np.zeros(3), search=search, budget=500, seed=3)
    many = es.minimize(bowls, np.zeros(3), search=search, budget=500, seed=3, is_batched=True)

    assert np.array_equal(one.x, many.x)
    assert one.loss == pytest.approx(many.loss, rel=1e-12)


def test_workers_do_not_change_the_result():
    alone = es.minimize(bowl, np.zeros(3), budget=200, seed=5)
    shared = es.minimize(bowl, np.zeros(3), budget=200, seed=5, workers=2)

    assert np.array_equal(alone.x, shared.x)
    assert alone.loss == shared.loss


def test_bounds_of_very_different_width_count_alike():
    low, high = np.array([-1e-3, -1.0, -1e4]), np.array([1e-3, 1.0, 1e4])
    target = np.array([4e-4, -0.3, 7e3])

    def scaled(x):
        return float((((x - target) / high) ** 2).sum())

    result = es.minimize(scaled, bounds=(low, high), budget=3000, seed=0)

    assert result.loss < 1e-12
    np.testing.assert_allclose(result.x, target, rtol=1e-5)


@pytest.mark.parametrize("search", OVER_VECTORS)
def test_no_point_outside_the_bounds_is_ever_asked(search):
    low, high = np.array([-1.0, 0.0, -3.0]), np.array([1.0, 0.5, 3.0])
    seen = []

    def watched(x):
        seen.append(x.copy())
        return bowl(x)

    result = es.minimize(watched, bounds=(low, high), search=search, budget=300, seed=2)

    asked = np.array(seen)
    assert (asked >= low).all()
    assert (asked <= high).all()
    assert (result.x >= low).all()
    assert (result.x <= high).all()


def test_one_sided_bounds_hold():
    seen = []

    def watched(x):
        seen.append(x.copy())
        return bowl(x)

    es.minimize(watched, np.ones(3), bounds=(0.0, None), budget=300, seed=2)

    assert np.array(seen).min() >= 0.0


def test_the_target_ends_it():
    result = es.minimize(bowl, np.zeros(3), budget=5000, target=1e-3)

    assert result.stopped_by == "target"
    assert result.loss <= 1e-3
    assert result.evaluations < 2000


def test_points_without_a_value_are_counted_and_lost_alone():
    def holed(x):
        if x[0] > 0.25:
            raise ValueError("too far")
        return bowl(x)

    result = es.minimize(holed, np.zeros(3), budget=1500, seed=0)

    assert result.failures > 0
    assert "ValueError: too far" in result.first_failure
    assert result.x[0] <= 0.25
    assert result.loss == pytest.approx(0.0625, abs=0.01)


@pytest.mark.parametrize("value", [None, float("nan"), float("inf")])
def test_a_function_without_any_value_is_an_error_at_once(value):
    with pytest.raises(RunError, match="fun has no value at any of the first"):
        es.minimize(lambda x: value, np.zeros(3), budget=1000)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"x0": None}, "x0 is missing"),
        ({"x0": [[1.0, 2.0]]}, r"x0 has shape \(1, 2\)"),
        ({"x0": ["a"]}, "must be a list of numbers"),
        ({"x0": [np.nan]}, "finite numbers"),
        ({"bounds": (1.0, -1.0)}, "low is 1 and high is -1; low must be less than high"),
        ({"bounds": ([0, 0, 0], [1, -1, 1])}, "low of number 1 is 0 and high of number 1 is -1"),
        ({"bounds": 3.0}, r"must be a pair \(low, high\)"),
        ({"bounds": ([0.0, 0.0], None)}, r"low has shape \(2,\); it must be a number or \(3,\)"),
        ({"bounds": (1.0, 2.0)}, "x0 lies outside the bounds: its number 0 is 0"),
        ({"search": "cmae"}, "Did you mean 'cmaes'"),
        ({"search": "gp"}, "does not search spaces of kind 'vector'"),
        ({"populatoin": 10}, "Did you mean 'population'"),
        ({"budget": 0}, "budget is 0"),
        ({"sigma0": -1.0}, "sigma0 is -1.0"),
        ({"workers": 0}, "workers is 0"),
        ({"workers": 2, "is_batched": True}, "fun takes all points at once"),
        ({"fun": 3}, "must be callable"),
        ({"fun": lambda x: x}, "is_batched=True"),
        ({"fun": lambda x: "a"}, "must return one number"),
        ({"fun": lambda x: 1.0, "is_batched": True}, "it must return"),
    ],
)
def test_bad_input_is_one_sentence(arguments, words):
    given = {"fun": bowl, "x0": np.zeros(3), **arguments}

    with pytest.raises(InputError, match=words):
        es.minimize(**given)


def test_history_holds_losses_that_fall():
    result = es.minimize(bowl, np.zeros(3), budget=400)

    assert (np.diff(result.history["best"]) <= 0).all()
    assert result.history["evaluations"][-1] == result.evaluations
    assert len(result.history["median"]) == result.generations


@pytest.mark.parametrize("is_batched", [False, True])
def test_a_constrained_optimum_is_found_from_inside(is_batched):
    def far(x):
        return (x**2).sum(axis=-1)

    def at_least_one(x):
        return 1.0 - x[..., :1]

    result = es.minimize(
        far, np.full(4, 3.0), constraints=at_least_one, budget=4000, seed=1, is_batched=is_batched
    )

    assert result.x[0] >= 1.0
    assert result.loss == pytest.approx(1.0, abs=1e-3)
    assert result.loss == far(result.x)


def test_constraints_that_nothing_meets_leave_an_infinite_loss():
    result = es.minimize(bowl, np.zeros(3), constraints=lambda x: 1.0, budget=200)

    assert result.loss == np.inf
    assert result.x.shape == (3,)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"search": "snes"}, "constraints do not go with search 'snes'"),
        ({"target": 1.0}, "constraints do not go with a target"),
        (
            {"constraints": lambda x: x[:, 0], "is_batched": True, "fun": bowls},
            "one column a const",
        ),
    ],
)
def test_constraints_that_fit_nothing_are_refused(arguments, words):
    given = {"fun": bowl, "x0": np.zeros(3), "constraints": lambda x: x, **arguments}

    with pytest.raises(InputError, match=words):
        es.minimize(**given)
