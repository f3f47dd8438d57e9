"""Circuits as learners: the circuit of the name, or one with settings of its own."""

import numpy as np
from small_lessons import small_lesson

from evosearch.circuits.pepita import Pepita
from evosearch.learners.circuit import CircuitLearner
from evosearch.learners.mlp import initial_networks


def hidden_changes(learner):
    lesson = small_lesson()
    before = initial_networks(lesson, np.float32).weights[:-1]
    after = learner.learn(lesson).networks.weights[:-1]
    return [np.abs(b - a).max() for a, b in zip(after, before, strict=True)]


def test_a_circuit_of_its_own_settings_stands_in_for_that_of_the_name():
    # PEPITA's hidden layers learn from what errors added to the inputs change: nothing at scale 0.
    assert max(hidden_changes(CircuitLearner("pepita", circuit=Pepita(scale=0.0)))) < 1e-6
    assert min(hidden_changes(CircuitLearner("pepita"))) > 1e-4
