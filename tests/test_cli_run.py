"""The command line's contracts: exit statuses, one JSON object with the promised keys, files."""

import ast
import csv
import io
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from evosearch import cli

RUN_KEYS = [
    "run", "problem", "search", "seed", "generations", "evaluations", "lifetimes",
    "synapse_updates", "life", "wall_s", "champion", "floor", "ceiling", "baselines", "success",
    "stopped_by",
]  # fmt: skip
CHAMPION_KEYS = ["text", "simplified", "latex", "size", "fitness", "normalised_test"]
CHAMPION_KEYS += ["transplants", "ablations"]
EVALUATE_KEYS = [
    "problem", "candidate", "split", "draws", "mean", "sd", "normalised", "floor", "ceiling",
    "parameters", "metrics",
]  # fmt: skip
SMALL = ["--preset", "quick", "--set", "task.steps=20", "--set", "searches.gp.population=20"]


class Said:
    """What a command line printed."""

    def __init__(self, status, out, err):
        self.status, self.out, self.err = status, out, err

    @property
    def json(self):
        """The one JSON object on stdout."""
        assert self.out.count("\n") == 1, self.out
        value = json.loads(self.out, parse_constant=pytest.fail)
        assert isinstance(value, dict)
        return value


@pytest.fixture
def say(capfd):
    def run(*args):
        capfd.readouterr()
        status = cli.main([str(arg) for arg in args])
        return Said(status, *capfd.readouterr())

    return run


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """The folder of runs, and the JSON of one finished run in it."""
    out = tmp_path_factory.mktemp("runs")
    done = subprocess.run(
        [
            *(sys.executable, "-m", "evosearch", "run", "oja_pc1", *SMALL, "--budget", "80"),
            *("--seed", "2", "--out", str(out), "--json"),
        ],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": str(Path(cli.__file__).parents[1])},
    )
    assert done.returncode == 0, done.stderr
    return out, Said(0, done.stdout, done.stderr)


def test_run_prints_one_object_with_the_promised_keys_and_progress_on_stderr(finished):
    out, said = finished
    facts = said.json
    assert list(facts) == RUN_KEYS
    assert list(facts["champion"]) == CHAMPION_KEYS
    assert list(facts["champion"]["fitness"]) == ["search", "validation", "test"]
    assert facts["problem"] == "oja_pc1"
    assert facts["search"] == "gp"
    assert facts["seed"] == 2
    assert facts["evaluations"] == 80
    assert facts["generations"] == 4
    assert facts["stopped_by"] == "budget"
    assert facts["success"] in (True, False)
    assert facts["floor"] == facts["baselines"]["zero"]
    assert facts["ceiling"] == facts["baselines"]["oja"]
    normalised = (facts["champion"]["fitness"]["test"] - facts["floor"]) / (
        facts["ceiling"] - facts["floor"]
    )
    assert facts["champion"]["normalised_test"] == pytest.approx(normalised)
    assert all(isinstance(value, float) for value in facts["baselines"].values())
    path = Path(facts["run"])
    assert path.parent == out / "oja_pc1"
    assert {"problem.toml", "run.sqlite", "environment.json", "report.html"} <= {
        file.name for file in path.iterdir()
    }
    assert "generation" in said.err
    assert "80/80 evaluations" in said.err


def test_show_says_what_run_said(finished, say):
    out, said = finished
    path = said.json["run"]
    assert say("show", path, "--json").json == said.json
    assert say("show", Path(path).name, "--out", out, "--json").json == said.json
    shown = say("show", path)
    assert shown.status == 0
    assert shown.err == ""
    for word in (said.json["champion"]["text"], "Pareto", "oja (ceiling)", "zero (floor)", path):
        assert word in shown.out


def test_resume_of_a_finished_run_says_the_same_and_more_budget_extends(finished, say, tmp_path):
    _, said = finished
    path = tmp_path / "oja_pc1" / Path(said.json["run"]).name
    shutil.copytree(said.json["run"], path)
    again = say("resume", path, "--json")
    assert again.status == 0
    assert list(again.json) == RUN_KEYS
    assert again.json | {"run": ""} == said.json | {"run": ""}
    longer = say("resume", path, "--budget", 120, "--workers", 1, "--json")
    assert longer.status == 0
    assert longer.json["evaluations"] == 120
    assert say("resume", path, "--budget", 60).status == 2


def test_the_same_run_again_is_refused_with_resume(finished, say):
    out, said = finished
    again = say("run", "oja_pc1", *SMALL, "--budget", 80, "--seed", 2, "--out", out, "--json")
    assert again.status == 2
    assert again.out == ""
    assert f"evosearch resume {said.json['run']}" in again.err
    assert again.err.count("\n") == 1


def test_runs_lists_what_was_run(finished, say):
    out, said = finished
    rows = say("runs", "--out", out, "--json").json["runs"]
    assert [row["run"] for row in rows] == [said.json["run"]]
    assert rows[0]["stopped by"] == "budget"
    assert say("runs", "--out", out, "--problem", "other", "--json").json == {"runs": []}
    shown = say("runs", "--out", out)
    assert "oja_pc1" in shown.out
    assert "gp" in shown.out
    assert say("runs", "--out", out / "nothing").status == 0


