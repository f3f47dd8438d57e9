"""Runs: the same result however the work is divided or interrupted, and nothing lost or redone."""

import itertools
import logging
import random
import signal

import numpy as np
import pytest

from evosearch import api
from evosearch.errors import EvosearchError, InputError
from evosearch.evaluation import EvaluationCancelledError, Evaluator
from evosearch.execution import execute, find_existing, resume
from evosearch.problem import load_problem
from evosearch.rules.parser import parse
from evosearch.run import Run

# Problem, search, population: a few generations of each, some of them cut by the budget.
CASES = {
    "gp": ("oja_pc1", "gp", 16, 90),
    "gp-lexicase": ("delta_rule", "gp-lexicase", 16, 90),
    "cmaes": ("delta_rule", "cmaes", 12, 90),
    "enumerate": ("delta_rule", "enumerate", 7, 150),
    "random": ("oja_pc1", "random", 16, 90),
    "ga": ("discrete_table", "ga", 10, 75),
}
SMALLER = {
    "oja_pc1": {"task.steps": 20, "splits.validation.steps": 20, "splits.test.steps": 20},
    "delta_rule": {"task.epochs": 2},
    "discrete_table": {"task.trials": 30, "task.flips": [[10, 20]]},
}


@pytest.fixture(autouse=True)
def without_sympy(monkeypatch):
    """Simplification takes seconds, and time decides how far it comes."""
    monkeypatch.setattr("evosearch.rules.simplify.simplify", lambda rule, **options: rule)


def small_problem(case, **changes):
    name, search, population, budget = CASES[case]
    overrides = {
        f"searches.{search}.population": population,
        f"searches.{search}.budget": budget,
        **SMALLER[name],
        **changes,
    }
    return load_problem(name, preset="quick", overrides=overrides)


def execute_case(case, out, *, changes=(), **options):
    options = {"workers": 1, "seed": 3, **options}
    return execute(small_problem(case, **dict(changes)), CASES[case][1], out=out, **options)


def outcome(run):
    """Return all of a run that must not depend on how it was made."""
    facts = run.to_json()
    history = {name: column.tolist() for name, column in run.history().items()}
    for name in ("run", "wall_s"):
        del facts[name]
    del history["wall_s"]
    champion = run.champion
    return {
        "digest": run.digest,
        "facts": facts,
        "history": repr(history),
        "pareto": run.pareto,
        "known": run.known_scores,
        "metrics": dict(champion.metrics),
        "scale": champion.scale,
        "summary": run.summary,
        "first": run.evaluations_to_success,
        "faults": run.faults,
    }


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """Return a function that gives the outcome of a case's uninterrupted run."""
    known = {}

    def of(case):
        if case not in known:
            with pytest.MonkeyPatch.context() as patch:
                without = lambda rule, **options: rule  # noqa: E731
                patch.setattr("evosearch.rules.simplify.simplify", without)
                known[case] = outcome(execute_case(case, tmp_path_factory.mktemp(case)))
        return known[case]

    return of


def interrupt(run, generation):
    """Do what Ctrl-C does."""
    signal.raise_signal(signal.SIGINT)


def in_pieces(case, out, **options):
    """Stop after each generation and resume, until the run has ended."""
    run = execute_case(case, out, callbacks=[interrupt], **options)
    stops = 0
    while not run.is_finished:
        assert run.to_json()["stopped_by"] == "interrupt"
        stops += 1
        assert stops < 100
        run = resume(run.path, workers=1, callbacks=[interrupt])
    return run, stops


@pytest.mark.parametrize("case", sorted(CASES))
def test_stopped_and_resumed_at_every_generation_it_ends_the_same(case, whole, tmp_path):
    run, stops = in_pieces(case, tmp_path)
    assert stops >= run.to_json()["generations"] - 1 >= 3
    assert outcome(run) == whole(case)


