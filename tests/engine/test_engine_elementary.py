"""The engine's own elementary functions against extended precision, and their special values."""

import numpy as np
import pytest
from numba import njit

from evosearch.engine import elementary, philox


def _longdouble_softplus(x):
    return np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x)))


TRUTH = {
    "exp": (np.exp, -87.0, 88.0),
    "log": (lambda x: np.log(np.abs(x)), -1e4, 1e4),
    "tanh": (np.tanh, -12.0, 12.0),
    "sigmoid": (lambda x: 1 / (1 + np.exp(-x)), -80.0, 80.0),
    "sin": (np.sin, -1e5, 1e5),
    "softplus": (_longdouble_softplus, -80.0, 80.0),
}
SPECIAL = np.array([0.0, -0.0, np.inf, -np.inf, np.nan])
SPECIAL_VALUES = {
    "exp": [1, 1, np.inf, 0, np.nan],
    "log": [0, 0, np.inf, np.inf, np.nan],
    "tanh": [0, 0, 1, -1, np.nan],
    "sigmoid": [0.5, 0.5, 1, 0, np.nan],
    "sin": [0, 0, 0, 0, np.nan],
    "softplus": [np.log(2), np.log(2), np.inf, 0, np.nan],
}


def compiled(function):
    @njit(error_model="numpy")
    def run(x, out):
        for i in range(x.size):
            out[i] = function(x[i])

    return run


KERNELS = {name: compiled(getattr(elementary, name)) for name in TRUTH}


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", sorted(TRUTH))
def test_at_most_four_units_in_the_last_place(name, dtype):
    truth, low, high = TRUTH[name]
    rng = np.random.default_rng(0)
    x = rng.uniform(low, high, 200_000)
    x[::3] *= 1e-3
    x[::5] *= 1e-4
    x = x.astype(dtype)
    out = np.empty_like(x)
    KERNELS[name](x, out)
    wanted = truth(x.astype(np.longdouble))
    spacing = np.spacing(np.abs(wanted.astype(dtype))).astype(np.longdouble)
    assert float(np.max(np.abs(out.astype(np.longdouble) - wanted) / spacing)) <= 4.0


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", sorted(TRUTH))
def test_special_values_are_as_tabulated(name, dtype):
    x = SPECIAL.astype(dtype)
    out = np.empty_like(x)
    KERNELS[name](x, out)
    np.testing.assert_allclose(out, np.array(SPECIAL_VALUES[name], dtype), rtol=1e-6)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_result_of_one_value_does_not_depend_on_its_neighbours(dtype):
    x = np.linspace(-20, 20, 1001).astype(dtype)
    for run in KERNELS.values():
        together, alone = np.empty_like(x), np.empty_like(x)
        run(x, together)
        for i in range(x.size):
            run(x[i : i + 1], alone[i : i + 1])
        assert together.tobytes() == alone.tobytes()


@pytest.mark.parametrize(
    ("counter", "key", "wanted"),
    [
        ((0, 0, 0, 0), (0, 0), (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
        (
            (0xFFFFFFFF,) * 4,
            (0xFFFFFFFF,) * 2,
            (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD),
        ),
        (
            (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
            (0xA4093822, 0x299F31D0),
            (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
        ),
    ],
)
def test_philox_gives_the_known_answers_of_its_authors(counter, key, wanted):
    words = philox.philox(*(np.uint64(word) for word in (*counter, *key)))
    assert tuple(int(word) for word in words) == wanted


def test_philox_normals_have_the_moments_of_a_standard_normal():
    keys = np.arange(400, dtype=np.uint32).reshape(200, 2)
    numbers = np.empty((200, 1, 500))
    philox.fill(keys, 3, 1, True, numbers)
    assert abs(numbers.mean()) < 0.015
    assert abs(numbers.std() - 1) < 0.015
    assert len(np.unique(numbers)) == numbers.size
