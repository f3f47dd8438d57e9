"""Feedback alignment on graphs against automatic differentiation and loops over layers."""

import numpy as np
import pytest
import torch
from graphs_networks import CLASSES, distance, drawn, network, output_errors, unrolled
from torch.nn import functional
from torch.nn.grad import conv2d_input

from evosearch.errors import InputError
from evosearch.graphs import (
    GraphBuilder,
    Linear,
    boundaries,
    direct_feedback_alignment,
    feedback_alignment,
    increments,
    random_feedback,
    random_projections,
    residual_cnn,
    sweep,
)

KINDS = ("mlp", "cnn", "residual")


def torch_residual(p, inputs):
    """Return the logits of a residual network, written without graphs."""
    x = functional.max_pool2d(torch.tanh(functional.conv2d(inputs[0], p["k0"], p["c0"], padding=1)),
                              2)  # fmt: skip
    for block in range(2):
        one, two = 2 * block + 1, 2 * block + 2
        branch = torch.tanh(functional.conv2d(x, p[f"k{one}"], p[f"c{one}"], padding=1))
        branch = torch.tanh(functional.conv2d(branch, p[f"k{two}"], p[f"c{two}"], padding=1))
        x = functional.max_pool2d(x + branch, 2)
    return functional.linear(x.flatten(1), p["w0"], p["b0"])


def descents(graph, inputs, labels):
    """Return minus the gradient by automatic differentiation through the graph's forward pass."""
    p = {name: values.clone().requires_grad_() for name, values in graph.parameters.items()}
    free = type(graph)(graph.vertices, p, graph.inputs, graph.outputs)
    logits = free.predict(inputs).values[graph.outputs[0]]
    loss = functional.cross_entropy(logits, labels[0], reduction="sum")
    gradients = torch.autograd.grad(loss, list(p.values()))
    return {name: -gradient for name, gradient in zip(p, gradients, strict=True)}


def changed(graph, inputs, labels, method, **settings):
    state = graph.predict(inputs)
    errors = method(graph, state, output_errors(graph, state, labels), **settings)
    return increments(graph, state, errors)


def test_the_residual_network_is_that_of_torch():
    graph, inputs, _ = network("residual")
    found = graph.predict(inputs).values[graph.outputs[0]]
    torch.testing.assert_close(found, torch_residual(graph.parameters, inputs), rtol=0, atol=1e-13)


@pytest.mark.parametrize("kind", KINDS)
def test_one_sweep_through_the_weights_gives_the_gradient_of_torch(kind):
    graph, inputs, labels = network(kind)
    ours = changed(graph, inputs, labels, sweep, carriers={})
    assert distance(ours, descents(graph, inputs, labels)) < 1e-13


@pytest.mark.parametrize("kind", KINDS)
def test_feedback_equal_to_the_weights_makes_feedback_alignment_backpropagation(kind):
    graph, inputs, labels = network(kind)
    twins = {name: values.clone() for name, values in graph.parameters.items()}
    ours = changed(graph, inputs, labels, feedback_alignment, feedback=twins)
    wanted = descents(graph, inputs, labels)
    assert distance(ours, wanted) < 1e-6
    other = random_feedback(graph, np.random.default_rng(1))
    assert distance(changed(graph, inputs, labels, feedback_alignment, feedback=other), wanted) > 1


def test_random_feedback_goes_down_as_in_a_loop_over_the_layers_of_a_convolutional_network():
    graph, inputs, labels = network("cnn")
    p, b = graph.parameters, random_feedback(graph, np.random.default_rng(7))
    sums, posts, places, x = [], [], [], inputs[0]
    for k in range(2):
        sums.append(functional.conv2d(x, p[f"k{k}"], p[f"c{k}"]))
        posts.append(torch.tanh(sums[-1]))
        x, where = functional.max_pool2d(posts[-1], 2, return_indices=True)
        places.append((where, x.shape))
    flat = x.flatten(1)
    hidden = torch.tanh(flat @ p["w0"].T + p["b0"])
    logits = hidden @ p["w1"].T + p["b1"]
    error = functional.one_hot(labels[0], CLASSES) - torch.softmax(logits, 1)
    wanted = {"w1": error.T @ hidden}
    error = (error @ b["w1"]) * (1 - hidden**2)
    wanted["w0"] = error.T @ flat
    error = (error @ b["w0"]).reshape(places[1][1])
    below = [inputs[0], functional.max_pool2d(posts[0], 2)]
    for k in (1, 0):
        unpooled = functional.max_unpool2d(error, places[k][0], 2, output_size=posts[k].shape[2:])
        error = unpooled * (1 - posts[k] ** 2)
        wanted[f"k{k}"] = torch.nn.grad.conv2d_weight(below[k], p[f"k{k}"].shape, error)
        error = conv2d_input(below[k].shape, b[f"k{k}"], error)
    assert distance(changed(graph, inputs, labels, feedback_alignment, feedback=b), wanted) < 1e-12


