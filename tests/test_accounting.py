"""What a life takes, counted from its phases."""

from __future__ import annotations

import numpy as np

from evosearch.accounting import cost_of_life, life_cost
from evosearch.engine.lifetime import LifetimeBuilder
from evosearch.problem import load_problem


def test_products_with_feedback_and_minibatches_count_in_passes_through_the_network():
    b = LifetimeBuilder()
    x, h, y, e = (
        b.vector(name, n, examples=4) for name, n in zip("xhye", (3, 2, 5, 2), strict=True)
    )
    first, second = b.matrix("w", 2, 3), b.matrix("w", 5, 2)
    world = b.matrix("world", 5, 5)
    moved = b.vector("moved", 5, examples=4)
    with b.repeat(7):
        b.matvec(h, first, x)
        b.matvec(y, second, h)
        b.matvec_t(e, second, y)
        b.matvec(moved, world, y)
        b.rule(w=first, pre=x, post=h)
        b.rule(w=second, pre=h, post=y)
    life = b.build(draw_keys=np.zeros((1, 2), np.uint32))
    found = cost_of_life(life)
    assert found["steps"] == 7
    assert found["synapse_updates"] == 7 * (6 + 10)
    assert found["forward_equivalents"] == 7 * 4 * (6 + 10 + 10) / 16


def test_a_problem_tells_what_its_lives_take_and_vectors_have_none():
    cost = life_cost(load_problem("switching_cue", preset="quick"))
    problem = load_problem("switching_cue", preset="quick")
    draws = problem.draws("search", count=1)
    lived = problem.score([problem.read("pre*post")], [1.0], draws).lived
    assert cost is not None
    assert cost["synapse_updates"] * len(problem.lifetimes(draws)) == lived.synapse_updates
    assert cost["steps"] == cost["forward_equivalents"] > 0
    assert life_cost(load_problem("sinusoid", preset="quick")) is None
    assert life_cost(load_problem("regression", preset="quick")) is None
