"""The command line as a shell sees it: exit statuses, one sentence on stderr, speed."""

import os
import subprocess
import sys
import time

import pytest

from evosearch import cli
from evosearch.errors import InputError, RunError


def evosearch(*args, **kwargs):
    command = [sys.executable, "-m", "evosearch", *args]
    return subprocess.run(command, capture_output=True, text=True, check=False, **kwargs)


def python(code):
    command = [sys.executable, "-c", code]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def is_one_sentence(message):
    return message.startswith("evosearch: ") and message.count("\n") == 1


def test_help_comes_at_once_and_imports_nothing_heavy():
    code = (
        "import sys; from evosearch.cli import main; main(['--help']);"
        "print([m for m in ('numpy', 'torch', 'numba', 'scipy', 'sympy', 'matplotlib', 'cma')"
        " if m in sys.modules], file=sys.stderr)"
    )
    seconds = []
    for _ in range(3):
        start = time.perf_counter()
        done = python(code)
        seconds.append(time.perf_counter() - start)
    assert done.stderr.strip() == "[]"
    assert "Usage: evosearch" in done.stdout
    assert min(seconds) < 0.4


def test_package_import_loads_no_module_of_ours_but_itself():
    code = "import sys, evosearch; print([m for m in sys.modules if m.startswith('evosearch.')])"
    done = python(code)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    "args",
    [
        ("run",),
        ("run", "oja_pc1", "--bad"),
        ("run", "oja_pc1", "--seed", "x"),
        ("run", "oja_pc1", "--seed", "-1"),
        ("run", "oja_pc1", "--budget", "0"),
        ("run", "oja_pc1", "--time", "soon"),
        ("run", "oja_pc1", "--set", "rule.eta"),
        ("frobnicate",),
        ("list", "problem"),
        ("show", "no/such/run"),
        ("resume", "no/such/run"),
        ("report", "no/such/run"),
        ("export", "no/such/run", "--to", "python"),
        ("compare", "oja_pc1"),
    ],
)
def test_bad_input_is_one_sentence_with_status_2(args, capfd, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert cli.main(args) == 2
    out, err = capfd.readouterr()
    assert out == ""
    assert is_one_sentence(err), err
    assert "Traceback" not in err
    assert list(tmp_path.iterdir()) == []


def test_misspelt_names_are_answered_with_the_nearest(capfd):
    assert cli.main(["list", "problem"]) == 2
    assert "Did you mean 'problems'?" in capfd.readouterr().err
    assert cli.main(["rnu", "oja_pc1"]) == 2
    assert "'run'" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (InputError("the rule\nis wrong."), 2),
        (RunError("the run failed."), 1),
        (KeyboardInterrupt(), 130),
        (ZeroDivisionError("division by zero"), 1),
    ],
)
def test_errors_become_their_exit_status_without_traceback(error, status, monkeypatch, capfd):
    def fail(*args, **kwargs):
        raise error

    monkeypatch.setattr("evosearch.api.list_problems", fail)
    monkeypatch.delenv("EVOSEARCH_DEBUG", raising=False)
    assert cli.main(["list"]) == status
    out, err = capfd.readouterr()
    assert out == ""
    assert is_one_sentence(err), err


def test_no_command_prints_help_and_version_prints_the_version():
    done = evosearch()
    assert done.returncode == 0
    assert "Usage: evosearch" in done.stdout
    assert evosearch("--version").stdout.startswith("evosearch 0.")


def test_every_command_of_the_design_has_help():
    commands = ("list", "run", "resume", "runs", "show", "evaluate")
    commands += ("compare", "report", "export", "bench", "new", "doctor")
    for command in commands:
        assert cli.main([command, "--help"]) == 0


@pytest.mark.parametrize(
    ("text", "expected"),
    [("90", 90), ("90s", 90), ("1.5s", 1.5), ("10m", 600), ("1h30m", 5400), ("2h", 7200)],
)
def test_durations_are_read(text, expected):
    assert cli.seconds(text) == expected


@pytest.mark.parametrize("text", ["", "0", "-5", "10 minutes", "m", "1d", "nan", "inf"])
def test_what_is_no_duration_is_refused(text):
    with pytest.raises(InputError, match="--time"):
        cli.seconds(text)


def test_settings_keep_equals_signs_in_their_values():
    pairs = cli.assignments(["known.mine.text=w = pre", " rule.eta = 0.1"])
    assert pairs == {"known.mine.text": "w = pre", "rule.eta": "0.1"}


def test_a_closed_pipe_ends_quietly():
    command = f"{sys.executable} -m evosearch list rules --json | head -c 1"
    environment = {**os.environ, "PYTHONWARNINGS": "ignore"}
    shell = ["/bin/sh", "-c", command]
    done = subprocess.run(shell, capture_output=True, text=True, env=environment, check=False)
    assert "Traceback" not in done.stderr
