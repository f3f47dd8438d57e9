"""Tasks of the user's own: a function in a module or a file beside the problem file.

Importing one runs its code, so only ``run``, ``resume`` and ``evaluate`` do; what reads results
never does.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from evosearch.errors import InputError, RunError, did_you_mean
from evosearch.tasks.base import PythonTask


def is_user_kind(kind: str) -> bool:
    """Whether a kind names the user's code, as ``module:attribute`` or ``file.py:attribute``."""
    return ":" in kind


def load_user_task(kind: str, folder: Path, settings: Mapping[str, Any]) -> PythonTask:
    """Import a user's task; its folder is put on the path of this process.

    Args:
        kind: ``module:attribute`` or ``file.py:attribute``, resolved beside the problem file.
        folder: folder of the problem file.
        settings: keyword arguments for every call.

    Raises:
        InputError: there is no such file, module or attribute, or it cannot be called.
        RunError: the module fails when imported.
    """
    source, _, attribute = kind.partition(":")
    if not source or not attribute:
        raise InputError(f"task.kind is {kind!r}; write module:attribute or file.py:attribute.")
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))
    module = _import(source, folder, kind)
    function: Any = module
    for part in attribute.split("."):
        if not hasattr(function, part):
            hint = did_you_mean(attribute, dir(module))
            raise InputError(f"task.kind is {kind!r}, but {source} has no {attribute!r}.{hint}")
        function = getattr(function, part)
    if not callable(function):
        raise InputError(f"task.kind is {kind!r}, but {attribute} cannot be called.")
    return PythonTask(function, settings)


def source_hash(kind: str, folder: Path) -> str:
    """Return the SHA-256 of the file that holds a user's task, without importing it."""
    path = _source_file(kind.partition(":")[0], folder)
    return hashlib.sha256(path.read_bytes()).hexdigest() if path is not None else ""


def _source_file(source: str, folder: Path) -> Path | None:
    if source.endswith(".py"):
        path = folder / source
        return path if path.is_file() else None
    path = folder.joinpath(*source.split("."))
    for candidate in (path.with_suffix(".py"), path / "__init__.py"):
        if candidate.is_file():
            return candidate
    try:
        spec = importlib.util.find_spec(source)
    except (ImportError, ValueError):
        return None
    return Path(spec.origin) if spec is not None and spec.origin else None


def _import(source: str, folder: Path, kind: str) -> Any:
    try:
        if not source.endswith(".py"):
            return importlib.import_module(source)
        return _import_file(folder / source)
    except FileNotFoundError:
        raise InputError(
            f"task.kind is {kind!r}, but there is no file {folder / source}."
        ) from None
    except ModuleNotFoundError as error:
        if error.name == source:
            raise InputError(f"task.kind is {kind!r}, but there is no module {source!r}.") from None
        raise RunError(f"{source} cannot be imported: {error}.") from error
    except Exception as error:
        kind_of_error = type(error).__name__
        raise RunError(f"{source} cannot be imported: {kind_of_error}: {error}.") from error


def _import_file(path: Path) -> Any:
    """Import a file, once as long as it stays the same: it may change while a notebook runs."""
    if not path.is_file():
        raise FileNotFoundError(path)
    identity = str(path.resolve()).encode() + path.read_bytes()
    name = "evosearch_user_" + hashlib.sha256(identity).hexdigest()[:12]
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module
