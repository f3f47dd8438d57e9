"""The interpreter and the torch path against NumPy, per application and over lives."""

import os

import numpy as np
import pytest
from engine_programs import (
    COLUMNS,
    TERMINALS,
    layer_life,
    numpy_life,
    random_expression,
    random_rules,
    reference_values,
)

from evosearch.engine.run import run_lifetimes
from evosearch.engine.table import evaluate_rows
from evosearch.rules.lower import lower
from evosearch.rules.rule import Rule

N_PROGRAMS = 10_000 if os.environ.get("EVOSEARCH_FULL") else 500
ONE = [terminal.name for terminal in TERMINALS]


def columns_of(rng, dtype):
    edges = np.array([0.0, 1.0, -1.0, 0.5, -0.0, 3.0, -7.0])
    values = [np.concatenate([edges, rng.normal(0, 2, 41)]) for _ in ONE]
    for row in values[1:]:
        rng.shuffle(row[:7])
    return np.array(values).astype(dtype)


# A power is exp(b log|a|): in float32 its error grows with b log|a|, up to 88.
@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float64, 1e-12), (np.float32, 1e-4)])
def test_random_programs_equal_numpy_relative_to_the_largest_intermediate(dtype, tolerance):
    rng = np.random.default_rng(7)
    expressions = [random_expression(rng, 25) for _ in range(N_PROGRAMS)]
    columns = columns_of(rng, dtype)
    ours = evaluate_rows([lower(Rule(e), COLUMNS) for e in expressions], columns)
    named = dict(zip(ONE, columns, strict=True))
    for expression, values in zip(expressions, ours, strict=True):
        wanted, largest = reference_values(expression, named, dtype)
        assert (np.isfinite(values) == np.isfinite(wanted)).all(), str(expression)
        is_finite = np.isfinite(wanted)
        error = np.abs(values[is_finite] - wanted[is_finite]) / np.maximum(
            largest[is_finite], 1e-30
        )
        assert (error <= tolerance).all(), (str(expression), error.max())


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("shape", [(1, 3, 20), (5, 7, 3), (8, 16, 1), (10, 100, 2), (2, 600, 2)])
def test_lives_equal_numpy_after_twenty_steps(shape, dtype):
    n_out, n_in, n_draws = shape
    rng = np.random.default_rng(11)
    rules = [
        Rule("post*(pre - post*w)"),
        Rule("w = w + 0.01*mod*elig; elig = 0.9*elig + tanh(pre)*post"),
        Rule("mod*pre"),
        Rule("0.3"),
        Rule("post"),
        *random_rules(rng, 20),
    ]
    life, data = layer_life(n_out, n_in, 20, n_draws, dtype)
    eta = 0.01
    result = run_lifetimes(life, [lower(rule, TERMINALS) for rule in rules], eta)
    for p, rule in enumerate(rules):
        for draw in range(n_draws):
            w, z = numpy_life(rule, data, draw, eta)
            wanted = np.concatenate([w.ravel(), z.ravel()])
            assert result.exploded_at[p, draw] == -1
            scale = np.abs(wanted).max() + 1
            tolerance = 1e-4 if dtype == "float32" else 1e-12
            assert np.abs(result.outputs[p, draw] - wanted).max() <= tolerance * scale, rule.text


def test_the_torch_path_agrees_with_the_interpreter():
    rng = np.random.default_rng(3)
    rules = [
        *random_rules(rng, 12),
        Rule("post*(pre - 0.5*post*w)"),
        Rule("post*(pre - 2*post*w)"),
        Rule("w = 0.9*w + 0.01*elig; elig = 0.5*elig + mod*pre*post"),
    ]
    programs = [lower(rule, TERMINALS) for rule in rules]
    for shape in ((1, 3, 9), (6, 20, 2)):
        life, _ = layer_life(*shape[:2], 20, shape[2], "float64", row_norm=1.5)
        ours = run_lifetimes(life, programs, 0.02)
        theirs = run_lifetimes(life, programs, 0.02, device="torch")
        np.testing.assert_allclose(theirs.outputs, ours.outputs, rtol=1e-8, atol=1e-9)
        assert (theirs.exploded_at == ours.exploded_at).all()
        assert theirs.synapse_updates == ours.synapse_updates
        np.testing.assert_allclose(theirs.clip_hits, ours.clip_hits)


@pytest.mark.parametrize("shape", [(1, 3, 5), (6, 20, 2)])
def test_an_exploding_life_ends_at_the_same_step_everywhere(shape):
    n_out, n_in, n_draws = shape
    life, _ = layer_life(n_out, n_in, 30, n_draws, "float32", low=-np.inf, high=np.inf)
    rules = [Rule("w*w*1000000 + 100000"), Rule("pre*post"), Rule("exp(exp(20*post*post))")]
    programs = [lower(rule, TERMINALS) for rule in rules]
    ours = run_lifetimes(life, programs, 1.0)
    theirs = run_lifetimes(life, programs, 1.0, device="torch")
    assert (ours.exploded_at[0] > 0).all()
    assert (ours.exploded_at == theirs.exploded_at).all()
    assert ours.synapse_updates == theirs.synapse_updates


def test_a_device_without_enough_memory_takes_fewer_rules_at_once(monkeypatch, caplog):
    import torch

    from evosearch.engine import torch_path

    life, _ = layer_life(2, 4, 5, 3, "float64")
    programs = [lower(Rule(f"post*(pre - {c}*w)"), TERMINALS) for c in (0.5, 0.75, 1.5)]
    wanted = run_lifetimes(life, programs, 0.1, device="torch")
    live, room = torch_path._Batch.live, 2

    def limited(batch):
        if batch.size[0] > room:
            raise torch.OutOfMemoryError("out of memory")
        return live(batch)

    monkeypatch.setattr(torch_path._Batch, "live", limited)
    halved = run_lifetimes(life, programs, 0.1, device="torch")
    assert halved.outputs.tobytes() == wanted.outputs.tobytes()
    assert halved.synapse_updates == wanted.synapse_updates
    room = 0
    for _ in range(2):
        on_cpu = run_lifetimes(life, programs, 0.1, device="torch")
    np.testing.assert_allclose(on_cpu.outputs, wanted.outputs, rtol=1e-10)
    assert caplog.text.count("such lives run on the CPU") == 1
