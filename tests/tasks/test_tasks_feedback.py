"""The task of a rule for feedback matrices, beside the circuits that it contains."""

import numpy as np
import pytest
from tasks_lives import live, task_of

from evosearch.circuits.base import CIRCUITS
from evosearch.circuits.base import TERMINALS as CIRCUIT_TERMINALS
from evosearch.circuits.life import build_life, held_out
from evosearch.circuits.normalisers import Plain, normaliser
from evosearch.circuits.teaching import Plan
from evosearch.data import load_data
from evosearch.engine.run import run_lifetimes
from evosearch.errors import InputError
from evosearch.rules.lower import lower
from evosearch.rules.rule import Rule
from evosearch.tasks.feedback import FeedbackTask, PlasticFeedback

KEYS = [(3, 0), (3, 1)]
PLAN = Plan((64, 12, 11, 10), 60, check_every=10, is_kept=True)
SMALL = {"hidden": (12, 11), "updates": 60}
KOLEN_POLLACK = "0.999*dw - 0.001*w"


def outputs(circuit, text, terminals, changes, eta):
    """Return accuracies over time and the weights at the end (D, n) of one rule's life."""
    parts = held_out(load_data("digits"), "search")
    life = build_life(circuit, changes, PLAN, parts, KEYS, dtype="float64")
    return run_lifetimes(life, [lower(Rule(text), terminals)], eta).outputs[0]


def plastic(text, steps, rate, decay=0.0):
    circuit = PlasticFeedback(normaliser(steps, rate), decay)
    return outputs(circuit, text, FeedbackTask.terminals, Plain(1.0), 1.0)


def published(name, steps, rate):
    changes = normaliser(steps, rate)
    circuit = CIRCUITS.get(name)()
    return outputs(circuit, "error*pre", CIRCUIT_TERMINALS, changes, changes.eta)


@pytest.mark.parametrize(("steps", "rate"), [("none", 0.2), ("adam", 3e-3), ("momentum", 0.02)])
def test_with_kolen_and_pollack_s_rule_it_lives_their_life(steps, rate):
    ours = plastic(KOLEN_POLLACK, steps, rate, decay=1e-3)
    np.testing.assert_allclose(ours, published("kolen-pollack", steps, rate), atol=1e-8)


def test_without_a_rule_it_is_feedback_alignment():
    ours, theirs = plastic("0", "none", 0.2), published("fa", "none", 0.2)
    np.testing.assert_allclose(ours, theirs, atol=1e-8)
    assert np.abs(ours - plastic(KOLEN_POLLACK, "none", 0.2)).max() > 1e-3


def test_plain_changes_of_weights_are_errors_times_activities():
    """So that both texts say the same, but for the terminal that they read."""
    ours, theirs = plastic("dw", "none", 0.2), plastic("0.2*error*pre", "none", 0.2)
    np.testing.assert_allclose(ours, theirs, atol=1e-8)


def test_fitness_is_the_accuracy_at_the_end_and_good_feedback_is_worth_it():
    task = task_of("feedback", clip=10, dtype="float32", **SMALL)
    scores = live(task, KEYS, KOLEN_POLLACK, "-w", split="test")
    assert scores.per_draw.shape == (2, 2)
    assert (scores.per_draw[0] > 0.6).all()
    assert (scores.per_draw <= 1.0).all()


def test_a_rule_alone_and_among_others_scores_the_same():
    task = task_of("feedback", clip=10, dtype="float32", **SMALL)
    texts = (KOLEN_POLLACK, "error*pre", "0", "mod*pre*post - w")
    together = live(task, KEYS, *texts).per_draw
    alone = [live(task, KEYS, text).per_draw[0] for text in texts]
    np.testing.assert_array_equal(together, alone)


def test_feedback_that_explodes_scores_below_all_others():
    task = task_of("feedback", clip=np.inf, **SMALL)
    scores = live(task, KEYS, "1e30*w", "0")
    assert scores.exploded[0].all()
    assert (scores.per_draw[0] < 0.0).all()
    assert not scores.exploded[1].any()


def test_settings_out_of_range_are_refused():
    with pytest.raises(ValueError, match="decay"):
        task_of("feedback", clip=1, decay=1.0)
    with pytest.raises(InputError, match="batch is 2000; the training part has 1077"):
        live(task_of("feedback", clip=1, batch=2000, **SMALL), KEYS, "0")
