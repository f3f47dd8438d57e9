"""Means of rules over minibatches: against NumPy, the same in all tiers, and as matrix products."""

import dataclasses
import os

import numpy as np
import pytest
from engine_programs import TERMINALS, random_expression

from evosearch.engine.lifetime import LifetimeBuilder, Projection
from evosearch.engine.lowering import MAX_PRODUCTS, expression_of, lower_minibatch
from evosearch.engine.program import Level, Terminal
from evosearch.engine.run import run_lifetimes
from evosearch.errors import InputError
from evosearch.rules.lower import lower
from evosearch.rules.rule import Rule, evaluate
from evosearch.rules.separate import separate

CATALOGUE = TERMINALS[:4]
LEVELS = {terminal.name: terminal.level for terminal in CATALOGUE}
N_RULES = 10_000 if os.environ.get("EVOSEARCH_FULL") else 60
OJA = "post*(pre - 0.5*post*w)"


def minibatch_life(n_out, n_in, examples, steps=1, n_draws=1, dtype="float64", **projection):
    """A layer on minibatches of a shared data set; every draw has its own order."""
    rng = np.random.default_rng(0)
    b = LifetimeBuilder()
    x, y = b.vector("pre", n_in, examples=examples), b.vector("post", n_out, examples=examples)
    m, back = b.vector("mod", 1, examples=examples), b.vector("back", n_in, examples=examples)
    w = b.matrix("w", n_out, n_in)
    start = rng.normal(0, 0.3, (n_draws, 1, n_out * n_in))
    b.initial(w, b.table(start))
    data, mods = rng.normal(0, 1, (50, n_in)), rng.normal(0, 1, (50, 1))
    order = rng.integers(0, 50, (n_draws, steps * examples))
    table, mod_table, index = b.table(data, shared=True), b.table(mods, shared=True), b.index(order)
    with b.repeat(steps) as t:
        b.load(x, table, row=t * examples, via=index)
        b.load(m, mod_table, row=t * examples, via=index)
        b.matvec(y, w, x)
        b.matvec_t(back, w, y)
        b.rule(w=w, pre=x, post=y, mod=m)
    for buffer in (w, back):
        b.output(buffer)
    limits = Projection(**{"low": -5.0, "high": 5.0, **projection})
    life = b.build(draw_keys=np.zeros((n_draws, 2)), dtype=dtype, projection=limits)
    return life, (start, data[order], mods[order])


def numpy_minibatches(rule, parts, draw, eta, n_out, n_in, examples, steps):
    start, data, mods = parts
    w = start[draw].reshape(n_out, n_in).copy()
    for step in range(steps):
        x = data[draw, step * examples : (step + 1) * examples]
        m = mods[draw, step * examples : (step + 1) * examples]
        y = x @ w.T
        values = evaluate(
            rule.main, {"w": w, "pre": x[:, None], "post": y[:, :, None], "mod": m[:, :, None]}
        )
        values = np.broadcast_to(values, (examples, n_out, n_in))
        w = np.clip(w + eta * values.mean(axis=0), -5, 5)
    return w


def digest(result):
    return (
        result.outputs.tobytes(), result.exploded_at.tobytes(), result.clip_hits.tobytes(),
        result.synapse_updates,
    )  # fmt: skip


@pytest.mark.parametrize("lowering", [True, False])
@pytest.mark.parametrize(
    "text", [OJA, "mod*pre*tanh(post)", "mod*w", "w*(pre - post)/(1 + pre*pre)", "pre"]
)
def test_the_mean_over_a_minibatch_equals_numpy(text, lowering):
    shape = (5, 20, 6, 4)
    life, parts = minibatch_life(*shape, n_draws=3)
    life = dataclasses.replace(life, is_lowered=lowering)
    rule = Rule(text)
    result = run_lifetimes(life, [lower(rule, CATALOGUE)], 0.1)
    for draw in range(3):
        wanted = numpy_minibatches(rule, parts, draw, 0.1, *shape)
        np.testing.assert_allclose(result.outputs[0, draw, :100], wanted.ravel(), atol=1e-12)


@pytest.mark.parametrize("lowering", [True, False])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("shape", [(1, 3, 4), (4, 37, 5), (20, 200, 7)])
def test_tiers_agree_on_minibatches_to_the_bit(shape, dtype, lowering):
    rng = np.random.default_rng(3)
    life, _ = minibatch_life(*shape, 5, 2, dtype, keeps_sign=True, row_norm=1.5)
    life = dataclasses.replace(life, is_lowered=lowering)
    names = list(LEVELS)
    rules = [Rule(random_expression(rng, 13, names)) for _ in range(10)]
    rules += [Rule(OJA), Rule("w = 0.9*w + 0.1*mod*pre*post")]
    programs = [lower(rule, CATALOGUE) for rule in rules]
    ours = run_lifetimes(life, programs, 0.05, tier="interpreter")
    assert digest(ours) == digest(run_lifetimes(life, programs, 0.05, tier="native"))
    one_by_one = [run_lifetimes(life, [program], 0.05) for program in programs]
    assert b"".join(r.outputs.tobytes() for r in one_by_one) == ours.outputs.tobytes()
    theirs = run_lifetimes(life, programs, 0.05, device="torch")
    assert (theirs.exploded_at == ours.exploded_at).all()
    np.testing.assert_allclose(
        theirs.outputs[-2:], ours.outputs[-2:], atol=1e-5 if dtype == "float32" else 1e-12
    )


