"""Which synapses share a rule: one rule for all, one a layer, a neuron or a synapse, or k learned.

Every synapse follows the same sum of terms, ``dw = c0*term0 + c1*term1 + …``, or the same tree
that reads c0, c1, …; synapses that share a rule share these numbers, which are genes of the
candidate. A sum with one rule a synapse is the ABCD rule of E. Najarro and S. Risi, "Meta-learning
through Hebbian plasticity in random networks", NeurIPS 2020.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from evosearch.engine.contract import padded
from evosearch.engine.program import Level, Terminal
from evosearch.errors import InputError
from evosearch.rules.genes import Gene

if TYPE_CHECKING:
    from evosearch.engine.lifetime import Buffer, Lifetime, RuleSite


@dataclass(frozen=True)
class Sharing:
    """How the synapses of a life come to their coefficients.

    Attributes:
        kind: ``layer``, ``neuron``, ``synapse``, or k >= 2 rules among which synapses choose,
            or the number of each synapse's rule, matrix by matrix and row by row.
        basis: the terms, as rule text.
        shapes: (n_out, n_in) of each matrix that the rule governs.
        bound: coefficients lie in [-bound, bound].
    """

    kind: int | str | tuple[int, ...]
    basis: tuple[str, ...]
    shapes: tuple[tuple[int, int], ...]
    bound: float = 10.0

    @property
    def n_synapses(self) -> int:
        """Synapses of all matrices."""
        return sum(n_out * n_in for n_out, n_in in self.shapes)

    @property
    def is_chosen(self) -> bool:
        """Whether a candidate says which rule each synapse follows."""
        return isinstance(self.kind, int)

    @property
    def n_rules(self) -> int:
        """Rules that a candidate has."""
        if isinstance(self.kind, int):
            return self.kind
        return 1 + max(int(part.max()) for part in self._rows())

    @property
    def n_choices(self) -> int:
        """Synapses that choose their rule; 0 where the map is fixed."""
        return self.n_synapses if self.is_chosen else 0

    @property
    def terminals(self) -> tuple[Terminal, ...]:
        """What a rule reads its coefficients from, one terminal a term."""
        return tuple(
            Terminal(f"c{k}", Level.SYNAPSE, f"number {k} of the synapse's rule")
            for k in range(len(self.basis))
        )

    @property
    def coefficients(self) -> tuple[Gene, ...]:
        """One gene for each rule and term, rule by rule."""
        return tuple(
            Gene(
                f"c{k}_{rule}",
                -self.bound,
                self.bound,
                0.0,
                f"coefficient of {term} in rule {rule}",
            )
            for rule in range(self.n_rules)
            for k, term in enumerate(self.basis)
        )

    @property
    def choices(self) -> tuple[Gene, ...]:
        """One gene for each synapse that chooses; the whole part of it is the rule's number."""
        k = float(self.n_rules)
        return tuple(
            Gene(f"rule_{s}", 0.0, k, (s % self.n_rules) + 0.5, f"rule of synapse {s}")
            for s in range(self.n_choices)
        )

    def written_out(self, genes: NDArray[np.float64], n_own: int) -> NDArray[np.float64]:
        """Return genes as the engine reads them: the task's ``n_own``, then rows of coefficients.

        A row is a rule; where synapses choose, it is a synapse with what it chose.
        """
        if not self.is_chosen:
            return genes
        n = self.n_rules * len(self.basis)
        rows = genes[n_own : n_own + n].reshape(self.n_rules, -1)
        chosen = np.minimum(genes[n_own + n :].astype(np.int64), self.n_rules - 1)
        return np.concatenate([genes[:n_own], rows[chosen].ravel()])

    def attached(self, life: Lifetime, n_own: int) -> Lifetime:
        """Return the life with coefficients for each synapse, which begin at genes.

        Raises:
            InputError: its matrices are not those that the map was made for.
        """
        from evosearch.engine.lifetime import Inherited

        matrices = matrices_of(life)
        shapes = tuple((each.n_out, each.n_in) for each in matrices)
        if self.kind != "layer" and shapes != self.shapes:
            raise InputError(
                f"rule.sharing = {self.kind!r} covers the synapses of {_named(self.shapes)}, but "
                f"here the life has {_named(shapes)}; use rule.sharing = 'layer' or 1."
            )
        if len(shapes) != len(self.shapes):
            raise InputError(
                f"rule.sharing = 'layer' covers {len(self.shapes)} layers, but here the life has "
                f"{len(shapes)}; use rule.sharing = 1."
            )
        k, n_units, inherited = len(self.basis), life.n_units, list(life.inherited)
        own: dict[int, dict[str, Buffer]] = {}
        for matrix, rows in zip(matrices, self._rows(shapes), strict=True):
            own[matrix.start] = {}
            for number, terminal in enumerate(self.terminals):
                buffer = replace(matrix, name=terminal.name, start=n_units)
                n_units += padded(buffer.size)
                own[matrix.start][terminal.name] = buffer
                inherited.append(Inherited(buffer, n_own + k * rows.ravel() + number))
        sites = tuple(_with_terminals(site, own[site.matrix.start]) for site in life.sites)
        return replace(life, n_units=n_units, sites=sites, inherited=tuple(inherited))

    def _rows(self, shapes: Sequence[tuple[int, int]] | None = None) -> list[NDArray[np.int64]]:
        """Return the row of coefficients that each synapse reads, (n_out, n_in) a matrix."""
        found: list[NDArray[np.int64]] = []
        start = 0
        for number, (n_out, n_in) in enumerate(shapes or self.shapes):
            size = n_out * n_in
            if isinstance(self.kind, tuple):
                rows = np.array(self.kind[start : start + size]).reshape(n_out, n_in)
                start += size
            elif self.kind == "layer":
                rows = np.full((n_out, n_in), number)
            elif self.kind == "neuron":
                rows = start + np.repeat(np.arange(n_out)[:, None], n_in, axis=1)
                start += n_out
            else:
                rows = start + np.arange(size).reshape(n_out, n_in)
                start += size
            found.append(rows)
        return found


def matrices_of(life: Lifetime) -> list[Buffer]:
    """Return each matrix that the rule governs, in the order of the life."""
    return list({site.matrix.start: site.matrix for site in life.sites}.values())


def _with_terminals(site: RuleSite, further: dict[str, Buffer]) -> RuleSite:
    return replace(site, terminals={**site.terminals, **further})


def _named(shapes: Sequence[tuple[int, int]]) -> str:
    return " and ".join(f"{n_out}x{n_in}" for n_out, n_in in shapes)
