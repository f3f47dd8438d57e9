"""The evaluator: one outcome a candidate, the same for any workers, backend and chunks."""

import itertools
import threading
import time
from concurrent.futures import BrokenExecutor

import numpy as np
import pytest

from evosearch.errors import InputError
from evosearch.evaluation import EvaluationCancelledError, Evaluator
from evosearch.evaluation.executors import SequentialExecutor
from evosearch.evaluation.isolated import Isolated
from evosearch.evaluation.outcomes import Outcome, OutcomeCache, best_outcome, candidate_keys
from evosearch.problem import load_problem
from evosearch.rules.rule import Rule

TEXTS = (
    "post*(pre - post*w)",
    "pre*post",
    "pre*post - w",
    "w*w*w*w*1000",
    "1.5*pre",
    "0*w",
    "post*post*post*w*-3.5",
    "(pre + post)*(pre - post)*0.1",
    "w - pre*0.25",
    "pre*(post - w)*(1 - w)",
)
FACTORS = (0.1, 0.3, 1.0)


@pytest.fixture(scope="module")
def problem():
    return load_problem("oja_pc1", preset="quick", overrides={"task.steps": 30})


@pytest.fixture(scope="module")
def rules(problem):
    return [problem.read(text) for text in TEXTS]


@pytest.fixture(scope="module")
def draws(problem):
    return problem.draws("search", count=6)


def same(first, second):
    """Whether two evaluations are equal to the bit."""
    for name in ("fitness", "per_draw", "scale", "exploded", "size", "is_cached"):
        a, b = getattr(first, name), getattr(second, name)
        assert a.dtype == b.dtype
        assert np.array_equal(a, b, equal_nan=a.dtype.kind == "f"), name
    for name in ("status", "cost", "lifetimes", "synapse_updates", "messages"):
        assert getattr(first, name) == getattr(second, name), name
    assert list(first.metrics) == list(second.metrics)
    for name, column in first.metrics.items():
        assert np.array_equal(column, second.metrics[name], equal_nan=True), name
    return True


@pytest.fixture(scope="module")
def reference(problem, rules, draws):
    with Evaluator(problem, workers=1, backend="sequential", chunk_size=1) as evaluator:
        return evaluator.evaluate(rules, draws, scales=FACTORS)


@pytest.mark.parametrize("chunk_size", [1, 7, 64, None])
@pytest.mark.parametrize("workers", [1, 2, 3])
@pytest.mark.parametrize("backend", ["sequential", "threads"])
def test_workers_backends_and_chunks_never_show(
    backend, workers, chunk_size, problem, rules, draws, reference
):
    options = {"workers": workers, "backend": backend, "chunk_size": chunk_size}
    with Evaluator(problem, **options) as evaluator:
        assert same(evaluator.evaluate(rules, draws, scales=FACTORS), reference)


def test_processes_never_show(problem, rules, draws, reference, is_full):
    for workers, chunk_size in itertools.product((1, 2, 3), (1, 7, 64)) if is_full else [(2, 7)]:
        options = {"workers": workers, "backend": "processes", "chunk_size": chunk_size}
        with Evaluator(problem, **options) as evaluator:
            assert same(evaluator.evaluate(rules, draws, scales=FACTORS), reference)


def test_compiled_lives_have_no_time_limit(problem, rules, draws, reference):
    """A worker that compiles for minutes costs no candidate."""
    with Evaluator(problem, workers=1, backend="processes", timeout_s=1e-9) as evaluator:
        assert same(evaluator.evaluate(rules, draws, scales=FACTORS), reference)


def test_what_an_evaluation_says(reference, rules, draws):
    n = len(rules)
    assert reference.fitness.shape == reference.scale.shape == reference.exploded.shape == (n,)
    assert reference.per_draw.shape == (n, len(draws))
    assert reference.status == ("ok",) * n
    assert np.allclose(reference.fitness, reference.per_draw.mean(axis=1))
    assert reference.cost == n * len(FACTORS)
    assert reference.lifetimes == n * len(FACTORS) * len(draws)
    assert reference.size.tolist() == [rule.size for rule in rules]
    assert not reference.is_cached.any()
    assert reference.exploded[TEXTS.index("0*w")] == 0


