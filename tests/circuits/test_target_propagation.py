"""Difference target propagation against its equations, and against the gradient."""

import numpy as np
import pytest
from circuits_lives import SIZES
from circuits_recorded import born_weights, gradient_errors, state

from evosearch.circuits.target_propagation import DifferenceTargetPropagation

SQUARE = (6, 6, 6, 6, 3)


def errors_by_targets(forward, posts, error, inverses, nudge, slope):
    """Return the errors of all layers by Lee et al. 2015, equations 8 and 15.

    Args:
        forward: weights of the readout (D, n_out, n_in).
        posts: activities of the hidden layers, from the bottom.
        error: of the output.
        inverses: functions from the activity of a hidden layer to that of the layer below it, for
            all hidden layers but the first.
        nudge: size of the step down the loss.
        slope: derivative of a unit by its activity.
    """
    targets = [posts[-1] + nudge * np.einsum("dbo,doi->dbi", error, forward)]
    for g, above, below in zip(inverses[::-1], posts[:0:-1], posts[-2::-1], strict=True):
        targets.insert(0, below + g(targets[0]) - g(above))
    pairs = zip(targets, posts, strict=True)
    return [(t - h) * slope(h) / nudge for t, h in pairs] + [error]


def orthogonal(seed, n=6):
    draws = np.random.default_rng(seed).normal(size=(2, n, n))
    return np.linalg.qr(draws)[0]


def linear(matrix):
    return lambda h: np.einsum("doi,dbi->dbo", matrix, h)


@pytest.mark.parametrize("nudge", [0.01, 0.5, 3.0])
def test_with_exact_inverses_of_orthogonal_layers_every_update_is_backpropagations(nudge):
    rng = np.random.default_rng(0)
    hidden = [orthogonal(seed) for seed in range(3)]
    readout, error = rng.normal(size=(2, 3, 6)), rng.normal(size=(2, 9, 3))
    posts = [rng.normal(size=(2, 9, 6))]
    for matrix in hidden[1:]:
        posts.append(linear(matrix)(posts[-1]))
    inverses = [linear(matrix.swapaxes(1, 2)) for matrix in hidden[1:]]
    found = errors_by_targets(readout, posts, error, inverses, nudge, np.ones_like)
    wanted = [error]
    for matrix in [readout, *hidden[:0:-1]]:
        wanted.insert(0, np.einsum("dbo,doi->dbi", wanted[0], matrix))
    for ours, theirs in zip(found, wanted, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-12)


def test_with_activities_too_small_for_tanh_to_bend_the_circuit_does_so_too():
    hidden = [orthogonal(seed) for seed in range(3)]
    weights = [*hidden, born_weights(SQUARE)[-1]]
    births = {f"weights {k}": [w] for k, w in enumerate(weights)}
    births["inverse"] = [w.swapaxes(1, 2) for w in hidden[1:]]
    circuit = DifferenceTargetPropagation(nudge=1e-4, rate=0.0)
    found = state(circuit, sizes=SQUARE, births=births, scale=1e-4)
    posts = [found[f"post {k}"] for k in range(len(SQUARE))]
    wanted = gradient_errors(weights, posts, found[f"error {len(weights) - 1}"])
    for k, theirs in enumerate(wanted):
        np.testing.assert_allclose(found[f"error {k}"], theirs, atol=1e-6)
        assert np.abs(theirs).max() > 0.1


def tanh_layer(matrix, bias):
    return lambda h: np.tanh(np.einsum("doi,dbi->dbo", matrix, h) + bias.swapaxes(1, 2))


def test_errors_are_those_of_the_equations_with_the_inverses_as_they_are():
    before, found = (state("dtp", n) for n in (3, 4))
    last = len(SIZES) - 2
    posts = [found[f"post {k}"] for k in range(1, last + 1)]
    layers = zip(found.each("inverse"), found.each("inverse bias"), strict=True)
    wanted = errors_by_targets(
        before[f"weights {last}"],
        posts,
        found[f"error {last}"],
        [tanh_layer(*layer) for layer in layers],
        0.5,
        lambda h: 1.0 - h**2,
    )
    for k, theirs in enumerate(wanted):
        np.testing.assert_allclose(found[f"error {k}"], theirs, atol=1e-12)


def reconstruction_gradient(inverse, bias, answer, shaken):
    """Return how |g(answer) - shaken|^2 / 2 falls with weights and biases, means over examples."""
    restored = tanh_layer(inverse, bias)(answer)
    signal = (shaken - restored) * (1.0 - restored**2)
    product = np.einsum("dbo,dbi->doi", signal, answer) / answer.shape[1]
    return product, signal.mean(axis=1)[:, :, None]


def test_an_inverse_takes_one_step_of_adam_towards_what_it_should_restore():
    born = born_weights()
    start = [0.5 * w.swapaxes(1, 2) for w in born[1:-1]]
    found = state("dtp", 1, births={"inverse": start})
    for k, old in enumerate(start):
        shaken, bias = found.each("shaken")[k], found.each("inverse bias")[k]
        answer = tanh_layer(born[k + 1], 0.0 * born[k + 1][:, :, :1])(shaken)
        gradients = reconstruction_gradient(old, 0.0 * bias, answer, shaken)
        for new, past, gradient in zip((found.each("inverse")[k], bias), (old, 0.0), gradients,
                                       strict=True):  # fmt: skip
            step = 1e-3 * gradient / (np.abs(gradient) + 1e-8)
            np.testing.assert_allclose(new - past, step, atol=1e-12)


def test_what_is_to_be_restored_is_the_activity_with_noise_of_a_tenth():
    one, two = state("dtp", 1, text="0"), state("dtp", 2, text="0")
    for k, shaken in enumerate(one.each("shaken")):
        noise = (shaken - one[f"post {k + 1}"]) / 0.1
        assert abs(noise.mean()) < 0.1
        assert abs(noise.std() - 1.0) < 0.1
        assert np.abs(two.each("shaken")[k] - shaken).max() > 0.1


def test_inverses_learn_to_restore_what_the_layers_below_did():
    losses = []
    for updates in (1, 400):
        found = state("dtp", updates, text="0")
        layers = zip(found.each("inverse"), found.each("inverse bias"), strict=True)
        posts = [found[f"post {k}"] for k in range(1, len(SIZES) - 1)]
        pairs = zip(layers, posts[1:], posts, strict=False)
        losses.append([np.mean((tanh_layer(*g)(above) - below) ** 2) for g, above, below in pairs])
    assert (np.array(losses[1]) < 0.5 * np.array(losses[0])).all()
