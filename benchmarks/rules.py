"""Make docs/results/rules.md: every rule problem, ten seeds a search, baselines beside.

    python benchmarks/rules.py delta_rule oja_pc1 …     # run what is missing, write the records
    python benchmarks/rules.py table                    # compose the page from the records

Runs lie in ./runs (or EVOSEARCH_RUNS) and are not done twice; records are runs/reference/*.json.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rules_page import write_page

import evosearch as es
from evosearch import api
from evosearch.evaluation import Evaluator
from evosearch.problem import Draws, Problem
from evosearch.rules.fingerprint import fingerprint
from evosearch.rules.polynomial import polynomial
from evosearch.rules.rule import Rule
from evosearch.scoring import best_scale, known_scores
from evosearch.store.folder import reading
from evosearch.tables import plain

ROOT = Path(__file__).resolve().parent.parent
RECORDS = ROOT / "runs" / "reference"
SEEDS = range(10)
SMALL = 0.05


def main(names: Sequence[str]) -> None:
    """Run the sections that are named; ``table`` composes the page."""
    for name in names or [*SECTIONS, "table"]:
        if name == "table":
            write_page(RECORDS, ROOT / "docs" / "results" / "rules.md")
            continue
        start = time.perf_counter()
        record = SECTIONS[name]()
        RECORDS.mkdir(parents=True, exist_ok=True)
        text = json.dumps(plain(record), indent=1, ensure_ascii=False)
        (RECORDS / f"{name}.json").write_text(text + "\n", encoding="utf-8")
        print(f"{name}: {time.perf_counter() - start:.0f} s", flush=True)


def delta_rule() -> dict[str, Any]:
    """Run every search, and the curve of test score against the number of search tasks."""
    searches = {name: runs("delta_rule", name) for name in ("gp", "cmaes", "ga", "random")}
    curve = {}
    for n_tasks in (1, 2, 5, 10, 20):
        settings = {"splits.search.draws": str(n_tasks)}
        curve[n_tasks] = [row["test"] for row in runs("delta_rule", "gp", settings)]
    for row in searches["gp"]:
        row["is_form"] = is_delta(Rule(row["text"]))
    return {"searches": searches, "curve": curve, "known": known("delta_rule")}


def oja_pc1() -> dict[str, Any]:
    """Run every search; say which champions are Oja's rule up to its two constants."""
    searches = {name: runs("oja_pc1", name) for name in ("gp", "cmaes", "enumerate")}
    for rows in searches.values():
        for row in rows:
            row["is_form"] = is_oja(Rule(row["text"]))
            row["terms"] = largest_terms(Rule(row["text"]))
    return {
        "searches": searches,
        "known": known("oja_pc1"),
        "rank": oja_rank(),
        "many": on_many_draws(searches["cmaes"]),
    }


