"""Lives whose settings or weights are genes: their speed beside plain NumPy loops, on one core.

python benchmarks/meta/genomes.py
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from evosearch.bench.timing import interleaved, one_blas_thread
from evosearch.outcome import FloatArray
from evosearch.problem import load_problem
from evosearch.tasks.base import draw_rng
from evosearch.tasks.familiarity import draw_stream
from evosearch.tasks.pattern_completion import PatternCompletionSettings, draw_episode
from evosearch.tasks.sinusoid import draw_wave

TURNS, N_CANDIDATES, N_DRAWS = 5, 16, 16
KEY = (0, 1, 0)


def main() -> None:
    """Print seconds of a life, the plain loop's and their ratio, in turns."""
    print("| problem | life | NumPy loop, ms | toolkit, ms | ratio |\n|---|---|---|---|---|")
    for name, (life, plain, ours, n_lives) in rows().items():
        with one_blas_thread():
            times = interleaved({"plain": plain, "ours": ours}, TURNS)
        per_life = {"plain": times.median("plain"), "ours": times.median("ours") / n_lives}
        print(f"| {name} | {life} | {1e3 * per_life['plain']:.3g} | {1e3 * per_life['ours']:.3g} "
              f"| {times.ratio('plain', 'ours') * n_lives:.0f} |", flush=True)  # fmt: skip


def rows() -> dict[str, tuple[str, Callable[[], Any], Callable[[], Any], int]]:
    """Return what a life is, one life as a plain loop, and many lives of ours, by problem."""
    n_lives = N_CANDIDATES * N_DRAWS
    return {
        "familiarity": ("200 inputs of 25 units", familiarity, rules_of(
            "familiarity", "-post*pre", {"task.lags": "[2]"}), n_lives),
        "pattern_completion": ("20 patterns, 100 units", pattern_completion, rules_of(
            "pattern_completion", "post*pre - w", {"task.loads": "[20]"}), n_lives),
        "cartpole_plastic": ("1,000 steps", cartpole, rules_of(
            "cartpole_plastic", "mod*pre*post", {"task.bodies": "[[0.5, 0.1, 1.0]]"}), n_lives),
        "pendulum_plastic": ("2,200 steps", pendulum, rules_of(
            "pendulum_plastic", "mod*pre*post", {"task.bodies": "[[1.0, 1.0, 1.0]]"}), n_lives),
        "acrobot_plastic": ("1,500 steps", acrobot, rules_of(
            "acrobot_plastic", "mod*pre*post", {"task.bodies": "[[1.0, 1.0, 1.0]]"}), n_lives),
        "sinusoid": ("5 steps, 1-40-40-1", sinusoid, sinusoids(), n_lives),
    }  # fmt: skip


def rules_of(name: str, text: str, overrides: dict[str, str]) -> Callable[[], Any]:
    """Return the lives of a problem's search draws under several spellings of one rule."""
    draws = {"splits.search.draws": N_DRAWS, **overrides}
    problem: Any = load_problem(name, overrides=draws)
    rules = [problem.read(f"{1 + k / 1000}*({text})") for k in range(N_CANDIDATES)]
    chosen = problem.draws("search", run_seed=0, generation=0)
    return lambda: problem.score(rules, np.ones(len(rules)), chosen)


def sinusoids() -> Callable[[], Any]:
    """Return the lives of several initial weights."""
    problem: Any = load_problem("sinusoid", overrides={"splits.search.draws": N_DRAWS})
    x0 = problem.space().x0
    points = x0 + 0.01 * np.random.default_rng(0).standard_normal((N_CANDIDATES, len(x0)))
    chosen = problem.draws("search", run_seed=0, generation=1)
    return lambda: problem.score(points, np.ones(N_CANDIDATES), chosen)


def sigmoid(z: Any) -> Any:
    """Return 1 / (1 + exp(-z))."""
    return 1.0 / (1.0 + np.exp(-z))


