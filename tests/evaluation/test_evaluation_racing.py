"""Races: who is dropped and by which test, what is known of them, and what it costs."""

import math
import signal

import numpy as np
import pytest
from scipy.stats import ttest_rel

import evosearch as es
from evosearch.errors import InputError
from evosearch.evaluation import Evaluator, racing
from evosearch.evaluation.outcomes import Outcome
from evosearch.evaluation.racing import FEWEST, LEVEL, race, significantly_lower
from evosearch.outcome import Lived
from evosearch.problem import Draws, load_problem

OJA = {"task.steps": 20, "splits.search.draws": 40, "splits.validation.draws": 20}
OJA |= {"splits.test.draws": 20, "searches.gp.population": 30}
D = 40


@pytest.fixture(scope="module")
def problem():
    return load_problem("oja_pc1", preset="quick", overrides=OJA)


@pytest.fixture(scope="module")
def rules(problem):
    space = problem.space("tree")
    return [space.decode(rule) for rule in space.sample(np.random.default_rng(5), 30)]


class Table:
    """Scores that are given: one row a candidate, one column a draw."""

    def __init__(self, values, failed=()):
        self.values, self.failed, self.asked = values, failed, []

    def __call__(self, candidates, draws):
        columns = [key[0] for key in draws.keys]
        self.asked.append((len(candidates), len(columns)))
        outcomes = []
        for k in candidates:
            row = self.values[k, columns]
            ok = k not in self.failed
            status = "ok" if ok else "failed"
            fitness = float(row.mean()) if ok else -math.inf
            outcomes.append(Outcome(status, fitness, row, metrics={"half": fitness / 2}))
        return outcomes, Lived(len(candidates) * len(columns))


def raced(values, problem, first=8, failed=()):
    draws = Draws("search", tuple((d,) for d in range(values.shape[1])))
    table = Table(values, failed)
    return race(table, problem, list(range(len(values))), draws, first), table


def test_the_test_is_the_paired_t_test():
    rng = np.random.default_rng(0)
    reference = rng.normal(size=12)
    values = reference - rng.normal(0.4, 1.0, size=(200, 12))
    expected = [ttest_rel(row, reference, alternative="less").pvalue < LEVEL for row in values]
    assert significantly_lower(values, reference).tolist() == expected
    assert 0 < sum(expected) < 200


def test_the_race_is_the_one_of_a_plain_loop(problem):
    rng = np.random.default_rng(1)
    values = rng.normal(size=(20, 1)) + rng.normal(size=(20, D))
    alive, lived = list(range(20)), dict.fromkeys(range(20), 0)
    for end in (8, 32, D):
        for k in alive:
            lived[k] = end
        if end == D:
            break
        means = {k: values[k, :end].mean() for k in alive}
        ranked = sorted(alive, key=lambda k: -means[k])
        last = ranked[5 - 1]  # a quarter of twenty
        alive = [
            k for k in alive if k in ranked[:5]
            or not ttest_rel(values[k, :end], values[last, :end], alternative="less").pvalue < LEVEL
        ]  # fmt: skip
    found, table = raced(values, problem)
    assert found.draws.tolist() == [lived[k] for k in range(20)]
    assert found.cost(D) == math.ceil(sum(lived.values()) / D)
    assert found.lived.lifetimes == sum(lived.values())
    assert [n for _, n in table.asked] == [8, 24, 8]
    assert 5 <= len(alive) < 20
    whole = [k for k in range(20) if lived[k] == D]
    best = sorted((values[k].mean() for k in whole), reverse=True)[4]
    for k in range(20):
        outcome, is_nan = found.outcomes[k], np.isnan(found.outcomes[k].per_draw)
        assert is_nan.tolist() == [d >= lived[k] for d in range(D)]
        if k in whole:
            assert outcome.fitness == pytest.approx(values[k].mean())
            assert outcome.message == ""
        else:
            assert outcome.fitness <= best
            assert outcome.message == f"left a race after {lived[k]} of 40 draws"
            assert outcome.metrics["half"] == pytest.approx(values[k, : lived[k]].mean() / 2)


def test_a_dropped_candidate_is_estimated_as_on_all_draws_where_draws_differ_in_ease(problem):
    rng = np.random.default_rng(2)
    ease = np.where(np.arange(D) < 8, 100.0, 0.0)  # the first draws are easy
    strength = np.linspace(0, 40, 20)[:, None]
    values = strength + ease + rng.normal(0, 0.01, size=(20, D))
    found, _ = raced(values, problem)
    is_out = found.draws < D
    assert is_out.sum() == 15
    fitness = np.array([outcome.fitness for outcome in found.outcomes])
    np.testing.assert_allclose(fitness, values.mean(axis=1), atol=0.1)


