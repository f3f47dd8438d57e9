"""CPU time and memory of a search itself, ask and tell, without what scores.

``python benchmarks/weights/overhead.py SEARCH DIMENSION [POPULATION] [SETTING=VALUE ...]`` prints
one line of JSON; without arguments, a line for each of ``CASES``, a process each. Libraries are
kept on one thread by ``OMP_NUM_THREADS=1`` and one core by ``taskset -c 0``;
``benchmarks/peers/overhead.py`` measures the peers in the same way.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import time

import numpy as np

ONE_CORE = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
POPULATION = 256
MEASURED_S = float(os.environ.get("MEASURED_S", "4"))
N_WARM, N_LEAST = 3, 5

CASES = (
    ("openai-es", "1000"),
    ("openai-es", "100000"),
    ("openai-es", "100000", "256", "noise=drawn"),
    ("openai-es", "1000000"),
    ("openai-es", "1000000", "256", "noise=drawn"),
    ("openai-es", "1000000", "256", "noise=drawn", "replay=false"),
    ("snes", "1000"),
    ("snes", "100000"),
    ("snes", "1000000"),
    ("pgpe", "100000"),
    ("ars", "100000"),
    ("cem", "100000"),
    ("spsa", "1000000", "2"),
    ("sep-cmaes", "100000"),
)


def measure(search_name, dimension, population, settings):
    from evosearch.outcome import plain_evaluation
    from evosearch.search.base import SEARCHES
    from evosearch.spaces import VectorSpace

    space = VectorSpace(dimension, x0=1.0, sigma0=0.05)
    search = SEARCHES.get(search_name)(space, seed=1, population=population, **settings)
    cpu_ms, wall_ms, end = [], [], None
    while end is None or len(cpu_ms) < N_WARM + N_LEAST or time.monotonic() < end:
        wall, cpu = time.perf_counter(), time.process_time()
        scoring_wall = scoring_cpu = 0.0
        fitness = []
        for block in search.ask_blocks():
            before = time.perf_counter(), time.process_time()
            head = block[:, :64]
            fitness.append(-np.einsum("ij,ij->i", head, head, dtype=np.float64))
            scoring_wall += time.perf_counter() - before[0]
            scoring_cpu += time.process_time() - before[1]
        told = np.concatenate(fitness)
        search.tell(range(len(told)), plain_evaluation(told, dimension))
        cpu_ms.append(1e3 * (time.process_time() - cpu - scoring_cpu))
        wall_ms.append(1e3 * (time.perf_counter() - wall - scoring_wall))
        if len(cpu_ms) == N_WARM:
            end = time.monotonic() + MEASURED_S
    return {
        "who": "evosearch",
        "search": search_name,
        "dimension": dimension,
        "population": population,
        "settings": settings,
        "generations": len(cpu_ms) - N_WARM,
        "cpu_ms": round(float(np.median(cpu_ms[N_WARM:])), 3),
        "wall_ms": round(float(np.median(wall_ms[N_WARM:])), 3),
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
    }


def main():
    if len(sys.argv) == 1:
        for case in CASES:
            command = [sys.executable, __file__, *case]
            subprocess.run(command, check=True, env={**os.environ, **ONE_CORE})  # noqa: S603
        return
    name, dimension, *rest = sys.argv[1:]
    population = int(rest.pop(0)) if rest and rest[0].isdigit() else POPULATION
    settings = {}
    for item in rest:
        key, _, value = item.partition("=")
        settings[key] = {"true": True, "false": False}.get(value, value)
    print(json.dumps(measure(name, int(dimension), population, settings)), flush=True)


if __name__ == "__main__":
    main()
