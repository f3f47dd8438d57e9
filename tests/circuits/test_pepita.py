"""PEPITA against its formula, unit by unit."""

import math

import numpy as np
import pytest
from circuits_lives import SIZES, some_examples
from circuits_noise import born

from evosearch.circuits.base import forward_equivalents
from evosearch.circuits.pepita import Pepita

MATRIX_LIMIT = 0.1 * math.sqrt(6 / SIZES[0])


def matrix_of(middle):
    """Return F (n_in, classes), by which inputs moved with probability - target."""
    moved = middle.pres[0][0] - middle.posts[0][0]
    found, *_ = np.linalg.lstsq(middle.posts[-1][0] - middle.target[0], moved, rcond=None)
    return found.T


def test_errors_are_activities_of_a_second_pass_less_those_of_the_first():
    middle, _ = born(Pepita(), some_examples(), SIZES)
    matrix = matrix_of(middle)
    for example in range(5):
        error = middle.posts[-1][0, example] - middle.target[0, example]
        below = middle.posts[0][0, example] + matrix @ error
        for k in range(len(SIZES) - 2):
            np.testing.assert_allclose(middle.pres[k][0, example], below, rtol=0, atol=1e-12)
            weights = middle.weights[k][0]
            above = [math.tanh(sum(w * x for w, x in zip(row, below, strict=True)))
                     for row in weights]  # fmt: skip
            wanted = above - middle.posts[k + 1][0, example]
            np.testing.assert_allclose(middle.errors[k][0, example], wanted, rtol=0, atol=1e-12)
            below = np.array(above)
        np.testing.assert_allclose(middle.pres[-1][0, example], below, rtol=0, atol=1e-12)
        np.testing.assert_allclose(middle.errors[-1][0, example], -error, rtol=0, atol=1e-12)


def test_inputs_move_with_the_output_error_through_one_fixed_matrix():
    """Output errors sum to 0, so that the matrix is known up to its mean over classes."""
    middle, _ = born(Pepita(), some_examples(), SIZES)
    matrix = matrix_of(middle)
    moved = (middle.posts[-1][0] - middle.target[0]) @ matrix.T
    np.testing.assert_allclose(middle.pres[0][0] - middle.posts[0][0], moved, atol=1e-12)
    assert MATRIX_LIMIT / 2 < np.abs(matrix).max() < 2 * MATRIX_LIMIT


def test_no_hidden_layer_learns_where_the_matrix_is_zero():
    middle, _ = born(Pepita(scale=0.0), some_examples(), SIZES)
    for error in middle.errors[:-1]:
        assert not error.any()
    assert np.abs(middle.errors[-1]).max() > 0.1


def test_a_second_pass_ends_below_the_readout():
    """Of 64-64-10: all 4,736, hidden 4,096 again, errors to inputs 640, learning 4,736."""
    assert forward_equivalents(Pepita(), (64, 64, 10)) == pytest.approx(3)
