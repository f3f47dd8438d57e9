"""The command ``evosearch``: parse, call, print; the work is done in ``evosearch.api``."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from evosearch.errors import EvosearchError, InputError, unknown_name

LIST_KINDS = ("problems", "searches", "learners", "rules", "tasks")

app = typer.Typer(
    name="evosearch",
    help="Evolve learning rules, and compare them with the rules that science knows.",
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)

ProblemArg = Annotated[str, typer.Argument(metavar="PROBLEM", help="Shipped name or TOML file.")]
RunArg = Annotated[str, typer.Argument(metavar="RUN", help="A run's folder, or its name in runs/.")]
SeedOpt = Annotated[int, typer.Option("--seed", help="Seed of the search and its draws.", min=0)]
SearchOpt = Annotated[str | None, typer.Option("--search", help="Default: the problem's.")]
BudgetOpt = Annotated[int | None, typer.Option("--budget", help="Candidate evaluations.", min=1)]
TimeOpt = Annotated[str | None, typer.Option("--time", help="Wall-clock limit, e.g. 90s or 10m.")]
WorkersOpt = Annotated[int | None, typer.Option("--workers", help="Default: all cores.", min=1)]
BackendOpt = Annotated[str, typer.Option("--backend", help="auto, sequential, threads, processes.")]
DeviceOpt = Annotated[str, typer.Option("--device", help="cpu, or a torch device such as cuda.")]
SetOpt = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Change one key of the problem; repeatable."),
]
PresetOpt = Annotated[
    str | None, typer.Option("--preset", help="A preset of the problem file: quick, paper, …")
]
OutOpt = Annotated[
    Path | None, typer.Option("--out", help="Folder of runs; default EVOSEARCH_RUNS, else ./runs.")
]
CacheOpt = Annotated[
    bool, typer.Option("--cache", help="Read scores of other runs, share own; same result.")
]
JsonOpt = Annotated[bool, typer.Option("--json", help="Print exactly one JSON object on stdout.")]


@app.callback(invoke_without_command=True)
def root(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> int:
    """Evolve learning rules, and compare them with the rules that science knows."""
    if version:
        from evosearch import __version__

        typer.echo(f"evosearch {__version__}")
    elif context.invoked_subcommand is None:
        typer.echo(context.get_help())
    return 0


@app.command("list")
def list_(
    kind: Annotated[str, typer.Argument(metavar=f"[{'|'.join(LIST_KINDS)}]")] = "problems",
    is_json: JsonOpt = False,
) -> int:
    """List what there is: problems, searches, learners, rules or tasks."""
    from evosearch import api, summary

    if kind not in LIST_KINDS:
        raise unknown_name("list", kind, LIST_KINDS)
    rows = getattr(api, f"list_{kind}")()
    if is_json:
        summary.print_json({kind: rows.to_json()})
    else:
        summary.print_table(rows)
    return 0


@app.command()
def run(
    problem: ProblemArg,
    search: SearchOpt = None,
    seed: SeedOpt = 0,
    budget: BudgetOpt = None,
    time: TimeOpt = None,
    workers: WorkersOpt = None,
    backend: BackendOpt = "auto",
    device: DeviceOpt = "cpu",
    preset: PresetOpt = None,
    settings: SetOpt = None,
    init: Annotated[
        list[str] | None, typer.Option("--init", metavar="RULE|RUN", help="Start from; recorded.")
    ] = None,
    target: Annotated[
        float | None, typer.Option("--target", help="Stop at this validation fitness.")
    ] = None,
    patience: Annotated[
        int | None, typer.Option("--patience", help="Stop after N generations without gain.", min=1)
    ] = None,
    cache: CacheOpt = False,
    out: OutOpt = None,
    is_json: JsonOpt = False,
) -> int:
    """Search a problem, and say what was found beside what is known."""
    from evosearch import api
    from evosearch.display import LiveDisplay

    with LiveDisplay(title=f"{Path(problem).stem} · seed {seed}") as display:
        finished = api.run(
            problem,
            search=search,
            seed=seed,
            budget=budget,
            time_s=seconds(time),
            workers=workers,
            backend=backend,
            device=device,
            preset=preset,
            settings=assignments(settings),
            init=tuple(init or ()),
            target=target,
            patience=patience,
            cache=cache,
            out=out,
            on_progress=display.update,
        )
    return _finish(finished, is_json=is_json)


@app.command()
def resume(
    run: RunArg,
    budget: BudgetOpt = None,
    time: TimeOpt = None,
    workers: WorkersOpt = None,
    backend: BackendOpt = "auto",
    device: DeviceOpt = "cpu",
    accept_code: Annotated[
        bool, typer.Option("--accept-code", help="Go on although the task's source changed.")
    ] = False,
    cache: CacheOpt = False,
    is_json: JsonOpt = False,
) -> int:
    """Continue a run that was stopped, or extend a finished one by --budget."""
    from evosearch import api
    from evosearch.display import LiveDisplay

    with LiveDisplay(title=f"resuming {Path(run).name}") as display:
        finished = api.resume(
            run,
            budget=budget,
            time_s=seconds(time),
            workers=workers,
            backend=backend,
            device=device,
            accept_code=accept_code,
            cache=cache,
            on_progress=display.update,
        )
    return _finish(finished, is_json=is_json)


def _finish(finished: Any, *, is_json: bool) -> int:
    """Write the report into the run folder, print the result, return the exit status."""
    from evosearch import api, summary

    status = api.EXIT_OF_STOP.get(str(finished.to_json()["stopped_by"]), 0)
    page = api.report(finished) if status == 0 else None
    if is_json:
        summary.print_json(finished.to_json())
    else:
        summary.print_run(finished, report=page)
    if status:
        typer.echo(
            f"evosearch: stopped and saved; continue with: evosearch resume {finished.path}",
            err=True,
        )
    return status


@app.command()
def runs(
    problem: Annotated[str | None, typer.Option("--problem", help="Only of this problem.")] = None,
    out: OutOpt = None,
    is_json: JsonOpt = False,
) -> int:
    """List what has been run, newest first."""
    from evosearch import api, summary

    rows = api.list_runs(problem=problem, out=out)
    if is_json:
        summary.print_json({"runs": rows.to_json()})
    else:
        summary.print_table(rows)
    return 0


@app.command()
def show(run: RunArg, out: OutOpt = None, is_json: JsonOpt = False) -> int:
    """Show a run: champion, Pareto front of fitness and size, baselines, held-out scores."""
    from evosearch import api, summary

    loaded = api.load_run(run, out=out)
    if is_json:
        summary.print_json(loaded.to_json())
    else:
        page = loaded.path / "report.html"
        summary.print_run(loaded, report=page if page.exists() else None)
    return 0


@app.command()
def evaluate(
    problem: ProblemArg,
    candidate: Annotated[
        str, typer.Argument(metavar="RULE|RUN", help="Rule text, a known rule's name, or a run.")
    ],
    split: Annotated[str, typer.Option("--split", help="search, validation or test.")] = "test",
    seeds: Annotated[
        int | None, typer.Option("--seeds", help="Number of draws; default: the split's.", min=1)
    ] = None,
    scale: Annotated[
        float | None,
        typer.Option("--scale", help="Factor of the step size; default: best on validation."),
    ] = None,
    device: DeviceOpt = "cpu",
    preset: PresetOpt = None,
    settings: SetOpt = None,
    out: OutOpt = None,
    is_json: JsonOpt = False,
) -> int:
    """Score a rule given as text or by name, or a run's champion, on held-out draws."""
    from evosearch import api, summary

    score = api.evaluate(
        problem,
        candidate,
        split=split,
        seeds=seeds,
        scale=scale,
        device=device,
        preset=preset,
        settings=assignments(settings),
        out=out,
    )
    if is_json:
        summary.print_json(score.to_json())
    else:
        summary.print_score(score)
    return 0


