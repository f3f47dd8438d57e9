"""Errors along graphs against torch's own networks and automatic differentiation."""

import numpy as np
import pytest
import torch
from scipy.stats import nbinom
from torch.nn import functional

from evosearch.errors import InputError
from evosearch.graphs import (
    Add,
    Convolution,
    Flatten,
    GraphBuilder,
    Linear,
    MaxPool,
    Product,
    Sigmoid,
    Tanh,
    cnn,
    increments,
    lstm,
    mlp,
    relax,
    rnn,
    softmax_error,
    zero_divergence,
)

DOUBLE = torch.float64
EXAMPLES, STEPS, INPUTS, HIDDEN, CLASSES = 6, 5, 4, 7, 3


def drawn(seed, *shape):
    return torch.from_numpy(np.random.default_rng(seed).normal(size=shape))


def with_biases(graph):
    """Give biases values, so that a bias left out shows."""
    for k, values in enumerate(graph.parameters.values()):
        if values.ndim == 1:
            values += 0.3 * drawn(100 + k, *values.shape)
    return graph


def network(kind):
    """Return a graph, its inputs, and the labels of each output."""
    rng = np.random.default_rng(3)
    labels = [torch.from_numpy(np.random.default_rng(k).integers(CLASSES, size=EXAMPLES))
              for k in range(STEPS)]  # fmt: skip
    recurrent = (INPUTS, HIDDEN, CLASSES, STEPS, rng)
    if kind == "mlp":
        graph = mlp((INPUTS, 8, 7, 6, CLASSES), rng, dtype=DOUBLE)
        inputs = [drawn(5, EXAMPLES, INPUTS)]
    elif kind == "cnn":
        graph = cnn((2, 12, 12), (3, 4), (9,), CLASSES, rng, kernel=3, dtype=DOUBLE)
        inputs = [drawn(5, EXAMPLES, 2, 12, 12)]
    else:
        graph = (rnn if kind == "rnn" else lstm)(*recurrent, dtype=DOUBLE)
        n_before = 1 if kind == "rnn" else 2
        inputs = [drawn(10 + k, EXAMPLES, INPUTS) for k in range(STEPS)]
        inputs += [drawn(20 + k, EXAMPLES, HIDDEN) for k in range(n_before)]
    return with_biases(graph), inputs, labels[: len(graph.outputs)]


def torch_mlp(p, inputs):
    (x,) = inputs
    for k in range(3):
        x = torch.tanh(functional.linear(x, p[f"w{k}"], p[f"b{k}"]))
    return [functional.linear(x, p["w3"], p["b3"])]


def torch_cnn(p, inputs):
    (x,) = inputs
    for k in range(2):
        x = functional.max_pool2d(torch.tanh(functional.conv2d(x, p[f"k{k}"], p[f"c{k}"])), 2)
    x = torch.tanh(functional.linear(x.flatten(1), p["w0"], p["b0"]))
    return [functional.linear(x, p["w1"], p["b1"])]


def torch_rnn(p, inputs):
    cell = torch.nn.RNN(INPUTS, HIDDEN).double()
    own = {"weight_ih_l0": p["w"], "weight_hh_l0": p["u"], "bias_ih_l0": p["b"],
           "bias_hh_l0": torch.zeros(HIDDEN, dtype=DOUBLE)}  # fmt: skip
    hidden, _ = torch.func.functional_call(
        cell, own, (torch.stack(inputs[:STEPS]), inputs[STEPS][None])
    )
    return list(functional.linear(hidden, p["v"], p["c"]))


