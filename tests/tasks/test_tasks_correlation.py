"""Finding a pattern in noise: the compiled life against a plain loop, streams, published pair."""

import numpy as np
import pytest
from spiking_oracle import free_potential, learnt_weights

from evosearch.problem import load_problem
from evosearch.spiking.correlation import Stream, learn, signal_to_noise
from evosearch.tasks.correlation_driven import draw_stream

PAIRS = [
    (lambda w, k: k - w, lambda w, k: w * k - w - k, (0, -1, 1, 0, 0, 0), (0, -1, -1, 1, 0, 0)),
    (
        lambda w, k: 0.1 + k - w * w + 0.2 * k * k,
        lambda w, k: 0.3 * w + k - 0.1,
        (0.1, 0, 1, 0, -1, 0.2),
        (-0.1, 0.3, 1, 0, 0, 0),
    ),
]


@pytest.mark.parametrize(("facilitate", "depress", "f", "d"), PAIRS)
def test_weights_and_spikes_agree_with_the_plain_simulation(facilitate, depress, f, d):
    stream, w0 = draw_stream((0, 0, 0, 1), 300, 10.0, 4)
    expected, spikes = learnt_weights(facilitate, depress, stream, w0)
    found, n_spikes = learn(np.array(f, float), np.array(d, float), stream, w0)
    assert n_spikes == len(spikes) > 10
    np.testing.assert_allclose(found, expected, atol=1e-9)
    assert np.ptp(found) > 0.05


def test_measure_is_that_of_the_free_potential():
    stream, _ = draw_stream((0, 0, 0, 2), 20, 5.0, 1)
    weights = np.random.default_rng(0).random(20)
    times = np.arange(1, 10_001) * 0.1
    v = free_potential(weights, stream, times)
    period = ((times - 0.05) // 500).astype(int)
    is_inside = (times - 0.05) % 500 >= 400
    highest = [v[is_inside & (period == k)].max() for k in range(2)]
    expected = (np.mean(highest) - v[~is_inside].mean()) / v[~is_inside].std()
    assert signal_to_noise(weights, stream, 1000.0) == pytest.approx(expected, rel=1e-9)
    assert signal_to_noise(np.zeros(20), stream, 1000.0) == 0


def test_mean_rates_do_not_tell_the_inputs_of_the_pattern():
    stream, _ = draw_stream((0, 0, 0, 3), 1000, 3.0, 200)
    counts = np.bincount(stream.source, minlength=1000) / 200
    phase = stream.time % 500
    in_pattern = np.unique(stream.source[phase >= 400])
    assert len(in_pattern) == pytest.approx(1000 * (1 - np.exp(-0.3)), abs=60)
    others = np.setdiff1d(np.arange(1000), in_pattern)
    assert counts[in_pattern].mean() == pytest.approx(2.4, abs=0.05)
    assert counts[others].mean() == pytest.approx(2.4, abs=0.05)
    assert (np.diff(stream.time) >= 0).all()
    one = stream.time[stream.source == in_pattern[0]]
    times = np.sort(one[one % 500 >= 400] % 500)
    assert np.ptp(times) < 1e-6


def test_published_pair_finds_the_pattern_and_no_plasticity_does_not():
    problem = load_problem("correlation_driven")
    points = [problem.known_candidate(name) for name in ("zero", "jordan_homeostatic")]
    zero, pair = problem.score(points, np.ones(2), problem.draws("test", count=4)).per_draw
    assert zero.max() < 8
    assert np.median(pair) > 15


def test_weights_agree_across_epochs_without_a_spike():
    """Traces are counted from origins 500 ms apart; some such epochs are skipped here."""
    rng = np.random.default_rng(0)
    time = np.sort(np.concatenate([rng.uniform(t, t + 40, 90) for t in (460, 1980, 2010, 9000)]))
    stream = Stream(time, rng.integers(0, 60, time.size).astype(np.int32), 500.0, 100.0)
    f, d = np.array([0, 0, 0.3, 0, 0, 0]), np.array([-1, 0, 2.0, 0, 0, 0.5])
    expected, spikes = learnt_weights(
        lambda w, k: 0.3 * k, lambda w, k: 2 * k - 1 + 0.5 * k * k, stream, np.full(60, 0.9)
    )
    found, n_spikes = learn(f, d, stream, np.full(60, 0.9))
    assert n_spikes == len(spikes) > 3
    assert np.ptp(found) > 0.02
    np.testing.assert_allclose(found, expected, atol=1e-9)


def test_a_cap_is_the_most_that_a_trial_earns_and_does_not_hide_what_was_found():
    problem = load_problem("correlation_driven")
    pair = problem.known_candidate("jordan_homeostatic")[None]
    free = problem.score(pair, [1.0], problem.draws("test", count=3))
    capped = load_problem("correlation_driven", overrides={"splits.test.cap": "12.0"})
    cut = capped.score(pair, [1.0], capped.draws("test", count=3))
    np.testing.assert_array_equal(cut.per_draw, np.minimum(free.per_draw, 12.0))
    assert (free.per_draw > 12).any()
    assert cut.metrics["found"] == free.metrics["found"] == (free.per_draw >= 10).mean()
