"""Spaces: the sets of candidates that a search searches."""

from evosearch.spaces.base import SequentialSpace, Space
from evosearch.spaces.coefficients import CoefficientSpace
from evosearch.spaces.formula import FormulaSpace
from evosearch.spaces.genome import Genome, GenomeSpace
from evosearch.spaces.rule import RuleSpace
from evosearch.spaces.shared import SharedCoefficientSpace
from evosearch.spaces.table import TableSpace
from evosearch.spaces.vector import VectorSpace

__all__ = [
    "CoefficientSpace",
    "FormulaSpace",
    "Genome",
    "GenomeSpace",
    "RuleSpace",
    "SequentialSpace",
    "SharedCoefficientSpace",
    "Space",
    "TableSpace",
    "VectorSpace",
]
