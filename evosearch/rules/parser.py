"""Read rule text with a whitelist: only known names, numbers and operators exist.

Nothing is ever evaluated or looked up. All loops are iterative, so that any depth parses.
"""

from __future__ import annotations

import math
import re
from collections.abc import Collection
from dataclasses import dataclass

from evosearch.errors import InputError, did_you_mean
from evosearch.rules.expression import Expression, Node
from evosearch.rules.primitives import ARITY, PRIMITIVES
from evosearch.rules.rule import Rule

MAX_LENGTH = 4_000_000
MAX_NODES = 200_000

_TOKEN = re.compile(
    r"\s*(?:(?P<number>(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)|(?P<name>[A-Za-z_]\w*)|"
    r"(?P<sign>\*\*|[-+*/(),]))",
    re.ASCII,
)
_BINARY = {"+": ("add", 1), "-": ("sub", 1), "*": ("mul", 2), "/": ("div", 2)}
_NEGATION_PRECEDENCE = 3
_PART = re.compile(r"\s*([A-Za-z_]\w*)\s*=(.*)", re.ASCII | re.DOTALL)


def parse(
    text: str,
    *,
    terminals: Collection[str] | None = None,
    functions: Collection[str] | None = None,
    source: str = "rule",
) -> Rule:
    """Read a rule: one expression, or statements separated by ``;``.

    A bare expression or ``dw = …`` is the increment form, ``w = …`` the absolute form, any other
    ``name = …`` the new value of a state terminal.

    Args:
        text: infix mathematics such as ``post*(pre - post*w)``.
        terminals: names that may be read; None for any.
        functions: primitives that may be used; None for all.
        source: what the text is called in messages.

    Raises:
        InputError: with the source, the position, what was found and what is allowed.
    """
    if len(text) > MAX_LENGTH:
        raise InputError(
            f"{source}: the text has {len(text)} characters; at most {MAX_LENGTH} are allowed."
        )
    parts: dict[str, Expression] = {}
    for statement in text.split(";"):
        match = _PART.fullmatch(statement)
        name, body = (match[1], match[2]) if match else ("dw", statement)
        if name in parts or {name, *parts} >= {"dw", "w"}:
            raise InputError(f"{source}: {name[:40]!r} is given twice; a rule has one of dw and w.")
        if name in PRIMITIVES:
            raise InputError(f"{source}: {name!r} is a function and cannot be a state.")
        parts[name] = parse_expression(
            body, terminals=terminals, functions=functions, source=source
        )
    return Rule(parts)


def parse_expression(
    text: str,
    *,
    terminals: Collection[str] | None = None,
    functions: Collection[str] | None = None,
    source: str = "rule",
) -> Expression:
    """Read one expression; see :func:`parse`."""
    return _Reader(text, terminals, functions, source).read()


@dataclass
class _Pending:
    """An operator or bracket that waits for its right side."""

    kind: str
    name: str
    precedence: int
    commas: int = 0


