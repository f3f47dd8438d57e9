"""Comparisons: rows, statistics, files, and runs that are not done twice."""

import json
import math
from pathlib import Path
from types import SimpleNamespace

import pytest

from evosearch import api
from evosearch.compare import compare, load_comparison, success_bar
from evosearch.comparison import Cell, Comparison, row_of
from evosearch.errors import InputError, RunCorruptError


def cell(search="gp", seed=0, score=0.9, is_success=True, evaluations=1000, first=400):
    first = first if is_success else None
    return Cell(search, seed, score, is_success, evaluations, first, 2.0, f"runs/{search}-s{seed}")


class FakeProblem:
    def __init__(self, name="toy", budgets=None):
        self.name, self.budgets = name, budgets or {}

    def search_settings(self, search):
        return {}

    def default_budget(self, search):
        return self.budgets.get(search, 500)


class FakeRun(SimpleNamespace):
    @property
    def settings(self):
        return {"success": {"threshold": 0.5}}

    @property
    def known_scores(self):
        return {}

    def to_json(self):
        return {
            "champion": {"text": "post*pre", "fitness": {"test": self.score}},
            "success": self.score > 0.5,
            "evaluations": 500,
            "synapse_updates": 5000,
            "wall_s": 1.0,
            "floor": 0.0,
            "ceiling": 1.0,
        }


@pytest.fixture
def done(monkeypatch, tmp_path):
    """Replace the runs by figures; return the list of runs that were asked for."""
    asked = []

    def finished_run(problem, *, search, seed, budget, **options):
        asked.append((search, seed, budget))
        score = {"gp": 0.8, "random": 0.3}[search] + 0.01 * seed
        return FakeRun(
            score=score, path=tmp_path / f"{search}-{seed}", evaluations_to_success=100,
            updates_to_success=1000,
        )  # fmt: skip

    def load_problem(problem, **options):
        return problem if isinstance(problem, FakeProblem) else FakeProblem(problem)

    monkeypatch.setattr("evosearch.api.load_problem", load_problem)
    monkeypatch.setattr("evosearch.api.check_search", lambda name: name)
    monkeypatch.setattr("evosearch.api.finished_run", finished_run)
    return asked


def test_a_row_counts_failures_into_the_evaluations_to_success():
    row = row_of("gp", [cell(), cell(seed=1), cell(seed=2, score=0.1, is_success=False)])
    assert row.success_rate == pytest.approx(2 / 3)
    assert row.evaluations_to_success == (400 + 400 + 1000) / 2
    assert row.median == 0.9
    assert row.iqr == (0.5, 0.9)
    assert 0.2 < row.wilson[0] < row.success_rate < row.wilson[1] < 0.95


def test_synapse_updates_to_success_count_failures_in_like_evaluations():
    won = Cell("gp", 0, 0.9, True, 1000, 400, 2.0, "a", "", 9000, 3000)
    lost = Cell("gp", 1, 0.1, False, 1000, None, 2.0, "b", "", 8000, None)
    assert row_of("gp", [won, lost]).updates_to_success == 3000 + 8000
    assert row_of("gp", [lost]).updates_to_success is None
    assert row_of("gp", [cell()]).updates_to_success is None  # nothing has synapses


def test_a_search_without_success_has_no_evaluations_to_success():
    row = row_of("gp", [cell(is_success=False, score=math.nan)])
    assert row.evaluations_to_success is None
    assert row.to_json()["median"] is None


def test_a_run_without_a_champion_is_a_row_without_a_score(done, tmp_path, monkeypatch):
    class Empty(FakeRun):
        def to_json(self):
            return super().to_json() | {"champion": None, "success": False}

    monkeypatch.setattr(
        "evosearch.api.finished_run",
        lambda *a, **k: Empty(
            score=0.0, path=tmp_path, evaluations_to_success=None, updates_to_success=None
        ),
    )
    said = []
    comparison = compare(
        "toy", searches=["gp"], seeds=1, out=tmp_path, on_rows=lambda _, text: said.append(text)
    )
    assert comparison.rows[0].to_json()["median"] is None
    assert said == ["gp seed 0: no champion, no success"]
    assert "nan" not in str(comparison.table())


def test_a_run_that_stopped_early_or_was_extended_is_not_taken_for_one_of_the_budget(tmp_path):
    options = {"search": "random", "seed": 0, "budget": 60, "out": tmp_path}
    few = {"searches.random.population": "20"}
    problem = api.load_problem("discrete_table", preset="quick", overrides=few)
    stopped = api.run(problem, target=-1e9, **options)
    assert stopped.to_json()["stopped_by"] == "target"
    whole = api.finished_run(problem, **options)
    assert whole.path == stopped.path
    assert whole.to_json()["evaluations"] == 60
    api.resume(whole.path, budget=120)
    with pytest.raises(InputError, match="was extended to 120"):
        api.finished_run(problem, **options)


