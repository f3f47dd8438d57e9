"""Data sets by name: those known here, and any folder or table of the user's."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import numpy as np

from evosearch.data.base import DataSet, Examples, check_examples, examples, shuffled_parts
from evosearch.data.files import data_folders, find_folder
from evosearch.data.idx import FILES, read_idx_folder
from evosearch.data.tables import ENDINGS, read_table
from evosearch.errors import InputError

# SHA-256 of the unpacked files, in the order of idx.FILES.
DIGESTS: dict[str, tuple[str, ...]] = {
    "mnist": (
        "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
        "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
        "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
        "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
    ),
    "fashion_mnist": (
        "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
        "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
        "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
        "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
    ),
}
# Inputs and classes, known before a file is read.
SIZES = {
    "digits": (64, 10),
    "digits_odd": (64, 2),
    "mnist": (784, 10),
    "mnist8k": (784, 10),
    "fashion_mnist": (784, 10),
    "fashion8k": (784, 10),
    "parity": (6, 2),
}
_VALIDATION = 10_000
_DIGITS, _DIGITS_TEST = ("digits", "digits_odd"), 360
_SMALL = {"mnist8k": "mnist", "fashion8k": "fashion_mnist"}
_SMALL_SEED, _SMALL_TEST, _SMALL_VALIDATION = 1234, 2_000, 1_000
_PARITY_INPUTS = 6


@lru_cache(maxsize=4)
def load_data(name: str, n_validation: int | None = None) -> DataSet:
    """Load a data set in its fixed parts.

    Of ``digits``, which comes with scikit-learn, 360 of the 1,797 images are the test part and 360
    the validation part; ``digits_odd`` has the same images and asks whether a digit is odd.
    ``mnist8k`` and ``fashion8k`` are the official test files in an order of their own: the last
    2,000 test, 1,000 of the others validate. ``parity`` is the whole table of six signs in every
    part. Folders of IDX files keep their official test part; 10,000 of their
    training examples, or a sixth where there are fewer than 60,000, are the validation part. A
    table is cut at random, three fifths to train and one fifth each for the others, and its
    columns are scaled to mean 0 and standard deviation 1 on the training part. Where the cut falls
    follows from the number of examples alone.

    Args:
        name: ``digits``, ``digits_odd``, ``mnist``, ``mnist8k``, ``fashion_mnist``,
            ``fashion8k``, ``parity``, a folder of IDX files named as MNIST's, or
            a table that ends in ``.csv`` or ``.tsv``, packed or not. A path that is not absolute
            is looked for where the data sets are.
        n_validation: examples of the training part that validate; None for the default.

    Raises:
        InputError: a file is missing, damaged or another than it should be, or holds what is no
            data: the message names it.
    """
    if name in _DIGITS:
        whole, n_classes = _digits(), SIZES[name][1]
        whole = examples(whole.inputs, whole.labels % n_classes)
        data = _cut(name, whole, n_classes, 360 if n_validation is None else n_validation)
    elif name in _SMALL:
        data = _small(name, n_validation)
    elif name == "parity":
        data = _parity()
    elif name.endswith(ENDINGS):
        table, n_classes = read_table(_find_table(name))
        share = len(table) // 5
        data = _standardised(
            _cut(name, table, n_classes, share if n_validation is None else n_validation)
        )
    else:
        data = _idx(name, n_validation)
    for part in (data.train, data.validation, data.test):
        check_examples(name, part, data.n_classes)
    return data


def data_size(name: str) -> tuple[int, int]:
    """Return inputs and classes of a data set; only of one of the user's is a file read.

    Args:
        name: as of ``load_data``.

    Raises:
        InputError: a file of the user's is missing or wrong.
    """
    if name in SIZES:
        return SIZES[name]
    data = load_data(name)
    return data.n_inputs, data.n_classes


def _digits() -> Examples:
    from sklearn.datasets import load_digits

    inputs, labels = load_digits(return_X_y=True)
    return examples(np.asarray(inputs) / 16.0, np.asarray(labels))


def _parity() -> DataSet:
    signs = 2.0 * (np.arange(2**_PARITY_INPUTS)[:, None] >> np.arange(_PARITY_INPUTS) & 1) - 1.0
    whole = examples(signs, (signs.prod(axis=1) > 0).astype(np.int64))
    return DataSet("parity", 2, whole, whole, whole)


def _small(name: str, n_validation: int | None) -> DataSet:
    """Cut the official test file, so that a few seconds train a network of the usual size."""
    folder = _SMALL[name]
    _, whole = read_idx_folder(find_folder(folder, FILES), DIGESTS[folder])
    order = np.random.RandomState(_SMALL_SEED).permutation(len(whole))
    rest, test = order[:-_SMALL_TEST], order[-_SMALL_TEST:]
    n_held = _checked_size(name, n_validation, _SMALL_VALIDATION, len(rest))
    kept, held = rest[:-n_held], rest[-n_held:]
    return DataSet(name, 10, whole.rows(kept), whole.rows(held), whole.rows(test))


def _idx(name: str, n_validation: int | None) -> DataSet:
    train, test = read_idx_folder(find_folder(name, FILES), DIGESTS.get(name))
    default = min(_VALIDATION, len(train) // 6)
    n_held = _checked_size(name, n_validation, default, len(train))
    n_classes = 10 if name in DIGESTS else int(train.labels.max(initial=0)) + 1
    kept, held = shuffled_parts(len(train), (n_held,))
    return DataSet(name, n_classes, train.rows(kept), train.rows(held), test)


def _cut(name: str, whole: Examples, n_classes: int, n_validation: int) -> DataSet:
    """Cut the test part off, a fifth where none is stated, then ``n_validation`` off the rest."""
    n_test = _DIGITS_TEST if name in _DIGITS else max(1, len(whole) // 5)
    n_held = _checked_size(name, n_validation, 1, len(whole) - n_test)
    rest, test = shuffled_parts(len(whole), (n_test,))
    kept, held = shuffled_parts(len(rest), (n_held,))
    return DataSet(
        name, n_classes, whole.rows(rest[kept]), whole.rows(rest[held]), whole.rows(test)
    )


def _checked_size(name: str, n_validation: int | None, default: int, n_train: int) -> int:
    n_held = max(1, default) if n_validation is None else n_validation
    if not 1 <= n_held < n_train:
        raise InputError(
            f"data {name!r}: n_validation is {n_held}; it must lie between 1 and {n_train - 1}."
        )
    return n_held


def _standardised(data: DataSet) -> DataSet:
    wide = data.train.inputs.astype(np.float64)
    centre, spread = wide.mean(axis=0), wide.std(axis=0)
    spread[spread == 0.0] = 1.0

    def scaled(part: Examples) -> Examples:
        return examples((part.inputs - centre) / spread, part.labels)

    return DataSet(
        data.name, data.n_classes, scaled(data.train), scaled(data.validation), scaled(data.test)
    )


def _find_table(name: str) -> Path:
    places = [Path(name)] if Path(name).is_absolute() else [home / name for home in data_folders()]
    for place in places:
        if place.is_file():
            return place
    raise InputError(
        f"table {name!r} is not on this machine: put it at "
        f"{' or '.join(str(place) for place in places)}, or name an absolute path."
    )
