"""Rules that are weighted sums of given terms."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from evosearch.errors import InputError
from evosearch.outcome import FloatArray
from evosearch.rules.expression import Expression, Node, joined
from evosearch.rules.genes import Gene, with_genes
from evosearch.rules.parser import parse_expression
from evosearch.rules.rule import Rule
from evosearch.spaces.vector import VectorSpace

_GENE_STEP = 0.2
"""Part of a gene's range that a step of sigma0 moves it by."""


class WeightedSpace(VectorSpace):
    """What spaces of weighted sums share: coefficients come first in a vector, then genes.

    Args:
        n_coefficients: numbers that are coefficients.
        sigma0: size of a search's first steps.
        bound: coefficients lie in [-bound, bound]; None for no bound.
        l1: what a search takes off the fitness for each unit of sum |c|, at least 0.
        form: ``"increment"`` or ``"absolute"``.
        genes: further numbers of a candidate; steps of ``sigma0`` move them by a fifth of their
            range.
    """

    kind = "coefficients"

    def __init__(
        self,
        n_coefficients: int,
        *,
        sigma0: float,
        bound: float | None,
        l1: float,
        form: str,
        genes: Sequence[Gene],
    ) -> None:
        if bound is not None and not bound > 0:
            raise InputError(f"bound is {bound}; it must be above 0.")
        if not 0.0 <= l1 < float("inf"):
            raise InputError(f"l1 is {l1}; it must be a finite number, at least 0.")
        self.n_coefficients = n_coefficients
        self.form = form
        self.l1 = float(l1)
        self.genes = tuple(genes)
        self._stretch = _GENE_STEP / sigma0
        places = np.array([gene.place(gene.start) for gene in self.genes])
        free = np.full(n_coefficients, np.inf if bound is None else bound)
        super().__init__(
            n_coefficients + len(self.genes),
            low=np.concatenate([-free, -places / self._stretch]),
            high=np.concatenate([free, (1.0 - places) / self._stretch]),
            sigma0=sigma0,
        )

    def gene_values(self, genotype: FloatArray) -> list[float]:
        """Return the values of the genes of a vector."""
        return [
            gene.at(gene.place(gene.start) + self._stretch * step)
            for gene, step in zip(self.genes, genotype[self.n_coefficients :].tolist(), strict=True)
        ]


class CoefficientSpace(WeightedSpace):
    """Rules ``sum_k c_k * basis_k`` by their coefficients c, float64 (k,).

    Volterra and ABCD rules are of this kind.

    Args:
        basis: the terms, as rule text or expressions; at least one.
        sigma0: size of a search's first steps.
        bound: coefficients lie in [-bound, bound]; None for no bound.
        l1: what a search takes off the fitness for each unit of sum |c_k|, at least 0.
        form: ``"increment"`` or ``"absolute"``.
        genes: further numbers of a candidate, which follow the coefficients in a vector; steps
            of ``sigma0`` move them by a fifth of their range.

    Raises:
        InputError: an empty basis, a term that is no rule text, or a number out of range.

    Example:
        >>> import numpy as np
        >>> space = CoefficientSpace(("pre*post", "w"))
        >>> print(space.decode(np.array([1.0, -0.5])).main)
        pre*post + -0.5*w
    """

    def __init__(
        self,
        basis: Sequence[str | Expression],
        *,
        sigma0: float = 0.1,
        bound: float | None = None,
        l1: float = 0.0,
        form: str = "increment",
        genes: Sequence[Gene] = (),
    ) -> None:
        if not basis:
            raise InputError("the basis of a coefficient space is empty; give at least one term.")
        self.basis = tuple(
            term if isinstance(term, Expression) else parse_expression(term, source="basis")
            for term in basis
        )
        super().__init__(len(self.basis), sigma0=sigma0, bound=bound, l1=l1, form=form, genes=genes)

    def decode(self, genotype: FloatArray) -> Rule:
        """Return the sum as a rule, with its genes; terms with coefficient zero are left out."""
        n = len(self.basis)
        terms = [
            _scaled(float(coefficient), term)
            for coefficient, term in zip(genotype[:n], self.basis, strict=True)
            if coefficient != 0.0
        ]
        rule = Rule(sum_of(terms), form=self.form)
        return with_genes(rule, self.genes, self.gene_values(genotype))


def _scaled(coefficient: float, term: Expression) -> tuple[Node, ...]:
    if coefficient == 1.0:
        return term.nodes
    if term.nodes == (1.0,):
        return (coefficient,)
    return ("mul", coefficient, *term.nodes)


def sum_of(terms: Sequence[tuple[Node, ...]]) -> Expression:
    """Return ``((t0 + t1) + t2) + …`` as an expression; 0 where there are no terms."""
    if not terms:
        return Expression((0.0,))
    return Expression(joined("add", terms))