def test_json_has_exactly_the_promised_keys(done, tmp_path):
    facts = compare("toy", searches=["gp", "random"], seeds=5, out=tmp_path).to_json()
    assert list(facts) == ["problem", "budget", "seeds", "rows", "tests"]
    for row in facts["rows"]:
        assert list(row) == [
            "search", "success_rate", "median", "iqr", "evaluations_to_success",
            "updates_to_success", "wall_s",
        ]  # fmt: skip
    (test,) = facts["tests"]
    assert list(test) == ["a", "b", "p", "effect"]
    assert test["effect"] == 1.0
    assert test["p"] == pytest.approx(2 / math.comb(10, 5))
    json.dumps(facts, allow_nan=False)


def test_all_searches_get_the_same_budget_and_seeds(done, tmp_path):
    compare("toy", searches=["gp", "random", "gp"], seeds=2, out=tmp_path)
    assert done == [("gp", 0, 500), ("random", 0, 500), ("gp", 1, 500), ("random", 1, 500)]


def test_the_table_fills_and_the_file_says_the_same(done, tmp_path):
    seen = []
    comparison = compare(
        "toy", searches=["gp"], seeds=3, out=tmp_path, on_rows=lambda t, m: seen.append((len(t), m))
    )
    assert len(seen) == 3
    assert "gp seed 2: 0.8200, success" in seen[2][1]
    assert comparison.path.parent == tmp_path / "toy"
    assert load_comparison(comparison.path) == comparison
    assert "gp" in str(comparison)
    assert "<table>" in comparison._repr_html_()


def test_an_interrupted_comparison_keeps_what_is_done(done, tmp_path, monkeypatch):
    work, calls = api.finished_run, []

    def stop_at_third(*args, **kwargs):
        calls.append(kwargs["seed"])
        if len(calls) == 3:
            raise KeyboardInterrupt
        return work(*args, **kwargs)

    monkeypatch.setattr("evosearch.api.finished_run", stop_at_third)
    with pytest.raises(KeyboardInterrupt):
        compare("toy", searches=["gp"], seeds=5, out=tmp_path)
    (folder,) = (tmp_path / "toy").glob("compare-*")
    assert len(load_comparison(folder).cells) == 2


