"""How soon a search finds a rule that trains a deep network inside a circuit.

Each run stops when its best rule reaches, on validation draws, what error*pre reaches there less
.003; the line says after how many candidates, and how the rule does on the test split.

    python benchmarks/learners/circuit_search.py [circuit_dfa|circuit_fa] [SEARCH] [SEEDS]
"""

from __future__ import annotations

import sys

import evosearch as es

TARGETS = {"circuit_dfa": 0.955, "circuit_fa": 0.938}


def main(problem: str = "circuit_dfa", search: str = "gp", seeds: str = "10") -> None:
    """Run the seeds one after the other."""
    for seed in range(int(seeds)):
        run = es.run(problem, search=search, seed=seed, target=TARGETS[problem], workers=1)
        champion = run.champion
        print(
            f"{problem} {search} seed {seed}: {run.to_json()['evaluations']} evaluations, "
            f"{champion.simplified}, test {champion.fitness['test']:.3f}, "
            f"normalised {champion.normalised_test:.2f}",
            flush=True,
        )


if __name__ == "__main__":
    main(*sys.argv[1:])
