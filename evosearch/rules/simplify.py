"""Shorter spellings of a rule, found by SymPy in a child process and checked by their values."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evosearch.errors import InputError
from evosearch.rules.expression import Expression
from evosearch.rules.parser import parse_expression
from evosearch.rules.primitives import PRIMITIVES
from evosearch.rules.rule import Rule

_N_RANDOM, _N_SPECIAL = 64, 192
_SPECIAL = np.array([-2.0, -1.0, -0.5, 0.0, 0.0, 0.5, 1.0, 1.0, 2.0])
_TOLERANCE = 1e-9
_SEED = 20_260_101
_STEP_LIMIT_S = 1.0


def simplify(rule: Rule, *, timeout_s: float = 5.0, max_nodes: int = 200) -> Rule:
    """Return the shortest spelling that was found, each part by itself; see ``simplify_many``.

    Example:
        >>> simplify(Rule("pre*post - post*post*w*1")).text
        'post*(pre - post*w)'
    """
    return simplify_many([rule], timeout_s=timeout_s, max_nodes=max_nodes)[0]


def simplify_many(
    rules: Sequence[Rule], *, timeout_s: float = 5.0, max_nodes: int = 200
) -> list[Rule]:
    """Return each rule in the shortest spelling that was found within the time, or as it was.

    A spelling counts if its values are those of the rule, within 1e-9 of the largest value on the
    way, at random points and at small whole and half numbers with many zeros and ties; thus
    ``pre/pre``, which is 0 at 0, is not 1. One child process serves all rules, as SymPy takes
    about a second to start.

    Args:
        rules: rules of any size.
        timeout_s: seconds for all of them together, after which the child is ended.
        max_nodes: larger parts stay as they are.
    """
    wanted = list(
        dict.fromkeys(
            expression
            for rule in rules
            for expression in rule.parts.values()
            if 1 < expression.size <= max_nodes
        )
    )
    found = _candidates(wanted, timeout_s) if wanted else []
    best = {part: _best(part, texts) for part, texts in zip(wanted, found, strict=True)}
    return [
        Rule({name: best.get(expression, expression) for name, expression in rule.parts.items()})
        for rule in rules
    ]


def _candidates(expressions: list[Expression], timeout_s: float) -> list[list[str]]:
    """Return the candidates of each expression that the child printed in time."""
    texts = [str(expression) for expression in expressions]
    request = json.dumps({"texts": texts, "limit_s": min(_STEP_LIMIT_S, timeout_s)})
    # Run where the package lies: the user's folder may hold modules of any name.
    child = subprocess.Popen(
        [sys.executable, "-W", "ignore", "-m", "evosearch.rules.simplify_worker"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        cwd=Path(__file__).parents[2],
        env={**os.environ, "PYTHONHASHSEED": "0"},
        text=True,
    )
    try:
        output, _ = child.communicate(request, timeout=timeout_s)
    except subprocess.TimeoutExpired:
        child.kill()
        output, _ = child.communicate()
    finally:
        child.kill()
        child.wait()
    found: list[list[str]] = [[] for _ in expressions]
    for line in output.split("\n")[:-1]:
        number, text = json.loads(line)
        found[number].append(text)
    return found


def _best(expression: Expression, texts: list[str]) -> Expression:
    """Return the shortest candidate with the values of ``expression``, or itself."""
    candidates = {expression: _length(expression)}
    for text in texts:
        try:
            candidate = parse_expression(text)
        except InputError:
            continue
        candidates.setdefault(candidate, _length(candidate))
    ordered = sorted(candidates, key=lambda candidate: candidates[candidate])
    probes = _probes(expression)
    values, scale = _trace(expression, probes)
    is_compared = np.isfinite(scale)
    for candidate in ordered:
        if candidate == expression or not is_compared.any():
            return expression
        if candidate.terminals <= expression.terminals:
            other, _ = _trace(candidate, probes)
            with np.errstate(invalid="ignore"):
                is_same = np.abs(other - values) <= _TOLERANCE * scale
            if is_same[is_compared].all():
                return candidate
    return expression


def _length(expression: Expression) -> tuple[int, int]:
    return expression.size, len(str(expression))


def _probes(expression: Expression) -> dict[str, NDArray[np.float64]]:
    """Return values for every terminal: random ones, then small numbers with zeros and ties."""
    rng = np.random.default_rng(_SEED)
    return {
        name: np.concatenate(
            [3.0 * rng.standard_normal(_N_RANDOM), rng.choice(_SPECIAL, _N_SPECIAL)]
        )
        for name in sorted(expression.terminals)
    }


def _trace(
    expression: Expression, probes: dict[str, NDArray[np.float64]]
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return the values at the probes and the largest size of any value on the way there."""
    shape = _N_RANDOM + _N_SPECIAL
    scale = np.zeros(shape)
    stack: list[Any] = []
    for node in reversed(expression.nodes):
        if not isinstance(node, str):
            value = np.full(shape, node)
        elif node in PRIMITIVES:
            value = PRIMITIVES[node].numpy(*(stack.pop() for _ in range(PRIMITIVES[node].arity)))
        else:
            value = probes[node]
        # NaN stays: np.maximum hands it on.
        scale = np.maximum(scale, np.abs(value))
        stack.append(value)
    return stack.pop(), scale