@pytest.mark.parametrize("kind", KINDS)
def test_in_direct_feedback_alignment_each_layer_end_hears_a_projection_of_the_output_error(kind):
    graph, inputs, labels = network(kind)
    state = graph.predict(inputs)
    (error,) = output_errors(graph, state, labels)
    matrices = random_projections(graph, state, np.random.default_rng(2))
    found = direct_feedback_alignment(graph, state, [error], projections=matrices)
    assert len(matrices) == {"mlp": 3, "cnn": 3, "residual": 5}[kind]
    for k in boundaries(graph):
        flat = error @ matrices[k].reshape(CLASSES, -1)
        wanted = flat.reshape(state.values[k].shape)
        torch.testing.assert_close(found[k], wanted, rtol=0, atol=1e-14)


def test_direct_feedback_alignment_of_a_perceptron_is_that_of_its_equations():
    graph, inputs, labels = network("mlp")
    state = graph.predict(inputs)
    p, (error,) = graph.parameters, output_errors(graph, state, labels)
    matrices = random_projections(graph, state, np.random.default_rng(2))
    ours = changed(graph, inputs, labels, direct_feedback_alignment, projections=matrices)
    x, wanted = inputs[0], {}
    for k, matrix in zip(range(3), matrices.values(), strict=True):
        post = torch.tanh(x @ p[f"w{k}"].T + p[f"b{k}"])
        wanted[f"w{k}"] = ((error @ matrix) * (1 - post**2)).T @ x
        x = post
    wanted["w3"] = error.T @ x
    assert distance(ours, wanted) < 1e-13


def test_direct_projections_of_a_last_layer_transposed_teach_it_as_backpropagation_does():
    """One hidden layer: the projection W^T makes the layer-wise error backpropagation's."""
    graph, inputs, labels = network("mlp")
    state = graph.predict(inputs)
    last = boundaries(graph)[-1]
    matrices = random_projections(graph, state, np.random.default_rng(2))
    matrices[last] = graph.parameters["w3"].clone()
    ours = changed(graph, inputs, labels, direct_feedback_alignment, projections=matrices)
    wanted = descents(graph, inputs, labels)
    torch.testing.assert_close(ours["w2"], wanted["w2"], rtol=0, atol=1e-13)
    assert float((ours["w1"] - wanted["w1"]).norm()) > 0.1


def test_an_error_changes_with_the_weights_above_in_backpropagation_alone():
    """Locality: with the output error held fixed, other weights above change nothing below."""
    graph, inputs, labels = network("cnn")
    state = graph.predict(inputs)
    outputs = output_errors(graph, state, labels)
    feedback = random_feedback(graph, np.random.default_rng(1))
    matrices = random_projections(graph, state, np.random.default_rng(2))
    methods = {"bp": (sweep, {"carriers": {}}), "fa": (feedback_alignment, {"feedback": feedback}),
               "dfa": (direct_feedback_alignment, {"projections": matrices})}  # fmt: skip
    moves = {}
    for name, (method, settings) in methods.items():
        graph, _, _ = network("cnn")
        first = method(graph, state, outputs, **settings)[1]
        graph.parameters["w0"] += drawn(1, *graph.parameters["w0"].shape)
        second = method(graph, state, outputs, **settings)[1]
        moves[name] = float((first - second).norm())
    assert moves["bp"] > 0.1
    assert moves["fa"] == moves["dfa"] == 0.0


def test_feedback_alignment_sends_errors_along_an_unrolled_network():
    graph, inputs, labels = unrolled()
    twins = {name: values.clone() for name, values in graph.parameters.items()}
    state = graph.predict(inputs)
    errors = output_errors(graph, state, labels)
    ours = increments(graph, state, feedback_alignment(graph, state, errors, feedback=twins))
    wanted = increments(graph, state, sweep(graph, state, errors, carriers={}))
    assert distance(ours, wanted) == 0.0


def test_what_cannot_be_sent_is_refused_in_one_sentence():
    graph, inputs, labels = network("mlp")
    state = graph.predict(inputs)
    errors = output_errors(graph, state, labels)
    feedback = random_feedback(graph, np.random.default_rng(0))
    feedback["w1"] = feedback["w1"].T
    with pytest.raises(InputError, match=r"feedback of 'w1' has the shape \(8, 7\); .* \(7, 8\)"):
        feedback_alignment(graph, state, errors, feedback=feedback)
    del feedback["w1"]
    with pytest.raises(InputError, match="feedback of 'w1' has the shape None"):
        feedback_alignment(graph, state, errors, feedback=feedback)
    with pytest.raises(InputError, match="the graph has 1 outputs, found 0 errors"):
        sweep(graph, state, [], carriers={})
    recurrent, inputs, _ = unrolled()
    with pytest.raises(InputError, match="direct feedback alignment sends the error of one output"):
        random_projections(recurrent, recurrent.predict(inputs), np.random.default_rng(0))


def test_a_residual_network_that_cannot_be_is_refused():
    rng = np.random.default_rng(0)
    for settings in ({"blocks": 3}, {"blocks": -1}, {"kernel": 2}, {"channels": 0}):
        chosen = {"channels": 2, "blocks": 1, **settings}
        with pytest.raises(InputError, match="a residual network on images of 8 x 12 has"):
            residual_cnn((1, 8, 12), n_classes=3, rng=rng, **chosen)


def test_a_linear_network_without_hidden_layers_has_no_layer_end():
    g = GraphBuilder()
    names = g.parameter("w", torch.ones(2, 3)), g.parameter("b", torch.zeros(2))
    g.output(g.add(Linear(), g.input(), parameters=names))
    assert boundaries(g.build()) == ()
