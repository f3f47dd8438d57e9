"""What never shows in a result: chunks, threads, vector axis; and the frozen numerics."""

import dataclasses
import hashlib
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from engine_programs import TERMINALS, layer_life, random_expression, random_rules

from evosearch.engine import lifetime
from evosearch.engine.contract import NUMERICS
from evosearch.engine.lifetime import LifetimeBuilder
from evosearch.engine.run import run_lifetimes
from evosearch.rules.lower import lower
from evosearch.rules.rule import Rule

SHAPES = [(1, 3, 20), (2, 15, 5), (8, 16, 3), (4, 37, 2), (2, 600, 2)]


def programs_of(seed=0, n=40):
    rng = np.random.default_rng(seed)
    rules = random_rules(rng, n // 2)
    rules += [Rule(random_expression(rng, 13)) for _ in range(n - n // 2)]
    return [lower(rule, TERMINALS) for rule in rules]


def digest(result):
    parts = (result.outputs, result.exploded_at, result.clip_hits)
    return hashlib.sha256(b"".join(np.ascontiguousarray(p).tobytes() for p in parts)).hexdigest()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("shape", SHAPES)
def test_chunks_and_threads_give_the_same_bits(shape, dtype):
    life, _ = layer_life(shape[0], shape[1], 25, shape[2], dtype)
    programs = programs_of()
    whole = run_lifetimes(life, programs, 0.01)
    with ThreadPoolExecutor(3) as pool:
        parts = list(
            pool.map(lambda k: run_lifetimes(life, programs[k : k + 7], 0.01), range(0, 40, 7))
        )
    assert np.concatenate([p.outputs for p in parts]).tobytes() == whole.outputs.tobytes()
    assert (np.concatenate([p.exploded_at for p in parts]) == whole.exploded_at).all()
    assert sum(p.synapse_updates for p in parts) == whole.synapse_updates


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_draws_side_by_side_give_the_bits_of_draws_one_by_one(dtype, monkeypatch):
    life, _ = layer_life(3, 11, 25, 21, dtype)
    programs = programs_of()
    together = run_lifetimes(life, programs, 0.01)
    assert life.lanes > 1
    monkeypatch.setattr(lifetime, "MAX_SIDE_BY_SIDE_INPUTS", 0)
    alone = dataclasses.replace(life)
    assert alone.lanes == 1
    assert digest(run_lifetimes(alone, programs, 0.01)) == digest(together)


def golden_digest():
    parts = []
    for shape in SHAPES:
        for dtype in ("float32", "float64"):
            life, _ = layer_life(shape[0], shape[1], 25, shape[2], dtype, seed=5)
            parts.append(digest(run_lifetimes(life, programs_of(9, 60), 0.01)))
    b = LifetimeBuilder()
    numbers, top, best = b.vector("numbers", 6), b.scalar("top"), b.vector("best", 6)
    with b.repeat(5):
        b.random(numbers, "normal")
        b.map(numbers, "tanh(a) + sin(a)*exp(-a*a)", a=numbers)
    b.reduce(top, "sum", numbers)
    b.argmax(best, numbers)
    for buffer in (numbers, top, best):
        b.output(buffer)
    keys = np.arange(14, dtype=np.uint32).reshape(7, 2)
    life = b.build(draw_keys=keys, dtype="float64")
    parts.append(digest(run_lifetimes(life, programs_of(n=2), 0.0)))
    return hashlib.sha256("".join(parts).encode()).hexdigest()


def test_the_numerics_are_frozen():
    assert NUMERICS == 3
    assert golden_digest() == ("280308f3a2ff947d944c1d927a81c96c29b6a81351e33f0ca5e3fb2fed56f046")


def test_a_sum_runs_in_sixteen_lanes_and_a_fixed_tree():
    rng = np.random.default_rng(0)
    for n_in in (1, 3, 15, 16, 17, 50, 64, 100):
        x = rng.normal(0, 1, n_in).astype(np.float32)
        w = rng.normal(0, 1, (4, n_in)).astype(np.float32)
        lanes = np.zeros((4, 16), np.float32)
        for j in range(n_in):
            lanes[:, j % 16] += w[:, j] * x[j]
        for half in (8, 4, 2, 1):
            lanes = lanes[:, :half] + lanes[:, half : 2 * half]
        b = LifetimeBuilder()
        pre, post, matrix = b.vector("pre", n_in), b.vector("post", 4), b.matrix("w", 4, n_in)
        b.initial(matrix, b.table(w.reshape(1, -1), shared=True))
        b.initial(pre, b.table(x.reshape(1, -1), shared=True))
        b.matvec(post, matrix, pre)
        b.rule(w=matrix, pre=pre, post=post)
        b.output(post)
        for n_draws in (1, 3):
            life = b.build(draw_keys=np.zeros((n_draws, 2)), dtype="float32")
            program = lower(Rule("pre"), TERMINALS[:3])
            result = run_lifetimes(life, [program], 0.0)
            for row in result.outputs[0].astype(np.float32):
                assert row.tobytes() == lanes[:, 0].tobytes()
