"""Learners of graphs by name: what each changes, lives that learn, and refusals."""

import numpy as np
import pytest
import torch
from graphs_networks import distance, network, unrolled
from torch.nn import functional

from evosearch.errors import InputError
from evosearch.graphs import TEACHERS, accuracy, cnn, make_teacher, mlp, residual_cnn, train
from evosearch.learners.steps import Steps


def teacher_of(name, graph, inputs):
    return make_teacher(name, graph, inputs, np.random.default_rng(8))


def bars(n, seed):
    """Return noisy images (n, 1, 8, 8) of one bar: upright, lying or slanted."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(3, size=n)
    images = 0.3 * rng.normal(size=(n, 8, 8))
    for image, label, place in zip(images, labels, rng.integers(2, 6, size=n), strict=True):
        if label == 0:
            image[:, place] += 1
        elif label == 1:
            image[place] += 1
        else:
            image += np.eye(8, k=place - 4)
    return torch.from_numpy(images[:, None]).float(), torch.from_numpy(labels)


def life(name, graph, updates=150):
    images, labels = bars(400, 1)
    rows = np.random.default_rng(2).integers(400, size=(updates, 32))
    batches = [([images[r]], [labels[r]]) for r in rows]
    losses = train(graph, teacher_of(name, graph, [images[:1]]), batches, Steps("adam", 3e-3))
    return losses, accuracy(graph, *bars(300, 3))


@pytest.mark.parametrize("kind", ["mlp", "cnn", "residual"])
def test_the_reference_changes_parameters_by_minus_the_gradient_of_the_mean_loss(kind):
    graph, inputs, labels = network(kind)
    loss, found = teacher_of("bp", graph, inputs).changes(graph, (inputs, labels))
    p = {name: values.clone().requires_grad_() for name, values in graph.parameters.items()}
    free = type(graph)(graph.vertices, p, graph.inputs, graph.outputs)
    wanted = functional.cross_entropy(free.predict(inputs).values[graph.outputs[0]], labels[0])
    gradients = torch.autograd.grad(wanted, list(p.values()))
    assert loss == pytest.approx(float(wanted.detach()), abs=1e-12)
    assert distance(found, {k: -g for k, g in zip(p, gradients, strict=True)}) < 1e-12


def test_the_mean_is_over_the_outputs_of_an_unrolled_network_too():
    graph, inputs, labels = unrolled()
    p = {name: values.clone().requires_grad_() for name, values in graph.parameters.items()}
    free = type(graph)(graph.vertices, p, graph.inputs, graph.outputs)
    values = free.predict(inputs).values
    losses = [functional.cross_entropy(values[k], t)
              for k, t in zip(graph.outputs, labels, strict=True)]  # fmt: skip
    gradients = torch.autograd.grad(torch.stack(losses).mean(), list(p.values()))
    _, found = teacher_of("bp", graph, inputs).changes(graph, (inputs, labels))
    assert distance(found, {k: -g for k, g in zip(p, gradients, strict=True)}) < 1e-12


def test_the_floor_changes_the_readout_alone_and_as_the_reference_does():
    graph, inputs, labels = network("residual")
    _, found = teacher_of("shallow", graph, inputs).changes(graph, (inputs, labels))
    _, wanted = teacher_of("bp", graph, inputs).changes(graph, (inputs, labels))
    for name, change in found.items():
        if name in ("w0", "b0"):
            torch.testing.assert_close(change, wanted[name], rtol=0, atol=0)
        else:
            assert not change.any()


@pytest.mark.parametrize("name", sorted(TEACHERS))
@pytest.mark.parametrize("kind", ["mlp", "cnn", "residual"])
def test_every_learner_changes_every_network_in_a_direction_that_lowers_the_loss_at_the_top(
    kind, name
):
    graph, inputs, labels = network(kind)
    before, found = teacher_of(name, graph, inputs).changes(graph, (inputs, labels))
    top = [f"{letter}{sum(k[0] == letter for k in graph.parameters) - 1}" for letter in "wb"]
    for parameter in top:
        graph.parameters[parameter] += 0.05 * found[parameter]
    after, _ = teacher_of("bp", graph, inputs).changes(graph, (inputs, labels))
    assert after < before
    below = [change for key, change in found.items() if key not in top]
    assert any(change.any() for change in below) == (name != "shallow")


def test_learners_that_send_errors_learn_what_random_features_do_not():
    """Bars under noise; the floor reads the same random features."""
    makers = {"shallow": 0, "bp": 0, "fa": 0, "dfa": 0, "rlra": 0}
    found = {}
    for name in makers:
        graph = cnn((1, 8, 8), (4,), (16,), 3, np.random.default_rng(0), kernel=3)
        losses, found[name] = life(name, graph)
        assert losses[-1] < losses[0]
    assert found["bp"] > 0.9
    assert min(found["fa"], found["dfa"], found["rlra"]) > found["shallow"] + 0.05, found


def test_local_alignment_teaches_a_residual_network_with_error_skips_and_without():
    found = {name: life(name, residual_cnn((1, 8, 8), 8, 1, 3, np.random.default_rng(0)))[1]
             for name in ("shallow", "lra", "rlra")}  # fmt: skip
    assert min(found["lra"], found["rlra"]) > found["shallow"] + 0.05, found


def test_the_same_seeds_give_the_same_life():
    lives = [life("rlra", residual_cnn((1, 8, 8), 3, 1, 3, np.random.default_rng(0)), 5)
             for _ in range(2)]  # fmt: skip
    assert lives[0] == lives[1]


def test_a_life_that_diverges_ends_with_the_loss_that_was_not_finite():
    graph = mlp((4, 5, 3), np.random.default_rng(0))
    inputs, labels = torch.full((8, 4), 3.0), torch.zeros(8, dtype=torch.int64)
    labels[::2] = 1
    teacher = teacher_of("bp", graph, [inputs])
    losses = train(graph, teacher, [([inputs], [labels])] * 20, Steps("none", 1e38))
    assert 1 < len(losses) < 20
    assert np.isfinite(losses[:-1]).all()
    assert not np.isfinite(losses[-1])


def test_a_learner_that_cannot_train_a_graph_is_refused_in_one_sentence():
    graph, inputs, _ = unrolled()
    for name in ("dfa", "lra", "rlra"):
        with pytest.raises(InputError, match=r"3 outputs, .* predictive coding or backprop"):
            teacher_of(name, graph, inputs)
    for name in ("bp", "shallow", "fa", "fpc", "pc"):
        teacher_of(name, graph, inputs)
    with pytest.raises(InputError, match=r"unknown learner of graphs 'rlr'. Did you mean 'rlra'"):
        teacher_of("rlr", graph, inputs)
