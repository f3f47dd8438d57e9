"""The problem file that ``evosearch new`` writes: complete, commented, runnable as it is."""

from __future__ import annotations

import re
from pathlib import Path

from evosearch.errors import InputError

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
TEMPLATE = '''\
# A problem: what a candidate is, how it is scored, and which searches are let loose on it.
# Run it with:  evosearch run @NAME@.toml
# Every key may be changed for one run:  evosearch run @NAME@.toml --set rule.eta=0.01
schema = 1
name = "@NAME@"
title = "@NAME@: one line that people see in lists"
description = """
What is learned, what counts as success, and what is already known.
"""
citations = []           # authors, title, venue, year of the work that this reproduces
default_search = "gp"    # what `evosearch run` uses; --search names another
floor = "zero"           # the trivial control, one of [known.*]
ceiling = "oja"          # the reference, one of [known.*]
# seed = 0               # of the validation and test draws
# aggregate = "mean"     # fitness of a rule from its draws: mean, min or median
# parsimony = 0.001      # validation fitness that each node of the champion must earn

# What networks live through. A built-in task (see `evosearch list tasks`) with its settings, or
# one of your own: kind = "@NAME@.py:score", a function score(candidate, rng, **settings) -> float
# in a file beside this one. It gets an evosearch.Rule (candidate(w=..., pre=..., post=...)), a
# numpy random generator and the other keys of this table, and returns a fitness: higher is better.
[task]
kind = "oja_pc1"
inputs = 3
steps = 200

# What a rule may be made of. w is the weight, pre and post the activities of its two ends.
[rule]
form = "increment"       # w + eta * rule; "absolute": the rule is the new weight
terminals = ["w", "pre", "post"]
functions = ["add", "sub", "mul"]
constants = [1.0]
ephemeral = [-2.0, 2.0]  # random constants are drawn from this range
max_size = 31            # nodes
eta = 0.05               # step size
eta_factors = [0.1, 0.2, 0.3, 0.5, 1.0]  # tried for every rule, the best chosen on validation
clip = [-5.0, 5.0]       # weights stay in this range
# row_norm = 1.0         # the weights into each unit are scaled to this length
# zero_diagonal = true   # no unit is joined to itself
# sign = true            # weights keep the sign that they start with
# genes = ["decay"]      # numbers of the task that are searched along with the rule
dtype = "float32"        # or "float64"

# Disjoint sets of draws: the search sees the first, the champion is chosen on the second, and the
# third is scored once, at the end. Settings of the task may differ, as steps does here.
[splits.search]
draws = 8
is_fresh = false         # true: new draws each generation
# eta = 0.05             # any split may have a step size of its own

[splits.validation]
draws = 20

[splits.test]
draws = 20
steps = 400

# Rules to stand beside the champion: by library name (`evosearch list rules`) or as text.
[known.zero]
library = "zero"

[known.oja]
library = "oja"

[known.hebb_decay]
text = "pre*post - w"
# scale = 1.0            # factor of the step size; without it the best on validation

# When a run counts as successful: a threshold, or at least as good as a known rule.
[success]
split = "test"
reference = "oja"        # or threshold = -0.1
margin = 0.0             # above the reference

# The searches that fit, with their budgets of candidate evaluations and their settings.
[searches.gp]
budget = 5000
population = 100         # a setting of this search
# draws = 8              # its own number of search draws, and is_fresh of its own
# racing = 4             # candidates that cannot be among the best are dropped after so many draws
# representation = "coefficients"  # as cmaes needs it; "table" for tables

[searches.enumerate]
budget = 10000

[searches.random]
budget = 5000

# Rules as weighted sums of terms; [representations.table] has entries = [...], values = [-1, 0, 1].
# [representations.coefficients]
# basis = ["w", "pre*post", "square(post)*w"]
# sigma0 = 0.1           # first step; bound = 2.0 limits coefficients, l1 = 0.01 makes them cost

# Changes under a name: evosearch run @NAME@.toml --preset quick
[presets.quick]
"task.steps" = 50
"splits.search.draws" = 4
"searches.gp.budget" = 300
"searches.gp.population" = 30
'''


def write_problem(name: str, folder: Path) -> Path:
    """Write ``NAME.toml`` into a folder and return its path.

    Raises:
        InputError: the name cannot be a file's, or the file is there already.
    """
    if not _NAME.fullmatch(name):
        raise InputError(
            f"{name!r} is no name for a problem; use up to 64 letters, digits, '_', '-' and '.', "
            "beginning with a letter or digit."
        )
    path = folder / f"{name}.toml"
    if path.exists():
        raise InputError(f"{path} exists already; choose another name or move it away.")
    if not folder.is_dir():
        raise InputError(f"{folder} is no folder.")
    path.write_text(TEMPLATE.replace("@NAME@", name), encoding="utf-8")
    return path
