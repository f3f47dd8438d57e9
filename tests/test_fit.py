"""Learners side by side: the protocol, the table, the command."""

import dataclasses
import json
import math

import numpy as np
import pytest

from evosearch import api, cli
from evosearch.beds import BEDS, Bed
from evosearch.errors import InputError
from evosearch.fitted import Fit
from evosearch.fitting import fit, updates_to
from evosearch.learners.catalogue import learner_names, make_learner

FLOOR = "shallow"
TINY = Bed("tiny", "two small layers", "digits", (16, 16), 132, (("adam", 0.01), ("none", 0.1)))
KEYS = {
    "learner", "accuracy_mean", "accuracy_sd", "n90", "normalised", "forward_equivalents",
    "wall_s", "cost_ratio_to_bp", "cosine_to_bp",
}  # fmt: skip


@pytest.fixture(autouse=True)
def _beds(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(BEDS, "tiny", TINY)
    wild = dataclasses.replace(TINY, name="wild", grid=(("adam", 1e38),))
    monkeypatch.setitem(BEDS, "wild", wild)


@pytest.fixture(scope="module")
def fitted():
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(BEDS, "tiny", TINY)
        return fit("tiny", learners=["shallow", "bp", "dfa"], seeds=2)


def test_backpropagation_beats_the_readout_alone_and_is_its_own_reference(fitted):
    rows = {row["learner"]: row for row in fitted.to_json()["rows"]}
    assert rows["bp"]["accuracy_mean"] > rows[FLOOR]["accuracy_mean"] + 0.05
    assert (rows[FLOOR]["normalised"], rows["bp"]["normalised"]) == (0.0, 1.0)
    assert rows["bp"]["cost_ratio_to_bp"] == 1.0
    assert rows["bp"]["cosine_to_bp"] == [1.0, 1.0, 1.0]
    assert rows[FLOOR]["cosine_to_bp"] == [None, None, 1.0]
    low, high = rows[FLOOR]["accuracy_mean"], rows["bp"]["accuracy_mean"]
    wanted = (rows["dfa"]["accuracy_mean"] - low) / (high - low)
    assert rows["dfa"]["normalised"] == pytest.approx(wanted)


def test_the_same_seed_gives_the_same_result_whoever_is_beside(fitted):
    alone = fit("tiny", learners=["dfa"], seeds=2).rows[0]
    beside = fitted.rows[2]
    np.testing.assert_array_equal(alone.curves, beside.curves)
    assert (alone.normaliser, alone.rate) == (beside.normaliser, beside.rate)
    assert alone.cosine_to_bp == beside.cosine_to_bp


def test_more_seeds_leave_the_first_ones_as_they_are_and_another_seed_changes_them(fitted):
    more = fit("tiny", learners=["dfa"], seeds=3).rows[0]
    np.testing.assert_array_equal(more.curves[:2], fitted.rows[2].curves)
    other = fit("tiny", learners=["dfa"], seeds=2, seed=1).rows[0]
    assert not np.array_equal(other.curves, fitted.rows[2].curves)


def test_divergence_is_reported_with_its_update_and_has_no_accuracy():
    (row,) = fit("wild", learners=["bp"], seeds=2).rows
    assert np.isnan(row.accuracies).all()
    assert row.diverged_at == (1, 1)  # sums over weights of 1e38 leave single precision
    facts = Fit("wild", 2, (row,)).to_json()["rows"][0]
    assert facts["accuracy_mean"] is None
    assert facts["diverged_at"] == list(row.diverged_at)


@pytest.mark.parametrize(
    ("curves", "wanted"),
    [
        ([[0.1, 0.9, 0.8]], 22),
        ([[0.9, 0.9], [0.0, 0.9], [0.0, 0.0]], 22),
        ([[0.0, 0.89], [0.0, 0.95], [0.0, 0.0]], None),
        ([[math.nan, math.nan]], None),
    ],
)
def test_updates_to_an_accuracy_are_the_median_over_seeds(curves, wanted):
    assert updates_to(np.array(curves), 0.9, 11) == wanted


@pytest.mark.parametrize(
    ("task", "learners", "seeds", "sentence"),
    [
        ("digits7", ["bp"], 1, "unknown task 'digits7'. Did you mean 'digits"),
        ("tiny", ["bpp"], 1, "unknown learner 'bpp'. Did you mean 'bp'"),
        ("tiny", [], 1, "learners is empty"),
        ("tiny", ["bp"], 0, "seeds is 0"),
    ],
)
def test_what_cannot_be_fitted_is_refused_in_one_sentence(task, learners, seeds, sentence):
    with pytest.raises(InputError, match=sentence):
        fit(task, learners=learners, seeds=seeds)


def test_the_command_prints_one_json_object_with_the_promised_keys(capsys):
    assert cli.main(["fit", "tiny", "--learners", "shallow, bp", "--seeds", "1", "--json"]) == 0
    printed = capsys.readouterr()
    facts = json.loads(printed.out)
    assert facts["task"] == "tiny"
    assert [row["learner"] for row in facts["rows"]] == ["shallow", "bp"]
    assert all(set(row) >= KEYS for row in facts["rows"])
    assert "shallow: accuracy" in printed.err


def test_the_command_prints_a_table_and_unknown_learners_exit_with_2(capsys):
    assert cli.main(["fit", "tiny", "--learners", "bp", "--seeds", "1"]) == 0
    assert "forward passes" in capsys.readouterr().out
    assert cli.main(["fit", "tiny", "--learners", "bq"]) == 2


def test_learners_and_their_tasks_are_listed():
    assert api.list_learners().column("name") == learner_names()
    assert set(BEDS) <= set(api.list_tasks().column("name"))


def test_every_bed_can_be_probed_in_the_middle():
    for bed in BEDS.values():
        assert bed.updates % (2 * bed.check_every) == 0


def test_the_command_writes_a_report_with_every_learner_in_it(capsys, tmp_path):
    target = tmp_path / "fit.html"
    arguments = ["--learners", "shallow,bp", "--seeds", "2", "--out", str(target)]
    assert cli.main(["fit", "tiny", *arguments]) == 0
    assert str(target) in capsys.readouterr().out
    page = target.read_text()
    assert "<svg" in page
    assert all(f">{name}<" in page for name in ("shallow", "bp"))


def test_no_result_depends_on_the_number_of_workers(fitted):
    alone = fit("tiny", learners=["shallow", "bp", "dfa"], seeds=2, workers=1)
    for one, other in zip(alone.rows, fitted.rows, strict=True):
        assert one.learner == other.learner
        np.testing.assert_array_equal(one.curves, other.curves)


def test_a_learner_that_cannot_train_the_network_is_refused_or_left_out_of_all():
    bed = BEDS["digits_sequence"]
    with pytest.raises(InputError, match="'bp' trains feed-forward networks; this task has recur"):
        fit(bed.name, learners=["bp"], seeds=1)
    trained = [name for name in learner_names() if bed.network in make_learner(name).networks]
    assert {bed.floor, bed.ceiling} <= set(trained)


@pytest.mark.full
def test_digits6_agrees_with_the_reference_numbers():
    """Means and standard deviations of this project's prototype, three seeds each."""
    wanted = {"shallow": (0.832, 0.035), "bp": (0.979, 0.01), "fa": (0.961, 0.01),
              "dfa": (0.964, 0.01)}  # fmt: skip
    for row in fit("digits6", learners=list(wanted), seeds=5).rows:
        mean, sd = wanted[row.learner]
        error = np.hypot(sd, row.accuracies.std(ddof=1)) / np.sqrt(3)
        assert abs(row.accuracies.mean() - mean) < 3 * error + 0.005
