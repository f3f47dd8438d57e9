"""Every rule by size within a part of the budget, then a beam from the best of each size."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from pydantic import Field

from evosearch.outcome import Evaluation
from evosearch.search.base import SEARCHES, State
from evosearch.search.beam import BeamSearch, BeamSettings
from evosearch.search.enumerate import EnumerateSearch, PrunedSettings


class EnumerateBeamSettings(PrunedSettings, BeamSettings):
    """Settings of ``enumerate-beam``."""

    successors: Literal["edits"] = Field(  # pyright: ignore[reportIncompatibleVariableOverride]
        "edits", description="one-edit neighbours of whole rules"
    )
    width: int = Field(10, ge=1, le=1_000_000, description="rules that the beam keeps")
    enumerated: int = Field(
        9, ge=1, le=63, description="nodes of the largest rules that are enumerated"
    )
    share: float = Field(
        0.5, gt=0, le=1, description="part of the budget after which enumeration ends"
    )
    best: int = Field(
        3, ge=1, le=10_000, description="rules of each size from which the beam goes on"
    )
    horizon: int = Field(0, ge=0, description="evaluations it plans for; 0 for the run's budget")


@SEARCHES.register("enumerate-beam")
class EnumerateBeam(BeamSearch):
    """Enumeration modulo behaviour, continued as beam search from the best rules of each size.

    The enumeration ends with its largest size or after ``share`` of the budget; what it scored is
    never scored again. The first level of the beam are all one-edit successors, or ``children``
    of each, of the ``best`` rules of every size, so that a good small rule is not lost behind
    larger ones. A beam that ends starts afresh from random rules.

    Sources: see ``enumerate`` and ``beam``.
    """

    name = "enumerate-beam"
    space_kinds = ("rule",)
    Settings = EnumerateBeamSettings

    def __init__(self, space: Any, *, seed: int = 0, **settings: Any) -> None:
        super().__init__(space, seed=seed, **settings)
        s = self.settings
        pruned = {name: getattr(s, name) for name in PrunedSettings.model_fields}
        self._all = EnumerateSearch(space, seed=seed, max_size=s.enumerated, **pruned)
        self._best: dict[int, list[tuple[Any, float]]] = {}
        self._spent = 0

    def ask(self) -> list[Any]:
        """Return the next rules by size, later those of a level of the beam."""
        return self._all.ask() if self._is_enumerating else super().ask()

    def tell(self, candidates: Sequence[Any], evaluation: Evaluation) -> None:
        """Note what the rules scored."""
        if not self._is_enumerating:
            super().tell(candidates, evaluation)
            return
        fitness = self._noted(candidates, evaluation)
        scored = zip(candidates, fitness.tolist(), strict=True)
        for number, (candidate, value) in enumerate(scored, self._all.n_told):
            self._keep(self._all.size_of(number), candidate, value)
        self._all.tell(candidates, evaluation)
        self._spent += evaluation.cost

    def summary(self) -> str:
        """Say up to which size all rules were scored."""
        return self._all.summary()

    @property
    def _is_enumerating(self) -> bool:
        s = self.settings
        is_spent = s.horizon > 0 and self._spent >= s.share * s.horizon
        return not is_spent and not self._all.is_done

    def _keep(self, size: int, candidate: Any, fitness: float) -> None:
        best = self._best.setdefault(size, [])
        if fitness > -np.inf:
            best.append((candidate, fitness))
            best.sort(key=lambda scored: -scored[1])
            del best[self.settings.best :]

    def _next_level(self) -> None:
        if self._best:
            # The best of each size all stay for one level, whatever their width.
            self._scored = [scored for best in self._best.values() for scored in best]
            self._best = {}
            made = self._beam.advance(self._scored, lambda fitness: list(range(len(fitness))))
            self._scored, self._is_under_way = [], True
            self._queue = self._new(made)
            return
        super()._next_level()

    def _state(self) -> State:
        """Return the position of the enumeration, its best, and the beam."""
        text = self.space.encode_text
        kept = [(size, *scored) for size, best in self._best.items() for scored in best]
        return {
            "enumeration": self._all.state_dict(),
            "best_sizes": [size for size, _, _ in kept],
            "best": [text(genotype) for _, genotype, _ in kept],
            "best_fitness": np.array([fitness for _, _, fitness in kept]),
            "spent": self._spent,
            **super()._state(),
        }

    def _load(self, state: State) -> None:
        super()._load(state)
        self._all.load_state_dict(state["enumeration"])
        self._spent = int(state["spent"])
        self._best = {}
        rows = zip(state["best_sizes"], state["best"], state["best_fitness"], strict=True)
        for size, text, fitness in rows:
            scored = (self.space.decode_text(text), float(fitness))
            self._best.setdefault(int(size), []).append(scored)
