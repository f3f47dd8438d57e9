"""Means over a minibatch: matrix products against the elementwise native tier."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from common import Detail, Record, Row, smaller

from evosearch.bench.roofline import measure_roofline
from evosearch.bench.timing import interleaved
from evosearch.engine.lifetime import Lifetime, LifetimeBuilder, Projection
from evosearch.engine.program import Level, Terminal
from evosearch.engine.run import run_lifetimes
from evosearch.engine.sample import TERMINALS
from evosearch.rules.lower import lower
from evosearch.rules.rule import Rule

RULES = {
    "Hebb": "pre*post",
    "Oja": "post*(pre - post*w)",
    "BCM-like": "post*(post - 0.5)*pre - 0.1*w*pre*pre",
    "three-factor": "mod*pre*post",
    "three-factor with decay": "mod*post*(pre - post*w)",
}
N_OUT, N_IN, EXAMPLES, LEARNING_RATE, REPEATS = 256, 784, 128, 1e-3, 5
MODULATOR = Terminal("mod", Level.NETWORK)
STEPS = 64
"""Updates of a life, as many as leave out what a life costs whatever it lives."""


def separable() -> Record:
    """Time updates of a layer, alone: activities are loaded, not computed."""
    steps = smaller(STEPS)
    life = _life(steps)
    elementwise = replace(life, is_lowered=False)
    rows, table, roofline = [], [], measure_roofline()
    for name, text in RULES.items():
        program = lower(Rule(text), (*TERMINALS, MODULATOR))

        def live(there: Lifetime, program=program) -> None:
            run_lifetimes(there, [program], LEARNING_RATE, tier="native")

        for there in (life, elementwise):
            live(there)
        times = interleaved(
            {"lowered": lambda: live(life), "elementwise": lambda: live(elementwise)}, REPEATS
        )
        ratio = times.ratio("elementwise", "lowered")
        terms = N_OUT * N_IN * EXAMPLES * steps
        rate, slow = (terms / times.median(k) / 1e9 for k in ("lowered", "elementwise"))
        # A product adds a term to a sum with a multiplication and an addition, which are not fused.
        most, fused = roofline.fma_gflops / 4 / slow, roofline.fma_gflops / 2 / slow
        table.append((name, text, rate, slow, ratio, most, fused))
        rows.append(Row(f"separable rule {text}, minibatch {EXAMPLES}, {N_OUT}x{N_IN}",
                        "≥ 20 × the elementwise native tier",
                        f"{ratio:.1f} × ({rate:.1f} against {slow:.1f} G synapses x examples/s); "
                        f"this core allows {most:.1f} ×, fused {fused:.1f} ×",
                        ratio >= 20))  # fmt: skip
    columns = ("rule", "text", "lowered, G/s", "elementwise, G/s", "ratio", "most, unfused",
               "most, fused")  # fmt: skip
    return Record(rows, [Detail("Minibatches", columns, table)])


def _life(steps: int) -> Lifetime:
    rng = np.random.default_rng(0)
    b = LifetimeBuilder()
    x, y = b.vector("pre", N_IN, examples=EXAMPLES), b.vector("post", N_OUT, examples=EXAMPLES)
    w, m = b.matrix("w", N_OUT, N_IN), b.vector("mod", 1, examples=EXAMPLES)
    b.initial(w, b.table(rng.normal(0, 0.05, (1, N_OUT * N_IN)), shared=True))
    inputs = b.table(rng.normal(0, 1, (EXAMPLES, N_IN)), shared=True)
    outputs = b.table(rng.normal(0, 1, (EXAMPLES, N_OUT)), shared=True)
    mods = b.table(rng.normal(0, 1, (EXAMPLES, 1)), shared=True)
    with b.repeat(steps):
        b.load(x, inputs, row=0)
        b.load(y, outputs, row=0)
        b.load(m, mods, row=0)
        b.rule(w=w, pre=x, post=y, mod=m)
    b.output(w)
    return b.build(draw_keys=np.zeros((1, 2)), projection=Projection(-5.0, 5.0))
