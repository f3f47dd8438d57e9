"""Lives of learning in a stream: their speed beside plain NumPy loops, and courses of evolution.

python benchmarks/meta/streams.py speed                 # lives a second, ratio to the plain loop
python benchmarks/meta/streams.py hinton_nowlan         # 20 seeds with learning, 20 without
python benchmarks/meta/streams.py bandit                # the ceiling: learners that know the task
python benchmarks/meta/streams.py foraging              # the ceiling: one who knows the season
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from evosearch.bench.timing import interleaved, one_blas_thread
from evosearch.data import load_data
from evosearch.outcome import OK, Evaluation, FloatArray
from evosearch.problem import load_problem
from evosearch.problem.base import Chunk
from evosearch.search.base import SEARCHES
from evosearch.tasks.bandit import draw_chances
from evosearch.tasks.foraging import ForagingSettings, colours_of, draw_world, places_apart
from evosearch.tasks.linreg_zero import LinregZeroSettings, draw_regression
from evosearch.tasks.linreg_zero_program import decoded

TURNS = 5


def main(names: Sequence[str]) -> None:
    """Make the parts that are named."""
    for name in names or list(PARTS):
        PARTS[name]()


def speed() -> None:
    """Print seconds of a life, the plain loop's and their ratio, in turns on one core."""
    print("| problem | life | NumPy loop, ms | toolkit, ms | ratio |\n|---|---|---|---|---|")
    for name, (life, plain, ours, n_lives) in _rows().items():
        with one_blas_thread():
            times = interleaved({"plain": plain, "ours": ours}, TURNS)
        per_life = {"plain": times.median("plain"), "ours": times.median("ours") / n_lives}
        print(f"| {name} | {life} | {1e3 * per_life['plain']:.3g} | {1e3 * per_life['ours']:.3g} "
              f"| {times.ratio('plain', 'ours') * n_lives:.0f} |", flush=True)  # fmt: skip


def hinton_nowlan() -> None:
    """Print the course of evolution with and without learning, over 20 seeds."""
    for learning in (True, False):
        runs = [_course(seed, learning) for seed in range(20)]
        means = np.array([run["fitness"] for run in runs])
        off = [int(np.argmax(mean > 2)) if (mean > 2).any() else None for mean in means]
        print(f"learning {learning}: take-off at generation (0 is the random one) {off}")
        print("| generation | mean fitness | zeros | ones | undecided | guesses a life |")
        for generation in (0, 5, 10, 20, 30, 49):
            cells = [f"{np.mean([run[key][generation] for run in runs]):.3f}" for key in runs[0]]
            print("|", generation, "|", " | ".join(cells), "|")
        guesses = [1000 * run["guesses"].sum() for run in runs]
        print(f"guesses a run {np.mean(guesses):.3g}, evaluations 50,000", flush=True)


def _course(seed: int, learning: bool) -> dict[str, Any]:
    """Return means over each generation; the same numbers as in ``evosearch run``."""
    problem = load_problem("hinton_nowlan", overrides={"task.learning": str(learning).lower()})
    settings = problem.search_settings("simple-ga")
    search = SEARCHES.get("simple-ga")(problem.space("vector"), seed=seed, **settings)
    course: dict[str, list[float]] = {
        key: [] for key in ("fitness", "zeros", "ones", "undecided", "guesses")
    }
    for generation in range(1, 51):
        candidates = search.ask()
        draws = problem.draws("search", run_seed=seed, generation=generation)
        chunk = problem.score(np.stack(candidates), [1.0], draws)
        search.tell(candidates, _evaluation(chunk))
        for key, values in {"fitness": chunk.fitness, **chunk.metrics}.items():
            course[key].append(float(values.mean()))
    return {key: np.array(values) for key, values in course.items()}


def _evaluation(chunk: Chunk) -> Evaluation:
    n = len(chunk.fitness)
    return Evaluation(
        chunk.fitness, (OK,) * n, np.ones(n, np.int64), chunk.per_draw, np.ones(n),
        chunk.exploded, np.zeros(n, np.bool_), n,
    )  # fmt: skip


