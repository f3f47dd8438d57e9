"""Data sets of labelled examples: bundled, or read from files that the user put in place."""

from evosearch.data.base import DataSet, Examples
from evosearch.data.sets import data_size, load_data

__all__ = ["DataSet", "Examples", "data_size", "load_data"]