def torch_lstm(p, inputs):
    cell = torch.nn.LSTM(INPUTS, HIDDEN).double()
    own = {"weight_ih_l0": torch.cat([p[f"w{gate}"] for gate in "ifgo"]),
           "weight_hh_l0": torch.cat([p[f"u{gate}"] for gate in "ifgo"]),
           "bias_ih_l0": torch.cat([p[f"b{gate}"] for gate in "ifgo"]),
           "bias_hh_l0": torch.zeros(4 * HIDDEN, dtype=DOUBLE)}  # fmt: skip
    cells, before = inputs[STEPS:]
    hidden, _ = torch.func.functional_call(
        cell, own, (torch.stack(inputs[:STEPS]), (before[None], cells[None]))
    )
    return list(functional.linear(hidden, p["v"], p["c"]))


PEERS = {"mlp": torch_mlp, "cnn": torch_cnn, "rnn": torch_rnn, "lstm": torch_lstm}
KINDS = tuple(PEERS)


def descents(kind, graph, inputs, labels):
    """Return minus torch's gradient of the summed cross-entropy, for each parameter."""
    p = {name: values.clone().requires_grad_() for name, values in graph.parameters.items()}
    outputs = PEERS[kind](p, inputs)
    loss = sum(functional.cross_entropy(o, label, reduction="sum")
               for o, label in zip(outputs, labels, strict=True))  # fmt: skip
    gradients = torch.autograd.grad(loss, list(p.values()))
    return {name: -gradient for name, gradient in zip(p, gradients, strict=True)}


def output_errors(graph, state, labels):
    logits = [state.values[k] for k in graph.outputs]
    return [softmax_error(o, label) for o, label in zip(logits, labels, strict=True)]


def settled(kind, method, **settings):
    """Return what predictive coding changes, and what backpropagation would."""
    graph, inputs, labels = network(kind)
    state = graph.predict(inputs)
    errors = method(graph, state, output_errors(graph, state, labels), **settings)
    return increments(graph, state, errors), descents(kind, graph, inputs, labels)


def cosines(ours, theirs):
    return {name: float(functional.cosine_similarity(ours[name].flatten(), theirs[name].flatten(),
            dim=0)) for name in theirs}  # fmt: skip


def distance(ours, theirs):
    return max(float((ours[k] - theirs[k]).norm() / theirs[k].norm()) for k in theirs)


@pytest.mark.parametrize("kind", KINDS)
def test_the_forward_pass_is_that_of_torch(kind):
    graph, inputs, _ = network(kind)
    values = graph.predict(inputs).values
    for k, wanted in zip(graph.outputs, PEERS[kind](graph.parameters, inputs), strict=True):
        torch.testing.assert_close(values[k], wanted, rtol=0, atol=1e-13)


@pytest.mark.parametrize("kind", KINDS)
def test_the_zero_divergence_schedule_gives_the_gradient_of_torch(kind):
    assert distance(*settled(kind, zero_divergence)) < 1e-13


@pytest.mark.parametrize("kind", KINDS)
def test_unit_steps_give_the_gradient_after_as_many_as_the_longest_way_and_not_before(kind):
    depth = network(kind)[0].depth
    assert distance(*settled(kind, relax, steps=depth, gamma=1.0)) < 1e-13
    assert distance(*settled(kind, relax, steps=depth - 1, gamma=1.0)) > 1e-3


@pytest.mark.parametrize("kind", KINDS)
def test_many_steps_give_the_gradient_of_torch(kind):
    assert distance(*settled(kind, relax, steps=400, gamma=0.2)) < 1e-12


@pytest.mark.parametrize(
    ("kind", "steps"), [("mlp", 100), ("cnn", 100), ("rnn", 100), ("lstm", 200)]
)
def test_the_published_steps_of_a_tenth_have_the_direction_of_the_gradient(kind, steps):
    """A hundred, and two hundred where each step of a sequence is a way of four edges."""
    found = cosines(*settled(kind, relax, steps=steps))
    assert min(found.values()) > 0.995, found


@pytest.mark.parametrize("kind", KINDS)
def test_more_steps_come_nearer_to_the_gradient(kind):
    found = [distance(*settled(kind, relax, steps=n)) for n in (25, 50, 100, 200, 400)]
    assert found == sorted(found, reverse=True)
    assert found[0] > 0.01 > 1e-4 > found[-1]


