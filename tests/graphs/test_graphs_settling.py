"""Predictive coding to equilibrium against a NumPy loop, its energy and its limits."""

import numpy as np
import pytest
import torch
from graphs_networks import distance, drawn, network, output_errors, unrolled
from torch.nn import functional

from evosearch.errors import InputError
from evosearch.graphs import increments, lstm, relax, settle, softmax_error, zero_divergence

KINDS = ("mlp", "cnn", "residual", "rnn", "lstm")


def any_network(kind):
    if kind == "rnn":
        return unrolled()
    if kind == "lstm":
        _, inputs, labels = unrolled()
        graph = lstm(4, 5, 3, 3, np.random.default_rng(0), dtype=torch.float64)
        return graph, [*inputs, inputs[-1] / 2], labels
    return network(kind)


def towards(labels, size=1.0):
    def teach(outputs):
        return [size * softmax_error(o, t) for o, t in zip(outputs, labels, strict=True)]

    return teach


def squared(targets):
    return lambda outputs: [t - o for o, t in zip(outputs, targets, strict=True)]


def strict_loop(weights, biases, x, labels, steps, gamma):
    """Whittington and Bogacz's relaxation in NumPy, sums and activities nodes of their own."""
    n_layers = len(weights)

    def predictions(sums, posts):
        below = [x, *posts]
        return ([below[k] @ weights[k].T + biases[k] for k in range(n_layers)],
                [np.tanh(a) for a in sums])  # fmt: skip

    sums, posts = [], []
    for k in range(n_layers - 1):
        sums.append((posts[-1] if posts else x) @ weights[k].T + biases[k])
        posts.append(np.tanh(sums[-1]))
    for step in range(steps + 1):
        of_sums, of_posts = predictions(sums, posts)
        at_sums = [a - m for a, m in zip(sums, of_sums[:-1], strict=True)]
        at_posts = [h - m for h, m in zip(posts, of_posts, strict=True)]
        powers = np.exp(of_sums[-1])
        top = np.eye(powers.shape[1])[labels] - powers / powers.sum(axis=1, keepdims=True)
        if step < steps:
            above = [*at_sums[1:], top]
            for k in range(n_layers - 1):
                sums[k] = sums[k] + gamma * (-at_sums[k] + at_posts[k] * (1 - of_posts[k] ** 2))
                posts[k] = posts[k] + gamma * (-at_posts[k] + above[k] @ weights[k + 1])
    below = [x, *posts]
    return {f"w{k}": e.T @ h for k, (e, h) in enumerate(zip([*at_sums, top], below, strict=True))}


@pytest.mark.parametrize("steps", [1, 2, 30])
def test_on_a_perceptron_it_is_the_loop_over_values_predictions_and_errors(steps):
    graph, inputs, labels = network("mlp")
    now, errors = settle(graph, graph.predict(inputs), towards(labels), steps=steps, gamma=0.1)
    p = {name: values.numpy() for name, values in graph.parameters.items()}
    wanted = strict_loop([p[f"w{k}"] for k in range(4)], [p[f"b{k}"] for k in range(4)],
                         inputs[0].numpy(), labels[0].numpy(), steps, 0.1)  # fmt: skip
    found = increments(graph, now, errors)
    for name, change in wanted.items():
        np.testing.assert_allclose(found[name].numpy(), change, rtol=0, atol=1e-13)


