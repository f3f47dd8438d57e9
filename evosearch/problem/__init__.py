"""Problems: what is searched, how it is scored, and which searches fit."""

from evosearch.problem.base import Chunk, Draws, Problem
from evosearch.problem.loading import ProblemInfo, list_problems, load_problem, make_problem

__all__ = [
    "Chunk",
    "Draws",
    "Problem",
    "ProblemInfo",
    "list_problems",
    "load_problem",
    "make_problem",
]
