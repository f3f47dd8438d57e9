"""μPC against automatic differentiation of its energy, and what its scales are for."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from small_lessons import KEYS, assert_draws_live_alone, small_lesson

from evosearch.circuits.streams import initial_weights
from evosearch.data import load_data
from evosearch.errors import InputError
from evosearch.learners.base import LEARNERS
from evosearch.learners.mlp import minibatches, one_hot
from evosearch.learners.mupc import (
    PARAMETRISATIONS,
    MuPc,
    descents,
    errors_of,
    increments,
    relax,
    residual_networks,
    slopes,
)

SIZES = (6, 5, 5, 5, 5, 3)
SCALES = {"mupc": (6**-0.5, 25**-0.5, 1 / 5), "residual": (1, 1, 1), "plain": (1, 1, 1)}


def some(parametrisation, sizes=SIZES, batch=4):
    """Networks in float64, inputs (D, B, n) and targets."""
    lesson = small_lesson(sizes)
    rng = np.random.default_rng(1)
    inputs = rng.normal(size=(len(lesson.keys), batch, sizes[0]))
    targets = one_hot(rng.integers(sizes[-1], size=(len(lesson.keys), batch)), sizes[-1])
    return residual_networks(lesson, parametrisation, np.float64), inputs, targets


def torch_energy(parametrisation, weights, values, x, t):
    """Half of all squared errors of one network, an example's sum over a minibatch."""
    first, between, last = SCALES[parametrisation]
    skip = 0 if parametrisation == "plain" else 1
    total = ((values[0] - first * x @ weights[0].T) ** 2).sum()
    for k in range(1, len(values)):
        branch = between * torch.tanh(values[k - 1]) @ weights[k].T
        total = total + ((values[k] - skip * values[k - 1] - branch) ** 2).sum()
    return (total + ((t - last * torch.tanh(values[-1]) @ weights[-1].T) ** 2).sum()) / 2


def in_torch(networks, values, inputs, targets, draw):
    first, hidden, last = (torch.tensor(w[draw]) for w in networks.parameters)
    weights = [w.clone().requires_grad_() for w in (first, *hidden, last)]
    nodes = [torch.tensor(v).requires_grad_() for v in values[draw]]
    return weights, nodes, torch.tensor(inputs[draw]), torch.tensor(targets[draw])


@pytest.mark.parametrize("parametrisation", PARAMETRISATIONS)
def test_value_nodes_and_weights_go_down_the_energy_of_the_papers_equations(parametrisation):
    networks, inputs, targets = some(parametrisation)
    values = networks.forward(inputs) + np.random.default_rng(3).normal(size=(3, 4, 4, 5))
    now = errors_of(networks, networks.below(inputs), values, targets)
    for draw in range(3):
        weights, nodes, x, t = in_torch(networks, values, inputs, targets, draw)
        energy = torch_energy(parametrisation, weights, nodes, x, t)
        wanted = torch.autograd.grad(energy, [*nodes, *weights])
        for k in range(4):
            np.testing.assert_allclose(slopes(networks, now)[draw, k], -wanted[k], atol=1e-13)
        first, hidden, last = (change[draw] for change in increments(networks, inputs, now))
        for ours, theirs in zip([first, *hidden, last], wanted[4:], strict=True):
            np.testing.assert_allclose(ours, -theirs / 4, atol=1e-13)


@pytest.mark.parametrize("parametrisation", PARAMETRISATIONS)
def test_the_forward_pass_leaves_no_error_but_the_outputs(parametrisation):
    networks, inputs, targets = some(parametrisation)
    now = errors_of(networks, networks.below(inputs), networks.forward(inputs), targets)
    assert np.abs(now.errors).max() == 0.0
    assert np.abs(now.output_error).max() > 0.1


def test_relaxation_takes_steps_down_the_slopes_from_the_forward_pass():
    networks, inputs, targets = some("mupc")
    below, values = networks.below(inputs), networks.forward(inputs)
    for _ in range(7):
        values = values + 0.3 * slopes(networks, errors_of(networks, below, values, targets))
    np.testing.assert_array_equal(relax(networks, inputs, targets, 7, 0.3).values, values)


@pytest.mark.parametrize("parametrisation", PARAMETRISATIONS)
def test_the_energy_never_rises_in_small_steps(parametrisation):
    networks, inputs, targets = some(parametrisation)
    found = []
    for steps in (0, 1, 2, 4, 8, 16, 32, 64):
        now = relax(networks, inputs, targets, steps, 0.1)
        hidden = (now.errors**2).sum(axis=(1, 2, 3))
        found.append(hidden + (now.output_error**2).sum(axis=(1, 2)))
    assert (np.diff(found, axis=0) < 0).all()


@pytest.mark.parametrize("parametrisation", PARAMETRISATIONS)
def test_descents_are_the_gradient_of_half_the_squared_error(parametrisation):
    networks, inputs, targets = some(parametrisation)
    first_scale, scale, last_scale = SCALES[parametrisation]
    skip = 0 if parametrisation == "plain" else 1
    for draw in range(3):
        weights, _, x, t = in_torch(networks, networks.forward(inputs), inputs, targets, draw)
        z = first_scale * x @ weights[0].T
        for w in weights[1:-1]:
            z = skip * z + scale * torch.tanh(z) @ w.T
        loss = ((t - last_scale * torch.tanh(z) @ weights[-1].T) ** 2).sum() / 2
        first, hidden, last = (change[draw] for change in descents(networks, inputs, targets))
        wanted = torch.autograd.grad(loss, weights)
        for ours, theirs in zip([first, *hidden, last], wanted, strict=True):
            np.testing.assert_allclose(ours, -theirs / 4, atol=1e-13)


