"""Scores that runs share: read to the bit, never wrong ones, and never more than numbers."""

import sqlite3

import numpy as np
import pytest

import evosearch as es
from evosearch import cli
from evosearch.errors import InputError
from evosearch.evaluation import Evaluator
from evosearch.evaluation.shared import SharedOutcomes
from evosearch.problem import load_problem

SMALL = {"task.steps": "20", "splits.search.draws": "6", "splits.validation.draws": "6"}
SMALL |= {"splits.test.draws": "6", "searches.gp.population": "20"}
FACTORS = (0.3, 1.0)


@pytest.fixture
def problem():
    return load_problem("oja_pc1", preset="quick", overrides=SMALL)


@pytest.fixture
def rules(problem):
    space = problem.space("tree")
    return [space.decode(rule) for rule in space.sample(np.random.default_rng(5), 12)]


def scored(problem, rules, folder, **options):
    """Score rules with the shared file; return the evaluation and what was read."""
    shared = SharedOutcomes(folder, problem)
    with Evaluator(problem, workers=1, shared=shared) as evaluator:
        found = evaluator.evaluate(rules, problem.draws("search"), scales=FACTORS, **options)
    return found, shared.hits


def run(folder, **options):
    return es.run("oja_pc1", preset="quick", settings=SMALL, budget=100, out=folder, **options)


def test_what_is_read_is_to_the_bit_what_was_computed(problem, rules, tmp_path):
    with Evaluator(problem, workers=1) as evaluator:
        plain = evaluator.evaluate(rules, problem.draws("search"), scales=FACTORS)
    first, no_hits = scored(problem, rules, tmp_path)
    second, hits = scored(problem, rules, tmp_path)
    assert (no_hits, hits) == (0, len({rule.text for rule in rules}))
    assert first.lifetimes == plain.lifetimes > second.lifetimes == 0
    for found in (first, second):
        for name in ("fitness", "per_draw", "scale", "exploded", "size", "is_cached"):
            np.testing.assert_array_equal(getattr(found, name), getattr(plain, name))
        assert list(found.metrics) == list(plain.metrics)
        for name, column in plain.metrics.items():
            np.testing.assert_array_equal(found.metrics[name], column)
        assert found.cost == plain.cost


@pytest.mark.parametrize(
    "change",
    [
        {"task.steps": "21"},
        {"rule.eta": "0.01"},
        {"rule.clip": "[-4.0, 4.0]"},
        {"splits.search.draws": "7"},
        {"splits.search.steps": "19"},
        {"splits.search.eta": "0.02"},
        {"aggregate": "min"},
    ],
)
def test_whatever_decides_a_score_keeps_problems_apart(change, problem, rules, tmp_path):
    scored(problem, rules, tmp_path)
    other = load_problem("oja_pc1", preset="quick", overrides={**SMALL, **change})
    assert scored(other, rules, tmp_path)[1] == 0


def test_other_draws_and_step_sizes_are_other_scores(problem, rules, tmp_path):
    shared = SharedOutcomes(tmp_path, problem)
    with Evaluator(problem, workers=1, shared=shared) as evaluator:
        for options in ({"run_seed": 0}, {"run_seed": 1}, {"generation": 0}):
            evaluator.evaluate(rules, problem.draws("search", **options), is_remembered=False)
        assert shared.hits == len(rules)  # the last draws are the first
        evaluator.evaluate(rules, problem.draws("search"), scales=(0.5,), is_remembered=False)
        assert shared.hits == len(rules)


def test_budgets_searches_and_titles_do_not_keep_problems_apart(problem, rules, tmp_path):
    scored(problem, rules, tmp_path)
    changes = {"searches.gp.budget": "77", "title": "another"}
    other = load_problem("oja_pc1", preset="quick", overrides={**SMALL, **changes})
    assert scored(other, rules, tmp_path)[1] > 0


def test_a_row_that_does_not_check_is_scored_again(problem, rules, tmp_path):
    plain, _ = scored(problem, rules, tmp_path)
    (file,) = tmp_path.glob("oja_pc1-*.sqlite")
    n = len({rule.text for rule in rules})
    damages = (
        "fitness = fitness + 0.001",
        "fitness = 'good'",
        "fitness = 9e999",
        "per_draw = x'00'",
        "per_draw = NULL",
        "metrics = '[1]'",
        "metrics = '{'",
        "exploded = 2.0",
        "scale = 0.7",
    )
    for damage in damages:
        with sqlite3.connect(file) as db:
            db.execute("UPDATE outcomes SET " + damage)  # noqa: S608
        found, hits = scored(problem, rules, tmp_path)
        assert hits == 0, damage
        np.testing.assert_array_equal(found.fitness, plain.fitness)
        assert scored(problem, rules, tmp_path)[1] == n  # mended


def test_a_file_that_is_no_database_is_said_once_and_done_without(problem, rules, tmp_path, caplog):
    path = SharedOutcomes(tmp_path, problem).path
    for old in tmp_path.iterdir():
        old.unlink()
    path.write_text("this is no database, " * 100)
    found, hits = scored(problem, rules, tmp_path)
    assert hits == 0
    assert np.isfinite(found.fitness).any()
    assert len([r for r in caplog.records if "going on without it" in r.getMessage()]) == 1


def test_a_race_neither_reads_nor_writes(problem, rules, tmp_path):
    scored(problem, rules, tmp_path, racing=2)
    assert scored(problem, rules, tmp_path)[1] == 0


def test_a_run_with_a_cache_is_the_run_without(tmp_path, capsys):
    plain = run(tmp_path / "plain")
    first = run(tmp_path / "runs", cache=True)
    other = run(tmp_path / "runs", cache=True, search="random")
    folder = first.path.rename(tmp_path / "aside")
    again = run(tmp_path / "runs", cache=True)
    assert plain.digest == first.digest == again.digest
    facts = [one.to_json() for one in (plain, first, again)]
    for key in ("champion", "baselines", "evaluations", "success"):
        assert facts[0][key] == facts[1][key] == facts[2][key]
    assert facts[2]["lifetimes"] == 0 < facts[1]["lifetimes"]
    assert plain.shared_hits is None
    assert again.shared_hits > 100
    assert es.load_run(folder).shared_hits <= other.shared_hits + 100
    capsys.readouterr()
    assert cli.main(["show", str(again.path)]) == 0
    assert f"{again.shared_hits:,} scores came from other runs" in capsys.readouterr().out


def test_the_share_met_before_is_that_of_the_rows(tmp_path, capsys):
    changes = {**SMALL, "searches.random.population": "20", "rule.max_size": "3"}
    found = es.run("oja_pc1", preset="quick", search="random", settings=changes, budget=100,
                   out=tmp_path)  # fmt: skip
    from evosearch.store.folder import reading

    with reading(found.path) as store:
        rows = store.candidates()
    share = sum(row.is_cached for row in rows) / len(rows)
    assert found.share_met_before == pytest.approx(share)
    assert share > 0.1
    assert cli.main(["show", str(found.path)]) == 0
    assert f"{share:.1%} of evaluations met a candidate" in capsys.readouterr().out


def test_a_cache_on_another_device_is_refused(tmp_path):
    with pytest.raises(InputError, match="leave out --cache"):
        run(tmp_path, cache=True, device="torch")
