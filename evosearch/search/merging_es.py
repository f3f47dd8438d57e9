"""Many rules become few: an evolution strategy that merges rules that have grown alike."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from evosearch.outcome import Evaluation, FloatArray
from evosearch.search.base import SEARCHES, Search, State, new_rng, restore_rng, rng_state
from evosearch.search.openai_es import OpenAiEs, OpenAiEsSettings
from evosearch.spaces.vector import VectorSpace


class MergingEsSettings(OpenAiEsSettings):
    """Settings of ``merging-es``."""

    rules: int = Field(1, ge=1, le=100_000, description="rules that are left in the end")
    merges: int = Field(3, ge=1, le=100, description="how often rules are merged")
    horizon: int = Field(
        10_000, ge=1, description="evaluations over which merges are spread; default: the budget"
    )


@SEARCHES.register("merging-es")
class MergingEs(Search):
    """Evolution strategy over many rules, the most alike of which are merged into one.

    It begins with a rule for each group of synapses of ``rule.sharing``, as ``openai-es`` does.
    After each of ``merges + 1`` equal parts of the budget but the last, the rules whose
    coefficients are most alike become one, their mean; the number of rules falls by equal factors
    to ``rules``. Alike is what Ward's method of clustering finds, which needs no random start, in
    place of the paper's k-means. Where all synapses share one rule anyway nothing is merged.

    Source: J. Pedersen, S. Risi, "Evolving and merging Hebbian learning rules: increasing
    generalization by decreasing the number of rules", GECCO 2021.
    """

    name = "merging-es"
    space_kinds = ("coefficients",)
    Settings = MergingEsSettings

    def __init__(self, space: Any, *, seed: int = 0, **settings: Any) -> None:
        super().__init__(space, seed=seed, **settings)
        self._rng = new_rng(seed)
        self._n_first = int(getattr(space, "n_rules", 1))
        self._rule_of = np.arange(self._n_first)
        self._n_told = self._n_merged = 0
        self._inner = self._begun(np.array(space.x0))

    @property
    def n_rules(self) -> int:
        """Rules that are different now."""
        return int(self._rule_of.max()) + 1

    def ask(self) -> list[FloatArray]:
        """Return a generation of vectors, equal numbers where rules were merged."""
        return [self._written_out(vector) for vector in self._inner.ask()]

    def tell(self, candidates: Sequence[FloatArray], evaluation: Evaluation) -> None:
        """Learn a generation, and merge where a part of the budget is over."""
        self._inner.tell([self._shortened(vector) for vector in candidates], evaluation)
        self._n_told += len(candidates)
        s = self.settings
        due = s.horizon * (self._n_merged + 1) / (s.merges + 1)
        is_due = self._n_merged < s.merges and self._n_told >= due
        if is_due and self._inner.is_between_generations:
            self._merge()

    def favourites(self) -> list[FloatArray]:
        """Return the mean."""
        return [self._written_out(vector) for vector in self._inner.favourites()]

    def summary(self) -> str:
        """Return how many rules are left."""
        return f"{self.n_rules} of {self._n_first} rules are left." if self._n_first > 1 else ""

    def state_dict(self) -> State:
        """Return which rule each group follows, and the state of the strategy."""
        return {
            "rng": rng_state(self._rng),
            "rule_of": self._rule_of.copy(),
            "n_told": self._n_told,
            "n_merged": self._n_merged,
            "strategy": self._inner.state_dict(),
        }

    def load_state_dict(self, state: State) -> None:
        """Take over the rules and the strategy."""
        self._rule_of = np.asarray(state["rule_of"], dtype=np.int64)
        self._n_told, self._n_merged = int(state["n_told"]), int(state["n_merged"])
        self._inner = self._begun(self._shortened(np.array(self.space.x0)))
        self._inner.load_state_dict(state["strategy"])
        restore_rng(self._rng, state["rng"])  # last: a strategy that begins draws its seed

    def _merge(self) -> None:
        """Put rules that are alike together, and go on from the mean of each kind."""
        from scipy.cluster.hierarchy import fcluster, linkage

        s, mean = self.settings, self._inner.favourites()[0]
        self._n_merged += 1
        wanted = s.rules * (self._n_first / s.rules) ** (1 - self._n_merged / s.merges)
        n = max(min(s.rules, self._n_first), round(wanted))
        if n >= self.n_rules:
            return
        rules = self._rules(mean, self.n_rules)
        labels = fcluster(linkage(rules, "ward"), n, "maxclust")
        kind = np.unique(labels, return_inverse=True)[1]
        merged = [rules[kind == k].mean(axis=0) for k in range(int(kind.max()) + 1)]
        self._rule_of = kind[self._rule_of]
        self._inner = self._begun(np.concatenate([*merged, mean[rules.size :]]))

    def _begun(self, start: FloatArray) -> OpenAiEs:
        """Return a strategy over vectors (n_rules * n_terms + genes,) that begins at ``start``."""
        own = self.settings.model_dump(include=set(OpenAiEsSettings.model_fields))
        whole, x0 = self.space, np.array(self.space.x0)
        low, high = (
            None if end is None else self._shortened(np.broadcast_to(end, x0.shape))
            for end in (whole.low, whole.high)
        )
        space = VectorSpace(len(start), low=low, high=high, x0=start, sigma0=whole.sigma0)
        return OpenAiEs(space, seed=int(self._rng.integers(2**31)), **own)

    def _rules(self, vector: FloatArray, n: int) -> NDArray[np.float64]:
        """Return the coefficients of a vector as (n, terms)."""
        width = self.space.n_coefficients // self._n_first
        return vector[: n * width].reshape(n, width)

    def _written_out(self, vector: FloatArray) -> FloatArray:
        """Return the vector of the space: each group with the coefficients of its rule."""
        rules = self._rules(vector, self.n_rules)
        return np.concatenate([rules[self._rule_of].ravel(), vector[rules.size :]])

    def _shortened(self, vector: FloatArray) -> FloatArray:
        """Return what the strategy sees of a vector of the space; inverse of ``_written_out``."""
        rules = self._rules(vector, self._n_first)
        firsts = np.unique(self._rule_of, return_index=True)[1]
        return np.concatenate([rules[firsts].ravel(), vector[rules.size :]])
