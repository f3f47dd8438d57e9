"""Killed or stopped at any instant, a run resumes and ends bit-identical to the whole one."""

import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import faults_child
import numpy as np
import pytest
from faults_child import CASES, outcome, work

from evosearch import cli
from evosearch.execution import resume
from evosearch.run import Run

CHILD = Path(faults_child.__file__)


@pytest.fixture(autouse=True)
def without_sympy(monkeypatch):
    monkeypatch.setattr("evosearch.rules.simplify.simplify", faults_child.plain_simplify)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """Return a function: outcome and seconds of a case's uninterrupted run."""
    known = {}

    def of(case):
        if case not in known:
            start = time.monotonic()
            run = work(case, tmp_path_factory.mktemp(case))
            known[case] = outcome(run), time.monotonic() - start
        return known[case]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("evosearch.rules.simplify.simplify", faults_child.plain_simplify)
        yield of


def runs_in(out):
    """Return the folders of all runs, drafts left out."""
    return [path for path in out.glob("*/*") if not path.name.startswith(".")]


def killed(case, out, delay_s):
    """Begin or continue a run in a child; kill it after a while. Return whether it was alive."""
    folders = [str(path) for path in runs_in(out)]
    child = subprocess.Popen(
        [sys.executable, str(CHILD), case, str(out), *folders], stdout=subprocess.PIPE, text=True
    )
    try:
        assert child.stdout.readline() == "ready\n"
        time.sleep(delay_s)
        was_alive = child.poll() is None
    finally:
        child.kill()
        status = child.wait()
        child.stdout.close()
    assert status in (0, -signal.SIGKILL)
    return was_alive


def test_killed_at_random_instants_a_run_ends_the_same(whole, tmp_path, session_seed, is_full):
    rng = np.random.default_rng(session_seed)
    n_kills, n_hits = (50 if is_full else len(CASES)), 0
    kills = 0
    while kills < n_kills:
        case = list(CASES)[kills % len(CASES)]
        expected, seconds = whole(case)
        out = tmp_path / str(kills)
        out.mkdir()
        is_killed_again = True
        while is_killed_again and kills < n_kills:
            delay_s = float(rng.uniform(0, 1.2 * seconds))
            n_hits += killed(case, out, delay_s)
            kills += 1
            for folder in runs_in(out):
                seen = Run(folder)  # never unreadable
                assert seen.to_json()["evaluations"] <= seen.budget
            is_killed_again = is_full and rng.random() < 0.4
        folders = runs_in(out)
        run = work(case, out, *folders)
        assert len(runs_in(out)) == 1
        assert outcome(run) == expected, (case, kills)
    assert n_hits > 0 or not is_full


SLOW = {
    "searches.gp.population": 40,
    "searches.gp.budget": 2000,
    "task.steps": 400,
    "splits.search.draws": 32,
}


def command(out, *more):
    settings = [part for key, value in SLOW.items() for part in ("--set", f"{key}={value}")]
    return ["run", "oja_pc1", "--preset", "quick", *settings, "--out", str(out), *more]


@pytest.fixture(scope="module")
def slow_whole(tmp_path_factory):
    from evosearch import api

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("evosearch.rules.simplify.simplify", faults_child.plain_simplify)
        settings = {key: str(value) for key, value in SLOW.items()}
        out = tmp_path_factory.mktemp("slow")
        run = api.run("oja_pc1", preset="quick", settings=settings, workers=1, out=out)
        return outcome(run)


def stopped_by(number, out, *more, generations=2):
    """Run the command until it has made a few generations; signal it; return what it said."""
    child = subprocess.Popen(
        [sys.executable, "-m", "evosearch", *command(out, "--workers", "1", *more)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and child.poll() is None:
        folders = runs_in(out)
        if folders and len(Run(folders[0]).history()["generation"]) >= generations:
            break
        time.sleep(0.02)
    child.send_signal(number)
    out_text, err_text = child.communicate(timeout=60)
    return child.returncode, out_text, err_text


@pytest.mark.parametrize(
    ("number", "status", "word"),
    [(signal.SIGINT, 130, "interrupt"), (signal.SIGTERM, 143, "terminate")],
)
def test_a_signal_saves_says_how_to_resume_and_loses_nothing(
    number, status, word, slow_whole, tmp_path
):
    returncode, out, err = stopped_by(number, tmp_path, "--json")
    (folder,) = runs_in(tmp_path)
    assert returncode == status, err
    assert f"evosearch resume {folder}" in err
    assert "Traceback" not in err
    assert out.count("\n") == 1
    run = Run(folder)
    assert run.to_json()["stopped_by"] == word
    assert not run.is_finished
    assert 2 <= run.to_json()["generations"] < 50
    assert outcome(resume(folder, workers=2)) == slow_whole


def test_what_is_printed_after_a_stop_can_be_typed(tmp_path, capfd):
    returncode, out, err = stopped_by(signal.SIGINT, tmp_path)
    assert returncode == 130, err
    assert "champion" in out
    line = re.search(r"evosearch (resume .*)$", err.strip().splitlines()[-1])
    assert line is not None, err
    assert cli.main([*line[1].split(), "--time", "0.01", "--json"]) == 0
    assert capfd.readouterr().out.count("\n") == 1


def run_changed(code, tmp_path):
    """Run the command in a process whose source is ``code``."""
    return subprocess.run(
        [sys.executable, "-c", code, *command(tmp_path)],
        check=False,
        capture_output=True,
        text=True,
    )


def test_a_stop_before_the_first_generation_is_a_stop(tmp_path):
    code = (
        "import sys, signal; from evosearch import cli; import evosearch.loop as loop;"
        "ask = loop.SearchLoop._generation;"
        "loop.SearchLoop._generation = lambda *args: ("
        "signal.raise_signal(signal.SIGINT), ask(*args));"
        "sys.exit(cli.main(sys.argv[1:]))"
    )
    done = run_changed(code, tmp_path)
    assert done.returncode == 130, done.stderr
    assert "evosearch resume" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_second_interrupt_ends_at_once(tmp_path):
    code = (
        "import sys, signal; from evosearch import cli; import evosearch.loop as loop;"
        "loop.SearchLoop._generation = lambda *args: ("
        "signal.raise_signal(signal.SIGINT), signal.raise_signal(signal.SIGINT));"
        "sys.exit(cli.main(sys.argv[1:]))"
    )
    done = run_changed(code, tmp_path)
    assert done.returncode == 130, done.stderr
    assert "Traceback" not in done.stderr
