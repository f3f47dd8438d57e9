"""The engines of the comparison: each gets rows and seconds, and returns a formula's predictions.

All use the functions + - * / sin cos exp log and constants, and their own defaults otherwise.
"""

from __future__ import annotations

import functools
import operator
import random
import time
import warnings

import numpy as np

warnings.filterwarnings("ignore")
DEAP_ENOUGH = 1e-12
PROBE_S = 2


def nmse(target, predicted):
    """Return the mean squared error over the variance of the target, inf where not finite."""
    with np.errstate(all="ignore"):
        error = float(np.mean((target - np.broadcast_to(predicted, target.shape)) ** 2))
    error /= float(np.var(target))
    return error if np.isfinite(error) else float("inf")


def evosearch(train, test, seed, budget):
    """Run gp-regression for CPU seconds; the formula is chosen on the training rows alone."""
    from evosearch.regressor import CONSTANTS, FUNCTIONS, ask_and_tell, best_formula
    from evosearch.rules.rule import Rule
    from evosearch.search.base import SEARCHES
    from evosearch.spaces.formula import FormulaSpace

    space = FormulaSpace(
        train.names, FUNCTIONS, train.columns, train.target,
        constants=(1.0,), ephemeral=CONSTANTS, max_size=63,
    )  # fmt: skip
    found, started = {}, time.process_time()
    search = SEARCHES.get("gp-regression")(space, seed=seed)
    ask_and_tell(search, found)
    while not search.is_done and time.process_time() - started < budget:
        ask_and_tell(search, found)
    best = best_formula(found, len(train.target))
    cpu_s = time.process_time() - started
    predicted = Rule(best)(**dict(zip(test.names, test.columns, strict=True)))
    return {
        "train": found[best], "test": nmse(test.target, predicted), "size": best.size,
        "evaluations": search.n_evaluations, "cpu_s": cpu_s, "formula": str(best),
    }  # fmt: skip


def deap(train, test, seed, budget):
    """Run DEAP's example of symbolic regression: 500 formulas, tournaments of 3, height <= 17."""
    from deap import algorithms, base, creator, gp, tools

    random.seed(seed)
    pset = gp.PrimitiveSet("MAIN", len(train.columns))
    for function, arity in (
        (np.add, 2), (np.subtract, 2), (np.multiply, 2), (_divide, 2), (np.sin, 1), (np.cos, 1),
        (_exp, 1), (_log, 1),
    ):  # fmt: skip
        pset.addPrimitive(function, arity)
    pset.addEphemeralConstant(f"c{time.time_ns()}", functools.partial(random.uniform, -1, 1))
    if not hasattr(creator, "Formula"):
        creator.create("Least", base.Fitness, weights=(-1.0,))
        creator.create("Formula", gp.PrimitiveTree, fitness=creator.Least)
    box = base.Toolbox()
    box.register("expr", gp.genHalfAndHalf, pset=pset, min_=1, max_=2)
    box.register("individual", tools.initIterate, creator.Formula, box.expr)
    box.register("mate", gp.cxOnePoint)
    box.register("fresh", gp.genFull, min_=0, max_=2)
    box.register("mutate", gp.mutUniform, expr=box.fresh, pset=pset)
    for name in ("mate", "mutate"):
        box.decorate(name, gp.staticLimit(operator.attrgetter("height"), 17))
    n_scored = 0

    def score(one):
        nonlocal n_scored
        n_scored += 1
        error = nmse(train.target, gp.compile(one, pset)(*train.columns))
        one.fitness.values = (min(error, 1e12),)

    started = time.process_time()
    members = [box.individual() for _ in range(500)]
    for one in members:
        score(one)
    best = box.clone(min(members, key=_error))
    while time.process_time() - started < budget and _error(best) > DEAP_ENOUGH:
        children = algorithms.varAnd(tools.selTournament(members, 500, 3), box, 0.5, 0.1)
        for one in children:
            if not one.fitness.valid:
                score(one)
            if time.process_time() - started > budget:
                break
        members = [one for one in children if one.fitness.valid]
        best = box.clone(min([best, *members], key=_error))
    cpu_s = time.process_time() - started
    predicted = gp.compile(best, pset)(*test.columns)
    return {
        "train": _error(best), "test": nmse(test.target, predicted), "size": len(best),
        "evaluations": n_scored, "cpu_s": cpu_s, "formula": str(best)[:500],
    }  # fmt: skip


