"""Measure the speed of control episodes, beside NumPy and Gymnasium in the same call.

    python benchmarks/control.py

Prints two Markdown tables. CPU seconds of this process count, the best of several rounds in which
all take turns. Balancing episodes last 500 steps each: the network's weights hold a known balancing
law, and the run stops where one episode falls short.
"""

from __future__ import annotations

import importlib
import math
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evosearch.control.environment import ENVIRONMENTS
from evosearch.control.policy import Policy
from evosearch.control.rollout import run_episodes

POPULATION, STEPS, ROUNDS = 128, 500, 7
POLICY = Policy(4, (16,), 2)


def main() -> None:
    """Print both tables."""
    print("CartPole-v1, MLP 4-16-2, population 128, full episodes of 500 steps, one core:\n")
    print("| what | episodes/s | × NumPy |\n|---|---:|---:|")
    rates = balancing_rates()
    for name, rate in rates.items():
        print(f"| {name} | {rate:,.0f} | {rate / rates['NumPy, batched, float32']:.1f} |")
    print("\nRandom policies with 16 hidden units, population 128, 8 episodes each, one core:\n")
    print(
        "| environment | ns a step, float32 | float64 | recurrent, float32 |\n|---|---:|---:|---:|"
    )
    for name in ENVIRONMENTS.names():
        cells = [
            step_time(name, "mlp", "float32"),
            step_time(name, "mlp", "float64"),
            step_time(name, "recurrent", "float32"),
        ]
        print(f"| {name} | " + " | ".join(f"{cell:.0f}" for cell in cells) + " |")


def balancing_rates() -> dict[str, float]:
    """Return full episodes a second of each way to run them."""
    vector = np.zeros(POLICY.dimension)
    arrays = POLICY.arrays(vector)
    arrays[0][0] = [0.1, 0.2, 1.0, 0.3]
    arrays[2][1, 0] = 1.0
    points = np.tile(vector, (POPULATION, 1))
    environment = ENVIRONMENTS.get("CartPole-v1")()
    start = environment.draw(np.random.default_rng(0))[None]

    def compiled(dtype: str) -> int:
        returns, _ = run_episodes(environment, POLICY, points, start, dtype=dtype)
        assert (returns == STEPS).all()
        return POPULATION

    ways: dict[str, Callable[[], int]] = {
        "evosearch, float32": lambda: compiled("float32"),
        "evosearch, float64": lambda: compiled("float64"),
        "NumPy, batched, float32": lambda: numpy_episodes(points, start),
    }
    try:
        gymnasium = importlib.import_module("gymnasium")
    except ImportError:
        pass
    else:
        world = gymnasium.make("CartPole-v1")
        ways["Gymnasium, one by one"] = lambda: gymnasium_episode(world, arrays)
    seconds = best_seconds(ways)
    return {name: n / seconds[name] for name, n in ((name, way()) for name, way in ways.items())}


def best_seconds(ways: dict[str, Callable[[], int]]) -> dict[str, float]:
    """Return the least CPU time of a call of each; they take turns."""
    best = dict.fromkeys(ways, math.inf)
    for way in ways.values():
        way()
    for _ in range(ROUNDS):
        for name, way in ways.items():
            begin = time.process_time()
            way()
            best[name] = min(best[name], time.process_time() - begin)
    return best


def step_time(name: str, kind: Any, dtype: str) -> float:
    """Return nanoseconds a step of episodes of random policies."""
    environment = ENVIRONMENTS.get(name)()
    policy = Policy(environment.n_observations, (16,), environment.n_outputs, kind)
    rng = np.random.default_rng(1)
    points = rng.normal(size=(POPULATION, policy.dimension))
    starts = np.stack([environment.draw(rng) for _ in range(8)])
    n_steps = run_episodes(environment, policy, points, starts, dtype=dtype)[1].sum()

    def run() -> int:
        run_episodes(environment, policy, points, starts, dtype=dtype)
        return 1

    return best_seconds({name: run})[name] / n_steps * 1e9


def numpy_episodes(points: NDArray[np.float64], start: NDArray[np.float64]) -> int:
    """Run the population side by side with array operations; return its number of episodes."""
    w1, b1, w2, b2 = (
        np.stack(arrays).astype(np.float32)
        for arrays in zip(*(POLICY.arrays(point) for point in points), strict=True)
    )
    x, x_dot, angle, angle_dot = np.repeat(start.T.astype(np.float32), len(points), axis=1)
    is_up = np.ones(len(points), np.bool_)
    for _ in range(STEPS):
        seen = np.stack([x, x_dot, angle, angle_dot], axis=1)[:, :, None]
        hidden = np.tanh(w1 @ seen + b1[:, :, None])
        action = (w2 @ hidden + b2[:, :, None])[:, :, 0].argmax(axis=1)
        force = np.where(action == 1, np.float32(10), np.float32(-10))
        cos, sin = np.cos(angle), np.sin(angle)
        push = (force + 0.05 * angle_dot**2 * sin) / 1.1
        angle_acc = (9.8 * sin - cos * push) / (0.5 * (4 / 3 - 0.1 * cos**2 / 1.1))
        x_acc = push - 0.05 * angle_acc * cos / 1.1
        x, x_dot = x + 0.02 * x_dot, x_dot + 0.02 * x_acc
        angle, angle_dot = angle + 0.02 * angle_dot, angle_dot + 0.02 * angle_acc
        is_up &= (abs(x) < 2.4) & (abs(angle) < math.radians(12))
    assert is_up.all()
    return len(points)


def gymnasium_episode(world: Any, arrays: list[NDArray[np.float64]]) -> int:
    """Run one episode step by step in Python; return 1."""
    observation, _ = world.reset(seed=0)
    n_steps, is_over = 0, False
    while not is_over:
        outputs, _ = POLICY.answer(arrays, observation, np.zeros(0))
        observation, _, is_terminated, is_truncated, _ = world.step(int(outputs.argmax()))
        n_steps, is_over = n_steps + 1, is_terminated or is_truncated
    assert n_steps == STEPS
    return 1


if __name__ == "__main__":
    main()