@app.command()
def compare(
    problem: Annotated[
        str, typer.Argument(metavar="PROBLEM[,PROBLEM…]", help="Names or files, commas between.")
    ],
    searches: Annotated[str, typer.Option("--searches", help="Names with commas between.")],
    seeds: Annotated[int, typer.Option("--seeds", help="Runs of each search.", min=1)] = 10,
    budget: BudgetOpt = None,
    time: TimeOpt = None,
    workers: WorkersOpt = None,
    backend: BackendOpt = "auto",
    device: DeviceOpt = "cpu",
    preset: PresetOpt = None,
    settings: SetOpt = None,
    cache: CacheOpt = False,
    out: OutOpt = None,
    is_json: JsonOpt = False,
) -> int:
    """Compare searches at equal budgets over seeds; what is already run is not run again."""
    from evosearch import api, summary
    from evosearch.compare import compare as compare_searches
    from evosearch.display import ComparisonDisplay

    names, problems = _listed(searches), _listed(problem)
    title = ", ".join(Path(one).stem for one in problems)
    with ComparisonDisplay(title=f"{title}: {', '.join(names)}") as display:
        comparison = compare_searches(
            problems if len(problems) > 1 else problem,
            searches=names,
            seeds=seeds,
            budget=budget,
            time_s=seconds(time),
            workers=workers,
            backend=backend,
            device=device,
            preset=preset,
            settings=assignments(settings),
            cache=cache,
            out=out,
            on_rows=display.update,
        )
    page = api.report(comparison)
    if is_json:
        summary.print_json(comparison.to_json())
    else:
        summary.print_comparison(comparison, report=page)
    return 0


