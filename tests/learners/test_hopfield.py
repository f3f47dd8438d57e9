"""The associative memory: its energy, its capacity, and what the task of the same name stores."""

import numpy as np
import pytest

from evosearch.errors import InputError
from evosearch.learners.hopfield import HopfieldNetwork, take_turns

N = 200


def patterns_and_probes(load, seed, n_probes=5):
    """Random patterns, and some of them with a tenth of their signs wrong."""
    rng = np.random.default_rng([7, seed])
    patterns = rng.choice([-1.0, 1.0], (round(load * N), N))
    probes = np.where(rng.random((n_probes, N)) < 0.1, -1, 1) * patterns[:n_probes]
    return patterns, probes, rng


def share_recovered(load, n_draws=40):
    """Share of probes that end with 99 % of their signs right."""
    found = []
    for seed in range(n_draws):
        patterns, probes, rng = patterns_and_probes(load, seed)
        ends = HopfieldNetwork.fit(patterns).recall(probes, rng=rng)
        found.append((ends == patterns[:5]).mean(axis=1) >= 0.99)
    return np.mean(found)


@pytest.mark.parametrize(
    ("load", "least", "most"), [(0.05, 1, 1), (0.1, 0.92, 0.99), (0.138, 0.55, 0.77), (0.2, 0, 0.2)]
)
def test_recall_breaks_down_at_the_known_capacity(load, least, most):
    assert least <= share_recovered(load) <= most


def test_no_turn_of_a_unit_raises_the_energy():
    patterns, probes, rng = patterns_and_probes(0.15, seed=1)
    memory = HopfieldNetwork.fit(patterns)
    states, before = probes.copy(), memory.energy(probes)
    n_changed = 0
    for unit in rng.permutation(N):
        n_changed += take_turns(memory.weights, states, np.array([unit]))
        after = memory.energy(states)
        assert (after <= before + 1e-9).all()
        before = after
    assert n_changed > 20


def test_energy_is_that_of_all_pairs_of_units():
    patterns, probes, _ = patterns_and_probes(0.05, seed=2)
    memory = HopfieldNetwork.fit(patterns)
    s = probes[0]
    pairs = sum(memory.weights[i, j] * s[i] * s[j] for i in range(N) for j in range(i))
    assert memory.energy(probes)[0] == pytest.approx(-pairs)


def test_recall_ends_where_no_unit_would_change():
    patterns, probes, rng = patterns_and_probes(0.2, seed=3)
    memory = HopfieldNetwork.fit(patterns)
    for ends in (memory.recall(probes), memory.recall(probes, rng=rng)):
        np.testing.assert_array_equal(np.where(ends @ memory.weights >= 0, 1, -1), ends)


def test_weights_are_what_hebbs_rule_of_the_task_leaves():
    patterns, _, _ = patterns_and_probes(0.1, seed=4)
    weights = np.zeros((N, N))
    for pattern in patterns:
        weights += np.outer(pattern, pattern) / N
        weights[np.diag_indices(N)] = 0
    np.testing.assert_allclose(HopfieldNetwork.fit(patterns).weights, weights, atol=1e-12)


def test_wrong_arguments_are_refused():
    memory = HopfieldNetwork.fit([[1, 1, -1], [1, -1, 1]])
    with pytest.raises(InputError, match=r"probes have the shape \(1, 2\); it must be \(n, 3\)"):
        memory.recall([[1, 1]])
    with pytest.raises(InputError, match="patterns hold other numbers than 1 and -1"):
        HopfieldNetwork.fit([[1, 0]])
    with pytest.raises(InputError, match="sweeps is 0; it must be at least 1"):
        memory.recall([[1, 1, 1]], sweeps=0)
