"""Rules without a target: what they converge to, against linear algebra and written-out sums."""

import numpy as np
import pytest
from small_lessons import KEYS, assert_draws_live_alone, small_lesson, whole_batch

from evosearch.circuits.life import held_out
from evosearch.circuits.streams import initial_weights, order_of_examples
from evosearch.data import load_data
from evosearch.errors import InputError
from evosearch.learners.base import LEARNERS
from evosearch.learners.bcm import Bcm
from evosearch.learners.hebb import Hebb
from evosearch.learners.oja import Oja
from evosearch.learners.sanger import Sanger
from evosearch.learners.softhebb import SoftHebb
from evosearch.learners.unsupervised import learn_without_targets
from evosearch.tasks.oja_digits import load_images

ALL = (Hebb, Oja, Sanger, Bcm, SoftHebb)


def test_oja_finds_the_first_principal_component_at_length_one():
    images, component = load_images(200)
    lesson = whole_batch(images, (64, 1, 2), updates=200, rate=1.0)
    (w, _) = Oja().learn(lesson).networks.weights
    length = np.linalg.norm(w, axis=2)[:, 0]
    np.testing.assert_allclose(length, 1.0, atol=1e-3)
    assert (np.abs(w[:, 0] @ component) / length > 0.999).all()


def test_oja_finds_the_component_of_the_covariance_where_inputs_have_a_mean():
    images, component = load_images(200)
    lesson = whole_batch(images + 0.5, (64, 1, 2), updates=200, rate=1.0)
    networks = Oja().learn(lesson).networks
    w = networks.weights[0][:, 0]
    assert (np.abs(w @ component) > 0.999).all()
    np.testing.assert_allclose(networks.biases[0], -0.5 * w.sum(axis=1)[:, None], atol=1e-3)


def test_sanger_reconstructs_as_principal_components_do_and_finds_them_in_order():
    images, _ = load_images(200)
    lesson = whole_batch(images, (64, 16, 2), updates=2000, rate=0.7, keys=KEYS[:1])
    (found, _) = Sanger().learn(lesson).networks.weights
    components = np.linalg.svd(images, full_matrices=False)[2][:16]
    best = reconstruction_error(images, components)
    for w in found:
        assert abs(reconstruction_error(images, w) / best - 1) < 0.002
        cosines = np.abs((w[:6] * components[:6]).sum(axis=1)) / np.linalg.norm(w[:6], axis=1)
        assert (cosines > 0.99).all()


def reconstruction_error(images, w):
    """Share of the variance that is lost between outputs and inputs."""
    return ((images - images @ w.T @ w) ** 2).sum() / (images**2).sum()


@pytest.mark.parametrize(("rate", "threshold_rate"), [(1e-2, 0.02), (2e-2, 0.05)])
def test_bcm_answers_one_of_four_orthogonal_inputs_by_four(rate, threshold_rate):
    patterns = np.eye(4)
    keys = [(9, k) for k in range(14)]
    lesson = whole_batch(patterns, (4, 1, 2), updates=8000, rate=rate, keys=keys)
    (w, _) = Bcm(threshold_rate=threshold_rate).learn(lesson).networks.weights
    answers = np.sort(w[:, 0] @ patterns.T, axis=1)
    starts = np.stack([initial_weights(key, (4, 1, 2))[0][0] for key in keys])
    answers_any = (starts > 0.1).any(axis=1)
    assert answers_any.sum() >= 10
    np.testing.assert_allclose(answers[answers_any, -1], 4.0, atol=0.3)
    assert (np.abs(answers[answers_any, :-1]) < 0.05).all()
    stays_silent = (starts < 0).all(axis=1)
    assert stays_silent.any()
    assert (np.abs(answers[stays_silent]) < 0.05).all()


def test_bcm_thresholds_move_as_far_as_by_examples_one_after_the_other():
    lesson = small_lesson((6, 5, 3), updates=1, check_every=1, batch=16, rate=1.0)
    (after, _) = Bcm(threshold_rate=0.1).learn(lesson).networks.weights
    for draw, key in enumerate(lesson.keys):
        before = initial_weights(key, lesson.sizes)[0]
        sums = shown(lesson, key) @ before.T
        threshold = np.zeros(5)
        for _ in range(16):
            threshold += 0.1 * ((sums**2).mean(axis=0) - threshold)
        wanted = mean_of(lambda x, u, h=threshold: np.outer(u * (u - h), x), lesson, key, before)
        np.testing.assert_allclose(after[draw], before + wanted, atol=1e-6)


RULES = {
    "hebb": (Hebb(), lambda x, u, w: np.outer(np.tanh(u), x)),
    "oja": (Oja(), lambda x, u, w: u[:, None] * (x - u[:, None] * w)),
    "sanger": (
        Sanger(),
        lambda x, u, w: np.stack([u[j] * (x - u[: j + 1] @ w[: j + 1]) for j in range(len(u))]),
    ),
    "softhebb": (
        SoftHebb(temperature=0.5),
        lambda x, u, w: (np.exp(2 * u) / np.exp(2 * u).sum())[:, None] * (x - u[:, None] * w),
    ),
}


