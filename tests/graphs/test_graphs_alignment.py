"""Local representation alignment on graphs against a NumPy loop of its equations."""

import numpy as np
import pytest
import torch
from graphs_networks import CLASSES, distance, drawn, network, output_errors, unrolled
from torch.nn import functional
from torch.nn.grad import conv2d_input, conv2d_weight

from evosearch.errors import InputError
from evosearch.graphs import (
    Alignment,
    GraphBuilder,
    Linear,
    Product,
    block_ends,
    increments,
    lstm,
    sweep,
)

BETA, RATE = 0.1, 0.05


def aligned(graph, inputs, **settings):
    return Alignment(graph, graph.predict(inputs), np.random.default_rng(4), **settings)


def as_numpy(values):
    return {name: value.numpy().copy() for name, value in values.items()}


def lra_loop(weights, biases, feedback, x, labels, beta, rate, batches):
    """LRA-E as published, in NumPy: changes of W for each minibatch; E learns at the same time.

    ``e_L = z_L - t``; down the layers ``d = E e``, ``y = f(a - beta d)``, ``e = h - y``;
    ``dW = -e h^T`` and E loses ``rate`` times (e h^T)^T, its own weights' change transposed.
    """
    found = []
    n_layers = len(weights)
    for _ in range(batches):
        posts, sums = [x], []
        for k in range(n_layers):
            sums.append(posts[-1] @ weights[k].T + biases[k])
            posts.append(np.tanh(sums[-1]))
        powers = np.exp(sums[-1] - sums[-1].max(axis=1, keepdims=True))
        error = powers / powers.sum(axis=1, keepdims=True) - np.eye(CLASSES)[labels]
        errors = [error]
        for k in reversed(range(n_layers - 1)):
            displacement = error @ feedback[k + 1]
            error = posts[k + 1] - np.tanh(sums[k] - beta * displacement)
            errors.insert(0, error)
        changes = [-(e.T @ h) / len(x) for e, h in zip(errors, posts[:-1], strict=True)]
        found.append(changes)
        feedback = [e + rate * c for e, c in zip(feedback, changes, strict=True)]
    return found, feedback


@pytest.mark.parametrize("rate", [0.0, RATE])
def test_on_a_perceptron_it_is_the_published_loop_with_error_synapses_fixed_or_learned(rate):
    graph, inputs, labels = network("mlp")
    alignment = aligned(graph, inputs, beta=BETA, rate=rate)
    p = as_numpy(graph.parameters)
    names = [f"w{k}" for k in range(4)]
    feedback = [alignment.synapses[name].numpy().copy() for name in names]
    wanted, last = lra_loop(
        [p[name] for name in names], [p[f"b{k}"] for k in range(4)], feedback, inputs[0].numpy(),
        labels[0].numpy(), BETA, rate, 3,
    )  # fmt: skip
    for changes in wanted:
        state = graph.predict(inputs)
        errors = alignment.errors(graph, state, output_errors(graph, state, labels))
        found = {k: v / 6 for k, v in increments(graph, state, errors).items()}
        for name, change in zip(names, changes, strict=True):
            np.testing.assert_allclose(found[name].numpy(), change, rtol=0, atol=1e-14)
        alignment.learn(graph, state, found, errors)
    for name, wanted_synapses in zip(names, last, strict=True):
        np.testing.assert_allclose(alignment.synapses[name].numpy(), wanted_synapses, atol=1e-14)
    moved = np.abs(alignment.synapses["w1"].numpy() - feedback[1]).max()
    assert (moved > 1e-4) == (rate > 0)


