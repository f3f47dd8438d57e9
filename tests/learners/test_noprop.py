"""NoProp: gradients by differences, the inference recursion and both flows against their laws."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from evosearch.data.base import examples
from evosearch.errors import InputError
from evosearch.learners.base import LEARNERS, Lesson
from evosearch.learners.noprop import DiscreteNetworks, NoProp, backward_step, cosine_schedule
from evosearch.learners.noprop_ct import ContinuousNetworks, NoPropCt, Schedule, flow, share
from evosearch.learners.noprop_fm import FlowNetworks, NoPropFm
from evosearch.learners.noprop_parts import embeddings, integrate, nearness, teach_guess

KINDS = {"noprop": NoProp, "noprop-ct": NoPropCt, "noprop-fm": NoPropFm}


def lesson(n_draws=2, updates=160, normaliser="adam", rate=0.01, **changes):
    rng = np.random.default_rng(0)
    labels = [rng.integers(0, 3, size) for size in (60, 50)]
    centres = rng.normal(size=(3, 4))
    parts = [examples(centres[y] + 0.4 * rng.normal(size=(len(y), 4)), y) for y in labels]
    keys = [(3, 1, k) for k in range(n_draws)]
    sizes, network = changes.get("sizes", (4, 12, 3)), changes.get("network", "mlp")
    return Lesson(network, sizes, 1, *parts, updates, 10, 40, normaliser, rate, keys)


def minibatch(width):
    rng = np.random.default_rng(2)
    times = np.concatenate(
        [
            rng.random((2, 4)),
            [
                [
                    0.01,
                ],
                [
                    0.99,
                ],
            ],
        ],
        axis=1,
    )
    return rng.normal(size=(2, 5, 4)), rng.integers(0, 3, (2, 5)), times, rng


def discrete(is_learned=True):
    embedding = embeddings(lesson(), "learned", 3, 1.0)
    made = DiscreteNetworks(
        lesson(), blocks=4, weight=0.1, embedding=embedding, is_learned=is_learned
    )
    inputs, labels, _, rng = minibatch(3)
    return made, (inputs, labels, rng.normal(size=(2, *made.noise_shape(5))))


def continuous(is_learned=True):
    made = ContinuousNetworks(
        lesson(),
        weight=1.0,
        schedule=Schedule.straight(2, 3, -4.0, 3.0),
        embedding=embeddings(lesson(), "learned", 3, 1.0),
        is_learned=is_learned,
        steps=5,
        solver="heun",
    )
    inputs, labels, times, rng = minibatch(3)
    return made, (inputs, labels, times, rng.normal(size=(2, 2, 5, 3)))


def flowing(is_learned=True):
    embedding = embeddings(lesson(), "learned", 3, 1.0)
    made = FlowNetworks(
        lesson(), embedding=embedding, is_learned=is_learned, steps=5, solver="euler"
    )
    inputs, labels, times, rng = minibatch(3)
    return made, (inputs, labels, times, rng.normal(size=(2, 5, 3)))


@pytest.mark.parametrize("is_learned", [True, False])
@pytest.mark.parametrize("make", [discrete, continuous, flowing])
def test_changes_are_minus_numeric_differences_of_the_loss(make, is_learned):
    networks, shown = make(is_learned)
    rng = np.random.default_rng(5)
    for parameter in networks.parameters:
        parameter += 0.3 * rng.normal(size=parameter.shape)
    changes = networks.losses_and_changes(*shown)[1]
    assert len(changes) == len(networks.parameters)
    for parameter, change in zip(networks.parameters, changes, strict=True):
        assert change.shape == parameter.shape
        for _ in range(3):
            way = rng.normal(size=parameter.shape)
            parameter += 1e-6 * way
            above = networks.losses_and_changes(*shown)[0]
            parameter -= 2e-6 * way
            below = networks.losses_and_changes(*shown)[0]
            parameter += 1e-6 * way
            found = (change * way).reshape(2, -1).sum(axis=1)
            np.testing.assert_allclose(found, (below - above) / 2e-6, rtol=1e-5, atol=1e-7)


def test_the_weight_of_a_guess_is_bounded_and_its_gradient_is_that_of_the_bounded_loss():
    # the times of the test above lie on both sides of the bound
    networks, (_, _, times, _) = continuous()
    ratios, slopes = networks.schedule.at(times)
    weights = np.exp(ratios) * slopes / 2
    assert weights.min() < 1.0 < weights.max()


@pytest.mark.parametrize("blocks", [1, 3, 10])
def test_inference_with_the_true_label_keeps_the_law_of_the_noisy_label(blocks):
    shares = cosine_schedule(blocks)
    mean, variance = np.sqrt(shares[0]), 1 - shares[0]
    for before, after in pairwise(shares):
        a, b, c = backward_step(before, after)
        mean, variance = a + b * mean, b**2 * variance + c
        assert mean == pytest.approx(np.sqrt(after), rel=1e-12)
        assert variance == pytest.approx(1 - after, rel=1e-9)


def test_blocks_that_know_the_label_lead_any_noise_to_it():
    networks, _ = discrete()
    blocks, head = networks.parameters[2:4], networks.parameters[4:6]
    blocks[1][:, :, 2] = 60.0  # biases of the top of every block
    networks.embedding[:] = 4 * np.eye(3)
    head[0][:] = np.eye(3)
    assert (networks.predict(np.random.default_rng(0).normal(size=(300, 4))) == 2).all()


@pytest.mark.parametrize(("solver", "order"), [("euler", 1), ("heun", 2)])
def test_the_flow_of_a_true_guess_is_the_noisy_label_at_every_time(solver, order):
    rng = np.random.default_rng(0)
    clean, noise = rng.normal(size=(2, 1, 40, 3))
    schedule = Schedule.straight(1, 1, -3.0, 4.0)

    def law(t):
        label = share(schedule.at(np.full((1, 1), t))[0])[..., None]
        return np.sqrt(label) * clean + np.sqrt(1 - label) * noise

    def field(t, z):
        ratios, slopes = schedule.at(np.full((1, 1), t))
        return flow(clean, z, ratios[..., None], slopes[..., None])

    errors = [
        np.abs(integrate(field, law(0.0), steps, solver) - law(1.0)).max()
        for steps in (100, 200, 400)
    ]
    ratios = [a / b for a, b in pairwise(errors)]
    np.testing.assert_allclose(ratios, 2**order, rtol=0.1)
    assert errors[-1] < 0.02


def test_the_flow_is_the_limit_of_many_blocks_without_their_noise():
    # z' = drift - c / 2 * score, the noiseless form of z' = drift + noise of variance c
    rng = np.random.default_rng(0)
    guess, z = rng.normal(size=(2, 50))
    ratio, slope, step = 0.7, 3.0, 1e-6
    before, after = share(np.array([ratio - slope * step, ratio]))
    a, b, c = (x / step for x in np.subtract(backward_step(before, after), (0, 1, 0)))
    score = -(z - np.sqrt(after) * guess) / (1 - after)
    expected = a * guess + b * z - c / 2 * score
    found = flow(guess, z, np.array(ratio), np.array(slope))
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)


def test_a_schedule_rises_and_its_slopes_are_its_derivative():
    schedule = Schedule(np.array([[-2.0], [1.0]]), np.array([[-1.0, 0.5, 3.0], [0.0, 2.0, -4.0]]))
    t = np.linspace(0.01, 0.99, 50)[None].repeat(2, axis=0)
    ratios, slopes = schedule.at(t)
    assert (np.diff(ratios) > 0).all()
    is_inside = np.abs(3 * t - np.round(3 * t)) > 1e-3
    numeric = (schedule.at(t + 1e-6)[0] - schedule.at(t - 1e-6)[0]) / 2e-6
    np.testing.assert_allclose(slopes[is_inside], numeric[is_inside], rtol=1e-6)
    ends = Schedule.straight(1, 5, -4.0, 3.0).at(np.array([[0.0, 0.5, 1.0]]))
    np.testing.assert_allclose(ends[0], [[-4.0, -0.5, 3.0]])
    np.testing.assert_allclose(ends[1], [[7.0, 7.0, 7.0]])


def test_the_exact_field_of_one_label_carries_noise_to_its_embedding():
    rng = np.random.default_rng(0)
    clean, noise = rng.normal(size=(2, 1, 30, 4))
    ends = integrate(lambda t, z: (clean - z) / (1 - t), noise, 20, "euler")
    np.testing.assert_allclose(ends, clean, atol=1e-12)


def test_the_exact_field_of_many_labels_carries_noise_to_all_embeddings_alike():
    rng = np.random.default_rng(0)
    embedding = 2 * np.eye(4)[None]

    def field(t, z):
        squares = ((z[:, :, None] - t * embedding[:, None]) ** 2).sum(axis=3)
        odds = np.exp((squares.min(axis=2, keepdims=True) - squares) / (2 * (1 - t) ** 2))
        return (odds / odds.sum(axis=2, keepdims=True) @ embedding - z) / (1 - t)

    ends = integrate(field, rng.normal(size=(1, 2000, 4)), 100, "euler")
    distances = np.linalg.norm(ends[0][:, None] - embedding, axis=2)
    assert np.quantile(distances.min(axis=1), 0.99) < 1e-6
    shares = np.bincount(distances.argmin(axis=1), minlength=4) / 2000
    np.testing.assert_allclose(shares, 0.25, atol=4 * (0.25 * 0.75 / 2000) ** 0.5)


def test_the_nearest_embedding_has_the_greatest_nearness():
    rng = np.random.default_rng(0)
    points, embedding = rng.normal(size=(2, 9, 3)), rng.normal(size=(2, 5, 3))
    squares = ((points[:, :, None] - embedding[:, None]) ** 2).sum(axis=3)
    near = nearness(points, embedding)
    np.testing.assert_allclose(near - near[..., :1], (squares[..., :1] - squares) / 2)


def test_a_prototype_is_the_example_in_the_middle_of_its_class():
    given = lesson(sizes=(4, 12, 4))  # of a class without examples it is 0
    found = embeddings(given, "prototype", 20, 2.0)
    assert found.shape == (2, 4, 4)
    for label in range(3):
        rows = given.train.inputs[given.train.labels == label].astype(np.float64)
        apart = [np.median([np.linalg.norm(a - b) for b in rows]) for a in rows]
        np.testing.assert_allclose(found[1, label], 2 * rows[np.argmin(apart)])
    assert not found[:, 3].any()
    assert np.array_equal(embeddings(given, "one-hot", 20, 3.0)[0], 3 * np.eye(4))


def test_a_guess_passes_errors_on_by_the_derivative_of_the_softmax():
    rng = np.random.default_rng(0)
    logits, embedding, error = rng.normal(size=(6, 3)), rng.normal(size=(3, 2)), rng.normal(size=2)
    odds = np.exp(logits[0]) / np.exp(logits[0]).sum()
    jacobian = np.diag(odds) - np.outer(odds, odds)
    found, to_embedding = teach_guess(odds[None], embedding, error[None])
    np.testing.assert_allclose(found[0], jacobian @ embedding @ error)
    np.testing.assert_allclose(to_embedding, np.outer(odds, error))


@pytest.mark.parametrize("embedding", ["one-hot", "learned", "prototype"])
@pytest.mark.parametrize("name", KINDS)
def test_each_kind_learns_with_each_embedding(name, embedding):
    learner = KINDS[name](embedding=embedding, width=4, scale=2.0)
    learned = learner.learn(lesson())
    assert learned.diverged_at == (None, None)
    assert (learned.curves[:, -1] > 0.7).all()


@pytest.mark.parametrize("name", KINDS)
def test_a_draw_is_the_same_alone_and_an_answer_whatever_is_asked_beside_it(name):
    learner = LEARNERS.get(name)(embedding="learned", width=4)
    together, alone = (learner.learn(lesson(n_draws=n, updates=40)) for n in (2, 1))
    assert np.array_equal(together.curves[:1], alone.curves)
    inputs = np.random.default_rng(0).normal(size=(1100, 4))
    answers = together.networks.predict(inputs)
    assert np.array_equal(answers[:, :7], together.networks.predict(inputs[:7]))
    assert np.array_equal(answers[:1], alone.networks.predict(inputs))


@pytest.mark.parametrize("name", KINDS)
def test_divergence_is_reported_with_its_update_and_no_accuracy(name):
    learned = KINDS[name](embedding="learned").learn(lesson(normaliser="none", rate=1e200))
    assert all(end is not None and end < 40 for end in learned.diverged_at)
    assert np.isnan(learned.curves).all()


@pytest.mark.parametrize("name", KINDS)
def test_what_they_cannot_train_is_refused(name):
    learner = KINDS[name]()
    with pytest.raises(InputError, match="trains feed-forward networks"):
        learner.check(lesson(network="rnn"))
    with pytest.raises(InputError, match="needs a hidden layer in its blocks"):
        learner.check(lesson(sizes=(4, 3)))
    with pytest.raises(InputError, match="embedding must be one of one-hot, learned, prototype"):
        KINDS[name](embedding="word")


def test_settings_out_of_range_are_refused():
    with pytest.raises(InputError, match="blocks 0"):
        NoProp(blocks=0)
    with pytest.raises(InputError, match="low below high"):
        NoPropCt(low=2.0, high=1.0)
    with pytest.raises(InputError, match="solver one of euler, heun"):
        NoPropFm(solver="rk4")


def test_costs_count_the_products_of_every_block():
    sizes, network = (4, 5, 3), 4 * 5 + 5 * 3
    lower, upper = (4 + 3) * 5, 5 * 3
    assert NoProp(blocks=2).forward_equivalents(sizes) == pytest.approx(
        2 * (2 * (lower + upper) + upper) / network
    )
    assert NoPropCt().forward_equivalents(sizes) == pytest.approx(3 * (8 * 5 + 15) / network)
    assert NoPropFm().forward_equivalents(sizes) == pytest.approx((2 * (8 * 5 + 15) + 15) / network)


@pytest.mark.science
def test_of_100_classes_short_one_hot_embeddings_fail_and_longer_or_learned_ones_do_not(
    monkeypatch,
):
    # Li, Teh & Pascanu (2025, figure 3) report the failure of flow matching with one-hot labels
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "benchmarks" / "learners"))
    from noprop_embeddings import accuracies

    found = {name: curve[0, -1] for name, curve in accuracies(1, 1500).items()}
    assert found["backpropagation"] > 0.9
    assert found["one-hot"] < 0.2
    for name in ("one-hot, 10 times as long", "learned, d = 20", "prototype"):
        assert found[name] > found["one-hot"] + 0.2
