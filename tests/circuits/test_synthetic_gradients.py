"""Synthetic gradients against their equations; with labels they beat random hidden layers."""

import numpy as np
import pytest
from circuits_lives import SIZES
from circuits_recorded import born_weights, state

from evosearch.circuits.base import CIRCUITS, TERMINALS
from evosearch.circuits.life import accuracies, build_life, held_out
from evosearch.circuits.normalisers import normaliser
from evosearch.circuits.teaching import Plan
from evosearch.data import load_data
from evosearch.engine.run import run_lifetimes
from evosearch.rules.lower import lower
from evosearch.rules.rule import Rule

LAST = len(SIZES) - 2


def has_moved(found):
    return [np.abs(found[f"weights {k}"] - w).max() > 0 for k, w in enumerate(born_weights())]


@pytest.mark.parametrize("name", ["dni", "cdni"])
def test_hidden_layers_stay_until_their_map_has_heard_of_the_loss_a_layer_an_update(name):
    for updates in range(1, LAST + 2):
        wanted = [k > LAST - updates for k in range(LAST + 1)]
        assert has_moved(state(name, updates)) == wanted


def predictions(found, before, k):
    """Return what the map of hidden layer k makes of activity and class (D, B, n)."""
    sources = [found[f"post {k + 1}"], found["target"]]
    matrices = before.each("synthesiser")
    of_layer = len(matrices) // LAST
    mine = matrices[of_layer * k : of_layer * (k + 1)]
    total = before.each("synthesiser bias")[k].swapaxes(1, 2)
    return total + sum(np.einsum("doi,dbi->dbo", m, s)
                       for m, s in zip(mine, sources, strict=False))  # fmt: skip


@pytest.mark.parametrize("name", ["dni", "cdni"])
def test_errors_are_predictions_and_their_targets_come_from_the_layer_above(name):
    before, found = (state(name, n) for n in (7, 8))
    for k in range(LAST):
        signal = predictions(found, before, k)
        error = signal * (1.0 - found[f"post {k + 1}"] ** 2)
        np.testing.assert_allclose(found[f"error {k}"], error, atol=1e-12)
        above = np.einsum("dbo,doi->dbi", found[f"error {k + 1}"], before[f"weights {k + 1}"])
        np.testing.assert_allclose(found.each("true signal")[k], above - signal, atol=1e-12)
        assert np.abs(signal).max() > 1e-4


@pytest.mark.parametrize("name", ["dni", "cdni"])
def test_a_map_takes_one_step_of_adam_down_its_squared_distance(name):
    found = state(name, 1)
    signal = np.einsum("dbo,doi->dbi", found[f"error {LAST}"], born_weights()[LAST])
    read = [found[f"post {LAST}"], found["target"]][: len(found.each("synthesiser")) // LAST]
    maps = found.each("synthesiser")[-len(read) :]
    for matrix, source in zip(maps, read, strict=True):
        gradient = np.einsum("dbo,dbi->doi", signal, source) / source.shape[1]
        step = 0.032 * gradient / (np.abs(gradient) + 1e-8)
        np.testing.assert_allclose(matrix, step, atol=1e-9)


def accuracy_at_depth_six(name, rate):
    """Return the mean test accuracy of five networks after 880 updates of Adam."""
    sizes, keys = (64, *[64] * 6, 10), [(0, 1, k) for k in range(5)]
    changes, plan = normaliser("adam", rate), Plan(sizes, 880, check_every=880)
    parts = held_out(load_data("digits"), "test")
    life = build_life(CIRCUITS.get(name)(), changes, plan, parts, keys)
    result = run_lifetimes(life, [lower(Rule("error*pre"), TERMINALS)], changes.eta)
    return accuracies(life, result)[0, :, -1].mean()


@pytest.mark.full
def test_with_labels_they_beat_random_hidden_layers_at_depth_six():
    """Each at the rate that suits it: .97 and .86."""
    assert accuracy_at_depth_six("cdni", 1e-3) > accuracy_at_depth_six("shallow", 3e-3) + 0.08
