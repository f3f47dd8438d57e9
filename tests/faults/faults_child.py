"""A run in a process of its own, to be killed: ``faults_child.py CASE OUT [RUN]``."""

import sys
from pathlib import Path

from evosearch.execution import execute, resume
from evosearch.problem import load_problem
from evosearch.run import Run

# Problem, search, overrides: half a second or more of work each.
CASES = {
    "gp": (
        "oja_pc1",
        "gp",
        {"task.steps": 150, "searches.gp.population": 40, "searches.gp.budget": 1000},
    ),
    "cmaes": (
        "delta_rule",
        "cmaes",
        {"searches.cmaes.population": 20, "searches.cmaes.budget": 400},
    ),
    "enumerate": (
        "delta_rule",
        "enumerate",
        {"searches.enumerate.population": 20, "searches.enumerate.budget": 1200},
    ),
}


def plain_simplify(rule, **options):
    """Stand in for SymPy: how far it comes depends on time, and it is no part of a result."""
    return rule


def work(case, out, path=None):
    """Make the run of a case, or continue it."""
    import evosearch.rules.simplify

    evosearch.rules.simplify.simplify = plain_simplify
    if path is not None:
        return resume(path, workers=1)
    name, search, overrides = CASES[case]
    problem = load_problem(name, preset="quick", overrides=overrides)
    return execute(problem, search, seed=5, workers=1, out=out)


def outcome(run: Run):
    """Return all of a run that must be equal to the bit."""
    facts = run.to_json()
    history = {name: column.tolist() for name, column in run.history().items()}
    for name in ("run", "wall_s"):
        del facts[name]
    del history["wall_s"]
    for name in ("simplified", "latex"):
        del facts["champion"][name]
    return {
        "digest": run.digest,
        "facts": facts,
        "history": repr(history),
        "pareto": run.pareto,
        "known": run.known_scores,
        "summary": run.summary,
        "first": run.evaluations_to_success,
    }


if __name__ == "__main__":
    import evosearch.conclusion
    import evosearch.loop  # noqa: F401

    print("ready", flush=True)
    work(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]) if len(sys.argv) > 3 else None)
