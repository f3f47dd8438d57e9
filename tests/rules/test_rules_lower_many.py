"""Lowered at once or one by one, rules become the same programs, to the bit."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from evosearch.engine.program import Level, Terminal
from evosearch.errors import InputError
from evosearch.rules.lower import lower
from evosearch.rules.lower_many import MAX_NODES, lower_many
from evosearch.rules.primitives import PRIMITIVES
from evosearch.rules.rule import Rule
from evosearch.spaces import RuleSpace

TERMINALS = [
    Terminal("w", Level.SYNAPSE),
    Terminal("pre", Level.PRE),
    Terminal("post", Level.POST),
    Terminal("mod", Level.NETWORK),
    Terminal("w0", Level.SYNAPSE),
]
NAMES = tuple(terminal.name for terminal in TERMINALS)
ARRAYS = ("code", "section_end", "register_level", "constant_register")


def same(program, other):
    """Whether two programs are equal in all arrays, their types and all bits of constants."""
    arrays = ((getattr(program, name), getattr(other, name)) for name in ARRAYS)
    return (
        all(a.dtype == b.dtype and np.array_equal(a, b) for a, b in arrays)
        and program.constant_value.tobytes() == other.constant_value.tobytes()
        and (program.outputs, program.terminals) == (other.outputs, other.terminals)
        and program.genes.size == other.genes.size
    )


@pytest.mark.parametrize("functions", [("add", "sub", "mul"), tuple(PRIMITIVES)])
def test_many_rules_lower_to_the_programs_of_each(functions):
    space = RuleSpace(
        NAMES, functions, constants=(1.0, 0.0, -0.0), ephemeral=(-2.0, 2.0), max_size=41
    )
    forms = ["increment", "absolute"] * 500
    expressions = space.sample(np.random.default_rng(0), len(forms))
    rules = [Rule(one, form=form) for one, form in zip(expressions, forms, strict=True)]

    programs = lower_many(rules, TERMINALS)

    assert all(same(p, lower(r, TERMINALS)) for p, r in zip(programs, rules, strict=True))


def test_a_lone_terminal_or_constant_states_and_long_rules_lower_too():
    texts = ["w", "pre", "mod", "0.5", "w0", "dw = pre; w0 = w0*0.5", "w*w", "0*w + -0.0"]
    texts += ["w = w", "w = mod", " + ".join(["w*pre"] * MAX_NODES)]
    rules = [Rule(text) for text in texts]

    programs = lower_many(rules, TERMINALS)

    assert all(same(p, lower(r, TERMINALS)) for p, r in zip(programs, rules, strict=True))


def test_threads_lower_side_by_side_to_the_same_programs():
    space = RuleSpace(NAMES, ("add", "sub", "mul"), ephemeral=(-2.0, 2.0), max_size=41)
    rules = [Rule(one) for one in space.sample(np.random.default_rng(1), 800)]
    whole = lower_many(rules, TERMINALS)
    parts = [rules[start : start + 50] for start in range(0, 800, 50)] * 4
    with ThreadPoolExecutor(4) as pool:
        found = [p for part in pool.map(lambda r: lower_many(r, TERMINALS), parts) for p in part]

    assert all(same(p, q) for p, q in zip(found, whole * 4, strict=True))


def test_an_unknown_terminal_is_named():
    rules = [Rule("w"), Rule("pre"), Rule("post*w"), Rule("nothing*pre"), Rule("w*w")]

    with pytest.raises(InputError, match="unknown terminal 'nothing'"):
        lower_many(rules, TERMINALS)
