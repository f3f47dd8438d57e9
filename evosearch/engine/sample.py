"""The life by which speed is measured: one linear layer on random inputs."""

from __future__ import annotations

import numpy as np

from evosearch.engine.lifetime import Lifetime, LifetimeBuilder, Projection
from evosearch.engine.program import Level, Terminal

TERMINALS = (
    Terminal("w", Level.SYNAPSE),
    Terminal("pre", Level.PRE),
    Terminal("post", Level.POST),
)
CLIP = 5.0


def layer_life(n_out: int, n_in: int, steps: int, n_draws: int = 1) -> Lifetime:
    """Build the life, float32, the same data every time."""
    rng = np.random.default_rng(2)
    b = LifetimeBuilder()
    x, y, w = b.vector("pre", n_in), b.vector("post", n_out), b.matrix("w", n_out, n_in)
    b.initial(w, b.table(rng.normal(0, 0.1, (n_draws, 1, n_out * n_in))))
    inputs = b.table(rng.normal(0, 1, (n_draws, steps, n_in)))
    with b.repeat(steps) as t:
        b.load(x, inputs, row=t)
        b.matvec(y, w, x)
        b.rule(w=w, pre=x, post=y)
    b.output(w)
    keys = np.zeros((n_draws, 2), np.uint32)
    return b.build(draw_keys=keys, projection=Projection(-CLIP, CLIP), dtype="float32")
