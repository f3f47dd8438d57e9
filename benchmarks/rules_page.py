"""Compose docs/results/rules.md from the records of ``rules.py``."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from evosearch.environment import describe_environment
from evosearch.statistics import wilson_interval

HEAD = """# Rules: what ten seeds find

Every number below was measured by `python benchmarks/rules.py` (a minute a seed or less on two
cores); the records, with every champion, are in `runs/reference/`. *Test* is the mean over test
draws that no search sees; champions are chosen on validation draws. ± is one standard deviation
over seeds, SE the standard error over draws. Intervals of success rates are Wilson's, 95 %.

The rows of `gp` and `gp-lexicase` are of the time when rules were bred one by one on DEAP's trees.
Bred in batches in compiled code, which draws other random numbers, `gp` with the same settings was
run again on three problems: delta_rule at 2,500 evaluations 20 of 20 seeds (first success after
1,300 at the median), oja_pc1 10 of 10 (2,900), switching_cue 10 of 10 (2,500).
"""


def write_page(records: Path, target: Path) -> None:
    """Write the page from the records that are there."""
    parts = [HEAD, _machine()]
    for name, section in _SECTIONS.items():
        file = records / f"{name}.json"
        if file.is_file():
            record = json.loads(file.read_text(encoding="utf-8"))
            commands = "\n".join(_COMMANDS[name])
            parts.append(f"## {name}\n\n```\n{commands}\n```\n\n{section(record)}")
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text("\n".join(parts).rstrip() + "\n", encoding="utf-8")


def _machine() -> str:
    facts = describe_environment()
    names = ("evosearch", "python", "numpy", "numba", "deap", "cma")
    versions = ", ".join(f"{name} {facts[name]}" for name in names)
    return f"Machine: {facts['processor']}, two cores. Versions: {versions}.\n"


def _delta_rule(record: dict[str, Any]) -> str:
    lines = [_search_table(record["searches"], threshold=0.98)]
    gp = record["searches"]["gp"]
    n = sum(row["is_form"] for row in gp)
    lines.append(
        f"`gp` champions of the form c·pre·(target − post): {n} of {len(gp)}. The genetic "
        "algorithm has Chalmers' genome (ten coefficients of 0, ±1, ±2, ±4), population 40; "
        "his mean on new tasks is reported as 0.85 to 0.95."
    )
    rows = [
        (n_tasks, _mean_sd(values), f"{np.median(values):.4f}")
        for n_tasks, values in record["curve"].items()
    ]
    lines.append("Test score of `gp` against the number of search tasks:\n")
    lines.append(_table(("search tasks", "mean ± sd", "median"), rows))
    lines.append(_known_table(record["known"]))
    return "\n".join(lines)


def _oja_pc1(record: dict[str, Any]) -> str:
    searches, oja = record["searches"], record["known"]["oja"]["test"]
    lines = [_search_table(searches, threshold=oja)]
    for name in ("gp", "cmaes"):
        rows = searches[name]
        n = sum(row["is_form"] for row in rows)
        lines.append(f"- `{name}` champions equivalent to c·post·(pre − d·post·w): {n} of "
                     f"{len(rows)}.")  # fmt: skip
    lines.append(f"- Oja's rule at its best step size on the same draws: {oja:.5f}.")
    lines.append(_many_draws(record["many"]))
    ranks = record["rank"]
    listed = ", ".join(str(row["rank"]) for row in ranks)
    lines.append(
        f"- Oja's rank among the {ranks[0]['of']:,} distinct rules of 7 nodes, by seed: {listed}."
    )
    lines.append(f"- {searches['enumerate'][0]['summary']}")
    lines.append("\nLargest terms of the `cmaes` champions:\n")
    rows = [(row["seed"], _number(row["test"]), ", ".join(row["terms"])) for row in
            searches["cmaes"]]  # fmt: skip
    lines.append(_table(("seed", "test", "terms"), rows))
    lines.append(_known_table(record["known"]))
    return "\n".join(lines)


def _many_draws(many: dict[str, Any]) -> str:
    """Say how champions of `cmaes` stand to Oja's rule where draws are enough to tell."""
    n = sum(difference >= 0 for difference in many["differences"])
    sure = sum(
        difference > 2 * error
        for difference, error in zip(many["differences"], many["standard_errors"], strict=True)
    )
    listed = ", ".join(f"{mean:.4f}" for mean in many["means"])
    error = max(many["standard_errors"])
    return (
        f"- On {many['draws']:,} test draws, enough to tell differences of {2 * error:.4f}: Oja's "
        f"rule {many['oja']:.4f}, `cmaes` champions by seed {listed}; {n} of {len(many['means'])} "
        f"are not behind Oja's rule, {sure} are ahead by more than two standard errors."
    )