def test_the_best_step_size_is_chosen_and_the_first_among_equals(problem, rules, draws, reference):
    with Evaluator(problem, workers=1) as evaluator:
        each = [evaluator.evaluate(rules, draws, scales=(factor,)) for factor in FACTORS]
    table = np.stack([part.fitness for part in each])
    assert np.array_equal(reference.fitness, table.max(axis=0))
    assert np.array_equal(reference.scale, np.array(FACTORS)[table.argmax(axis=0)])
    zero = TEXTS.index("0*w")
    assert reference.scale[zero] == FACTORS[0]
    best = table.argmax(axis=0)
    rows = np.stack([part.per_draw for part in each])[best, np.arange(len(rules))]
    assert np.array_equal(reference.per_draw, rows)


def test_rules_that_behave_alike_are_scored_once_in_the_first_spelling(problem, draws):
    spellings = ["pre*post - post*post*w", "post*(pre - post*w)", "post*pre - w*post*post"]
    rules = [problem.read(text) for text in spellings]
    with Evaluator(problem, workers=1) as evaluator:
        single = evaluator.evaluate(rules[:1], draws)
    with Evaluator(problem, workers=1) as evaluator:
        together = evaluator.evaluate([*rules, rules[1]], draws)
        later = evaluator.evaluate(rules[::-1], draws)
    assert together.is_cached.tolist() == [False, True, True, True]
    assert together.lifetimes == len(draws)
    assert together.cost == 4
    assert np.all(together.fitness == single.fitness[0])
    assert np.all(together.per_draw == single.per_draw[0])
    assert together.size.tolist() == [rule.size for rule in [*rules, rules[1]]]
    assert later.is_cached.all()
    assert later.lifetimes == later.synapse_updates == 0
    assert later.cost == 3
    assert np.all(later.fitness == single.fitness[0])


def test_constants_tell_rules_apart(problem):
    keys = candidate_keys([problem.read(text) for text in ("2*pre", "2.0000001*pre", "pre*2")])
    assert keys[0] == keys[2] != keys[1]


def test_the_cache_holds_for_the_same_draws_and_step_sizes_only(problem, rules, draws):
    with Evaluator(problem, workers=1) as evaluator:
        first = evaluator.evaluate(rules[:3], draws)
        assert evaluator.evaluate(rules[:3], draws).is_cached.all()
        assert not evaluator.evaluate(rules[:3], problem.draws("test")).is_cached.any()
        assert evaluator.evaluate(rules[:3], draws).is_cached.all()
        assert not evaluator.evaluate(rules[:3], draws, scales=(0.5,)).is_cached.any()
        assert not evaluator.evaluate(rules[:3], problem.draws("search", count=5)).is_cached.any()
        again = evaluator.evaluate(rules[:3], draws)
        assert not again.is_cached.any()
        assert same(again, first)


def test_nothing_is_looked_up_or_kept_where_nothing_shall_be_remembered(problem, rules, draws):
    with Evaluator(problem, workers=1) as evaluator:
        first = evaluator.evaluate(rules, draws, is_remembered=False)
        assert same(evaluator.evaluate(rules, draws, is_remembered=False), first)
        assert same(evaluator.evaluate(rules, draws), first)
        assert same(evaluator.evaluate(rules, draws, is_remembered=False), first)


def test_a_restored_cache_answers_like_the_one_that_was_filled(problem, rules, draws):
    with Evaluator(problem, workers=1) as evaluator:
        whole = evaluator.evaluate(rules, draws)
        expected = evaluator.evaluate(rules, draws)
    known = [
        (
            rule,
            Outcome(
                "ok",
                float(whole.fitness[k]),
                whole.per_draw[k],
                float(whole.scale[k]),
                float(whole.exploded[k]),
            ),
        )
        for k, rule in enumerate(rules)
    ]
    with Evaluator(problem, workers=1) as evaluator:
        evaluator.remember(draws, (1.0,), known)
        again = evaluator.evaluate(rules, draws)
    assert again.is_cached.all()
    assert again.lifetimes == 0
    for name in ("fitness", "per_draw", "scale", "exploded"):
        assert np.array_equal(getattr(again, name), getattr(expected, name)), name


def test_the_cache_forgets_the_oldest(monkeypatch):
    monkeypatch.setattr("evosearch.evaluation.outcomes.MAX_REMEMBERED", 2)
    cache = OutcomeCache()
    outcome = Outcome("ok", 1.0, np.ones(1))
    cache.enter(("d", (1.0,)))
    for key in "abc":
        cache.add(key, outcome)
    assert cache.get("a") is None
    assert cache.get("c") is outcome
    cache.enter(("e", (1.0,)))
    assert cache.get("c") is None


