"""Where the files of data sets lie, and whether they are what they should be."""

from __future__ import annotations

import gzip
import hashlib
import os
import zlib
from pathlib import Path

from evosearch.errors import InputError

ENVIRONMENT = "EVOSEARCH_DATA"


def data_folders() -> list[Path]:
    """Return the folders to look in: the one named by ``EVOSEARCH_DATA``, then the user's cache."""
    named = os.environ.get(ENVIRONMENT)
    cache = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    folders = [Path(named).expanduser()] if named else []
    return [*folders, Path(cache) / "evosearch" / "data"]


def find_folder(name: str, files: tuple[str, ...]) -> Path:
    """Return the first folder ``name`` that holds all ``files``, packed (``.gz``) or not.

    Raises:
        InputError: no folder does; the message says which files to put where.
    """
    homes = [Path(name)] if Path(name).is_absolute() else [home / name for home in data_folders()]
    for folder in homes:
        if all(packed_or_plain(folder / file) is not None for file in files):
            return folder
    raise InputError(
        f"data {name!r} is not on this machine: put the files {', '.join(files)} (packed with a "
        f".gz at the end, or unpacked) into {' or '.join(str(home) for home in homes)}; "
        f"the variable {ENVIRONMENT} may name another folder of data sets. Nothing is downloaded."
    )


def packed_or_plain(path: Path) -> Path | None:
    """Return the file, or it with ``.gz`` at its end, whichever exists."""
    packed = path.with_name(path.name + ".gz")
    return next((found for found in (packed, path) if found.is_file()), None)


def read_file(path: Path, digest: str | None = None) -> bytes:
    """Return what a file holds, unpacked where its name ends in ``.gz``.

    Args:
        path: an existing file.
        digest: SHA-256 of the unpacked bytes; None where any will do.

    Raises:
        InputError: the file cannot be read, is cut short, or is another than it should be.
    """
    try:
        data = path.read_bytes()
        if path.suffix == ".gz":
            data = gzip.decompress(data)
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(
            f"data file {path} cannot be read ({error}); put a complete copy in its place."
        ) from None
    found = hashlib.sha256(data).hexdigest()
    if digest not in (None, found):
        raise InputError(
            f"data file {path} is not the one it should be: the SHA-256 of its content is "
            f"{found}, not {digest}; put the official file in its place."
        )
    return data


def stamp_of(path: str) -> tuple[int, int] | None:
    """Return what differs where a file was changed: time of change and size; None without one."""
    try:
        found = Path(path).stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size
