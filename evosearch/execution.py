"""Make a run, or continue one."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evosearch.errors import InputError
from evosearch.plan import Plan, make_plan, plan_of_facts
from evosearch.recorded import check_facts, check_same, problem_of
from evosearch.run import Run
from evosearch.signals import INTERRUPT, TERMINATE, stop_on_signals
from evosearch.spaces.vector import VectorSpace
from evosearch.store import RunStore

if TYPE_CHECKING:
    from evosearch.loop import Limits, Progress, SearchLoop
    from evosearch.problem import Problem

logger = logging.getLogger(__name__)

Callback = Callable[[Run, int], Any]


def execute(
    problem: Problem,
    search: str | None = None,
    *,
    seed: int = 0,
    budget: int | None = None,
    time_s: float | None = None,
    workers: int | None = None,
    backend: str = "auto",
    device: str = "cpu",
    chunk_size: int | None = None,
    cache: Path | None = None,
    init: Sequence[str] = (),
    target: float | None = None,
    patience: int | None = None,
    out: Path = Path("runs"),
    callbacks: Sequence[Callback] = (),
    on_progress: Callable[[Progress], Any] | None = None,
) -> Run:
    """Make a run; see ``evosearch.run``."""
    from evosearch.environment import describe_environment
    from evosearch.loop import Limits

    plan = make_plan(problem, search, seed=seed, budget=budget, device=device, init=init)
    plan.make_search()
    with _evaluator(plan, workers, backend, chunk_size, cache) as evaluator:
        _require(plan)
        path = plan.folder(out)
        if path.exists():
            raise InputError(
                f"this run exists already: {path}. Continue it with: evosearch resume {path}"
            )
        store = RunStore.create(
            path,
            problem=problem.config.to_toml(),
            environment=describe_environment(),
            facts=plan.to_facts() | {"target": target, "patience": patience},
        )
        with store:
            limits = Limits(time_s, target, patience)
            _go_on(plan, store, evaluator, limits, callbacks, on_progress)
    return Run(path)


def resume(
    path: Path,
    *,
    budget: int | None = None,
    time_s: float | None = None,
    workers: int | None = None,
    backend: str = "auto",
    device: str = "cpu",
    chunk_size: int | None = None,
    cache: Path | None = None,
    accept_code: bool = False,
    callbacks: Sequence[Callback] = (),
    on_progress: Callable[[Progress], Any] | None = None,
) -> Run:
    """Continue a run; see ``evosearch.resume``.

    A run that was stopped keeps its target and patience; one that ended by them goes on to its
    budget.
    """
    from evosearch.loop import BUDGET, DONE, PATIENCE, TARGET, Limits

    with RunStore(path, is_writer=True) as store:
        store.check()
        facts = store.facts()
        check_facts(path, facts)
        problem = problem_of(path, store.problem_text(), facts)
        check_same(path, facts, problem, device, accept_code=accept_code)
        if budget is not None and budget < int(facts["budget"]):
            raise InputError(
                f"the run {path} has a budget of {facts['budget']} evaluations; "
                f"--budget {budget} must not be less."
            )
        is_extended = budget is not None and budget > int(facts["budget"])
        is_over = "result" in facts and facts.get("stopped_by") in (BUDGET, DONE)
        if not is_over or is_extended:
            plan = plan_of_facts(problem, facts | ({"budget": budget} if is_extended else {}))
            with _evaluator(plan, workers, backend, chunk_size, cache) as evaluator:
                _require(plan)
                limits = Limits(time_s, facts.get("target"), facts.get("patience"))
                if facts.get("stopped_by") in (TARGET, PATIENCE):
                    limits = Limits(time_s)
                store.set_facts(result=None, stopped_by=None, budget=plan.budget)
                _go_on(plan, store, evaluator, limits, callbacks, on_progress)
    return Run(path)


def find_existing(
    problem: Problem, search: str, *, seed: int, budget: int | None, device: str, out: Path
) -> Path | None:
    """Return the folder of a run that was already begun, or None."""
    path = make_plan(problem, search, seed=seed, budget=budget, device=device).folder(out)
    return path if path.is_dir() else None


def _require(plan: Plan) -> None:
    """Load what scoring needs, so that what is missing is said before a folder is made."""
    problem = plan.problem
    if problem.is_compiled:
        draws = problem.draws("search", run_seed=plan.seed, generation=1, search=plan.search)
        problem.prepare(draws, plan.device)
    else:
        problem.python_task("search")


def _evaluator(
    plan: Plan, workers: int | None, backend: str, chunk_size: int | None, cache: Path | None
) -> Any:
    from evosearch.evaluation import Evaluator
    from evosearch.evaluation.shared import SharedOutcomes

    if cache is not None and plan.device != "cpu":
        raise InputError(
            f"the cache keeps scores of the device cpu, this run is on {plan.device!r}, whose "
            "numbers differ in the last digits; leave out --cache."
        )
    return Evaluator(
        plan.problem,
        workers=workers,
        backend=backend,
        device=plan.device,
        chunk_size=chunk_size,
        shared=None if cache is None else SharedOutcomes(cache, plan.problem),
    )


def _go_on(
    plan: Plan,
    store: RunStore,
    evaluator: Any,
    limits: Limits,
    callbacks: Sequence[Callback],
    on_progress: Callable[[Progress], Any] | None,
) -> None:
    """Run the loop, then conclude, unless a signal stopped it."""
    from evosearch.conclusion import conclude

    with stop_on_signals() as stop:
        evaluator.cancel = stop.event
        loop = _loop_class(plan)(
            plan,
            store,
            evaluator,
            limits=limits,
            stop=stop,
            on_progress=on_progress,
            on_generation=_caller(callbacks, store.path) if callbacks else None,
        )
        reason = loop.run()
        if reason not in (INTERRUPT, TERMINATE):
            try:
                if on_progress is not None:
                    on_progress(loop.progress("validation and test"))
                result = conclude(loop, evaluator)
                store.set_facts(result=result)
            except Exception:
                if not stop.event.is_set():
                    raise
                reason = stop.reason or INTERRUPT
        store.add_event(loop.last.generation, "stopped", reason)
        store.set_facts(stopped_by=reason, native_updates=loop.native_updates)
        if evaluator.shared is not None:
            before = int(store.facts().get("shared_hits") or 0)
            store.set_facts(shared_hits=before + evaluator.shared.hits)


def _loop_class(plan: Plan) -> type[SearchLoop]:
    from evosearch.loop import SearchLoop

    space = plan.problem.space(plan.problem.representation(plan.search))
    if not isinstance(space, VectorSpace) or space.is_listed:
        return SearchLoop
    from evosearch.long_vectors import LongVectorLoop

    return LongVectorLoop


def _caller(callbacks: Sequence[Callback], path: Path) -> Callable[[int], None]:
    def call(generation: int) -> None:
        run = Run(path)
        for callback in callbacks:
            try:
                callback(run, generation)
            except Exception as error:
                name = getattr(callback, "__name__", repr(callback))
                logger.warning("callback %s failed: %s: %s", name, type(error).__name__, error)

    return call
