"""What tasks of deep classifiers in a circuit share: one life, and the accuracy at its end."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from evosearch.circuits.life import accuracies, build_life, held_out
from evosearch.circuits.teaching import Plan
from evosearch.tasks.base import Key, RuleTask, TaskScores, exploded, graded

if TYPE_CHECKING:
    from evosearch.circuits.base import Circuit
    from evosearch.circuits.normalisers import Normaliser
    from evosearch.engine.lifetime import Lifetime
    from evosearch.engine.run import LifeResult


class DeepClassifierTask(RuleTask):
    """A network of tanh units and a softmax that lives in a circuit; fitness is its accuracy.

    A subclass has settings ``data``, ``hidden``, ``updates`` and ``batch``, and says which circuit
    it is.
    """

    worst = 0.0
    settings: Any

    @abstractmethod
    def _circuit(self) -> tuple[Circuit, Normaliser]:
        """Return the circuit, and what happens to the increments of the rule in its slot."""

    def lifetimes(self, keys: Sequence[Key], split: str) -> list[Lifetime]:
        """Build the one condition."""
        from evosearch.data import load_data

        s = self.settings
        data = load_data(s.data)
        sizes = (data.n_inputs, *s.hidden, data.n_classes)
        life = build_life(
            *self._circuit(),
            Plan(sizes, s.updates, s.batch, check_every=s.updates),
            held_out(data, split),
            keys,
            projection=self.projection,
            dtype=self.dtype,
        )
        return [life]

    def score(
        self, results: Sequence[LifeResult], lifetimes: Sequence[Lifetime], keys: Sequence[Key]
    ) -> TaskScores:
        """Score the accuracy at the end."""
        (result,), (life,) = results, lifetimes
        fitness = graded(accuracies(life, result)[:, :, -1], result, life, self.worst)
        return TaskScores(fitness, exploded(result), {})