@pytest.mark.parametrize("call", [2, 3, 6])
@pytest.mark.parametrize("case", sorted(CASES))
def test_a_stop_while_a_generation_is_scored_resumes_the_same(
    case, call, whole, tmp_path, monkeypatch
):
    """The search was asked already then, and earlier generations wait to be written."""
    expected = whole(case)
    monkeypatch.setattr("evosearch.loop._SECONDS_BETWEEN_WRITES", 1e9)
    score, calls = Evaluator.evaluate, itertools.count(1)

    def cancelled(self, *args, **options):
        if next(calls) == call:
            raise EvaluationCancelledError
        return score(self, *args, **options)

    with monkeypatch.context() as patch:
        patch.setattr(Evaluator, "evaluate", cancelled)
        run = execute_case(case, tmp_path)
    assert not run.is_finished
    assert outcome(resume(run.path, workers=1)) == expected


@pytest.mark.parametrize("case", sorted(CASES))
def test_fresh_draws_and_step_sizes_resume_the_same(case, tmp_path):
    changes = {"splits.search.is_fresh": True, f"searches.{CASES[case][1]}.scales": True}
    expected = execute_case(case, tmp_path / "whole", changes=changes)
    run, _ = in_pieces(case, tmp_path / "pieces", changes=changes)
    assert outcome(run) == outcome(expected)


DIVISIONS = [
    (1, "sequential", 1),
    (1, "threads", 7),
    (2, "threads", 1),
    (2, "threads", 64),
    (3, "threads", 7),
    (3, "threads", None),
]


@pytest.mark.parametrize("case", sorted(CASES))
def test_workers_and_chunks_never_show_in_a_result(case, whole, tmp_path):
    for number, (workers, backend, chunk_size) in enumerate(DIVISIONS):
        out = tmp_path / str(number)
        run = execute_case(case, out, workers=workers, backend=backend, chunk_size=chunk_size)
        assert outcome(run) == whole(case), (workers, backend, chunk_size)


@pytest.mark.parametrize("workers", [2, *(pytest.param(n, marks=pytest.mark.full) for n in (1, 3))])
def test_processes_never_show_in_a_result(workers, whole, tmp_path, is_full):
    for case in sorted(CASES) if is_full else ["gp"]:
        for chunk_size in (1, 7, 64) if is_full else (7,):
            out = tmp_path / f"{case}-{chunk_size}"
            options = {"workers": workers, "backend": "processes", "chunk_size": chunk_size}
            assert outcome(execute_case(case, out, **options)) == whole(case)


def test_a_run_resumed_with_other_workers_ends_the_same(whole, tmp_path):
    run = execute_case("gp", tmp_path, callbacks=[interrupt])
    run = resume(run.path, workers=3, backend="threads", chunk_size=5, callbacks=[interrupt])
    run = resume(run.path, workers=1, backend="sequential")
    assert outcome(run) == whole("gp")


def test_seeds_differ_and_repeat(tmp_path):
    first = execute_case("gp", tmp_path / "a", seed=1)
    again = execute_case("gp", tmp_path / "b", seed=1)
    other = execute_case("gp", tmp_path / "c", seed=2)
    assert outcome(first) == outcome(again)
    assert first.digest != other.digest


SPELLINGS = ("pre*post - post*post*w", "post*(pre - post*w)", "post*pre - w*post*post")


@pytest.fixture
def asked(monkeypatch):
    """Let the random search propose given rules, one a generation."""
    from evosearch.search.random import RandomSearch

    def ask_for(texts):
        left = [parse(text).parts["dw"] for text in texts]
        monkeypatch.setattr(RandomSearch, "ask", lambda self: [left.pop(0)] if left else [])

    return ask_for


def test_known_rules_scored_earlier_in_the_process_never_show_in_a_result(
    asked, tmp_path, monkeypatch
):
    """A champion that is a known rule in another spelling is scored in its own spelling."""
    outcomes = []
    monkeypatch.setattr("evosearch.scoring._KNOWN_SCORES", {})
    for number in range(2):
        asked(SPELLINGS[:1])
        outcomes.append(outcome(execute_case("random", tmp_path / str(number))))
    assert outcomes[0] == outcomes[1]
    assert outcomes[0]["facts"]["champion"]["text"] != "post*(pre - post*w)"


