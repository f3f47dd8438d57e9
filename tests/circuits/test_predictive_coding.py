"""Predictive coding against plain NumPy loops of its equations, and against backpropagation."""

import numpy as np
import pytest
from circuits_lives import KEYS, SIZES, live, probed, some_examples
from scipy.stats import nbinom

from evosearch.circuits.backprop import Backprop
from evosearch.circuits.base import TERMINALS, backward_products, forward_products
from evosearch.circuits.life import build_life, probe
from evosearch.circuits.normalisers import normaliser
from evosearch.circuits.predictive_coding import (
    FixedPrediction,
    IncrementalPredictiveCoding,
    PredictiveCoding,
    ZeroDivergence,
)
from evosearch.circuits.streams import initial_weights
from evosearch.circuits.teaching import Plan
from evosearch.engine.run import run_lifetimes
from evosearch.errors import InputError
from evosearch.learners.circuit import cosines_to_gradient
from evosearch.learners.mlp import softmax
from evosearch.rules.lower import lower
from evosearch.rules.rule import Rule

LAYERS = len(SIZES) - 1
RATE = 0.2


def middle_of(circuit, *, updates=10, sizes=SIZES, rate=RATE):
    """Return what is probed of a circuit with settings of its own, all examples in a minibatch."""
    plan = Plan(sizes, updates, 40, 1, is_probed=True)
    parts = some_examples(sizes=sizes), some_examples(30, seed=1, sizes=sizes)
    life = build_life(circuit, normaliser("none", rate), plan, parts, KEYS, dtype="float64")
    result = run_lifetimes(life, [lower(Rule("error*pre"), TERMINALS)], rate)
    return probe(life, result, plan)


class Loop:
    """Section by section, the equations of strict predictive coding, of one network."""

    def __init__(self, weights, biases, x, t):
        self.w, self.b, self.x, self.t = weights, biases, x, t
        self.v = []
        post = x
        for w, b in zip(self.w[:-1], self.b[:-1], strict=True):
            self.v.append(post @ w.T + b)
            post = np.tanh(self.v[-1])

    def pres(self):
        return [self.x, *(np.tanh(v) for v in self.v)]

    def errors(self):
        mu = [f @ w.T + b for f, w, b in zip(self.pres(), self.w, self.b, strict=True)]
        hidden = [v - m for v, m in zip(self.v, mu[:-1], strict=True)]
        return [*hidden, self.t - softmax(mu[-1])]

    def energy(self):
        mu = self.pres()[-1] @ self.w[-1].T + self.b[-1]
        cross_entropy = -(self.t * np.log(softmax(mu))).sum()
        return cross_entropy + sum((e**2).sum() for e in self.errors()[:-1]) / 2

    def relax(self, gamma):
        e = self.errors()
        self.v = [
            v + gamma * (-e[k] + (1 - np.tanh(v) ** 2) * (e[k + 1] @ self.w[k + 1]))
            for k, v in enumerate(self.v)
        ]

    def learn(self, pres, errors):
        for w, b, f, e in zip(self.w, self.b, pres, errors, strict=True):
            w += RATE * e.T @ f / len(f)
            b += RATE * e.mean(axis=0)


def start(draw, shown):
    """Return the loop of a draw that has learned nothing, on the minibatch that was probed."""
    weights = [w.copy() for w in initial_weights(KEYS[draw], SIZES)]
    biases = [np.zeros(n) for n in SIZES[1:]]
    return weights, biases, shown.posts[0][draw], shown.target[draw]


def at(draw, shown):
    """Return a loop at a network's first update, whose biases are still 0."""
    return Loop(*start(draw, shown))


def agree(ours, theirs, draw, atol=1e-12):
    for mine, other in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(mine[draw], other, rtol=0, atol=atol)


@pytest.mark.parametrize(("steps", "gamma"), [(20, 0.1), (7, 0.5), (1, 1.0)])
def test_strict_relaxation_is_a_plain_loop_of_its_equations(steps, gamma):
    shown = middle_of(PredictiveCoding(steps=steps, gamma=gamma))
    for draw in range(len(KEYS)):
        weights, biases, x, t = start(draw, shown)
        for update in range(5):
            loop = Loop(weights, biases, x, t)
            for _ in range(steps):
                loop.relax(gamma)
            if update < 4:
                loop.learn(loop.pres(), loop.errors())
        agree(shown.weights, weights, draw)
        agree(shown.errors, loop.errors(), draw)
        agree(shown.pres, loop.pres(), draw)


