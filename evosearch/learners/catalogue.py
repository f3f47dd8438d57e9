"""All learners by name: circuits with the default rule, and those with a kernel of their own."""

from __future__ import annotations

from evosearch.circuits.base import CIRCUITS
from evosearch.errors import unknown_name
from evosearch.learners.base import LEARNERS, Learner
from evosearch.learners.circuit import CircuitLearner


def learner_names() -> list[str]:
    """Return the names of all learners, sorted."""
    return sorted({*CIRCUITS.names(), *LEARNERS.names()})


def make_learner(name: str) -> Learner:
    """Return the learner of a name, with its default settings.

    Raises:
        InputError: there is none.
    """
    if name in LEARNERS.names():
        return LEARNERS.get(name)()
    if name in CIRCUITS.names():
        return CircuitLearner(name)
    raise unknown_name("learner", name, learner_names())
