"""What a formula costs: to breed, and to score before and with the fitting of its constants.

    python benchmarks/regression/rates.py --out records/rates.json

One core; CPU seconds. Breeding is all that is not scoring: two tournaments, variation, folding,
limits, the search for equals and the replacement. Scoring has least-squares weights of terms. Where
pyoperon is installed its rate without fitted constants is measured in turn with ours, on the same
rows, with its defaults (1,000 formulas of at most 50 nodes, float32).
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
from engines import operon_rate
from run import tables

from evosearch.engine.cache import compiled
from evosearch.regressor import CONSTANTS, FUNCTIONS
from evosearch.search import formula_island_kernels as islands
from evosearch.search import formula_tree_kernels as trees
from evosearch.search.formula_fit_kernels import score_tree
from evosearch.search.gp_regression import FormulaProgramming, _chosen_rows
from evosearch.spaces.formula import FormulaSpace

FORMULAS = ("nguyen-5", "keijzer-6", "pagie-1", "feynman-I.6.20")


@compiled
def breed_only(s, island, n, n_sizes, count, g, b):
    """Breed children on an island that take the scores of their mothers' losers."""
    child, first = s.best.size * n + n_sizes, island * n
    g.limits[1] = s.room[island, 1]
    for _ in range(count):
        price = islands.draw_price(s.rng)
        mother = islands.compete(s, first, n, 4, price, 1.0)
        father = islands.compete(s, first, n, 4, price, 1.0)
        if not islands.breed(s, mother, father, child, child + 1, g):
            continue
        trees.fold(s.ops, s.vals, s.length, child, g.arity)
        trees.nesting(s.ops, s.length, child, g.arity, g.stack)
        if s.length[child] > s.room[island, 0]:
            continue
        if islands.whole_size(s.ops, s.length, child, g, b) <= g.limits[0]:
            s.score[child] = s.score[mother] * (0.9 + 0.2 * trees.uniform(s.rng))
            islands.settle(s, child, first, n, price)


@compiled
def score_only(s, island, n, count, g, b):
    """Score the members of an island in turn."""
    g.limits[1] = s.room[island, 1]
    for k in range(count):
        score_tree(s.ops, s.vals, s.length, island * n + k % n, g, b)


def seconds(call, repeats=5):
    """Return the least CPU seconds of some calls, after one that may compile."""
    call()
    found = []
    for _ in range(repeats):
        started = time.process_time()
        call()
        found.append(time.process_time() - started)
    return min(found)


def rates(name):
    """Measure one formula's table."""
    train, _ = tables(name, 0)
    space = FormulaSpace(
        train.names, FUNCTIONS, train.columns, train.target,
        constants=(1.0,), ephemeral=CONSTANTS, max_size=63,
    )  # fmt: skip
    search = FormulaProgramming(space, seed=0)
    search.ask()
    world = search._worlds[0]
    s, g, b = world._islands, world._grammar, world._bench
    n, n_sizes = search.settings.population, world._n_sizes
    before = b.spent[0]
    started = time.process_time()
    islands.breed_for(s, n, n_sizes, 100_000, -1e9, g, b)
    whole = (b.spent[0] - before) / (time.process_time() - started)
    islands_of = range(s.best.size)
    # The search gives each island as many formulas to score.
    scores = [seconds(lambda k=k: score_only(s, k, n, 3000, g, b)) / 3000 for k in islands_of]
    score = float(np.mean(scores))
    nodes = float(s.length[: n * s.best.size].mean())
    breeds = [
        seconds(lambda k=k: breed_only(s, k, n, n_sizes, 5000, g, b)) / 5000 for k in islands_of
    ]
    bred = float(np.mean(breeds))
    rate = 1 / (bred + score)
    chosen = _chosen_rows(train.target, search.settings.rows, 0)
    part = SimpleNamespace(columns=train.columns[:, chosen], target=train.target[chosen])
    peer = operon_rate(part) if importlib.util.find_spec("pyoperon") else None
    return {
        "formula": name, "rows": int(b.counts.sum()), "nodes": nodes,
        "breed_us": 1e6 * bred, "score_us": 1e6 * score,
        "score_us_of_islands": [1e6 * one for one in scores],
        "evaluations_per_s_before_fitting": rate, "evaluations_per_s": float(whole),
        "operon": peer, "times_operon": rate / peer["evaluations_per_s"] if peer else None,
    }  # fmt: skip


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    out = parser.parse_args().out
    with np.errstate(all="ignore"):
        rows = [rates(name) for name in FORMULAS]
    out.write_text(json.dumps(rows, indent=1) + "\n")
    print(json.dumps(rows, indent=1))
