"""What every space keeps: its operators stay inside it, and text reads back exactly."""

from __future__ import annotations

import json
import math
from collections import Counter

import numpy as np
import pytest

from evosearch.errors import InputError
from evosearch.rules.expression import Expression
from evosearch.rules.rule import Rule
from evosearch.spaces import CoefficientSpace, RuleSpace, SequentialSpace, TableSpace, VectorSpace

ENTRIES = ("w", "pre*post", "pre*(1 - post)")
SPACES = {
    "rule": RuleSpace(
        ("w", "pre", "post"), ("add", "sub", "mul", "div", "neg", "tanh", "pow", "max"),
        constants=(1.0, -0.5), ephemeral=(-2.0, 2.0), max_size=13,
    ),
    "polynomials": RuleSpace(("w", "pre"), ("add", "mul"), max_size=7),
    "unary": RuleSpace(("w",), ("neg",), max_size=4),
    "absolute": RuleSpace(("w", "pre"), ("sub",), constants=(2.0,), max_size=5, form="absolute"),
    "table": TableSpace(ENTRIES),
    "binary table": TableSpace(ENTRIES, (0, 3)),
    "vector": VectorSpace(4, low=-1.0, high=2.0, sigma0=0.3),
    "unbounded": VectorSpace(3, x0=(1.0, 2.0, 3.0)),
    "one number": VectorSpace(1, low=0.0),
    "coefficients": CoefficientSpace(ENTRIES, bound=1.5),
}  # fmt: skip
RULES = ("rule", "polynomials", "unary", "absolute")


@pytest.fixture(params=list(SPACES))
def space(request):
    return SPACES[request.param]


@pytest.fixture
def rng():
    return np.random.default_rng(5)


def check_inside(space, genotype):
    if space.kind == "rule":
        fixed = set(space.constants)
        assert genotype.size <= space.max_size
        assert genotype.terminals <= set(space.terminals)
        names = {n for n in genotype.nodes if isinstance(n, str)} - set(space.terminals)
        assert names <= set(space.functions)
        assert space.ephemeral or set(genotype.constants) <= fixed
    elif space.kind == "table":
        assert genotype.shape == (space.n_entries,)
        assert genotype.dtype == np.int8
        assert np.isin(genotype, space.values).all()
    else:
        assert genotype.shape == (space.dimension,)
        assert genotype.dtype == np.float64
        assert np.array_equal(genotype, space.clip(genotype))


def test_samples_are_inside_and_follow_the_generator(space, rng):
    samples = space.sample(rng, 200)
    again = space.sample(np.random.default_rng(5), 200)

    assert len(samples) == 200
    for sample in samples:
        check_inside(space, sample)
    assert [space.key(a) for a in samples] == [space.key(b) for b in again]
    assert len({space.key(a) for a in samples}) > 1


def test_operators_stay_inside_and_leave_their_operands_alone(space, rng):
    genotypes = space.sample(rng, 60)
    before = [space.encode_text(genotype) for genotype in genotypes]
    for first, second in zip(genotypes, reversed(genotypes), strict=True):
        check_inside(space, space.mutate(first, rng))
        for child in space.crossover(first, second, rng):
            check_inside(space, child)
        for neighbour in space.neighbours(first)[:200]:
            check_inside(space, neighbour)

    assert [space.encode_text(genotype) for genotype in genotypes] == before


def test_mutation_nearly_always_changes_something(space, rng):
    genotypes = space.sample(rng, 200)
    n_changed = sum(space.key(space.mutate(g, rng)) != space.key(g) for g in genotypes)

    # A rule may draw what it had; a number that stands at its bound may be moved beyond it.
    least = 200 if space.kind == "table" else 100
    assert n_changed >= least or space is SPACES["unary"]


def test_crossover_of_equal_parents_of_fixed_length_changes_nothing(rng):
    for name in ("table", "vector", "coefficients"):
        (genotype,) = SPACES[name].sample(rng)
        for child in SPACES[name].crossover(genotype, genotype, rng):
            np.testing.assert_array_equal(child, genotype)


def test_neighbours_are_distinct_in_fixed_order_and_without_the_genotype(space, rng):
    for genotype in space.sample(rng, 20):
        keys = [space.key(neighbour) for neighbour in space.neighbours(genotype)]

        assert len(set(keys)) == len(keys)
        assert space.key(genotype) not in keys
        assert keys == [space.key(neighbour) for neighbour in space.neighbours(genotype)]
        assert keys


def test_text_reads_back_exactly(space, rng):
    for genotype in space.sample(rng, 100):
        again = space.decode_text(space.encode_text(genotype))

        assert space.key(again) == space.key(genotype)
        check_inside(space, again)
        if space.kind != "rule":
            assert np.array_equal(json.loads(space.encode_text(genotype)), genotype)


def test_rules_decode_to_rules_and_vectors_to_themselves(space, rng):
    for genotype in space.sample(rng, 20):
        candidate = space.decode(genotype)
        if space.kind == "vector":
            assert candidate is genotype
        else:
            assert isinstance(candidate, Rule)
            assert candidate.form == space.form


