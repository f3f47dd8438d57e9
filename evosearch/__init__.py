"""Search for learning rules, weights and tables by what networks do under them.

Five lines are a whole experiment::

    import evosearch as es

    run = es.run("oja_pc1", seed=0, budget=5000)
    print(run.champion.text)
    es.report(run)

The public names below are imported when they are first used, so that a command which needs no
engine never loads one.
"""

from __future__ import annotations

import importlib
import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from evosearch.api import evaluate as evaluate
    from evosearch.api import export as export
    from evosearch.api import fit as fit
    from evosearch.api import list_learners as list_learners
    from evosearch.api import list_problems as list_problems
    from evosearch.api import list_rules as list_rules
    from evosearch.api import list_runs as list_runs
    from evosearch.api import list_searches as list_searches
    from evosearch.api import list_tasks as list_tasks
    from evosearch.api import load_problem as load_problem
    from evosearch.api import load_run as load_run
    from evosearch.api import report as report
    from evosearch.api import resume as resume
    from evosearch.api import run as run
    from evosearch.compare import compare as compare
    from evosearch.compare import load_comparison as load_comparison
    from evosearch.errors import EvosearchError as EvosearchError
    from evosearch.errors import InputError as InputError
    from evosearch.estimator import LearnerClassifier as LearnerClassifier
    from evosearch.evaluation import Evaluator as Evaluator
    from evosearch.minimize import minimize as minimize
    from evosearch.outcome import Evaluation as Evaluation
    from evosearch.regressor import SymbolicRegressor as SymbolicRegressor
    from evosearch.rules.library import known_rule as known_rule
    from evosearch.rules.parser import parse as parse
    from evosearch.rules.rule import Rule as Rule
    from evosearch.train import train as train

__version__ = "0.1.0"

_HOMES = {
    "run": "evosearch.api",
    "resume": "evosearch.api",
    "evaluate": "evosearch.api",
    "report": "evosearch.api",
    "export": "evosearch.api",
    "fit": "evosearch.api",
    "list_learners": "evosearch.api",
    "load_problem": "evosearch.api",
    "load_run": "evosearch.api",
    "list_problems": "evosearch.api",
    "list_searches": "evosearch.api",
    "list_rules": "evosearch.api",
    "list_tasks": "evosearch.api",
    "list_runs": "evosearch.api",
    "compare": "evosearch.compare",
    "load_comparison": "evosearch.compare",
    "EvosearchError": "evosearch.errors",
    "InputError": "evosearch.errors",
    "LearnerClassifier": "evosearch.estimator",
    "Evaluator": "evosearch.evaluation",
    "minimize": "evosearch.minimize",
    "Evaluation": "evosearch.outcome",
    "SymbolicRegressor": "evosearch.regressor",
    "known_rule": "evosearch.rules.library",
    "parse": "evosearch.rules.parser",
    "Rule": "evosearch.rules.rule",
    "train": "evosearch.train",
}

__all__ = [
    "Evaluation",
    "Evaluator",
    "EvosearchError",
    "InputError",
    "LearnerClassifier",
    "Rule",
    "SymbolicRegressor",
    "compare",
    "evaluate",
    "export",
    "fit",
    "known_rule",
    "list_learners",
    "list_problems",
    "list_rules",
    "list_runs",
    "list_searches",
    "list_tasks",
    "load_comparison",
    "load_problem",
    "load_run",
    "minimize",
    "parse",
    "report",
    "resume",
    "run",
    "train",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'evosearch' has no attribute {name!r}")
    value = getattr(importlib.import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


class _Package(ModuleType):
    """The package; its functions ``run``, ``compare`` and ``report`` share names with modules.

    Importing ``evosearch.run`` would put that module where ``evosearch.run(...)`` should stay a
    function, so the import system's assignment of such a submodule is not taken.
    """

    def __setattr__(self, name: str, value: Any) -> None:
        if not (isinstance(value, ModuleType) and name in _HOMES):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package
