"""Handwritten characters, twenty drawings of each: the small sets of Omniglot."""

from __future__ import annotations

import io
import zipfile
import zlib
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from evosearch.data.files import find_folder
from evosearch.errors import InputError

SETS = {"small1": "images_background_small1.zip", "small2": "images_background_small2.zip"}
SIDE = 28
DRAWINGS = 20


@lru_cache(maxsize=2)
def load_characters(name: str) -> dict[str, NDArray[np.float32]]:
    """Load a set of characters, each drawing 28 x 28 with ink near 1 and paper 0.

    Args:
        name: ``small1``, 136 characters of five alphabets, or ``small2``, 156 of five; Greek and
            Latin are in both.

    Returns:
        For each alphabet (characters, 20 drawings, 784) float32, read-only; a drawing of 105 x 105
        is averaged over equal areas.

    Raises:
        InputError: the file is missing, damaged or holds something else.

    Source: B. Lake, R. Salakhutdinov, J. Tenenbaum, "Human-level concept learning through
    probabilistic program induction", Science 350, 2015.
    """
    path = find_folder("omniglot", (SETS[name],)) / SETS[name]
    alphabets: dict[str, list[NDArray[np.float64]]] = {}
    try:
        with zipfile.ZipFile(path) as archive:
            for entry in sorted(archive.namelist()):
                if entry.endswith(".png"):
                    alphabets.setdefault(entry.split("/")[1], []).append(
                        _drawing(archive.read(entry))
                    )
        found = {alphabet: _characters(drawings) for alphabet, drawings in alphabets.items()}
    except (zipfile.BadZipFile, zlib.error, OSError, SyntaxError, ValueError, IndexError) as error:
        raise InputError(f"{path} is no archive of drawings: {error}.") from None
    return found


def _characters(drawings: list[NDArray[np.float64]]) -> NDArray[np.float32]:
    whole = np.array(drawings, np.float32).reshape(-1, DRAWINGS, SIDE * SIDE)
    whole.flags.writeable = False
    return whole


def _drawing(data: bytes) -> NDArray[np.float64]:
    from matplotlib.image import imread

    ink = 1.0 - np.asarray(imread(io.BytesIO(data), format="png"), np.float64)
    if ink.ndim != 2:
        raise ValueError(f"a drawing of shape {ink.shape}")
    rows, columns = (_areas(n) for n in ink.shape)
    return (rows @ ink @ columns.T).ravel()


@lru_cache(maxsize=2)
def _areas(n: int) -> NDArray[np.float64]:
    """Return the matrix (28, n) that averages n pixels over 28 equal stretches."""
    edges = np.arange(SIDE + 1) * n / SIDE
    pixels = np.arange(n)
    low = np.maximum(edges[:-1, None], pixels)
    high = np.minimum(edges[1:, None], pixels + 1)
    return np.maximum(high - low, 0.0) * SIDE / n
