"""Checks of an installation, and of a run's record against its own digests."""

from __future__ import annotations

import importlib.util
import os
import platform
import sqlite3
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from evosearch.outcome import Json

REQUIRED = ("numpy", "numba", "deap", "cma", "scipy", "sympy", "joblib", "pydantic", "safetensors")
REQUIRED += ("typer", "rich", "matplotlib")


@dataclass(frozen=True)
class Finding:
    """The result of one check."""

    name: str
    is_ok: bool
    detail: str

    def to_json(self) -> dict[str, Json]:
        """Return the check as one mapping."""
        return {"name": self.name, "ok": self.is_ok, "detail": self.detail}


def check_installation() -> list[Finding]:
    """Check versions, folders, the database, a known rule's value and the compiled engine."""
    checks: tuple[tuple[str, Callable[[], str]], ...] = (
        ("python", _python),
        ("packages", _packages),
        ("torch", _torch),
        ("database", _database),
        ("temporary folder", _temporary),
        ("problems", _problems),
        ("engine", _engine),
    )
    return [_run_check(name, check) for name, check in checks]


def _run_check(name: str, check: Callable[[], str]) -> Finding:
    try:
        return Finding(name, True, check())
    except Exception as error:
        return Finding(name, False, f"{type(error).__name__}: {error}")


def _python() -> str:
    machine = f"{platform.system()} {platform.machine()}"
    return f"{platform.python_version()} on {machine}, {os.cpu_count()} cores"


def _packages() -> str:
    missing, found = [], []
    for name in REQUIRED:
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            missing.append(name)
    if missing:
        raise RuntimeError(f"missing: {', '.join(missing)}; install with: pip install evosearch")
    return ", ".join(found)


def _torch() -> str:
    if importlib.util.find_spec("torch") is None:
        return "not installed; only --device and the torch export need it"
    return f"torch {version('torch')}"


def _database() -> str:
    with tempfile.TemporaryDirectory() as folder:
        connection = sqlite3.connect(Path(folder) / "check.sqlite")
        try:
            (mode,) = connection.execute("PRAGMA journal_mode=WAL").fetchone()
        finally:
            connection.close()
    if mode != "wal":
        raise RuntimeError(f"SQLite {sqlite3.sqlite_version} refuses write-ahead logging here")
    return f"SQLite {sqlite3.sqlite_version} with write-ahead logging"


def _temporary() -> str:
    with tempfile.TemporaryFile() as file:
        file.write(b"evosearch")
    return f"{tempfile.gettempdir()} can be written"


def _problems() -> str:
    from evosearch import api

    names = api.list_problems().column("name")
    if not names:
        raise RuntimeError("no problem file is found; install the package again")
    return ", ".join(names)


def _engine() -> str:
    from evosearch import api

    score = api.evaluate("oja_pc1", "oja", preset="quick", seeds=2)
    return f"Oja's rule scores {score.mean:.4f} on two draws of oja_pc1"
