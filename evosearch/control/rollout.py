"""Episodes: policies act in a compiled environment, 32 of them side by side, until all have ended.

A lane whose episode ends begins the next one at once, so that long and short episodes of many
policies keep all lanes busy. The return of an episode depends on its policy and its first state
alone: not on the lane, nor on what runs beside it.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numba
import numpy as np
from numba import types

from evosearch.control.environment import Environment
from evosearch.control.lanes import LANES, layer
from evosearch.control.policy import Policy
from evosearch.engine.cache import announced, compiled
from evosearch.outcome import FloatArray


def run_episodes(
    environment: Environment,
    policy: Policy,
    points: FloatArray,
    starts: FloatArray,
    *,
    dtype: str = "float32",
    time_limit: int | None = None,
) -> tuple[FloatArray, FloatArray]:
    """Run one episode for each of n policies from each of D states.

    Discrete actions are the first of the greatest outputs. Controls are the outputs, cut to
    [-1, 1] and stretched to the environment's bounds.

    Args:
        environment: where they act.
        policy: what the points mean.
        points: (n, dimension) weights.
        starts: (D, n_state) states in which the episodes begin.
        dtype: ``float32``, or ``float64``, whose dynamics are Gymnasium's.
        time_limit: steps after which an episode ends; None: the environment's.

    Returns:
        Sum of the rewards (n, D), and number of steps (n, D).
    """
    assert points.shape[1] == policy.dimension
    assert starts.shape[1] == environment.n_state
    with np.errstate(over="ignore"):
        points = np.ascontiguousarray(points, dtype=dtype)
    low, high = environment.bounds or (0.0, 0.0)
    returns = np.zeros((len(points), len(starts)))
    n_steps = np.zeros_like(returns)
    if not returns.size:
        return returns, n_steps
    with announced(f"control-{dtype}"):
        _compiled_rollout(dtype)(
            environment.observe,
            environment.step,
            points,
            np.ascontiguousarray(starts, dtype=dtype),
            np.array([*policy.sizes, policy.n_feedback], dtype=np.int64),
            environment.bounds is None,
            (high + low) / 2,
            (high - low) / 2,
            time_limit or environment.time_limit,
            returns,
            n_steps,
        )
    return returns, n_steps


@cache
def _compiled_rollout(dtype: str) -> Any:
    """Compile ``_rollout`` for one type of numbers, once for all environments."""
    real = types.float32 if dtype == "float32" else types.float64
    row, matrix = types.Array(real, 1, "C"), types.Array(real, 2, "C")
    observe = types.FunctionType(types.void(matrix, matrix))
    step = types.FunctionType(types.void(matrix, matrix, row, types.Array(types.boolean, 1, "C")))
    out, sizes = types.Array(types.float64, 2, "C"), types.Array(types.int64, 1, "C")
    signature = types.void(
        observe, step, matrix, matrix, sizes, types.boolean, types.float64, types.float64,
        types.int64, out, out,
    )  # fmt: skip
    compile_it = numba.njit(signature, cache=True, nogil=True, error_model="numpy")
    return compile_it(_rollout)


def _rollout(
    observe: Any, step: Any, points: Any, starts: Any, sizes: Any, is_discrete: Any, centre: Any,
    reach: Any, time_limit: Any, returns: Any, n_steps: Any,
) -> None:  # fmt: skip
    """Run all episodes; number ``policy * D + draw`` is next for the first lane that is free."""
    n_controls = 1 if is_discrete else sizes[-2]
    weights = np.zeros((points.shape[1], LANES), points.dtype)
    units = np.zeros((sizes[:-1].sum(), LANES), points.dtype)
    state = np.zeros((starts.shape[1], LANES), points.dtype)
    action = np.zeros((n_controls, LANES), points.dtype)
    reward = np.zeros(LANES, points.dtype)
    is_done = np.zeros(LANES, np.bool_)
    total = np.zeros(LANES)
    clock = np.zeros(LANES, np.int64)
    episode = np.full(LANES, -1)
    n_episodes = returns.shape[0] * returns.shape[1]
    n_begun, n_left = 0, n_episodes
    for lane in range(LANES):
        episode[lane] = n_begun if n_begun < n_episodes else -1
        n_begun += 1
        _begin(lane, max(episode[lane], 0), points, starts, sizes, weights, units, state)
    while n_left > 0:
        observe(state, units)
        first = _forward(weights, units, sizes)
        if is_discrete:
            _choose(units, first, sizes[-2], action)
        else:
            _control(units, first, action, centre, reach)
        step(state, action, reward, is_done)
        if not _count(reward, is_done, total, clock, time_limit):
            continue
        for lane in range(LANES):
            if not is_done[lane]:
                continue
            ended = episode[lane]
            if ended >= 0:
                returns[ended // starts.shape[0], ended % starts.shape[0]] = total[lane]
                n_steps[ended // starts.shape[0], ended % starts.shape[0]] = clock[lane]
                n_left -= 1
            # A lane without work lives its last episode again.
            episode[lane] = n_begun if n_begun < n_episodes else -1
            following = n_begun if n_begun < n_episodes else max(ended, 0)
            n_begun += 1
            total[lane] = clock[lane] = 0
            _begin(lane, following, points, starts, sizes, weights, units, state)


@compiled
def _begin(
    lane: Any, episode: Any, points: Any, starts: Any, sizes: Any, weights: Any, units: Any,
    state: Any,
) -> None:  # fmt: skip
    """Put an episode in a lane: its weights, its first state and no activity."""
    point, start = episode // starts.shape[0], episode % starts.shape[0]
    for k in range(points.shape[1]):
        weights[k, lane] = points[point, k]
    for k in range(starts.shape[1]):
        state[k, lane] = starts[start, k]
    for k in range(sizes[0]):
        units[k, lane] = 0


@compiled
def _forward(weights: Any, units: Any, sizes: Any) -> Any:
    """Compute all layers; return the row of the first output."""
    n_layers, n_feedback = len(sizes) - 2, sizes[-1]
    k = first = 0
    for n in range(n_layers):
        target = first + sizes[n]
        is_hidden = n < n_layers - 1
        k = layer(weights, k, units, first, sizes[n], target, sizes[n + 1], is_hidden)
        first = target
    for unit in range(n_feedback):
        for lane in range(LANES):
            units[sizes[0] - n_feedback + unit, lane] = units[sizes[0] + unit, lane]
    return first


@compiled
def _choose(units: Any, first: Any, n_actions: Any, action: Any) -> None:
    """Write the number of the greatest output; of equals the first. The first output is lost."""
    for lane in range(LANES):
        action[0, lane] = 0
    for k in range(1, n_actions):
        number = units.dtype.type(k)
        for lane in range(LANES):
            value, greatest, chosen = units[first + k, lane], units[first, lane], action[0, lane]
            action[0, lane] = number if value > greatest else chosen
            units[first, lane] = max(greatest, value)


@compiled
def _control(units: Any, first: Any, action: Any, centre: Any, reach: Any) -> None:
    """Cut outputs to [-1, 1] and stretch them to the bounds, rounded to float32."""
    one = units.dtype.type(1)
    for k in range(action.shape[0]):
        for lane in range(LANES):
            value = min(max(units[first + k, lane], -one), one)
            action[k, lane] = np.float32(centre + reach * value)


@compiled
def _count(reward: Any, is_done: Any, total: Any, clock: Any, time_limit: Any) -> Any:
    """Add up a step; return how many lanes are done, by themselves or by the clock."""
    n_done = 0
    for lane in range(LANES):
        total[lane] += reward[lane]
        clock[lane] += 1
        is_done[lane] |= clock[lane] >= time_limit
        n_done += is_done[lane]
    return n_done