def test_building_by_actions_ends_in_a_genotype_of_the_space(space, rng):
    if not isinstance(space, SequentialSpace):
        pytest.skip("not built one choice at a time")
    for _ in range(50):
        prefix = []
        while choices := space.actions(prefix):
            prefix.append(choices[rng.integers(len(choices))])
        is_rule = space.kind == "rule"
        check_inside(space, Expression(prefix) if is_rule else np.array(prefix, dtype=np.int8))


def test_sizes_of_sampled_rules_are_uniform_over_those_possible(rng):
    space = SPACES["polynomials"]
    sizes = Counter(rule.size for rule in space.sample(rng, 4000))

    assert space.possible_sizes(7) == [1, 3, 5, 7]
    assert set(sizes) == {1, 3, 5, 7}
    # Four sizes, standard deviation 27.
    assert all(abs(n - 1000) < 140 for n in sizes.values())


def test_trees_of_one_size_are_drawn_uniformly(rng):
    space = SPACES["polynomials"]
    # Two shapes, two functions in two places, two leaves in three places.
    counts = Counter(space.sample_of_size(5, rng).nodes for _ in range(6400))

    assert len(counts) == 2 * 2**2 * 2**3
    # 100 of each, standard deviation 10.
    assert min(counts.values()) > 50
    assert max(counts.values()) < 150


@pytest.mark.parametrize("name", RULES)
def test_constants_are_drawn_from_the_range_or_the_fixed_ones(name, rng):
    space = SPACES[name]
    drawn = [space.draw_constant(rng) for _ in range(200)]

    if space.ephemeral is not None:
        assert all(space.ephemeral[0] <= constant <= space.ephemeral[1] for constant in drawn)
        assert len(set(drawn)) == 200
    else:
        assert set(drawn) == (set(space.constants) or {None})


def test_a_table_decodes_to_the_rule_that_looks_it_up():
    space = TableSpace(("pre*post", "pre*(1 - post)", "(1 - pre)*post", "(1 - pre)*(1 - post)"))
    for position in range(space.n_tables):
        table = space.table(position)
        rule = space.decode(table)
        cases = [(1, 1), (1, 0), (0, 1), (0, 0)]
        values = [float(rule(pre=float(a), post=float(b), w=0.0)) for a, b in cases]

        assert values == table.tolist()


def test_all_tables_are_listed_once():
    space = TableSpace(ENTRIES)
    keys = {space.key(space.table(k)) for k in range(space.n_tables)}

    assert space.n_tables == 27
    assert len(keys) == 27
    assert len(space.neighbours(space.table(0))) == 3 * 2


def test_coefficients_decode_to_the_weighted_sum(rng):
    space = SPACES["coefficients"]
    for coefficients in (*space.sample(rng, 10), np.zeros(3), np.array([1.0, 0.0, -1.0])):
        w, pre, post = rng.normal(size=3)
        expected = coefficients @ [w, pre * post, pre * (1 - post)]

        assert float(space.decode(coefficients)(w=w, pre=pre, post=post)) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: RuleSpace(("w",), ("ad",)), "unknown function 'ad'. Did you mean 'add'"),
        (lambda: RuleSpace((), ("add",)), "at least one terminal"),
        (lambda: RuleSpace(("w",), ("add",), max_size=0), "max_size is 0"),
        (lambda: RuleSpace(("w",), ("add",), ephemeral=(2.0, 1.0)), "two finite numbers, rising"),
        (lambda: RuleSpace(("w",), ("add",), constants=(math.nan,)), "all must be finite"),
        (lambda: TableSpace(()), "no entries"),
        (lambda: TableSpace(("w",), (1,)), "at least two"),
        (lambda: TableSpace(("w",), (0, 300)), "integer in -128..127"),
        (lambda: VectorSpace(0), "dimension is 0"),
        (lambda: VectorSpace(2, low=1.0, high=1.0), "low must be less than high"),
        (lambda: VectorSpace(2, sigma0=0.0), "sigma0 is 0"),
        (lambda: VectorSpace(2, x0=(1.0, 2.0, 3.0)), "x0 has shape"),
        (lambda: VectorSpace(1, x0=math.inf), "not finite"),
        (lambda: CoefficientSpace(()), "basis of a coefficient space is empty"),
        (lambda: CoefficientSpace(("w",), bound=-1.0), "bound is -1"),
        (lambda: CoefficientSpace(("w",), l1=-1.0), "l1 is -1"),
        (lambda: CoefficientSpace(("w +",)), "basis"),
    ],
)
def test_arguments_out_of_range_are_named(build, message):
    with pytest.raises(InputError, match=message.replace(".", r"\.").replace("(", r"\(")):
        build()


@pytest.mark.parametrize(
    "text", ["", "[1", "{}", "[1, 2]", "[null, 1, 1]", '["a", 1, 1]', "[NaN,1,1]"]
)
def test_text_that_is_no_genotype_is_refused(text):
    for name in ("table", "unbounded", "coefficients"):
        with pytest.raises(InputError):
            SPACES[name].decode_text(text)
    with pytest.raises(InputError, match="not a table of the values"):
        SPACES["table"].decode_text("[1, 0, 2]")
    with pytest.raises(InputError):
        SPACES["rule"].decode_text("mod*pre")
