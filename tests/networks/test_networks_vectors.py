"""Functions of rows in compiled code: their accuracy beside NumPy's in wider numbers."""

from __future__ import annotations

import numpy as np
import pytest

from evosearch.networks import kernels

FUNCTIONS = {
    kernels.TANH: np.tanh,
    kernels.RELU: lambda x: np.maximum(x, 0),
    kernels.SIGMOID: lambda x: 1 / (1 + np.exp(-x)),
    kernels.SOFTPLUS: lambda x: np.log1p(np.exp(-abs(x))) + np.maximum(x, 0),
}
SPREAD = np.concatenate([[0.0], np.geomspace(1e-6, 80, 600), -np.geomspace(1e-6, 80, 600)])


@pytest.mark.parametrize("code", FUNCTIONS)
def test_activations_are_accurate_to_a_few_units_in_the_last_place(code):
    rows = np.resize(SPREAD, 20 * 64).astype(np.float32)
    expected = FUNCTIONS[code](rows.astype(np.longdouble))
    kernels.activate(rows, 0, 20, code)
    error = np.abs(rows - expected) / np.spacing(np.maximum(np.abs(expected), 1e-30).astype("f4"))
    assert error.max() < 5


@pytest.mark.parametrize("code", FUNCTIONS)
def test_activations_keep_what_is_no_number(code):
    rows = np.full(64, np.nan)
    kernels.activate(rows, 0, 1, code)
    assert np.isnan(rows).all()


@pytest.mark.parametrize("n_out", range(1, 12))
@pytest.mark.parametrize("n_in", [1, 31, 32, 33, 100])
def test_products_are_those_of_numpy(n_out, n_in):
    rng = np.random.default_rng(0)
    w, x = rng.normal(size=(n_out, n_in)), rng.normal(size=(n_in, 64))
    bias = rng.normal(size=n_out)
    out = np.full((n_out + 2) * 64, 7.0)
    weights = np.concatenate([w.ravel(), bias])
    kernels.affine(out, 1, weights, 0, w.size, n_out, n_in, x.ravel(), 0)
    rows = out.reshape(-1, 64)
    np.testing.assert_allclose(rows[1:-1], w @ x + bias[:, None], rtol=1e-12, atol=1e-12)
    assert (rows[[0, -1]] == 7.0).all()