def test_in_a_chain_each_vertex_has_a_known_share_of_its_error():
    """k edges below the output errors wait as for the k-th success of trials of odds gamma."""
    graph, inputs, labels = network("mlp")
    state = graph.predict(inputs)
    outputs = output_errors(graph, state, labels)
    ours = relax(graph, state, outputs, steps=30, gamma=0.2)
    exact = zero_divergence(graph, state, outputs)
    for level, mine, wanted in zip(graph.levels, ours, exact, strict=True):
        if mine is not None and level > 0:
            share = float(nbinom.cdf(30 - level, level, 0.2))
            torch.testing.assert_close(mine, share * wanted, rtol=1e-9, atol=1e-15)


def test_the_error_of_a_vertex_moves_by_what_its_children_said_before_the_step():
    """Two steps by hand on w2 tanh(w1 x): synchronous, so that the lowest hears nothing at once."""
    g = GraphBuilder()
    names = [g.parameter(f"w{k}", torch.full((1, 1), 0.5 + k, dtype=DOUBLE)) for k in range(2)]
    zero = g.parameter("b", torch.zeros(1, dtype=DOUBLE))
    below = g.add(Linear(), g.input(), parameters=(names[0], zero))
    post = g.add(Tanh(), below)
    g.output(g.add(Linear(), post, parameters=(names[1], zero)))
    graph = g.build()
    state = graph.predict([torch.ones(1, 1, dtype=DOUBLE)])
    one = [torch.ones(1, 1, dtype=DOUBLE)]
    slope = 1 - np.tanh(0.5) ** 2
    for steps, at_post, at_below in ((1, 0.15, 0.0), (2, 0.285, 0.1 * 0.15 * slope)):
        errors = relax(graph, state, one, steps=steps, gamma=0.1)
        assert float(errors[post]) == pytest.approx(at_post, abs=1e-15)
        assert float(errors[below]) == pytest.approx(at_below, abs=1e-15)
        assert errors[graph.inputs[0]] is None


def alone(operation, shapes, parameters):
    """Return a graph of one operation between linear vertices' values, and its inputs."""
    g = GraphBuilder()
    names = [g.parameter(f"p{k}", drawn(40 + k, *shape)) for k, shape in enumerate(parameters)]
    # Each parent has a parameter below it, so that an error is sent to it.
    parents = []
    for k, shape in enumerate(shapes):
        if len(shape) == 3:
            own = (g.parameter(f"k{k}", drawn(50, shape[0], shape[0], 1, 1)),
                   g.parameter(f"b{k}", torch.zeros(shape[0], dtype=DOUBLE)))  # fmt: skip
            parents.append(g.add(Convolution(), g.input(), parameters=own))
        else:
            own = (g.parameter(f"k{k}", drawn(50 + k, shape[0], shape[0])),
                   g.parameter(f"b{k}", torch.zeros(shape[0], dtype=DOUBLE)))  # fmt: skip
            parents.append(g.add(Linear(), g.input(), parameters=own))
    g.output(g.add(operation, *parents, parameters=names))
    return g.build(), [drawn(60 + k, 2, *shape) for k, shape in enumerate(shapes)], parents


OPERATIONS = [
    (Linear(), [(4,), (3,)], [(5, 4), (5, 3), (5,)]),
    (Tanh(), [(4,)], []),
    (Sigmoid(), [(4,)], []),
    (Add(), [(4,), (4,), (4,)], []),
    (Product(), [(4,), (4,)], []),
    (Convolution(), [(2, 6, 7)], [(3, 2, 3, 3), (3,)]),
    (Convolution(padding=1), [(2, 5, 6)], [(3, 2, 3, 3), (3,)]),
    (MaxPool(), [(2, 6, 4)], []),
    (MaxPool(3), [(2, 7, 8)], []),
    (Flatten(), [(2, 3, 4)], []),
]


