"""Circuits against torch's gradient, and against what their papers say of their feedback."""

from functools import partial

import numpy as np
import pytest
import torch
from circuits_lives import SIZES, TorchNetwork, probed

from evosearch.learners.circuit import cosines_to_gradient

UPDATES = 10  # probed at the fifth, before its update: after four


@pytest.mark.parametrize(
    ("steps", "rate", "optimizer"),
    [
        ("none", 0.2, partial(torch.optim.SGD, lr=0.2)),
        ("momentum", 0.05, partial(torch.optim.SGD, lr=0.05, momentum=0.9)),
        ("adam", 0.01, partial(torch.optim.Adam, lr=0.01)),
    ],
)
def test_error_times_pre_under_backpropagation_is_what_torch_does(steps, rate, optimizer):
    settings = {"steps": steps, "rate": rate}
    start, end = (probed("bp", updates=n, **settings) for n in (2, UPDATES))
    for draw in range(2):
        network = TorchNetwork([w[draw] for w in start.weights])
        for ours, theirs in zip(end.weights, network.learn(optimizer, 4), strict=True):
            np.testing.assert_allclose(ours[draw], theirs, rtol=0, atol=1e-9)


def test_in_single_precision_a_step_agrees_with_torch_to_a_part_in_a_million():
    start, end = (probed("bp", updates=n, dtype="float32") for n in (2, 4))
    network = TorchNetwork([w[0] for w in start.weights])
    after = network.learn(partial(torch.optim.SGD, lr=0.2), 1)
    for ours, theirs in zip(end.weights, after, strict=True):
        np.testing.assert_allclose(ours[0], theirs, rtol=0, atol=1e-6)


def test_the_readout_alone_learns_in_the_shallow_control():
    start, end = (probed("shallow", updates=n) for n in (2, UPDATES))
    changed = [not np.array_equal(a, b) for a, b in zip(start.weights, end.weights, strict=True)]
    assert changed == [False] * (len(SIZES) - 2) + [True]


def feedback_of(middle, layer, source):
    """Solve error / tanh' = source @ B for B and return it with the greatest residual (D,)."""
    signal = middle.errors[layer] / (1.0 - middle.posts[layer + 1] ** 2)
    pairs = [np.linalg.lstsq(s, e, rcond=None)[0] for s, e in zip(source, signal, strict=True)]
    found = np.stack(pairs)
    return found, np.abs(np.einsum("dbk,dkn->dbn", source, found) - signal).max(axis=(1, 2))


@pytest.mark.parametrize("circuit", ["fa", "kolen-pollack", "bp", "sign-symmetric"])
def test_errors_pass_layer_by_layer_through_one_linear_map(circuit):
    middle = probed(circuit, updates=UPDATES)
    for layer in range(len(SIZES) - 2):
        _, residual = feedback_of(middle, layer, middle.errors[layer + 1])
        assert (residual < 1e-10).all()


def test_direct_feedback_is_one_fixed_map_of_the_output_error_for_each_layer():
    early, late = (probed("dfa", updates=n) for n in (2, UPDATES))
    for layer in range(len(SIZES) - 2):
        (first, residual), (last, _) = (feedback_of(p, layer, p.errors[-1]) for p in (early, late))
        assert (residual < 1e-10).all()
        np.testing.assert_allclose(first, last, atol=1e-8)
        # Output errors sum to 0, so that the map is known up to its mean over outputs.
        assert np.abs(first).max() <= 2 / np.sqrt(SIZES[-1])


def test_feedback_alignment_keeps_its_matrices_while_the_weights_change():
    early, late = (probed("fa", updates=n) for n in (2, UPDATES))
    (first, _), (last, _) = (feedback_of(p, 0, p.errors[1]) for p in (early, late))
    np.testing.assert_allclose(first, last, atol=1e-8)
    assert np.abs(early.weights[1] - late.weights[1]).max() > 1e-3


def test_sign_symmetric_feedback_is_the_sign_of_the_weights_as_they_are():
    middle = probed("sign-symmetric", updates=UPDATES)
    for layer in range(len(SIZES) - 2):
        signs = np.sign(middle.weights[layer + 1]) / np.sqrt(SIZES[layer + 1])
        wanted = np.einsum("dbo,doi->dbi", middle.errors[layer + 1], signs)
        wanted *= 1.0 - middle.posts[layer + 1] ** 2
        np.testing.assert_allclose(middle.errors[layer], wanted, atol=1e-12)


@pytest.mark.parametrize("steps", ["none", "adam"])
def test_kolen_pollack_feedback_nears_the_weights_by_a_thousandth_a_step(steps):
    early, late = (probed("kolen-pollack", updates=n, steps=steps) for n in (2, UPDATES))
    (first, _), (last, _) = (feedback_of(p, 0, p.errors[1]) for p in (early, late))
    wanted = 0.999**4 * (first - early.weights[1])
    np.testing.assert_allclose(last - late.weights[1], wanted, atol=1e-8)


def test_the_cosine_to_the_gradient_is_1_for_backpropagation_and_less_for_random_feedback():
    np.testing.assert_allclose(cosines_to_gradient(probed("bp")), 1.0, atol=1e-12)
    cosines = cosines_to_gradient(probed("fa"))
    np.testing.assert_allclose(cosines[:, -1], 1.0, atol=1e-12)
    assert (cosines[:, 0] < 0.99).all()