@pytest.mark.parametrize(("searches", "seeds"), [([], 3), (["gp"], 0)])
def test_a_comparison_of_nothing_is_refused(done, searches, seeds, tmp_path):
    with pytest.raises(InputError, match="at least one"):
        compare("toy", searches=searches, seeds=seeds, out=tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_damaged_or_newer_file_is_named_with_what_to_do(done, tmp_path):
    path = compare("toy", searches=["gp"], seeds=1, out=tmp_path).path / "comparison.json"
    whole = path.read_text()
    path.write_text(whole[: len(whole) // 2])
    with pytest.raises(RunCorruptError, match="repeat the compare command"):
        load_comparison(path)
    path.write_text(json.dumps({**json.loads(whole), "format": 99}))
    with pytest.raises(RunCorruptError, match="format 99"):
        load_comparison(path)
    with pytest.raises(InputError, match="no comparison"):
        load_comparison(tmp_path / "nothing")


def test_searches_without_scores_are_not_tested():
    cells = (cell("gp"), cell("random", score=math.nan, is_success=False))
    comparison = Comparison("toy", 10, (0,), ("gp", "random"), cells, Path())
    assert comparison.tests == []
    assert [row.search for row in comparison.rows] == ["gp", "random"]


def test_success_needs_a_threshold_or_what_a_known_rule_scored():
    known = {"oja": {"validation": 0.7, "test": 0.8}, "lost": {"validation": None, "test": None}}
    assert success_bar(None, known) is None
    assert success_bar({"threshold": 0.9}, known) == 0.9
    assert success_bar({"reference": "oja", "margin": 0.05}, known) == pytest.approx(0.85)
    assert success_bar({"reference": "oja", "split": "validation"}, known) == 0.7
    assert success_bar({"reference": "lost"}, known) is None


def test_several_problems_have_a_table_each_and_one_of_all(done, tmp_path):
    seen = []
    suite = compare(
        ["a", "b"], searches=["random", "gp"], seeds=3, out=tmp_path,
        on_rows=lambda _, news: seen.append(news),
    )  # fmt: skip
    assert [part.problem for part in suite.parts] == ["a", "b"]
    assert seen[0] == "a, random seed 0: 0.3000, no success"
    assert len(seen) == len(done) == 12
    random, gp = suite.rows
    assert (random.n_runs, random.n_successes, random.mean_rank) == (6, 0, 2.0)
    assert (gp.n_runs, gp.success_rate, gp.mean_rank) == (6, 1.0, 1.0)
    assert gp.normalised == pytest.approx(0.81)  # floor 0, ceiling 1
    assert gp.budgets_to_success == pytest.approx(100 / 500)
    assert random.budgets_to_success is None
    (test,) = suite.tests
    assert (test.a, test.b, test.effect) == ("random", "gp", 0.0)
    text = str(suite)
    assert text.index("a: test scores") < text.index("b: test scores") < text.index("mean rank")
    assert suite._repr_html_().count("<table>") == 4


def test_json_of_several_problems_holds_that_of_each(done, tmp_path):
    suite = compare(["a", "b"], searches=["gp", "random"], seeds=2, out=tmp_path)
    facts = suite.to_json()
    assert list(facts) == ["problems", "seeds", "rows", "tests", "notes"]
    alone = compare("a", searches=["gp", "random"], seeds=2, out=tmp_path)
    assert facts["problems"][0] == alone.to_json()
    assert list(facts["rows"][0]) == [
        "search", "success_rate", "normalised", "mean_rank", "budgets_to_success",
    ]  # fmt: skip
    json.dumps(facts, allow_nan=False)


def test_a_suite_lies_in_a_file_and_goes_on_where_it_was_stopped(done, tmp_path, monkeypatch):
    suite = compare(["a", "b"], searches=["gp"], seeds=2, out=tmp_path)
    assert suite.path.parent == tmp_path / "comparisons"
    assert load_comparison(suite.path) == suite
    file = suite.path / "comparison.json"
    whole = json.loads(file.read_text())
    file.write_text(json.dumps({**whole, "problems": []}))
    with pytest.raises(RunCorruptError, match="is damaged"):
        load_comparison(suite.path)
    work = api.finished_run

    def stop_at_second_problem(problem, **options):
        if problem.name == "b":
            raise KeyboardInterrupt
        return work(problem, **options)

    monkeypatch.setattr("evosearch.api.finished_run", stop_at_second_problem)
    with pytest.raises(KeyboardInterrupt):
        compare(["a", "b"], searches=["gp"], seeds=2, out=tmp_path)
    stopped = load_comparison(suite.path)
    assert [len(part.cells) for part in stopped.parts] == [2, 0]
    assert (stopped.rows[0].success_rate, stopped.rows[0].mean_rank) == (1.0, 1.0)
    assert api.report(stopped, out=tmp_path / "s.html").stat().st_size > 1000
    monkeypatch.setattr("evosearch.api.finished_run", work)
    assert compare(["a", "b"], searches=["gp"], seeds=2, out=tmp_path) == suite


def test_a_suite_says_which_budgets_differ(done, tmp_path):
    few = FakeProblem("few", {"gp": 200, "random": 100})
    options = {"searches": ["gp", "random"], "seeds": 1, "out": tmp_path}
    differ, file, *early = compare([few, "b"], **options).notes
    assert "few 200, b 500" in differ
    assert file == (
        "The file of few gives random 100 evaluations; here every search has 200, those of gp."
    )
    assert early == []
    assert compare([few, "b"], budget=500, **options).notes == []
    ended = compare("b", budget=1000, searches=["gp"], seeds=2, out=tmp_path).notes
    assert ended == [
        "gp ended before the budget of b in 2 of 2 runs, the shortest after 500 evaluations."
    ]


def test_a_suite_of_nothing_or_of_one_problem_twice_is_refused(done, tmp_path):
    with pytest.raises(InputError, match="at least one problem"):
        compare([], searches=["gp"], seeds=1, out=tmp_path)
    with pytest.raises(InputError, match="each problem once"):
        compare(["a", "a"], searches=["gp"], seeds=1, out=tmp_path)
    assert done == []


def test_runs_that_read_scores_of_others_say_nothing_of_synapse_updates(tmp_path):
    few = {"task.steps": "20", "splits.test.draws": "6", "splits.validation.draws": "6"}
    options = {"searches": ["random"], "seeds": 1, "budget": 40, "settings": few, "workers": 1}
    options |= {"preset": "quick", "cache": True}
    first = compare("oja_pc1", out=tmp_path, **options)
    (tmp_path / "oja_pc1").rename(tmp_path / "aside")
    again = compare("oja_pc1", out=tmp_path, **options)
    assert first.cells[0].synapse_updates > 0 == again.cells[0].synapse_updates
    assert again.rows[0].updates_to_success is None
    assert again.cells[0].score == first.cells[0].score


def test_a_file_of_an_earlier_version_is_read_without_what_it_lacks(done, tmp_path):
    path = compare("toy", searches=["gp"], seeds=1, out=tmp_path).path / "comparison.json"
    record = json.loads(path.read_text())
    del record["bar"], record["remarks"]
    path.write_text(json.dumps(record))
    old = load_comparison(path)
    assert (old.bar, old.remarks) == (None, ())
