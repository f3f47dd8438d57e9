"""What is shown while a search runs."""

from types import SimpleNamespace

import pytest

from evosearch.display import ComparisonDisplay, LiveDisplay, duration, progress_line, si
from evosearch.tables import Table, cell, plain


def progress(**changes):
    values = {
        "generation": 3,
        "evaluations": 600,
        "budget": 5000,
        "best": -0.0123,
        "median": -0.5,
        "best_size": 7,
        "evaluations_per_s": 1234.5,
        "synapse_updates_per_s": 2.87e9,
        "failures": 2,
        "time_left_s": 42.0,
        "phase": "search",
    }
    return SimpleNamespace(**{**values, **changes})


def test_a_line_names_every_figure():
    line = progress_line(progress())
    for part in (
        "generation 3",
        "600/5,000 evaluations",
        "best -0.0123",
        "median -0.5000",
        "size 7",
        "1.23 k evaluations/s",
        "2.87 G synapse updates/s",
        "2 failures",
        "42 s left",
    ):
        assert part in line


def test_without_a_terminal_lines_go_to_stderr_and_are_few(capsys):
    with LiveDisplay("title", is_live=False) as display:
        for generation in range(1000):
            display.update(progress(generation=generation))
        display.update(progress(phase="validation"))
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 2
    assert "\x1b" not in err


def test_the_live_panel_draws_all_figures_on_stderr(capsys, monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    with LiveDisplay("oja_pc1 seed 0", is_live=True) as display:
        display.update(progress())
        display.notice("compiling the engine once")
    out, err = capsys.readouterr()
    assert out == ""
    for part in ("oja_pc1 seed 0", "generation", "synapse updates/s", "2.87 G", "42 s"):
        assert part in err
    assert "compiling the engine once" in err


def test_an_unknown_budget_and_time_are_left_out():
    line = progress_line(progress(budget=None, time_left_s=None, failures=0))
    assert "left" not in line
    assert "failures" not in line
    assert "600 evaluations" in line


def test_a_comparison_without_a_terminal_prints_what_has_ended(capsys):
    with ComparisonDisplay("title", is_live=False) as display:
        display.update(Table("t", ("search",), (("gp",),)), "gp seed 0: 0.9")
    assert capsys.readouterr().err == "gp seed 0: 0.9\n"


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.4, "0 s"), (59, "59 s"), (185, "3 min 5 s"), (7800, "2 h 10 min")]
)
def test_durations_are_for_people(seconds, text):
    assert duration(seconds) == text


def test_rates_have_three_digits():
    assert [si(value) for value in (0.5, 12, 999, 1e3, 2.5e6)] == [
        "0.5", "12", "999", "1 k", "2.5 M",
    ]  # fmt: skip


def test_tables_print_align_and_turn_into_strict_json():
    table = Table("t", ("name", "score"), (("gp", 0.5), ("random", float("nan"))))
    assert str(table).splitlines() == ["name    score", "gp      0.5", "random  –"]
    assert table.to_json() == [{"name": "gp", "score": 0.5}, {"name": "random", "score": None}]
    assert "<script>" not in Table("t", ("a",), (("<script>",),))._repr_html_()


def test_values_become_plain_json():
    import numpy as np

    value = {"a": np.float64(1.5), "b": np.array([1, 2]), "c": float("inf"), 3: (True, None)}
    assert plain(value) == {"a": 1.5, "b": [1, 2], "c": None, "3": [True, None]}
    assert cell(True) == "yes"
    assert cell(12345) == "12,345"