def test_another_spelling_that_comes_after_a_resume_is_scored_the_same(asked, tmp_path):
    """It may enter the front as the shorter one, though its fitness is known already."""
    asked(SPELLINGS)
    whole = outcome(execute_case("random", tmp_path / "whole"))
    asked(SPELLINGS)
    run, stops = in_pieces("random", tmp_path / "pieces")
    assert stops == 3
    assert outcome(run) == whole


def test_global_random_states_are_left_as_they_were(tmp_path):
    for case in ("gp", "cmaes", "ga"):
        random.seed(5)
        np.random.seed(5)  # noqa: NPY002
        before = random.getstate(), np.random.get_state()  # noqa: NPY002
        execute_case(case, tmp_path)
        after = random.getstate(), np.random.get_state()  # noqa: NPY002
        assert before[0] == after[0]
        assert all(np.array_equal(a, b) for a, b in zip(before[1], after[1], strict=True))


def test_the_state_of_global_random_numbers_never_shows_in_a_result(whole, tmp_path):
    random.seed(77)
    np.random.seed(77)  # noqa: NPY002
    assert outcome(execute_case("cmaes", tmp_path)) == whole("cmaes")


def test_an_identical_second_run_is_refused_with_resume(tmp_path):
    run = execute_case("random", tmp_path)
    with pytest.raises(InputError, match=r"exists already.*evosearch resume") as caught:
        execute_case("random", tmp_path)
    assert str(run.path) in str(caught.value)
    assert execute_case("random", tmp_path, seed=4).path != run.path
    assert execute_case("random", tmp_path, budget=20).path != run.path


def test_resuming_a_finished_run_changes_nothing(tmp_path):
    run = execute_case("gp", tmp_path)
    before = (run.path / "run.sqlite").read_bytes()
    again = resume(run.path, callbacks=[lambda *args: pytest.fail("a generation was run")])
    assert outcome(again) == outcome(run)
    assert (run.path / "run.sqlite").read_bytes() == before


@pytest.mark.parametrize("case", ["gp", "cmaes", "enumerate"])
def test_a_greater_budget_extends_a_finished_run(case, tmp_path):
    population = 30 if case == "enumerate" else CASES[case][2]
    scales = len(small_problem(case).eta_factors) if case == "enumerate" else 1
    changes = {f"searches.{CASES[case][1]}.population": population}
    short, long = 2 * population * scales, 4 * population * scales
    whole = execute_case(case, tmp_path / "whole", budget=long, changes=changes)
    run = execute_case(case, tmp_path / "run", budget=short, changes=changes)
    assert run.to_json()["evaluations"] <= short
    longer = resume(run.path, budget=long)
    assert longer.budget == long
    assert outcome(longer) == outcome(whole)


def test_a_smaller_budget_is_refused_and_changes_nothing(tmp_path):
    run = execute_case("gp", tmp_path)
    expected = outcome(run)
    with pytest.raises(InputError, match="must not be less"):
        resume(run.path, budget=run.budget - 1)
    assert outcome(Run(run.path)) == expected


@pytest.mark.parametrize(
    "options",
    [
        {"budget": 1000, "backend": "proceses"},
        {"budget": 1000, "workers": 0},
        {"budget": 1000, "device": "cuda:99"},
        {"budget": 1000, "chunk_size": 0},
    ],
)
def test_a_bad_argument_of_resume_changes_nothing(options, tmp_path):
    run = execute_case("random", tmp_path)
    expected = outcome(run)
    with pytest.raises(InputError):
        resume(run.path, **options)
    assert Run(run.path).is_finished
    assert outcome(Run(run.path)) == expected
    assert Run(run.path).budget == run.budget