@pytest.mark.parametrize("kind", KINDS)
def test_one_step_goes_down_the_gradient_of_the_energy_by_automatic_differentiation(kind):
    """From values anywhere: half the squared errors, and the cross-entropy of the outputs."""
    graph, inputs, labels = any_network(kind)
    state = graph.predict(inputs)
    moving = [k for k, (is_sent, level) in enumerate(zip(graph.listens, graph.levels, strict=True))
              if is_sent and level > 0]  # fmt: skip
    for k in moving:
        state.values[k] = state.values[k] + 0.3 * drawn(k, *state.values[k].shape)
    free = [v.clone().requires_grad_(k in moving) for k, v in enumerate(state.values)]
    energy = torch.zeros((), dtype=torch.float64)
    for k, vertex in enumerate(graph.vertices):
        if vertex.operation is None:
            continue
        mean, _ = vertex.operation.forward(graph.own(vertex), [free[p] for p in vertex.parents])
        if k in moving:
            energy = energy + ((free[k] - mean) ** 2).sum() / 2
        elif k in graph.outputs:
            label = labels[graph.outputs.index(k)]
            energy = energy + functional.cross_entropy(mean, label, reduction="sum")
    gradients = torch.autograd.grad(energy, [free[k] for k in moving])
    now, _ = settle(graph, state, towards(labels), steps=1, gamma=0.1)
    for k, gradient in zip(moving, gradients, strict=True):
        wanted = state.values[k] - 0.1 * gradient
        torch.testing.assert_close(now.values[k], wanted, rtol=0, atol=1e-13)


@pytest.mark.parametrize("kind", KINDS)
def test_the_energy_goes_down_at_every_step(kind):
    graph, inputs, labels = any_network(kind)
    state = graph.predict(inputs)
    goals = [state.values[k] + output for k, output in
             zip(graph.outputs, output_errors(graph, state, labels), strict=True)]  # fmt: skip
    energies = []
    for steps in range(1, 12):
        _, errors = settle(graph, state, squared(goals), steps=steps, gamma=0.05)
        energies.append(sum(float((e**2).sum()) / 2 for e in errors if e is not None))
    assert energies == sorted(energies, reverse=True)
    assert energies[-1] < energies[0]


@pytest.mark.parametrize("kind", ["mlp", "rnn"])
def test_with_small_output_errors_the_equilibrium_gives_the_gradient(kind):
    """Values then stay where predictions put them, and the errors are backpropagation's."""
    graph, inputs, labels = any_network(kind)
    state = graph.predict(inputs)
    now, errors = settle(graph, state, towards(labels, 1e-6), steps=1500, gamma=0.2)
    exact = zero_divergence(graph, state, output_errors(graph, state, labels))
    ours = {k: v * 1e6 for k, v in increments(graph, now, errors).items()}
    assert distance(ours, increments(graph, state, exact)) < 1e-4


def test_with_large_output_errors_it_is_not_backpropagation():
    graph, inputs, labels = network("mlp")
    state = graph.predict(inputs)
    now, errors = settle(graph, state, towards(labels), steps=800, gamma=0.2)
    exact = zero_divergence(graph, state, output_errors(graph, state, labels))
    assert distance(increments(graph, now, errors), increments(graph, state, exact)) > 0.05


def test_the_first_step_is_that_of_fixed_predictions():
    graph, inputs, labels = network("cnn")
    state = graph.predict(inputs)
    fixed = relax(graph, state, output_errors(graph, state, labels), steps=1, gamma=0.1)
    _, errors = settle(graph, state, towards(labels), steps=1, gamma=0.1)
    hidden = [k for k in range(len(fixed)) if fixed[k] is not None and graph.levels[k] == 1]
    for k in hidden:
        torch.testing.assert_close(errors[k], fixed[k], rtol=0, atol=1e-15)


def test_the_forward_pass_is_left_as_it_was():
    graph, inputs, labels = network("residual")
    state = graph.predict(inputs)
    before = [values.clone() for values in state.values]
    settle(graph, state, towards(labels), steps=3)
    assert all(torch.equal(one, other) for one, other in zip(before, state.values, strict=True))


def test_settings_out_of_range_are_refused():
    graph, inputs, labels = network("mlp")
    for settings in ({"steps": 0}, {"gamma": 0.0}, {"gamma": 1.1}):
        with pytest.raises(InputError, match="steps must be at least 1 and gamma lie above 0"):
            settle(graph, graph.predict(inputs), towards(labels), **settings)