def familiarity() -> float:
    """Live one stream."""
    fixed, inputs, repeats = draw_stream(KEY, 25, 200, 2)
    weights, plastic, loss = fixed.reshape(25, 25), np.zeros((25, 25)), 0.0
    for x, (is_repeat,) in zip(inputs, repeats, strict=True):
        h = sigmoid(0.2 * (weights @ x) + plastic @ x)
        answer = -0.69 - 0.1 * h.sum()
        loss += np.logaddexp(0.0, answer) - is_repeat * answer
        plastic = np.clip(0.95 * plastic - 0.04 * np.outer(h, x), -50.0, 50.0)
    return -loss / 200


def pattern_completion() -> float:
    """Live one episode."""
    inputs, hidden = draw_episode(
        KEY, PatternCompletionSettings.model_validate({"loads": [20]}), 20
    )
    fast, y = np.zeros((100, 100)), np.zeros(100)
    for x in inputs:
        y = np.tanh(0.05 * (fast @ y) + x)
        fast = np.clip(fast + 0.01 * (np.outer(y, y) - fast), -10.0, 10.0)
    return float((np.where(y >= 0, 1.0, -1.0) == hidden).mean())


def cartpole() -> int:
    """Live practice and one episode."""
    rng = draw_rng(KEY)
    starts, w = rng.uniform(-0.05, 0.05, (1000, 4)), 0.1 * rng.standard_normal(4)
    noise = 0.2 * rng.standard_normal(1000)
    scales, critic = np.array([1 / 2.4, 0.5, 5.0, 0.5]), np.array([0.0, 0.0, 1.0, 1.0])
    fallen, alive, length = True, True, 0
    state = starts[0]
    for t in range(1000):
        state = starts[t] if fallen or t == 500 else state
        seen = state * scales
        push = 1.0 if w @ seen + noise[t] >= 0 else -1.0
        x, v, a, d = state
        force = (10.0 * push + 0.05 * d * d * math.sin(a)) / 1.1
        turn = 9.8 * math.sin(a) - math.cos(a) * force
        turn /= 0.5 * (4 / 3 - 0.1 * math.cos(a) ** 2 / 1.1)
        acc = force - 0.05 * turn * math.cos(a) / 1.1
        state = np.array([x + 0.02 * v, v + 0.02 * acc, a + 0.02 * d, d + 0.02 * turn])
        mod = (critic @ seen) ** 2 - (critic @ (state * scales)) ** 2
        w = np.clip(w + mod * push * seen, -50.0, 50.0)
        fallen = abs(state[0]) > 2.4 or abs(state[2]) > 12 * 2 * math.pi / 360
        length += t >= 500 and alive
        alive = alive and not (fallen and t >= 500)
    return length


def pendulum() -> float:
    """Live ten episodes of practice and the one that counts."""
    rng = draw_rng(KEY)
    starts = rng.uniform([-math.pi, -1.0], [math.pi, 1.0], (2200, 2))
    w, noise = 0.1 * rng.standard_normal(4), 0.2 * rng.standard_normal(2200)
    a, v = starts[0]
    total = 0.0
    for t in range(2200):
        a, v = starts[t] if t % 200 == 0 else (a, v)
        sine, cosine, scaled = math.sin(a), math.cos(a), v / 8
        seen = np.array([sine, scaled, scaled * cosine, sine * cosine])
        push = min(max(w @ seen + noise[t], -1.0), 1.0)
        before = _tilt(sine, cosine, scaled)
        total -= (a * a + 0.1 * v * v + 0.004 * push * push) * (t >= 2000)
        v = min(max(v + (15.0 * sine + 6.0 * push) * 0.05, -8.0), 8.0)
        a = (a + 0.05 * v + math.pi) % (2 * math.pi) - math.pi
        mod = before - _tilt(math.sin(a), math.cos(a), v / 8)
        w = np.clip(w + mod * push * seen, -50.0, 50.0)
    return total


def _tilt(sine: float, cosine: float, speed: float) -> float:
    return (cosine - 1 + speed * speed) ** 2 + max(0.0, cosine) * (sine + speed) ** 2