@pytest.mark.parametrize("kind", ["mlp", "cnn"])
def test_small_targets_through_transposed_weights_have_the_direction_of_the_gradient(kind):
    graph, inputs, labels = network(kind)
    alignment = aligned(graph, inputs, beta=1e-4)
    alignment.synapses.update(graph.parameters)
    state = graph.predict(inputs)
    outputs = output_errors(graph, state, labels)
    ours = increments(graph, state, alignment.errors(graph, state, outputs))
    exact = increments(graph, state, sweep(graph, state, outputs, carriers={}))
    for name, wanted in exact.items():
        cosine = (ours[name] * wanted).sum() / (ours[name].norm() * wanted.norm())
        assert float(cosine) > 0.9999, name
    share = float(ours["w0"].norm() / exact["w0"].norm())
    assert share == pytest.approx(1e-4 ** (3 if kind == "mlp" else 1), rel=0.01)


def residual_loop(p, alignment, x, labels):
    """Recursive LRA on the residual network of the tests, by hand: errors of weights."""
    synapses, skips = alignment.synapses, list(alignment.skips.values())

    def target_error(total, displacement):
        return torch.tanh(total + BETA * displacement) - torch.tanh(total)

    pooled, places, kept = [], [], []
    total = functional.conv2d(x, p["k0"], p["c0"], padding=1)
    post = torch.tanh(total)
    kept.append((x, total))
    for block in range(3):
        if block:
            below = pooled[-1]
            first = functional.conv2d(below, p[f"k{2 * block - 1}"], p[f"c{2 * block - 1}"],
                                      padding=1)  # fmt: skip
            second = functional.conv2d(torch.tanh(first), p[f"k{2 * block}"], p[f"c{2 * block}"],
                                       padding=1)  # fmt: skip
            kept += [(below, first), (torch.tanh(first), second)]
            post = below + torch.tanh(second)
        value, where = functional.max_pool2d(post, 2, return_indices=True)
        pooled.append(value)
        places.append((where, post.shape[2:]))
    flat = pooled[-1].flatten(1)
    logits = flat @ p["w0"].T + p["b0"]
    error = functional.one_hot(labels, CLASSES) - torch.softmax(logits, 1)
    wanted = {"w0": error.T @ flat}
    for block in range(3):
        matrix = skips[block].reshape(CLASSES, -1)
        heard = (error @ matrix).reshape(pooled[block].shape)
        heard = functional.max_unpool2d(heard, places[block][0], 2, output_size=places[block][1])
        top = 2 * block
        own = target_error(kept[top][1], heard)
        wanted[f"k{top}"] = conv2d_weight(kept[top][0], p[f"k{top}"].shape, own, padding=1)
        if block:
            inner = conv2d_input(kept[top][0].shape, synapses[f"k{top}"], own, padding=1)
            own = target_error(kept[top - 1][1], inner)
            name = f"k{top - 1}"
            wanted[name] = conv2d_weight(kept[top - 1][0], p[name].shape, own, padding=1)
    return wanted, error


def test_on_a_residual_network_blocks_hear_the_output_and_their_inner_layers_the_next():
    graph, inputs, labels = network("residual")
    alignment = aligned(graph, inputs, beta=BETA, rate=RATE)
    assert len(alignment.skips) == 3
    state = graph.predict(inputs)
    errors = alignment.errors(graph, state, output_errors(graph, state, labels))
    found = increments(graph, state, errors)
    wanted, error = residual_loop(graph.parameters, alignment, inputs[0], labels[0])
    assert set(wanted) == {name for name in found if name[0] in "kw"}
    assert distance(found, wanted) < 1e-12
    before = {k: matrix.clone() for k, matrix in alignment.skips.items()}
    alignment.learn(graph, state, {name: c / 6 for name, c in found.items()}, errors)
    for k, matrix in before.items():
        arrived = (error @ matrix.reshape(CLASSES, -1)).reshape(state.values[k].shape)
        lost = torch.einsum("bc,b...->c...", error, arrived) * RATE / 6
        torch.testing.assert_close(alignment.skips[k], matrix - lost, rtol=0, atol=1e-13)


