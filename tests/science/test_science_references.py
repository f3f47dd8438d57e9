"""Known rules, lived by the engine through the shipped problem files, against the references.

The references come from an independent prototype with the number of draws stated beside them; a
value must lie within three joint standard errors, plus half a unit of the last printed digit.
"""

import itertools

import numpy as np
import pytest

from evosearch.problem import load_problem
from evosearch.rules.rule import Rule


def score(problem, texts, *, split="test", count, scale=1.0):
    """Return the Chunk of rules given as text or by the problem's name for them."""
    rules = [problem.known.get(text) or Rule(text) for text in texts]
    draws = problem.draws(split, count=count)
    return problem.score(rules, np.full(len(rules), scale), draws)


def assert_near(values, reference, *, n_reference, rounding=0.0005):
    spread = values.std(ddof=1) * np.hypot(len(values) ** -0.5, n_reference**-0.5)
    assert values.mean() == pytest.approx(reference, abs=3 * spread + rounding)


@pytest.mark.parametrize(
    ("eta", "reference"),
    [(0.25, 0.844), (1, 0.946), (2, 0.975), (4, 0.992), (6, 0.991), (8, 0.976), (16, 0.862)],
)
def test_delta_rule_at_every_step_size(eta, reference):
    problem = load_problem("delta_rule")
    chunk = score(problem, ["delta"], count=900, scale=eta / problem.eta)
    assert_near(chunk.per_draw[0], reference, n_reference=900)


@pytest.mark.parametrize(
    ("n", "text", "factor", "loss"),
    [
        (3, "zero", 1.0, 0.79),
        (3, "oja", 1.0, 0.027),
        (3, "oja", 0.5, 0.013),
        (3, "oja", 0.3, 0.012),
        (3, "shrunk_oja", 1.0, 0.017),
        (3, "hebb_decay", 1.0, 9.8),
        (5, "oja", 1.0, 0.079),
        (5, "oja", 0.5, 0.041),
        (5, "oja", 0.3, 0.053),
        (5, "shrunk_oja", 1.0, 0.048),
        (5, "hebb_decay", 1.0, 15.0),
    ],
)
def test_rules_for_the_first_component(n, text, factor, loss):
    problem = load_problem("oja_pc1", overrides={"task.inputs": n})
    chunk = score(problem, [text], count=2000, scale=factor)
    assert_near(-chunk.per_draw[0], loss, n_reference=2000, rounding=0.05 if loss > 1 else 0.0005)


@pytest.mark.parametrize(
    ("factor", "low", "high"), [(2, 0.988, 0.991), (1, 0.996, 0.998), (0.4, 0.998, 1)]
)
def test_oja_on_digits(factor, low, high):
    chunk = score(load_problem("oja_digits"), ["oja"], count=10, scale=factor)
    mean, error = chunk.per_draw.mean(), 2 * chunk.per_draw.std(ddof=1) / 10**0.5
    assert low - error <= mean <= high + error


@pytest.mark.parametrize(
    ("name", "fitness", "n"),
    [
        ("hebb", 0.272, 60),
        ("widrow_hoff", 0.487, 60),
        ("storkey_simplified", 0.728, 60),
        ("storkey", 0.782, 60),
        ("product", 0.821, 60),
        ("product_damped", 0.836, 30),
        ("product_tanh", 0.834, 30),
        ("1.3*(post - field_post)*(pre - field_pre)", 0.551, 30),
    ],
)
def test_hopfield_rules(name, fitness, n):
    chunk = score(load_problem("hopfield_storage"), [name], count=60)
    assert_near(chunk.per_draw[0], fitness, n_reference=n)


def test_hopfield_product_rule_and_storkey_at_twice_the_size():
    overrides = {"task.units": 200, "task.loads": [80, 100], "rule.eta": 0.005}
    problem = load_problem("hopfield_storage", overrides=overrides)
    chunk = score(problem, ["storkey", "product"], count=15)
    found = [chunk.metrics[f"recall_{load}"] for load in (80, 100)]
    np.testing.assert_allclose(found, [[0.66, 0.69], [0.21, 0.46]], atol=0.04)


@pytest.mark.parametrize(
    ("name", "one", "four"),
    [
        ("zero", 0.60, 0.60),
        ("hebb", 0.60, 0.60),
        ("reward_hebb", 0.968, 0.872),
        ("reward_hebb_strong", 0.978, 0.912),
        ("switching_niv", 0.988, 0.952),
        ("switching_clip_free", 0.988, 0.952),
    ],
)
def test_switching_rules(name, one, four):
    for cues, reference in ((1, one), (4, four)):
        overrides = {"task.cues": [cues], "task.clips": [1.0]}
        chunk = score(load_problem("switching_cue", overrides=overrides), [name], count=2000)
        assert_near(chunk.per_draw[0], reference, n_reference=2000)


@pytest.mark.parametrize(
    ("clip", "niv", "clip_free"), [(1.0, 0.799, 0.799), (2.0, 0.744, 0.799), (4.0, 0.685, 0.799)]
)
def test_switching_rules_with_eight_cues_and_three_flips(clip, niv, clip_free):
    overrides = {
        "task.cues": [8],
        "task.clips": [clip],
        "task.flips": [[15, 35], [40, 60], [65, 85]],
    }
    problem = load_problem("switching_cue", overrides=overrides)
    chunk = score(problem, ["switching_niv", "switching_clip_free"], count=2000)
    assert_near(chunk.per_draw[0], niv, n_reference=2000)
    assert_near(chunk.per_draw[1], clip_free, n_reference=2000)


def test_discrete_table_truth():
    problem = load_problem("discrete_table")
    space = problem.space("table")
    tables = list(itertools.product((-1, 0, 1), repeat=8))
    draws = problem.draws("test", count=800)
    fitness = np.concatenate(
        [
            problem.score(
                [space.decode(np.array(table, np.int8)) for table in part],
                np.ones(len(part)),
                draws,
            ).fitness
            for part in (tables[k : k + 243] for k in range(0, 6561, 243))
        ]
    )
    counts = [int((fitness >= least).sum()) for least in (0.65, 0.70, 0.80, 0.90, 0.925, 0.93)]
    for count, reference, tolerance in zip(
        counts, (1955, 1009, 167, 22, 6, 4), (60, 25, 6, 3, 0, 2), strict=True
    ):
        assert abs(count - reference) <= tolerance
    assert np.median(fitness) == pytest.approx(0.600, abs=0.004)
    assert fitness.max() == pytest.approx(0.933, abs=0.003)
