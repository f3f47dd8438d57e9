"""Building candidates symbol by symbol: what may come next, and how likely."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from search_problems import SPACES

from evosearch.search.construction import Construction
from evosearch.search.known import Batch, Known, fitness_behind
from evosearch.spaces import RuleSpace, TableSpace

SMALL = {"terminals": ("w", "pre"), "functions": ("add", "neg"), "max_size": 5}


def symbols_of(construction, codes):
    return [construction.symbols[code] for code in codes]


@pytest.mark.parametrize("kind", ["rule", "table"])
def test_symbols_that_may_come_next_are_those_of_the_space(kind):
    space, rng = SPACES[kind](), np.random.default_rng(1)
    construction = Construction(space, 15)
    for _ in range(50):
        codes = construction.playout((), rng)
        for k in range(len(codes) + 1):
            partial = construction.start(codes[:k])
            allowed = space.actions(symbols_of(construction, codes[:k]))
            if k == len(codes):
                assert partial.is_complete
                assert allowed == []
                continue
            found = symbols_of(construction, construction.choices(partial).codes)
            assert sorted(map(str, found)) == sorted(map(str, allowed))


def test_every_prefix_is_of_a_rule_no_larger_than_the_search_allows():
    construction = Construction(RuleSpace(**{**SMALL, "max_size": 31}), 4)
    rng = np.random.default_rng(2)
    sizes = {len(construction.playout((), rng)) for _ in range(300)}

    assert sizes == {1, 2, 3, 4}


@pytest.mark.parametrize("kind", ["rule", "table"])
def test_genotypes_and_sequences_convert_both_ways(kind):
    space, rng = SPACES[kind](), np.random.default_rng(3)
    construction = Construction(space, 15)
    for _ in range(100):
        codes = construction.playout((), rng)
        assert construction.codes_of(construction.genotype(codes)) == codes


def test_constants_of_a_range_are_drawn_about_their_value_and_others_are_kept():
    space, rng = SPACES["rule"](), np.random.default_rng(9)
    construction = Construction(space, 15)
    values = []
    for _ in range(200):
        codes = construction.playout((), rng)
        rule = construction.genotype(codes, rng)
        assert construction.codes_of(rule) == codes
        plain = construction.genotype(codes)
        for value, middle in zip(rule.constants, plain.constants, strict=True):
            # A range of 4 and four values beside the fixed one.
            assert abs(value - middle) <= (0.5 if middle != 1.0 else 0.0)
            assert -2.0 <= value <= 2.0
            values.append(value)
    assert len(set(values)) > 100
    table = Construction(SPACES["table"](), 15)
    codes = table.playout((), rng)
    assert (table.genotype(codes, rng) == table.genotype(codes)).all()


def all_sequences(construction, partial):
    if partial.is_complete:
        return [tuple(partial.codes)]
    found = []
    for code in construction.choices(partial).codes.tolist():
        longer = construction.start((*partial.codes, code))
        found += all_sequences(construction, longer)
    return found


def chance(construction, codes):
    total = 0.0
    for k, code in enumerate(codes):
        total += construction.choices(construction.start(codes[:k])).log_prior[code]
    return np.exp(total)


def test_the_prior_is_uniform_over_sizes_and_over_the_rules_of_a_size():
    construction = Construction(RuleSpace(**SMALL), 5)
    sequences = all_sequences(construction, construction.start())
    per_size = Counter(len(codes) for codes in sequences)

    # 2 leaves, one unary and one binary function: T(n) = T(n-1) + sum T(k) T(n-1-k).
    assert per_size == {1: 2, 2: 2, 3: 6, 4: 14, 5: 42}
    for codes in sequences:
        assert chance(construction, codes) == pytest.approx(1 / 5 / per_size[len(codes)])


def test_playouts_follow_the_prior_and_keep_their_beginning():
    construction = Construction(RuleSpace(**SMALL), 3)
    rng, n = np.random.default_rng(4), 4000
    counts = Counter(construction.playout((), rng) for _ in range(n))
    for codes in all_sequences(construction, construction.start()):
        p = chance(construction, codes)
        assert abs(counts[codes] / n - p) < 4 * np.sqrt(p / n)
    add = construction.symbols.index("add")
    assert all(construction.playout((add,), rng)[0] == add for _ in range(20))


def test_the_prior_of_a_table_is_uniform():
    construction = Construction(TableSpace(("w", "pre"), (-1, 0, 1)), 99)
    sequences = all_sequences(construction, construction.start())

    assert len(sequences) == 9
    assert [chance(construction, codes) for codes in sequences] == pytest.approx([1 / 9] * 9)


def test_contexts_of_places_say_whose_operand_they_are():
    construction = Construction(RuleSpace(**SMALL), 5)
    add, neg, w = (construction.symbols.index(name) for name in ("add", "neg", "w"))

    assert construction.start().places == [0]
    assert construction.start((add,)).places == [2 + 2 * add, 1 + 2 * add]
    assert construction.start((add, neg)).places == [2 + 2 * add, 1 + 2 * neg]
    assert construction.start((add, neg, w)).places == [2 + 2 * add]
    assert Construction(TableSpace(("w", "pre")), 1).start((0,)).places == [1]


def test_weights_of_large_rules_neither_over_nor_underflow():
    construction = Construction(RuleSpace(("w", "pre"), ("add", "mul", "tanh"), max_size=400), 400)
    sizes = [len(construction.playout((), np.random.default_rng(k))) for k in range(60)]

    assert 130 < np.mean(sizes) < 270


def test_known_functions_are_told_by_what_they_compute_and_never_asked_again():
    space = SPACES["rule"]()
    known = Known(space)
    first, same, other = (space.decode_text(t) for t in ("w*pre", "pre*w", "w + pre"))
    batch = Batch(known)

    assert [batch.add(rule) for rule in (first, same, other)] == [0, 0, 1]
    assert batch.candidates == [first, other]
    batch.learn(np.array([2.5]))
    again = Batch(known)
    assert again.add(same) == 2.5
    assert isinstance(again.add(same), float)
    assert again.add(other) == 0
    assert fitness_behind(2.5, np.empty(0)) == 2.5
    assert fitness_behind(0, np.array([7.0])) == 7.0
    assert fitness_behind(1, np.array([7.0])) is None


def test_what_is_known_is_bounded_and_can_be_turned_off():
    space = SPACES["table"]()
    known, off = Known(space, capacity=2), Known(space, is_on=False)
    keys = [known.key(space.sample(np.random.default_rng(k))[0]) for k in range(3)]
    for memory in (known, off):
        memory.note(keys, np.array([1.0, -np.inf, 3.0]))

    assert [known.fitness(key) for key in keys] == [None, -np.inf, 3.0]
    assert len(off) == 0
    assert Batch(off, is_on=False).add(np.zeros(6, np.int8)) == 0