def test_a_lowered_rule_makes_the_same_update_to_a_part_in_1e12():
    rng = np.random.default_rng(11)
    polynomial = ["add", "sub", "mul", "neg", "square", "div"]
    life, _ = minibatch_life(3, 5, 4)
    elementwise = dataclasses.replace(life, is_lowered=False)
    n_lowered = 0
    for number in range(N_RULES):
        functions = polynomial if number % 2 else None
        names = ["w", "pre", "post", "mod"] if number % 3 else ["w", "pre", "post"]
        rule = Rule(random_expression(rng, 15, names, functions))
        program = lower(rule, CATALOGUE)
        if lower_minibatch(life, program) is None:
            continue
        n_lowered += 1
        ours, wanted = run_lifetimes(life, [program], 1.0), run_lifetimes(elementwise, [program], 1)
        scale = max(1.0, np.abs(wanted.outputs).max())
        assert np.abs(ours.outputs - wanted.outputs).max() <= 1e-12 * scale, rule.text
    assert n_lowered > N_RULES / 2


@pytest.mark.parametrize("text", ["tanh(w*pre)", "pre/(post + w)", "max(pre, post)", "tanh(mod*w)"])
def test_what_does_not_separate_is_averaged_elementwise(text):
    life, _ = minibatch_life(3, 5, 4)
    assert lower_minibatch(life, lower(Rule(text), CATALOGUE)) is None


def test_oja_needs_one_product_of_matrices_and_one_mean_of_units():
    terms = separate(Rule(OJA).main, LEVELS)
    assert terms is not None
    assert sorted((t.coefficient, len(t.synapse), len(t.pre), len(t.post)) for t in terms) == [
        (-0.5, 1, 0, 2),
        (1.0, 0, 1, 1),
    ]
    life, _ = minibatch_life(3, 5, 4)
    lowered, _ = lower_minibatch(life, lower(Rule(OJA), CATALOGUE))
    assert {b.level for b in lowered.sites[0].terminals.values()} == {Level.SYNAPSE, Level.POST}


@pytest.mark.parametrize(
    "text",
    ["mod", "mod*pre", "mod*w", "mod*pre*post", "pre*(mod - post)", "tanh(mod*post)*pre/(1 + mod)",
     "mod*post + mod*pre - mod*mod", "w*pow(pre, mod)", "post*(pre - post*w)*sign(mod)"],
)  # fmt: skip
@pytest.mark.parametrize("shape", [(3, 5, 4), (1, 20, 5), (20, 1, 6), (1, 1, 4)])
def test_modulators_go_with_the_units_of_either_side(text, shape):
    life, parts = minibatch_life(*shape, 3, 2)
    rule = Rule(text)
    program = lower(rule, CATALOGUE)
    assert lower_minibatch(life, program) is not None
    result = run_lifetimes(life, [program], 0.1)
    for draw in range(2):
        wanted = numpy_minibatches(rule, parts, draw, 0.1, *shape, 3)
        n = shape[0] * shape[1]
        np.testing.assert_allclose(result.outputs[0, draw, :n], wanted.ravel(), atol=1e-12)


def test_too_many_products_of_matrices_are_not_worth_it():
    text = " + ".join(f"post*pow(pre, {k})" for k in range(2, 4 + MAX_PRODUCTS))
    life, _ = minibatch_life(3, 5, 4)
    assert lower_minibatch(life, lower(Rule(text), CATALOGUE)) is None


def test_rules_that_differ_in_constants_share_a_lowered_life():
    life, _ = minibatch_life(3, 5, 4)
    lives = [
        lower_minibatch(life, lower(Rule(f"post*(pre - {c}*post*w)"), CATALOGUE))[0]
        for c in (0.25, 0.75)
    ]
    assert lives[0] is lives[1]


def test_a_program_reads_back_as_the_expression_it_came_from():
    rng = np.random.default_rng(5)
    columns = {name: rng.normal(0, 1, 7) for name in LEVELS}
    for _ in range(200):
        rule = Rule(random_expression(rng, 13, list(LEVELS)))
        back = expression_of(lower(rule, CATALOGUE))
        np.testing.assert_allclose(
            evaluate(back, columns) + np.zeros(7), evaluate(rule.main, columns) + np.zeros(7),
            rtol=1e-9, equal_nan=True,
        )  # fmt: skip


def test_bad_minibatches_are_refused_in_one_sentence():
    b = LifetimeBuilder()
    x, y = b.vector("pre", 3, examples=4), b.vector("post", 2, examples=5)
    w = b.matrix("w", 2, 3)
    with pytest.raises(InputError, match="'post' holds 5 examples, 'pre' 4"):
        b.matvec(y, w, x)
    with pytest.raises(InputError, match="terminal 'pre' holds 4 examples, others 5"):
        b.rule(w=w, pre=x, post=y)


def test_a_rule_with_states_is_not_averaged():
    b = LifetimeBuilder()
    x, y = b.vector("pre", 3, examples=4), b.vector("post", 2, examples=4)
    w, z = b.matrix("w", 2, 3), b.matrix("elig", 2, 3)
    b.rule(w=w, pre=x, post=y, elig=z)
    life = b.build(draw_keys=np.zeros((1, 2)))
    program = lower(Rule("dw = pre*post; elig = w"), TERMINALS)
    with pytest.raises(InputError, match="states of its own"):
        run_lifetimes(life, [program], 0.1)


def test_a_terminal_that_the_life_does_not_offer_is_refused_in_one_sentence():
    b = LifetimeBuilder()
    x, y = b.vector("pre", 3, examples=4), b.vector("post", 2, examples=4)
    b.rule(w=b.matrix("w", 2, 3), pre=x, post=y)
    life = b.build(draw_keys=np.zeros((1, 2)))
    catalogue = (*CATALOGUE[:3], Terminal("target", Level.POST))
    with pytest.raises(InputError, match="reads 'target', which this life does not offer"):
        run_lifetimes(life, [lower(Rule("target*pre"), catalogue)], 0.1)
