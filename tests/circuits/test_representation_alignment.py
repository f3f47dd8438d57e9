"""Local representation alignment against its equations, and its limit against the gradient."""

import numpy as np
import pytest
from circuits_lives import SIZES
from circuits_recorded import born_weights, gradient_errors, state

from evosearch.circuits.representation_alignment import (
    LocalRepresentationAlignment,
    RecursiveAlignment,
)

DEEP = (5, 6, 7, 8, 6, 7, 3)
HEARD = {1: [6] * 5, 2: [2, 6, 4, 6, 6], 3: [2, 3, 6, 5, 6]}
"""By skip: which layer each hidden one hears, both by number from 1."""


def cosine(a, b):
    return (a * b).sum() / np.sqrt((a * a).sum() * (b * b).sum())


@pytest.mark.parametrize("beta", [1e-4, 1e-2])
def test_with_transposed_weights_and_small_steps_it_is_backpropagation(beta):
    weights = born_weights()
    circuit = LocalRepresentationAlignment(beta=beta)
    found = state(circuit, births={"error synapses": weights[1:]})
    posts = [found[f"post {k}"] for k in range(len(SIZES))]
    last = len(SIZES) - 2
    for k, wanted in enumerate(gradient_errors(weights, posts, found[f"error {last}"])):
        ours = found[f"error {k}"] / beta ** (last - k)
        updates = [np.einsum("dbo,dbi->doi", e, posts[k]) for e in (ours, wanted)]
        assert cosine(*updates) > 0.9999
        ratio = np.linalg.norm(updates[0]) / np.linalg.norm(updates[1])
        assert abs(ratio - 1.0) < beta


def test_errors_are_targets_near_the_activity_less_the_activity():
    found, before = state("lra", 6), state("lra", 5)
    for k, matrix in enumerate(before.each("error synapses")):
        total = np.arctanh(found[f"post {k + 1}"])
        drive = np.einsum("dbo,doi->dbi", found[f"error {k + 1}"], matrix)
        wanted = np.tanh(total + 0.1 * drive) - found[f"post {k + 1}"]
        np.testing.assert_allclose(found[f"error {k}"], wanted, atol=1e-10)


def mean_products(above, below):
    """Return the mean over examples of above_j below_i, by plain loops, (D, n_above, n_below)."""
    total = np.zeros((len(above), above.shape[2], below.shape[2]))
    for draw in range(len(above)):
        for example in range(above.shape[1]):
            for j, e in enumerate(above[draw, example]):
                total[draw, j] += e * below[draw, example]
    return total / above.shape[1]


def test_error_synapses_learn_as_the_weights_beside_them():
    before, after = (state("lra", n) for n in (5, 6))
    pairs = zip(before.each("error synapses"), after.each("error synapses"), strict=True)
    for k, (old, new) in enumerate(pairs):
        product = mean_products(after[f"error {k + 1}"], after[f"post {k + 1}"])
        np.testing.assert_allclose(new - old, 0.01 * product, atol=1e-12)
        site = after.sites[f"weights {k + 1}"]
        np.testing.assert_allclose((site["after"] - site["w"]) / 0.2, product, atol=1e-12)


@pytest.mark.parametrize("skip", HEARD)
def test_errors_skip_to_every_second_layer_and_shrink_the_synapses_that_carry_them(skip):
    circuit = RecursiveAlignment(skip=skip)
    before, after = (state(circuit, n, sizes=DEEP) for n in (3, 4))
    pairs = zip(before.each("error synapses"), after.each("error synapses"), strict=True)
    for k, (old, new) in enumerate(pairs):
        heard = after[f"error {HEARD[skip][k] - 1}"]
        drive = np.einsum("dbo,doi->dbi", heard, old)
        total = np.arctanh(after[f"post {k + 1}"])
        wanted = np.tanh(total + 0.1 * drive) - after[f"post {k + 1}"]
        np.testing.assert_allclose(after[f"error {k}"], wanted, atol=1e-10)
        np.testing.assert_allclose(new - old, -0.01 * mean_products(heard, drive), atol=1e-12)


def test_skips_send_less_than_a_layer_by_layer_way_back():
    sizes = (64, *[64] * 6, 10)
    assert LocalRepresentationAlignment().products(sizes) == 2 * (5 * 4096 + 640)
    assert RecursiveAlignment().products(sizes) == 2 * (3 * 4096 + 3 * 640)
