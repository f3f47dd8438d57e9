"""The functions behind the command line, for scripts and notebooks.

Each takes names or paths, returns a value that prints and renders itself, and imports only what
it needs.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evosearch.errors import InputError, nearest
from evosearch.tables import Table

if TYPE_CHECKING:
    from evosearch.fitted import Fit
    from evosearch.problem import Problem
    from evosearch.run import Run
    from evosearch.scoring import Score

RUN_FILE = "run.sqlite"
EXIT_OF_STOP = {"interrupt": 130, "terminate": 143}


class RunStoppedError(KeyboardInterrupt):
    """A signal ended a series of runs; all that is done is saved."""

    def __init__(self, message: str, exit_status: int) -> None:
        super().__init__(message)
        self.exit_status = exit_status


def runs_folder(out: str | Path | None = None) -> Path:
    """Return where runs lie: ``out``, else ``EVOSEARCH_RUNS``, else ``./runs``."""
    return Path(out) if out is not None else Path(os.environ.get("EVOSEARCH_RUNS") or "runs")


def load_problem(
    problem: str | Path | Problem,
    *,
    preset: str | None = None,
    overrides: Mapping[str, str] | None = None,
) -> Problem:
    """Load a shipped problem by name or any problem by path; a loaded one is returned as it is.

    Args:
        problem: name, path of a TOML file, or a problem.
        preset: preset of the file to apply first.
        overrides: changed keys by dotted path, e.g. ``{"rule.eta": "0.01"}``.

    Raises:
        InputError: there is no such problem, or a key or value is wrong.
    """
    from evosearch.problem import Problem, load_problem

    if isinstance(problem, Problem):
        if preset or overrides:
            raise InputError("a loaded problem takes no preset or settings; load it with them.")
        return problem
    return load_problem(str(problem), preset=preset, overrides=dict(overrides or {}))


def run(
    problem: str | Path | Problem,
    *,
    search: str | None = None,
    seed: int = 0,
    budget: int | None = None,
    time_s: float | None = None,
    workers: int | None = None,
    backend: str = "auto",
    device: str = "cpu",
    preset: str | None = None,
    settings: Mapping[str, str] | None = None,
    init: Sequence[str] = (),
    target: float | None = None,
    patience: int | None = None,
    cache: bool = False,
    out: str | Path | None = None,
    callbacks: Sequence[Callable[..., Any]] = (),
    on_progress: Callable[..., Any] | None = None,
) -> Run:
    """Search a problem and return the finished run.

    Args:
        problem: shipped name, path of a TOML file, or a loaded problem.
        search: name of a search; None takes the problem's default.
        seed: seed of the search and of the search draws.
        budget: candidate evaluations; None takes the problem's for this search.
        time_s: wall-clock limit in seconds.
        workers: threads or processes; None takes all cores. The result does not depend on it.
        backend: ``auto``, ``sequential``, ``threads`` or ``processes``.
        device: ``cpu`` or a torch device.
        preset: preset of the problem file.
        settings: changed keys of the problem by dotted path.
        init: rules, names of known rules or runs to start from; recorded in the run.
        target: stop when the validation fitness reaches this.
        patience: stop after so many generations without gain on validation.
        cache: whether to read scores that other runs have shared in the folder of runs, and to
            share its own; the result is the same, lifetimes that need not be lived are not counted.
        out: folder of runs; None takes ``EVOSEARCH_RUNS``, else ``./runs``.
        callbacks: called with (run, generation) after each; their errors are reported only.
        on_progress: called with the progress after each generation.

    Returns:
        The run: ``run.champion.text``, ``run.history()``, ``run.path`` and more.

    Raises:
        InputError: something supplied is wrong, or the same run exists already.
    """
    from evosearch.execution import execute
    from evosearch.loop import check_limits

    check_limits(time_s, target)
    if patience is not None and patience < 1:
        raise InputError(f"patience is {patience}; it must be at least 1.")
    loaded = load_problem(problem, preset=preset, overrides=settings)
    return execute(
        loaded,
        search,
        seed=seed,
        budget=budget,
        time_s=time_s,
        workers=workers,
        backend=backend,
        device=device,
        init=[_start(loaded, item, out) for item in ([init] if isinstance(init, str) else init)],
        target=target,
        patience=patience,
        cache=_cache_folder(runs_folder(out), cache),
        out=runs_folder(out),
        callbacks=callbacks,
        on_progress=on_progress,
    )


def _cache_folder(runs: Path, is_used: bool) -> Path | None:
    """Return where runs share scores, None where they do not."""
    from evosearch.evaluation.shared import FOLDER

    return runs / FOLDER if is_used else None


def _start(problem: Problem, item: str, out: str | Path | None) -> str:
    """Return the text of a rule to start from, given as text, by name or by a run."""
    folder = find_run(item, out=out)
    if folder is None:
        return problem.write(problem.resolve(item))
    champion = load_run(folder).champion
    if champion is None:
        raise InputError(f"the run {folder} has no champion; resume it if it has not ended.")
    return champion.text


def resume(
    run: str | Path,
    *,
    budget: int | None = None,
    time_s: float | None = None,
    workers: int | None = None,
    backend: str = "auto",
    device: str = "cpu",
    accept_code: bool = False,
    cache: bool = False,
    out: str | Path | None = None,
    callbacks: Sequence[Callable[..., Any]] = (),
    on_progress: Callable[..., Any] | None = None,
) -> Run:
    """Continue a stopped run, or extend a finished one by a greater budget.

    Args:
        run: folder of the run, or its name in the folder of runs.
        budget: new total of candidate evaluations.
        time_s: wall-clock limit of this continuation.
        workers: threads or processes; None takes all cores.
        backend: ``auto``, ``sequential``, ``threads`` or ``processes``.
        device: ``cpu`` or a torch device.
        accept_code: go on although the source of the user's task has changed.
        cache: whether to read scores that other runs have shared, and to share its own.
        out: folder of runs, where ``run`` is a name.
        callbacks: called with (run, generation) after each.
        on_progress: called with the progress after each generation.

    Raises:
        InputError: there is no such run, or it cannot be continued.
    """
    folder = existing_run(run, out=out)
    from evosearch.execution import resume as continue_run

    return continue_run(
        folder,
        budget=budget,
        time_s=time_s,
        workers=workers,
        backend=backend,
        device=device,
        accept_code=accept_code,
        cache=_cache_folder(folder.parents[1], cache),
        callbacks=callbacks,
        on_progress=on_progress,
    )


def find_run(run: str | Path, *, out: str | Path | None = None) -> Path | None:
    """Return the folder of a run given as a path or by its name in the folder of runs."""
    text = str(run)
    if not text or "\0" in text or len(text) > 1000:
        return None
    root = runs_folder(out)
    candidates = [Path(text), root / text]
    if "/" not in text and "\\" not in text and text not in (".", ".."):
        candidates += sorted(root.glob(f"*/{_literal(text)}"))
    return next((path for path in candidates if _is_run(path)), None)


def _literal(text: str) -> str:
    import glob

    return glob.escape(text)


def _is_run(path: Path) -> bool:
    try:
        return (path / RUN_FILE).is_file()
    except OSError:
        return False


def existing_run(run: str | Path, *, out: str | Path | None = None) -> Path:
    """Return the folder of a run; raise InputError where there is none."""
    found = find_run(run, out=out)
    if found is not None:
        return found
    names = {path.parent.name: path.parent for path in runs_folder(out).glob(f"*/*/{RUN_FILE}")}
    close = nearest(Path(str(run)).name, names)
    hint = f" Did you mean {names[close]}?" if close else ""
    raise InputError(f"no run at {str(run)!r}.{hint} List them with: evosearch runs.")


def load_run(run: str | Path, *, out: str | Path | None = None) -> Run:
    """Read a run without changing it, finished or not.

    Raises:
        InputError: there is none.
        RunCorruptError: it is damaged; the message says what to do.
    """
    folder = existing_run(run, out=out)
    from evosearch.run import load_run

    return load_run(folder)


def evaluate(
    problem: str | Path | Problem,
    candidate: Any,
    *,
    split: str = "test",
    seeds: int | None = None,
    scale: float | None = None,
    workers: int | None = None,
    device: str = "cpu",
    preset: str | None = None,
    settings: Mapping[str, str] | None = None,
    out: str | Path | None = None,
) -> Score:
    """Score one candidate on one split beside the problem's floor and ceiling.

    Args:
        problem: shipped name, path of a TOML file, or a loaded problem.
        candidate: a rule or a vector, its text, the name of a known one, or a run, whose champion
            is meant.
        split: ``search``, ``validation`` or ``test``.
        seeds: number of draws; None takes the split's.
        scale: factor of the step size; None takes the run's, else the best on validation draws.
        workers: threads or processes.
        device: ``cpu`` or a torch device.
        preset: preset of the problem file.
        settings: changed keys of the problem by dotted path.
        out: folder of runs, where ``candidate`` is the name of one.

    Raises:
        InputError: something supplied is wrong.
    """
    from evosearch.scoring import score_candidate

    if scale is not None and not 0 < scale < math.inf:
        raise InputError(f"scale is {scale}; it must be a finite number above 0.")
    if seeds is not None and seeds < 1:
        raise InputError(f"seeds is {seeds}; it must be at least 1.")
    loaded = load_problem(problem, preset=preset, overrides=settings)
    if isinstance(candidate, str | Path):
        folder = find_run(candidate, out=out)
        candidate = load_run(folder) if folder is not None else loaded.resolve(str(candidate))
    if hasattr(candidate, "champion"):
        if candidate.champion is None:
            raise InputError(
                f"the run {candidate.path} has no champion; resume it if it has not ended."
            )
        scale = candidate.champion.scale if scale is None else scale
        candidate = candidate.candidate(loaded)
    return score_candidate(
        loaded, candidate, split=split, seeds=seeds, scale=scale, workers=workers, device=device
    )


def fit(
    task: str,
    *,
    learners: Sequence[str],
    seeds: int = 5,
    seed: int = 0,
    workers: int | None = None,
    on_rows: Callable[[Fit, str], None] | None = None,
) -> Fit:
    """Let learners live side by side on one task, tuned alike, and report test accuracies.

    Args:
        task: a task of kind learners (``list_tasks``), such as ``digits6``.
        learners: names (``list_learners``); the word ``all`` alone stands for all that can train
            the task's network.
        seeds: lifetimes of each that are reported.
        seed: from which all randomness follows.
        workers: learners at a time, each in a thread; None for one a core.
        on_rows: called with what is known so far and a sentence whenever there is news.

    Raises:
        InputError: a name is unknown, or a number out of range.
    """
    from evosearch.fitting import fit as fit_learners

    return fit_learners(
        task, learners=learners, seeds=seeds, seed=seed, workers=workers, on_rows=on_rows
    )


def report(source: Any, out: str | Path | None = None) -> Path:
    """Write one HTML file about a run, a comparison or a fit; it needs no network.

    Args:
        source: a run, a comparison on one problem or several, the folder of either, or what
            ``fit`` returned.
        out: file to write; None takes ``report.html`` in the folder of the source, for a fit the
            task's name in this folder.

    Returns:
        The path of the file.
    """
    from evosearch.compare import load_comparison
    from evosearch.comparison import FILE_NAME, Comparison
    from evosearch.fitted import Fit
    from evosearch.report import (
        write_comparison_report,
        write_fit_report,
        write_run_report,
        write_suite_report,
    )
    from evosearch.suite import Suite

    if isinstance(source, Fit):
        return write_fit_report(source, Path(out or f"{source.task}.html"))
    if isinstance(source, str | Path):
        is_comparison = (Path(source) / FILE_NAME).is_file() or Path(source).name == FILE_NAME
        source = load_comparison(source) if is_comparison else load_run(source)
    target = Path(out) if out is not None else source.path / "report.html"
    if isinstance(source, Suite):
        return write_suite_report(source, target)
    if isinstance(source, Comparison):
        return write_comparison_report(source, target)
    return write_run_report(source, target)


def export(run: Any, to: str, *, out: str | Path | None = None) -> str | bytes:
    """Return a run's champion as source, its history as CSV, or its numbers as safetensors.

    Args:
        run: a run, or its folder.
        to: ``python torch latex sympy brian2 json csv`` or ``safetensors``.
        out: file to write as well.

    Raises:
        InputError: no such format.
    """
    from evosearch.report.export import export_run

    loaded = load_run(run) if isinstance(run, str | Path) else run
    content = export_run(loaded, to)
    if out is not None:
        data = content if isinstance(content, bytes) else content.encode()
        target = Path(out)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data)
    return content


def check_search(name: str) -> str:
    """Return the name of a search; raise InputError naming the nearest where there is none."""
    from evosearch.search.base import SEARCHES

    SEARCHES.get(name)
    return name


def finished_run(problem: Problem, *, search: str, seed: int, **options: Any) -> Run:
    """Return a finished run: read it, continue it or do it, whichever is needed.

    A run that ended before its budget, by a target say, goes on to it; one that ended by time does
    unless there is a limit of time here too.

    Raises:
        InputError: the run is there, but was extended beyond the budget.
        RunStoppedError: it was stopped by a signal, after saving.
    """
    from evosearch.execution import find_existing
    from evosearch.execution import resume as continue_run
    from evosearch.loop import BUDGET, DONE, TIME

    out, budget = runs_folder(options.pop("out", None)), options["budget"]
    device = options.get("device", "cpu")
    folder = find_existing(problem, search, seed=seed, budget=budget, device=device, out=out)
    if folder is None:
        result = run(problem, search=search, seed=seed, out=out, **options)
    else:
        result = load_run(folder)
        if budget is not None and result.budget != budget:
            raise InputError(
                f"the run {folder} was extended to {result.budget} evaluations, {budget} are asked "
                "for; move it away, or ask for another budget."
            )
        ends = (BUDGET, DONE) if options.get("time_s") is None else (BUDGET, DONE, TIME)
        if not result.is_finished or result.to_json()["stopped_by"] not in ends:
            folder_of_scores = _cache_folder(out, options.pop("cache", False))
            result = continue_run(folder, cache=folder_of_scores, **options)
    status = EXIT_OF_STOP.get(str(result.to_json()["stopped_by"]))
    if status is not None:
        raise RunStoppedError("stopped and saved; the same command goes on from here.", status)
    return result


def list_problems() -> Table:
    """List the shipped problems, without importing their tasks."""
    from evosearch.problem import list_problems

    rows = tuple((info.name, info.title, tuple(info.searches)) for info in list_problems())
    return Table("problems", ("name", "title", "searches"), rows)


def list_searches() -> Table:
    """List the registered searches and the spaces that they search."""
    from evosearch.search.base import SEARCHES

    rows = []
    for name in SEARCHES.names():
        cls = SEARCHES.get(name)
        rows.append((name, tuple(cls.space_kinds), _first_line(cls)))
    return Table("searches", ("name", "spaces", "what it does"), tuple(rows))


def list_rules() -> Table:
    """List the rules that science knows."""
    from evosearch.rules.library import KNOWN

    rows = tuple((name, rule.text, rule.authors, rule.year) for name, rule in KNOWN.items())
    return Table("known rules", ("name", "text", "authors", "year"), rows)


def list_tasks() -> Table:
    """List the built-in tasks: of rules, of vectors, and those on which learners are compared."""
    from evosearch.beds import BEDS
    from evosearch.tasks.base import TASKS

    rows = []
    for name in TASKS.names():
        cls = TASKS.get(name)
        terminals = tuple(terminal.name for terminal in getattr(cls, "terminals", ()))
        genes = tuple(gene.name for gene in getattr(cls, "genes", ()))
        rows.append((name, terminals or ("vectors",), genes, _first_line(cls)))
    rows += [(bed.name, ("learners",), (), bed.title) for bed in BEDS.values()]
    return Table("tasks", ("name", "terminals", "genes", "what it is"), tuple(rows))


def list_learners() -> Table:
    """List the learners: circuits with a rule in their slot, and those with their own kernel."""
    from evosearch.learners.catalogue import learner_names, make_learner

    rows = tuple(
        (one.name, " ".join(one.networks), one.locks or "none", one.transports_weights, one.title)
        for one in map(make_learner, learner_names())
    )
    columns = ("name", "networks", "locks", "weight transport", "what it is")
    return Table("learners", columns, rows)


def list_runs(problem: str | None = None, *, out: str | Path | None = None) -> Table:
    """List runs, newest first.

    Args:
        problem: only those of this problem.
        out: folder of runs.
    """
    from evosearch.run import load_run

    folders = [path.parent for path in runs_folder(out).glob(f"*/*/{RUN_FILE}")]
    folders = [folder for folder in folders if problem in (None, folder.parent.name)]
    folders.sort(key=lambda folder: (folder / RUN_FILE).stat().st_mtime, reverse=True)
    rows = []
    for folder in folders:
        try:
            run = load_run(folder)
            facts, champion = run.to_json(), run.champion
        except InputError as error:
            rows.append((str(folder), folder.parent.name, "", None, None, None, None, str(error)))
            continue
        rows.append(
            (
                str(folder),
                facts["problem"],
                facts["search"],
                facts["seed"],
                facts["evaluations"],
                champion.fitness.get("test") if champion else None,
                facts["success"],
                facts["stopped_by"] or "unfinished",
            )
        )
    columns = ("run", "problem", "search", "seed", "evaluations", "test", "success", "stopped by")
    return Table("runs, newest first", columns, tuple(rows))


def _first_line(cls: type) -> str:
    return (cls.__doc__ or "").strip().partition("\n")[0].replace("``", "")