@pytest.mark.parametrize(
    "options",
    [
        {"search": "gpp"},
        {"search": "exhaustive"},
        {"seed": -1},
        {"seed": 2**63},
        {"budget": 0},
        {"workers": 0},
        {"backend": "gpu"},
        {"device": "cuda:99"},
        {"init": ["post*"], "search": "gp"},
        {"init": ["post*pre"], "search": "random"},
        {"init": ["unknown_terminal*pre"], "search": "gp"},
    ],
)
def test_a_bad_argument_of_run_writes_nothing(options, tmp_path):
    with pytest.raises(InputError) as caught:
        api.run("oja_pc1", preset="quick", out=tmp_path / "runs", **options)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("case", ["gp", "cmaes"])
def test_a_run_stopped_by_the_clock_is_a_prefix_and_resumes(case, whole, tmp_path):
    run = execute_case(case, tmp_path, time_s=0.05)
    facts = run.to_json()
    if facts["stopped_by"] == "time":
        expected = whole(case)
        assert facts["generations"] < expected["facts"]["generations"]
        assert run.is_finished
    run = resume(run.path, workers=1)
    assert run.to_json()["stopped_by"] == "budget"
    assert outcome(run) == whole(case)


def test_a_time_limit_counts_each_continuation_and_is_an_event(tmp_path):
    run = execute_case("random", tmp_path, time_s=1e-9)
    facts = run.to_json()
    assert facts["stopped_by"] == "time"
    assert facts["generations"] == 0
    assert facts["champion"] is None
    assert run.history()["evaluations"].size == 0
    assert "no champion" in repr(run)
    run._repr_html_()
    run = resume(run.path, workers=1)
    assert run.champion is not None


def test_a_target_stops_as_soon_as_validation_reaches_it(tmp_path):
    history = execute_case("gp", tmp_path / "whole").history()
    rises = np.flatnonzero(np.diff(history["validation"]) > 0)
    number = int(rises[0]) + 1
    target = float(history["validation"][number])
    run = execute_case("gp", tmp_path / "run", target=target)
    assert run.to_json()["stopped_by"] == "target"
    assert run.to_json()["generations"] == number + 1
    assert run.is_finished
    assert run.champion.fitness["validation"] >= target


def test_patience_stops_after_so_many_generations_without_gain(tmp_path):
    changes = {"searches.random.budget": 600}
    run = execute_case("random", tmp_path, patience=3, changes=changes)
    facts, validation = run.to_json(), run.history()["validation"]
    assert facts["stopped_by"] == "patience"
    assert facts["generations"] >= 4
    assert np.all(validation[-4:] == validation[-1])
    gains = np.flatnonzero(np.diff(validation) > 0) + 1
    assert facts["generations"] == (gains[-1] if gains.size else 0) + 4


def test_callbacks_see_each_generation_and_their_errors_are_only_reported(tmp_path, caplog):
    seen = []

    def count(run, generation):
        seen.append((generation, run.to_json()["generations"], run.is_finished))

    def broken(run, generation):
        raise ZeroDivisionError("a mistake of mine")

    with caplog.at_level(logging.WARNING):
        run = execute_case("random", tmp_path, callbacks=[broken, count])
    n = run.to_json()["generations"]
    assert seen == [(k, k, False) for k in range(1, n + 1)]
    assert run.is_finished
    assert caplog.text.count("callback broken failed: ZeroDivisionError: a mistake of mine") == n


def test_progress_is_told_in_order(tmp_path):
    told = []
    run = execute_case("gp", tmp_path, on_progress=told.append)
    evaluations = [progress.evaluations for progress in told]
    assert evaluations == sorted(evaluations)
    assert evaluations[-1] == run.to_json()["evaluations"] <= run.budget
    assert told[-1].phase == "validation and test"


