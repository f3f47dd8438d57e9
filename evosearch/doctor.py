"""Checks of an installation, and of a run's record against its own digests."""

from __future__ import annotations

import importlib.util
import math
import os
import platform
import sqlite3
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING

from evosearch.outcome import Json

if TYPE_CHECKING:
    from evosearch.run import Run

REQUIRED = ("numpy", "numba", "deap", "cma", "scipy", "sympy", "joblib", "pydantic", "safetensors")
REQUIRED += ("typer", "rich", "matplotlib")
N_REPLAYED = 5


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


def check_run(run: str) -> list[Finding]:
    """Check a run's record: the file itself, the chain of digests, and values scored again.

    Args:
        run: folder or name of a run. A user's own task is not imported; its values stay unscored.

    Raises:
        InputError: there is no such run.
    """
    from evosearch import api

    folder = api.existing_run(run)
    return [
        _run_check("file", lambda: _file_of_run(folder)),
        _run_check("digests", lambda: _chain_of_run(folder)),
        _run_check("values", lambda: _values_of_run(folder)),
    ]


def _file_of_run(folder: Path) -> str:
    from evosearch.store.folder import reading

    with reading(folder) as store:
        store.check()
        return f"{len(store.generations()):,} generations, {len(store.events()):,} events"


def _chain_of_run(folder: Path) -> str:
    """Compute the chained digest of every generation again from its candidates."""
    from evosearch.run import load_run
    from evosearch.store.folder import reading
    from evosearch.store.records import chain_digest

    digest, run = "", load_run(folder)
    if run.is_long:
        return _champion_of_run(run)
    with reading(folder) as store:
        for row in store.generations():
            digest = chain_digest(digest, store.candidates(row.generation))
            if digest != row.digest:
                raise RuntimeError(f"generation {row.generation} is not what was written")
    return f"all agree, the last is {digest[:16]}" if digest else "no generation yet"


def _champion_of_run(run: Run) -> str:
    """Check that the one vector that is kept is what the run says it is."""
    from evosearch.spaces.vector import VectorSpace

    assert run.champion is not None, "a run is long by its champion"
    if VectorSpace(run.vector.size).label(run.vector) != run.champion.text:
        raise RuntimeError("the champion's vector is not what was written")
    return f"the champion's vector is whole: {run.champion.text}"


def _values_of_run(folder: Path) -> str:
    """Score the first new candidates of the first and last generation again."""
    from evosearch.evaluation import Evaluator
    from evosearch.plan import plan_of_facts
    from evosearch.run import load_problem_of, load_run
    from evosearch.store.folder import reading

    problem = load_problem_of(load_run(folder))
    if not problem.is_compiled:
        return "not scored again: the task is the user's own"
    if load_run(folder).is_long:
        return "not scored again: candidates as long as these are not kept"
    with reading(folder) as store:
        plan, rows = plan_of_facts(problem, store.facts()), store.generations()
        numbers = sorted({row.generation for row in (rows[0], rows[-1])}) if rows else []
        # One that was known has the score of its first spelling, which differs in the last digits;
        # one with a message left a race.
        new = {
            n: [r for r in store.candidates(n) if r.is_ok and not r.is_cached and not r.message]
            for n in numbers
        }
        chosen = {n: rows[:N_REPLAYED] for n, rows in new.items()}
    search = plan.make_search()
    with Evaluator(problem, device=plan.device) as evaluator:
        for number, candidates in chosen.items():
            draws = problem.draws(
                "search", run_seed=plan.seed, generation=number, search=plan.search
            )
            for row in candidates:
                rule = search.space.decode(search.space.decode_text(row.genotype))
                found = evaluator.evaluate([rule], draws, scales=(row.scale,)).fitness[0]
                if not math.isclose(found, row.fitness, rel_tol=1e-9, abs_tol=1e-12):
                    raise RuntimeError(
                        f"{row.text} scored {row.fitness!r} in generation {number}, now {found!r}"
                    )
    total = sum(len(candidates) for candidates in chosen.values())
    return f"{total} candidates scored again, all as recorded"
