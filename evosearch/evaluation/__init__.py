"""Evaluation: candidates in, one outcome each; deduplicated, cached, parallel, faults contained."""

from evosearch.evaluation.evaluator import EvaluationCancelledError, Evaluator
from evosearch.evaluation.outcomes import Outcome

__all__ = ["EvaluationCancelledError", "Evaluator", "Outcome"]