def test_candidates_that_fail_leave_at_once_and_few_do_not_race(problem):
    values = np.random.default_rng(3).normal(size=(FEWEST, D))
    found, table = raced(values, problem, failed=(2,))
    assert found.draws[2] == 8
    assert found.outcomes[2].status == "failed"
    assert np.isnan(found.outcomes[2].per_draw).all()
    few, table = raced(values[1:], problem)
    assert table.asked == [(FEWEST - 1, D)]
    assert few.draws.tolist() == [D] * (FEWEST - 1)
    nobody, _ = raced(np.empty((0, D)), problem)
    assert (nobody.outcomes, nobody.cost(D)) == ([], 0)


def test_who_is_not_dropped_scores_as_without_a_race_to_the_bit(problem, rules, monkeypatch):
    draws = problem.draws("search")
    with Evaluator(problem, workers=1) as evaluator:
        whole = evaluator.evaluate(rules, draws, is_remembered=False)
        found = evaluator.evaluate(rules, draws, is_remembered=False, racing=8)
        monkeypatch.setattr(racing, "significantly_lower", lambda v, _: np.zeros(len(v), bool))
        free = evaluator.evaluate(rules, draws, is_remembered=False, racing=8)
    finished = ~np.isnan(found.per_draw).any(axis=1)
    assert 0 < finished.sum() < len(rules)
    for name in ("fitness", "per_draw"):
        np.testing.assert_array_equal(
            getattr(found, name)[finished], getattr(whole, name)[finished]
        )
        np.testing.assert_array_equal(getattr(free, name), getattr(whole, name))
    assert found.cost < whole.cost == free.cost == len(rules)
    assert found.lifetimes < whole.lifetimes == free.lifetimes
    assert int(np.argmax(found.fitness)) == int(np.argmax(whole.fitness))
    np.testing.assert_allclose(free.exploded, whole.exploded)


@pytest.mark.parametrize(("workers", "backend", "chunk"), [(2, "threads", 3), (1, "sequential", 1)])
def test_workers_and_chunks_never_show_in_a_race(workers, backend, chunk, problem, rules):
    draws = problem.draws("search")
    results = []
    for options in ({"workers": 1}, {"workers": workers, "backend": backend, "chunk_size": chunk}):
        with Evaluator(problem, **options) as evaluator:
            results.append(evaluator.evaluate(rules, draws, racing=8))
    for name in ("fitness", "per_draw", "exploded", "scale"):
        np.testing.assert_array_equal(*(getattr(result, name) for result in results))
    assert results[0].messages == results[1].messages
    assert results[0].cost == results[1].cost


def test_a_run_with_races_resumes_the_same_and_proposes_more(tmp_path):
    few = {**OJA, "searches.gp.racing": 8}
    settings = {key: str(value) for key, value in few.items()}

    def interrupt(run, generation):
        signal.raise_signal(signal.SIGINT)

    def rows(run):
        return [run.history()[name].tolist() for name in ("evaluations", "best", "lifetimes")]

    whole = es.run("oja_pc1", preset="quick", settings=settings, budget=120, out=tmp_path / "a")
    calm = {k: v for k, v in settings.items() if "racing" not in k}
    plain = es.run("oja_pc1", preset="quick", settings=calm, budget=120, out=tmp_path / "b")
    assert whole.to_json()["generations"] > plain.to_json()["generations"] == 4
    assert whole.path.name != plain.path.name
    options = {"budget": 120, "out": tmp_path / "c", "callbacks": [interrupt]}
    more = es.run("oja_pc1", preset="quick", settings=settings, **options)
    while not more.is_finished:
        more = es.resume(more.path, callbacks=[interrupt])
    assert more.digest == whole.digest
    assert rows(more) == rows(whole)
    from evosearch.doctor import check_run

    assert all(finding.is_ok for finding in check_run(str(whole.path)))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"searches.gp.racing": 40}, "less than the 40 search draws"),
        ({"aggregate": "min"}, "races compare means"),
        ({"searches.gp.scales": True}, "races have one step size"),
    ],
)
def test_what_cannot_race_is_refused_in_one_sentence(changes, words, tmp_path):
    problem = load_problem(
        "oja_pc1", preset="quick", overrides={**OJA, "searches.gp.racing": 8, **changes}
    )
    with pytest.raises(InputError, match=words) as caught:
        es.run(problem, search="gp", budget=60, out=tmp_path)
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []
