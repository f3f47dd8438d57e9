"""SNES of evosax on the samples that ``snes`` of this toolkit drew: do both learn the same?

``python benchmarks/peers/snes_equal_samples.py draw samples.npz`` in this toolkit's environment
writes what was drawn and learned. ``JAX_ENABLE_X64=1 JAX_PLATFORMS=cpu jax-peers/bin/python
benchmarks/peers/snes_equal_samples.py replay samples.npz [RECORD]`` in that of
``benchmarks/peers/requirements-jax.txt`` tells evosax the same candidates and losses; it prints,
and writes where a path is given, how far its mean and step sizes ever are from those here.
"""

from __future__ import annotations

import json
import sys
from importlib.metadata import version
from pathlib import Path

import numpy as np

GENERATIONS, POPULATION, SIGMA, SEED = 100, 12, 0.7, 1


def sphere(points):
    return (points**2).sum(axis=1)


def ellipsoid(points):
    return points**2 @ 10.0 ** np.linspace(0.0, 6.0, points.shape[1])


def rosenbrock(points):
    ahead, here = points[:, 1:], points[:, :-1]
    return (100.0 * (ahead - here**2) ** 2 + (1.0 - here) ** 2).sum(axis=1)


CASES = [(f, d) for f in (sphere, ellipsoid, rosenbrock) for d in (5, 20)]


def drawn(function, dimension):
    """Return what ``snes`` asks, the losses, and its means and step sizes after each generation."""
    from evosearch.outcome import plain_evaluation
    from evosearch.search.base import SEARCHES
    from evosearch.spaces import VectorSpace

    space = VectorSpace(dimension, x0=np.ones(dimension) * 1.5, sigma0=SIGMA)
    search = SEARCHES.get("snes")(space, seed=SEED, population=POPULATION)
    rows = {"points": [], "losses": [], "means": [], "sigmas": []}
    for _ in range(GENERATIONS):
        points = search.ask()
        losses = function(np.array(points))
        search.tell(points, plain_evaluation(-losses, dimension))
        state = search.state_dict()
        for name, value in zip(rows, (points, losses, state["mean"], state["sigma"]), strict=True):
            rows[name].append(np.array(value))
    return {name: np.array(values) for name, values in rows.items()}


def draw(path):
    arrays = {
        f"{function.__name__}-{dimension}-{name}": values
        for function, dimension in CASES
        for name, values in drawn(function, dimension).items()
    }
    np.savez_compressed(path, **arrays)


def replayed(points, losses):
    """Return evosax's means and step sizes after each generation of points (g, n, d)."""
    import jax
    import jax.numpy as jnp
    from evosax.algorithms import algorithms

    key, dimension = jax.random.key(0), points.shape[2]
    es = algorithms["SNES"](population_size=points.shape[1], solution=jnp.zeros(dimension))
    params = es.default_params.replace(std_init=SIGMA)
    state = es.init(key, jnp.full(dimension, 1.5), params)
    found = []
    for of_generation, values in zip(points, losses, strict=True):
        state, _ = es.tell(key, jnp.array(of_generation), jnp.array(values), state, params)
        found.append((np.array(state.mean), np.array(state.std)))
    return [np.array(values) for values in zip(*found, strict=True)]


def replay(path, record=None):
    rows = []
    with np.load(path, allow_pickle=False) as file:
        for function, dimension in CASES:
            own = {
                name: file[f"{function.__name__}-{dimension}-{name}"]
                for name in ("points", "losses", "means", "sigmas")
            }
            means, sigmas = replayed(own["points"], own["losses"])
            assert means.dtype == np.float64, "set JAX_ENABLE_X64=1"
            rows.append(
                {
                    "function": function.__name__,
                    "dimension": dimension,
                    "generations": GENERATIONS,
                    "population": POPULATION,
                    # The mean in step sizes, which are what it moves by.
                    "mean_away": float(abs((means - own["means"]) / own["sigmas"]).max()),
                    "sigma_away": float(abs(sigmas / own["sigmas"] - 1.0).max()),
                    "sigma_last": float(own["sigmas"][-1].max()),
                }
            )
            print(json.dumps(rows[-1]), flush=True)
    if record is not None:
        text = json.dumps({"peer": f"evosax {version('evosax')}", "rows": rows}, indent=1)
        Path(record).write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    {"draw": draw, "replay": replay}[sys.argv[1]](*sys.argv[2:])
