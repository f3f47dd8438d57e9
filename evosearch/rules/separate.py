"""Write a rule as a sum of products of functions of w alone, of pre alone and of post alone.

Where that is possible, the mean of the rule over a minibatch is a few matrix products:
mean_b sum_k a_k(w) b_k(pre_b) c_k(post_b) = sum_k a_k(w) mean_b c_k(post_b) b_k(pre_b)'.
What is one number a network, as a modulator is, differs between examples but not between units, so
that it goes with the post units or with the pre units.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TypeAlias

from evosearch.engine.program import Level
from evosearch.rules.expression import Expression, Node, subtree_ends
from evosearch.rules.primitives import ARITY

MAX_TERMS = 32
MAX_NODES = 500

Nodes: TypeAlias = tuple[Node, ...]


@dataclass(frozen=True)
class Term:
    """One product: coefficient * prod(a) * prod(b) * prod(c).

    Attributes:
        coefficient: a number.
        synapse: factors that read synapses only.
        pre: factors that read pre units, and perhaps what is one number a network.
        post: factors that read post units, and perhaps what is one number a network.
        network: factors that read what is one number a network only; none in a finished term.
    """

    coefficient: float
    synapse: tuple[Nodes, ...] = ()
    pre: tuple[Nodes, ...] = ()
    post: tuple[Nodes, ...] = ()
    network: tuple[Nodes, ...] = ()

    def times(self, other: Term) -> Term:
        """Return the product of two terms."""
        return Term(
            self.coefficient * other.coefficient,
            _merged(self.synapse, other.synapse),
            _merged(self.pre, other.pre),
            _merged(self.post, other.post),
            _merged(self.network, other.network),
        )

    def finished(self) -> Term:
        """Return the term with the network's factors among those of post, else of pre, units."""
        if not self.network:
            return self
        if self.pre and not self.post:
            return replace(self, pre=_merged(self.pre, self.network), network=())
        return replace(self, post=_merged(self.post, self.network), network=())

    @property
    def key(self) -> tuple[tuple[Nodes, ...], ...]:
        """Return the factors."""
        return self.synapse, self.pre, self.post, self.network


def separate(expression: Expression, levels: Mapping[str, Level]) -> list[Term] | None:
    """Return the terms of which an expression is the sum, or None where it does not separate.

    Never wrong, only shy: quotients separate where the divisor has one level, any other function
    where all that it reads has one.

    Args:
        expression: what to write as a sum.
        levels: the level of each terminal; constants fit all.
    """
    if expression.size > MAX_NODES:
        return None
    nodes, stack = expression.nodes, []
    ends = subtree_ends(nodes)
    for position in reversed(range(len(nodes))):
        node = nodes[position]
        operands = [stack.pop() for _ in range(ARITY.get(node, 0))]  # type: ignore[call-overload]
        here = nodes[position : ends[position]]
        stack.append(_value(node, operands, here, levels))
    terms = _collected(stack.pop())
    return None if terms is None else _collected([term.finished() for term in terms])


def _value(
    node: Node, operands: list[list[Term] | None], nodes: Nodes, levels: Mapping[str, Level]
) -> list[Term] | None:
    if not isinstance(node, str):
        return [Term(node)]
    if not operands:
        return _atom(nodes, levels)
    if any(operand is None for operand in operands):
        return _atom(nodes, levels)
    first, last = operands[0] or [], operands[-1] or []
    if node == "add":
        found: list[Term] | None = first + last
    elif node == "sub":
        found = first + _negated(last)
    elif node == "neg":
        found = _negated(first)
    elif node == "square":
        found = _product(first, first)
    elif node == "mul":
        found = _product(first, last)
    elif node == "div":
        divisor = nodes[1 + _first_size(nodes) :]
        inverse = _atom(("div", 1.0, *divisor), levels)
        found = None if inverse is None else _product(first, inverse)
    else:
        return _atom(nodes, levels)
    return found if found is not None else _atom(nodes, levels)


def _first_size(nodes: Nodes) -> int:
    """Return the number of nodes of the first operand."""
    return subtree_ends(nodes)[1] - 1


def _atom(nodes: Nodes, levels: Mapping[str, Level]) -> list[Term] | None:
    """Return an expression of one level as a factor; None where it mixes levels.

    Units of one side may be mixed with what is one number a network.
    """
    read = {levels[n] for n in nodes if isinstance(n, str) and n not in ARITY}
    units = read - {Level.NETWORK}
    # What the network has differs between examples, which functions of synapses do not.
    if len(units) > 1 or (Level.SYNAPSE in units and Level.NETWORK in read):
        return None
    level = min(units or read or {Level.POST})
    if level == Level.SYNAPSE:
        return [Term(1.0, synapse=(nodes,))]
    if level == Level.NETWORK:
        return [Term(1.0, network=(nodes,))]
    return [Term(1.0, pre=(nodes,))] if level == Level.PRE else [Term(1.0, post=(nodes,))]


def _negated(terms: list[Term]) -> list[Term]:
    return [Term(-t.coefficient, *t.key) for t in terms]


def _product(first: list[Term], last: list[Term]) -> list[Term] | None:
    if len(first) * len(last) > MAX_TERMS:
        return None
    return _collected([a.times(b) for a in first for b in last])


def _merged(a: tuple[Nodes, ...], b: tuple[Nodes, ...]) -> tuple[Nodes, ...]:
    return tuple(sorted((*a, *b), key=repr))


def _collected(terms: list[Term] | None) -> list[Term] | None:
    """Add up terms of the same factors; None where there are too many."""
    if terms is None:
        return None
    totals: dict[tuple[tuple[Nodes, ...], ...], float] = {}
    for term in terms:
        totals[term.key] = totals.get(term.key, 0.0) + term.coefficient
    found = [Term(value, *key) for key, value in totals.items() if value != 0.0]
    return found if len(found) <= MAX_TERMS else None
