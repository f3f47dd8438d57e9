"""Run folders: made whole, written by one, read by all, and named with what to do when damaged."""

import json
import math
import os
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from evosearch import cli
from evosearch.errors import InputError, RunCorruptError, RunLockedError
from evosearch.problem import load_problem
from evosearch.store import CandidateRow, GenerationRecord, GenerationRow, RunStore, ValidationRow
from evosearch.store import folder as store_folder
from evosearch.store.folder import MAX_STATE_TEXT, reading
from evosearch.store.records import (
    chain_digest,
    pack_floats,
    state_from_text,
    state_to_text,
    unpack_floats,
)

FACTS = {
    "problem": "oja_pc1",
    "search": "gp",
    "representation": "tree",
    "seed": 0,
    "budget": 100,
    "device": "cpu",
    "init": [],
    "numerics": 1,
    "source_hash": "",
    "task_folder": "",
}


def new_store(path, **facts):
    problem = load_problem("oja_pc1", preset="quick").config.to_toml()
    return RunStore.create(path, problem=problem, environment={}, facts={**FACTS, **facts})


def candidate(text="pre*post", fitness=-0.5, **changes):
    facts = {
        "genotype": text,
        "text": text,
        "size": 3,
        "fitness": fitness,
        "status": "ok" if math.isfinite(fitness) else "failed",
        "scale": 1.0,
        "exploded": 0.0,
        "is_cached": False,
        "per_draw": np.array([fitness, 0.1, -0.0, np.nan]),
    }
    return CandidateRow(**{**facts, **changes})


def generation(number, digest="d"):
    nan = math.nan
    return GenerationRow(
        number,
        10 * number,
        10 * number,
        5,
        100,
        -0.5,
        -0.5,
        nan,
        nan,
        nan,
        3.0,
        3,
        nan,
        0,
        0.1,
        digest,
    )


def fill(store, n=3, state=None):
    for number in range(1, n + 1):
        rows = [candidate(f"pre*post*{number}.5"), candidate("w", -np.inf, message="it raised")]
        found = [ValidationRow(f"r{number}", 3, -0.5, -np.inf if number == 2 else -0.4, 0.5, 10)]
        here = state(number) if state else {"number": number}
        record = GenerationRecord(generation(number), rows, found, [("failed", "w: it raised")])
        store.append([record], here)


@pytest.fixture
def folder(tmp_path):
    path = tmp_path / "oja_pc1" / "gp-s0-00000000"
    with new_store(path) as store:
        fill(store)
    return path


def test_what_is_written_is_read_again(folder):
    with reading(folder) as store:
        facts = store.facts()
        assert {name: facts[name] for name in FACTS} == FACTS
        assert [row.generation for row in store.generations()] == [1, 2, 3]
        assert math.isnan(store.generations()[0].median)
        rows = store.candidates(2)
        assert [row.text for row in rows] == ["pre*post*2.5", "w"]
        assert rows[1].fitness == -math.inf
        assert rows[1].message == "it raised"
        assert len(store.candidates()) == 6
        assert np.array_equal(rows[0].per_draw, candidate().per_draw, equal_nan=True)
        assert [row.fitness for row in store.validations()] == [-0.4, -math.inf, -0.4]
        assert store.status_counts() == {"ok": 3, "failed": 3}
        assert store.events() == [(k, "failed", "w: it raised") for k in (1, 2, 3)]
        assert store.last_state() == (3, {"number": 3})


def test_numbers_come_back_to_the_bit(tmp_path):
    values = [-0.0, 0.0, 5e-324, -1.7976931348623157e308, 0.1 + 0.2, 1.0, 123456789012345680.0]
    with new_store(tmp_path / "run") as store:
        rows = [candidate(f"{k}*w", value) for k, value in enumerate(values)]
        store.append([GenerationRecord(generation(1), rows)], {})
        again = store.candidates(1)
    assert [repr(row.fitness) for row in again] == [repr(value) for value in values]
    assert chain_digest("", again) == chain_digest("", rows)
    assert unpack_floats(pack_floats(np.array(values))).tobytes() == np.array(values).tobytes()


