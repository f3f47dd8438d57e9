import itertools

import numpy as np
import pytest
from tasks_lives import live, task_of
from tasks_oracle import cue_reward, keys_of

from evosearch.engine import philox
from evosearch.tasks.base import engine_keys
from evosearch.tasks.switching_cue import draw_life

NIV = "5*mod*pre*(2*post - 1)"
CLIP_FREE = "pre*(2.5*mod*(2*post - 1) - w)"
ONE_FLIP, THREE_FLIPS = ((35, 65),), ((15, 35), (40, 60), (65, 85))


def niv(w, pre, post, mod):
    return 5 * mod * pre * (2 * post - 1)


def clip_free(w, pre, post, mod):
    return pre * (2.5 * mod * (2 * post - 1) - w)


def engine_noise(keys, *stream, trials=100):
    """Return the (D, trials, 2) noise that the engine draws in the lives of a condition."""
    noise = np.zeros((len(keys), trials, 2))
    philox.fill(engine_keys(keys, *stream), np.int64(0), np.int64(0), True, noise)
    return noise


@pytest.mark.parametrize("cues", [1, 4])
@pytest.mark.parametrize("clip", [1.0, 4.0])
@pytest.mark.parametrize(("text", "rule"), [(NIV, niv), (CLIP_FREE, clip_free)])
def test_switching_task_agrees_with_the_plain_simulation(cues, clip, text, rule):
    keys = keys_of(20)
    task = task_of("switching_cue", clip=99, cues=(cues,), clips=(clip,))
    expected = cue_reward(rule, keys, cues=cues, clip=clip, noise=engine_noise(keys, cues))
    np.testing.assert_allclose(live(task, keys, text).per_draw[0], expected, atol=1e-9)


def test_switching_task_averages_its_conditions_and_reports_each():
    keys = keys_of(5)
    task = task_of("switching_cue", clip=1, cues=(1, 4), clips=(1.0, 2.0))
    scores = live(task, keys, NIV)
    parts = [scores.metrics[f"reward_{s}cues_clip{c}"][0] for s in (1, 4) for c in (1, 2)]
    assert scores.per_draw.mean() == pytest.approx(np.mean(parts))
    assert scores.metrics["reward_1cues"][0] == pytest.approx(np.mean(parts[:2]))
    assert scores.metrics["reward_4cues"][0] == pytest.approx(np.mean(parts[2:]))


def test_switching_without_the_modulator_stays_at_chance():
    task = task_of("switching_cue", clip=1)
    scores = live(task, keys_of(60), "pre*post", "pre*(2*post - 1)", "pre - w", "-pre*post", "0*w")
    assert np.abs(scores.per_draw.mean(axis=1) - 0.6).max() < 0.02


def test_switching_lives_flip_all_sides_once_in_the_stated_trials():
    for key in keys_of(50):
        life = draw_life(key, 4, 100, ONE_FLIP)
        cue, side = life.cues.argmax(axis=1), life.sides.argmax(axis=1)
        for c in range(4):
            seen = side[cue == c]
            assert np.abs(np.diff(seen)).sum() == 1
            at = np.flatnonzero(cue == c)
            assert (seen[at < 35] == seen[0]).all()
            assert (seen[at >= 65] == seen[-1]).all()


@pytest.mark.parametrize(
    ("rule", "one", "four"),
    [
        (lambda w, x, y, m: m * x * y, 0.968, 0.872),
        (lambda w, x, y, m: 2.5 * m * x * y, 0.978, 0.912),
        (niv, 0.988, 0.952),
        (clip_free, 0.988, 0.952),
    ],
)
def test_switching_reference_values_hold(rule, one, four):
    keys = keys_of(1000, seed=5)
    for cues, reference in ((1, one), (4, four)):
        reward = cue_reward(rule, keys, cues=cues)
        error = reward.std() * np.hypot(1 / 1000**0.5, 1 / 2000**0.5)
        assert reward.mean() == pytest.approx(reference, abs=3 * error + 0.0005)


@pytest.mark.parametrize(("clip", "reference"), [(1.0, 0.799), (2.0, 0.744), (4.0, 0.685)])
def test_switching_rule_that_leans_on_the_clip_falls_with_three_flips(clip, reference):
    keys = keys_of(1000, seed=5)
    settings = {"cues": 8, "clip": clip, "flips": THREE_FLIPS}
    assert cue_reward(niv, keys, **settings).mean() == pytest.approx(reference, abs=0.004)
    assert cue_reward(clip_free, keys, **settings).mean() == pytest.approx(0.799, abs=0.004)


def table_text(entries):
    """Return the rule of eight entries, index 4 m + 2 pre + post."""
    mods = ("max(0, -mod)", "max(0, mod)")
    acts = ("(1 - pre)*(1 - post)", "(1 - pre)*post", "pre*(1 - post)", "pre*post")
    cases = [f"{mod}*({act})" for mod in mods for act in acts]
    terms = [f"{value}*{case}" for value, case in zip(entries, cases, strict=True) if value]
    return " + ".join(terms) or "0*w"


def table_rule(entries):
    values = np.array(entries, float)
    return lambda w, pre, post, mod: values[
        (4 * (mod > 0) + 2 * (pre > 0.5) + (post > 0.5)).astype(int)
    ]


TABLES = [(0, 0, 0, -1, 0, 0, 0, 0), (1, 1, 1, -1, 0, 0, -1, 0), (-1, 0, 1, 1, -1, 1, 0, -1)]


@pytest.mark.parametrize("entries", TABLES)
def test_discrete_table_task_agrees_with_the_plain_simulation(entries):
    keys = keys_of(20)
    scores = live(task_of("discrete_table", clip=1), keys, table_text(entries), eta=0.5)
    expected = cue_reward(
        table_rule(entries), keys, eta=0.5, is_mod_sign=True, noise=engine_noise(keys)
    )
    np.testing.assert_allclose(scores.per_draw[0], expected, atol=1e-9)


def test_discrete_table_indicators_are_exactly_one_in_their_own_case():
    from evosearch.rules.rule import Rule

    for number, (mod, pre, post) in enumerate(
        itertools.product((-1.0, 1.0), (0.0, 1.0), (0.0, 1.0))
    ):
        for case in range(8):
            entries = tuple(int(k == case) for k in range(8))
            value = Rule(table_text(entries))(mod=mod, pre=pre, post=post, w=0.3)
            assert float(np.asarray(value)) == float(case == number)


@pytest.mark.parametrize(
    ("entries", "reference"),
    [((0, 0, 0, -1, 0, 0, 0, 0), 0.904), ((0, 0, 1, 0, 0, 0, 0, 0), 0.904),
     ((0, 0, 1, -1, 0, 0, 0, 1), 0.929), ((0, 0, 1, -1, 0, 0, -1, 0), 0.929),
     ((1, 1, 1, -1, 0, 0, -1, 0), 0.932), ((0,) * 8, 0.60)],
)  # fmt: skip
def test_discrete_table_reference_values_hold(entries, reference):
    reward = cue_reward(table_rule(entries), keys_of(800, seed=4), eta=0.5, is_mod_sign=True)
    assert reward.mean() == pytest.approx(reference, abs=0.004)