def _oja_digits(record: dict[str, Any]) -> str:
    lines = ["Absolute cosine of the weights to the first principal component, ten test draws.\n"]
    rows = [(f"oja, η {eta}", f"{v['mean']:.4f} ± {v['sd']:.4f}") for eta, v in
            record["oja"].items()]  # fmt: skip
    for name in ("gp", "cmaes"):
        values = [row["mean"] for row in record["transfer"] if row["search"] == name]
        n = sum(value > 0.99 for value in values)
        label = f"champions of oja_pc1 by {name}, above .99: {n} of {len(values)}"
        rows.append((label, f"{_mean_sd(values)}, least {min(values):.4f}"))
    lines.append(_table(("rule", "absolute cosine"), rows))
    return "\n".join(lines)


def _hopfield_storage(record: dict[str, Any]) -> str:
    lines = [_search_table(record["searches"], threshold=0.82)]
    without = record["without_fields"]
    lines.append(
        f"Terminals w, pre, post only (`gp`): {_mean_sd([row['test'] for row in without])}; Hebb "
        f"{_number(record['known']['hebb']['test'])}. Champions: "
        + "; ".join(sorted({f"`{row['simplified']}`" for row in without})[:6])
        + ".\n"
    )
    fresh, transfer = record["fresh"], record["transfer"]
    n = sum(value["mean"] > 0.84 for value in fresh.values())
    draws = next(iter(fresh.values()))["draws"]
    lines.append(
        f"On {draws} fresh draws {n} of {len(fresh)} champions exceed .84. Known rules and the "
        "five best, with recall at N = 200 (80 and 100 patterns, 15 draws):\n"
    )
    best = sorted(fresh, key=lambda key: -fresh[key]["mean"])[:5]
    rows = []
    for name, value in [*record["reference"].items(), *((key, fresh[key]) for key in best)]:
        far = transfer[name]["metrics"]
        rows.append(
            (name, f"{value['mean']:.4f} (SE {value['se']:.4f})",
             *(f"{far[f'recall_{load}']:.3f}" for load in (80, 100)))
        )  # fmt: skip
    lines.append(_table(("rule", "fresh draws, N = 100", "recall 80", "recall 100"), rows))
    texts = {f"{name} {row['seed']}": row["simplified"] for name, rows in
             record["searches"].items() for row in rows}  # fmt: skip
    lines.append(_table(("champion", "rule"), [(key, f"`{texts[key]}`") for key in best]))
    return "\n".join(lines)


def _switching_cue(record: dict[str, Any]) -> str:
    lines = [_search_table(record["searches"], threshold=0.968)]
    test, transfer = record["test"], record["transfer"]
    reference = transfer["switching_clip_free"]["metrics"]
    counts = []
    for name, rows in record["searches"].items():
        keys = [f"{name} {row['seed']}" for row in rows]
        good = [k for k in keys if test[k]["metrics"]["reward_1cues"] >= 0.985
                and test[k]["metrics"]["reward_4cues"] >= 0.95]  # fmt: skip
        near = [k for k in keys if all(
            transfer[k]["metrics"][c] >= reference[c] - 0.02
            for c in ("reward_8cues_clip1", "reward_8cues_clip8"))]  # fmt: skip
        counts.append((name, f"{len(good)} of {len(keys)}", f"{len(near)} of {len(keys)}"))
    columns = ("search", "≥ .985 with one cue and ≥ .95 with four", "held out within .02")
    lines.append(_table(columns, counts))
    lines.append("Held out: eight cues, three flips, clips 1 and 8, beside the clip-free rule.\n")
    shown = [*(k for k in test if k not in record["known"]), *record["known"]]
    rows = [
        (name, *(f"{test[name]['metrics'][c]:.4f}" for c in ("reward_1cues", "reward_4cues")),
         *(f"{transfer[name]['metrics'][c]:.4f}"
           for c in ("reward_8cues_clip1", "reward_8cues_clip8")))
        for name in shown
    ]  # fmt: skip
    lines.append(_table(("rule", "1 cue", "4 cues", "8 cues, clip 1", "8 cues, clip 8"), rows))
    ablated = [row["test"] for row in record["ablation"]]
    lines.append(f"Without the modulator (`gp`): {_mean_sd(ablated)}, best {max(ablated):.4f}.\n")
    return "\n".join(lines)


