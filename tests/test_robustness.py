"""The transplant and the leak test that runs of rules end with."""

from __future__ import annotations

import evosearch as es
from evosearch.evaluation import Evaluator
from evosearch.problem import load_problem
from evosearch.report.gather import view_of_run
from evosearch.report.run_report import run_page
from evosearch.robustness import ablations, transplants, without
from evosearch.rules.rule import Rule
from evosearch.scoring import known_scores
from evosearch.summary import ablations_table, transplants_table


def test_a_terminal_is_held_at_zero_in_every_part():
    rule = without(Rule("dw = mod*pre - w; decay = mod + 1"), "mod")
    assert rule == Rule("dw = 0*pre - w; decay = 0 + 1")


def test_without_reward_a_rule_falls_to_the_floor_and_elsewhere_it_stands_between():
    draws = {f"splits.{split}.draws": 60 for split in ("validation", "test", "transfer")}
    problem = load_problem("switching_cue", overrides=draws)
    rule = problem.known["reward_hebb_strong"]
    with Evaluator(problem, workers=1) as evaluator:
        known = known_scores(evaluator, problem)
        lost = ablations(evaluator, problem, rule, 1.0)
        found = transplants(evaluator, problem, rule, 1.0, known)
    assert set(lost) == {"mod", "pre", "post"}
    # No learning earns 0.6, whatever is shown.
    assert all(abs(fitness - 0.6) < 0.03 for fitness in lost.values())
    row = found["transfer"]
    assert row["floor"] < row["champion"] < row["ceiling"]


def test_a_run_ends_with_both_and_shows_them(tmp_path):
    run = es.run("switching_cue", preset="quick", search="gp", budget=300, out=tmp_path, workers=1)
    champion = run.to_json()["champion"]
    assert set(champion["transplants"]) == {"transfer"}
    assert set(champion["ablations"]) == set(Rule(champion["text"]).terminals)
    assert len(ablations_table(run)) == len(champion["ablations"])
    assert len(transplants_table(run)) == 1
    assert "without what it reads" in run_page(view_of_run(run))
