"""Node and weight perturbation and the forward gradient, against torch and plain NumPy."""

import numpy as np
import pytest
import torch
from circuits_lives import SIZES, some_examples
from circuits_noise import born, cosine, losses, repeated, updates_of

from evosearch.circuits.base import CIRCUITS, forward_equivalents
from evosearch.circuits.perturbation import ForwardGradient, NodePerturbation, WeightPerturbation

HIDDEN = range(len(SIZES) - 2)


def slopes_of_totals(middle):
    """Return torch's gradient of each example's loss by what hidden units receive, (B, n)."""
    weights = [torch.tensor(w[0]) for w in middle.weights]
    activity, totals = torch.tensor(middle.posts[0][0]), []
    for weight in weights[:-1]:
        totals.append((activity @ weight.T).requires_grad_())
        activity = torch.tanh(totals[-1])
        totals[-1].retain_grad()
    loss = torch.nn.functional.cross_entropy(
        activity @ weights[-1].T, torch.tensor(middle.target[0]), reduction="sum"
    )
    return [g.numpy() for g in torch.autograd.grad(loss, totals)]


def descent(middle):
    """Return minus the gradient of the mean loss by the hidden weights."""
    pres = [post[0] for post in middle.posts]
    n = len(pres[0])
    return [-g.T @ p / n for g, p in zip(slopes_of_totals(middle), pres, strict=False)]


def test_forward_gradients_are_the_slope_along_the_noise_times_the_noise():
    middle, noise = born(ForwardGradient(), some_examples(), SIZES)
    gradient = slopes_of_totals(middle)
    slope = sum((g * z[0]).sum(axis=1) for g, z in zip(gradient, noise, strict=True))
    for k in HIDDEN:
        np.testing.assert_allclose(
            middle.errors[k][0], -slope[:, None] * noise[k][0], rtol=0, atol=1e-12
        )


def test_node_perturbation_is_the_loss_difference_times_the_noise_over_sigma():
    middle, noise = born(NodePerturbation(sigma=0.1), some_examples(), SIZES)
    weights, shown = [w[0] for w in middle.weights], (middle.posts[0][0], middle.target[0])
    noisy = losses(weights, *shown, [lambda h, z=z: 0.1 * z[0] for z in noise])
    clean = losses(weights, *shown, [lambda h: 0.0] * 3)
    for k in HIDDEN:
        wanted = -(noisy - clean)[:, None] * noise[k][0] / 0.1
        np.testing.assert_allclose(middle.errors[k][0], wanted, rtol=0, atol=1e-12)
        np.testing.assert_array_equal(middle.pres[k], middle.posts[k])


def test_weight_perturbation_is_the_loss_difference_times_each_synapses_noise():
    """The noise written out: a matrix of signs for each example, and a column for its biases."""
    middle, drawn = born(WeightPerturbation(sigma=0.05), some_examples(), SIZES)
    signs = [np.where(uniform[0] > 0.5, -1.0, 1.0) for uniform in drawn]
    below, above = signs[::2], signs[1::2]
    matrices = [np.einsum("bo,bi->boi", u, v) for u, v in zip(above, below, strict=True)]
    weights, shown = [w[0] for w in middle.weights], (middle.posts[0][0], middle.target[0])
    changes = [lambda h, m=m, u=u: 0.05 * (np.einsum("boi,bi->bo", m, h) + u)
               for m, u in zip(matrices, above, strict=True)]  # fmt: skip
    gain = losses(weights, *shown, [lambda h: 0.0] * 3) - losses(weights, *shown, changes)
    for k, ours in enumerate(updates_of(middle)[:-1]):
        wanted = (gain[:, None, None] * matrices[k] / 0.05).mean(axis=0)
        np.testing.assert_allclose(ours, wanted, rtol=0, atol=1e-12)
        bias = (gain[:, None] * above[k] / 0.05).mean(axis=0)
        np.testing.assert_allclose(middle.errors[k][0].mean(axis=0), bias, rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("circuit", "least"),
    [(NodePerturbation(), 0.99), (ForwardGradient(), 0.99), (WeightPerturbation(), 0.99)],
)
def test_the_mean_update_over_noise_is_the_negative_gradient(circuit, least):
    middle, _ = born(circuit, repeated(20_000, SIZES), SIZES)
    wanted, ours = descent(middle), updates_of(middle)[:-1]
    for one, other in zip(ours, wanted, strict=True):
        assert cosine([one], [other]) > least
    scale = cosine(ours, wanted) * np.sqrt(
        sum((o**2).sum() for o in ours) / sum((w**2).sum() for w in wanted)
    )
    assert scale == pytest.approx(1.0, abs=0.03)


def test_signs_of_weight_perturbation_are_fair_and_of_no_two_synapses_alike():
    _, drawn = born(WeightPerturbation(), repeated(20_000, SIZES), SIZES)
    below, above = (np.where(uniform[0] > 0.5, -1.0, 1.0) for uniform in drawn[:2])
    noise = np.einsum("bo,bi->boi", above, np.c_[below, np.ones(len(below))]).reshape(20_000, -1)
    assert np.abs(noise.mean(axis=0)).max() < 5 / np.sqrt(20_000)
    together = noise.T @ noise / 20_000
    assert np.abs(together - np.eye(len(together))).max() < 5 / np.sqrt(20_000)


def test_the_readout_learns_from_its_own_error():
    for name in ("np", "wp", "forward-gradient"):
        middle, _ = born(CIRCUITS.get(name)(), some_examples(), SIZES)
        np.testing.assert_array_equal(middle.errors[-1], middle.target - middle.posts[-1])
        np.testing.assert_array_equal(middle.pres[-1], middle.posts[-2])


def test_a_second_pass_starts_from_what_the_first_layer_receives():
    """Of 64-64-10: all 4,736, the upper 640, learning 4,736; wp adds 64 for its noise."""
    cost = {name: forward_equivalents(CIRCUITS.get(name)(), (64, 64, 10))
            for name in ("np", "forward-gradient", "wp")}  # fmt: skip
    assert cost["np"] == cost["forward-gradient"] == pytest.approx(2 + 640 / 4736)
    assert cost["wp"] == pytest.approx(2 + (640 + 64) / 4736)
