"""Learners of recurrent networks against the gradient, against one another, and in their lives."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from evosearch.data.base import examples
from evosearch.errors import InputError
from evosearch.learners.base import LEARNERS, Lesson
from evosearch.learners.bptt import Bptt
from evosearch.learners.eprop import Eprop, eprop_increments, random_feedback
from evosearch.learners.recurrent_dni import RecurrentDni
from evosearch.learners.rnn import RnnLearner, RnnNetworks, back, born, gradient, live, taught
from evosearch.learners.rtrl import Rtrl, rtrl_increments
from evosearch.learners.snap1 import snap1_increments
from evosearch.learners.uoro import uoro_increments

DRAWS, BATCH, STEPS, SIZES = 2, 5, 6, (3, 4, 2)
NAMES = [n for n in LEARNERS.names() if issubclass(LEARNERS.get(n), RnnLearner)]


def lesson(**changes):
    """Return a lesson of sequences whose class is the sign of their last half's mean."""
    rng = np.random.default_rng(5)
    inputs = rng.normal(size=(200, STEPS * SIZES[0]))
    late = inputs[:, inputs.shape[1] // 2 :].mean(axis=1)
    part = examples(inputs, (late > 0).astype(int))
    plain = Lesson("rnn", SIZES, STEPS, part, part, 40, 10, 10, "none", 0.3, [(0, 1), (0, 2)])
    return replace(plain, **changes)


def networks(*, is_diagonal=False, sizes=SIZES, draws=DRAWS):
    """Return networks with weights large enough for every unit to matter over all steps."""
    rng = np.random.default_rng(3)
    n_inputs, n_hidden, n_classes = sizes
    recurrent = rng.normal(0, 0.7, (draws, n_hidden, n_inputs + n_hidden + 1))
    if is_diagonal:
        recurrent[:, :, n_inputs:-1] *= np.eye(n_hidden)
    return RnnNetworks(recurrent, rng.normal(0, 1, (draws, n_classes, n_hidden + 1)), STEPS)


def minibatch(draws=DRAWS, batch=BATCH):
    rng = np.random.default_rng(4)
    inputs = rng.normal(size=(draws, batch, STEPS * SIZES[0]))
    return inputs, rng.integers(0, SIZES[2], (draws, batch))


def loss(recurrent, readout, inputs, labels):
    """Return the mean cross-entropy of one network, in torch."""
    n_hidden = recurrent.shape[0]
    hidden = torch.zeros(len(inputs), n_hidden, dtype=torch.float64)
    ones = torch.ones(len(inputs), 1, dtype=torch.float64)
    for heard in inputs.reshape(len(inputs), STEPS, -1).unbind(1):
        hidden = torch.tanh(torch.cat([heard, hidden, ones], 1) @ recurrent.T)
    logits = torch.cat([hidden, ones], 1) @ readout.T
    return torch.nn.functional.cross_entropy(logits, labels)


def tensors(ours, draw, inputs, labels):
    arrays = ours.recurrent[draw], ours.readout[draw], inputs[draw], labels[draw]
    return [torch.tensor(array) for array in arrays]


def test_bptt_is_torchs_gradient():
    ours, (inputs, labels) = networks(), minibatch()
    found = gradient(ours, taught(ours, inputs, labels))
    for draw in range(DRAWS):
        recurrent, *rest = tensors(ours, draw, inputs, labels)
        recurrent.requires_grad_()
        loss(recurrent, *rest).backward()
        np.testing.assert_allclose(found[draw], -recurrent.grad.numpy(), rtol=0, atol=1e-12)


def test_bptt_is_the_slope_of_the_loss():
    ours, (inputs, labels) = networks(), minibatch()
    found, width = gradient(ours, taught(ours, inputs, labels))[0], 1e-5
    recurrent, *rest = tensors(ours, 0, inputs, labels)
    for place in np.ndindex(*found.shape):
        ends = []
        for side in (width, -width):
            moved = recurrent.clone()
            moved[place] += side
            ends.append(float(loss(moved, *rest)))
        assert found[place] == pytest.approx(-(ends[0] - ends[1]) / (2 * width), abs=1e-9)


def test_rtrl_is_bptt():
    ours = networks()
    trace = taught(ours, *minibatch())
    np.testing.assert_allclose(rtrl_increments(ours, trace), gradient(ours, trace), atol=1e-12)


def test_a_life_with_rtrl_is_the_life_with_bptt():
    one, other = (learner.learn(lesson()).networks for learner in (Rtrl(), Bptt()))
    np.testing.assert_allclose(one.recurrent, other.recurrent, atol=1e-6)


def test_snap1_is_rtrl_where_no_unit_hears_another():
    ours = networks(is_diagonal=True)
    trace = taught(ours, *minibatch())
    np.testing.assert_allclose(
        snap1_increments(ours, trace), rtrl_increments(ours, trace), atol=1e-14
    )
    assert np.abs(rtrl_increments(ours, trace)).min(axis=(0, 1)).max() > 1e-6


def test_snap1_leaves_out_what_a_weight_does_by_way_of_other_units():
    ours = networks()
    trace = taught(ours, *minibatch())
    assert np.abs(snap1_increments(ours, trace) - gradient(ours, trace)).max() > 0.01


def test_snap1_is_the_slope_where_the_other_units_are_held_as_they_were():
    """Each unit relives the sequence alone: what it hears of others is a fixed input."""
    ours = networks(draws=1)
    trace = taught(ours, *minibatch(draws=1))
    credit = trace.error[0] @ ours.readout[0, :, :-1]
    for unit in range(SIZES[1]):
        weights = torch.tensor(ours.recurrent[0, unit], requires_grad=True)
        own = SIZES[0] + unit
        state = torch.zeros(BATCH, dtype=torch.float64)
        for heard in torch.tensor(trace.pre[0]).unbind(1):
            heard = torch.cat([heard[:, :own], state[:, None], heard[:, own + 1 :]], 1)
            state = torch.tanh(heard @ weights)
        (state * torch.tensor(credit[:, unit])).mean().backward()
        found = snap1_increments(ours, trace)[0, unit]
        np.testing.assert_allclose(found, weights.grad.numpy(), atol=1e-14)


def test_eprop_whose_feedback_is_the_transposed_readout_is_snap1():
    """In one update: afterwards the readout has moved on, and feedback stays."""
    ours = networks()
    trace = taught(ours, *minibatch())
    same = eprop_increments(ours, trace, ours.readout[:, :, :-1])
    assert np.array_equal(same, snap1_increments(ours, trace))
    drawn = eprop_increments(ours, trace, random_feedback(lesson()))
    assert np.abs(drawn - same).max() > 0.01


def test_eprop_without_a_leak_hears_the_last_step_alone():
    ours = networks()
    trace, feedback = taught(ours, *minibatch()), random_feedback(lesson())
    signals = (trace.error @ feedback) * trace.slopes[:, :, -1]
    wanted = np.einsum("dbh,dbi->dhi", signals, trace.pre[:, :, -1]) / BATCH
    found = eprop_increments(ours, trace, feedback, leak=0.0)
    np.testing.assert_allclose(found, wanted, atol=1e-14)


@pytest.fixture(scope="module")
def uoro_draws():
    """Return increments of 10,000 draws of signs on one example, and the gradient."""
    n, rng = 10_000, np.random.default_rng(6)
    one = networks(draws=1)
    inputs, labels = minibatch(draws=1, batch=1)
    trace = taught(one, inputs, labels)
    many = RnnNetworks(*(np.repeat(w, n, axis=0) for w in (one.recurrent, one.readout)), STEPS)
    again = taught(many, np.repeat(inputs, n, axis=0), np.repeat(labels, n, axis=0))
    signs = rng.choice([-1.0, 1.0], (n, 1, STEPS, SIZES[1]))
    return uoro_increments(many, again, signs), gradient(one, trace)[0]


def test_uoro_is_the_gradient_in_the_mean(uoro_draws):
    drawn, wanted = uoro_draws
    mean, error = drawn.mean(axis=0), drawn.std(axis=0) / np.sqrt(len(drawn))
    assert (np.abs(mean - wanted) < 4 * error).all()
    cosine = (mean * wanted).sum() / np.linalg.norm(mean) / np.linalg.norm(wanted)
    assert cosine > 0.999


def test_uoro_is_the_gradient_in_the_mean_over_all_signs():
    """All 2^8 signs of two steps of four units, with equal weight: no chance is left."""
    ours = replace(networks(draws=1), steps=2)
    rng = np.random.default_rng(8)
    inputs, labels = rng.normal(size=(1, 1, 2 * SIZES[0])), np.ones((1, 1), np.int64)
    all_signs = 1.0 - 2.0 * ((np.arange(256)[:, None] >> np.arange(8)) & 1)
    trace = taught(ours, inputs, labels)
    drawn = [uoro_increments(ours, trace, s.reshape(1, 1, 2, SIZES[1])) for s in all_signs]
    np.testing.assert_allclose(np.mean(drawn, axis=0), gradient(ours, trace), atol=1e-12)


def test_dni_whose_guess_never_learns_is_truncated_bptt():
    for window in (1, 2, 4):
        ours = RecurrentDni(window=window, rate=0.0).learn(lesson(is_probed=True))
        cut = Bptt(window=window).learn(lesson(is_probed=True))
        assert np.array_equal(ours.networks.recurrent, cut.networks.recurrent)
        assert np.array_equal(ours.curves, cut.curves)
        assert np.array_equal(ours.cosines, cut.cosines)


def test_dnis_first_update_is_truncated_bptts_and_its_next_is_not():
    for updates, is_same in ((1, True), (3, False)):
        short = lesson(updates=updates, check_every=1)
        ours, cut = (learner.learn(short) for learner in (RecurrentDni(), Bptt(window=2)))
        same = np.array_equal(ours.networks.recurrent, cut.networks.recurrent)
        assert same is is_same


@pytest.mark.parametrize("is_told", [False, True])
def test_dnis_guess_becomes_the_regression_of_later_credit_on_the_state(is_told):
    ours, (inputs, labels) = networks(draws=1), minibatch(draws=1, batch=40)
    trace = taught(ours, inputs, labels)
    increments = RecurrentDni(window=3, rate=0.02, is_told=is_told).increments(lesson(keys=[(0,)]))
    for _ in range(1500):
        found = increments(ours, trace)
    known = [trace.hidden[0, :, 2], np.ones((40, 1)), *([np.eye(2)[labels[0]]] if is_told else [])]
    features, later = np.concatenate(known, axis=1), later_credit(ours, inputs, labels, step=3)
    fitted = features @ np.linalg.lstsq(features, later, rcond=None)[0]
    wanted, arrived = back(ours, trace, {3: fitted[None]})
    np.testing.assert_allclose(arrived[3][0], later, atol=1e-12)
    np.testing.assert_allclose(found, wanted, atol=3e-4)
    cut = back(ours, trace, {3: np.zeros((1, 40, SIZES[1]))})[0]
    for other in (cut, gradient(ours, trace)):
        assert np.abs(other - wanted).max() > 3e-3


def later_credit(ours, inputs, labels, *, step):
    """Return torch's negative gradient of the summed loss by the states after a step (B, H)."""
    recurrent, readout, heard, right = tensors(ours, 0, inputs, labels)
    ones, states = torch.ones(len(right), 1), [torch.zeros(len(right), SIZES[1]).double()]
    for now in heard.reshape(len(right), STEPS, -1).unbind(1):
        states.append(torch.tanh(torch.cat([now, states[-1], ones], 1) @ recurrent.T))
        states[-1].requires_grad_()
    logits = torch.cat([states[-1], ones], 1) @ readout.T
    total = torch.nn.functional.cross_entropy(logits, right, reduction="sum")
    return -torch.autograd.grad(total, states[step])[0].numpy()


def test_a_window_as_long_as_the_sequence_cuts_nothing():
    whole, cut = (Bptt(window=w).learn(lesson()).networks for w in (None, STEPS))
    assert np.array_equal(whole.recurrent, cut.recurrent)


def test_cut_time_is_torchs_gradient_with_states_detached():
    ours, (inputs, labels) = networks(draws=1), minibatch(draws=1)
    found = Bptt(window=2).increments(lesson())(ours, taught(ours, inputs, labels))
    recurrent, readout, heard, right = tensors(ours, 0, inputs, labels)
    recurrent.requires_grad_()
    hidden, ones = torch.zeros(BATCH, SIZES[1], dtype=torch.float64), torch.ones(BATCH, 1)
    for step, now in enumerate(heard.reshape(BATCH, STEPS, -1).unbind(1)):
        hidden = hidden.detach() if step % 2 == 0 else hidden
        hidden = torch.tanh(torch.cat([now, hidden, ones], 1) @ recurrent.T)
    logits = torch.cat([hidden, ones], 1) @ readout.T
    torch.nn.functional.cross_entropy(logits, right).backward()
    np.testing.assert_allclose(found[0], -recurrent.grad.numpy(), atol=1e-12)


@pytest.mark.parametrize("name", NAMES)
def test_learner_learns(name):
    found = LEARNERS.get(name)().learn(lesson(updates=400, check_every=100, is_probed=True))
    assert found.curves.shape == (2, 4)
    assert found.curves[:, -1].mean() > 0.6
    assert found.diverged_at == (None, None)
    predicted = found.networks.predict(lesson().held.inputs)
    assert ((predicted == lesson().held.labels).mean(axis=1) == found.curves[:, -1]).all()
    assert found.cosines[:, 1] == pytest.approx(1.0)


@pytest.mark.parametrize("name", NAMES)
def test_a_draw_lives_the_same_alone(name):
    both = LEARNERS.get(name)().learn(lesson(is_probed=True))
    for k, key in enumerate(lesson().keys):
        alone = LEARNERS.get(name)().learn(lesson(keys=[key], is_probed=True))
        assert np.array_equal(alone.networks.recurrent[0], both.networks.recurrent[k])
        assert np.array_equal(alone.cosines[0], both.cosines[k], equal_nan=True)


def test_cosines_are_one_for_the_gradient_and_none_for_what_does_not_learn():
    exact, control = (
        LEARNERS.get(n)().learn(lesson(is_probed=True)) for n in ("rtrl", "shallow-rnn")
    )
    assert exact.cosines == pytest.approx(1.0)
    assert np.isnan(control.cosines[:, 0]).all()


def test_the_control_leaves_the_hidden_units_as_they_were_born():
    ended = LEARNERS.get("shallow-rnn")().learn(lesson(normaliser="adam", rate=0.01)).networks
    assert np.array_equal(ended.recurrent, born(lesson()).recurrent)
    assert not np.array_equal(ended.readout, born(lesson()).readout)


def test_a_draw_that_diverges_says_when_and_leaves_the_other_as_it_is():
    def spoiled(ours, trace):
        change = gradient(ours, trace)
        count[0] += 1
        if count[0] == 13:
            change[0, 0, 0] = np.inf
        return change

    count = [0]
    broken, whole = live(lesson(), spoiled), live(lesson(), gradient)
    assert broken.diverged_at == (13, None)
    assert broken.networks.predict(lesson().held.inputs).shape == (2, 200)
    assert np.isnan(broken.curves[0]).tolist() == [False, True, True, True]
    assert np.array_equal(broken.curves[1], whole.curves[1])


@pytest.mark.parametrize(
    ("learner", "changes", "message"),
    [
        (Bptt(), {"network": "mlp"}, "trains recurrent networks"),
        (Bptt(), {"sizes": (3, 4, 4, 2)}, "4 sizes"),
        (Bptt(), {"steps": 5}, "5 steps of 3 inputs do not make up the 18"),
        (Rtrl(), {"sizes": (3, 512, 2)}, "135,266,304 derivatives.*snap1, eprop or uoro"),
        (RecurrentDni(window=6), {}, "windows of 6 steps in sequences of 6"),
    ],
)
def test_a_lesson_that_does_not_fit_is_refused(learner, changes, message):
    with pytest.raises(InputError, match=message):
        learner.check(lesson(**changes))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Bptt(window=0), "window is 0"),
        (lambda: RecurrentDni(window=0), "window is 0"),
        (lambda: RecurrentDni(rate=-1.0), "rate -1.0"),
        (lambda: Eprop(leak=1.0), "leak is 1.0"),
    ],
)
def test_settings_out_of_range_are_refused(make, message):
    with pytest.raises(InputError, match=message):
        make()


def test_lessons_within_limits_are_taught():
    for name in NAMES:
        LEARNERS.get(name)().check(lesson())


def test_an_updates_cost_is_counted_in_forward_passes():
    cost = {n: LEARNERS.get(n)().forward_equivalents((8, 32, 10), 8) for n in NAMES}
    forward = 8 * 32 * 40 + 320
    assert cost["shallow-rnn"] == pytest.approx(1 + 320 / forward)
    assert cost["bptt"] == pytest.approx(1 + (7 * 32 * 32 + 8 * 32 * 40 + 640) / forward)
    assert cost["shallow-rnn"] < cost["bptt"] < cost["snap1"] < cost["uoro"] < cost["rtrl"]
