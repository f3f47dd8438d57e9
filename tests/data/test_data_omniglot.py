"""Drawings of characters: where they are, and how they become small."""

import zipfile

import numpy as np
import pytest

from evosearch.data import omniglot
from evosearch.errors import InputError


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Return a folder of data sets that is the first to be looked in."""
    monkeypatch.setenv("EVOSEARCH_DATA", str(tmp_path))
    omniglot.load_characters.cache_clear()
    yield tmp_path / "omniglot"
    omniglot.load_characters.cache_clear()


def test_drawings_are_averaged_over_equal_areas():
    whole = np.random.default_rng(0).random((105, 105))
    areas = omniglot._areas(105)
    np.testing.assert_allclose(areas.sum(axis=1), 1)
    np.testing.assert_allclose(areas.sum(axis=0), 28 / 105)
    small = areas @ whole @ areas.T
    fine = np.repeat(np.repeat(whole, 4, axis=0), 4, axis=1).reshape(28, 15, 28, 15)
    np.testing.assert_allclose(small, fine.mean(axis=(1, 3)))


def test_an_archive_that_is_missing_or_damaged_is_named(folder):
    with pytest.raises(InputError, match=r"images_background_small1\.zip"):
        omniglot.load_characters("small1")
    folder.mkdir()
    (folder / "images_background_small1.zip").write_bytes(b"no archive")
    with pytest.raises(InputError, match="is no archive of drawings"):
        omniglot.load_characters("small1")


def test_a_drawing_that_is_no_picture_is_refused(folder):
    folder.mkdir()
    with zipfile.ZipFile(folder / "images_background_small2.zip", "w") as archive:
        archive.writestr("small/Greek/character01/0001_01.png", b"no picture")
    with pytest.raises(InputError, match="is no archive of drawings"):
        omniglot.load_characters("small2")


def test_the_small_sets_are_as_published():
    try:
        sets = {name: omniglot.load_characters(name) for name in ("small1", "small2")}
    except InputError as error:
        pytest.skip(str(error))
    counts = {name: sum(len(one) for one in found.values()) for name, found in sets.items()}
    assert counts == {"small1": 136, "small2": 156}
    assert {"Greek", "Latin"} == set(sets["small1"]) & set(sets["small2"])
    for drawings in sets["small1"].values():
        assert drawings.shape[1:] == (20, 784)
        assert 0.02 < drawings.mean() < 0.2
        assert drawings.min() >= 0
        assert drawings.max() <= 1
