"""Equilibrium propagation: its energy falls, and its contrast is the gradient."""

from dataclasses import replace

import numpy as np
import pytest
from small_lessons import assert_draws_live_alone, small_lesson

from evosearch.circuits.life import held_out
from evosearch.data import load_data
from evosearch.errors import InputError
from evosearch.learners.base import LEARNERS
from evosearch.learners.equilibrium import (
    EquilibriumNetworks,
    EquilibriumPropagation,
    Settling,
    contrast,
)

SETTLED = Settling(steps=400, nudged_steps=400, step_size=0.5)


def networks_within_limits(settling=SETTLED, hidden_bias=0.45):
    """Two draws whose states stay between their bounds, where the energy is smooth."""
    rng = np.random.default_rng(5)
    shapes = ((2, 5, 4), (2, 4, 5), (2, 3, 4))
    weights = [0.12 * rng.normal(size=shape) for shape in shapes]
    biases = [
        np.full(w.shape[:2], b)
        for w, b in zip(weights, (hidden_bias, hidden_bias, 0.45), strict=True)
    ]
    return EquilibriumNetworks(weights, biases, settling)


def inputs_and_targets():
    rng = np.random.default_rng(6)
    return rng.random((2, 7, 4)), np.eye(3)[rng.integers(0, 3, (2, 7))]


def half_squared_errors(networks, inputs, targets):
    """Return (D,): the loss of the free phase, minibatch means."""
    return 0.5 * ((networks.free(inputs)[-1] - targets) ** 2).sum(axis=2).mean(axis=1)


def betas(value):
    return np.full((2, 1, 1), value)


# The error of one-sided nudging is of first order in beta = .001, that of centred of second.
@pytest.mark.parametrize(("is_centred", "tolerance"), [(True, 1e-5), (False, 5e-3)])
def test_weak_nudging_gives_the_gradient_of_the_free_phases_loss(is_centred, tolerance):
    assert_contrast_is_the_gradient(networks_within_limits(), is_centred, tolerance, least=0.0)


def test_weak_nudging_gives_the_gradient_where_hidden_states_are_signed():
    networks = networks_within_limits(replace(SETTLED, least=-1.0), hidden_bias=-0.1)
    assert any((s < -0.01).any() for s in networks.free(inputs_and_targets()[0])[:-1])
    assert_contrast_is_the_gradient(networks, True, 1e-5, least=-1.0)


def assert_contrast_is_the_gradient(networks, is_centred, tolerance, *, least):
    inputs, targets = inputs_and_targets()
    *hidden, output = networks.free(inputs)
    assert all(((s > least + 0.01) & (s < 0.99)).all() for s in hidden)
    assert ((output > 0.01) & (output < 0.99)).all()
    found = contrast(networks, inputs, targets, betas(1e-3), is_centred=is_centred)
    checked = 0
    for increment, parameter in zip(found, networks.parameters, strict=True):
        for index in list(np.ndindex(parameter.shape[1:]))[::3]:
            at = (slice(None), *index)
            kept, ends = parameter[at].copy(), []
            for step in (1e-5, -1e-5):
                parameter[at] = kept + step
                ends.append(half_squared_errors(networks, inputs, targets))
            parameter[at] = kept
            wanted = -(ends[0] - ends[1]) / 2e-5
            np.testing.assert_allclose(increment[at], wanted, rtol=tolerance, atol=tolerance / 100)
            checked += 1
    assert checked > 20
    assert max(np.abs(i).max() for i in found) > 0.05


def test_states_stay_within_their_bounds():
    for least in (0.0, -1.0):
        networks = networks_within_limits(replace(SETTLED, least=least))
        for layer in networks.weights:
            layer *= 40.0
        *hidden, output = networks.free(inputs_and_targets()[0])
        assert [(s.min(), s.max()) for s in hidden] == [(least, 1.0)] * 2
        assert (output.min(), output.max()) == (0.0, 1.0)


def test_the_mean_of_both_signs_is_what_two_nudged_phases_give():
    networks, (inputs, targets) = networks_within_limits(), inputs_and_targets()
    up, down = (
        contrast(networks, inputs, targets, betas(b), is_centred=False) for b in (0.5, -0.5)
    )
    both = contrast(networks, inputs, targets, betas(0.5), is_centred=True)
    for one, other, mean in zip(up, down, both, strict=True):
        np.testing.assert_allclose((one + other) / 2, mean, atol=1e-12)


def test_nothing_is_learned_where_outputs_are_right():
    networks, (inputs, _) = networks_within_limits(), inputs_and_targets()
    targets = networks.free(inputs)[-1]
    for increment in contrast(networks, inputs, targets, betas(0.5), is_centred=True):
        np.testing.assert_allclose(increment, 0.0, atol=1e-12)


def energy(networks, inputs, states):
    """Return (D, B), pair by pair of layers."""
    total = 0.0
    for pre, post, w, b in zip(
        [inputs, *states], states, networks.weights, networks.biases, strict=False
    ):
        total = total + (post**2).sum(axis=2) / 2 - (post * b[:, None]).sum(axis=2)
        total = total - np.einsum("dbo,doi,dbi->db", post, w, pre)
    return total


def test_settling_lowers_the_energy_down_to_where_units_rest():
    inputs, _ = inputs_and_targets()
    before = None
    for n_steps in (1, 2, 4, 8, 16, 32):
        networks = networks_within_limits(Settling(n_steps, 1, 0.2))
        states = networks.free(inputs)
        after = energy(networks, inputs, states)
        assert before is None or (after < before).all()
        before = after
    networks = networks_within_limits()
    states = networks.free(inputs)
    moved = networks.nudged(inputs, states, np.zeros((2, 7, 3)), betas(0.0))
    for state, same in zip(states, moved, strict=True):
        np.testing.assert_allclose(state, same, atol=1e-12)


@pytest.mark.parametrize("nudging", ["centred", "random"])
def test_a_draw_becomes_the_same_without_the_others(nudging):
    assert_draws_live_alone(EquilibriumPropagation(nudging=nudging), small_lesson())


@pytest.mark.parametrize("nudging", ["centred", "random"])
def test_digits_are_learned(nudging):
    train, held = held_out(load_data("digits"), "validation")
    lesson = small_lesson(
        (64, 32, 10), train, held=held, updates=200, batch=32, check_every=200, rate=0.1,
        keys=[(1, 1)],
    )  # fmt: skip
    assert EquilibriumPropagation(nudging=nudging).learn(lesson).curves[0, -1] > 0.8


def test_settings_out_of_range_are_refused():
    assert LEARNERS.get("eqprop") is EquilibriumPropagation
    with pytest.raises(InputError, match="nudging is 'both'; it must be 'centred' or 'random'"):
        EquilibriumPropagation(nudging="both")
    with pytest.raises(InputError, match=r"beta is 0 and step_size 0.5; they must be above 0"):
        EquilibriumPropagation(beta=0)
    with pytest.raises(InputError, match="free_steps is 0 and nudged_steps 6; each must be"):
        EquilibriumPropagation(free_steps=0)
    with pytest.raises(InputError, match="gain is 0; it must be a number above 0"):
        EquilibriumPropagation(gain=0)
    with pytest.raises(InputError, match="trains feed-forward networks"):
        EquilibriumPropagation().check(small_lesson(network="rnn"))


def test_an_update_costs_its_steps_up_and_down_and_two_products_a_synapse():
    learner = EquilibriumPropagation(free_steps=10, nudged_steps=4)
    assert learner.forward_equivalents((8, 4, 2)) == 2 + (3 * 32 + 2 * 18 * 8) / 40