@pytest.mark.parametrize("name", RULES)
def test_one_update_is_the_mean_of_the_rule_written_out_example_by_example(name):
    learner, rule = RULES[name]
    lesson = small_lesson((6, 5, 3), updates=1, check_every=1, rate=0.1)
    (after, _) = learner.learn(lesson).networks.weights
    for draw, key in enumerate(lesson.keys):
        before = initial_weights(key, lesson.sizes)[0]
        is_centred = name in ("oja", "sanger")
        wanted = mean_of(lambda x, u, w=before: rule(x, u, w), lesson, key, before, is_centred)
        np.testing.assert_allclose(after[draw], before + 0.1 * wanted, atol=1e-6)


def shown(lesson, key):
    """Return the inputs of the first minibatch."""
    order = order_of_examples(key, len(lesson.train), lesson.batch, lesson.updates)
    return lesson.train.inputs[order[: lesson.batch]].astype(np.float64)


def mean_of(rule, lesson, key, weights, is_centred=False):
    inputs = shown(lesson, key)
    mean = weights @ inputs.mean(axis=0) if is_centred else 0.0
    return np.mean([rule(x, weights @ x - mean) for x in inputs], axis=0)


def test_softhebb_comes_to_rest_at_length_one_in_the_direction_of_what_it_wins():
    images, _ = load_images(60)
    lesson = whole_batch(images, (64, 6, 2), updates=2000, rate=0.5, keys=KEYS[:1])
    (found, _) = SoftHebb(temperature=0.3).learn(lesson).networks.weights
    for w in found:
        sums = images @ w.T
        y = np.exp(sums / 0.3)
        y /= y.sum(axis=1, keepdims=True)
        won = y.T @ images
        cosines = (won * w).sum(axis=1) / np.linalg.norm(won, axis=1) / np.linalg.norm(w, axis=1)
        np.testing.assert_allclose(np.linalg.norm(w, axis=1), 1.0, atol=1e-3)
        np.testing.assert_allclose(cosines, 1.0, atol=1e-3)


def test_plain_hebb_grows_without_end_and_oja_does_not():
    lesson = small_lesson((6, 5, 3), updates=1200, check_every=400, rate=0.05)
    raw, held = (
        np.linalg.norm(learner.learn(lesson).networks.weights[0], axis=2)
        for learner in (Hebb(), Oja())
    )
    assert (raw > 10).all()
    assert (held < 1.3).all()


def test_sign_steps_let_all_weights_of_hebb_grow_alike():
    lesson = small_lesson((6, 5, 3), updates=2, check_every=1, rate=0.01, normaliser="sign")
    (after, _) = Hebb().learn(lesson).networks.weights
    before = np.stack([initial_weights(key, lesson.sizes)[0] for key in lesson.keys])
    steps = np.abs(after - before) / 0.01
    np.testing.assert_allclose(steps, np.round(steps), atol=1e-9)
    assert steps.max() == pytest.approx(2)


def test_few_units_that_learn_by_sanger_serve_a_readout_better_than_random_ones():
    train, held = held_out(load_data("digits"), "validation")
    lesson = small_lesson(
        (64, 16, 10), train, held=held, updates=440, batch=32, check_every=440, rate=0.5
    )
    learned = Sanger().learn(lesson).curves[:, -1]
    frozen = learn_without_targets(lesson, no_change).curves[:, -1]
    assert (learned > frozen + 0.05).all()


def no_change(layer):
    return np.zeros_like(layer.weights), np.zeros(layer.weights.shape[:2])


@pytest.mark.parametrize("kind", ALL)
def test_a_draw_becomes_the_same_without_the_others(kind):
    assert_draws_live_alone(kind(), small_lesson())


@pytest.mark.parametrize("kind", ALL)
def test_the_readout_follows_the_gradient_and_nothing_else_needs_to(kind):
    learned = kind().learn(small_lesson(is_probed=True))
    assert learned.cosines is not None
    np.testing.assert_allclose(learned.cosines[:, -1], 1.0)
    assert (np.abs(learned.cosines[:, :-1]) < 0.95).all()


def test_a_life_that_diverges_says_when_and_has_no_accuracy_from_there():
    learned = Oja().learn(small_lesson(updates=60, rate=5.0))
    for end, curve in zip(learned.diverged_at, learned.curves, strict=True):
        assert end is not None
        is_before = 3 * np.arange(1, len(curve) + 1) < end
        np.testing.assert_array_equal(np.isfinite(curve), is_before)


def test_settings_out_of_range_are_refused():
    with pytest.raises(InputError, match="threshold_rate is 0; it must be above 0"):
        Bcm(threshold_rate=0)
    with pytest.raises(InputError, match="temperature is -1; it must be a number above 0"):
        SoftHebb(temperature=-1)


@pytest.mark.parametrize("kind", ALL)
def test_recurrent_networks_are_refused(kind):
    assert LEARNERS.get(kind.name) is kind
    with pytest.raises(InputError, match="trains feed-forward networks; this task has recurrent"):
        kind().check(small_lesson(network="rnn"))


@pytest.mark.parametrize("kind", [Oja, Sanger])
def test_minibatches_of_one_example_are_refused_where_its_mean_is_all_they_have(kind):
    with pytest.raises(InputError, match="batch is 1 and must be at least 2"):
        kind().learn(small_lesson(batch=1))


def test_an_update_costs_a_pass_and_an_increment_of_each_synapse():
    sizes = (8, 4, 2)
    assert {kind().forward_equivalents(sizes) for kind in ALL if kind is not Sanger} == {2.0}
    assert Sanger().forward_equivalents(sizes) == 2.0 + 4 * 4 * 9 / 40
