"""Families of equivalent rules: what belongs together, which are shown, and what is counted."""

import itertools
from collections import defaultdict

import pytest

import evosearch as es
from evosearch.families import Family, best_of_each_size, families_of
from evosearch.report.gather import view_of_run
from evosearch.report.run_report import run_page
from evosearch.rules.parser import parse
from evosearch.store.records import MetRule
from evosearch.summary import families_table, print_run


def met(text, fitness, n_met=1):
    return MetRule(text, parse(text).size, fitness, n_met)


def family(size, fitness, **changes):
    facts = {"form": "", "text": "w", "validation": None, "n_rules": 1, "n_met": 1}
    return Family(size=size, fitness=fitness, **{**facts, **changes})


def test_spellings_and_constants_of_one_form_are_one_family():
    rows = [
        met("post*(pre - post*w)", 0.8, 3),
        met("pre*post - square(post)*w", 0.8, 2),
        met("0.5*(post*(pre - 1.2*post*w))", 0.9),
        met("post*(pre + post*w)", 0.1),  # another sign
        met("pre*tanh(post)", 0.5),
        met("tanh(post)*pre", 0.4),
        met("pre*tanh(2*post)", 0.4),  # behaves otherwise
    ]
    found = families_of(rows, {rows[2].text: 0.85, rows[1].text: 0.7, rows[4].text: float("-inf")})
    by_text = {f.text: f for f in found}
    oja = by_text["post*(pre - post*w)"]
    assert (oja.form, oja.size, oja.fitness) == ("+ post·pre − post²·w", 7, 0.8)
    assert (oja.n_rules, oja.n_met, oja.validation) == (3, 6, 0.85)
    hebb = by_text["pre*tanh(post)"]
    assert (hebb.form, hebb.n_rules, hebb.validation) == ("", 2, None)
    assert len(found) == 4
    assert [f.size for f in found] == sorted(f.size for f in found)


def test_what_is_no_rule_is_left_out():
    assert families_of([MetRule("[0.5, 1.0]", 2, 0.9, 1)], {}) == []


def test_of_each_size_the_best_is_kept_unless_it_does_worse_than_the_smallest():
    found = [family(1, 0.2), family(3, 0.5), family(3, 0.6), family(5, 0.1), family(7, 0.55)]
    assert [(f.size, f.fitness) for f in best_of_each_size(found, 9)] == [
        (1, 0.2), (3, 0.6), (7, 0.55),
    ]  # fmt: skip
    assert [f.size for f in best_of_each_size(found, 2)] == [3, 7]
    assert best_of_each_size([], 2) == []


def test_long_forms_and_constants_are_shortened_for_reading_only():
    terms = ["+ a", "− b·c", "+ d²", "− e", "+ f"]
    shown = family(9, 0.0, form=" ".join(terms), text="0.353072629127*w - 2*pre + 1.5e-07")
    assert shown.short_form == "+ a − b·c + d² − e … 5 terms"
    assert shown.short_text == "0.3531*w - 2*pre + 1.5e-07"
    assert family(9, 0.0, form="+ a − b").short_form == "+ a − b"


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    out = tmp_path_factory.mktemp("runs")
    few = {"task.steps": "20", "searches.gp.population": "40", "splits.test.draws": "20"}
    return es.run("oja_pc1", preset="quick", settings=few, budget=200, out=out, workers=1)


def test_a_run_counts_every_candidate_that_it_has_met(run):
    from evosearch.store.folder import reading

    with reading(run.path) as store:
        rows = [row for row in store.candidates() if row.status == "ok"]
        of_size = store.best_of_each_size(2)
    n_of = defaultdict(int)
    for row in rows:
        n_of[row.text] += 1
    best = defaultdict(dict)
    for row in rows:
        best[row.size].setdefault(row.text, row.fitness)
    for size, group in itertools.groupby(of_size, key=lambda one: one.size):
        shown = list(group)
        expected = sorted(best[size].values(), reverse=True)[:2]
        assert [one.fitness for one in shown] == expected
        assert all(one.n_met == n_of[one.text] for one in shown)
    assert max(len(texts) for texts in best.values()) <= 100
    assert sum(f.n_met for f in run.families) == len(rows)
    assert sum(f.n_rules for f in run.families) == len(n_of)


def test_show_and_report_have_one_line_a_family(run, capsys):
    table = families_table(run)
    assert 1 < len(table) <= 12
    assert table.column("size") == sorted(set(table.column("size")))
    print_run(run)
    shown = capsys.readouterr().out
    assert "families of equivalent rules, the best of each size" in shown
    page = run_page(view_of_run(run))
    assert "Families of equivalent rules" in page


def test_a_run_of_vectors_has_no_families(tmp_path):
    few = {"splits.test.draws": "2"}
    run = es.run("rosenbrock", search="random", budget=20, settings=few, out=tmp_path, workers=1)
    assert run.families == []
    assert len(families_table(run)) == 0
