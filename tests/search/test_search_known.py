"""What a search remembers of functions: keys of a batch are those of its members."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np

from evosearch.rules.parser import parse_expression
from evosearch.search.known import Batch, Known
from evosearch.search.memory import Memory, hash_of
from evosearch.search.semantics import semantic_key

TEXTS = ("w*pre", "pre*w", "post", "tanh(w)", "w/w*post", "pre + 0", "pre", "exp(w)", "exp(w)*1")
RULES = [parse_expression(text) for text in TEXTS]


def known_rules() -> Known:
    return Known(SimpleNamespace(kind="rule"))


def test_a_batch_added_at_once_gives_the_tickets_of_one_by_one() -> None:
    known = [known_rules(), known_rules()]
    for one in known:
        one.note([one.key(RULES[2])], np.array([0.5]))
    first, second = (Batch(one) for one in known)
    tickets = [first.add(rule) for rule in RULES]
    assert second.add_all(RULES) == tickets
    assert second.candidates == first.candidates
    # Known is the third and what equals it; each other function is asked once.
    assert tickets == [0, 0, 0.5, 1, 0.5, 2, 2, 3, 3]


def test_keys_of_other_candidates_are_hashes_of_the_keys_of_their_space() -> None:
    known = Known(SimpleNamespace(kind="table", key=lambda candidate: f"row {candidate}"))
    assert known.keys([3, 4]) == [hash_of("row 3"), hash_of("row 4")]
    assert known.key(3) == hash_of("row 3")


def test_a_hash_that_is_added_is_that_of_its_key() -> None:
    memory = Memory(2)
    assert memory.add_new_hash(hash_of("a"))
    assert "a" in memory
    assert not memory.add_new("a")
    assert memory.add_new_hash(semantic_key(RULES[0]))
    assert not memory.add_new_hash(semantic_key(RULES[1]))
    assert memory.add_new("b")
    assert "a" not in memory
