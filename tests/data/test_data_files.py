"""Data sets: their fixed parts, the places that are searched, and what is said of bad files."""

from __future__ import annotations

import gzip
import struct

import numpy as np
import pytest

from evosearch.data import load_data
from evosearch.data.files import ENVIRONMENT, data_folders, read_file
from evosearch.data.idx import FILES, read_idx
from evosearch.data.tables import read_table
from evosearch.errors import InputError


@pytest.fixture
def home(tmp_path, monkeypatch):
    """Return the one folder of data sets, empty; what was loaded before is forgotten."""
    monkeypatch.setenv(ENVIRONMENT, str(tmp_path / "data"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    load_data.cache_clear()
    yield tmp_path / "data"
    load_data.cache_clear()


def idx_bytes(array):
    return struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape) + array.tobytes()


def write_folder(folder, n_train=60, n_test=20, packed=True, classes=3):
    rng = np.random.default_rng(0)
    arrays = [
        rng.integers(256, size=(n_train, 4, 5), dtype=np.uint8),
        np.arange(n_train, dtype=np.uint8) % classes,
        rng.integers(256, size=(n_test, 4, 5), dtype=np.uint8),
        np.arange(n_test, dtype=np.uint8) % classes,
    ]
    folder.mkdir(parents=True)
    for name, array in zip(FILES, arrays, strict=True):
        data = idx_bytes(array)
        path = folder / (name + ".gz" if packed else name)
        path.write_bytes(gzip.compress(data) if packed else data)
    return arrays


def rows_of(data):
    return [tuple(row) for part in (data.train, data.validation, data.test) for row in part.inputs]


def test_digits_are_cut_into_the_parts_that_are_stated():
    from sklearn.datasets import load_digits

    data = load_data("digits")
    assert [len(part) for part in (data.train, data.validation, data.test)] == [1077, 360, 360]
    images, labels = load_digits(return_X_y=True)
    whole = sorted(zip(map(tuple, (images / 16).astype(np.float32)), labels, strict=True))
    found = [
        pair
        for part in (data.train, data.validation, data.test)
        for pair in zip(map(tuple, part.inputs), part.labels, strict=True)
    ]
    assert sorted(found) == whole
    assert not data.train.inputs.flags.writeable


def test_parts_are_the_same_in_every_run():
    first = load_data("digits")
    load_data.cache_clear()
    again = load_data("digits")
    assert first is not again
    assert rows_of(first) == rows_of(again)


@pytest.mark.parametrize("packed", [True, False])
def test_idx_folder_keeps_its_test_part_and_holds_a_sixth_back(home, packed):
    images, labels, test_images, test_labels = write_folder(home / "mine", packed=packed)
    data = load_data("mine")
    assert (len(data.train), len(data.validation), data.n_classes) == (50, 10, 3)
    np.testing.assert_array_equal(data.test.labels, test_labels)
    expected = test_images.reshape(20, 20).astype(np.float32) / np.float32(255)
    np.testing.assert_array_equal(data.test.inputs, expected)
    rows = {tuple(row): label for row, label in zip(images.reshape(60, 20), labels, strict=True)}
    for part in (data.train, data.validation):
        for row, label in zip(
            np.rint(part.inputs * 255).astype(np.uint8), part.labels, strict=True
        ):
            assert rows.pop(tuple(row)) == label
    assert not rows


def test_missing_files_are_named_with_the_places_to_put_them(home):
    with pytest.raises(InputError) as error:
        load_data("mnist")
    for word in (*FILES, str(home / "mnist"), str(data_folders()[1] / "mnist"), ENVIRONMENT):
        assert word in str(error.value)


def test_environment_goes_before_the_cache(home):
    write_folder(data_folders()[1] / "mine", classes=3)
    assert load_data("mine").n_classes == 3
    load_data.cache_clear()
    write_folder(home / "mine", classes=4)
    assert load_data("mine").n_classes == 4


def test_file_of_a_known_set_with_other_content_is_named_and_kept(home):
    write_folder(home / "mnist")
    before = {path: path.read_bytes() for path in (home / "mnist").iterdir()}
    with pytest.raises(InputError, match=r"train-images-idx3-ubyte\.gz is not the one it should"):
        load_data("mnist")
    assert {path: path.read_bytes() for path in (home / "mnist").iterdir()} == before


@pytest.mark.parametrize("end", [-1, 40, 9])
def test_truncated_archive_is_named(home, end):
    write_folder(home / "mine")
    path = home / "mine" / (FILES[0] + ".gz")
    path.write_bytes(path.read_bytes()[:end])
    with pytest.raises(InputError, match=rf"{path.name} cannot be read"):
        load_data("mine")


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "no IDX file"),
        (b"\x00\x00\x0d\x01" + bytes(12), "no IDX file"),
        (b"\x00\x00\x08\x03" + bytes(5), "cut short"),
        (idx_bytes(np.zeros((3, 2), np.uint8))[:-1], "holds 5 values; its header promises 6"),
        (idx_bytes(np.zeros((3, 2), np.uint8)) + b"x", "holds 7 values; its header promises 6"),
    ],
)
def test_what_is_no_idx_file_is_named(tmp_path, data, words):
    path = tmp_path / "images"
    path.write_bytes(data)
    with pytest.raises(InputError, match=words):
        read_idx(path)


