"""Inhibitory plasticity: the compiled life against a plain loop, the known rule, ended lives."""

import numpy as np
import pytest
from spiking_oracle import balanced_spikes

from evosearch.problem import load_problem
from evosearch.spiking.inhibition import PlasticityLaw, count_spikes
from evosearch.tasks.ei_balance import draw_inputs, plasticity_law

KNOWN = PlasticityLaw(20.0, 20.0, -0.4, 0.0, 1.0, 1.0)
LAWS = [KNOWN, PlasticityLaw(8.0, 35.0, -0.3, 0.2, 1.5, 0.7), PlasticityLaw(20.0, 20.0, 0, 0, 0, 0)]


@pytest.mark.parametrize("law", LAWS)
def test_neuron_spikes_as_in_the_plain_simulation(law):
    inputs = draw_inputs((7, 0, 0, 1), (2.0, 4.0), 2)
    spikes = balanced_spikes(law, inputs, 200)
    counts = count_spikes(law, inputs, 200, 1000, (0, 1000))
    assert len(spikes) > 10
    np.testing.assert_array_equal(counts, np.histogram(spikes, np.arange(0, 20_001, 1000))[0])


def test_known_rule_holds_the_rate_within_two_hertz_slightly_above_the_target():
    """It settles near 11.2 Hz for 10, since a spike of inhibition delays the neuron's next."""
    problem = load_problem("ei_balance")
    points = [problem.known_candidate(name) for name in ("zero", "istdp", "istdp_weaker")]
    chunk = problem.score(points, np.ones(3), problem.draws("test"))
    zero, known, weaker = chunk.fitness
    assert zero < -15
    assert chunk.metrics["within_2"][1] >= 0.95
    assert chunk.metrics["rate_10"][1] == pytest.approx(11.2, abs=0.4)
    assert known < weaker
    assert chunk.metrics["rate_10"][2] == pytest.approx(10.1, abs=0.3)


def test_alpha_follows_the_target():
    assert plasticity_law(np.array([0, 0, -0.4, 0, 1, 1.0]), 5.0).alpha == pytest.approx(-0.2)
    problem = load_problem("ei_balance", overrides={"task.targets": "[5.0, 10.0]"})
    chunk = problem.score([problem.known_candidate("istdp")], [1.0], problem.draws("test", count=4))
    assert 5.0 < chunk.metrics["rate_5"][0] < 6.5
    assert 10.0 < chunk.metrics["rate_10"][0] < 12.0
    one = load_problem("ei_balance", overrides={"task.targets": "[10.0]"})
    ten = one.score([one.known_candidate("istdp")], [1.0], one.draws("test", count=4))
    assert ten.metrics["rate_10"] == chunk.metrics["rate_10"]


def test_lives_that_fall_silent_or_race_end_and_the_later_the_better():
    problem = load_problem("ei_balance", overrides={"task.input_rate": "[3.0, 5.0]"})
    draws = problem.draws("search", count=2)
    silent, racing = np.array([0, 0, 5, 0, 0, 0.0]), np.array([0, 0, -5, -5, 0, 0.0])
    chunk = problem.score([silent, racing, np.zeros(6)], np.ones(3), draws)
    assert (chunk.per_draw[0] <= -100).all()
    assert (chunk.per_draw >= -200).all()
    assert (chunk.per_draw[2] > -100).all()
    inputs = draw_inputs(draws.keys[0], (3.0, 5.0), 60)
    counts = count_spikes(plasticity_law(silent, 10.0), inputs, 200, 100_000, (1, 1000))
    assert counts[0] < 1000
    assert counts[-1] == -1


def test_weights_stay_within_their_bounds_whatever_the_law():
    inputs = draw_inputs((7, 0, 0, 2), (4.0, 5.0), 10)
    for sign in (-1, 1):
        law = PlasticityLaw(90.0, 90.0, sign * 5.0, sign * 5.0, sign * 5.0, sign * 5.0)
        counts = count_spikes(law, inputs, 200, 100_000, (0, 10**6))
        assert 0 <= counts[0] < 2000
