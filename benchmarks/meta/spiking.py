"""Spiking neurons that learn: speed beside the plain NumPy loops, known rules, and searches.

    python benchmarks/meta/spiking.py speed                     # one core, in turns
    python benchmarks/meta/spiking.py known error_driven_lif    # known rules on all held-out splits
    python benchmarks/meta/spiking.py runs error_driven_lif gp 10
    python benchmarks/meta/spiking.py runs ei_balance cmaes 2 "task.targets=[5.0,10.0]" budget=400
    python benchmarks/meta/spiking.py trials correlation_driven ga 20   # after their runs

Runs lie in ./runs (or EVOSEARCH_RUNS) and are not done twice. The plain loops are those that the
tests compare lives with.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

import evosearch as es
from evosearch import api
from evosearch.bench.timing import interleaved, one_blas_thread
from evosearch.problem import Problem, load_problem
from evosearch.tasks.correlation_driven import FOUND

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tests" / "tasks"))

TURNS = 5
Part = tuple[str, Callable[[], object], Callable[[], object], int]


def main(words: Sequence[str]) -> None:
    """Make the part that is named."""
    name, *rest = words or ["speed"]
    {"speed": speed, "known": known, "runs": runs, "trials": trials}[name](*rest)


def speed() -> None:
    """Print milliseconds of a life, those of the plain loop, and their ratio."""
    print("| problem | life | NumPy loop, ms | toolkit, ms | ratio |\n|---|---|---|---|---|")
    for name, part in PARTS.items():
        life, plain, ours, n_lives = part()
        ours()
        with one_blas_thread():
            times = interleaved({"plain": plain, "ours": ours}, TURNS)
        per_life = (times.median("plain"), times.median("ours") / n_lives)
        cells = " | ".join(f"{1e3 * seconds:.3g}" for seconds in per_life)
        ratio = times.ratio("plain", "ours") * n_lives
        print(f"| {name} | {life} | {cells} | {ratio:.0f} |", flush=True)


def error_driven() -> Part:
    """Return both ways of living a life of error_driven_lif."""
    from spiking_oracle import student_loss

    return _rule_part(
        "error_driven_lif", "gradient", "1,000 steps, 5 synapses", {"task.duration": "1000"},
        lambda key, s: student_loss(lambda v, u, psp: (v - u) * psp, key, s), 32,
    )  # fmt: skip


def proxy() -> Part:
    """Return both ways of living a life of reward_driven_proxy."""
    from spiking_oracle import proxy_reward

    chances = np.random.default_rng(0).random(500)
    return _rule_part(
        "reward_driven_proxy", "reinforce", "500 trials, 50 synapses", {},
        lambda key, s: proxy_reward(lambda r, m, e: r * e, key, s, chances), 100,
    )  # fmt: skip


def reward_driven() -> Part:
    """Return both ways of living a life of reward_driven_lif."""
    from spiking_oracle import lif_reward

    chances = np.random.default_rng(0).random((20, 500))
    return _rule_part(
        "reward_driven_lif", "jordan_best", "20 trials of 500 steps, 50 synapses",
        {"task.trials": "20"},
        lambda key, s: lif_reward(lambda r, m, e: e * (r - 1), key, s, chances), 10,
    )  # fmt: skip


def balance() -> Part:
    """Return both ways of living a life of ei_balance."""
    from spiking_oracle import balanced_spikes

    from evosearch.spiking.inhibition import count_spikes
    from evosearch.tasks.ei_balance import draw_inputs, plasticity_law

    inputs = draw_inputs((0, 0, 0, 0), (2.9, 3.1), 1)
    law = plasticity_law(np.array([0, 0, -0.4, 0, 1, 1.0]), 10.0)

    def ours() -> None:
        for _ in range(20):
            count_spikes(law, inputs, 200, 10_000, (0, 1000))

    plain = lambda: balanced_spikes(law, inputs, 200)  # noqa: E731
    return "10,000 steps, 200 plastic synapses of 1,000", plain, ours, 20


def correlation() -> Part:
    """Return both ways of living a life of correlation_driven."""
    from spiking_oracle import learnt_weights

    from evosearch.spiking.correlation import learn
    from evosearch.tasks.correlation_driven import draw_stream

    stream, w0 = draw_stream((0, 0, 0, 1), 1000, 3.0, 4)
    pair = [np.array(c, float) for c in ((0, -1, 1, 0, 0, 0), (0, -1, -1, 1, 0, 0))]

    def ours() -> None:
        for _ in range(20):
            learn(*pair, stream, w0)

    plain = lambda: learnt_weights(  # noqa: E731
        lambda w, k: k - w, lambda w, k: w * k - w - k, stream, w0
    )
    return "4 s of 1,000 inputs, without measuring", plain, ours, 20


def _rule_part(
    name: str, rule: str, life: str, settings: dict[str, str], plain: Callable[..., object], n: int
) -> Part:
    problem = load_problem(name, overrides=settings)
    draws = problem.draws("validation", count=n)
    problem.prepare(draws)
    candidate, task = problem.known_candidate(rule), problem.task("validation")
    return (
        life,
        lambda: plain(draws.keys[0], task.settings),
        lambda: problem.score([candidate], [1.0], draws),
        n,
    )


def known(name: str, *settings: str) -> None:
    """Print what known candidates score on every held-out split."""
    problem = load_problem(name, overrides=dict(pair.split("=", 1) for pair in settings))
    splits = [split for split in problem.splits if split != "search"]
    print("| known |", " | ".join(splits), "|")
    for candidate in problem.config.known:
        cells = [_cell(problem, candidate, split) for split in splits]
        print(f"| {candidate} |", " | ".join(cells), "|", flush=True)


def _cell(problem: Problem, candidate: str, split: str) -> str:
    score = es.evaluate(problem, candidate, split=split)
    figures = [f"{name} {value:.3g}" for name, value in score.metrics.items() if name != "scale"]
    return "; ".join([f"{score.mean:.4g} ± {score.sd:.3g}", *figures])


def runs(name: str, search: str, seeds: str, *settings: str) -> None:
    """Make the runs that are missing; print champions, their scores and those on other splits."""
    pairs = dict(pair.split("=", 1) for pair in settings)
    budget = int(pairs.pop("budget", 0))
    problem = load_problem(name, overrides=pairs)
    splits = [split for split in problem.splits if split not in ("search", "validation", "test")]
    print("| seed | champion | size | validation | test |", " | ".join(splits), "| success |")
    rows = []
    for seed in range(int(seeds)):
        run = api.finished_run(
            problem, search=search, seed=seed, budget=budget or problem.default_budget(search)
        )
        rows.append(_row(problem, run, splits))
        cells = " | ".join(str(cell) for cell in rows[-1][:-1])
        print(f"| {seed} | {cells} |", flush=True)
    tests = np.array([row[-1] for row in rows])
    print(f"test {tests.mean():.4g} ± {tests.std(ddof=1):.3g} over {len(rows)} seeds")


def trials(name: str, search: str, seeds: str) -> None:
    """Print on how many of its own search trials each run's best there found the pattern."""
    problem = load_problem(name)
    print("| seed | trials found of the first 8 | of all | least ratio |")
    for seed in range(int(seeds)):
        run = api.finished_run(
            problem, search=search, seed=seed, budget=problem.default_budget(search)
        )
        draws = problem.draws("search", run_seed=seed, generation=0)
        candidate = problem.read(run.pareto[-1]["text"])
        ratios = problem.score([candidate], [1.0], draws).per_draw[0]
        found = ratios >= FOUND
        print(f"| {seed} | {found[:8].sum()} | {found.sum()} | {ratios.min():.1f} |", flush=True)


def _row(problem: Problem, run: Any, splits: Sequence[str]) -> tuple[Any, ...]:
    champion = run.champion
    cells = [_cell(problem, champion.text, split) for split in ("test", *splits)]
    return (
        champion.simplified or champion.text,
        champion.size,
        f"{champion.fitness['validation']:.4g}",
        *cells,
        f"{run.to_json()['success']} by {run.evaluations_to_success}",
        champion.fitness["test"],
    )


PARTS: dict[str, Callable[[], Part]] = {
    "error_driven_lif": error_driven,
    "reward_driven_proxy": proxy,
    "reward_driven_lif": reward_driven,
    "ei_balance": balance,
    "correlation_driven": correlation,
}

if __name__ == "__main__":
    main(sys.argv[1:])
