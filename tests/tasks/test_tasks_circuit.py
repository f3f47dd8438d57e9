"""The task of a rule in a circuit's slot, beside the life that it is made of."""

import numpy as np
import pytest
from tasks_lives import live, task_of

from evosearch.circuits.base import CIRCUITS
from evosearch.circuits.life import Plan, accuracies, build_life, held_out
from evosearch.circuits.normalisers import normaliser
from evosearch.data import load_data
from evosearch.engine.run import run_lifetimes
from evosearch.errors import InputError
from evosearch.problem import load_problem
from evosearch.rules.lower import lower
from evosearch.rules.rule import Rule

KEYS = [(3, 0), (3, 1)]
SMALL = {"hidden": (16,), "updates": 60}


@pytest.mark.parametrize("split", ["search", "test"])
def test_fitness_is_the_accuracy_at_the_end_of_the_learner_s_life(split):
    task = task_of("circuit", clip=1e6, dtype="float32", circuit="fa", **SMALL)
    scores = live(task, KEYS, "error*pre", "0", eta=0.2, split=split)
    plan, parts = Plan((64, 16, 10), 60, check_every=10), held_out(load_data("digits"), split)
    steps = normaliser("none", 0.2)
    life = build_life(CIRCUITS.get("fa")(), steps, plan, parts, KEYS)
    result = run_lifetimes(life, [lower(Rule("error*pre"), task.terminals)], steps.eta)
    np.testing.assert_array_equal(scores.per_draw[0], accuracies(life, result)[0, :, -1])
    assert (scores.per_draw[0] > scores.per_draw[1] + 0.2).all()


def test_a_life_that_explodes_scores_below_all_others_and_later_is_better():
    task = task_of("circuit", clip=np.inf, dtype="float32", **SMALL)
    scores = live(task, KEYS, "100*w", "1000*w", "0", eta=1.0)
    assert scores.exploded[:2].all()
    assert not scores.exploded[2].any()
    assert (scores.per_draw[1] < scores.per_draw[0]).all()
    assert (scores.per_draw[0] < 0).all()


def test_momentum_adds_up_increments():
    settings = {"clip": 100, "dtype": "float32", **SMALL}
    slow, fast = (task_of("circuit", normaliser=n, **settings) for n in ("none", "momentum"))
    accuracy = [live(task, KEYS, "error*pre", eta=0.02).per_draw.mean() for task in (slow, fast)]
    assert accuracy[1] > accuracy[0] + 0.1


def test_an_unknown_circuit_is_refused_in_one_sentence():
    with pytest.raises(InputError, match=r"unknown learner 'dfb'. Did you mean 'dfa'"):
        live(task_of("circuit", clip=1, circuit="dfb", **SMALL), KEYS, "0")


@pytest.mark.parametrize("name", ["circuit_dfa", "circuit_fa"])
def test_the_problem_s_success_lies_nine_tenths_of_the_way_to_its_ceiling(name):
    problem = load_problem(name)
    floor, ceiling = problem.config.known["shallow"].value, {"dfa": 0.9739, "fa": 0.9667}
    wanted = floor + 0.9 * (ceiling[name.removeprefix("circuit_")] - floor)
    assert problem.config.success.threshold == pytest.approx(wanted, abs=0.0006)
