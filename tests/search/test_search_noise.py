"""Perturbations drawn from seeds: known answers, distribution, and that blocks do not count."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from scipy import stats

from evosearch.driver import drive
from evosearch.search import noise as noise_module
from evosearch.search.base import SEARCHES
from evosearch.search.noise import Noise, NoiseSettings
from evosearch.search.noise_kernels import threefry
from evosearch.spaces import VectorSpace

# Counter, key and words of Threefry-4x32 of 13 rounds, of Random123's known answer tests.
KNOWN = [
    ([0] * 4, [0] * 4, [0x531C7E4F, 0x39491EE5, 0x2C855A92, 0x3D6ABF9A]),
    ([0xFFFFFFFF] * 4, [0xFFFFFFFF] * 4, [0xC4189358, 0x1C9CC83A, 0xD5881C67, 0x6A0A89E0]),
    (
        [0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344],
        [0xA4093822, 0x299F31D0, 0x082EFA98, 0xEC4E6C89],
        [0x4AA71D8F, 0x734738C2, 0x431FC6A8, 0xAE6DEBF1],
    ),
]
DOUBLE = NoiseSettings(precision="float64")


def make(d, n, settings=DOUBLE, seed=5, **options):
    made = Noise(d, n, settings, **options)
    made.draw(seed)
    return made


def rows(made, d, sigma=1.0, mean=0.0):
    return np.concatenate([block.copy() for block in made.blocks(np.full(d, mean), sigma)])


@pytest.mark.parametrize(("counter", "key", "words"), KNOWN)
def test_words_are_those_of_threefry(counter, key, words):
    found = threefry(*(np.uint32(word) for word in (*counter, *key)))

    assert [int(word) for word in found] == words


def test_numbers_are_standard_normal():
    numbers = rows(make(100_001, 20), 100_001).ravel()
    n = len(numbers)

    assert stats.kstest(numbers, "norm").pvalue > 1e-3
    assert abs(numbers.mean()) < 4 / np.sqrt(n)
    assert abs(numbers.var() - 1) < 4 * np.sqrt(2 / n)
    assert abs((numbers**3).mean()) < 4 * np.sqrt(15 / n)
    assert abs((numbers**4).mean() - 3) < 4 * np.sqrt(96 / n)
    # Two-sided tail probabilities of 4 and 5 standard deviations.
    for limit, share in ((4.0, 6.334e-5), (5.0, 5.733e-7)):
        expected = n * share
        assert abs((abs(numbers) > limit).sum() - expected) < 5 * np.sqrt(expected) + 1


def test_rows_places_and_seeds_are_independent():
    z = rows(make(8192, 32), 8192)
    other = rows(make(8192, 32, seed=6), 8192)
    n = z.size
    pairs = {
        "rows": (z[:-1], z[1:]),
        "neighbours": (z[:, :-1], z[:, 1:]),
        "quarters of a tile": (z[:, :512], z[:, 512:1024]),
        "tiles": (z[:, :2048], z[:, 2048:4096]),
        "seeds": (z, other),
    }
    for name, (a, b) in pairs.items():
        assert abs((a * b).mean()) < 4.5 / np.sqrt(a.size), name
        assert abs((a**2 * b**2).mean() - 1) < 4.5 * np.sqrt(8 / a.size), name
    assert len(np.unique(z)) > 0.99 * n


def test_signs_are_fair():
    z = rows(make(10_000, 8, kind="signs"), 10_000)

    assert set(np.unique(z)) == {-1.0, 1.0}
    assert abs(z.mean()) < 4 / np.sqrt(z.size)
    assert abs((z[:-1] * z[1:]).mean()) < 4 / np.sqrt(z[1:].size)


@pytest.mark.parametrize("d", [1, 2, 5, 2048, 2049, 5000])
@pytest.mark.parametrize("options", [{}, {"is_kept": True}, {"has_table": True}])
def test_sums_are_those_of_the_rows_that_were_asked(d, options):
    made = make(d, 13, **options)
    z = rows(made, d)
    rng = np.random.default_rng(0)
    weights, others = rng.standard_normal((2, 13))
    weights[3] = others[4] = 0.0

    total, squares = made.weighted_with_squares(weights, others)

    np.testing.assert_allclose(total, weights @ z, rtol=1e-12, atol=1e-13)
    np.testing.assert_allclose(squares, others @ z**2, rtol=1e-12, atol=1e-13)
    np.testing.assert_array_equal(made.weighted(weights), total)


def test_kept_rows_are_those_that_are_drawn_again():
    np.testing.assert_array_equal(
        rows(make(3000, 9), 3000), rows(make(3000, 9, is_kept=True), 3000)
    )


@pytest.mark.parametrize("precision", ["float32", "float64"])
@pytest.mark.parametrize("is_mirrored", [False, True])
def test_blocks_of_any_size_hold_the_same_points(monkeypatch, precision, is_mirrored):
    settings, d = NoiseSettings(precision=precision), 700
    sigma = np.linspace(0.1, 2.0, d)
    found = []
    for largest in (2, 8, 64):
        monkeypatch.setattr(noise_module, "_LARGEST_BLOCK", largest)
        made = make(d, 21, settings, is_mirrored=is_mirrored)
        found.append(rows(made, d, sigma, mean=3.0))

    assert found[0].shape == (42 if is_mirrored else 21, d)
    assert found[0].dtype == precision
    for other in found[1:]:
        np.testing.assert_array_equal(found[0], other)


def test_a_mirrored_row_is_followed_by_its_image():
    points = rows(make(50, 4, is_mirrored=True), 50, 0.5, mean=2.0)

    np.testing.assert_allclose(points[0::2] + points[1::2], 4.0, rtol=1e-15)
    np.testing.assert_allclose(points[0::2], 2.0 + 0.5 * rows(make(50, 4), 50), rtol=1e-15)


def test_points_are_single_precision_from_the_stated_dimension_on():
    types = [make(d, 2, NoiseSettings())._dtype for d in (4095, 4096)]

    assert types == [np.float64, np.float32]


@pytest.mark.parametrize("name", ["openai-es", "snes", "pgpe", "ars", "cem"])
def test_single_precision_points_stay_inside_the_bounds(name):
    d, low, high = 40, 0.1, 0.7  # neither is a float32
    space = VectorSpace(d, low=low, high=high, x0=0.3, sigma0=0.5)
    search = SEARCHES.get(name)(space, population=12, precision="float32")
    seen = []

    def score(points):
        seen.append(points.copy())
        return points.sum(axis=1)

    drive(search, score, budget=60)

    assert seen[0].dtype == np.float32
    points = np.concatenate(seen).astype(np.float64)
    assert low <= points.min() < low + 1e-7
    assert high - 1e-7 < points.max() <= high


@pytest.mark.parametrize(
    ("name", "population", "limit_mb"),
    [("spsa", 2, 12), ("openai-es", 2000, 70), ("snes", 2000, 30)],
)
def test_memory_does_not_grow_with_the_population(name, population, limit_mb):
    d = 200_000  # 1.6 MB of float64; the population of 2,000 would be 1.6 GB of float32
    settings = {"noise": "drawn"} if name == "openai-es" else {}
    make_small = SEARCHES.get(name)(VectorSpace(10), population=4)
    drive(make_small, lambda points: points[:, 0], budget=8)
    tracemalloc.start()
    try:
        search = SEARCHES.get(name)(VectorSpace(d), population=population, **settings)
        for block in search.ask_blocks():
            if len(block) == 0:
                raise AssertionError
            break
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()

    assert peak < limit_mb * 2**20
