"""Problems of vectors from the file to the report, short vectors and long ones."""

import json
import tomllib
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load

import evosearch as es
from evosearch.config import build_config
from evosearch.doctor import check_run
from evosearch.errors import InputError
from evosearch.problem import load_problem, make_problem
from evosearch.search.base import SEARCHES

PROBLEM = """
schema = 1
name = "valley"
default_search = "snes"
floor = "start"
ceiling = "optimum"

[task]
kind = "function"
name = "ellipsoid"
dimension = {dimension}
is_rotated = {is_rotated}

[vector]

[splits.search]
draws = 1
[splits.validation]
draws = 1
[splits.test]
draws = 1

[known.start]
baseline = "start"
[known.optimum]
baseline = "optimum"
[known.cited]
value = -3.0

[success]
threshold = -1e6

"""
LONG = 1_200
OVER_VECTORS = [n for n in SEARCHES.names() if "vector" in SEARCHES.get(n).space_kinds]
# They name no best vector of their own, so a run that keeps no candidates cannot use them.
WITHOUT_FAVOURITES = ("random", "local")


def text_of(dimension, searches=OVER_VECTORS):
    text = PROBLEM.format(dimension=dimension, is_rotated=str(dimension < 100).lower())
    for search in searches:
        text += f"[searches.{search}]\nbudget = 96\npopulation = 8\n"
    return text.replace(
        "[searches.spsa]\nbudget = 96\npopulation = 8", "[searches.spsa]\nbudget = 96"
    )


@pytest.fixture
def make(tmp_path):
    def write(dimension=4, text=None):
        path = tmp_path / "valley.toml"
        path.write_text(text or text_of(dimension))
        return path

    return write


def test_a_run_over_vectors_has_a_champion_beside_floor_and_ceiling(make, tmp_path):
    run = es.run(make(), search="cmaes", budget=400, out=tmp_path / "runs")

    facts = run.to_json()
    vector = np.array(json.loads(facts["champion"]["text"]))
    assert np.array_equal(run.vector, vector)
    assert facts["champion"]["size"] == 4
    assert facts["ceiling"] == pytest.approx(0.0, abs=1e-12)
    assert facts["floor"] < facts["champion"]["fitness"]["test"] <= facts["ceiling"]
    assert 0.5 < facts["champion"]["normalised_test"] <= 1.0
    assert facts["baselines"]["cited"] == -3.0
    assert facts["success"] is True
    score = es.evaluate(make(), run)
    assert score.mean == facts["champion"]["fitness"]["test"]
    assert score.parameters == 4
    assert es.evaluate(make(), facts["champion"]["text"]).mean == score.mean


@pytest.mark.parametrize("dimension", [4, LONG])
@pytest.mark.parametrize("search", OVER_VECTORS)
def test_a_stopped_run_resumes_to_what_an_unbroken_one_is(search, dimension, make, tmp_path):
    if dimension == LONG and search in WITHOUT_FAVOURITES:
        pytest.skip("keeps no vector of its own")
    if dimension == LONG and search == "cmaes":
        pytest.skip("a full covariance of this size takes minutes")
    problem = make(dimension)
    whole = es.run(problem, search=search, out=tmp_path / "whole")

    def stop_at(run, generation):
        if generation in (1, 3):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        es.run(problem, search=search, out=tmp_path / "parts", callbacks=[stop_at])
    (folder,) = (tmp_path / "parts").glob("*/*")
    with pytest.raises(KeyboardInterrupt):
        es.resume(folder, callbacks=[stop_at])
    resumed = es.resume(folder)

    assert resumed.digest == whole.digest
    assert resumed.champion.text == whole.champion.text
    assert np.array_equal(resumed.vector, whole.vector)
    assert resumed.champion.fitness == whole.champion.fitness


@pytest.mark.parametrize("dimension", [4, LONG])
def test_workers_chunks_and_backends_do_not_change_a_run(dimension, make, tmp_path):
    problem = make(dimension)
    runs = [
        es.run(problem, search="snes", out=tmp_path / f"{backend}{workers}", workers=workers,
               backend=backend)
        for backend, workers in (("sequential", 1), ("threads", 3), ("processes", 2))
    ]  # fmt: skip

    assert len({run.digest for run in runs}) == 1
    assert len({run.champion.text for run in runs}) == 1


def test_a_long_run_keeps_one_vector_and_little_else(make, tmp_path):
    run = es.run(make(LONG), search="snes", budget=8 * 60, out=tmp_path)

    files = sorted(path.name for path in (run.path / "vectors").iterdir())
    assert len(files) == 1
    assert run.champion.text == f"vector:{Path(files[0]).stem}"
    assert run.vector.shape == (LONG,)
    assert (run.history()["generation"] == np.arange(1, 61)).all()
    assert sum(path.stat().st_size for path in run.path.rglob("*")) < 500_000
    assert all(finding.is_ok for finding in check_run(str(run.path)))


def test_a_damaged_long_vector_is_found(make, tmp_path):
    run = es.run(make(LONG), search="snes", out=tmp_path)
    (file,) = (run.path / "vectors").iterdir()
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(bytes(data))

    findings = {finding.name: finding for finding in check_run(str(run.path))}

    assert not findings["digests"].is_ok
    assert "is not what was written" in findings["digests"].detail


def test_long_runs_refuse_searches_that_keep_no_vector_and_budgets_below_a_generation(
    make, tmp_path
):
    with pytest.raises(InputError, match=r"'random' names no best .* These do: .*snes"):
        es.run(make(LONG), search="random", out=tmp_path / "a")
    with pytest.raises(InputError, match="budget of 5 evaluations is less than one generation"):
        es.run(make(LONG), search="snes", budget=5, out=tmp_path / "b")


