"""Lives in which plasticity ends early: what a curve of performance against experience shows."""

from __future__ import annotations

import numpy as np
import pytest

from evosearch.engine.lifetime import LifetimeBuilder
from evosearch.engine.program import Level, Terminal
from evosearch.engine.run import run_lifetimes
from evosearch.problem import load_problem
from evosearch.report.experience import experience_curves, plastic_for
from evosearch.rules.lower import lower
from evosearch.rules.rule import Rule

TERMINALS = (
    Terminal("w", Level.SYNAPSE),
    Terminal("pre", Level.PRE),
    Terminal("post", Level.POST),
)
EPOCHS, STEPS, REST = 3, 4, 2
N = EPOCHS * (2 * STEPS + 1)


def nested():
    """Return a life whose rule acts twice a step and once an epoch, with its inputs and birth."""
    b = LifetimeBuilder()
    x, y, w, total = b.vector("x", 3), b.vector("y", 2), b.matrix("w", 2, 3), b.scalar("total")
    rng = np.random.default_rng(0)
    inputs, birth = rng.standard_normal((2, EPOCHS * STEPS + REST, 3)), rng.standard_normal((2, 6))
    table = b.table(inputs)
    b.initial(w, b.table(birth[:, None]))
    with b.repeat(EPOCHS) as e:
        with b.repeat(STEPS) as t:
            b.load(x, table, row=e * STEPS + t)
            b.matvec(y, w, x)
            b.rule(w=w, pre=x, post=y)
            b.rule(w=w, pre=x, post=y)
            b.map(total, "w + a", a=total)
        b.rule(w=w, pre=x, post=y)
    with b.repeat(REST) as t:
        b.load(x, table, row=t + EPOCHS * STEPS)
        b.matvec(y, w, x)
    b.output(w)
    b.output(y)
    return b.build(draw_keys=np.zeros((2, 2), np.uint32), dtype="float64"), inputs, birth


def by_loops(inputs, birth, n):
    """Return final weights and activity (D, 8), with the rule gone after n applications."""
    ends = []
    for x, start in zip(inputs, birth, strict=True):
        w, left = start.reshape(2, 3).copy(), n
        for step in range(EPOCHS * STEPS):
            y = w @ x[step]
            for _ in range(2 + ((step + 1) % STEPS == 0)):
                if left > 0:
                    w += 0.1 * np.outer(y, x[step]) - 0.05 * w
                left -= 1
        ends.append(np.concatenate([w.ravel(), w @ x[-1]]))
    return np.array(ends)


@pytest.mark.parametrize("n", range(N + 1))
def test_the_rule_ends_after_n_applications_and_the_life_goes_on(n):
    life, inputs, birth = nested()
    assert life.n_rule_applications == N
    program = lower(Rule("0.1*(post*pre) - 0.05*w"), TERMINALS)
    lived = run_lifetimes(plastic_for(life, n / N), [program], 1.0).outputs[0]
    np.testing.assert_allclose(lived, by_loops(inputs, birth, n), rtol=1e-12)


def test_a_curve_begins_without_plasticity_and_ends_with_the_score():
    problem = load_problem("switching_cue", preset="quick")
    rules = [(problem.known_candidate(problem.ceiling), 1.0), (problem.read("w - w"), 1.0)]
    parts, fitness = experience_curves(problem, rules)
    draws = problem.draws("test", count=16)
    whole = problem.score([rule for rule, _ in rules], [1.0, 1.0], draws).fitness
    assert parts[[0, -1]].tolist() == [0.0, 1.0]
    assert np.array_equal(fitness[-1], whole)
    assert (fitness[:, 1] == fitness[0, 0]).all()
    assert fitness[-1, 0] > fitness[0, 0]
