"""Curves over evaluations: what is known when, and which targets are reached by then."""

import numpy as np
import pytest

import evosearch as es
from evosearch.report.anytime import Anytime, anytime, targets_between


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