def bandit() -> None:
    """Print what discounted Thompson sampling and epsilon-greedy reach, tuned on validation."""
    problem = load_problem("bandit")
    learners = {
        "thompson": ([(g,) for g in (0.9, 0.95, 0.98, 0.99, 1.0)], _thompson),
        "epsilon_greedy": (
            [(e, a) for e in (0.0, 0.01, 0.02, 0.05) for a in (0.2, 0.3, 0.4, 0.5)], _greedy
        ),
    }  # fmt: skip
    for name, (settings, act) in learners.items():
        tried = {one: _chances(problem, "validation", act, one) for one in settings}
        best = max(settings, key=lambda one, tried=tried: tried[one].mean())
        for split in ("test", "still", "fast", "many"):
            found = _chances(problem, split, act, best)
            print(name, best, split, found.mean().round(4), found.std().round(4), flush=True)


def _chances(problem: Any, split: str, act: Callable[..., Any], settings: Any) -> FloatArray:
    """Return the mean chance of the pulled arms (D,), over the conditions of a split."""
    s, keys = problem.task(split).settings, problem.draws(split).keys
    found = []
    for n_arms in s.arms:
        chances = np.stack([draw_chances(key, n_arms, s.trials, s.hazard) for key in keys])
        found.append(act(np.random.default_rng(1), chances, *settings))
    return np.mean(found, axis=0)


def _thompson(rng: np.random.Generator, chances: FloatArray, discount: float) -> FloatArray:
    """Pull the arm of the greatest draw from Beta posteriors whose counts fade to the prior."""
    n_draws, n_trials, n_arms = chances.shape
    paid, lost, rows = np.zeros((n_draws, n_arms)), np.zeros((n_draws, n_arms)), np.arange(n_draws)
    total = np.zeros(n_draws)
    for trial in range(n_trials):
        arm = rng.beta(1 + paid, 1 + lost).argmax(axis=1)
        chance = chances[rows, trial, arm]
        is_paid = rng.random(n_draws) < chance
        paid, lost, total = discount * paid, discount * lost, total + chance
        paid[rows, arm] += is_paid
        lost[rows, arm] += ~is_paid
    return total / n_trials


def _greedy(
    rng: np.random.Generator, chances: FloatArray, epsilon: float, rate: float
) -> FloatArray:
    """Pull the arm of the greatest running mean, or any with probability epsilon."""
    n_draws, n_trials, n_arms = chances.shape
    value, rows, total = np.full((n_draws, n_arms), 0.5), np.arange(n_draws), np.zeros(n_draws)
    for trial in range(n_trials):
        best = (value + 1e-6 * rng.random(value.shape)).argmax(axis=1)
        is_random = rng.random(n_draws) < epsilon
        arm = np.where(is_random, rng.integers(n_arms, size=n_draws), best)
        chance = chances[rows, trial, arm]
        value[rows, arm] += rate * ((rng.random(n_draws) < chance) - value[rows, arm])
        total += chance
    return total / n_trials


def foraging() -> None:
    """Print food minus poison in 100 steps of a forager that knows which colour is food."""
    problem: Any = load_problem("foraging")
    for split in ("test", "fast", "slow", "colours", "strong"):
        settings: Any = problem.task(split).settings
        keys = problem.draws(split, count=100).keys
        gains = np.array([_forage(key, settings) for key in keys])
        error = gains.std() / len(gains) ** 0.5
        print(f"{split}: {gains.mean():.2f}, standard error {error:.2f}", flush=True)