def test_history_has_one_column_a_figure_and_one_row_a_generation(tmp_path):
    run = execute_case("gp", tmp_path)
    history = run.history()
    assert list(history) == [
        "generation", "evaluations", "unique_evaluations", "lifetimes", "synapse_updates",
        "best", "generation_best", "q25", "median", "q75", "mean_size", "best_size",
        "validation", "failures", "wall_s",
    ]  # fmt: skip
    n = run.to_json()["generations"]
    assert all(column.shape == (n,) for column in history.values())
    assert history["generation"].tolist() == list(range(1, n + 1))
    for name in ("evaluations", "unique_evaluations", "lifetimes", "best", "validation", "wall_s"):
        assert np.all(np.diff(history[name]) >= 0), name
    assert np.all(history["q25"] <= history["median"])
    assert np.all(history["median"] <= history["q75"])
    assert np.all(history["unique_evaluations"] <= history["evaluations"])


def test_the_budget_is_never_exceeded_and_scales_count(tmp_path):
    for budget in (1, 4, 5, 23, 90):
        run = execute_case("enumerate", tmp_path, budget=budget)
        facts = run.to_json()
        factors = len(small_problem("enumerate").eta_factors)
        assert facts["evaluations"] == budget // factors * factors
        assert facts["stopped_by"] == "budget"
        assert (facts["champion"] is None) == (budget < factors)


def test_a_start_is_recorded_and_changes_the_name(tmp_path):
    options = {"preset": "quick", "search": "gp", "budget": 60, "out": tmp_path, "workers": 1}
    plain = api.run("oja_pc1", **options)
    text = "post*(pre - post*w)"
    started = api.run("oja_pc1", init=(text,), **options)
    by_name = api.run("oja_pc1", init=("oja",), seed=1, **options)
    by_run = api.run("oja_pc1", init=(str(started.path),), seed=2, **options)
    assert plain.path != started.path
    assert started._facts["init"] == [text]
    assert by_name._facts["init"] == [text]
    assert by_run._facts["init"] == [started.champion.text]
    from evosearch.store.folder import reading

    with reading(started.path) as store:
        assert text in [row.text for row in store.candidates(1)]
    again = resume(started.path)
    assert outcome(again) == outcome(started)


def test_the_folder_holds_the_resolved_problem_and_the_environment(tmp_path):
    run = execute_case("gp", tmp_path)
    assert run.path.parent == tmp_path / "oja_pc1"
    assert run.path.name.startswith("gp-s3-")
    assert run.settings["task"]["steps"] == 20
    assert {"evosearch", "python", "numpy", "numba"} <= set(run.environment)
    problem = load_problem(run.path)
    assert problem.config == small_problem("gp").config


USER_TASK = '''
"""A task of a user: the value of the rule at one point."""


def score(candidate, rng, *, factor=1.0):
    x = rng.uniform(-1, 1, 3)
    value = float(candidate(w=x[0], pre=x[1], post=x[2]))
    return {"fitness": -factor * abs(value - x[1] * x[2]), "value": value}
'''
USER_PROBLEM = """
schema = 1
name = "mine"
default_search = "gp"
[task]
kind = "mine.py:score"
factor = 2.0
[rule]
terminals = ["w", "pre", "post"]
ephemeral = [-1.0, 1.0]
[splits.search]
draws = 4
[splits.validation]
draws = 5
factor = 1.0
[splits.test]
draws = 6
[known.hebb]
library = "hebb"
[searches.gp]
budget = 60
population = 15
"""


@pytest.fixture
def user_problem(tmp_path):
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "mine.py").write_text(USER_TASK)
    (folder / "mine.toml").write_text(USER_PROBLEM)
    return folder / "mine.toml"


def test_a_users_task_runs_stops_and_resumes(user_problem, tmp_path):
    options = {"backend": "sequential", "workers": 1}
    whole = execute(load_problem(user_problem), out=tmp_path / "whole", **options)
    assert whole.baselines["hebb"] == 0.0
    assert "value" in whole.champion.metrics
    run = execute(load_problem(user_problem), out=tmp_path, callbacks=[interrupt], **options)
    while not run.is_finished:
        run = resume(run.path, callbacks=[interrupt], **options)
    assert outcome(run) == outcome(whole)