def _discrete_table(record: dict[str, Any]) -> str:
    rows = []
    for name, found in record["searches"].items():
        n = sum(row["success"] for row in found)
        low, high = wilson_interval(n, len(found))
        rows.append((name, f"{n} of {len(found)}", f"{low:.2f} to {high:.2f}",
                     _mean_sd([row["test"] for row in found])))  # fmt: skip
    truth = record["truth"]
    counts = ", ".join(f"{n:,} reach {least}" for least, n in truth["counts"].items())
    return (
        _table(("search", "≥ .90 in 200 evaluations", "95 %", "test"), rows)
        + f"\nOf all 6,561 tables on 800 draws: {counts}; median {truth['median']:.3f}, best "
        f"{truth['best']:.3f}. The file names `{record['default']}` as its default search.\n"
    )


_SECTIONS = {
    "delta_rule": _delta_rule,
    "oja_pc1": _oja_pc1,
    "oja_digits": _oja_digits,
    "hopfield_storage": _hopfield_storage,
    "switching_cue": _switching_cue,
    "discrete_table": _discrete_table,
}

_ABLATED = "--set \"rule.terminals=['w', 'pre', 'post']\""
_COMMANDS = {
    "delta_rule": (
        "evosearch compare delta_rule --searches gp,cmaes,ga,random --seeds 10",
        "evosearch compare delta_rule --searches gp --seeds 10 --set splits.search.draws=1"
        "    # 2, 5, 10, 20",
    ),
    "oja_pc1": tuple(
        f"evosearch compare oja_pc1 --searches {name} --seeds 10"
        for name in ("gp", "cmaes", "enumerate")
    ),
    "oja_digits": (
        "evosearch evaluate oja_digits RUN        # a run of oja_pc1",
        "evosearch evaluate oja_digits oja --scale 1",
    ),
    "hopfield_storage": (
        "evosearch compare hopfield_storage --searches gp --seeds 10",
        f"evosearch compare hopfield_storage --searches gp --seeds 10 --budget 2000 {_ABLATED}",
        "evosearch evaluate hopfield_storage RUN --split transfer",
    ),
    "switching_cue": (
        "evosearch compare switching_cue --searches gp --seeds 10",
        "evosearch compare switching_cue --searches enumerate --seeds 10",
        "evosearch evaluate switching_cue RUN --split transfer",
        f"evosearch compare switching_cue --searches gp --seeds 10 --budget 2000 {_ABLATED}",
    ),
    "discrete_table": ("evosearch compare discrete_table --searches DEFAULT,random --seeds 100",),
}


def _search_table(searches: dict[str, Any], *, threshold: float) -> str:
    rows = []
    for name, found in searches.items():
        n = sum(row["test"] >= threshold for row in found)
        low, high = wilson_interval(n, len(found))
        spent = [row["to_success"] for row in found if row["success"] and row["to_success"]]
        tests = [row["test"] for row in found]
        rows.append((
            name, f"{n} of {len(found)}", f"{low:.2f} to {high:.2f}", _mean_sd(tests),
            _number(float(np.median(tests))), f"{found[0]['evaluations']:,}",
            f"{np.median(spent):,.0f}" if spent else "–",
            f"{np.median([row['wall_s'] for row in found]):.0f}",
        ))  # fmt: skip
    columns = ("search", f"test ≥ {threshold:.5g}", "95 %", "test, mean ± sd", "median",
               "evaluations", "to success, median", "seconds")  # fmt: skip
    return _table(columns, rows)


def _known_table(known: dict[str, Any]) -> str:
    ordered = sorted(known.items(), key=lambda item: -(item[1]["test"] or 0.0))
    rows = [(name, _number(score["test"]), f"{score['scale']:g}") for name, score in ordered]
    return "Known rules:\n\n" + _table(("rule", "test", "best step size factor"), rows)


def _table(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    lines = ["| " + " | ".join(columns) + " |", "|" + "---|" * len(columns)]
    lines += ["| " + " | ".join(str(value) for value in row) + " |" for row in rows]
    return "\n".join(lines) + "\n"


def _mean_sd(values: Sequence[float]) -> str:
    return f"{np.mean(values):.4f} ± {np.std(values, ddof=1):.4f}"


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.4f}"
