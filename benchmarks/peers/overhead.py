"""CPU time and memory of peers' searches, ask and tell, as ``benchmarks/weights/overhead.py``.

Run by the interpreter of an environment with ``benchmarks/peers/requirements*.txt``:
``python benchmarks/peers/overhead.py PEER SEARCH DIMENSION [POPULATION]`` prints one line of JSON.
Peers: evosax (openai-es, snes, pgpe), evotorch (snes, pgpe), evox (openai-es, snes). Libraries are
kept on one thread by ``OMP_NUM_THREADS=1`` and one core by ``taskset -c 0``.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import time
from importlib.metadata import version

import numpy as np

MEASURED_S = float(os.environ.get("MEASURED_S", "4"))
N_WARM, N_LEAST = 3, 5
SIGMA = 0.05


def timed(step):
    """Return the median CPU and wall milliseconds of ``step() -> (cpu_s, wall_s) of scoring``."""
    cpu_ms, wall_ms, end = [], [], None
    while end is None or len(cpu_ms) < N_WARM + N_LEAST or time.monotonic() < end:
        wall, cpu = time.perf_counter(), time.process_time()
        scoring_cpu, scoring_wall = step()
        cpu_ms.append(1e3 * (time.process_time() - cpu - scoring_cpu))
        wall_ms.append(1e3 * (time.perf_counter() - wall - scoring_wall))
        if len(cpu_ms) == N_WARM:
            end = time.monotonic() + MEASURED_S
    return (
        len(cpu_ms) - N_WARM,
        float(np.median(cpu_ms[N_WARM:])),
        float(np.median(wall_ms[N_WARM:])),
    )


def evosax_step(search, dimension, population):
    import jax
    import jax.numpy as jnp
    import optax
    from evosax.algorithms import algorithms

    name = {"openai-es": "Open_ES", "snes": "SNES", "pgpe": "PGPE"}[search]
    options = {"optimizer": optax.adam(0.01)} if search == "openai-es" else {}
    es = algorithms[name](population_size=population, solution=jnp.zeros(dimension), **options)
    params = es.default_params
    key = jax.random.key(0)
    state = es.init(key, jnp.ones(dimension), params)
    score = jax.jit(lambda points: (points[:, :64] ** 2).sum(1))

    def step():
        nonlocal key, state
        key, asking, telling = jax.random.split(key, 3)
        points, state = es.ask(asking, state, params)
        jax.block_until_ready(points)
        cpu, wall = time.process_time(), time.perf_counter()
        fitness = jax.block_until_ready(score(points))
        spent = time.process_time() - cpu, time.perf_counter() - wall
        state, _ = es.tell(telling, points, fitness, state, params)
        jax.block_until_ready(state)
        return spent

    return step


def _torch_score():
    """Return a score of torch points that adds up the time it takes itself."""
    spent = [0.0, 0.0]

    def score(points):
        cpu, wall = time.process_time(), time.perf_counter()
        fitness = (points[:, :64] ** 2).sum(-1)
        spent[0] += time.process_time() - cpu
        spent[1] += time.perf_counter() - wall
        return fitness

    def stepped(advance):
        spent[:] = 0.0, 0.0
        advance()
        return tuple(spent)

    return score, stepped


def evotorch_step(search, dimension, population):
    import logging

    import torch
    from evotorch import Problem
    from evotorch.algorithms import PGPE, SNES
    from evotorch.decorators import vectorized

    torch.set_num_threads(1)
    logging.disable(logging.INFO)
    score, stepped = _torch_score()
    problem = Problem(
        "min", vectorized(score), solution_length=dimension, initial_bounds=(1.0, 1.0), seed=1
    )
    if search == "snes":
        es = SNES(problem, stdev_init=SIGMA, popsize=population)
    else:
        rates = {"center_learning_rate": 0.01, "stdev_learning_rate": 0.1}
        es = PGPE(problem, stdev_init=SIGMA, popsize=population, optimizer="clipup", **rates)
    return lambda: stepped(es.step)


def evox_step(search, dimension, population):
    import torch
    from evox.algorithms import SNES, OpenES

    torch.set_num_threads(1)
    torch.set_default_device("cpu")
    torch.manual_seed(1)
    start = torch.ones(dimension)
    if search == "snes":
        es = SNES(pop_size=population, center_init=start, sigma=SIGMA)
    else:
        es = OpenES(population, start, learning_rate=0.01, noise_stdev=SIGMA, optimizer="adam")
    es.evaluate, stepped = _torch_score()
    return lambda: stepped(es.step)


PEERS = {"evosax": evosax_step, "evotorch": evotorch_step, "evox": evox_step}


def main():
    peer, search, dimension = sys.argv[1], sys.argv[2], int(sys.argv[3])
    population = int(sys.argv[4]) if len(sys.argv) > 4 else 256
    generations, cpu_ms, wall_ms = timed(PEERS[peer](search, dimension, population))
    row = {
        "who": f"{peer} {version(peer)}",
        "search": search,
        "dimension": dimension,
        "population": population,
        "generations": generations,
        "cpu_ms": round(cpu_ms, 3),
        "wall_ms": round(wall_ms, 3),
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
    }
    print(json.dumps(row), flush=True)


if __name__ == "__main__":
    main()
