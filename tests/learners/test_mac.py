"""Auxiliary coordinates: the penalty objective falls, and it is predictive coding's energy."""

from __future__ import annotations

import numpy as np
import pytest

from evosearch.data.base import examples
from evosearch.errors import InputError
from evosearch.learners.base import LEARNERS, Lesson
from evosearch.learners.mac import Coordinates, Mac
from evosearch.learners.mlp import descents, forward, initial_networks, one_hot
from evosearch.learners.sweeps import solve, updates_per_sweep


def lesson(n_draws=2, updates=60, n=50, **changes):
    rng = np.random.default_rng(0)
    labels = [rng.integers(0, 3, size) for size in (n, 40)]
    centres = rng.normal(size=(3, 4))
    parts = [examples(centres[y] + 0.4 * rng.normal(size=(len(y), 4)), y) for y in labels]
    keys = [(3, 1, k) for k in range(n_draws)]
    settings = {"sizes": (4, 6, 5, 3), "network": "mlp"} | changes
    return Lesson(
        settings["network"], settings["sizes"], 1, *parts, updates, 5, 10, "none", 0.1, keys, True
    )


def coordinates(mu=0.3, damping=0.03, given=None):
    given = given or lesson()
    networks = initial_networks(given)
    for biases in networks.biases:
        biases += 0.2
    inputs = given.train.inputs[None].astype(np.float64)
    at = Coordinates(networks, inputs, one_hot(given.train.labels, 3), mu, damping)
    rng = np.random.default_rng(1)
    for value in at.values:
        value += rng.normal(size=value.shape)
    return at, networks


def test_the_objective_is_predictive_codings_energy_with_variances_one_over_mu():
    mu = 0.3
    at, networks = coordinates(mu)
    given = lesson()
    for draw in range(2):
        for row in (0, 17):
            post, energy = given.train.inputs[row].astype(np.float64), 0.0
            nodes = [value[draw, row] for value in at.values]
            for layer, node in enumerate([*nodes, None]):
                prediction = networks.weights[layer][draw] @ post + networks.biases[layer][draw]
                if node is None:
                    odds = np.exp(prediction) / np.exp(prediction).sum()
                    energy -= np.log(odds[given.train.labels[row]])
                else:
                    energy += ((node - prediction) ** 2).sum() / (2 / mu)
                    post = np.tanh(node)
            assert at.energies()[draw, row] == pytest.approx(energy, rel=1e-12)


@pytest.mark.parametrize("mu", [0.01, 0.3, 10.0])
def test_no_step_of_either_kind_raises_the_objective_at_a_fixed_penalty(mu):
    at, _ = coordinates(mu, damping=1e-6)
    last = at.energies()
    first = last.sum(axis=1)
    for _ in range(15):
        at.z_step(3)
        assert (at.energies() <= last).all()  # of every example
        last = at.energies()
        at.w_step(2)
        assert (at.energies().sum(axis=1) <= last.sum(axis=1) * (1 + 1e-12)).all()
        last = at.energies()
    assert (last.sum(axis=1) < 0.5 * first).all()


def test_steps_of_the_top_never_raise_the_cross_entropy_and_reach_its_least():
    given = lesson(sizes=(4, 3))
    networks = initial_networks(given)
    inputs = given.train.inputs[None].astype(np.float64)
    mixed = np.random.default_rng(4).permutation(given.train.labels)  # no plane parts them
    at = Coordinates(networks, inputs, one_hot(mixed, 3), 1.0, 1e-9)
    last = at.energies().sum(axis=1)
    for _ in range(60):
        at.w_step(1)
        now = at.energies().sum(axis=1)
        assert (now <= last * (1 + 1e-14)).all()
        last = now
    slopes = descents(networks, forward(networks, inputs), one_hot(mixed, 3)[None])[0]
    np.testing.assert_allclose(slopes, 0.0, atol=1e-6)


def test_a_w_step_solves_the_regression_of_a_hidden_layer():
    at, networks = coordinates(damping=1e-12)
    at.w_step(1)
    posts = np.tanh(at.values[0][1])
    pre = np.column_stack([posts, np.ones(len(posts))])
    wanted, *_ = np.linalg.lstsq(pre, at.values[1][1], rcond=None)
    np.testing.assert_allclose(networks.weights[1][1], wanted[:-1].T, atol=1e-8)
    np.testing.assert_allclose(networks.biases[1][1], wanted[-1], atol=1e-8)


