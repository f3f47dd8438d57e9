"""Why the best storage rule of a Hopfield memory works: recall by load and by age of a pattern.

    python benchmarks/searches/hopfield_rule.py run      # plain NumPy, about three minutes
    python benchmarks/searches/hopfield_rule.py table

The specification of ``hopfield_storage`` once more in NumPy, apart from the engine, so that the
figures check those of the problem; beside it the pseudo-inverse, which no local rule computes.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evosearch.rules.rule import Rule
from evosearch.tables import plain

RECORD = Path(__file__).parent / "records" / "hopfield_rule.json"
Array = NDArray[np.float64]
PSEUDO_INVERSE = "pseudo-inverse"
RESIDUAL = "(post - field_post)*(pre - field_pre)"
RULES = {
    "Hebb": "pre*post",
    "Storkey": "pre*post - post*(field_pre - w*post) - (field_post - w*pre)*pre",
    "product of residuals": RESIDUAL,
    "the same, slower": f"0.754*{RESIDUAL}",
    "with half the growth": f"0.5*w + 0.754*{RESIDUAL}",
    "evolved": f"w + 0.754254303828137*{RESIDUAL}",
    "with twice the growth": f"2*w + 0.754*{RESIDUAL}",
    "growth, full step": f"w + {RESIDUAL}",
    PSEUDO_INVERSE: None,
}
LOADS = (10, 20, 30, 40, 50)
DRAWS = 40


def stored(patterns: Array, rule: Rule, clip: float = 10.0) -> Array:
    """Return the weights (D, N, N) after each pattern of (D, P, N) was shown once."""
    n_draws, n_patterns, n = patterns.shape
    diagonal = np.arange(n)
    weights = np.zeros((n_draws, n, n))
    for k in range(n_patterns):
        x = patterns[:, k]
        field = (weights @ x[:, :, None])[:, :, 0]
        change = rule(
            w=weights,
            pre=x[:, None, :],
            post=x[:, :, None],
            field_pre=field[:, None, :],
            field_post=field[:, :, None],
        )
        weights = np.clip(weights + change / n, -clip, clip)
        weights[:, diagonal, diagonal] = 0.0
    return weights


def pseudo_inverse(patterns: Array) -> Array:
    """Return the projections on the patterns without their diagonals (Personnaz et al. 1985)."""
    weights = np.stack([np.linalg.pinv(each) @ each for each in patterns])
    diagonal = np.arange(patterns.shape[2])
    weights[:, diagonal, diagonal] = 0.0
    return weights


def recalled(weights: Array, patterns: Array, rng: np.random.Generator) -> NDArray[np.bool_]:
    """Return which patterns (D, P) come back from cues with a tenth of their signs flipped."""
    state = patterns * np.where(rng.random(patterns.shape) < 0.1, -1.0, 1.0)
    for _ in range(20):
        state = np.where(state @ weights.swapaxes(1, 2) >= 0, 1.0, -1.0)
    return (state * patterns).mean(axis=2) >= 0.95


def measured(text: str | None, load: int, n: int, n_draws: int) -> dict[str, Any]:
    """Return recall and the field that holds a pattern, of all, the oldest and newest third."""
    rng = np.random.default_rng([load, n])
    patterns = rng.choice([-1.0, 1.0], (n_draws, load, n))
    weights = pseudo_inverse(patterns) if text is None else stored(patterns, Rule(text))
    is_recalled = recalled(weights, patterns, rng)
    field = (patterns @ weights.swapaxes(1, 2) * patterns).mean(axis=2)
    third = load // 3
    ages = {"all": slice(None), "oldest": slice(None, third), "newest": slice(-third, None)}
    return {
        "load": load,
        "units": n,
        "recall": {name: is_recalled[:, age].mean() for name, age in ages.items()},
        "field": {name: field[:, age].mean() for name, age in ages.items()},
        "standard_error": is_recalled.mean(axis=1).std(ddof=1) / np.sqrt(n_draws),
    }


def run() -> None:
    """Measure all rules at all loads, and write the record."""
    record = {
        name: [measured(text, load, 100, DRAWS) for load in LOADS]
        + [measured(text, load, 200, 10) for load in (80, 100)]
        for name, text in RULES.items()
    }
    RECORD.write_text(json.dumps(plain(record), indent=1) + "\n", encoding="utf-8")


def table(record: dict[str, Any]) -> str:
    """Return recall by load, and by age at the highest load."""
    at = [f"{load}" for load in LOADS] + ["80 of 200", "100 of 200"]
    lines = [
        "| rule | mean | " + " | ".join(at) + " | oldest third of 50 | newest third | field of the "
        "oldest | of the newest |",
        "|---|---:|" + "---:|" * (len(at) + 4),
    ]
    for name, rows in record.items():
        small = [row for row in rows if row["units"] == 100]
        mean = float(np.mean([row["recall"]["all"] for row in small]))
        recalls = " | ".join(f"{row['recall']['all']:.3f}" for row in rows)
        last = small[-1]
        ages = " | ".join(
            f"{last[what][age]:.2f}" for what in ("recall", "field") for age in ("oldest", "newest")
        )
        lines.append(f"| {name} | {mean:.3f} | {recalls} | {ages} |")
    return "\n".join(lines)


if __name__ == "__main__":
    if sys.argv[1] == "run":
        run()
    else:
        print(table(json.loads(RECORD.read_text(encoding="utf-8"))))