class _Reader:
    """Dijkstra's shunting yard over a tree of numbered values."""

    def __init__(
        self,
        text: str,
        terminals: Collection[str] | None,
        functions: Collection[str] | None,
        source: str,
    ) -> None:
        self._text, self._source = text, source
        self._terminals, self._functions = terminals, functions
        self._nodes: list[tuple[Node, tuple[int, ...]]] = []
        self._values: list[int] = []
        self._pending: list[_Pending] = []
        self._position = 0

    def read(self) -> Expression:
        wants_operand = True
        length = len(self._text)
        while True:
            match = _TOKEN.match(self._text, self._position)
            if match is None:
                break
            start = match.start(match.lastgroup or 0)
            token = match[match.lastgroup or 0]
            if match.lastgroup == "number":
                self._expect(wants_operand, start, token)
                self._position = match.end()
                self._number(token, start)
                wants_operand = False
            elif match.lastgroup == "name":
                self._expect(wants_operand, start, token)
                self._position = match.end()
                wants_operand = self._name(token, start)
            else:
                self._position = match.end()
                wants_operand = self._sign(token, start, wants_operand)
            if len(self._nodes) > MAX_NODES:
                raise InputError(f"{self._source}: more than {MAX_NODES} nodes.")
        rest = self._text[self._position :].lstrip()
        if rest:
            start = length - len(rest)
            self._fail(start, f"found {rest[0]!r}", "names, numbers, + - * / ** ( ) and commas")
        if wants_operand:
            self._fail(length, "the text ends", "a number, a terminal, a function or (")
        self._reduce(0)
        if self._pending:
            self._fail(length, "the text ends with a bracket open", ")")
        return Expression(self._prefix())

    def _number(self, token: str, start: int) -> None:
        value = float(token)
        if not math.isfinite(value):
            self._fail(start, f"found {token[:20]!r}", "numbers below 1.8e308")
        minus = self._pending[-1] if self._pending else None
        # A minus sign right before a literal is part of it, unless a power follows.
        if (
            minus is not None
            and minus.kind == "negation"
            and minus.commas == start
            and not self._is_power_next()
        ):
            self._pending.pop()
            value = -value
        self._push(value)

    def _is_power_next(self) -> bool:
        match = _TOKEN.match(self._text, self._position)
        return match is not None and match["sign"] == "**"

    def _name(self, token: str, start: int) -> bool:
        """Take a terminal, or a function with its bracket; return whether an operand follows."""
        following = _TOKEN.match(self._text, self._position)
        is_call = following is not None and following["sign"] == "("
        if is_call:
            allowed = sorted(self._functions if self._functions is not None else PRIMITIVES)
            if token not in allowed or token not in PRIMITIVES:
                self._unknown(start, "function", token, allowed)
            assert following is not None
            self._position = following.end()
            self._pending.append(_Pending("call", token, 0))
            return True
        if token in PRIMITIVES:
            self._fail(start, f"the function {token!r} has no operands", f"{token}(…)")
        if self._terminals is not None and token not in self._terminals:
            self._unknown(start, "terminal", token, sorted(self._terminals))
        self._push(token)
        return False

    def _sign(self, sign: str, start: int, wants_operand: bool) -> bool:
        """Take an operator or bracket; return whether an operand follows."""
        if sign == "(":
            self._expect(wants_operand, start, sign)
            self._pending.append(_Pending("bracket", "(", 0))
            return True
        if sign == "-" and wants_operand:
            self._allow("neg", start)
            # Where the operand would begin, to know whether a literal follows at once.
            after = _TOKEN.match(self._text, self._position)
            begin = after.start(after.lastgroup or 0) if after else -1
            self._pending.append(_Pending("negation", "neg", _NEGATION_PRECEDENCE, begin))
            return True
        if wants_operand:
            self._fail(start, f"found {sign!r}", "a number, a terminal, a function or (")
        if sign == "**":
            self._power(start)
            return False
        if sign in _BINARY:
            name, precedence = _BINARY[sign]
            self._allow(name, start)
            self._reduce(precedence)
            self._pending.append(_Pending("binary", name, precedence))
            return True
        self._reduce(0)
        return self._close(sign, start)

    def _close(self, sign: str, start: int) -> bool:
        if not self._pending:
            self._fail(start, f"found {sign!r} with no bracket open", "an operator")
        top = self._pending[-1]
        if sign == ",":
            if top.kind != "call":
                self._fail(start, "found ','", "an operator or )")
            top.commas += 1
            return True
        self._pending.pop()
        if top.kind == "call":
            arity = PRIMITIVES[top.name].arity
            if top.commas + 1 != arity:
                self._fail(start, f"{top.name} has {top.commas + 1} operand(s)", f"exactly {arity}")
            self._apply(top.name, arity)
        return False

    def _power(self, start: int) -> None:
        match = _TOKEN.match(self._text, self._position)
        exponent = match["number"] if match and match["number"] else ""
        if match is None or exponent not in ("2", "3", "4"):
            self._fail(start, "found a power", "**2, **3 and **4; else pow(a, b) = exp(b log|a|)")
        assert match is not None
        self._position = match.end()
        if self._is_power_next():
            self._fail(start, "found a power of a power", "brackets that say which is meant")
        self._allow("square", start)
        base = self._values[-1]
        self._apply("square", 1)
        if exponent == "3":
            self._allow("mul", start)
            self._values.insert(-1, base)
            self._apply("mul", 2)
        elif exponent == "4":
            self._apply("square", 1)

    def _reduce(self, precedence: int) -> None:
        """Apply waiting operators that bind at least as tightly."""
        while self._pending and self._pending[-1].kind in ("binary", "negation"):
            if self._pending[-1].precedence < max(precedence, 1):
                return
            top = self._pending.pop()
            self._apply(top.name, ARITY[top.name])

    def _apply(self, name: str, arity: int) -> None:
        operands = tuple(self._values[-arity:])
        del self._values[-arity:]
        self._nodes.append((name, operands))
        self._values.append(len(self._nodes) - 1)

    def _push(self, node: Node) -> None:
        self._nodes.append((node, ()))
        self._values.append(len(self._nodes) - 1)

    def _prefix(self) -> list[Node]:
        prefix: list[Node] = []
        stack = [self._values[-1]]
        while stack:
            node, operands = self._nodes[stack.pop()]
            prefix.append(node)
            stack.extend(reversed(operands))
            if len(prefix) > MAX_NODES:
                raise InputError(f"{self._source}: more than {MAX_NODES} nodes.")
        return prefix

    def _allow(self, name: str, start: int) -> None:
        if self._functions is None or name in self._functions:
            return
        if name == "neg" and "sub" in self._functions:
            return
        if name == "square" and "mul" in self._functions:
            return
        self._unknown(start, "function", name, sorted(self._functions))

    def _expect(self, wants_operand: bool, start: int, token: str) -> None:
        if not wants_operand:
            self._fail(start, f"found {token[:40]!r} after a value", "an operator")

    def _unknown(self, start: int, kind: str, name: str, known: list[str]) -> None:
        hint = did_you_mean(name, known)
        raise InputError(
            f"{self._source}, position {start + 1}: unknown {kind} {name[:40]!r}.{hint} "
            f"Known: {', '.join(known)}."
        )

    def _fail(self, start: int, found: str, allowed: str) -> None:
        raise InputError(f"{self._source}, position {start + 1}: {found}; allowed: {allowed}.")