def test_the_defaults_are_twenty_steps_of_a_tenth():
    ours, default = middle_of(PredictiveCoding(steps=20, gamma=0.1)), probed("pc", updates=10)
    for mine, other in zip(ours.errors, default.errors, strict=True):
        np.testing.assert_array_equal(mine, other)


@pytest.mark.parametrize("gamma", [0.02, 0.1])
def test_the_energy_never_rises_while_value_nodes_relax(gamma):
    """Hidden errors and the output's own give the energy of what the circuit settled to."""
    energies = []
    for steps in (1, 2, 3, 5, 8, 13, 21, 34, 55, 89):
        shown = middle_of(PredictiveCoding(steps=steps, gamma=gamma), updates=2)
        hidden = sum((e**2).sum(axis=(1, 2)) for e in shown.errors[:-1]) / 2
        missing = (shown.errors[-1] * shown.target).sum(axis=2)  # 1 - p of the right class
        energies.append(hidden - np.log1p(-missing).sum(axis=1))
    energies.insert(0, np.array([at(draw, shown).energy() for draw in range(len(KEYS))]))
    assert (np.diff(energies, axis=0) < 0).all()
    loop = at(0, shown)
    for _ in range(89):
        loop.relax(gamma)
    np.testing.assert_allclose(energies[-1][0], loop.energy(), rtol=1e-12)


def test_strict_relaxation_is_near_backpropagation_and_not_equal():
    cosines = cosines_to_gradient(probed("pc"))
    assert (cosines > 0.5).all()
    assert (cosines[:, 0] < 0.9999).all()


def test_zil_errors_are_those_of_backpropagation():
    ours, theirs = probed("zil", updates=2), probed("bp", updates=2)
    for mine, other in zip(ours.errors, theirs.errors, strict=True):
        np.testing.assert_allclose(mine, other, rtol=0, atol=1e-14)
    np.testing.assert_allclose(cosines_to_gradient(ours), 1.0, atol=1e-13)


@pytest.mark.parametrize(("steps", "rate"), [("none", 0.2), ("adam", 0.01)])
def test_zil_and_backpropagation_are_the_same_training_run(steps, rate):
    """Adam divides by the root of squares, some of which are near 0, and so enlarges roundings."""
    settings = {"updates": 100, "batch": 10, "check_every": 10, "steps": steps, "rate": rate}
    ours, theirs = (probed(name, **settings) for name in ("zil", "bp"))
    for mine, other in zip(ours.weights, theirs.weights, strict=True):
        np.testing.assert_allclose(mine, other, rtol=0, atol=1e-10)
    curves = [live(name, **settings, is_probed=False)[2].outputs for name in ("zil", "bp")]
    np.testing.assert_array_equal(*curves)


def test_zil_reads_each_layer_of_the_strict_relaxation_at_its_own_moment():
    """All layers relax at gamma = 1; layer l is read after step L - l, then all learn."""
    shown = middle_of(ZeroDivergence())
    weights, biases, x, t = start(0, shown)
    for update in range(5):
        loop = Loop(weights, biases, x, t)
        pres, errors = [], []
        for step in range(LAYERS):
            layer = LAYERS - 1 - step
            pres.insert(0, loop.pres()[layer])
            errors.insert(0, loop.errors()[layer])
            loop.relax(1.0)
        if update < 4:
            loop.learn(pres, errors)
    agree(shown.weights, weights, 0)
    agree(shown.errors, errors, 0)
    agree(shown.pres, pres, 0)


def distance(ours, theirs):
    """Return the greatest share that a layer's errors lack of backpropagation's."""
    return max(
        np.linalg.norm(mine - other) / np.linalg.norm(other)
        for mine, other in zip(ours.errors, theirs.errors, strict=True)
    )


def test_fixed_prediction_nears_backpropagation_as_it_takes_more_steps():
    theirs = probed("bp", updates=2)
    found = [distance(middle_of(FixedPrediction(steps=n), updates=2), theirs)
             for n in (5, 10, 20, 50, 100, 200, 400)]  # fmt: skip
    assert found == sorted(found, reverse=True)
    assert found[2] > 0.1
    assert found[4] < 5e-3
    assert found[-1] < 1e-12