def _forage(key: tuple[int, ...], s: ForagingSettings, w: FloatArray | None = None) -> float:
    """Live one life: with weights (3, 3 colours) as a learner, without as one who knows."""
    world, colours, reach = draw_world(key, s), colours_of(s), s.size // 2
    columns, rows = places_apart(s)
    (x, y), straight, gain = world.places.copy(), np.array([0.0, 0.5, 0.0]), 0.0
    for t in range(s.steps):
        values = world.values[t // s.season_steps]
        seen = np.zeros((3, s.colours))
        for side, (column, row) in enumerate(((-1, 0), (0, 1), (1, 0))):
            seen[side, colours[(x == column) & (y == row)]] = 1.0
        drive = seen @ values[: s.colours] if w is None else w @ seen.ravel()
        act = int(np.argmax(drive + straight))
        x, y = ((y, -x), (x, y), (-y, x))[act]
        y = y - 1
        behind = y < -reach
        x = np.where(behind, x + world.new[t, 2] + columns, x)
        y = np.where(behind, reach, y)
        here = (x == 0) & (y == 0)
        mod = values[here].sum()
        x = (np.where(here, world.new[t, 0] + columns, x) + reach) % s.size - reach
        y = (np.where(here, world.new[t, 1] + rows, y) + reach) % s.size - reach
        gain += mod
        if w is not None:
            w += mod * np.eye(3)[act][:, None] * seen.ravel() - 0.01 * w
    return 100 / s.steps * gain


def _plain_forager() -> None:
    _forage((0, 1, 0), ForagingSettings.model_validate({}), np.zeros((3, 6)))


def _plain_guessing() -> None:
    """Guess twenty undecided loci, guess by guess, 1,000 times, in vain."""
    rng, is_open = np.random.default_rng(0), np.ones(20, np.bool_)
    for _ in range(1000):
        if (rng.random(20)[is_open] < 0.0).all():
            break


def _guessing() -> Callable[[], object]:
    """Return lives of sixty undecided loci, which are guessed in vain as well."""
    problem = load_problem("hinton_nowlan", overrides={"task.loci": "60"})
    points, draws = np.full((64, 60), 0.75), problem.draws("test", count=16)
    return lambda: problem.score(points, [1.0], draws)


def _plain_regression() -> None:
    task, w = (
        draw_regression((0, 0), LinregZeroSettings(features=4, shown=100, asked=100)),
        np.zeros(4),
    )
    for x, target in zip(task.inputs[:100], task.targets[:100], strict=True):
        w = w + 0.1 * x * (target - w @ x)
    for x, target in zip(task.inputs[100:], task.targets[100:], strict=True):
        _ = (target - w @ x) ** 2


def _plain_program() -> None:
    """Execute setup, predict and learn in a plain loop over the delta rule's instructions."""
    problem = load_problem("linreg_zero_program")
    codes, constants = decoded(problem.known_candidate("delta")[None])
    code, constant = codes[0].tolist(), constants[0].tolist()
    task, s, v = (
        draw_regression((0, 0), LinregZeroSettings(features=4, shown=100, asked=100)),
        np.zeros(4),
        np.zeros((3, 4)),
    )
    operations: list[Callable[[int, int, int, float], None]] = [
        lambda t, a, b, c: s.__setitem__(t, c),
        lambda t, a, b, c: s.__setitem__(t, v[a] @ v[b]),
        lambda t, a, b, c: s.__setitem__(t, s[a] - s[b]),
        lambda t, a, b, c: s.__setitem__(t, s[a] * s[b]),
        lambda t, a, b, c: v.__setitem__(t, s[a] * v[b]),
        lambda t, a, b, c: v.__setitem__(t, v[a] + v[b]),
    ]

    def run(first: int, end: int) -> None:
        for k in range(first, end):
            operation, target, a, b = code[k]
            operations[operation](target, a, b, constant[k])

    run(0, 10)
    for number, (x, target) in enumerate(zip(task.inputs, task.targets, strict=True)):
        v[0], s[0] = x, 0.0
        run(10, 12)
        s[0] = target
        if number < 100:
            run(12, 20)


def _programs() -> Callable[[], object]:
    problem = load_problem("linreg_zero_program")
    points = np.repeat(problem.known_candidate("delta")[None], 64, axis=0)
    draws = problem.draws("search", count=16)
    return lambda: problem.score(points, [1.0], draws)


def _plain_stream() -> None:
    """Learn the digits in one pass by direct feedback alignment; then ask about the others."""
    data, rng = load_data("digits"), np.random.default_rng(0)
    first, second = rng.normal(0, 1 / 8, (64, 64)), rng.normal(0, 1 / 8, (10, 64))
    back, b1, b2 = rng.normal(0, 0.3, (64, 10)), np.zeros(64), np.zeros(10)
    for x, label in zip(data.train.inputs, data.train.labels, strict=True):
        hidden = np.tanh(first @ x + b1)
        out = np.exp(second @ hidden + b2)
        error = -out / out.sum()
        error[label] += 1
        below = back @ error * (1 - hidden * hidden)
        second, b2 = second + 0.05 * error[:, None] * hidden, b2 + 0.05 * error
        first, b1 = first + 0.05 * below[:, None] * x, b1 + 0.05 * below
    for x in data.validation.inputs:
        (second @ np.tanh(first @ x + b1) + b2).argmax()


def _plain_bandit() -> None:
    """Pull 2, 5 and 10 arms 200 times each under the delta rule."""
    rng = np.random.default_rng(0)
    for n_arms in (2, 5, 10):
        chances, w, total = draw_chances((0, 0), n_arms, 200, 0.02), np.zeros(n_arms), 0.0
        for trial in range(200):
            post = np.zeros(n_arms)
            post[np.argmax(w + 0.1 * rng.standard_normal(n_arms))] = 1.0
            chance = post @ chances[trial]
            mod = float(rng.random() < chance) - 0.5
            w = np.clip(w + 0.3 * post * (mod - w), -4, 4)
            total += chance


def _plain_fewshot() -> None:
    """Write five drawings into an output layer and ask about twenty-five."""
    features, w = np.random.default_rng(0).random((30, 576)), np.zeros((5, 576))
    for k in range(5):
        target = np.eye(5)[k]
        w = np.clip(w + (target - w @ features[k])[:, None] * features[k], -4, 4)
    for k in range(5, 30):
        (w @ features[k]).argmax()


def _rules(name: str, text: str, n_rules: int, n_draws: int) -> Callable[[], object]:
    """Return lives of several rules that differ in a constant, on draws of the search."""
    problem = load_problem(name)
    rules = [problem.read(f"{1 - 0.001 * k}*({text})") for k in range(n_rules)]
    draws = problem.draws("search", count=n_draws)
    problem.prepare(draws)
    return lambda: problem.score(rules, [1.0] * n_rules, draws)


def _rows() -> dict[str, tuple[str, Callable[[], object], Callable[[], object], int]]:
    """Return for each problem what a life is, the plain loop, lives of ours and their number."""
    return {
        "hinton_nowlan": ("1,000 guesses in vain", _plain_guessing, _guessing(), 1024),
        "linreg_zero": ("100 examples, 100 queries", _plain_regression,
                        _rules("linreg_zero", "0.1*(pre*error)", 16, 16), 256),
        "linreg_zero_program": ("100 examples, 100 queries", _plain_program, _programs(), 1024),
        "online_digits": ("1,077 images, 360 queries", _plain_stream,
                          _rules("online_digits", "error*pre", 8, 4), 32),
        "omniglot_fewshot": ("5 drawings, 25 queries, 576 features", _plain_fewshot,
                             _rules("omniglot_fewshot", "pre*error", 16, 16), 256),
        "bandit": ("200 pulls of 2, 5, 10 arms", _plain_bandit,
                   _rules("bandit", "post*(mod - w)", 16, 16), 256),
        "foraging": ("1,000 steps, 24 items", _plain_forager,
                     _rules("foraging", "mod*pre*post", 16, 16), 256),
    }  # fmt: skip


PARTS: dict[str, Callable[[], None]] = {
    "speed": speed,
    "hinton_nowlan": hinton_nowlan,
    "bandit": bandit,
    "foraging": foraging,
}

if __name__ == "__main__":
    main(sys.argv[1:])