def _listed(text: str) -> list[str]:
    """Return the names in a text with commas between."""
    return [name.strip() for name in text.split(",") if name.strip()]


@app.command()
def fit(
    task: Annotated[str, typer.Argument(metavar="TASK", help="Such as digits6; see list tasks.")],
    learners: Annotated[
        str, typer.Option("--learners", help="Names with commas between, or all.")
    ] = "all",
    seeds: Annotated[int, typer.Option("--seeds", help="Lifetimes of each learner.", min=1)] = 5,
    seed: Annotated[int, typer.Option("--seed", help="Of all randomness.", min=0)] = 0,
    workers: Annotated[
        int | None, typer.Option("--workers", help="Learners at a time; one a core.", min=1)
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", help="HTML file to write; runs/TASK/fit-SEED.html.")
    ] = None,
    is_json: JsonOpt = False,
) -> int:
    """Let learners live side by side on one task; each is tuned alike on validation data."""
    from evosearch import api, summary
    from evosearch.display import ComparisonDisplay

    names = _listed(learners)
    with ComparisonDisplay(title=f"{task}: {learners}") as display:
        fitted = api.fit(
            task, learners=names, seeds=seeds, seed=seed, workers=workers,
            on_rows=lambda known, news: display.update(known.table(), news),
        )  # fmt: skip
    path = api.report(fitted, out=out or api.runs_folder() / task / f"fit-{seed}.html")
    if is_json:
        summary.print_json({**fitted.to_json(), "report": str(path)})
    else:
        summary.print_table(fitted.table())
        typer.echo(str(path))
    return 0


@app.command()
def report(
    source: Annotated[str, typer.Argument(metavar="RUN|COMPARISON", help="Folder of either.")],
    out: Annotated[Path | None, typer.Option("--out", help="HTML file to write.")] = None,
    is_json: JsonOpt = False,
) -> int:
    """Write one HTML file that explains a run or a comparison and needs no network."""
    from evosearch import api, summary

    path = api.report(source, out=out)
    if is_json:
        summary.print_json({"report": str(path)})
    else:
        typer.echo(str(path))
    return 0


@app.command()
def export(
    run: RunArg,
    to: Annotated[
        str,
        typer.Option("--to", help="python, torch, latex, sympy, brian2, json, csv or safetensors."),
    ],
    out: Annotated[
        Path | None, typer.Option("--out", help="File to write; text goes to stdout without it.")
    ] = None,
) -> int:
    """Write a run's champion as source, its history as CSV, or its numbers as safetensors."""
    from evosearch import api

    content = api.export(run, to, out=out)
    if out is not None:
        typer.echo(str(out), err=True)
    elif isinstance(content, bytes):
        sys.stdout.buffer.write(content)
    else:
        typer.echo(content, nl=not content.endswith("\n"))
    return 0


@app.command()
def bench(device: DeviceOpt = "cpu", is_json: JsonOpt = False) -> int:
    """Measure every tier beside NumPy and this machine's limits: one table, a minute or two."""
    from evosearch import summary
    from evosearch.bench import bench_table, run_bench

    rows, roofline = run_bench(device)
    if is_json:
        facts = {"device": device, "roofline": vars(roofline), "rows": [vars(row) for row in rows]}
        summary.print_json(facts)
    else:
        summary.print_table(bench_table(rows, roofline))
    return 0