def test_a_users_task_gives_the_same_in_processes(user_problem, tmp_path):
    runs = [
        execute(load_problem(user_problem), out=tmp_path / backend, backend=backend, workers=2)
        for backend in ("sequential", "auto")
    ]
    assert outcome(runs[0]) == outcome(runs[1])


def test_changed_source_is_refused_unless_accepted(user_problem, tmp_path):
    options = {"backend": "sequential", "workers": 1}
    run = execute(load_problem(user_problem), out=tmp_path, callbacks=[interrupt], **options)
    source = user_problem.with_name("mine.py")
    source.write_text(USER_TASK + "\n# a change\n")
    with pytest.raises(InputError, match="--accept-code") as caught:
        resume(run.path, **options)
    assert str(run.path) in str(caught.value)
    assert Run(run.path).to_json()["stopped_by"] == "interrupt"
    assert resume(run.path, accept_code=True, **options).is_finished
    source.unlink()
    with pytest.raises(EvosearchError):
        resume(run.path, budget=100, **options)
    assert Run(run.path).is_finished


def forget_tables():
    """Let the next read of a table look at the file again, as another process does."""
    from evosearch.problem.base import hash_of_file
    from evosearch.tasks import regression

    hash_of_file.cache_clear()
    regression._kept_parts.cache_clear()


def test_a_run_on_a_table_that_has_changed_since_is_not_resumed(tmp_path):
    table = tmp_path / "my.csv"
    rows = [f"{k},{k * k}" for k in range(30)]
    table.write_text("\n".join(["x,y", *rows]) + "\n")
    few = {"task.file": str(table), "searches.random.population": "5"}
    problem = load_problem("regression", overrides=few)
    run = execute(problem, "random", budget=20, out=tmp_path, callbacks=[interrupt], workers=1)
    assert run.to_json()["stopped_by"] == "interrupt"
    before = table.read_text()
    table.write_text(before.replace("29,841", "29,840"))
    forget_tables()
    with pytest.raises(InputError, match=r"my\.csv has changed since the run .* began") as caught:
        resume(run.path, workers=1)
    assert "\n" not in str(caught.value)
    other = load_problem("regression", overrides=few)
    assert find_existing(other, "random", seed=0, budget=20, device="cpu", out=tmp_path) is None
    table.write_text(before)
    forget_tables()
    assert resume(run.path, workers=1).is_finished


def test_reading_a_run_never_imports_the_users_code(user_problem, tmp_path):
    options = {"backend": "sequential", "workers": 1}
    run = execute(load_problem(user_problem), out=tmp_path, **options)
    user_problem.with_name("mine.py").write_text("raise SystemExit('imported')")
    loaded = Run(run.path)
    loaded.to_json()
    api.list_runs(out=tmp_path)
    api.report(loaded, out=tmp_path / "report.html")
    for to in ("python", "latex", "json", "csv", "safetensors"):
        api.export(loaded, to)


def test_numerics_and_device_of_a_run_are_kept(tmp_path):
    from evosearch.store import RunStore

    run = execute_case("random", tmp_path, callbacks=[interrupt])
    with pytest.raises(InputError, match="made on device 'cpu'"):
        resume(run.path, device="torch")
    with RunStore(run.path, is_writer=True) as store:
        numerics = store.facts()["numerics"]
        store.set_facts(numerics=str(numerics) + "-older")
    with pytest.raises(InputError, match="numerics"):
        resume(run.path)
    with RunStore(run.path, is_writer=True) as store:
        store.set_facts(numerics=numerics)
    assert resume(run.path, workers=1).is_finished


def test_a_run_is_shown_in_a_notebook(tmp_path):
    run = execute_case("gp", tmp_path)
    page = run._repr_html_()
    assert "<table" in page
    assert run.champion.text in repr(run)
