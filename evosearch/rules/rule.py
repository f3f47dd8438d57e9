"""A plasticity rule: one expression for the weights, and others for states that it keeps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np

from evosearch.errors import InputError
from evosearch.rules.expression import Expression
from evosearch.rules.primitives import PRIMITIVES

INCREMENT, ABSOLUTE = "increment", "absolute"
_MAIN = {INCREMENT: "dw", ABSOLUTE: "w"}


class Rule:
    """A local plasticity rule, immutable and hashable.

    In the increment form the expression is what is added to the weight (times the step size), in
    the absolute form it is the new weight.

    Args:
        source: rule text, one expression, or expressions by part: ``dw`` or ``w`` for the weights
            and the names of state terminals for their new values.
        form: ``"increment"`` or ``"absolute"``, for text and expressions without ``dw =``.

    Raises:
        InputError: text that is no rule, or parts without the weights.

    Example:
        >>> oja = Rule("post*(pre - post*w)")
        >>> float(oja(w=0.5, pre=1.0, post=2.0))
        0.0
    """

    def __init__(
        self,
        source: str | Expression | Mapping[str, Expression],
        *,
        form: str = INCREMENT,
    ) -> None:
        if form not in _MAIN:
            raise InputError(f"unknown form of a rule {form!r}. Known: increment, absolute.")
        if isinstance(source, str):
            from evosearch.rules.parser import parse

            parts = dict(parse(source).parts)
            if "=" not in source:
                parts = {_MAIN[form] if name == "dw" else name: e for name, e in parts.items()}
        elif isinstance(source, Expression):
            parts = {_MAIN[form]: source}
        elif isinstance(source, Mapping):
            parts = dict(source)
        else:
            kind = type(source).__name__
            raise InputError(f"a rule is made of text or expressions, not of {kind}.")
        main = [name for name in ("dw", "w") if name in parts]
        if len(main) != 1:
            raise InputError("a rule has exactly one of the parts 'dw' and 'w'.")
        self.parts: dict[str, Expression] = {main[0]: parts.pop(main[0]), **parts}

    @property
    def form(self) -> str:
        """``"increment"`` or ``"absolute"``."""
        return INCREMENT if "dw" in self.parts else ABSOLUTE

    @property
    def main(self) -> Expression:
        """The expression of the weights."""
        return self.parts[_MAIN[self.form]]

    @cached_property
    def text(self) -> str:
        """The text that parses back to this rule; a lone increment is a bare expression."""
        if self.form == INCREMENT and len(self.parts) == 1:
            return str(self.main)
        return "; ".join(f"{name} = {expression}" for name, expression in self.parts.items())

    @property
    def size(self) -> int:
        """Nodes of all expressions; numbers that a candidate carries along, genes, have none."""
        return sum(
            expression.size
            for name, expression in self.parts.items()
            if name in ("dw", "w") or not expression.is_number
        )

    @cached_property
    def terminals(self) -> frozenset[str]:
        """Names of the terminals that are read."""
        return frozenset().union(*(e.terminals for e in self.parts.values()))

    @property
    def constants(self) -> tuple[float, ...]:
        """Constants of all parts, in order."""
        return tuple(c for expression in self.parts.values() for c in expression.constants)

    def with_constants(self, values: Sequence[float]) -> Rule:
        """Return the same structure with other constants."""
        parts, start = {}, 0
        for name, expression in self.parts.items():
            end = start + len(expression.constants)
            parts[name] = expression.with_constants(values[start:end])
            start = end
        return Rule(parts)

    def __call__(self, **terminals: Any) -> Any:
        """Evaluate the weights' expression on broadcastable NumPy arrays or torch tensors."""
        return evaluate(self.main, terminals)

    def evaluate_parts(self, **terminals: Any) -> dict[str, Any]:
        """Evaluate every part."""
        return {name: evaluate(e, terminals) for name, e in self.parts.items()}

    def __str__(self) -> str:
        return self.text

    def __repr__(self) -> str:
        return f"Rule({self.text!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Rule) and list(self.parts.items()) == list(other.parts.items())

    def __hash__(self) -> int:
        return hash(tuple(self.parts.items()))


def evaluate(expression: Expression, terminals: Mapping[str, Any]) -> Any:
    """Evaluate an expression on NumPy arrays or torch tensors.

    Raises:
        InputError: a terminal has no value.
    """
    missing = expression.terminals - set(terminals)
    if missing:
        raise InputError(
            f"the rule reads {', '.join(sorted(missing))}, which was not given. Given: "
            f"{', '.join(sorted(terminals)) or 'nothing'}."
        )
    is_torch = any(type(value).__module__.startswith("torch") for value in terminals.values())
    if is_torch:
        from evosearch.rules.torch_functions import torch_function as function_of
    else:
        terminals = {name: np.asarray(value) for name, value in terminals.items()}

        def function_of(name: str) -> Any:
            return PRIMITIVES[name].numpy

    stack: list[Any] = []
    for node in reversed(expression.nodes):
        if isinstance(node, str) and node in PRIMITIVES:
            operands = [stack.pop() for _ in range(PRIMITIVES[node].arity)]
            # A constant stays a Python number, which takes on the type and device of its partner.
            if all(type(operand) is float for operand in operands):
                stack.append(float(PRIMITIVES[node].numpy(*operands)))
            else:
                stack.append(function_of(node)(*operands))
        else:
            stack.append(terminals[node] if isinstance(node, str) else node)
    return stack.pop()
