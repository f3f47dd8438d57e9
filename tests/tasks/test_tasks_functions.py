"""Test functions and bbob: values against formulas and peers, optima, independence of blocks."""

from __future__ import annotations

import importlib.util
import math
import sys

import numpy as np
import pytest
from pydantic import ValidationError

from evosearch.errors import InputError
from evosearch.functions import FUNCTIONS, Instance, random_rotation
from evosearch.tasks.bbob import BbobSettings, BbobTask
from evosearch.tasks.function import FunctionSettings, FunctionTask

HAS_COCO = importlib.util.find_spec("cocoex") is not None
needs_coco = pytest.mark.skipif(not HAS_COCO, reason="needs coco-experiment")
KEYS = [(0,), (1,)]


def task(seed=0, **settings):
    return FunctionTask(FunctionSettings(**settings), seed=seed)


def written_out(name, z):
    """Return a function's value at z by its sum, one number at a time."""
    d = len(z)
    ramp = [i / max(1, d - 1) for i in range(d)]
    y = [number + 1.0 for number in z]
    return {
        "sphere": lambda: sum(v**2 for v in z),
        "ellipsoid": lambda: sum(10 ** (6 * r) * v**2 for r, v in zip(ramp, z, strict=True)),
        "discus": lambda: 1e6 * z[0] ** 2 + sum(v**2 for v in z[1:]),
        "cigar": lambda: z[0] ** 2 + 1e6 * sum(v**2 for v in z[1:]),
        "sharp_ridge": lambda: z[0] ** 2 + 100 * math.sqrt(sum(v**2 for v in z[1:])),
        "different_powers": lambda: math.sqrt(
            sum(abs(v) ** (2 + 4 * r) for r, v in zip(ramp, z, strict=True))
        ),
        "schwefel_1_2": lambda: sum(sum(z[: i + 1]) ** 2 for i in range(d)),
        "step_ellipsoid": lambda: sum(
            10 ** (2 * r) * math.floor(v + 0.5) ** 2 for r, v in zip(ramp, z, strict=True)
        ),
        "rosenbrock": lambda: sum(
            100 * (y[i + 1] - y[i] ** 2) ** 2 + (y[i] - 1) ** 2 for i in range(d - 1)
        ),
        "rastrigin": lambda: sum(v**2 + 10 - 10 * math.cos(2 * math.pi * v) for v in z),
        "ackley": lambda: (
            20
            + math.e
            - 20 * math.exp(-0.2 * math.sqrt(sum(v**2 for v in z) / d))
            - math.exp(sum(math.cos(2 * math.pi * v) for v in z) / d)
        ),
        "griewank": lambda: (
            1
            + sum(v**2 for v in z) / 4000
            - math.prod(math.cos(v / math.sqrt(i + 1)) for i, v in enumerate(z))
        ),
    }[name]()


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("dimension", [1, 2, 7])
def test_values_are_those_of_the_written_out_sums(name, dimension):
    if name == "rosenbrock" and dimension == 1:
        pytest.skip("needs two numbers")
    z = np.random.default_rng(3).uniform(-5.0, 5.0, (20, dimension))

    expected = [written_out(name, row.tolist()) for row in z]
    np.testing.assert_allclose(FUNCTIONS[name](z), expected, rtol=1e-12)


@pytest.mark.parametrize(
    ("name", "peer"),
    [
        ("sphere", "sphere"),
        ("ellipsoid", "elli"),
        ("discus", "tablet"),
        ("cigar", "cigar"),
        ("rastrigin", "rastrigin"),
    ],
)
def test_values_are_those_of_pycma(name, peer):
    import cma

    z = np.random.default_rng(3).uniform(-5.0, 5.0, (20, 6))

    expected = [getattr(cma.ff, peer)(row) for row in z]
    np.testing.assert_allclose(FUNCTIONS[name](z), expected, rtol=1e-10)


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("is_rotated", [True, False])
def test_the_optimum_has_fitness_zero_and_every_other_point_less(name, is_rotated):
    found = task(name=name, dimension=5, is_rotated=is_rotated)
    optimum = found.baseline("optimum")
    steps = np.random.default_rng(1).normal(0.0, 2.0, (200, 5))
    others = found.score(optimum + steps, KEYS, "search").per_draw

    np.testing.assert_allclose(found.score(optimum[None], KEYS, "search").per_draw, 0.0, atol=1e-12)
    assert others.shape == (200, 2)
    assert (others <= 0.0).all()
    assert (others[:, 0] == others[:, 1]).all()
    far = np.abs(steps).max(axis=1) > 2.0
    assert (others[far] < 0.0).all()


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("dimension", [2, 3, 10, 40, 300])
def test_a_value_depends_on_its_point_alone(name, dimension):
    function = Instance(name, dimension, instance=2)
    points = np.random.default_rng(0).uniform(-5.0, 5.0, (33, dimension))
    together = function(points)

    np.testing.assert_array_equal(together[:1], function(points[:1]))
    np.testing.assert_array_equal(together[5:12], function(points[5:12]))
    np.testing.assert_array_equal(together[::-1], function(np.ascontiguousarray(points[::-1])))


@pytest.mark.parametrize("dimension", [1, 2, 9, 60])
def test_rotations_are_orthogonal_and_of_either_determinant(dimension):
    drawn = [random_rotation(np.random.default_rng(seed), dimension) for seed in range(12)]

    for rotation in drawn:
        np.testing.assert_allclose(rotation @ rotation.T, np.eye(dimension), atol=1e-13)
    assert {round(float(np.linalg.det(rotation))) for rotation in drawn} == {-1, 1}