@pytest.mark.parametrize(
    ("operation", "shapes", "parameters"),
    OPERATIONS,
    ids=lambda value: type(value).__name__ if hasattr(value, "pull") else "",
)
def test_the_way_back_of_an_operation_is_that_of_automatic_differentiation(
    operation, shapes, parameters
):
    graph, inputs, parents = alone(operation, shapes, parameters)
    state = graph.predict(inputs)
    (output,) = graph.outputs
    error = drawn(70, *state.values[output].shape)
    errors = zero_divergence(graph, state, [error])
    changed = increments(graph, state, errors)
    values = [state.values[k].clone().requires_grad_() for k in parents]
    own = {name: graph.parameters[name].clone().requires_grad_()
           for name in graph.vertices[output].parameters}  # fmt: skip
    value, _ = operation.forward(list(own.values()), values)
    wanted = torch.autograd.grad(value, [*values, *own.values()], error)
    for mine, theirs in zip([*(errors[k] for k in parents), *(changed[n] for n in own)], wanted,
                            strict=True):  # fmt: skip
        torch.testing.assert_close(mine, theirs, rtol=0, atol=1e-12)


def test_a_parameter_that_vertices_share_changes_by_the_sum_of_what_they_say():
    graph, inputs, labels = network("rnn")
    state = graph.predict(inputs)
    errors = zero_divergence(graph, state, output_errors(graph, state, labels))
    readouts = [errors[k] for k in graph.outputs]
    hidden = [state.values[graph.vertices[k].parents[0]] for k in graph.outputs]
    wanted = sum(e.T @ h for e, h in zip(readouts, hidden, strict=True))
    torch.testing.assert_close(increments(graph, state, errors)["v"], wanted)


def test_nothing_needs_automatic_differentiation():
    graph, inputs, labels = network("lstm")
    with torch.inference_mode():
        state = graph.predict(inputs)
        errors = relax(graph, state, output_errors(graph, state, labels), steps=3)
        assert all(change.isfinite().all() for change in increments(graph, state, errors).values())


def test_the_softmax_error_is_minus_the_gradient_of_the_cross_entropy():
    logits, labels = drawn(1, 5, 4).requires_grad_(), torch.tensor([0, 3, 1, 1, 2])
    loss = functional.cross_entropy(logits, labels, reduction="sum")
    (gradient,) = torch.autograd.grad(loss, logits)
    torch.testing.assert_close(softmax_error(logits.detach(), labels), -gradient)


def test_a_graph_that_cannot_be_is_refused_in_one_sentence():
    g = GraphBuilder()
    x = g.input()
    with pytest.raises(InputError, match=r"vertex 1 reads \[1\]; it must read vertices from 0"):
        g.add(Tanh(), 1)
    with pytest.raises(InputError, match="vertex 1 uses parameter 'w', which is not there"):
        g.add(Linear(), x, parameters=("w",))
    g.parameter("w", torch.ones(1, 1))
    with pytest.raises(InputError, match="parameter 'w' is there already"):
        g.parameter("w", torch.ones(1, 1))
    with pytest.raises(InputError, match="a graph needs at least one"):
        g.build()
    post = g.add(Tanh(), x)
    g.output(post)
    g.add(Tanh(), post)
    with pytest.raises(InputError, match="no vertex may read an output"):
        g.build()


def test_settings_out_of_range_are_refused():
    graph, inputs, labels = network("mlp")
    state = graph.predict(inputs)
    errors = output_errors(graph, state, labels)
    for settings in ({"steps": 0}, {"gamma": 0.0}, {"gamma": 1.1}):
        with pytest.raises(InputError, match="steps must be at least 1 and gamma lie above 0"):
            relax(graph, state, errors, **settings)
    with pytest.raises(InputError, match="the graph has 1 outputs, found 0 errors"):
        relax(graph, state, [])
    with pytest.raises(InputError, match="the graph has 1 inputs, found 2 tensors"):
        graph.predict(inputs * 2)