def on_many_draws(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Score champions beside Oja's rule, each at its own step size, on 64,000 test draws.

    The standard deviation of a draw is .07, so that 12,000 draws do not tell .0003 apart.
    """
    problem = es.load_problem("oja_pc1")
    oja = known_scores_of(problem)["oja"]
    rules = [problem.known["oja"], *(problem.read(row["text"]) for row in rows)]
    scales = np.array([oja.scale, *(row["scale"] for row in rows)])
    parts = []
    for start in range(0, 64_000, 8_000):
        keys = problem.draws("test", count=start + 8_000).keys[start:]
        parts.append(problem.score(rules, scales, Draws("test", keys)).per_draw)
    per_draw = np.concatenate(parts, axis=1)
    differences = per_draw[1:] - per_draw[0]
    return {
        "draws": per_draw.shape[1],
        "oja": per_draw[0].mean(),
        "means": per_draw[1:].mean(axis=1),
        "differences": differences.mean(axis=1),
        "standard_errors": differences.std(axis=1) / np.sqrt(per_draw.shape[1]),
    }


def oja_digits() -> dict[str, Any]:
    """Transfer the champions of oja_pc1, expressions untouched, to real digits."""
    problem = es.load_problem("oja_digits")
    rows = []
    for name in ("gp", "cmaes"):
        for source in runs("oja_pc1", name):
            score = es.evaluate(problem, source["text"])
            rows.append(
                {
                    "search": name,
                    "seed": source["seed"],
                    "text": source["text"],
                    "mean": score.mean,
                    "sd": score.sd,
                    "scale": score.metrics["scale"],
                }
            )
    oja = {}
    for factor in problem.eta_factors:
        score = es.evaluate(problem, "oja", scale=factor)
        oja[f"{factor * problem.eta:g}"] = {"mean": score.mean, "sd": score.sd}
    return {"transfer": rows, "oja": oja, "known": known("oja_digits")}


def hopfield_storage() -> dict[str, Any]:
    """Run GP with field terminals and without; champions on fresh draws and at N = 200."""
    searches = {"gp": runs("hopfield_storage", "gp")}
    settings = {"rule.terminals": "['w', 'pre', 'post']", "searches.gp.budget": "2000"}
    without = runs("hopfield_storage", "gp", settings)
    problem = es.load_problem("hopfield_storage")
    names = ("hebb", "widrow_hoff", "storkey_simplified", "storkey", "product", "product_damped",
             "product_tanh")  # fmt: skip
    fresh = fresh_draws(problem, skip=60, n=120)
    champions = {
        f"{name} {row['seed']}": row["text"] for name, rows in searches.items() for row in rows
    }
    return {
        "searches": searches,
        "without_fields": without,
        "known": known("hopfield_storage"),
        "reference": score_all(problem, {n: problem.known[n].text for n in names}, fresh),
        "fresh": score_all(problem, champions, fresh),
        "transfer": score_all(
            problem,
            champions | {n: problem.known[n].text for n in names},
            problem.draws("transfer"),
        ),
    }


def switching_cue() -> dict[str, Any]:
    """Run the searches; champions under held-out conditions; the ablation without modulator."""
    searches = {name: runs("switching_cue", name) for name in ("gp", "enumerate")}
    settings = {"rule.terminals": "['w', 'pre', 'post']", "searches.gp.budget": "2000"}
    problem = es.load_problem("switching_cue")
    champions = {
        f"{name} {row['seed']}": (row["text"], row["scale"])
        for name, rows in searches.items()
        for row in rows
    }
    scales = known_scores_of(problem)
    rules = {n: (rule.text, scales[n].scale) for n, rule in problem.known.items()}
    return {
        "searches": searches,
        "ablation": runs("switching_cue", "gp", settings),
        "known": known("switching_cue"),
        "test": score_all(problem, champions | rules, problem.draws("test")),
        "transfer": score_all(problem, champions | rules, problem.draws("transfer")),
    }


def discrete_table() -> dict[str, Any]:
    """Run a hundred seeds of the search that the file names, and of random search."""
    problem = es.load_problem("discrete_table")
    names = (problem.default_search, "random")
    searches = {name: runs("discrete_table", name, seeds=range(100)) for name in names}
    space = problem.space("table")
    rules = [space.decode(space.table(k)) for k in range(space.n_tables)]
    with Evaluator(problem) as evaluator:
        truth = evaluator.evaluate(rules, problem.draws("test")).fitness
    counts = {
        str(least): int((truth >= least).sum()) for least in (0.65, 0.70, 0.80, 0.90, 0.925, 0.93)
    }
    summary = {"median": float(np.median(truth)), "best": float(truth.max()), "counts": counts}
    return {"searches": searches, "default": names[0], "truth": summary}


SECTIONS: dict[str, Callable[[], dict[str, Any]]] = {
    "delta_rule": delta_rule,
    "oja_pc1": oja_pc1,
    "oja_digits": oja_digits,
    "hopfield_storage": hopfield_storage,
    "switching_cue": switching_cue,
    "discrete_table": discrete_table,
}


def runs(
    problem: str,
    search: str,
    settings: dict[str, str] | None = None,
    seeds: Sequence[int] = SEEDS,
) -> list[dict[str, Any]]:
    """Make the runs that are missing; return one record a seed."""
    loaded = es.load_problem(problem, overrides=settings)
    records = []
    for seed in seeds:
        budget = loaded.default_budget(search)
        run = api.finished_run(loaded, search=search, seed=seed, budget=budget)
        facts, champion = run.to_json(), run.champion
        records.append(
            {
                "seed": seed,
                "success": facts["success"],
                "test": champion.fitness["test"],
                "validation": champion.fitness["validation"],
                "scale": champion.scale,
                "size": champion.size,
                "text": champion.text,
                "simplified": champion.simplified,
                "evaluations": facts["evaluations"],
                "to_success": run.evaluations_to_success,
                "wall_s": facts["wall_s"],
                "summary": run.summary,
                "metrics": dict(champion.metrics),
            }
        )
        print(f"  {problem} {search} {seed}: {champion.fitness['test']:.5f}", flush=True)
    return records


def known_scores_of(problem: Problem) -> dict[str, Any]:
    """Return validation, test and step size factor of every known rule."""
    with Evaluator(problem) as evaluator:
        return dict(known_scores(evaluator, problem))


def known(name: str) -> dict[str, Any]:
    """Return the scores of a problem's known rules as plain values."""
    return {key: vars(score) for key, score in known_scores_of(es.load_problem(name)).items()}


def fresh_draws(problem: Problem, *, skip: int, n: int) -> Draws:
    """Return test draws beyond those that runs are scored on."""
    return Draws("test", problem.draws("test", count=skip + n).keys[skip:])


def score_all(problem: Problem, rules: dict[str, Any], draws: Draws) -> dict[str, Any]:
    """Score rules, text or (text, factor of the step size), on the same draws."""
    scored = {}
    with Evaluator(problem) as evaluator:
        for name, entry in rules.items():
            text, scale = entry if isinstance(entry, tuple) else (entry, None)
            rule = problem.read(text)
            factor = best_scale(evaluator, problem, rule) if scale is None else scale
            outcome = evaluator.evaluate([rule], draws, scales=(factor,))
            values = outcome.per_draw[0]
            scored[name] = {
                "mean": float(values.mean()),
                "se": float(values.std(ddof=1) / np.sqrt(len(values))),
                "draws": len(values),
                "metrics": {key: float(column[0]) for key, column in outcome.metrics.items()},
            }
    return scored


def terms_of(rule: Rule) -> dict[str, float]:
    """Return the terms of a polynomial rule, those below 5 % of the largest left out."""
    terms = polynomial(rule.main)
    if not terms:
        return {}
    largest = max(abs(value) for value in terms.values())
    return {
        "*".join(f"{n}^{p}" if p > 1 else n for n, p in key) or "1": value
        for key, value in terms.items()
        if abs(value) > SMALL * largest
    }


def largest_terms(rule: Rule) -> list[str]:
    """Return the terms by the size of their coefficients."""
    terms = terms_of(rule)
    return [f"{terms[key]:+.3f} {key}" for key in sorted(terms, key=lambda k: -abs(terms[k]))][:6]


def is_delta(rule: Rule) -> bool:
    """Whether a rule is c pre (target - post), c > 0, both coefficients within 5 %.

    Inputs are 0 or 1 in this problem, so a power of ``pre`` is ``pre``.
    """
    terms: dict[str, float] = {}
    for key, value in terms_of(rule).items():
        short = key.replace("pre^2", "pre").replace("pre^3", "pre")
        terms[short] = terms.get(short, 0.0) + value
    if set(terms) != {"pre*target", "post*pre"}:
        return False
    c, d = terms["pre*target"], -terms["post*pre"]
    return c > 0 and abs(c - d) <= SMALL * c


def is_oja(rule: Rule) -> bool:
    """Whether a rule is c post (pre - d post w) with c and d above 0."""
    terms = terms_of(rule)
    return set(terms) == {"post*pre", "post^2*w"} and terms["post*pre"] > 0 > terms["post^2*w"]


def oja_rank() -> list[dict[str, Any]]:
    """Return Oja's rank among the rules of its size, in each enumeration."""
    problem = es.load_problem("oja_pc1")
    ranks = []
    for seed in SEEDS:
        budget = problem.default_budget("enumerate")
        run = api.finished_run(problem, search="enumerate", seed=seed, budget=budget)
        with reading(run.path) as store:
            rows = [row for row in store.candidates() if row.size == 7]
        wanted = fingerprint(Rule("post*(pre - post*w)"))
        own = next(row for row in rows if fingerprint(Rule(row.text)) == wanted)
        rank = 1 + sum(row.fitness > own.fitness for row in rows)
        ranks.append({"seed": seed, "rank": rank, "of": len(rows)})
    return ranks


if __name__ == "__main__":
    main(sys.argv[1:])
