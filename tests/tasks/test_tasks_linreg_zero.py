"""Rules and whole programs of linear regression beside plain loops of the specification."""

import numpy as np
import pytest
from tasks_lives import live, task_of
from tasks_oracle import keys_of

from evosearch.tasks.base import TASKS
from evosearch.tasks.linreg_zero import LinregZeroSettings, draw_regression, squashed
from evosearch.tasks.linreg_zero_program import decoded, encoded, written_out

SMALL = LinregZeroSettings(shown=30, asked=20)


def fitness_of(rmse):
    return 1 - 2 / np.pi * np.arctan(rmse)


def plain_regression(rule, key, s):
    """Return the fitness of one life under ``rule(w, pre, post, target)``."""
    task, w = draw_regression(key, s), np.zeros(s.features)
    for x, t in zip(task.inputs[: s.shown], task.targets[: s.shown], strict=True):
        w = w + rule(w, x, w @ x, t)
    errors = task.targets[s.shown :] - task.inputs[s.shown :] @ w
    return fitness_of(np.sqrt(np.mean(errors**2)))


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("0.1*pre*error", lambda w, x, y, t: 0.1 * x * (t - y)),
        ("0.01*pre*target - 0.05*w", lambda w, x, y, t: 0.01 * x * t - 0.05 * w),
        ("0.02*(pre*post + target)", lambda w, x, y, t: 0.02 * (x * y + t)),
    ],
)
def test_rules_agree_with_the_plain_loop(text, rule):
    task, keys = task_of("linreg_zero", clip=1e9, shown=30, asked=20), keys_of(6)
    expected = [plain_regression(rule, key, SMALL) for key in keys]
    np.testing.assert_allclose(live(task, keys, text).per_draw[0], expected, rtol=1e-9)


def test_the_delta_rule_ends_near_the_teacher_only_where_its_step_suits_the_length():
    keys = keys_of(60)
    rules = ["0.1*pre*error", "0.167*pre*error", "0.25*pre*error", "0*w"]
    short, long = (
        live(task_of("linreg_zero", clip=20, shown=n), keys, *rules) for n in (100, 1000)
    )
    assert (short.per_draw.mean(axis=1) > 0.9999).tolist() == [False, True, False, False]
    assert (long.per_draw.mean(axis=1) > 0.9999).tolist() == [True, True, True, False]


def test_a_unit_that_learns_nothing_errs_by_the_teachers_length():
    key, s = keys_of(1)[0], LinregZeroSettings(asked=1000)
    task = task_of("linreg_zero", clip=1, asked=1000)
    rmse = live(task, [key], "0*w").metrics["rmse"][0]
    teacher = np.linalg.lstsq(*_examples(key, s), rcond=None)[0]
    assert rmse == pytest.approx(np.linalg.norm(teacher), rel=0.1)


def _examples(key, s):
    task = draw_regression(key, s)
    return task.inputs, task.targets


def test_errors_are_squashed_into_the_unit_interval():
    found = squashed(np.array([0.0, 1.0, 1.6e-4, np.inf]))
    np.testing.assert_allclose(found, [1, 0.5, 0.9999, 0], atol=3e-6)


def program_task(**settings):
    kind = TASKS.get("linreg_zero_program")
    return kind(kind.Settings(**settings), seed=0)


def plain_program(codes, constants, ends, key, s, limit):
    """Return the fitness of one life of a program, instruction by instruction."""
    scalars, vectors = np.zeros(4), np.zeros((3, s.features))

    def run(first, end):
        for k in range(first, end):
            op, target, a, b = codes[k]
            if op == 0:
                scalars[target] = constants[k]
            elif op == 1:
                scalars[target] = vectors[a] @ vectors[b]
            elif op == 2:
                scalars[target] = scalars[a] - scalars[b]
            elif op == 3:
                scalars[target] = scalars[a] * scalars[b]
            elif op == 4:
                vectors[target] = scalars[a] * vectors[b]
            else:
                vectors[target] = vectors[a] + vectors[b]

    task, total = draw_regression(key, s), 0.0
    run(0, ends[0])
    for number, (x, t) in enumerate(zip(task.inputs, task.targets, strict=True)):
        vectors[0], scalars[0] = x, 0.0
        run(ends[0], ends[1])
        error = t - scalars[1]
        if not abs(error) <= limit:
            return 0.0
        scalars[0] = t
        if number < s.shown:
            run(ends[1], ends[2])
        else:
            total += error**2
    return fitness_of(np.sqrt(total / s.asked))


def test_programs_agree_with_the_plain_loop():
    task, keys = program_task(shown=30, asked=20), keys_of(3)
    delta = task.baseline("delta")
    rng = np.random.default_rng(5)
    points = np.where(rng.random((400, 100)) < 0.1, rng.random((400, 100)), delta)
    points[:50] = rng.random((50, 100))
    codes, constants = decoded(points)
    with np.errstate(all="ignore"):
        expected = [
            [plain_program(c, k, (10, 12, 20), key, SMALL, 100.0) for key in keys]
            for c, k in zip(codes.tolist(), constants.tolist(), strict=True)
        ]
    found = task.score(points, keys, "search").per_draw
    np.testing.assert_allclose(found, expected, rtol=1e-8, atol=1e-12)
    assert (found == 0).any()
    assert len(np.unique(found.round(6))) > 40


def test_the_delta_rule_as_a_program_scores_as_the_rule():
    keys = keys_of(8)
    rule = live(task_of("linreg_zero", clip=1e9), keys, "0.167*pre*error").per_draw
    task = program_task()
    np.testing.assert_allclose(
        task.score(task.baseline("delta")[None], keys, "test").per_draw, rule
    )
    assert "s3 = s0 - s1" in written_out(task.baseline("delta"), (10, 2, 8))


def test_instructions_are_written_and_read_alike():
    rows = [(op, min(k, 2), k % 3, k % 3, -0.5) for op in range(6) for k in range(4)]
    codes, constants = decoded(encoded(rows)[None])
    np.testing.assert_array_equal(codes[0], [row[:4] for row in rows])
    np.testing.assert_allclose(constants[0], -0.5)


def test_every_operation_and_register_is_equally_likely():
    codes, constants = decoded(np.random.default_rng(0).random((20_000, 5)))
    operations = np.bincount(codes[:, 0, 0]) / len(codes)
    assert operations == pytest.approx(np.full(6, 1 / 6), abs=0.01)
    into_scalars = codes[codes[:, 0, 0] < 4, 0]
    assert np.bincount(into_scalars[:, 1]) / len(into_scalars) == pytest.approx(
        [0.25] * 4, abs=0.015
    )
    assert codes[codes[:, 0, 0] >= 4][:, 0, 1].max() == 2
    assert np.abs(constants).max() <= 1
