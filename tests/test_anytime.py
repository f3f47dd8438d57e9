"""Curves over evaluations: what is known when, and which targets are reached by then."""

from dataclasses import replace

import numpy as np
import pytest

import evosearch as es
from evosearch.report.anytime import Anytime, anytime, profile, targets_between, targets_of
from evosearch.suite import Suite


def test_targets_leave_the_floor_out_and_end_at_the_ceiling():
    targets = targets_between(0.0, 1.0)
    assert (len(targets), targets[-1]) == (51, 1.0)
    assert targets[0] == pytest.approx(1 / 51)


def test_the_share_reached_counts_pairs_of_runs_and_targets():
    curve = Anytime(np.array([1.0, 2.0]), np.array([[0.1, 0.6], [np.nan, 0.2]]))
    np.testing.assert_allclose(curve.reached(np.array([0.05, 0.15, 0.5])), [1 / 6, 5 / 6])


def test_quartiles_are_unknown_until_every_run_has_a_score():
    curve = Anytime(np.array([1.0, 2.0]), np.array([[0.1, 0.6], [np.nan, 0.2]]))
    assert [bool(np.isnan(q[0])) for q in curve.quartiles()] == [True] * 3
    assert curve.quartiles()[1][1] == pytest.approx(0.4)


@pytest.fixture(scope="module")
def compared(tmp_path_factory):
    out = tmp_path_factory.mktemp("runs")
    return es.compare("discrete_table", searches=["ga", "random"], seeds=2, budget=600, out=out)


def test_curves_never_fall_and_end_at_the_runs_last_scores(compared):
    curves = anytime(compared)
    assert set(curves) == {"ga", "random"}
    for name, curve in curves.items():
        assert curve.best.shape == (2, len(curve.evaluations))
        assert (np.diff(curve.best, axis=1)[np.isfinite(curve.best[:, :-1])] >= 0).all()
        runs = [es.load_run(cell.path) for cell in compared.cells if cell.search == name]
        last = [run.history()["validation"][-1] for run in runs]
        best = [run.history()["best"][-1] for run in runs]
        ends = last if np.isfinite(last).all() else best
        np.testing.assert_array_equal(curve.best[:, -1], ends)


def test_the_report_of_a_comparison_shows_both_curves(compared, tmp_path):
    page = es.report(compared, out=tmp_path / "c.html").read_text()
    assert "Anytime performance" in page
    assert page.count("<svg") >= 3


def test_the_highest_target_is_the_ceiling_or_a_higher_bar(compared):
    known = replace(compared, floor=0.0, ceiling=0.5)
    assert targets_of(replace(known, bar=None))[-1] == 0.5
    assert targets_of(replace(known, bar=0.4))[-1] == 0.5
    assert targets_of(replace(known, bar=0.8))[-1] == pytest.approx(0.8)
    assert targets_of(replace(known, floor=None)) is None
    assert targets_of(replace(known, floor=0.5)) is None


def test_a_profile_is_the_mean_over_problems_of_pairs_reached(compared, tmp_path):
    easy = replace(compared, floor=-2.0, ceiling=-1.0, bar=None)  # every score is above
    hard = replace(compared, problem="hard", floor=2.0, ceiling=3.0, bar=None)
    unknown = replace(compared, problem="unknown", floor=None)
    found = profile(Suite((easy, hard, unknown), tmp_path))
    assert found.left_out == ("unknown",)
    assert found.ends == {"discrete_table": 600, "hard": 600}
    for name in ("ga", "random"):
        assert found.shares[name][-1] == 0.5
        assert (np.diff(found.shares[name]) >= 0).all()
    assert profile(Suite((unknown,), tmp_path)) is None


def test_a_profile_counts_what_a_loop_over_runs_and_targets_counts(compared, tmp_path):
    found = profile(Suite((compared,), tmp_path))
    targets = targets_of(compared)
    k = len(found.evaluations) // 2
    reached = total = 0
    for cell in compared.cells_of("ga"):
        history = es.load_run(cell.path).history()
        scores = "validation" if np.isfinite(history["validation"]).any() else "best"
        is_past = history["evaluations"] <= found.evaluations[k]
        best = max((s for s in history[scores][is_past] if np.isfinite(s)), default=-np.inf)
        reached += sum(best >= target for target in targets)
        total += len(targets)
    assert found.shares["ga"][k] == pytest.approx(reached / total)


def test_the_report_of_several_problems_shows_the_profile_and_each_problem(compared, tmp_path):
    other = replace(compared, problem="other", budget=300)
    page = es.report(Suite((compared, other), tmp_path), out=tmp_path / "s.html").read_text()
    assert page.count("<svg") >= 7
    for words in ("Targets reached", "budget of other", "other: runs", "Budgets differ"):
        assert words in page
    assert "http" not in page.replace("http://www.w3.org", "")