def test_runs_folder_comes_from_the_environment(finished, say, monkeypatch):
    out, said = finished
    monkeypatch.setenv("EVOSEARCH_RUNS", str(out))
    assert len(say("runs", "--json").json["runs"]) == 1
    assert say("show", Path(said.json["run"]).name, "--json").json == said.json


def test_report_writes_one_file_that_needs_no_network(finished, say, tmp_path):
    _, said = finished
    page = tmp_path / "page.html"
    done = say("report", said.json["run"], "--out", page, "--json")
    assert done.json == {"report": str(page)}
    text = page.read_text(encoding="utf-8")
    assert text.lstrip().lower().startswith("<!doctype html")
    for mark in ('src="http', "src='http", '<link rel="stylesheet" href="http', "@import"):
        assert mark not in text
    assert say("report", said.json["run"]).out.strip().endswith("report.html")


@pytest.mark.parametrize("to", ["python", "torch", "latex", "sympy", "brian2", "json"])
def test_export_writes_the_champion(to, finished, say, tmp_path):
    _, said = finished
    done = say("export", said.json["run"], "--to", to)
    assert done.status == 0, done.err
    assert done.out.endswith("\n")
    if to in ("python", "torch", "sympy"):
        ast.parse(done.out)
    if to == "json":
        json.loads(done.out)
    file = tmp_path / "champion.txt"
    again = say("export", said.json["run"], "--to", to, "--out", file)
    assert again.out == ""
    assert file.read_text(encoding="utf-8").rstrip("\n") == done.out.rstrip("\n")


def test_export_writes_history_and_numbers(finished, say, tmp_path):
    from safetensors.numpy import load

    _, said = finished
    rows = list(csv.DictReader(io.StringIO(say("export", said.json["run"], "--to", "csv").out)))
    assert [int(float(row["generation"])) for row in rows] == [1, 2, 3, 4]
    file = tmp_path / "numbers.safetensors"
    assert say("export", said.json["run"], "--to", "safetensors", "--out", file).status == 0
    tensors = load(file.read_bytes())
    assert tensors["history.evaluations"].tolist() == [20, 40, 60, 80]
    test = said.json["champion"]["fitness"]["test"]
    assert tensors["champion.fitness.test"].tolist() == [test]


def test_export_to_an_unknown_format_is_answered_with_the_nearest(finished, say):
    _, said = finished
    done = say("export", said.json["run"], "--to", "pyton")
    assert done.status == 2
    assert "'python'" in done.err


def evaluate(say, *args):
    return say("evaluate", "oja_pc1", *args, *SMALL[:4], "--json")


def test_evaluate_a_known_rule_a_text_and_a_run(finished, say):
    _, said = finished
    oja = evaluate(say, "oja")
    assert oja.status == 0
    assert list(oja.json) == EVALUATE_KEYS
    assert oja.json["problem"] == "oja_pc1"
    assert oja.json["split"] == "test"
    assert oja.json["draws"] == 8
    assert oja.json["mean"] == oja.json["ceiling"] == said.json["ceiling"]
    assert oja.json["floor"] == said.json["floor"]
    assert oja.json["normalised"] == pytest.approx(1.0)
    assert oja.json["parameters"] == 0
    assert {"scale", "exploded"} <= set(oja.json["metrics"])
    text = evaluate(say, "post*(pre - post*w)").json
    assert text["mean"] == pytest.approx(oja.json["mean"], abs=1e-5)
    assert text["candidate"] == "post*(pre - post*w)"
    champion = evaluate(say, said.json["run"]).json
    assert champion["mean"] == pytest.approx(said.json["champion"]["fitness"]["test"], abs=1e-12)
    assert champion["candidate"] == said.json["champion"]["text"]
    assert evaluate(say, "zero").json["normalised"] == 0.0
    plain = say("evaluate", "oja_pc1", "oja", *SMALL[:4])
    assert plain.status == 0
    assert "mean" in plain.out


def test_evaluate_on_other_splits_and_draws(say):
    few = evaluate(say, "oja", "--split", "validation", "--seeds", 3).json
    assert few["split"] == "validation"
    assert few["draws"] == 3
    one = evaluate(say, "2.5*pre*post - w", "--seeds", 1, "--scale", 0.5).json
    assert one["sd"] is None
    assert one["parameters"] == 1
    assert one["metrics"]["scale"] == 0.5


