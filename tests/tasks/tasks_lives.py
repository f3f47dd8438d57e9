"""Live tasks in the engine for the tests: a task by name, rules by text."""

from __future__ import annotations

import numpy as np

from evosearch.engine.lifetime import Projection
from evosearch.engine.run import run_lifetimes
from evosearch.rules.lower import lower
from evosearch.rules.rule import Rule
from evosearch.tasks.base import TASKS


def task_of(name, *, clip, dtype="float64", zero_diagonal=False, **settings):
    kind = TASKS.get(name)
    projection = Projection(low=-clip, high=clip, is_zero_diagonal=zero_diagonal)
    return kind(kind.Settings(**settings), dtype=dtype, projection=projection)


def live(task, keys, *texts, eta=1.0, split="search"):
    """Return the TaskScores of rules given as text."""
    programs = [lower(Rule(text), task.terminals) for text in texts]
    lifetimes = task.lifetimes(keys, split)
    results = [run_lifetimes(life, programs, np.full(len(texts), eta)) for life in lifetimes]
    return task.score(results, lifetimes, keys)
