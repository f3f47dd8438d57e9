"""Genomes: a rule and the numbers that it lives by."""

from __future__ import annotations

import numpy as np
import pytest

from evosearch.errors import InputError
from evosearch.outcome import plain_evaluation
from evosearch.problem import load_problem
from evosearch.rules.genes import Gene, split_genes, with_genes
from evosearch.rules.rule import Rule
from evosearch.search.base import SEARCHES
from evosearch.spaces import CoefficientSpace, Genome, GenomeSpace, RuleSpace

GENES = (Gene("decay", 0.5, 1.0, 0.9), Gene("gain", 0.01, 1.0, 0.1, is_log=True))


def genomes():
    return GenomeSpace(RuleSpace(("w", "pre"), ("add", "mul"), ephemeral=(-1.0, 1.0)), GENES)


@pytest.mark.parametrize(("place", "decay", "gain"), [(0, 0.5, 0.01), (0.5, 0.75, 0.1), (1, 1, 1)])
def test_a_place_is_a_value_in_the_range_and_back(place, decay, gain):
    for gene, value in zip(GENES, (decay, gain), strict=True):
        assert gene.at(place) == pytest.approx(value, rel=1e-12)
        assert gene.place(gene.at(place)) == pytest.approx(place, abs=1e-12)


def test_a_genome_decodes_to_a_rule_with_its_genes_as_parts():
    space = genomes()
    rule = space.decode(Genome(space.rules.decode_text("w*pre"), (0.0, 1.0)))
    assert rule.text == "dw = w*pre; decay = 0.5; gain = 1"
    own, values = split_genes(rule, GENES)
    assert own.text == "w*pre"
    assert values.tolist() == [0.5, 1.0]


def test_genes_that_a_rule_leaves_out_begin_where_the_catalogue_says():
    _, values = split_genes(Rule("dw = w; gain = 0.5"), GENES)
    assert values.tolist() == [0.9, 0.5]
    start = genomes().decode_text("dw = w*pre; gain = 0.5")
    assert genomes().decode(start).parts["gain"].constants[0] == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("dw = w; decay = 2", r"decay = 2: the gene decay must lie in \[0.5, 1\]"),
        ("dw = w; decay = pre", "the gene decay must be a number"),
        ("dw = w; decay = 0.6 + 0.1", "the gene decay must be a number"),
    ],
)
def test_a_gene_that_is_no_number_of_its_range_is_refused(text, message):
    with pytest.raises(InputError, match=message):
        split_genes(Rule(text), GENES)


def test_variation_stays_in_the_space_and_changes_rules_and_genes():
    space, rng = genomes(), np.random.default_rng(2)
    first, second = space.sample(rng, 2)
    kinds = set()
    for _ in range(300):
        child = space.mutate(space.crossover(first, second, rng)[rng.integers(2)], rng)
        assert child.rule.size <= space.rules.max_size
        assert all(0.0 <= place <= 1.0 for place in child.places)
        assert space.key(space.decode_text(space.encode_text(child))) == space.key(child)
        kinds.add((child.rule == first.rule, child.places == first.places))
        first = child
    assert len(kinds) > 2


def test_neighbours_are_one_step_away_in_the_rule_or_in_one_gene():
    space = genomes()
    centre = space.start(space.rules.decode_text("w"))
    for other in space.neighbours(centre):
        moved = sum(a != b for a, b in zip(centre.places, other.places, strict=True))
        assert moved + (other.rule != centre.rule) == 1


def test_a_vector_of_coefficients_carries_genes_behind_them():
    space = CoefficientSpace(("w", "pre"), sigma0=0.1, bound=3.0, genes=GENES)
    assert space.dimension == 4
    assert space.decode(space.x0).parts["decay"].constants == pytest.approx((0.9,))
    rule = space.decode(np.array([1.0, 0.0, 0.1, -0.2]))
    assert rule.parts["dw"] == Rule("w").main
    # A step of sigma0 moves a gene by a fifth of its range, on its scale.
    assert rule.parts["decay"].constants == pytest.approx((1.0,))
    assert rule.parts["gain"].constants == pytest.approx((0.1 * 100**-0.4,))
    assert with_genes(Rule("w"), GENES, (0.5, 1.0)).text == "dw = w; decay = 0.5; gain = 1"
    low, high = (space.decode(bound) for bound in (space.low, space.high))
    assert low.parts["decay"].constants == pytest.approx((0.5,))
    assert high.parts["gain"].constants == pytest.approx((1.0,))


def test_values_come_back_as_they_were_written():
    for gene in (Gene("gain", 0.01, 3.0, 0.2, is_log=True), Gene("offset", -10.0, 10.0, -0.69)):
        assert gene.at(gene.place(gene.start)) == gene.start


def test_an_l1_penalty_counts_coefficients_and_not_genes():
    search = SEARCHES.get("cmaes")(CoefficientSpace(("w",), l1=0.1, genes=GENES), population=6)
    candidates = [np.array([float(k % 2), 3.0 + k, -2.0]) for k in range(len(search.ask()))]
    told = []
    search._strategy.tell = lambda batch, losses: told.extend(losses)
    search.tell(candidates, plain_evaluation(np.zeros(len(candidates)), 3))
    assert told == pytest.approx([0.1 * (k % 2) for k in range(len(candidates))])


def test_a_problem_refuses_strangers_among_parts_and_genes():
    problem = load_problem("familiarity")
    with pytest.raises(InputError, match=r"unknown gene 'decoy'.*decay"):
        problem.read("dw = -post*pre; decoy = 0.9")
    for genes, message in (
        (["decay", "decay"], "names one twice"),
        (["strength"], "unknown gene 'strength'"),
    ):
        with pytest.raises(InputError, match=message):
            load_problem("familiarity", overrides={"rule.genes": genes})
    with pytest.raises(InputError, match="the task oja_pc1 has none"):
        load_problem("oja_pc1", overrides={"rule.genes": ["decay"]})
