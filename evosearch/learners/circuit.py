"""A circuit with a local rule in its slot, as a learner."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from evosearch.circuits.base import (
    CIRCUITS,
    DEFAULT_RULE,
    TERMINALS,
    Circuit,
    forward_equivalents,
)
from evosearch.circuits.life import Probe, accuracies, build_life, kept_matrices, probe
from evosearch.circuits.normalisers import normaliser
from evosearch.circuits.teaching import Plan
from evosearch.learners.base import Learned, Learner, Lesson
from evosearch.learners.mlp import MlpNetworks, Pass, cosines, descents

if TYPE_CHECKING:
    from evosearch.engine.lifetime import Lifetime
    from evosearch.engine.run import LifeResult
    from evosearch.outcome import FloatArray


class CircuitLearner(Learner):
    """Networks of tanh units learn by one rule, which a circuit gives its teaching signals.

    Args:
        name: of a circuit.
        rule: text of a rule over the circuit's terminals; ``error*pre`` is the published learner.
        circuit: the circuit with settings of its own; None for that of the name as it is.
    """

    def __init__(
        self, name: str, rule: str = DEFAULT_RULE, *, circuit: Circuit | None = None
    ) -> None:
        from evosearch.rules.lower import lower
        from evosearch.rules.rule import Rule

        self.name = name
        self._circuit = CIRCUITS.get(name)() if circuit is None else circuit
        self._program = lower(Rule(rule), TERMINALS)
        self.title = self._circuit.title
        self.locks = self._circuit.locks
        self.transports_weights = self._circuit.transports_weights

    def learn(self, lesson: Lesson) -> Learned:
        """Live all draws in one compiled call."""
        from evosearch.engine.run import run_lifetimes

        self.check(lesson)
        steps = normaliser(lesson.normaliser, lesson.rate)
        plan = Plan(
            lesson.sizes, lesson.updates, lesson.batch, lesson.check_every,
            is_probed=lesson.is_probed, is_kept=True,
        )  # fmt: skip
        parts = lesson.train, lesson.held
        life = build_life(self._circuit, steps, plan, parts, lesson.keys)
        result = run_lifetimes(life, [self._program], steps.eta)
        return self._learned(lesson, plan, life, result)

    def forward_equivalents(self, sizes: Sequence[int], steps: int = 1) -> float:
        """Return the cost of one update of an example in forward passes, by multiply-adds."""
        return forward_equivalents(self._circuit, sizes)

    def _learned(self, lesson: Lesson, plan: Plan, life: Lifetime, result: LifeResult) -> Learned:
        per_update = life.n_rule_applications // lesson.updates
        ended = [
            -(-int(step) // per_update) if step >= 0 else None for step in result.exploded_at[0]
        ]
        curves = accuracies(life, result)[0]
        for curve, end in zip(curves, ended, strict=True):
            if end is not None:
                curve[(end - 1) // lesson.check_every :] = np.nan
        trained = self._circuit.trained(len(lesson.sizes) - 1)
        cosines = None
        if lesson.is_probed:
            found = cosines_to_gradient(probe(life, result, plan))
            is_learning = np.isin(np.arange(found.shape[1]), trained)
            is_alive = np.array([end is None for end in ended])
            cosines = np.where(is_learning & is_alive[:, None], found, np.nan)
        weights, biases = kept_matrices(life, result, plan)
        return Learned(curves, tuple(ended), cosines, MlpNetworks([*weights], [*biases]))


def cosines_to_gradient(middle: Probe) -> FloatArray:
    """Return (D, layers): cosine of ``error*pre`` with the negative gradient, over a minibatch."""
    # The way back needs neither biases nor sums, and a probe holds none.
    networks, seen = MlpNetworks([*middle.weights], []), Pass([], [*middle.posts])
    ours = [
        error.swapaxes(1, 2) @ pre for error, pre in zip(middle.errors, middle.pres, strict=True)
    ]
    return cosines(ours, descents(networks, seen, middle.target))