def test_facts_are_replaced_and_removed(tmp_path):
    with new_store(tmp_path / "run") as store:
        store.set_facts(budget=7, result={"a": [1, None, "x"]})
        assert store.facts()["budget"] == 7
        store.set_facts(result=None)
        assert "result" not in store.facts()


STATE = {
    "text": "x\u00e9\0",
    "none": None,
    "truth": True,
    "big": 2**200,
    "numbers": [1, -0.0, 5e-324, math.inf, -math.inf],
    "nested": {"a": {"b": [[1, 2], []]}},
    "floats": np.array([[1.5, np.nan], [np.inf, -0.0]]),
    "single": np.arange(6, dtype=np.float32).reshape(2, 3),
    "bytes": np.arange(256, dtype=np.uint8),
    "truths": np.array([True, False]),
    "empty": np.empty((0, 4)),
    "words": np.array([2**64 - 1], dtype=np.uint64),
    "strided": np.arange(10)[::-2],
}


def test_states_of_arrays_and_json_values_come_back_to_the_bit():
    again = state_from_text(state_to_text(STATE))
    assert list(again) == list(STATE)
    for name, value in STATE.items():
        if isinstance(value, np.ndarray):
            assert again[name].dtype == value.dtype
            assert again[name].shape == value.shape
            assert again[name].tobytes() == np.ascontiguousarray(value).tobytes()
            again[name][...] = 0  # writable
        else:
            assert repr(again[name]) == repr(value)


@pytest.mark.parametrize(
    "value", [np.array(["text"]), np.array([object()], dtype=object), object()]
)
def test_states_of_other_things_are_refused(value):
    with pytest.raises((TypeError, RunCorruptError)):
        state_from_text(state_to_text({"value": value}))


@pytest.mark.parametrize(
    "text",
    [
        "[]",
        "1",
        '{"a": {"__array__": ["object", [1], "AAAA"]}}',
        '{"a": {"__array__": ["<V8", [1], "AAAA"]}}',
    ],
)
def test_what_is_no_state_is_refused(text):
    with pytest.raises(RunCorruptError):
        state_from_text(text)