def test_fixed_prediction_of_a_hundred_steps_has_the_direction_of_the_gradient():
    np.testing.assert_allclose(cosines_to_gradient(probed("fpc")), 1.0, atol=1e-12)


@pytest.mark.parametrize(("steps", "gamma"), [(4, 0.5), (20, 0.1), (100, 0.1)])
def test_fixed_prediction_leaves_each_layer_a_known_share_of_the_gradient(steps, gamma):
    """k layers below the output errors wait as for the k-th success of trials of odds gamma."""
    ours = middle_of(FixedPrediction(steps=steps, gamma=gamma), updates=2)
    theirs = middle_of(Backprop(), updates=2)
    for depth, (mine, other) in enumerate(zip(ours.errors[::-1], theirs.errors[::-1], strict=True)):
        share = nbinom.cdf(steps - depth, depth, gamma) if depth else 1.0
        np.testing.assert_allclose(mine, share * other, rtol=1e-9, atol=1e-15)


def test_fixed_prediction_in_unit_steps_is_exact_after_as_many_as_layers():
    ours = middle_of(FixedPrediction(steps=LAYERS - 1, gamma=1.0), updates=2)
    early = middle_of(FixedPrediction(steps=LAYERS - 2, gamma=1.0), updates=2)
    theirs = probed("bp", updates=2)
    assert distance(ours, theirs) < 1e-13
    assert distance(early, theirs) == 1.0  # errors have not yet come to the lowest layer


def test_fixed_prediction_is_a_plain_loop_of_its_equation():
    shown = middle_of(FixedPrediction(steps=9, gamma=0.3), updates=2)
    loop = at(0, shown)
    errors = loop.errors()
    for _ in range(9):
        errors = [
            e + 0.3 * (-e + (1 - np.tanh(v) ** 2) * (above @ w))
            for e, v, above, w in zip(errors, loop.v, errors[1:], loop.w[1:], strict=False)
        ] + errors[-1:]
    agree(shown.errors, errors, 0)
    agree(shown.pres, loop.pres(), 0)


@pytest.mark.parametrize(("steps", "gamma"), [(5, 0.3), (8, 0.1)])
def test_incremental_predictive_coding_is_a_plain_loop_in_which_both_change_at_once(steps, gamma):
    shown = middle_of(IncrementalPredictiveCoding(steps=steps, gamma=gamma), updates=6)
    for draw in range(len(KEYS)):
        weights, biases, x, t = start(draw, shown)
        for update in range(3):
            loop = Loop(weights, biases, x, t)
            for step in range(steps):
                pres, errors = loop.pres(), loop.errors()
                if (update, step) == (2, steps - 1):
                    break  # the probe shows the last update before it is made
                loop.relax(gamma)
                loop.learn(pres, errors)
        agree(shown.weights, weights, draw)
        agree(shown.errors, errors, draw)
        agree(shown.pres, pres, draw)


def test_incremental_errors_come_down_by_one_layer_a_round():
    for rounds in (1, 2, 3):
        shown = middle_of(IncrementalPredictiveCoding(steps=rounds), updates=2)
        reached = [np.abs(e).max() > 1e-6 for e in shown.errors]
        assert reached == [False] * (LAYERS - rounds) + [True] * rounds


def test_relaxation_costs_its_passes():
    sizes = (64, 64, 64, 10)
    down, up = backward_products(sizes), forward_products(sizes)
    assert PredictiveCoding(steps=20).products(sizes) == 40 * down
    assert FixedPrediction(steps=7).products(sizes) == 7 * down
    assert ZeroDivergence().products(sizes) == down
    assert IncrementalPredictiveCoding(steps=1).products(sizes) == up + down
    assert IncrementalPredictiveCoding(steps=5).products(sizes) == 5 * (up + down) + 4 * up


@pytest.mark.parametrize("settings", [{"steps": 0}, {"gamma": 0.0}, {"gamma": 1.5}])
@pytest.mark.parametrize(
    "circuit", [PredictiveCoding, FixedPrediction, IncrementalPredictiveCoding]
)
def test_settings_out_of_range_are_refused(circuit, settings):
    with pytest.raises(InputError, match="steps must be at least 1 and gamma lie above 0"):
        circuit(**settings)
