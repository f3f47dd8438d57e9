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
        self._n_enumerated = 0
        self._spent = 0
        self._is_enumerating = True

    def ask(self) -> list[Any]:
        """Return the next rules by size, later those of a level of the beam."""
        return self._all.ask() if self._is_enumerating else super().ask()

    def tell(self, candidates: Sequence[Any], evaluation: Evaluation) -> None:
        """Note what the rules scored."""
        if not self._is_enumerating:
            super().tell(candidates, evaluation)
            return
        self._all.tell(candidates, evaluation)
        fitness = self._noted(candidates, evaluation)
        for candidate, value in zip(candidates, fitness.tolist(), strict=True):
            self._keep(candidate, value)
        self._spent += evaluation.cost
        s = self.settings
        if self._all.is_done or (s.horizon and self._spent >= s.share * s.horizon):
            self._is_enumerating = False

    def summary(self) -> str:
        """Say up to which size all rules were scored."""
        return self._all.summary()

    def _keep(self, candidate: Any, fitness: float) -> None:
        size = self._all.size_of(self._n_enumerated)
        self._n_enumerated += 1
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
            "n_enumerated": self._n_enumerated,
            "spent": self._spent,
            "is_enumerating": self._is_enumerating,
            **super()._state(),
        }

    def _load(self, state: State) -> None:
        super()._load(state)
        self._all.load_state_dict(state["enumeration"])
        self._n_enumerated, self._spent = int(state["n_enumerated"]), int(state["spent"])
        self._is_enumerating = bool(state["is_enumerating"])
        self._best = {}
        rows = zip(state["best_sizes"], state["best"], state["best_fitness"], strict=True)
        for size, text, fitness in rows:
            scored = (self.space.decode_text(text), float(fitness))
            self._best.setdefault(int(size), []).append(scored)