@pytest.mark.parametrize(
    "args",
    [
        ["post*(pre"],
        ["post*prre"],
        ["ojaa"],
        [""],
        ["import os"],
        ["__import__('os')"],
        ["pre" + "*pre" * 100_000 + "*"],
        ["reward_hebb"],
        ["oja", "--split", "tst"],
        ["oja", "--seeds", "0"],
        ["oja", "--device", "cuda:99"],
        ["oja", "--set", "rule.etta=1"],
        ["oja", "--preset", "quik"],
    ],
)
def test_bad_rules_and_arguments_are_one_sentence(args, say, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = say("evaluate", "oja_pc1", *args)
    assert done.status == 2
    assert done.out == ""
    assert done.err.startswith("evosearch: ")
    assert done.err.count("\n") == 1
    assert len(done.err) < 3000
    assert list(tmp_path.iterdir()) == []


def test_a_run_without_time_for_a_generation_is_shown_and_resumed(say, tmp_path):
    done = say("run", "oja_pc1", *SMALL, "--budget", 40, "--time", "0.000001", "--out", tmp_path)
    assert done.status == 0, done.err


def test_new_writes_a_problem_that_runs_as_it_is(say, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    made = say("new", "mine")
    assert made.status == 0
    path = tmp_path / "mine.toml"
    assert path.is_file()
    again = say("new", "mine")
    assert again.status == 2
    assert "exists already" in again.err
    for name in ("", "../up", "a b", ".hidden", "x" * 65):
        assert say("new", name).status == 2
    assert [file.name for file in tmp_path.iterdir()] == ["mine.toml"]
    monkeypatch.setattr("evosearch.api.report", lambda run: run.path / "report.html")
    done = say("run", "mine.toml", "--preset", "quick", "--budget", 60, "--json")
    assert done.status == 0, done.err
    assert done.json["problem"] == "mine"
    assert (tmp_path / "runs" / "mine").is_dir()
    score = say("evaluate", path, "hebb_decay", "--preset", "quick", "--json")
    assert list(score.json) == EVALUATE_KEYS


@pytest.mark.parametrize("kind", cli.LIST_KINDS)
def test_list_knows_all_kinds(kind, say):
    found = say("list", kind, "--json")
    assert found.status == 0
    assert list(found.json) == [kind]
    rows = found.json[kind]
    shown = say("list", kind)
    assert shown.status == 0
    assert shown.err == ""
    if kind != "learners":
        assert rows
        assert all(row["name"] in shown.out for row in rows)


def test_list_names_the_six_problems_and_all_searches(say):
    problems = {row["name"] for row in say("list", "--json").json["problems"]}
    assert problems >= {
        "delta_rule", "oja_pc1", "oja_digits", "hopfield_storage", "switching_cue",
        "discrete_table",
    }  # fmt: skip
    searches = {row["name"] for row in say("list", "searches", "--json").json["searches"]}
    assert searches >= {"gp", "gp-lexicase", "cmaes", "random", "enumerate", "exhaustive", "ga"}


def test_doctor_finds_this_installation_sound(say):
    done = say("doctor", "--json")
    checks = {check["name"]: check for check in done.json["checks"]}
    assert done.status == 0, checks
    assert all(list(check) == ["name", "ok", "detail"] for check in checks.values())
    assert {"python", "packages", "database", "engine", "problems"} <= set(checks)
    plain = say("doctor")
    assert plain.status == 0
    assert "FAIL" not in plain.out


def test_doctor_checks_a_run(finished, say):
    _, said = finished
    done = say("doctor", said.json["run"], "--json")
    assert done.status == 0, done.err
    assert all(check["ok"] for check in done.json["checks"])


def test_compare_prints_one_object_with_the_promised_keys(say, tmp_path, monkeypatch):
    monkeypatch.setattr("evosearch.rules.simplify.simplify", lambda rule, **options: rule)
    args = ["compare", "oja_pc1", *SMALL[:4], "--searches", "random,gp", "--seeds", 2]
    args += ["--budget", 40, "--workers", 1, "--out", tmp_path, "--json"]
    done = say(*args)
    assert done.status == 0, done.err
    facts = done.json
    assert list(facts) == ["problem", "budget", "seeds", "rows", "tests"]
    assert [row["search"] for row in facts["rows"]] == ["random", "gp"]
    for row in facts["rows"]:
        assert list(row) == [
            "search", "success_rate", "median", "iqr", "evaluations_to_success",
            "updates_to_success", "wall_s",
        ]  # fmt: skip
    for test in facts["tests"]:
        assert list(test) == ["a", "b", "p", "effect"]
    assert facts["budget"] == 40
    monkeypatch.setattr(
        "evosearch.execution.execute", lambda *args, **options: pytest.fail("run again")
    )
    assert say(*args).json == facts
    bad = say("compare", "oja_pc1", "--searches", "random,gpp", "--out", tmp_path)
    assert bad.status == 2
    assert "'gp'" in bad.err


def test_compare_of_several_problems_prints_one_object_and_writes_one_report(say, tmp_path):
    args = ["compare", "discrete_table, delta_rule", "--preset", "quick", "--searches", "random"]
    args += ["--seeds", 1, "--budget", 20, "--workers", 1, "--out", tmp_path]
    done = say(*args, "--json")
    assert done.status == 0, done.err
    assert list(done.json) == ["problems", "seeds", "rows", "tests", "notes"]
    assert [part["problem"] for part in done.json["problems"]] == ["discrete_table", "delta_rule"]
    (page,) = (tmp_path / "comparisons").glob("compare-*/report.html")
    again = say(*args)
    assert "all problems: discrete_table, delta_rule" in again.out
    assert str(page) in again.out
    assert say("report", page.parent).out.strip() == str(page)