@app.command()
def new(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Name of the new problem.")],
    out: Annotated[Path | None, typer.Option("--out", help="Folder; default: this one.")] = None,
) -> int:
    """Write a commented problem file to start from."""
    from evosearch.template import write_problem

    path = write_problem(name, out or Path.cwd())
    typer.echo(f"{path}\nrun it with: evosearch run {path}")
    return 0


@app.command()
def doctor(
    run: Annotated[str | None, typer.Argument(metavar="[RUN]", help="Replay its digests.")] = None,
    is_json: JsonOpt = False,
) -> int:
    """Check this installation, or replay a run and compare its digests."""
    from evosearch import doctor as checks
    from evosearch import summary

    findings = checks.check_run(run) if run else checks.check_installation()
    if is_json:
        summary.print_json({"checks": [finding.to_json() for finding in findings]})
    else:
        summary.print_findings(findings)
    return 0 if all(finding.is_ok for finding in findings) else 1


def seconds(text: str | None) -> float | None:
    """Read a duration such as ``90``, ``90s``, ``10m`` or ``1h30m``.

    Raises:
        InputError: it is no duration, or not positive.
    """
    import re

    if text is None:
        return None
    match = re.fullmatch(r"(?:(\d+)h)?(?:(\d+)m)?(?:(\d+(?:\.\d+)?)s?)?", text.strip())
    parts = [float(part or 0) for part in match.groups()] if match else [0.0, 0.0, 0.0]
    total = 3600 * parts[0] + 60 * parts[1] + parts[2]
    if total <= 0:
        raise InputError(f"--time {text!r} is no duration; write for example 90s, 10m or 1h30m.")
    return total


def assignments(pairs: Sequence[str] | None) -> dict[str, str]:
    """Read ``--set key=value`` pairs; raise InputError where one has no ``=``."""
    result: dict[str, str] = {}
    for pair in pairs or ():
        key, equals, value = pair.partition("=")
        if not equals or not key.strip():
            raise InputError(f"--set {pair!r} is not of the form key=value, e.g. rule.eta=0.01.")
        result[key.strip()] = value.strip()
    return result


def main(args: Sequence[str] | None = None) -> int:
    """Run one command line; return its exit status: 0, 1, 2, 130 or 143."""
    _show_notices()
    command = typer.main.get_command(app)
    arguments = list(sys.argv[1:] if args is None else args)
    try:
        with command.make_context("evosearch", arguments) as context:
            return int(command.invoke(context) or 0)
    except typer.Exit as stop:
        return stop.exit_code
    except KeyboardInterrupt as stop:
        return _fail(str(stop) or "interrupted.", getattr(stop, "exit_status", 130))
    except EvosearchError as error:
        return _fail(str(error), error.exit_status)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except Exception as error:
        format_usage = getattr(error, "format_message", None)
        if callable(format_usage):  # typer's own: an unknown option, a missing argument
            return _fail(_usage(str(format_usage()), arguments), 2)
        if os.environ.get("EVOSEARCH_DEBUG"):
            raise
        if isinstance(error, OSError) and error.filename is not None:
            return _fail(f"{error.filename} cannot be read or written: {error.strerror}.", 1)
        kind = type(error).__name__
        return _fail(f"{kind}: {error} (EVOSEARCH_DEBUG=1 shows where it happened)", 1)


def _usage(message: str, arguments: Sequence[str]) -> str:
    """Return one sentence on a command line that typer does not take, and where to look."""
    sentence = message if message.endswith(("?", ".")) else f"{message}."
    if arguments[:1] == ["evaluate"] and message.startswith("No such option"):
        return f"{sentence} A rule that begins with a minus comes last, after -- alone."
    return f"{sentence} See evosearch --help."


def _show_notices() -> None:
    """Let what takes long say so on stderr, e.g. the first compilation."""
    import logging

    log = logging.getLogger("evosearch")
    if not log.handlers:
        handler = logging.StreamHandler()
        handler.setFormatter(logging.Formatter("evosearch: %(message)s"))
        log.addHandler(handler)
    log.setLevel(logging.INFO)


def _fail(message: str, status: int) -> int:
    typer.echo(f"evosearch: {' '.join(message.split())}", err=True)
    return status