def test_a_large_state_lies_beside_the_database_and_the_last_two_are_kept(tmp_path):
    path = tmp_path / "run"
    rng = np.random.default_rng(0)
    arrays = [rng.standard_normal(MAX_STATE_TEXT // 6) for _ in range(5)]
    with new_store(path) as store:
        fill(store, 5, lambda number: {"weights": arrays[number - 1]})
        names = sorted(file.name for file in (path / "state").iterdir())
        assert [name.partition("-")[0] for name in names] == ["4", "5"]
        assert all(name.endswith(".safetensors") for name in names)
        number, state = store.last_state()
        assert number == 5
        assert np.array_equal(state["weights"], arrays[4])
    assert (path / "run.sqlite").stat().st_size < 1_000_000
    file = path / "state" / names[1]
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(data)
    with reading(path) as store, pytest.raises(RunCorruptError, match="restore it from a copy"):
        store.last_state()
    file.unlink()
    with reading(path) as store, pytest.raises(RunCorruptError, match="restore it from a copy"):
        store.last_state()


def test_states_that_shrink_leave_no_file_behind(tmp_path):
    with new_store(tmp_path / "run") as store:
        large = np.random.default_rng(0).standard_normal(MAX_STATE_TEXT // 6)
        fill(store, 4, lambda number: {"weights": large if number < 3 else large[:2]})
        assert list((store.path / "state").iterdir()) == []


def test_a_folder_is_made_whole_or_not_at_all(tmp_path, monkeypatch):
    class FullDiskError(OSError):
        pass

    def fail(*args, **kwargs):
        raise FullDiskError("no space left")

    for name in ("json.dumps", "os.rename"):
        with monkeypatch.context() as patch:
            patch.setattr(f"evosearch.store.folder.{name}", fail)
            with pytest.raises(OSError, match="no space left"):
                new_store(tmp_path / "runs" / "run")
        assert list((tmp_path / "runs").iterdir()) == []
    with monkeypatch.context() as patch:
        patch.setattr("evosearch.store.folder._SCHEMA", "CREATE nonsense")
        with pytest.raises(sqlite3.Error):
            new_store(tmp_path / "runs" / "run")
    assert list((tmp_path / "runs").iterdir()) == []


def test_a_folder_that_exists_is_never_overwritten(folder):
    before = {file.name: file.read_bytes() for file in folder.iterdir()}
    with pytest.raises(InputError, match=r"exists already.*evosearch resume"):
        new_store(folder)
    assert {file.name: file.read_bytes() for file in folder.iterdir()} == before
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]


@pytest.mark.parametrize("place", ["file", "file/below"])
def test_a_place_that_cannot_be_written_is_named(place, tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(InputError, match="cannot be written"):
        new_store(tmp_path / place / "run")


HOLDER = """
import sys, time
from evosearch.store import RunStore
from pathlib import Path
with RunStore(Path(sys.argv[1]), is_writer=True):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def holder(folder):
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(folder)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.wait()
    process.stdout.close()


def test_a_second_writer_is_refused_with_the_holders_pid_until_it_dies(folder, holder, capfd):
    with pytest.raises(RunLockedError, match=rf"\bpid {holder.pid}\b"):
        RunStore(folder, is_writer=True)
    assert cli.main(["resume", str(folder)]) == 2
    out, err = capfd.readouterr()
    assert out == ""
    assert f"pid {holder.pid}" in err
    assert err.count("\n") == 1
    with reading(folder) as store:
        assert len(store.generations()) == 3
    os.kill(holder.pid, signal.SIGKILL)
    holder.wait()
    with RunStore(folder, is_writer=True) as store:
        assert len(store.generations()) == 3


def test_readers_see_whole_generations_while_one_writes(folder):
    with RunStore(folder, is_writer=True) as writer, reading(folder) as reader:
        assert len(reader.generations()) == 3
        writer.append([GenerationRecord(generation(4), [candidate()])], {"number": 4})
        assert len(reader.generations()) == 4
        assert reader.last_state() == (4, {"number": 4})


def test_a_generation_that_fails_half_way_leaves_nothing(folder):
    with RunStore(folder, is_writer=True) as store:
        broken = [candidate(), candidate(size=object())]
        with pytest.raises(sqlite3.Error):
            store.append([GenerationRecord(generation(4), broken)], {})
        assert len(store.generations()) == 3
        assert store.last_state() == (3, {"number": 3})
        with pytest.raises(sqlite3.IntegrityError):
            store.append([GenerationRecord(generation(3))], {})


def test_a_file_that_reads_only_is_readable_with_all_that_was_written(tmp_path, monkeypatch):
    """As root all files can be written, so the answer to the question is replaced."""
    path = tmp_path / "run"
    store = new_store(path)
    fill(store)
    monkeypatch.setattr(store_folder.os, "access", lambda *args, **kwargs: False)
    with reading(path) as reader:
        assert len(reader.generations()) == 3  # what lies in the write-ahead log, too
    store.close()
    with reading(path) as reader:
        assert len(reader.generations()) == 3


@pytest.mark.skipif(os.geteuid() != 0, reason="another user can only be played by root")
def test_another_user_reads_a_run_that_was_killed(tmp_path_factory):
    root = Path(os.path.realpath(tmp_path_factory.mktemp("shared")))
    path = root / "run"
    code = (
        "import os, sys; sys.path[:0] = [sys.argv[2]];"
        "import test_store_folder as t; from pathlib import Path;"
        "store = t.new_store(Path(sys.argv[1])); t.fill(store); os.kill(os.getpid(), 9)"
    )
    subprocess.run([sys.executable, "-c", code, str(path), str(Path(__file__).parent)], check=False)
    assert (path / "run.sqlite-wal").stat().st_size > 0
    for place in (root, *root.parents):
        if place.stat().st_uid == 0 and place != Path("/"):
            place.chmod(place.stat().st_mode | 0o055)
    before = sorted(file.name for file in path.iterdir())
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            os.setuid(65534)
            with reading(path) as store:
                status = 0 if len(store.generations()) == 3 else 2
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert sorted(file.name for file in path.iterdir()) == before


def commands(path):
    return [
        ["show", str(path)],
        ["show", str(path), "--json"],
        ["resume", str(path)],
        ["report", str(path)],
        ["export", str(path), "--to", "csv"],
        ["export", str(path), "--to", "json"],
    ]


def each_command_is_one_sentence(path, capfd, *, with_report=True):
    """Run every command that reads a run; return their exit statuses."""
    statuses = []
    for command in commands(path):
        if command[0] == "report" and not with_report:
            continue  # it draws for a second
        status = cli.main(command)
        out, err = capfd.readouterr()
        assert status in (0, 2), (command, status, err)
        if status:
            assert out == ""
            assert err.startswith("evosearch: ")
            assert err.count("\n") == 1, err
            assert str(path) in err, err
            assert any(word in err for word in ("restore", "run again", "resume", "read it with"))
        statuses.append(status)
    assert cli.main(["runs", "--out", str(path.parents[1]), "--json"]) == 0
    out, err = capfd.readouterr()
    assert len(json.loads(out)["runs"]) == 1
    return statuses


@pytest.fixture(scope="module")
def stopped(tmp_path_factory):
    """A run of a few generations, stopped; its files' contents by name."""
    from evosearch.execution import execute

    problem = load_problem(
        "oja_pc1",
        preset="quick",
        overrides={"searches.gp.population": 30, "task.steps": 5, "splits.search.draws": 4},
    )

    def interrupt(run, generation):
        if generation == 3:
            signal.raise_signal(signal.SIGINT)

    run = execute(
        problem, "gp", workers=1, out=tmp_path_factory.mktemp("runs"), callbacks=[interrupt]
    )
    return {file.name: file.read_bytes() for file in run.path.iterdir() if file.is_file()}


@pytest.fixture
def copy(stopped, tmp_path):
    path = tmp_path / "runs" / "oja_pc1" / "gp-s0-00000000"
    path.mkdir(parents=True)
    for name, data in stopped.items():
        (path / name).write_bytes(data)
    return path


@pytest.fixture
def quick_resume(monkeypatch):
    """Let a resume that gets as far as the search end at once: reading is what is tested."""
    monkeypatch.setattr("evosearch.rules.simplify.simplify_many", lambda rules, **options: rules)
    monkeypatch.setattr("evosearch.loop.SearchLoop.run", lambda self: "interrupt")
    monkeypatch.setitem(cli.__dict__, "_finish", lambda *args, **kwargs: 0)


def cut_points(size, seed, is_full):
    rng = np.random.default_rng(seed)
    fixed = [0, 1, 15, 16, 99, 100, 1024, 4095, 4096, 4097, size // 2, size - 4096, size - 1]
    return sorted({*fixed, *rng.integers(size, size=200 if is_full else 4).tolist()})


def test_a_database_cut_anywhere_is_named_with_what_to_do(
    copy, stopped, session_seed, is_full, quick_resume, capfd
):
    data = stopped["run.sqlite"]
    with reading(copy) as store:
        whole = store.generations(), store.last_state(), [row.text for row in store.candidates()]
    points = cut_points(len(data), session_seed, is_full)
    for size in points:
        (copy / "run.sqlite").write_bytes(data[:size])
        statuses = each_command_is_one_sentence(copy, capfd)
        if 2 not in statuses:  # no byte was lost that is in use
            with reading(copy) as store:
                texts = [row.text for row in store.candidates()]
                assert repr((store.generations(), store.last_state(), texts)) == repr(whole), size
            assert size > len(data) - 4096
        for name in ("run.sqlite-wal", "run.sqlite-shm", "report.html"):
            (copy / name).unlink(missing_ok=True)


def test_garbage_in_a_database_never_ends_in_a_traceback(
    copy, stopped, session_seed, is_full, quick_resume, capfd
):
    rng = np.random.default_rng(session_seed)
    data = stopped["run.sqlite"]
    for number in range(300 if is_full else 16):
        broken = bytearray(data)
        start = int(rng.integers(len(data)))
        length = int(rng.choice([1, 8, 200, 5000]))
        noise = rng.bytes(length) if rng.random() < 0.7 else bytes(length)
        broken[start : start + length] = noise[: len(data) - start]
        (copy / "run.sqlite").write_bytes(broken)
        each_command_is_one_sentence(copy, capfd, with_report=number % 8 == 0)
        for name in ("run.sqlite-wal", "run.sqlite-shm", "report.html"):
            (copy / name).unlink(missing_ok=True)


@pytest.mark.parametrize("content", [b"", b"no database", b"\0" * 10_000, None])
def test_what_is_no_database_is_named(content, copy, capfd):
    file = copy / "run.sqlite"
    file.unlink()
    if content is None:
        sqlite3.connect(file).execute("CREATE TABLE other (x)").connection.close()
    else:
        file.write_bytes(content)
    assert set(each_command_is_one_sentence(copy, capfd)) == {2}


@pytest.mark.parametrize("content", [None, b"", b"schema = = 1", b"schema = 1", b"\xff\xfe\0"])
def test_a_missing_or_damaged_problem_file_is_named(content, copy, capfd):
    file = copy / "problem.toml"
    file.unlink() if content is None else file.write_bytes(content)
    assert cli.main(["resume", str(copy)]) == 2
    out, err = capfd.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert "problem.toml" in err
    if content is None or content == b"\xff\xfe\0":
        assert 2 in each_command_is_one_sentence(copy, capfd)


def test_a_newer_format_is_refused_with_what_reads_it(copy, capfd):
    db = sqlite3.connect(copy / "run.sqlite")
    with db:
        db.execute("UPDATE facts SET value = '2' WHERE key = 'format'")
    db.close()
    assert set(each_command_is_one_sentence(copy, capfd)) == {2}
    with pytest.raises(RunCorruptError, match=r"format 2.*reads format 1.*version of evosearch"):
        RunStore(copy)


@pytest.mark.parametrize("name", ["problem", "search", "seed", "budget", "numerics", "init"])
def test_a_fact_that_is_missing_or_wrong_is_named(name, copy, capfd, quick_resume):
    for value in (None, '"nonsense"', "[[]]", "{", "null"):
        db = sqlite3.connect(copy / "run.sqlite")
        with db:
            db.execute("DELETE FROM facts WHERE key = ?", (name,))
            if value is not None:
                db.execute("INSERT INTO facts VALUES (?, ?)", (name, value))
        db.close()
        for command in commands(copy):
            status = cli.main(command)
            err = capfd.readouterr().err
            assert status in (0, 2), (command, value, err)


def test_a_missing_environment_is_no_reason_to_refuse(copy):
    from evosearch.run import load_run

    (copy / "environment.json").write_text("{")
    assert load_run(copy).environment == {}
    (copy / "environment.json").unlink()
    assert load_run(copy).environment == {}


def test_nothing_in_a_run_can_be_executed(stopped, copy):
    assert set(stopped) == {"problem.toml", "environment.json", "run.sqlite", "run.lock"}
    for path in copy.iterdir():
        assert not path.stat().st_mode & 0o111, path.name
    db = sqlite3.connect(copy / "run.sqlite")
    names = [name for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
    for table in names:
        for row in db.execute(f"SELECT * FROM {table}"):  # noqa: S608
            for value in row:
                data = value.encode() if isinstance(value, str) else value
                if not isinstance(data, bytes):
                    continue
                assert not data.startswith(b"\x80\x04")
                assert not data.startswith(b"\x80\x05")
                assert not data.startswith(b"\x93NUMPY")
    db.close()


def test_a_draft_of_a_killed_start_is_no_run(folder, capfd):
    code = (
        "import os, sys; sys.path[:0] = [sys.argv[2]];"
        "import test_store_folder as t; from pathlib import Path;"
        "t.store_folder.os.rename = lambda *args: os.kill(os.getpid(), 9);"
        "t.new_store(Path(sys.argv[1]))"
    )
    path = folder.with_name("killed")
    subprocess.run([sys.executable, "-c", code, str(path), str(Path(__file__).parent)], check=False)
    assert not path.exists()
    assert len(list(folder.parent.iterdir())) == 2
    root = folder.parents[1]
    assert cli.main(["runs", "--out", str(root), "--json"]) == 0
    rows = json.loads(capfd.readouterr().out)["runs"]
    assert [Path(row["run"]).name for row in rows] == [folder.name]
    with new_store(path) as store:
        assert store.facts()["budget"] == 100