def test_more_candidates_than_are_remembered_are_all_scored(problem, rules, draws, monkeypatch):
    monkeypatch.setattr("evosearch.evaluation.outcomes.MAX_REMEMBERED", 3)
    with Evaluator(problem, workers=1) as evaluator:
        first = evaluator.evaluate(rules, draws)
        again = evaluator.evaluate(rules, draws)
        assert np.array_equal(first.fitness, again.fitness)


def test_a_candidate_is_ok_if_it_is_at_one_step_size():
    bad = Outcome("invalid", -np.inf, np.full(1, np.nan))
    low, high = (Outcome("ok", value, np.full(1, value)) for value in (-5.0, 2.0))
    assert best_outcome([bad, low]) is low
    assert best_outcome([low, bad]) is low
    assert best_outcome([bad, low, high, low]) is high
    assert best_outcome([bad, bad]) is bad


def test_no_candidates_are_no_work(problem, draws):
    with Evaluator(problem, workers=2) as evaluator:
        nothing = evaluator.evaluate([], draws)
    assert nothing.fitness.shape == (0,)
    assert nothing.per_draw.shape == (0, len(draws))
    assert nothing.cost == nothing.lifetimes == 0


def test_a_rule_that_the_task_does_not_offer_is_invalid_and_others_are_kept(problem, rules, draws):
    stranger = Rule("target*pre")
    with Evaluator(problem, workers=1) as evaluator:
        expected = evaluator.evaluate(rules, draws)
    for backend in ("sequential", "threads"):
        with Evaluator(problem, workers=2, backend=backend, chunk_size=4) as evaluator:
            mixed = evaluator.evaluate([*rules[:2], stranger, *rules[2:]], draws)
        assert mixed.status[2] == "invalid"
        assert mixed.fitness[2] == -np.inf
        assert "target" in mixed.messages[2]
        kept = [k for k in range(len(rules) + 1) if k != 2]
        assert np.array_equal(mixed.fitness[kept], expected.fitness)


def test_a_fitness_that_is_not_finite_is_invalid(problem, rules, draws, monkeypatch):
    score = type(problem).score

    def spoil(self, *args, **kwargs):
        chunk = score(self, *args, **kwargs)
        chunk.fitness[0] = np.nan
        return chunk

    monkeypatch.setattr(type(problem), "score", spoil)
    with Evaluator(problem, workers=1, chunk_size=5) as evaluator:
        found = evaluator.evaluate(rules, draws)
    assert found.status == ("invalid", *["ok"] * 4, "invalid", *["ok"] * 4)
    assert np.all(np.isneginf(found.fitness) == ~found.is_ok)


def test_an_engine_that_fails_costs_the_candidate(problem, rules, draws, monkeypatch):
    score = type(problem).score

    def fail(self, batch, *args, **kwargs):
        if any(rule is rules[4] for rule in batch):
            raise MemoryError if len(batch) > 100 else ZeroDivisionError("no\nidea")
        return score(self, batch, *args, **kwargs)

    monkeypatch.setattr(type(problem), "score", fail)
    with Evaluator(problem, workers=2) as evaluator:
        found = evaluator.evaluate(rules, draws)
    assert [k for k, status in enumerate(found.status) if status != "ok"] == [4]
    assert found.status[4] == "failed"
    assert found.messages[4] == "ZeroDivisionError: no idea"


@pytest.mark.parametrize(
    "options",
    [
        {"backend": "thread"},
        {"workers": 0},
        {"workers": -1},
        {"chunk_size": 0},
        {"device": "cuda:77"},
        {"device": "nonsense"},
    ],
)
def test_bad_arguments_are_one_sentence(options, problem):
    with pytest.raises(InputError) as caught:
        Evaluator(problem, **options)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("backend", ["sequential", "threads"])
def test_a_cancelled_evaluation_stops_soon_and_the_next_goes_on(backend, problem, rules, draws):
    with Evaluator(problem, workers=2, backend=backend, chunk_size=1) as evaluator:
        evaluator.cancel.set()
        with pytest.raises(EvaluationCancelledError):
            evaluator.evaluate(rules, draws)
        evaluator.cancel = threading.Event()
        assert evaluator.evaluate(rules, draws).is_ok.all()


PYTHON_PROBLEM = """
schema = 1
name = "faulty"
default_search = "random"
[task]
kind = "evaluation_tasks.py:misbehave"
[rule]
terminals = ["w", "pre", "post"]
ephemeral = [0.0, 1.0]
[splits.search]
draws = 2
[splits.validation]
draws = 2
[splits.test]
draws = 2
[searches.random]
budget = 20
population = 10
"""


