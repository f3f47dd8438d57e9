"""Test functions of optimization, batched, shifted and rotated by the number of an instance."""

from evosearch.functions.instances import Instance, random_rotation
from evosearch.functions.shapes import FUNCTIONS

__all__ = ["FUNCTIONS", "Instance", "random_rotation"]
