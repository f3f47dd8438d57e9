"""Whether a run's folder says what the run is, and whether it would go on as it began."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evosearch.engine.contract import NUMERICS
from evosearch.errors import InputError, RunCorruptError

if TYPE_CHECKING:
    from evosearch.problem import Problem

_FACTS = {"problem": str, "search": str, "seed": int, "budget": int, "device": str, "init": list}
_FACTS |= {"source_hash": str, "task_folder": str, "numerics": object}


def check_facts(path: Path, facts: Mapping[str, Any]) -> None:
    """Check that the store says what the run is."""
    for name, kind in _FACTS.items():
        if facts.get(name) is None or not isinstance(facts[name], kind):
            raise RunCorruptError(
                f"{path} does not say its {name}; restore it from a copy, or run again."
            )


def problem_of(path: Path, text: str, facts: Mapping[str, Any]) -> Problem:
    """Build the problem of a run from the text of its file."""
    import tomllib

    from evosearch.config import build_config
    from evosearch.problem import make_problem

    source = str(path / "problem.toml")
    try:
        values = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise RunCorruptError(f"{source} is damaged ({error}); restore it from a copy.") from None
    folder = Path(facts.get("task_folder") or path)
    return make_problem(build_config(values, source=source), source=source, folder=folder)


def check_same(
    path: Path, facts: Mapping[str, Any], problem: Problem, device: str, *, accept_code: bool
) -> None:
    """Check that the run would go on as it began."""
    if facts["numerics"] != NUMERICS:
        raise InputError(
            f"the run {path} was made with numerics {facts['numerics']}, this version computes "
            f"with {NUMERICS}; run it again, or resume it with the version that made it."
        )
    if device not in ("cpu", facts["device"]):
        raise InputError(
            f"the run {path} was made on device {facts['device']!r}, not {device!r}; its numbers "
            "would differ in the last digits. Leave out --device."
        )
    known = facts.get("data_hash")  # runs of earlier versions do not say
    if known is not None and problem.data_hash() != known:
        raise InputError(
            f"{problem.config.task['file']} has changed since the run {path} began; put the old "
            "file back, or run again."
        )
    if problem.source_hash() != facts["source_hash"] and not accept_code:
        raise InputError(
            f"the source of the task {problem.config.task_kind} has changed since the run {path} "
            "began; give --accept-code to go on all the same."
        )
