import numpy as np
import pytest
from tasks_lives import live, task_of
from tasks_oracle import digits_cosine, keys_of, oja_loss, oja_weights

from evosearch.tasks.oja_digits import draw_order, load_images
from evosearch.tasks.oja_pc1 import SPECTRA, draw_data_set, draw_truth

SPECTRUM = {"scale": (0.5, 1.5), "covariance": "spectrum", "w0": "normal"}


def oja(w, pre, post):
    return post * (pre - post * w)


@pytest.mark.parametrize("n", [3, 5])
def test_oja_task_agrees_with_the_plain_simulation(n):
    task, keys = task_of("oja_pc1", clip=5, inputs=n, steps=120), keys_of(20)
    scores = live(task, keys, "post*(pre - post*w)", "pre*post", eta=0.05)
    expected = oja_loss(oja, keys, n=n, steps=120)
    np.testing.assert_allclose(scores.per_draw[0], -expected, atol=1e-9)
    hebb = oja_loss(lambda w, x, y: x * y, keys, n=n, steps=120)
    np.testing.assert_allclose(scores.per_draw[1], -hebb, atol=1e-7)


def test_oja_task_measures_the_angle_on_the_way_as_mettler_did():
    law = {"covariance": "random", "w0": "unit"}
    task = task_of("oja_pc1", clip=5, inputs=2, steps=200, measure="angle", **law)
    scores = live(task, keys_of(9), "post*(pre - post*w)", eta=0.01)
    w, _, angle = oja_weights(oja, keys_of(9), n=2, steps=200, eta=0.01, **law)
    expected = angle - (np.linalg.norm(w, axis=1) - 1) ** 2
    np.testing.assert_allclose(scores.per_draw[0], expected, atol=1e-7)


def test_oja_single_precision_stays_near_double_precision():
    keys = keys_of(16)
    single = live(
        task_of("oja_pc1", clip=5, dtype="float32"), keys, "post*(pre - post*w)", eta=0.05
    )
    double = live(task_of("oja_pc1", clip=5), keys, "post*(pre - post*w)", eta=0.05)
    np.testing.assert_allclose(single.per_draw, double.per_draw, atol=1e-3)


def test_oja_data_have_the_stated_covariance():
    data = draw_data_set((4, 1), 3, 100_000, **SPECTRUM)
    values, vectors = np.linalg.eigh(np.cov(data.samples.T))
    scale = values[2]
    assert 0.5 < scale < 1.5
    np.testing.assert_allclose(values[::-1] / scale, SPECTRA[3], atol=0.02)
    assert abs(vectors[:, 2] @ data.pc1) > 0.999
    assert np.linalg.norm(data.pc1) == pytest.approx(1)


def test_oja_scales_differ_between_data_sets():
    tops = [
        np.linalg.norm(draw_truth(key, 3, (0.5, 1.5), "spectrum")[1], 2) ** 2
        for key in keys_of(400)
    ]
    assert np.min(tops) < 0.55
    assert np.max(tops) > 1.45
    assert np.mean(tops) == pytest.approx(1.0, abs=0.06)


def test_longer_oja_lives_begin_with_the_same_samples():
    short, long = (draw_data_set((3,), 3, steps, **SPECTRUM) for steps in (10, 50))
    np.testing.assert_array_equal(short.samples, long.samples[:10])
    np.testing.assert_array_equal(short.w0, long.w0)


def test_oja_explosion_is_graded_by_its_time_below_the_worst():
    task = task_of("oja_pc1", clip=np.inf, steps=100)
    late = live(task, keys_of(4), "w*square(w)*10", eta=1.0)
    early = live(task, keys_of(4), "w*exp(exp(square(w) + 1) + 4)", eta=1.0)
    assert late.exploded.all()
    assert early.exploded.all()
    assert (task.worst - 1 <= early.per_draw).all()
    assert (early.per_draw < late.per_draw).all()
    assert (late.per_draw < task.worst).all()


@pytest.mark.parametrize(
    ("rule", "eta", "n3", "n5"),
    [
        (lambda w, x, y: 0 * w, 0.05, 0.79, None),
        (oja, 0.05, 0.027, 0.079),
        (oja, 0.025, 0.013, 0.041),
        (oja, 0.015, 0.012, 0.053),
        (lambda w, x, y: 0.65 * x * y - 0.7 * y * y * w, 0.05, 0.017, 0.048),
        (lambda w, x, y: x * y - w, 0.05, 9.8, 15.0),
    ],
)
def test_oja_reference_values_hold_within_three_standard_errors(rule, eta, n3, n5):
    for n, reference in ((3, n3), (5, n5)):
        if reference is None:
            continue
        loss = oja_loss(rule, keys_of(600, seed=3), n=n, eta=eta)
        # The reference itself comes from 2,000 data sets, and is rounded.
        error = loss.std() * np.hypot(1 / 600**0.5, 1 / 2000**0.5)
        assert loss.mean() == pytest.approx(reference, abs=3 * error + 0.0005)


def test_digits_task_agrees_with_the_plain_simulation():
    task = task_of("oja_digits", clip=5, epochs=1, images=300)
    scores = live(task, keys_of(3), "post*(pre - post*w)", "0*w", eta=0.01)
    expected = digits_cosine(oja, keys_of(3), eta=0.01, epochs=1, images=300)
    np.testing.assert_allclose(scores.per_draw[0], expected, atol=1e-9)
    zero = digits_cosine(lambda w, x, y: 0 * w, keys_of(3), eta=0.01, epochs=1, images=300)
    np.testing.assert_allclose(scores.per_draw[1], zero, atol=1e-9)


def test_digits_are_centred_and_every_epoch_shows_each_image_once():
    images, pc1 = load_images()
    assert images.shape == (1797, 64)
    np.testing.assert_allclose(images.mean(axis=0), 0, atol=1e-12)
    _, vectors = np.linalg.eigh(images.T @ images)
    assert abs(vectors[:, -1] @ pc1) == pytest.approx(1)
    order, _ = draw_order((1,), 1797, 2, 0.1)
    np.testing.assert_array_equal(np.sort(order[1797:]), np.arange(1797))
    assert not np.array_equal(order[:1797], order[1797:])