def test_error_skips_may_learn_as_a_readout_of_their_layer_would():
    """By the activity they then change as the output's own weights do."""
    graph, inputs, labels = network("residual")
    alignment = aligned(graph, inputs, rate=RATE, skip_rule="activity")
    state = graph.predict(inputs)
    errors = alignment.errors(graph, state, output_errors(graph, state, labels))
    found = {name: c / 6 for name, c in increments(graph, state, errors).items()}
    top = max(alignment.skips)
    before = alignment.skips[top].clone()
    alignment.learn(graph, state, found, errors)
    wanted = before + RATE * found["w0"]
    torch.testing.assert_close(alignment.skips[top], wanted, rtol=0, atol=1e-14)


def test_no_slope_is_used_so_units_need_none():
    """A state whose slopes are wrong gives the same errors."""
    graph, inputs, labels = network("cnn")
    alignment = aligned(graph, inputs)
    state = graph.predict(inputs)
    outputs = output_errors(graph, state, labels)
    first = alignment.errors(graph, state, outputs)
    slopes = [k for k, v in enumerate(graph.vertices) if type(v.operation).__name__ == "Tanh"]
    for k in slopes:
        state.saved[k] = (drawn(k, *state.values[k].shape),)
    for one, other in zip(first, alignment.errors(graph, state, outputs), strict=True):
        assert one is other is None or torch.equal(one, other)


def test_the_ends_of_residual_blocks_are_found_and_a_plain_network_has_none():
    graph, _, _ = network("residual")
    kinds = [type(graph.vertices[k].operation).__name__ for k in block_ends(graph)]
    assert kinds == ["MaxPool", "MaxPool", "Flatten"]
    assert block_ends(network("cnn")[0]) == block_ends(network("mlp")[0]) == ()


def test_without_recursion_errors_go_through_residual_blocks_as_through_any_layer():
    """Small targets through transposed weights then give the gradient's direction again."""
    graph, inputs, labels = network("residual")
    alignment = aligned(graph, inputs, beta=1e-3, is_recursive=False)
    assert not alignment.skips
    alignment.synapses.update(graph.parameters)
    state = graph.predict(inputs)
    outputs = output_errors(graph, state, labels)
    found = alignment.errors(graph, state, outputs)
    exact = sweep(graph, state, outputs, carriers={})
    top = max(k for k, v in enumerate(graph.vertices) if v.parameters == ("k4", "c4"))
    cosine = (found[top] * exact[top]).sum() / (found[top].norm() * exact[top].norm())
    assert float(cosine) > 0.9999


def test_graphs_without_targets_are_refused_in_one_sentence():
    recurrent, inputs, _ = unrolled()
    with pytest.raises(InputError, match=r"this graph has 3 outputs, .*: use feedback alignment"):
        aligned(recurrent, inputs)
    graph = lstm(4, 5, CLASSES, 1, np.random.default_rng(0), dtype=torch.float64)
    inputs = [drawn(1, 6, 4), drawn(2, 6, 5), drawn(3, 6, 5)]
    with pytest.raises(InputError, match="has targets for units that squash a sum, and none for P"):
        aligned(graph, inputs)
    plain, inputs, _ = network("mlp")
    with pytest.raises(InputError, match="unknown rule of error skips 'oja'"):
        aligned(plain, inputs, skip_rule="oja")
    for settings in ({"beta": 0.0}, {"rate": -1.0}, {"deviation": 0.0}):
        with pytest.raises(InputError, match="beta and deviation must be above 0, rate at least 0"):
            aligned(plain, inputs, **settings)


def test_a_product_below_nothing_that_learns_is_refused_as_well():
    g = GraphBuilder()
    x = g.input()
    names = g.parameter("w", torch.ones(2, 3)), g.parameter("b", torch.zeros(2))
    g.output(g.add(Linear(), g.add(Product(), x, x), parameters=names))
    with pytest.raises(InputError, match="none for Product"):
        aligned(g.build(), [torch.ones(1, 3)])
