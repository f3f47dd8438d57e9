"""Stochastic units against the gradient of their mean reward, added up over all states."""

import numpy as np
import pytest
from circuits_lives import SIZES, some_examples
from circuits_noise import (
    KEY,
    SMALL,
    born,
    cosine,
    mean_reward,
    repeated,
    slopes,
    softmax,
    updates_of,
)

from evosearch.circuits.base import forward_equivalents
from evosearch.circuits.reinforce import (
    BASELINE_SHARE,
    AssociativeRewardPenalty,
    CoagentNetwork,
    Reinforce,
)
from evosearch.circuits.streams import initial_weights


def states_of(middle, noise):
    """Return inputs and states of each hidden layer (B, n), from uniform numbers, and totals."""
    states, totals = [middle.posts[0][0]], []
    for weight, uniform in zip(middle.weights[:-1], noise, strict=False):
        totals.append(states[-1] @ weight[0].T)
        up = 1.0 / (1.0 + np.exp(-2.0 * totals[-1]))
        states.append(np.where(uniform < up, 1.0, -1.0))
    return states, totals


def right_probability(middle, top):
    """Return the class probabilities above states of the last hidden layer, and the right one."""
    probabilities = softmax(top @ middle.weights[-1][0].T)
    return probabilities, (probabilities * middle.target[0]).sum(axis=1)


def chosen(probabilities, uniform):
    """Return each example's class by going up its probabilities one by one."""
    found = np.zeros(len(probabilities), dtype=int)
    for example, (row, number) in enumerate(zip(probabilities, uniform, strict=True)):
        below = 0.0
        for label, p in enumerate(row):
            if below <= number:
                found[example] = label
            below += p
    return found


@pytest.mark.parametrize("circuit", [Reinforce(), AssociativeRewardPenalty(), CoagentNetwork()])
def test_the_rule_reads_states_of_units_that_are_on_as_often_as_their_mean_says(circuit):
    middle, drawn = born(circuit, repeated(20_000, SMALL), SMALL)
    states, totals = states_of(middle, [uniform[0] for uniform in drawn])
    for pre, wanted in zip(middle.pres, states, strict=True):
        np.testing.assert_array_equal(pre[0], wanted)
    assert np.abs(states[1].mean(axis=0) - np.tanh(totals[0][0])).max() < 5 / np.sqrt(20_000)


def test_reinforce_is_surprise_times_what_the_outcome_gains_on_the_deterministic_pass():
    middle, drawn = born(Reinforce(), some_examples(), SIZES)
    states, totals = states_of(middle, [uniform[0] for uniform in drawn])
    _, right = right_probability(middle, states[-1])
    usual = (middle.posts[-1][0] * middle.target[0]).sum(axis=1)
    gain = (np.log(right) - np.log(usual))[:, None]
    for k, total in enumerate(totals):
        wanted = gain * (states[k + 1] - np.tanh(total))
        np.testing.assert_allclose(middle.errors[k][0], wanted, rtol=0, atol=1e-12)


def test_arp_follows_barto_and_anandan():
    middle, drawn = born(AssociativeRewardPenalty(penalty=0.03), some_examples(), SIZES)
    states, totals = states_of(middle, [uniform[0] for uniform in drawn])
    probabilities, right = right_probability(middle, states[-1])
    for k, total in enumerate(totals):
        state, mean, r = states[k + 1], np.tanh(total), right[:, None]
        wanted = np.where(r >= 0, r * (state - mean) + 0.03 * (1 - r) * (-state - mean), np.nan)
        np.testing.assert_allclose(middle.errors[k][0], wanted, rtol=0, atol=1e-12)
    wanted = middle.target[0] - probabilities
    np.testing.assert_allclose(middle.errors[-1][0], wanted, rtol=0, atol=1e-12)


def test_coagents_learn_from_right_or_wrong_less_the_running_mean():
    """At the third update the mean holds two minibatches, of the same weights."""
    part, usual = some_examples(), 0.0
    for update in (1, 2, 3):
        middle, drawn = born(CoagentNetwork(), part, SIZES, update)
        states, totals = states_of(middle, [uniform[update - 1] for uniform in drawn])
        probabilities, _ = right_probability(middle, states[-1])
        action = np.eye(SIZES[-1])[chosen(probabilities, drawn[-1][update - 1, :, 0])]
        reward = (action * middle.target[0]).sum(axis=1)
        advantage = (reward - usual)[:, None]
        wanted = [advantage * (s - np.tanh(a)) for s, a in zip(states[1:], totals, strict=True)]
        for ours, theirs in zip(
            middle.errors, [*wanted, advantage * (action - probabilities)], strict=True
        ):
            np.testing.assert_allclose(ours[0], theirs, rtol=0, atol=1e-12)
        usual += BASELINE_SHARE * (reward.mean() - usual)
    assert usual > 0.0


def test_the_running_mean_is_reinforces_other_baseline():
    middle, drawn = born(Reinforce(baseline="mean"), some_examples(), SIZES)
    states, totals = states_of(middle, [uniform[0] for uniform in drawn])
    _, right = right_probability(middle, states[-1])
    wanted = np.log(right)[:, None] * (states[1] - np.tanh(totals[0]))  # usual is 0 at birth
    np.testing.assert_allclose(middle.errors[0][0], wanted, rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("circuit", "reward", "least"),
    [
        (Reinforce(), np.log, 0.99),
        (Reinforce(baseline="mean"), np.log, 0.99),
        (CoagentNetwork(), lambda p: p, 0.998),
    ],
)
def test_the_mean_update_is_the_gradient_of_the_mean_reward(circuit, reward, least):
    part = repeated(50_000, SMALL)
    middle, _ = born(circuit, part, SMALL)
    weights = initial_weights(KEY, SMALL)
    wanted = slopes(lambda ws: mean_reward(ws, part.inputs[0], 1, reward), weights)
    ours = updates_of(middle)
    assert cosine(ours, wanted) > least
    for one, other in zip(ours, wanted, strict=True):
        assert cosine([one], [other]) > 0.99
    norms = [np.linalg.norm(np.concatenate([u.ravel() for u in us])) for us in (ours, wanted)]
    assert norms[0] == pytest.approx(norms[1], rel=0.03)


def test_without_penalty_arp_is_reinforce_on_the_probability_of_the_right_class():
    """Below the readout: its own error there is the cross-entropy's."""
    part = repeated(50_000, SMALL)
    middle, _ = born(AssociativeRewardPenalty(penalty=0.0), part, SMALL)
    weights = initial_weights(KEY, SMALL)
    wanted = slopes(lambda ws: mean_reward(ws, part.inputs[0], 1, lambda p: p), weights)
    assert cosine(updates_of(middle)[:-1], wanted[:-1]) > 0.99


def test_a_choice_among_classes_costs_two_small_products():
    """Of 64-64-10: all 4,736, the upper 640 again, learning 4,736; the choice twice 10 x 10."""
    sizes = (64, 64, 10)
    for circuit in (Reinforce(), AssociativeRewardPenalty()):
        assert forward_equivalents(circuit, sizes) == pytest.approx(2 + 640 / 4736)
    assert forward_equivalents(CoagentNetwork(), sizes) == pytest.approx(2 + 840 / 4736)
