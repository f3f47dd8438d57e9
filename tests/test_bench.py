import numpy as np
import pytest

from evosearch import bench
from evosearch.bench.baseline import NumpyLives
from evosearch.bench.roofline import UPDATE_OPERATIONS, step_operations
from evosearch.bench.rows import CHECKED, TIERS, bench_table, engines
from evosearch.bench.timing import Times
from evosearch.bench.workload import (
    FUNCTIONS,
    Workload,
    make_workload,
    random_rule,
)
from evosearch.engine.sample import TERMINALS, layer_life
from evosearch.rules.lower import lower
from evosearch.rules.parser import parse


def test_table_names_every_engine_of_every_network_and_their_limits():
    rows, roofline = bench.run_bench(is_quick=True)
    names = {row.engine for row in rows}
    assert {CHECKED, *TIERS} <= names
    assert len(rows) == len(names) * len({(row.network, row.functions) for row in rows})
    assert all(row.lifetimes_per_s > 0 and row.of_roofline > 0 for row in rows)
    assert all(row.vs_numpy_checked == 1 for row in rows if row.engine == CHECKED)
    assert all((row.compile_ms is not None) == row.engine.startswith("native") for row in rows)
    assert min(roofline.fma_gflops, roofline.divisions, roofline.l1, roofline.memory) > 0
    assert "GFLOP/s" in bench_table(rows, roofline).title


def test_torch_device_adds_rows():
    work = make_workload(2, 3, n_draws=2, n_rules=2, steps=3)
    lived_by = engines(work, "torch")
    lived_by["torch, torch"]()


@pytest.mark.parametrize("n_draws", [1, 3])
def test_baseline_lives_the_same_life_as_the_engine(n_draws):
    rules = [parse(text) for text in ("post*(pre - post*w)", "tanh(pre/2) - w", "90*pre*pre")]
    programs = [lower(rule, TERMINALS) for rule in rules]
    work = Workload(4, 5, rules, programs, layer_life(4, 5, 200, n_draws))
    lived = work.run("interpreter")
    for own, end in zip(lived.outputs, NumpyLives(work).run(is_checked=True), strict=True):
        np.testing.assert_allclose(own.reshape(end.shape), end, rtol=1e-4, atol=1e-5)
    assert (lived.clip_hits[2] == 1).all()


def test_ratios_are_medians_over_turns():
    times = Times({"a": np.array([4.0, 2.0, 9.0]), "b": np.array([2.0, 2.0, 1.0])})
    assert times.ratio("a", "b") == 2
    assert times.median("a") == 4


def test_operations_are_counted_at_their_level():
    program = lower(parse("pre*pre + w/post"), TERMINALS)
    operations, divisions = step_operations(program, 3, 5)
    assert divisions == 15
    assert operations == (2 + UPDATE_OPERATIONS + 1) * 15 + 5


@pytest.mark.parametrize("share", [0.0, 0.15])
def test_random_rules_have_their_size_and_functions(share):
    rng = np.random.default_rng(0)
    rules = [random_rule(rng, 9, share) for _ in range(50)]
    assert all(rule.size == 9 for rule in rules)
    has_functions = any(node in FUNCTIONS for rule in rules for node in rule.main.nodes)
    assert has_functions == (share > 0)
