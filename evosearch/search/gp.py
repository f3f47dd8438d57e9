"""Genetic programming: tournaments, size-fair crossover, constants tuned on the way."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import compress
from operator import itemgetter
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from evosearch.errors import InputError
from evosearch.outcome import Evaluation, FloatArray
from evosearch.rules.expression import Expression
from evosearch.search.base import (
    SEARCHES,
    Search,
    SearchSettings,
    State,
    new_rng,
    restore_rng,
    rng_state,
    usable_fitness,
)
from evosearch.search.breeding import Breeder
from evosearch.search.gp_constants import ConstantTuner, Trial, structure_of
from evosearch.search.gp_small import SmallRules
from evosearch.search.memory import Memory
from evosearch.search.semantics import semantic_keys

_MAX_TRIES = 20


class GpSettings(SearchSettings):
    """Settings that all forms of genetic programming on trees have."""

    population: int = Field(200, ge=1, le=1_000_000, description="rules that are asked at a time")
    elite: int = Field(20, ge=1, le=1_000_000, description="best rules that stay among the parents")
    survivors: Literal["children", "best"] = Field(
        "children",
        description="who breeds: the last generation and the elite, or the best of all so far",
    )
    p_crossover: float = Field(0.4, ge=0, description="relative frequency of crossover")
    p_subtree: float = Field(0.2, ge=0, description="relative frequency of a new random subtree")
    p_point: float = Field(0.2, ge=0, description="relative frequency of other nodes")
    p_hoist: float = Field(0.05, ge=0, description="relative frequency of lifted subtrees")
    p_constant: float = Field(0.25, ge=0, description="relative frequency of other constants")
    init_max_size: int = Field(
        15, ge=1, description="nodes of the largest random rules; sizes are evenly spread"
    )
    immigrants: float = Field(
        0.3, ge=0, le=1, description="share of rules from outside in each generation"
    )
    small_first: float = Field(
        0.7, ge=0, le=1, description="share of these that goes through small rules, size by size"
    )
    tune_constants: float = Field(
        0.2, ge=0, le=1, description="share of each generation that tunes constants of good rules"
    )
    n_tuned: int = Field(4, ge=1, description="structures whose constants are tuned at a time")
    skip_equal: bool = Field(
        True, description="never score a rule again that computes the same function"
    )
    rescore: bool = Field(
        False, description="score the elite again each generation, for draws that change"
    )
    start: tuple[str, ...] = Field((), description="rules in the first generation, as text")

    @model_validator(mode="after")
    def _has_variation(self) -> GpSettings:
        if not sum(self.frequencies().values()) > 0:
            raise ValueError("one of p_crossover, p_subtree, p_point, p_hoist must be above 0")
        return self

    def frequencies(self) -> dict[str, float]:
        """Return the relative frequency of each operator by its name."""
        names = ("crossover", "subtree", "point", "hoist", "constant")
        return {name: getattr(self, f"p_{name}") for name in names}


@dataclass(frozen=True, eq=False)
class Member:
    """A scored rule; its length is its size."""

    rule: Expression
    fitness: float
    per_draw: FloatArray

    def __len__(self) -> int:
        return self.rule.size


class Programming(Search):
    """What all forms of genetic programming on trees share.

    They differ in how parents are selected, in who survives, and in what ranks first.
    """

    space_kinds = ("rule",)

    def __init__(self, space: Any, *, seed: int = 0, **settings: Any) -> None:
        super().__init__(space, seed=seed, **settings)
        self._rng = new_rng(seed)
        self._breeder = Breeder(space, self._rng, self.settings.frequencies())
        self._tuner = ConstantTuner(self._rng)
        self._memory = Memory(1_000_000)
        self._members: list[Member] = []
        self._trials: list[Trial] = []
        self._start = [_read_start(space, text) for text in self.settings.start]
        self._n_asked = 0
        self._small = SmallRules(space, seed)

    @abstractmethod
    def _select(self, n: int) -> list[Member]:
        """Return ``n`` parents, repeats included, of the members."""

    def ask(self) -> list[Expression]:
        """Return a generation: random rules at first, else tuned ones, children and immigrants."""
        self._trials = []
        batch = self._next_generation() if self._members else self._first_generation()
        # Where nothing new is found, something is repeated: the budget decides when to stop.
        return batch or self.space.sample(self._rng, self.settings.population)

    def tell(self, candidates: Sequence[Expression], evaluation: Evaluation) -> None:
        """Let the generation and the elite be the parents of the next one."""
        fitness = usable_fitness(evaluation, len(candidates))
        self._n_asked += len(candidates)
        self._tuner.learn([t for t in self._trials if t.index < len(fitness)], fitness)
        self._trials = []
        per_draw = np.array(evaluation.per_draw, dtype=np.float64)
        told = [
            Member(rule, value, row)
            for rule, value, row in zip(candidates, fitness.tolist(), per_draw, strict=True)
            if value > -np.inf
        ]
        if told:
            self._members = self._survivors(told)

    def state_dict(self) -> State:
        """Return the members, the steps of the constants, the memory and the generator."""
        members = self._members
        return {
            "rng": rng_state(self._rng),
            "rules": [self.space.encode_text(member.rule) for member in members],
            "fitness": np.array([member.fitness for member in members]),
            "per_draw": np.array([member.per_draw for member in members]),
            "memory": self._memory.to_array(),
            "steps": self._tuner.to_list(),
            "n_asked": self._n_asked,
            "n_small": self._small.position,
        }

    def load_state_dict(self, state: State) -> None:
        """Take over members, steps, memory and generator."""
        restore_rng(self._rng, state["rng"])
        per_draw = np.asarray(state["per_draw"], dtype=np.float64)
        self._members = [
            Member(self.space.decode_text(text), float(fitness), np.array(row))
            for text, fitness, row in zip(state["rules"], state["fitness"], per_draw, strict=True)
        ]
        self._memory.load(state["memory"])
        self._tuner.load(state["steps"])
        self._n_asked = int(state["n_asked"])
        self._small.position = int(state["n_small"])
        self._trials = []

    def best(self, n: int) -> list[Member]:
        """Return its ``n`` best members, the best first; fewer where it has fewer."""
        return self._ranked(self._members)[:n]

    def receive(self, members: Sequence[Member]) -> None:
        """Let members of another population be parents beside its own; equal rules once."""
        known = {member.rule for member in self._members}
        self._members = [*self._members, *(m for m in members if m.rule not in known)]

    def share_news(self, other: Programming) -> None:
        """Propose from now on what neither it nor ``other`` did, and small rules in turn with it.

        Both have one memory then, which either state holds.
        """
        self._memory, self._small = other._memory, other._small
        # Remembered before any of them asks, so that none finds a start rule of another first.
        self._new_ones(self._start)

    def _first_generation(self) -> list[Expression]:
        batch = [] if self._n_asked else list(self._start)
        self._new_ones(batch)
        missing = self.settings.population - len(batch)
        return batch + self._immigrants(missing)

    def _next_generation(self) -> list[Expression]:
        s = self.settings
        ranked = self._ranked(self._members)
        batch = [member.rule for member in ranked[: s.elite]] if s.rescore else []
        n_tuning = round(s.tune_constants * s.population)
        batch += self._tuned(ranked, n_tuning, offset=len(batch))
        n_children = s.population - len(batch) - round(s.immigrants * s.population)
        batch += self._children(max(0, n_children))
        return batch + self._immigrants(max(0, s.population - len(batch)))

    def _children(self, n: int) -> list[Expression]:
        """Return a child of each of n pairs of parents, tried again where it is no news."""
        chosen = self._select(2 * n) if n else []
        pairs = list(zip(chosen[::2], chosen[1::2], strict=True))
        made: dict[int, Expression] = {}
        left = list(range(n))
        for _ in range(_MAX_TRIES):
            if not left:
                break
            parents = [(pairs[k][0].rule, pairs[k][1].rule) for k in left]
            rules, operators = self._breeder.children(parents)
            are_new = self._are_new(rules)
            for k, rule, operator in compress(zip(left, rules, operators, strict=True), are_new):
                made[k] = rule
                self._note_descent(rule, operator, *pairs[k])
            left = [k for k, is_new in zip(left, are_new, strict=True) if not is_new]
        return [made[k] for k in sorted(made)]

    def _note_descent(self, child: Expression, operator: str, *parents: Member) -> None:
        """Learn of whom a new child is, and how it was made; most forms need not know."""

    def _tuned(self, ranked: Sequence[Member], n: int, *, offset: int) -> list[Expression]:
        """Return ``n`` rules with other constants, the same number of each chosen structure."""
        if self.space.ephemeral is None or n == 0:
            return []
        chosen = self._tuner.chosen((member.rule for member in ranked), self.settings.n_tuned)
        parents = [ranked[k] for k in chosen]
        made: list[tuple[int, Expression, float, Member]] = []
        for place, parent in enumerate(parents):
            turns = range(place, n, len(parents))
            rules, steps = self._tuner.propose(parent.rule, len(turns))
            made += zip(turns, rules, steps, [parent] * len(turns), strict=True)
        # In turn, so that a batch that is cut short tunes all structures alike.
        made.sort(key=itemgetter(0))
        batch: list[Expression] = []
        for _, rule, step, parent in compress(made, self._are_new([one[1] for one in made])):
            structure = structure_of(rule)
            self._trials.append(Trial(offset + len(batch), structure, step, parent.fitness))
            batch.append(rule)
        return batch

    def _immigrants(self, n: int) -> list[Expression]:
        """Return ``n`` new rules: small ones without constants of a range, and random ones."""
        n_small = round(self.settings.small_first * n)
        made: list[Expression] = []
        while len(made) < n_small and (rules := self._small.take(n_small - len(made))):
            made += self._new_ones(rules)
        return made + self._random(n - len(made))

    def _random(self, n: int) -> list[Expression]:
        """Return up to ``n`` new random rules; their sizes are uniform over those possible."""
        made: list[Expression] = []
        for _ in range(_MAX_TRIES):
            if len(made) == n:
                break
            made += self._new_ones(self._breeder.random(n - len(made), self.settings.init_max_size))
        return made

    def _new_ones(self, rules: Sequence[Expression]) -> list[Expression]:
        """Return those of some rules that are new, and remember them."""
        return list(compress(rules, self._are_new(rules)))

    def _are_new(self, rules: Sequence[Expression]) -> list[bool]:
        """Say of each rule whether none computed the same before, and remember it."""
        if not self.settings.skip_equal:
            return [True] * len(rules)
        return [self._memory.add_new_hash(key) for key in semantic_keys(rules)]

    def _survivors(self, told: list[Member]) -> list[Member]:
        """Return the parents of the next generation; those of the last fill what is missing."""
        s = self.settings
        if s.rescore:
            return told
        before = self._ranked(self._members)
        if s.survivors == "best":
            return self._ranked(before + told)[: s.population]
        n_kept = max(s.elite, s.population - len(told))
        return before[:n_kept] + told

    def _ranked(self, members: Sequence[Member]) -> list[Member]:
        """Return the best first, the smaller first among equally good ones."""
        fitness = np.array([member.fitness for member in members], dtype=np.float64)
        sizes = np.array([member.rule.size for member in members], dtype=np.int64)
        return [members[k] for k in np.lexsort((sizes, -fitness)).tolist()]


class TournamentSettings(GpSettings):
    """Settings of ``gp``."""

    tournament: int = Field(5, ge=1, description="rules of which the best becomes a parent")
    parsimony: float = Field(
        1.2,
        ge=1.0,
        le=2.0,
        description="pressure on size: of two winners the smaller is taken with half this chance",
    )
    width: int = Field(
        0, ge=0, description="so many of the best alone may become parents; 0: all members may"
    )


@SEARCHES.register("gp")
class GeneticProgramming(Programming):
    """Genetic programming with double tournaments: fitness first, then size.

    Each generation holds children by size-fair crossover and four mutations, rules whose constants
    are tuned, and random immigrants; a function that was scored is not scored again. The best
    ``elite`` rules stay among the parents. Selection and operators choose as DEAP's do. With
    ``survivors = "best"`` it is a (mu + lambda) scheme: the best ``population`` of parents and
    children together breed next, where both numbers are ``population``; ``gp-steady`` with the
    same setting has more parents than children. With ``width`` above 0, ``tournament = 1``,
    ``p_crossover = 0`` and ``survivors = "best"`` it is stochastic beam search.

    Sources: J. Koza, "Genetic Programming", 1992; F.-A. Fortin, F.-M. De Rainville, M.-A. Gardner,
    M. Parizeau, C. Gagné, "DEAP: Evolutionary Algorithms Made Easy", JMLR 13, 2012; S. Luke,
    L. Panait, "Fighting Bloat with Nonparametric Parsimony Pressure", PPSN VII, 2002; W. Langdon,
    "Size Fair and Homologous Tree Crossovers for Tree Genetic Programming", GPEM 1, 2000.
    """

    name = "gp"
    Settings = TournamentSettings

    def _select(self, n: int) -> list[Member]:
        s = self.settings
        pool = self._ranked(self._members)[: s.width] if s.width else self._members
        fitness = np.array([member.fitness for member in pool], dtype=np.float64)
        sizes = np.array([member.rule.size for member in pool], dtype=np.int64)
        chosen = double_tournament(fitness, sizes, n, s.tournament, s.parsimony, self._rng)
        return [pool[k] for k in chosen.tolist()]


def double_tournament(
    fitness: FloatArray,
    sizes: NDArray[np.int64],
    n: int,
    rounds: int,
    parsimony: float,
    rng: np.random.Generator,
) -> NDArray[np.int64]:
    """Select ``n`` of m members: of two winners by fitness the smaller one with a greater chance.

    Source: S. Luke, L. Panait, "Fighting Bloat with Nonparametric Parsimony Pressure", PPSN VII,
    2002.

    Args:
        fitness: (m,) higher is better.
        sizes: (m,).
        n: selections.
        rounds: members that meet in a tournament by fitness.
        parsimony: from 1 to 2; the smaller winner is taken with half this chance.
        rng: the source of random numbers.

    Returns:
        Numbers (n,) of members.
    """
    met = rng.integers(len(fitness), size=(n, 2, rounds))
    best = fitness[met].argmax(axis=2)
    first, second = np.take_along_axis(met, best[..., None], axis=2)[..., 0].T
    is_swapped = sizes[first] > sizes[second]
    smaller, larger = np.where(is_swapped, [second, first], [first, second])
    chance = np.where(sizes[first] == sizes[second], 0.5, parsimony / 2.0)
    return np.where(rng.random(n) < chance, smaller, larger)


def _read_start(space: Any, text: str) -> Expression:
    rule = space.decode_text(text)
    if rule.size > space.max_size:
        raise InputError(
            f"the start rule {text!r} has {rule.size} nodes; the space allows {space.max_size}."
        )
    return rule
