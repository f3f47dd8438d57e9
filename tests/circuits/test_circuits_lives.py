"""What every circuit keeps: the sign of its errors, its draws, its accuracies."""

import numpy as np
import pytest
from circuits_lives import KEYS, SIZES, final_accuracy, live, probed, some_examples

from evosearch.circuits.base import CIRCUITS, forward_equivalents
from evosearch.circuits.life import accuracies, build_life, held_out, probe
from evosearch.circuits.normalisers import normaliser
from evosearch.circuits.teaching import Plan
from evosearch.data import load_data
from evosearch.errors import InputError

NAMES = CIRCUITS.names()
LEARNING = {"updates": 300, "batch": 10, "check_every": 300, "rate": 0.3}
NOISY = {"wp": 0.03}  # its variance grows with the number of synapses


@pytest.mark.parametrize("name", NAMES)
def test_error_times_pre_learns_and_its_opposite_does_not(name):
    settings = {**LEARNING, "rate": NOISY.get(name, LEARNING["rate"])}
    right, wrong, idle = final_accuracy(name, "error*pre", "-(error*pre)", "0", **settings)
    assert (right > wrong + 0.3).all()
    assert right.mean() > max(0.65, idle.mean() + 0.2)


@pytest.mark.parametrize("name", NAMES)
def test_a_population_lives_as_its_members_alone(name):
    texts = ("error*pre", "pre*post - w", "error*pre + 0.1*mod*error_pre*post")
    together = final_accuracy(name, *texts, **LEARNING)
    alone = [final_accuracy(name, text, **LEARNING)[0] for text in texts]
    np.testing.assert_array_equal(together, alone)


@pytest.mark.parametrize("name", NAMES)
def test_torch_lives_the_same_life(name):
    (life, _, ours), (_, _, theirs) = live(name), live(name, device="torch")
    assert life.n_draws == len(KEYS)
    np.testing.assert_allclose(theirs.outputs, ours.outputs, atol=1e-9)


def test_all_circuits_meet_the_same_initial_weights_and_other_draws_others():
    first, second = probed("bp", updates=2), probed("dfa", updates=2)
    for a, b in zip(first.weights, second.weights, strict=True):
        np.testing.assert_array_equal(a, b)
    assert not np.array_equal(first.weights[0][0], first.weights[0][1])


def test_accuracy_is_the_share_of_examples_whose_own_class_has_the_greatest_logit():
    middle, held = probed("bp", updates=2), some_examples(30, seed=1)
    life, _, result = live("bp", "0")
    for draw in range(2):
        activity = held.inputs.astype(np.float64)
        for w in middle.weights[:-1]:
            activity = np.tanh(activity @ w[draw].T)
        logits = activity @ middle.weights[-1][draw].T
        wanted = (logits.argmax(axis=1) == held.labels).mean()
        np.testing.assert_allclose(accuracies(life, result)[0, draw], wanted, atol=1e-12)


def test_a_network_that_cannot_tell_classes_apart_gets_none_right():
    assert (final_accuracy("bp", "-w", rate=1.0) == 0.0).all()


def test_mod_is_the_probability_of_the_right_class():
    """This rule makes every weight the mean of mod over the minibatch, here all of the data."""
    life, plan, result = live("bp", "mod - w", updates=4, rate=1.0)
    shown, start = probe(life, result, plan), probed("bp", updates=2)
    targets = start.errors[-1] + start.posts[-1]
    wanted = (targets * start.posts[-1]).sum(axis=2).mean(axis=1)
    for weights in shown.weights:
        np.testing.assert_allclose(weights, wanted[:, None, None] + 0 * weights, atol=1e-12)


def test_an_update_costs_what_its_multiply_adds_say():
    """Of 64-64-10: forward 4,736; the way back 640; all synapses, or 640 of the readout, learn."""
    sizes = (64, 64, 10)
    cost = {name: forward_equivalents(CIRCUITS.get(name)(), sizes) for name in NAMES}
    assert cost["bp"] == pytest.approx(1 + (640 + 4736) / 4736)
    assert cost["fa"] == cost["sign-symmetric"] == cost["kolen-pollack"] == cost["bp"]
    assert cost["dfa"] == cost["bp"]  # with one hidden layer they send errors equally far
    assert cost["shallow"] == pytest.approx(1 + 640 / 4736)
    deep = (64, *[64] * 6, 10)
    assert forward_equivalents(CIRCUITS.get("dfa")(), deep) == pytest.approx(
        1 + (6 * 640 + 6 * 4096 + 640) / (6 * 4096 + 640)
    )


def test_nothing_of_the_test_part_is_learned_from():
    data = load_data("digits")
    for split in ("search", "validation"):
        assert held_out(data, split) == (data.train, data.validation)
    learned, judged = held_out(data, "test")
    assert judged is data.test
    assert len(learned) == len(data.train) + len(data.validation) == 1437
    np.testing.assert_array_equal(learned.inputs[: len(data.train)], data.train.inputs)


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"batch": 41}, "batch is 41; the training part has 40 examples"),
        ({"updates": 7}, "updates is 7; it must be a multiple of 2"),
        ({"steps": "addam"}, "unknown normaliser 'addam'. Did you mean 'adam'"),
        ({"circuit": "bpp"}, "unknown learner 'bpp'. Did you mean 'bp'"),
    ],
)
def test_bad_settings_are_refused_in_one_sentence(settings, sentence):
    with pytest.raises(InputError, match=sentence):
        live(settings.pop("circuit", "bp"), **settings)


def test_clip_limits_every_change_to_a_hundredth():
    start, end = (probed("bp", updates=n, steps="clip", rate=5.0) for n in (2, 4))
    changes = [np.abs(b - a) for a, b in zip(start.weights, end.weights, strict=True)]
    largest = max(change.max() for change in changes)
    assert largest == pytest.approx(0.01, abs=1e-12)


def test_a_pass_shows_every_example_once():
    """With minibatches of half the data the two of a pass show all of it: the sums tell."""
    parts = some_examples(), some_examples(30, seed=1)
    plan = Plan(SIZES, 2, 20, check_every=2)
    life = build_life(CIRCUITS.get("bp")(), normaliser("none", 1.0), plan, parts, KEYS)
    for order in life.indices[0]:
        assert sorted(order.tolist()) == list(range(40))
    assert not np.array_equal(life.indices[0][0], life.indices[0][1])
