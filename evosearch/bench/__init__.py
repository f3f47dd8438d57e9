"""Measure this machine: every tier beside DEAP-compiled NumPy and the machine's own limits.

The workload is that of a rule search: different rules of nine nodes, each living one life of
T online steps on one layer, ``y = W x`` then ``w <- clip(w + eta f(w, x, y))``. All times of one
comparison are taken in turn, in one call, and ratios are medians over the turns.
"""

from evosearch.bench.rows import BenchRow, bench_table, run_bench
from evosearch.bench.workload import random_rule

__all__ = ["BenchRow", "bench_table", "random_rule", "run_bench"]
