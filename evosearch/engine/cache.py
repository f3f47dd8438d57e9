"""Where compiled code is kept: a folder of this user alone, named by what the code depends on."""

from __future__ import annotations

import hashlib
import logging
import os
import platform
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import llvmlite
import llvmlite.binding
import numba


def processor_features() -> str:
    """Return what the code generator may use: all that the processor has, at full width."""
    features = llvmlite.binding.get_host_cpu_features()
    # Some processors with 512-bit vectors are given halves of them by default.
    return features.flatten() + (",-prefer-256-bit" if features.get("avx512f") else "")


def engine_digest() -> str:
    """Hash the sources of compiled code, the compiler's versions and the processor.

    Numba looks at a function's own file alone, not at those of what it calls.
    """
    digest, package = hashlib.sha256(), Path(__file__).parents[1]
    parts = [package / name for name in ("engine", "control", "networks")]
    sources = [source for part in parts for source in part.rglob("*.py")]
    for source in sorted([*sources, *package.glob("*/*_kernels.py")]):
        digest.update(source.name.encode())
        digest.update(source.read_bytes())
    for fact in (
        numba.__version__,
        llvmlite.__version__,
        platform.python_version(),
        llvmlite.binding.get_host_cpu_name(),
        processor_features(),
    ):
        digest.update(fact.encode())
    return digest.hexdigest()[:16]


def compiled_code_folder() -> Path:
    """Return the folder for this engine on this machine, made private to the user."""
    root = os.environ.get("EVOSEARCH_CACHE") or os.path.join(
        os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"), "evosearch"
    )
    folder = Path(root) / f"engine-{engine_digest()}"
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    os.chmod(folder, 0o700)
    return folder


logger = logging.getLogger(__name__)

FOLDER = compiled_code_folder()
numba.config.CACHE_DIR = str(FOLDER)  # type: ignore[attr-defined]
numba.config.CPU_NAME = llvmlite.binding.get_host_cpu_name()  # type: ignore[attr-defined]
numba.config.CPU_FEATURES = processor_features()  # type: ignore[attr-defined]


@contextmanager
def announced(what: str, *, seconds: int = 20) -> Generator[None]:
    """Say that code is being compiled where this is the first call of its kind on this machine.

    Args:
        what: the type of numbers, for which the engine is compiled apart, or the part of it.
        seconds: about how long it takes.
    """
    marker = FOLDER / f"{what}.compiled"
    is_first = not marker.exists()
    if is_first:
        logger.info("compiling the engine for %s: once on this machine, about %d s", what, seconds)
    yield
    if is_first:
        marker.touch()


# numba's stub does not list _nrt
compiled = numba.njit(  # pyright: ignore[reportCallIssue]
    cache=True, nogil=True, error_model="numpy", _nrt=False
)
"""Decorator of the engine's functions: no global lock, IEEE division, no reference counting.

Counting references of the arrays that helpers receive costs more than their work."""
compiled_with_allocation = numba.njit(cache=True, nogil=True, error_model="numpy")
"""The same for functions that make or slice arrays."""
