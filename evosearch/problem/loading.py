"""Problems by name or path: the shipped ones, and files of the user's."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evosearch.config import Config, build_config, read_toml
from evosearch.errors import InputError, unknown_name
from evosearch.problem.base import Problem


@dataclass(frozen=True)
class ProblemInfo:
    """What a list of problems shows."""

    name: str
    title: str
    searches: tuple[str, ...]
    path: Path


def problem_folders() -> list[Path]:
    """Return where shipped problems lie: package data, else the checkout."""
    here = Path(__file__).resolve().parents[1]
    return [path for path in (here / "_problems", here.parent / "problems") if path.is_dir()]


def list_problems() -> list[ProblemInfo]:
    """Return the shipped problems by name, from their files alone."""
    found: dict[str, ProblemInfo] = {}
    for folder in problem_folders():
        for path in sorted(folder.glob("*.toml")):
            values = read_toml(path)
            name = str(values.get("name", path.stem))
            searches = tuple(values.get("searches", {}))
            found.setdefault(name, ProblemInfo(name, str(values.get("title", "")), searches, path))
    return [found[name] for name in sorted(found)]


def make_problem(config: Config, *, source: str, folder: Path) -> Problem:
    """Build the problem of a checked file: of rules, or of vectors.

    Args:
        config: the checked problem file, presets applied.
        source: name of the file in messages.
        folder: where a user's own task is looked for.

    Raises:
        InputError: a name or value of the file is wrong for the task or for a search.
    """
    if config.vector is not None:
        from evosearch.problem.vectors import VectorProblem

        return VectorProblem(config, source=source, folder=folder)
    from evosearch.problem.rules import RuleProblem

    return RuleProblem(config, source=source, folder=folder)


def load_problem(
    problem: str | Path,
    *,
    preset: str | None = None,
    overrides: Mapping[str, Any] | None = None,
    folder: Path | None = None,
) -> Problem:
    """Load a problem by its shipped name or by the path of its file.

    Args:
        problem: name or path.
        preset: one of its presets.
        overrides: changed keys by dotted path.
        folder: where a user's own task lies; None for the folder of the file.

    Raises:
        InputError: there is no such problem, or something in it is wrong.
    """
    path = _problem_path(str(problem))
    source = path.name if _is_shipped(path) else str(path)
    values, home = read_toml(path), folder or path.resolve().parent
    base = Path.cwd() if "task.file" in (overrides or {}) else home
    changes = _with_budgets(values, overrides or {}, source, preset, home)
    config = _located(build_config(values, source=source, preset=preset, overrides=changes), base)
    loaded = make_problem(config, source=source, folder=home)
    # A mistake in a preset is named now, not when somebody first asks for the preset.
    for name in config.presets:
        other = _located(build_config(values, source=source, preset=name), home)
        make_problem(other, source=source, folder=home)
    return loaded


def _with_budgets(
    values: Mapping[str, Any],
    overrides: Mapping[str, Any],
    source: str,
    preset: str | None,
    home: Path,
) -> dict[str, Any]:
    """Return changed keys; a search that the file does not name gets what it has without them.

    That is the budget of the default search, and the representation that it searches.
    """
    found = values.get("searches")
    named = set(found) if isinstance(found, Mapping) else set[str]()
    paths = {key: key.split(".") for key in overrides}
    search_of = {k: path[1] for k, path in paths.items() if path[0] == "searches" and path[2:]}
    strangers = [name for name in dict.fromkeys(search_of.values()) if name and name not in named]
    if not strangers:
        return dict(overrides)
    own = {key: value for key, value in overrides.items() if search_of.get(key) not in strangers}
    config = build_config(values, source=source, preset=preset, overrides=own)
    plain = make_problem(config, source=source, folder=home)
    usual: dict[str, Any] = {}
    for name in strangers:
        if name not in config.searches:
            usual[f"searches.{name}.budget"] = plain.default_budget(name)
            usual[f"searches.{name}.representation"] = plain.representation(name)
    return usual | dict(overrides)


def _located(config: Config, base: Path) -> Config:
    """Return the problem with the whole path of a table that its file or ``--set`` names.

    A run keeps the path, so that it is resumed and reported from anywhere.
    """
    file = config.task.get("file")
    if config.task_kind != "regression" or not isinstance(file, str):
        return config
    return config.model_copy(update={"task": {**config.task, "file": str((base / file).resolve())}})


def _is_shipped(path: Path) -> bool:
    return path.resolve().parent in problem_folders()


def _problem_path(problem: str) -> Path:
    if "\0" in problem or len(problem) > 4000:
        raise InputError("the problem's name is no name and no path.")
    path = Path(problem)
    if problem.endswith(".toml") or "/" in problem or "\\" in problem:
        if path.is_dir() and (path / "problem.toml").is_file():
            return path / "problem.toml"
        if not path.is_file():
            raise InputError(f"there is no problem file {problem}.")
        return path
    for folder in problem_folders():
        candidate = folder / f"{problem}.toml"
        if problem and candidate.is_file():
            return candidate
    raise unknown_name("problem", problem, [info.name for info in list_problems()])
