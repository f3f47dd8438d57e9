"""Several rules over the same terms, one for each group of synapses that share it."""

from __future__ import annotations

from collections.abc import Sequence

from evosearch.outcome import FloatArray
from evosearch.rules.genes import Gene, with_genes
from evosearch.rules.parser import parse_expression
from evosearch.rules.rule import Rule
from evosearch.spaces.coefficients import WeightedSpace, sum_of


class SharedCoefficientSpace(WeightedSpace):
    """Rules ``sum_k c_k * basis_k`` whose coefficients differ between groups of synapses.

    A vector holds the coefficients of all rules, float64 (n_rules, k) row by row, then genes; where
    synapses choose their rule, the first of these are their choices. As text,
    ``dw = c0*(pre*post) + c1*w; c0_0 = 1; c1_0 = -0.5; c0_1 = 0.2; …``.

    Args:
        basis: the terms, as rule text; at least one.
        coefficients: gene ``c{term}_{rule}`` of every rule and term, rule by rule.
        sigma0: size of a search's first steps.
        bound: coefficients lie in [-bound, bound]; None for no bound.
        l1: what a search takes off the fitness for each unit of sum |c|, at least 0.
        form: ``"increment"`` or ``"absolute"``.
        genes: further numbers of a candidate.
    """

    def __init__(
        self,
        basis: Sequence[str],
        coefficients: Sequence[Gene],
        *,
        sigma0: float = 0.1,
        bound: float | None = None,
        l1: float = 0.0,
        form: str = "increment",
        genes: Sequence[Gene] = (),
    ) -> None:
        self.n_terms = len(basis)
        self._coefficients = tuple(coefficients)
        parsed = [parse_expression(term, source="basis") for term in basis]
        terms = [("mul", f"c{k}", *term.nodes) for k, term in enumerate(parsed)]
        self._sum = Rule(sum_of(terms), form=form)
        super().__init__(
            len(coefficients), sigma0=sigma0, bound=bound, l1=l1, form=form, genes=genes
        )

    @property
    def n_rules(self) -> int:
        """Groups of synapses with a rule of their own."""
        return self.n_coefficients // self.n_terms

    def decode(self, genotype: FloatArray) -> Rule:
        """Return the sum, with every coefficient and gene as a further part."""
        values = [*genotype[: self.n_coefficients].tolist(), *self.gene_values(genotype)]
        return with_genes(self._sum, (*self._coefficients, *self.genes), values)
