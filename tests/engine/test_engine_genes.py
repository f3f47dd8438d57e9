"""Genes: numbers of a candidate that fill buffers at birth, in every back end alike."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from evosearch.engine.lifetime import LifetimeBuilder
from evosearch.engine.program import Level, Terminal
from evosearch.engine.run import run_lifetimes
from evosearch.errors import InputError
from evosearch.rules.lower import lower
from evosearch.rules.rule import Rule

TERMINALS = (
    Terminal("w", Level.SYNAPSE),
    Terminal("pre", Level.PRE),
    Terminal("post", Level.POST),
    Terminal("rate", Level.SYNAPSE),
)
RULE = "rate*post*pre"
STEPS = 6
SHARING = np.array([[1, 1, 2], [3, 2, 1]])


def life(n_draws, n_in=3, *, dtype="float64"):
    """Return lives y = tanh(gain W x) whose weights, rates and gain are genes."""
    b = LifetimeBuilder()
    x, y, w, rate = (
        b.vector("x", n_in), b.vector("y", 2), b.matrix("w", 2, n_in), b.matrix("rate", 2, n_in),
    )  # fmt: skip
    gain, field = b.scalar("gain"), b.vector("field", 2)
    b.inherited(gain, 0)
    b.inherited(rate, np.resize(SHARING, (2, n_in)))
    b.inherited(w, 4 + np.arange(2 * n_in))
    inputs = b.table(np.random.default_rng(5).standard_normal((n_draws, STEPS, n_in)))
    with b.repeat(STEPS) as t:
        b.load(x, inputs, row=t)
        b.matvec(field, w, x)
        b.map(y, "tanh(g*a)", g=gain, a=field)
        b.rule(w=w, pre=x, post=y, rate=rate)
    b.output(w)
    return b.build(draw_keys=np.zeros((n_draws, 2), np.uint32), dtype=dtype)


def programs(n, n_in=3):
    """Return n candidates with one rule and other genes."""
    rng = np.random.default_rng(1)
    rule = lower(Rule(RULE), TERMINALS)
    return [replace(rule, genes=rng.standard_normal(4 + 2 * n_in)) for _ in range(n)]


def by_numpy(lives, genes, n_in):
    """Return final weights (D, 2 n_in), by loops."""
    ends = []
    for draw in range(lives.n_draws):
        w = genes[4:].reshape(2, n_in).copy()
        rate = genes[np.resize(SHARING, (2, n_in))]
        for t in range(STEPS):
            x = lives.tables[0][draw, t]
            w += rate * np.outer(np.tanh(genes[0] * w @ x), x)
        ends.append(w.ravel())
    return np.array(ends)


@pytest.mark.parametrize("tier", ["interpreter", "native"])
@pytest.mark.parametrize("n_in", [3, 20])
def test_lives_begin_at_the_genes_of_their_candidate(tier, n_in):
    lives, rules = life(5, n_in), programs(4, n_in)
    found = run_lifetimes(lives, rules, 1.0, tier=tier).outputs
    for k, rule in enumerate(rules):
        np.testing.assert_allclose(found[k], by_numpy(lives, rule.genes, n_in), rtol=1e-10)


def test_the_torch_path_begins_at_the_same_genes():
    lives, rules = life(3), programs(4)
    expected = run_lifetimes(lives, rules, 1.0).outputs
    np.testing.assert_allclose(
        run_lifetimes(lives, rules, 1.0, device="torch").outputs, expected, rtol=1e-10
    )


def test_tiers_agree_to_the_bit_whatever_stands_beside():
    lives, rules = life(5, dtype="float32"), programs(4)
    together = run_lifetimes(lives, rules, 1.0, tier="native").outputs
    alone = [run_lifetimes(lives, [rule], 1.0, tier="interpreter").outputs[0] for rule in rules]
    np.testing.assert_array_equal(together, np.stack(alone))


def test_a_candidate_without_enough_genes_is_refused():
    (rule,) = programs(1)
    with pytest.raises(InputError, match="needs 10 genes, a candidate has 9"):
        run_lifetimes(life(1), [replace(rule, genes=rule.genes[:9])], 1.0)


def test_a_sharing_map_that_does_not_cover_the_synapses_is_refused():
    b = LifetimeBuilder()
    w = b.matrix("w", 2, 3)
    with pytest.raises(InputError, match="'w' has 6 numbers, its genes are 5"):
        b.inherited(w, np.arange(5))


def test_minibatches_that_become_products_keep_the_genes():
    terminals = TERMINALS[:3]
    b = LifetimeBuilder()
    x, y = b.vector("x", 3, examples=8), b.vector("y", 2, examples=8)
    w = b.matrix("w", 2, 3)
    b.inherited(w, np.arange(6))
    b.load(x, b.table(np.random.default_rng(2).standard_normal((1, 8, 3))), row=0)
    b.matvec(y, w, x)
    b.rule(w=w, pre=x, post=y)
    b.output(w)
    lives = b.build(draw_keys=np.zeros((1, 2), np.uint32), dtype="float64")
    genes = np.arange(6.0)
    rule = replace(lower(Rule("pre*post"), terminals), genes=genes)
    inputs = lives.tables[0][0].reshape(8, 3)
    start = genes.reshape(2, 3)
    expected = start + (inputs @ start.T).T @ inputs / 8
    found = run_lifetimes(lives, [rule], 1.0).outputs.reshape(2, 3)
    np.testing.assert_allclose(found, expected, rtol=1e-12)