def gplearn(train, test, seed, budget):
    """Run gplearn with its defaults, a generation at a time."""
    from gplearn.functions import make_function
    from gplearn.genetic import SymbolicRegressor

    exp = make_function(function=_exp, name="exp", arity=1)
    model = SymbolicRegressor(
        population_size=1000, generations=1, warm_start=True, low_memory=True, random_state=seed,
        function_set=("add", "sub", "mul", "div", "sin", "cos", "log", exp), metric="mse",
    )  # fmt: skip
    started, generations, best = time.process_time(), 0, None
    while time.process_time() - started < budget:
        generations += 1
        model.set_params(generations=generations).fit(train.columns.T, train.target)
        found = model._program
        best = found if best is None or found.raw_fitness_ < best.raw_fitness_ else best
        if best.raw_fitness_ / np.var(train.target) < DEAP_ENOUGH:
            break
    return {
        "train": float(best.raw_fitness_ / np.var(train.target)),
        "test": nmse(test.target, best.execute(test.columns.T)), "size": int(best.length_),
        "evaluations": 1000 * generations, "cpu_s": time.process_time() - started,
        "formula": str(best)[:500],
    }  # fmt: skip


def pyoperon(train, test, seed, budget, steps=5):
    """Run pyoperon with its defaults and five steps on constants; it has no goal to stop at.

    Its own limit is wall time, which says little where a core is shared: a second's run tells how
    many evaluations the budget is worth.
    """
    probe, spent = _operon(train, seed, steps, max_time=PROBE_S, max_evaluations=10**9)
    model, cpu_s = _operon(
        train, seed, steps, max_evaluations=int(_work(probe) * budget / max(spent, 0.1))
    )
    return {
        "train": nmse(train.target, model.predict(train.columns.T)),
        "test": nmse(test.target, model.predict(test.columns.T)),
        "size": int(model.stats_["model_length"]), "cpu_s": cpu_s,
        "evaluations": int(model.stats_["evaluation_count"]),
        "formula": model.get_model_string(model.model_, 5)[:500],
    }  # fmt: skip


def operon_rate(train, repeats=3):
    """Return pyoperon's evaluations a CPU second, constants not fitted: the best of some runs."""
    found = []
    for seed in range(repeats):
        model, cpu_s = _operon(train, seed, 0, max_time=PROBE_S, max_evaluations=10**9)
        count = model.stats_["evaluation_count"]
        nodes = float(np.mean([one.Genotype.Length for one in model.individuals_]))
        found.append({"evaluations_per_s": count / cpu_s, "nodes": nodes})
    return max(found, key=operator.itemgetter("evaluations_per_s"))


def _operon(train, seed, steps, **limits):
    """Return a fitted model and its CPU seconds."""
    from pyoperon.sklearn import SymbolicRegressor

    model = SymbolicRegressor(
        allowed_symbols="add,sub,mul,div,sin,cos,exp,log,constant,variable", n_threads=1,
        generations=10**7, optimizer_iterations=steps, random_state=seed + 1, **limits,
    )  # fmt: skip
    started = time.process_time()
    model.fit(train.columns.T, train.target)
    return model, time.process_time() - started


def _work(model):
    """Return what its limit counts: formulas and derivatives evaluated."""
    return model.stats_["residual_evaluations"] + model.stats_["jacobian_evaluations"]


ENGINES = {
    "evosearch": evosearch,
    "deap": deap,
    "gplearn": gplearn,
    "pyoperon": functools.partial(pyoperon, steps=0),
    "pyoperon-lm": pyoperon,
}


def _error(one):
    return one.fitness.values[0]


def _divide(a, b):
    return np.where(np.abs(b) > 1e-6, a / np.where(b == 0, 1, b), 1.0)


def _log(a):
    return np.where(np.abs(a) > 1e-6, np.log(np.abs(a) + 1e-300), 0.0)


def _exp(a):
    return np.exp(np.minimum(a, 50))
