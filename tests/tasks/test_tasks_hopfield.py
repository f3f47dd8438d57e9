from functools import partial

import numpy as np
import pytest
from tasks_lives import live, task_of
from tasks_oracle import hopfield_table, hopfield_weights, keys_of, pseudo_inverse

from evosearch.tasks.hopfield_storage import draw_patterns

RULES = {
    "hebb": ("pre*post", lambda w, x, y, hx, hy: x * y),
    "widrow_hoff": ("(post - field_post)*pre", lambda w, x, y, hx, hy: (y - hy) * x),
    "storkey": (
        "pre*post - post*(field_pre - w*post) - (field_post - w*pre)*pre",
        lambda w, x, y, hx, hy: x * y - y * (hx - w * y) - (hy - w * x) * x,
    ),
    "product": (
        "(post - field_post)*(pre - field_pre)",
        lambda w, x, y, hx, hy: (y - hy) * (x - hx),
    ),
}


@pytest.mark.parametrize("name", RULES)
def test_hopfield_task_agrees_with_the_plain_simulation(name):
    text, rule = RULES[name]
    keys, loads = keys_of(4), (10, 30)
    task = task_of("hopfield_storage", clip=10, zero_diagonal=True, loads=loads)
    scores = live(task, keys, text, eta=0.01)
    table = hopfield_table(partial(hopfield_weights, rule), keys, loads=loads)
    expected = np.mean([table[load][:, 1] for load in loads], axis=0)
    np.testing.assert_allclose(scores.per_draw[0], expected, atol=1e-12)
    for load in loads:
        assert scores.metrics[f"fixed_{load}"][0] == pytest.approx(table[load][:, 0].mean())
        assert scores.metrics[f"recall_{load}"][0] == pytest.approx(table[load][:, 1].mean())


def test_hopfield_offers_one_over_n_as_a_terminal():
    keys = keys_of(2)
    task = task_of("hopfield_storage", clip=10, zero_diagonal=True, loads=(20,))
    scaled = live(task, keys, "pre*post*inv_n", eta=1.0)
    plain = live(task, keys, "pre*post", eta=0.01)
    np.testing.assert_array_equal(scaled.per_draw, plain.per_draw)


def test_hopfield_presents_the_patterns_as_often_as_told():
    keys = keys_of(3)
    task = task_of("hopfield_storage", clip=10, zero_diagonal=True, loads=(50,), passes=3)
    scores = live(task, keys, "(post - field_post)*pre", eta=0.01)
    store = partial(hopfield_weights, RULES["widrow_hoff"][1], passes=3)
    expected = hopfield_table(store, keys, loads=(50,))[50][:, 1]
    np.testing.assert_allclose(scores.per_draw[0], expected, atol=1e-12)


def test_storkey_written_with_local_fields_equals_the_sums_that_leave_units_out():
    rng = np.random.default_rng(0)
    x, w = rng.choice([-1.0, 1.0], 8), rng.normal(size=(8, 8))
    np.fill_diagonal(w, 0)
    h = w @ x
    for i in range(8):
        for j in range(8):
            h_ij = sum(w[i, k] * x[k] for k in range(8) if k not in (i, j))
            assert h[i] - w[i, j] * x[j] == pytest.approx(h_ij)


def test_hopfield_loads_draw_independent_patterns_with_a_tenth_flipped():
    patterns, cues = draw_patterns((5,), 100, 40, 0.1)
    other, _ = draw_patterns((5,), 100, 50, 0.1)
    assert set(np.unique(patterns)) == {-1.0, 1.0}
    assert not np.array_equal(patterns, other[:40])
    assert np.mean(patterns != cues) == pytest.approx(0.1, abs=0.02)


def test_hopfield_zero_rule_keeps_the_floor():
    task = task_of("hopfield_storage", clip=10, zero_diagonal=True, loads=(10,))
    assert live(task, keys_of(2), "0*w").per_draw.max() == 0


@pytest.mark.parametrize(
    ("store", "fitness"),
    [
        (partial(hopfield_weights, RULES["hebb"][1]), 0.272),
        (partial(hopfield_weights, RULES["widrow_hoff"][1]), 0.487),
        (partial(hopfield_weights, RULES["storkey"][1]), 0.782),
        (partial(hopfield_weights, RULES["product"][1]), 0.821),
        (pseudo_inverse, 0.882),
        (partial(hopfield_weights, RULES["widrow_hoff"][1], passes=10), 0.895),
    ],
)
def test_hopfield_reference_values_hold_within_two_standard_errors(store, fitness):
    table = hopfield_table(store, keys_of(40, seed=2))
    recall = np.mean([table[load][:, 1] for load in table], axis=0)
    error = recall.std(ddof=1) * np.hypot(1 / 40**0.5, 1 / 60**0.5)
    assert recall.mean() == pytest.approx(fitness, abs=2 * error + 0.0005)