@pytest.fixture(scope="module")
def faulty(tmp_path_factory):
    from pathlib import Path

    path = tmp_path_factory.mktemp("faulty") / "faulty.toml"
    path.write_text(PYTHON_PROBLEM)
    return load_problem(path, folder=Path(__file__).parent)


def misbehaving(problem, n, share, seed):
    """Return n rules by constant and, for each, the status that it must end with."""
    from evaluation_tasks import STATUS

    rng = np.random.default_rng(seed)
    orders = np.array(sorted(STATUS))
    values = np.arange(1, n + 1) / 4
    bad = rng.permutation(n)[: max(1, round(share * n))]
    values[bad] = orders[rng.integers(len(orders), size=len(bad))]
    return values


def check_outcomes(problem, values, found, draws):
    from evaluation_tasks import STATUS

    for k, value in enumerate(values.tolist()):
        expected = STATUS.get(value, "ok")
        assert found.status[k] == expected, (value, found.messages[k])
        assert np.isfinite(found.fitness[k]) == (expected == "ok")
        assert np.isnan(found.per_draw[k]).all() == (expected != "ok")
        assert "\n" not in found.messages[k]
        assert bool(found.messages[k]) == (expected != "ok")
        if expected == "ok":
            assert value <= found.fitness[k] < value + 0.001


def test_each_fault_of_a_python_task_costs_exactly_its_candidate(faulty, session_seed):
    from evaluation_tasks import STATUS

    draws = faulty.draws("search")
    values = np.array([*sorted(STATUS), *(np.arange(1, 9) / 4)])
    values = np.random.default_rng(session_seed).permutation(values)
    rules = [faulty.read(f"pre*{value!r}") for value in values.tolist()]
    with Evaluator(faulty, workers=2, timeout_s=1.0) as evaluator:
        assert evaluator.backend == "processes"
        found = evaluator.evaluate(rules, draws)
        check_outcomes(faulty, values, found, draws)
        again = evaluator.evaluate(rules, draws)  # faults are remembered, not made again
        assert again.is_cached.all()
        assert again.status == found.status


@pytest.mark.full
def test_a_thousand_candidates_of_which_many_die(faulty, session_seed):
    draws = faulty.draws("search")
    values = misbehaving(faulty, 1000, 0.05, session_seed)
    rules = [faulty.read(f"pre*{value!r}") for value in values.tolist()]
    with Evaluator(faulty, workers=3, timeout_s=1.0) as evaluator:
        check_outcomes(faulty, values, evaluator.evaluate(rules, draws), draws)


def test_a_python_task_scores_the_same_in_any_backend(faulty):
    draws = faulty.draws("search")
    rules = [faulty.read(f"pre*{value!r}") for value in (0.5, 0.25, 0.75, 9002.0, 9001.0)]
    found = []
    for backend, workers in (("sequential", 1), ("threads", 3), ("processes", 2)):
        with Evaluator(faulty, workers=workers, backend=backend) as evaluator:
            found.append(evaluator.evaluate(rules, draws))
    assert found[0].status == ("ok", "ok", "ok", "invalid", "failed")
    for other in found[1:]:
        assert np.array_equal(other.fitness, found[0].fitness)
        assert other.status == found[0].status
        assert other.lifetimes == found[0].lifetimes


def test_a_hanging_task_can_be_cancelled(faulty):
    draws = faulty.draws("search")
    with Evaluator(faulty, workers=1, timeout_s=None) as evaluator:
        timer = threading.Timer(2.0, evaluator.cancel.set)
        timer.start()
        start = time.monotonic()
        with pytest.raises(EvaluationCancelledError):
            evaluator.evaluate([faulty.read("pre*9004.0")], draws)
        assert time.monotonic() - start < 30
        timer.join()
        evaluator.cancel = threading.Event()
        assert evaluator.evaluate([faulty.read("pre*0.5")], draws).is_ok.all()


def test_a_worker_that_dies_while_calls_are_handed_out_ends_nothing():
    class Broken(SequentialExecutor):
        """Takes two calls, then is broken until it is restarted."""

        taken = restarts = 0

        def submit(self, function, *args):
            if self.taken == 2 and not self.restarts:
                raise BrokenExecutor("a worker died")
            self.taken += 1
            return super().submit(function, *args)

        def restart(self):
            self.restarts += 1

    executor = Broken()
    isolated = Isolated(
        executor,
        workers=1,
        timeout_s=None,
        warm_up=(int, ()),
        is_cancelled=lambda: False,
    )
    assert isolated.map(abs, [(-1,), (-2,), (-3,)]) == [("ok", 1), ("ok", 2), ("ok", 3)]
    assert executor.restarts == 1
