"""Few-shot lives beside plain loops of the specification, on digits, which need no files."""

import numpy as np
import pytest
from tasks_lives import live, task_of
from tasks_oracle import keys_of

from evosearch.errors import InputError
from evosearch.tasks.omniglot_fewshot import (
    OmniglotFewshotSettings,
    draw_fewshot,
    load_features,
)

SETTINGS = {"data": "digits", "features": "pixels"}


def plain_fewshot(rule, key, s, eta):
    """Return the share of right answers after passes under ``rule(w, pre, post, target, mod)``."""
    features, n_characters = load_features(s.data, (), s.features)
    task = draw_fewshot(key, s, n_characters, len(features) // n_characters)
    w = np.zeros((s.ways, features.shape[1]))
    for _ in range(s.passes):
        for row, label in zip(task.rows["shown"], task.labels["shown"], strict=True):
            pre, target = features[row], np.eye(s.ways)[label][:, None]
            post = (w @ pre)[:, None]
            w = w + eta * rule(w, pre[None], post, target, float((post * target).sum()))
    answers = (features[task.rows["asked"]] @ w.T).argmax(axis=1)
    return np.mean(answers == task.labels["asked"])


@pytest.mark.parametrize(("shots", "passes"), [(1, 1), (3, 2)])
@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("pre*error", lambda w, x, y, t, m: x * (t - y)),
        ("pre*target*(1 - mod) - 0.1*w", lambda w, x, y, t, m: x * t * (1 - m) - 0.1 * w),
    ],
)
def test_lives_agree_with_the_plain_loop(text, rule, shots, passes):
    settings = {**SETTINGS, "shots": shots, "passes": passes}
    task, keys = task_of("omniglot_fewshot", clip=1e6, **settings), keys_of(6)
    s = OmniglotFewshotSettings(**settings)
    expected = [plain_fewshot(rule, key, s, 0.5) for key in keys]
    np.testing.assert_allclose(live(task, keys, text, eta=0.5).per_draw[0], expected, atol=1e-9)


@pytest.mark.parametrize("features", ["pixels", "convolution"])
def test_writing_each_drawing_down_is_the_nearest_neighbour(features):
    keys, settings = keys_of(12), {"data": "digits", "features": features}
    s = OmniglotFewshotSettings(**settings)
    drawings, n_characters = load_features("digits", (), features)
    expected = []
    for key in keys:
        task = draw_fewshot(key, s, n_characters, 20)
        shown, asked = (drawings[task.rows[part]] for part in ("shown", "asked"))
        nearest = np.linalg.norm(asked[:, None] - shown[None], axis=2).argmin(axis=1)
        expected.append(np.mean(task.labels["shown"][nearest] == task.labels["asked"]))
    found = live(task_of("omniglot_fewshot", clip=9, **settings), keys, "pre*target").per_draw[0]
    np.testing.assert_allclose(found, expected, atol=1e-9)
    assert found.mean() > 0.4


def test_no_drawing_is_both_shown_and_asked_about():
    s = OmniglotFewshotSettings(shots=3, queries=5)
    for key in keys_of(50):
        task = draw_fewshot(key, s, 30, 20)
        shown, asked = set(task.rows["shown"]), set(task.rows["asked"])
        assert len(shown) == 15
        assert len(asked) == 25
        assert not shown & asked
        characters = {int(k) // 20 for k in shown}
        assert characters == {int(k) // 20 for k in asked}
        for row, label in zip(task.rows["asked"], task.labels["asked"], strict=True):
            same = task.rows["shown"][task.labels["shown"] == label] // 20
            assert (same == row // 20).all()


def test_random_filters_are_as_specified():
    from evosearch.tasks.omniglot_fewshot import _filtered

    image = np.random.default_rng(0).random((1, 28 * 28))
    found = _filtered(image).reshape(16, 6, 6)
    filters = np.random.default_rng(0x0319).standard_normal((16, 5, 5))
    filters -= filters.mean(axis=(1, 2), keepdims=True)
    picture = image.reshape(28, 28)
    for f, i, j in [(0, 0, 0), (7, 2, 5), (15, 5, 3)]:
        field = [np.sum(picture[a : a + 5, c : c + 5] * filters[f])
                 for a in range(4 * i, 4 * i + 4) for c in range(4 * j, 4 * j + 4)]  # fmt: skip
        assert found[f, i, j] == pytest.approx(max(0.0, *field))


def test_too_many_characters_are_refused():
    task = task_of("omniglot_fewshot", clip=1, ways=11, **SETTINGS)
    with pytest.raises(InputError, match="11 characters with 6 drawings; the data have 10 with 20"):
        live(task, keys_of(1), "0*w")