def test_images_and_labels_of_other_numbers_are_refused(home):
    write_folder(home / "mine")
    labels = idx_bytes(np.zeros(7, np.uint8))
    (home / "mine" / (FILES[3] + ".gz")).write_bytes(gzip.compress(labels))
    with pytest.raises(InputError, match=r"'mine' has inputs of shape .20, 20. and 7 labels"):
        load_data("mine")


def test_test_label_beyond_those_of_training_is_refused(home):
    write_folder(home / "mine")
    labels = idx_bytes(np.full(20, 9, np.uint8))
    (home / "mine" / (FILES[3] + ".gz")).write_bytes(gzip.compress(labels))
    with pytest.raises(InputError, match="label of row 0 is 9; labels must lie between 0 and 2"):
        load_data("mine")


def test_digest_is_that_of_the_unpacked_bytes(tmp_path):
    path = tmp_path / "abc.gz"
    path.write_bytes(gzip.compress(b"abc"))
    known = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"  # FIPS 180-2
    assert read_file(path, known) == b"abc"
    path.write_bytes(gzip.compress(b"abd"))
    with pytest.raises(InputError, match=known):
        read_file(path, known)


def write_table(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize("delimiter", [",", "\t"])
def test_column_named_target_is_the_label_else_the_last(tmp_path, delimiter):
    ending = "csv" if delimiter == "," else "tsv"
    rows = [("a", "target", "b"), ("1", "10", "2"), ("3", "9", "4"), ("5", "10", "6")]
    text = "\n".join(delimiter.join(row) for row in rows)
    whole, n_classes = read_table(write_table(tmp_path / f"t.{ending}", text))
    assert (whole.inputs.tolist(), whole.labels.tolist()) == ([[1, 2], [3, 4], [5, 6]], [1, 0, 1])
    assert n_classes == 2
    whole, _ = read_table(write_table(tmp_path / f"u.{ending}", text.replace("target", "c")))
    assert (whole.inputs[:, 1].tolist(), whole.labels.tolist()) == ([10, 9, 10], [0, 1, 2])


def test_table_is_scaled_by_its_training_part(home):
    rng = np.random.default_rng(0)
    rows = [f"{a},{7.5},{'xy'[k % 2]}" for k, a in enumerate(rng.normal(50, 9, 100))]
    write_table(home / "own" / "t.csv", "a,b,kind\n" + "\n".join(rows))
    data = load_data("own/t.csv")
    assert [len(part) for part in (data.train, data.validation, data.test)] == [60, 20, 20]
    np.testing.assert_allclose(data.train.inputs.mean(axis=0), [0, 0], atol=1e-6)
    np.testing.assert_allclose(data.train.inputs.std(axis=0), [1, 0], atol=1e-6)


@pytest.mark.parametrize("name", ["digits.csv", "digits_own.csv", "digits/mine.csv"])
def test_a_users_table_named_as_the_digits_is_cut_as_any_other(home, name):
    rows = "\n".join(f"{k},{k % 2}" for k in range(500))
    write_table(home / name, "a,target\n" + rows)
    data = load_data(name)
    assert [len(part) for part in (data.train, data.validation, data.test)] == [300, 100, 100]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a,target\n1,0\nnan,1\n", "row 2, column 'a' is 'nan'"),
        ("a,target\n1,0\nblue,1\n", "row 2, column 'a' is 'blue'"),
        ("a,target\n1,0\n2\n", "row 2, column 'target' is missing"),
        ("a,target\n1,0\n2,0\n", "one class alone"),
        ("a,target\n1,0\n", "too small"),
        ("", "is empty"),
        ("a,target\n1,0\n2,\n", "row 2, column 'target' is missing"),
        ("a,target\n1,0\n2,1,3\n", "row 2 has 3 cells; the first line names 2"),
    ],
)
def test_bad_table_is_named_with_what_is_wrong(tmp_path, text, words):
    path = write_table(tmp_path / "t.csv", text)
    with pytest.raises(InputError, match=words) as error:
        read_table(path)
    assert str(path) in str(error.value)


def test_table_that_is_not_there_is_named_with_the_places_to_put_it(home):
    with pytest.raises(InputError, match="put it at") as error:
        load_data("own/none.csv")
    assert str(home / "own" / "none.csv") in str(error.value)


@pytest.mark.parametrize("n", [0, 1437, -3])
def test_validation_part_of_no_use_is_refused(n):
    with pytest.raises(InputError, match=f"n_validation is {n}; it must lie between 1 and 1436"):
        load_data("digits", n)


def test_known_files_have_the_official_content():
    try:
        data = load_data("mnist")
    except InputError as error:
        pytest.skip(str(error))
    counts = np.bincount(data.train.labels) + np.bincount(data.validation.labels)
    assert counts.tolist() == [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
    assert [len(data.train), len(data.validation), len(data.test)] == [50_000, 10_000, 10_000]