def test_errors_come_down_by_one_layer_a_step():
    networks, inputs, targets = some("mupc")
    for steps in (1, 2, 3):
        now = relax(networks, inputs, targets, steps, 0.5)
        reached = [bool(np.abs(now.errors[:, k]).max() > 1e-12) for k in range(4)]
        assert reached == [False] * (4 - steps) + [True] * steps


def test_weights_start_as_every_learners_but_for_their_scale():
    lesson = small_lesson(SIZES)
    plain, scaled = (residual_networks(lesson, name, np.float64) for name in ("plain", "mupc"))
    drawn = initial_weights(lesson.keys[1], SIZES)
    np.testing.assert_array_equal(plain.first[1], drawn[0])
    np.testing.assert_array_equal(plain.hidden[1, 2], drawn[3])
    np.testing.assert_allclose(scaled.hidden[1, 2], drawn[3] * 5**0.5)


def size_at_the_top(parametrisation, depth):
    networks, inputs, _ = some(parametrisation, (64, *[64] * depth, 10), batch=8)
    return float(np.sqrt((networks.forward(inputs)[:, -1] ** 2).mean()))


def test_the_forward_pass_keeps_its_size_at_any_depth_in_mupc_alone():
    depths = (4, 128)
    mupc, residual, plain = ([size_at_the_top(name, d) for d in depths]
                             for name in ("mupc", "residual", "plain"))  # fmt: skip
    assert mupc[1] == pytest.approx(mupc[0], rel=0.15)
    assert residual[1] > 4 * residual[0]
    assert plain[1] < plain[0] / 3


def test_a_life_of_a_draw_does_not_depend_on_the_draws_beside_it():
    lesson = small_lesson(SIZES, normaliser="adam", rate=0.02)
    assert_draws_live_alone(LEARNERS.get("mupc")(), lesson)


def test_mupc_learns():
    lesson = small_lesson(SIZES, normaliser="adam", rate=0.03, updates=300, check_every=300)
    learned = MuPc().learn(lesson)
    assert (learned.curves > 0.75).all()
    assert learned.cosines is None
    assert learned.diverged_at == (None, None, None)


def test_the_cosine_with_the_gradient_is_that_of_the_update_in_the_middle():
    lesson = small_lesson(SIZES, updates=2, check_every=2, is_probed=True)
    found = MuPc(steps=2).learn(lesson).cosines
    networks = residual_networks(lesson, "mupc")
    inputs, labels = next(minibatches(lesson, np.float32))
    targets = one_hot(labels, 3, np.float32)
    ours = increments(networks, inputs, relax(networks, inputs, targets, 2, 0.5))
    theirs = descents(networks, inputs, targets)
    for draw in range(3):
        pairs = [(ours[1][draw, 1], theirs[1][draw, 1]), (ours[1][draw, 2], theirs[1][draw, 2]),
                 (ours[2][draw], theirs[2][draw])]  # fmt: skip
        for cosine, (a, b) in zip(found[draw, 2:], pairs, strict=True):
            wanted = (a * b).sum() / np.linalg.norm(a) / np.linalg.norm(b)
            assert cosine == pytest.approx(wanted, abs=1e-5)
    assert np.isnan(found[:, :2]).all()  # errors come down by one layer a step


def test_a_life_that_diverges_is_reported_and_leaves_no_accuracy():
    learned = MuPc().learn(small_lesson(SIZES, rate=1e30))
    assert all(end is not None and end <= 4 for end in learned.diverged_at)
    assert np.isnan(learned.curves[:, -1]).all()


def test_a_step_costs_two_passes_through_all_layers_but_the_first():
    assert MuPc(steps=3).forward_equivalents((4, 4, 4, 4)) == pytest.approx(2 + 6 * 32 / 48)


@pytest.mark.parametrize("sizes", [(6, 5, 3), (6, 5, 4, 3)])
def test_networks_without_equal_hidden_layers_are_refused(sizes):
    with pytest.raises(InputError, match="needs at least two of one size"):
        MuPc().check(small_lesson(sizes))


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"steps": 0}, "steps must be at least 1"),
        ({"gamma": 2.0}, "gamma lie above 0 and not above 1"),
        ({"parametrisation": "mup"}, "must be one of mupc, residual, plain"),
    ],
)
def test_settings_out_of_range_are_refused(settings, sentence):
    with pytest.raises(InputError, match=sentence):
        MuPc(**settings)


@pytest.mark.full
def test_sixty_four_layers_learn_the_digits_in_mupc_and_not_in_plain_predictive_coding():
    data = load_data("digits")
    sizes = (64, *[64] * 63, 10)
    lesson = small_lesson(sizes, data.train, held=data.validation, updates=132, batch=32,
                          check_every=132, normaliser="adam", keys=KEYS[:1])  # fmt: skip
    found = {
        name: MuPc(steps=24, gamma=0.2, parametrisation=name).learn(replace(lesson, rate=rate))
        for name, rate in (("mupc", 0.1), ("plain", 1e-3))
    }
    assert found["mupc"].curves[0, -1] > 0.85
    assert found["plain"].curves[0, -1] < 0.65