def test_coordinates_move_against_the_gradient_of_their_energy():
    at, _ = coordinates()
    before = [value.copy() for value in at.values]
    slopes = []
    for value in at.values:
        slope = np.zeros_like(value)
        for unit in range(value.shape[2]):
            value[..., unit] += 1e-6
            above = at.energies()
            value[..., unit] -= 2e-6
            slope[..., unit] = (above - at.energies()) / 2e-6
            value[..., unit] += 1e-6
        slopes.append(slope)
    at.z_step(1)
    moved = [now - old for now, old in zip(at.values, before, strict=True)]
    length = 0.5 / 0.3
    is_moved = moved[0].any(axis=-1)
    assert is_moved.any()
    for move, slope in zip(moved, slopes, strict=True):
        np.testing.assert_allclose(move[is_moved], -length * slope[is_moved], atol=1e-7)


def test_weights_fixed_by_the_targets_of_one_layer_do_not_touch_another():
    at, networks = coordinates()
    other, others = coordinates()
    other.values[0] += 1.0  # what the first layer is to fit; the top does not see it
    at.w_step(1)
    other.w_step(1)
    assert np.array_equal(networks.weights[2], others.weights[2])
    assert not np.array_equal(networks.weights[0], others.weights[0])


def test_it_learns_and_a_draw_is_the_same_alone():
    learned = Mac().learn(lesson())
    assert learned.diverged_at == (None, None)
    assert (learned.curves[:, -1] > 0.85).all()
    assert learned.cosines is not None
    assert learned.cosines.shape == (2, 3)
    alone = Mac().learn(lesson(n_draws=1))
    assert np.array_equal(alone.curves[0], learned.curves[0])
    assert np.array_equal(alone.networks.weights[1][0], learned.networks.weights[1][0])


def test_systems_that_are_not_finite_leave_the_others_solved():
    rng = np.random.default_rng(0)
    matrices = np.repeat(np.diag([2.0, 4.0])[None], 3, axis=0)
    matrices[1, 0, 1] = np.nan
    right = rng.normal(size=(3, 2, 5))
    right[2, 0, 0] = np.inf
    found = solve(matrices, right)
    np.testing.assert_allclose(found[0], right[0] / [[2.0], [4.0]])
    assert np.isnan(found[1:]).all()


def test_accuracy_stands_still_until_a_sweep_has_shown_its_examples():
    given = lesson(n=150)
    assert updates_per_sweep(given) == 30
    curves = Mac().learn(given).curves
    start = forward(initial_networks(given), given.held.inputs[None].astype(np.float64))
    right = (start.posts[-1].argmax(axis=-1) == given.held.labels).mean(axis=1)
    assert np.array_equal(curves[:, 0], right)
    assert np.array_equal(curves[:, 1], right)
    assert np.array_equal(curves[:, 2], curves[:, 4])


def test_a_draw_that_diverges_is_reported_and_does_not_disturb_the_others(monkeypatch):
    def broken(given):
        networks = initial_networks(given)
        networks.weights[0][0, 0, 0] = np.inf
        return networks

    alone = Mac().learn(lesson()).curves
    monkeypatch.setattr("evosearch.learners.mac.initial_networks", broken)
    learned = Mac().learn(lesson())
    assert learned.diverged_at == (10, None)
    assert np.isnan(learned.curves[0]).all()
    assert np.array_equal(learned.curves[1], alone[1])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"network": "rnn"}, "trains feed-forward networks"),
        ({"updates": 9}, "sweep.* counts as 10 updates; updates is 9"),
        ({"sizes": (4, 2_000_000, 3)}, "holds values of all 50 examples .* limit is 4 GiB"),
    ],
)
def test_what_it_cannot_train_is_refused(changes, message):
    with pytest.raises(InputError, match=message):
        LEARNERS.get("mac")().check(lesson(**changes))


def test_settings_out_of_range_are_refused():
    with pytest.raises(InputError, match=r"mac has mu -1\.0"):
        Mac(mu=-1.0)


def test_its_cost_counts_relaxation_and_regressions():
    relaxing = 3 * (20 + 8)
    fitting = (9 + 16) + 2 * 12 + 2 * 5 * 8
    cost = Mac(z_steps=2, w_steps=5).forward_equivalents((3, 4, 2))
    assert cost == pytest.approx((relaxing + fitting) / 20)