def acrobot() -> float:
    """Live two blocks of practice and the episode that counts."""
    rng = draw_rng(KEY)
    starts, w = rng.uniform(-0.1, 0.1, (1500, 4)), 0.1 * rng.standard_normal(4)
    noise, over, alive, total = 0.2 * rng.standard_normal(1500), True, True, 0.0
    state = starts[0]
    for t in range(1500):
        state = starts[t] if over or t % 500 == 0 else state
        p, q, v, u = state
        seen = np.array([math.sin(p), math.sin(p + q), v / 4, u / 8])
        push = 1.0 if w @ seen + noise[t] >= 0 else -1.0
        before = _energy(state)
        k1 = _slope(state, push)
        k2 = _slope(state + 0.1 * k1, push)
        k3 = _slope(state + 0.1 * k2, push)
        k4 = _slope(state + 0.2 * k3, push)
        state = state + 0.2 / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
        state[:2] = (state[:2] + math.pi) % (2 * math.pi) - math.pi
        state[2:] = np.clip(state[2:], _LEAST, _MOST)
        w = np.clip(w + (_energy(state) - before) * push * seen, -50.0, 50.0)
        over = -math.cos(state[0]) - math.cos(state[0] + state[1]) > 1.0
        total -= t >= 1000 and alive and not over
        alive = alive and not (over and t >= 1000)
    return total


_MOST = np.array([4 * math.pi, 9 * math.pi])
_LEAST = -_MOST


def _energy(state: FloatArray) -> float:
    p, q, v, u = state
    return -math.cos(p) - math.cos(p + q) + (v / 4) ** 2 + (u / 8) ** 2


def _slope(state: FloatArray, push: float) -> FloatArray:
    p, q, v, u = state
    cosine, sine = math.cos(q), math.sin(q)
    d_1, d_2 = 3.5 + cosine, 1.25 + 0.5 * cosine
    phi_2 = 4.9 * math.sin(p + q)
    phi_1 = -0.5 * u * (u + 2 * v) * sine + 14.7 * math.sin(p) + phi_2
    acc = (push + d_2 / d_1 * phi_1 - 0.5 * v * v * sine - phi_2) / (1.25 - d_2 * d_2 / d_1)
    return np.array([v, u, -(d_2 * acc + phi_1) / d_1, acc])


def sinusoid() -> float:
    """Live one wave: five steps of gradient descent, and the error of queries before and after."""
    problem: Any = load_problem("sinusoid")
    settings, vector = problem.task("search").settings, problem.space().x0
    sizes = (1, *settings.hidden, 1)
    weights, biases, start = [], [], 0
    for n_in, n in itertools.pairwise(sizes):
        weights.append(vector[start : start + n * n_in].reshape(n, n_in).copy())
        biases.append(vector[start + n * n_in : start + n * n_in + n].copy())
        start += n * n_in + n
    (x, y), (asked, truth) = draw_wave(KEY, settings)
    error = _error(weights, biases, asked, truth)
    for _ in range(settings.steps):
        activities, fields = _forward(weights, biases, x)
        delta = y[:, None] - fields[-1]
        for layer in reversed(range(len(weights))):
            below = (delta @ weights[layer]) * (fields[layer - 1] > 0) if layer else delta
            weights[layer] += settings.rate * delta.T @ activities[layer] / len(x)
            biases[layer] += settings.rate * delta.mean(axis=0)
            delta = below
    return error - _error(weights, biases, asked, truth)


def _forward(
    weights: Sequence[FloatArray], biases: Sequence[FloatArray], x: FloatArray
) -> tuple[list[FloatArray], list[FloatArray]]:
    activities, fields = [x[:, None]], []
    for w, bias in zip(weights, biases, strict=True):
        fields.append(activities[-1] @ w.T + bias)
        activities.append(np.maximum(fields[-1], 0.0))
    return activities, fields


def _error(
    weights: Sequence[FloatArray], biases: Sequence[FloatArray], x: FloatArray, y: FloatArray
) -> float:
    return float(((_forward(weights, biases, x)[1][-1][:, 0] - y) ** 2).mean())


if __name__ == "__main__":
    main()
