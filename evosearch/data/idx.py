"""Folders of images and labels in the IDX format, as MNIST and torchvision lay them out."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from evosearch.data.base import Examples, examples
from evosearch.data.files import packed_or_plain, read_file
from evosearch.errors import InputError

FILES = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)


def read_idx(path: Path, digest: str | None = None) -> NDArray[np.uint8]:
    """Read an array of bytes: magic number, sizes in big-endian order, then the values.

    Args:
        path: the file, packed if its name ends in ``.gz``.
        digest: SHA-256 of the unpacked file, or None.

    Raises:
        InputError: the file is cut short, too long or no IDX file of bytes.
    """
    data = read_file(path, digest)
    if len(data) < 4 or data[:3] != b"\x00\x00\x08":
        raise InputError(f"data file {path} is no IDX file of unsigned bytes.")
    n_axes = data[3]
    start = 4 + 4 * n_axes
    if len(data) < start:
        raise InputError(f"data file {path} is cut short: its header has {len(data)} bytes.")
    shape = struct.unpack(f">{n_axes}I", data[4:start])
    expected = int(np.prod(shape, dtype=np.int64))
    if len(data) - start != expected:
        raise InputError(
            f"data file {path} holds {len(data) - start} values; its header promises {expected}."
        )
    return np.frombuffer(data, dtype=np.uint8, offset=start).reshape(shape)


def read_idx_folder(
    folder: Path, digests: tuple[str, ...] | None = None
) -> tuple[Examples, Examples]:
    """Read the training and the test examples; pixels are divided by 255.

    Args:
        folder: holds the four files named in ``FILES``.
        digests: SHA-256 of each unpacked file, or None.
    """
    arrays: list[NDArray[np.uint8]] = []
    for k, name in enumerate(FILES):
        path = packed_or_plain(folder / name)
        assert path is not None, "find_folder has seen it"
        arrays.append(read_idx(path, None if digests is None else digests[k]))
    images, labels, test_images, test_labels = arrays
    return _part(images, labels), _part(test_images, test_labels)


def _part(images: NDArray[np.uint8], labels: NDArray[np.uint8]) -> Examples:
    rows = images.reshape(len(images), -1).astype(np.float32)
    rows /= np.float32(255.0)
    return examples(rows, labels.reshape(-1))