@pytest.mark.parametrize("dimension", [4, LONG])
def test_report_and_exports_of_a_vector(dimension, make, tmp_path):
    run = es.run(make(dimension), search="snes", out=tmp_path)

    page = es.report(run).read_text()
    tensors = load(es.export(run, "safetensors"))

    assert "Fitness against size" not in page
    assert "numbers" in page
    assert np.array_equal(tensors["champion.vector"], run.vector)
    assert json.loads(es.export(run, "json"))["vector"] == run.vector.tolist()
    assert es.export(run, "csv").count("\n") == len(run.history()["generation"]) + 1
    with pytest.raises(InputError, match="is a vector, which has no latex source"):
        es.export(run, "latex")


def test_a_function_of_the_users_own_is_a_task(tmp_path):
    (tmp_path / "own.py").write_text(
        "def far(x, rng, scale=1.0):\n"
        "    if x[0] > 2.5:\n"
        "        raise ValueError('too far')\n"
        "    return {'fitness': -scale * float(((x - 1) ** 2).sum()), 'first': float(x[0])}\n"
    )
    text = PROBLEM.replace('kind = "function"\nname = "ellipsoid"\n', 'kind = "own.py:far"\n')
    text = text.replace("dimension = {dimension}\nis_rotated = {is_rotated}\n", "scale = 2.0\n")
    text = text.replace("[vector]", "[vector]\ndimension = 3\nlow = [-4, -4, -4]\nhigh = 4")
    text = text.replace('[known.optimum]\nbaseline = "optimum"\n', "")
    text = text.replace('ceiling = "optimum"', 'ceiling = "cited"')
    path = tmp_path / "own.toml"
    path.write_text(text + "[searches.snes]\nbudget = 120\npopulation = 12\n")

    runs = [
        es.run(path, out=tmp_path / str(workers), workers=workers, backend=backend)
        for workers, backend in ((2, "processes"), (1, "sequential"))
    ]

    assert runs[0].digest == runs[1].digest
    assert runs[0].faults.get("failed", 0) > 0
    assert runs[0].champion.fitness["test"] > runs[0].baselines["start"]
    assert runs[0].baselines["start"] == -6.0


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("[vector]", "[vector]\ndimension = 3", "vector.dimension is given, but the task"),
        ("[vector]", "[vector]\nlow = 1.0\nhigh = 0.0", "low is 1 and high is 0"),
        ("[vector]", "[vector]\nlow = [0.0, 1.0]", r"vector: low has shape \(2,\)"),
        ("[vector]", "[vector]\nsigma = 1.0", "Did you mean 'sigma0'"),
        ("[vector]", '[rule]\nterminals = ["w"]', "scores vectors, not rules"),
        ("[vector]", '[vector]\n[rule]\nterminals = ["w"]', "a problem has one"),
        ("[vector]", "", r"rule is missing; .* or \[vector\]"),
        ('baseline = "optimum"', 'baseline = "optimun"', "Did you mean 'optimum'"),
        ('baseline = "optimum"', 'library = "oja"', "given by baseline or value"),
        ('baseline = "optimum"', 'baseline = "optimum"\nvalue = 1.0', "give one of library"),
        ('kind = "function"', 'kind = "oja_pc1"', "scores rules, not vectors"),
        ("budget = 96", 'budget = 96\nrepresentation = "tree"', "here it is vector"),
        ('name = "ellipsoid"', 'name = "elipsoid"', "task.name is 'elipsoid'"),
    ],
)
def test_a_wrong_file_is_one_sentence(old, new, words):
    text = text_of(4, ["snes"])
    assert old in text
    values = tomllib.loads(text.replace(old, new, 1))

    with pytest.raises(InputError, match=words):
        make_problem(build_config(values, source="valley.toml"), source="v.toml", folder=Path())


def test_a_vector_of_the_wrong_length_or_name_is_one_sentence(make):
    problem = load_problem(make())

    for text, words in (
        ("[1, 2]", "is not a list of 4 finite numbers"),
        ("[1, 2, 3, NaN]", "is not a list of 4 finite numbers"),
        ("optimun", "Did you mean 'optimum'"),
        ("cited", "is a figure of valley, not a vector"),
    ):
        with pytest.raises(InputError, match=words):
            problem.resolve(text)


def test_a_device_is_used_where_the_task_has_one_and_refused_elsewhere(make, tmp_path):
    with pytest.raises(InputError, match="the task function runs on the CPU alone"):
        es.run(make(), search="snes", device="torch", out=tmp_path)

    scores = [
        es.evaluate("digits_mlp", "start", split=split, device=device).metrics
        for split in ("validation", "test")
        for device in ("cpu", "torch")
    ]

    for own, of_torch in (scores[:2], scores[2:]):
        assert own["cross_entropy"] == pytest.approx(of_torch["cross_entropy"], rel=1e-5)
        assert own["accuracy"] == pytest.approx(of_torch["accuracy"], abs=1 / 360)


def test_a_long_run_says_how_many_candidates_were_lost_and_why_the_first(
    make, tmp_path, monkeypatch
):
    from evosearch.tasks.function import FunctionTask

    score = FunctionTask.score

    def holed(self, points, keys, split):
        if split == "search" and len(points) > 1:
            raise MemoryError
        if split == "search" and points[0, 0] > self.domain().x0[0]:
            raise ValueError("too far")
        return score(self, points, keys, split)

    monkeypatch.setattr(FunctionTask, "score", holed)
    run = es.run(make(LONG), search="openai-es", workers=1, out=tmp_path)

    lost = run.faults["lost"]
    assert 0 < lost < run.to_json()["evaluations"]
    assert run.first_fault.startswith("ValueError: too far")
    assert np.isfinite(run.champion.fitness["validation"])