def test_rotations_are_uniform():
    """Under Haar's measure each entry has mean 0 and variance 1/d, a trace variance 1."""
    d, n = 4, 4000
    drawn = np.array([random_rotation(np.random.default_rng([9, k]), d) for k in range(n)])

    np.testing.assert_allclose(drawn.mean(axis=0), 0.0, atol=5 * math.sqrt(1 / d / n))
    np.testing.assert_allclose((drawn**2).mean(axis=0), 1 / d, atol=0.025)
    assert np.trace(drawn, axis1=1, axis2=2).var() == pytest.approx(1.0, abs=0.12)


def test_instances_differ_and_repeat():
    points = np.zeros((1, 6))
    values = [float(Instance("ellipsoid", 6, instance=k)(points)[0]) for k in (1, 2, 3)]

    assert len(set(values)) == 3
    assert values[0] == float(Instance("ellipsoid", 6, instance=1)(points)[0])
    moved = Instance("sphere", 6, instance=1, shift=(2.0, 3.0)).optimum
    assert ((moved >= 2.0) & (moved <= 3.0)).all()


def test_starts_follow_the_seed_and_lie_in_the_range_of_the_optimum():
    domain = task(seed=4, dimension=8, shift=(1.0, 2.0), bounds=(0.0, 3.0)).domain()

    assert ((domain.x0 >= 1.0) & (domain.x0 <= 2.0)).all()
    assert (domain.low, domain.high, domain.sigma0) == (0.0, 3.0, 2.0)
    again = task(seed=4, dimension=8, shift=(1.0, 2.0)).baseline("start")
    np.testing.assert_array_equal(domain.x0, again)
    assert (domain.x0 != task(seed=5, dimension=8, shift=(1.0, 2.0)).domain().x0).all()


def test_a_population_of_low_rank_is_scored_as_its_points():
    from evosearch.populations import LowRank

    rng = np.random.default_rng(2)
    left = rng.standard_normal((3, 1, 5), dtype=np.float32)
    population = LowRank(np.zeros(5), 0.1, ((5,),), (left,), (None,))
    found = task(dimension=5)

    np.testing.assert_array_equal(
        found.score(population, KEYS, "search").per_draw,
        found.score(population.dense(), KEYS, "search").per_draw,
    )


def test_points_that_are_not_finite_have_no_fitness_and_warn_of_nothing():
    points = np.zeros((3, 10))
    points[0, 3], points[1, 0] = np.nan, np.inf
    per_draw = task().score(points, KEYS, "search").per_draw

    assert not np.isfinite(per_draw[:2]).any()
    assert np.isfinite(per_draw[2]).all()


def test_points_of_another_dimension_are_refused():
    with pytest.raises(InputError, match=r"points have shape \(2, 9\); they must be \(n, 10\)"):
        task().score(np.zeros((2, 9)), KEYS, "search")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"dimension": 1}, "rosenbrock needs a dimension of 2"),
        ({"dimension": 5000}, "set is_rotated = false"),
        ({"shift": (2.0, 1.0)}, r"shift \[2.0, 1.0\] is no range of rising numbers"),
        ({"bounds": (0.0, math.inf)}, "finite number"),
        ({"bounds": (-1.0, 1.0)}, "leaves the bounds"),
        ({"name": "spere"}, "Input should be 'ackley'"),
    ],
)
def test_settings_that_do_not_fit_are_refused(settings, message):
    with pytest.raises(ValidationError, match=message):
        FunctionSettings(**settings)


def test_the_names_of_the_setting_are_those_of_the_functions():
    (names,) = (FunctionSettings.model_json_schema()["properties"]["name"]["enum"],)

    assert names == list(FUNCTIONS)


def bbob(**settings):
    return BbobTask(BbobSettings(**settings), seed=0)


@needs_coco
@pytest.mark.parametrize("function", range(1, 25))
@pytest.mark.parametrize("dimension", [2, 20])
def test_bbob_is_zero_at_its_optimum_and_less_elsewhere(function, dimension):
    found = bbob(function=function, dimension=dimension, instance=3)
    points = np.vstack([found.baseline("optimum"), np.linspace(-4.0, 4.0, dimension)])
    per_draw = found.score(points, KEYS, "search").per_draw

    assert per_draw[0] == pytest.approx([0.0, 0.0], abs=1e-9)
    assert (per_draw[1] < -1e-3).all()
    assert found.baseline("start").tolist() == [0.0] * dimension


@needs_coco
@pytest.mark.parametrize("function", range(1, 25))
def test_bbob_values_are_those_of_another_implementation(function):
    from cma import bbobbenchmarks

    peer, f_opt = bbobbenchmarks.instantiate(function, 2)
    points = np.random.default_rng(function).uniform(-5.0, 5.0, (10, 5))
    per_draw = bbob(function=function, dimension=5, instance=2).score(points, KEYS, "test").per_draw

    expected = [float(peer(row)) - f_opt for row in points]
    np.testing.assert_allclose(-per_draw[:, 0], expected, rtol=1e-6)


def test_bbob_without_coco_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "cocoex", None)
    found = bbob()
    assert len(found.domain().x0) == 10
    with pytest.raises(InputError, match=r"pip install 'evosearch\[bench\]'"):
        found.prepare()
