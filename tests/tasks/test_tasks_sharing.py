"""Sharing maps: which synapses follow the same rule, against loops and against one rule for all."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from evosearch.engine.lifetime import LifetimeBuilder
from evosearch.engine.program import Level, Terminal
from evosearch.engine.run import run_lifetimes
from evosearch.errors import InputError
from evosearch.outcome import OK, Evaluation
from evosearch.problem import load_problem
from evosearch.problem.sharing import Sharing
from evosearch.rules.lower import lower
from evosearch.rules.rule import Rule
from evosearch.search.base import SEARCHES
from evosearch.store.records import state_from_text, state_to_text

BASIS = ("mod*pre*post", "pre*post", "pre", "mod*pre", "w")
SUM = "c0*(mod*pre*post) + c1*(pre*post) + c2*pre + c3*(mod*pre) + c4*w"
TERMINALS = (
    Terminal("w", Level.SYNAPSE),
    Terminal("pre", Level.PRE),
    Terminal("post", Level.POST),
)
SHAPES = ((3, 2), (2, 3))
STEPS = 5


def cartpole(sharing, **changes):
    settings = {"rule.sharing": sharing, **changes}
    return load_problem("cartpole_plastic", preset="quick", overrides=settings)


def told(fitness):
    """Return what scored these candidates."""
    n = len(fitness)
    return Evaluation(
        np.array(fitness), (OK,) * n, np.ones(n, np.int64), np.zeros((n, 0)), np.ones(n),
        np.zeros(n), np.zeros(n, bool), n,
    )  # fmt: skip


def two_layers(n_draws=2):
    """Return lives of two layers whose synapses read c0 and c1, with their inputs."""
    b = LifetimeBuilder()
    x, h, y = b.vector("x", 2), b.vector("h", 3), b.vector("y", 2)
    first, second = b.matrix("w", *SHAPES[0]), b.matrix("w", *SHAPES[1])
    inputs = np.random.default_rng(3).standard_normal((n_draws, STEPS, 2))
    births = np.random.default_rng(4).standard_normal((n_draws, 1, 6))
    for matrix in (first, second):
        b.initial(matrix, b.table(births))
    table = b.table(inputs)
    with b.repeat(STEPS) as t:
        b.load(x, table, row=t)
        b.matvec(h, first, x)
        b.matvec(y, second, h)
        b.rule(w=first, pre=x, post=h)
        b.rule(w=second, pre=h, post=y)
    b.output(first)
    b.output(second)
    return b.build(draw_keys=np.zeros((n_draws, 2), np.uint32), dtype="float64"), inputs, births


def by_loops(inputs, births, coefficients):
    """Return the final weights (D, 12); ``coefficients`` are (out, in, 2) for each layer."""
    ends = []
    for x_of, birth in zip(inputs, births, strict=True):
        weights = [birth.reshape(shape).copy() for shape in SHAPES]
        for x in x_of:
            pre = [x, weights[0] @ x]
            post = [pre[1], weights[1] @ pre[1]]
            for w, c, a, z in zip(weights, coefficients, pre, post, strict=True):
                w += c[:, :, 0] * np.outer(z, a) + c[:, :, 1] * w
        ends.append(np.concatenate([w.ravel() for w in weights]))
    return np.array(ends)


@pytest.mark.parametrize(
    "kind", ["layer", "neuron", "synapse", 3, (0, 1, 1, 2, 0, 0, 1, 2, 2, 2, 1, 0)]
)
def test_every_synapse_follows_the_rule_that_the_map_gives_it(kind):
    sharing = Sharing(kind, ("pre*post", "w"), SHAPES)
    rng = np.random.default_rng(0)
    rules = 0.1 * rng.standard_normal((sharing.n_rules, 2))
    chosen = rng.integers(sharing.n_rules, size=12)
    of_synapse = {
        "layer": np.repeat([0, 1], 6),
        "neuron": np.array([0, 0, 1, 1, 2, 2, 3, 3, 3, 4, 4, 4]),
        "synapse": np.arange(12),
        3: chosen,
    }.get(kind, np.array(kind if isinstance(kind, tuple) else 0))
    genes = rules.ravel() if kind != 3 else np.concatenate([rules.ravel(), chosen + 0.5])
    life, inputs, births = two_layers()
    shared = sharing.attached(life, 0)
    program = lower(Rule("c0*(pre*post) + c1*w"), (*TERMINALS, *sharing.terminals))
    program = replace(program, genes=sharing.written_out(genes, 0))
    lived = run_lifetimes(shared, [program], 1.0).outputs[0]
    each = rules[of_synapse].reshape(12, 2)
    layers = [each[:6].reshape(3, 2, 2), each[6:].reshape(2, 3, 2)]
    assert lived == pytest.approx(by_loops(inputs, births, layers), rel=1e-12)


@pytest.mark.parametrize("sharing", ["layer", "neuron", "synapse", 2, [0, 1, 1, 0]])
def test_equal_rules_are_one_rule(sharing):
    numbers = (0.5, -0.25, 0.125, 1.0, -0.5)
    one = load_problem("cartpole_plastic", preset="quick")
    problem = cartpole(sharing)
    terms = zip(numbers, BASIS, strict=True)
    alone = one.read(" + ".join(f"{c}*({term})" for c, term in terms))
    n_rules = problem.space("coefficients").n_rules
    parts = [f"c{k}_{rule} = {c}" for rule in range(n_rules) for k, c in enumerate(numbers)]
    shared = problem.read("; ".join([f"dw = {SUM}", *parts]))
    draws = one.draws("search", count=3)
    first = one.score([alone], [1.0], draws)
    second = problem.score([shared], [1.0], draws)
    assert first.per_draw.std() > 0
    assert np.array_equal(first.per_draw, second.per_draw)


def test_one_synapse_alone_may_learn():
    problem = cartpole("synapse")
    rule = problem.read(f"dw = {SUM}; c2_1 = 0.5")
    (life, *_) = problem.lifetimes(problem.draws("search", count=1))
    genes = problem.program(rule).genes
    rows = [each for each in life.inherited if each.buffer.name == "c2"]
    assert len(rows) == 1
    assert genes[rows[0].genes].tolist() == [0.0, 0.5, 0.0, 0.0]


@pytest.mark.parametrize("sharing", ["synapse", 2])
def test_vectors_become_rules_and_rules_are_read_again(sharing):
    problem = cartpole(sharing)
    space = problem.space("coefficients")
    rng = np.random.default_rng(1)
    for vector in space.sample(rng, 5):
        rule = space.decode(vector)
        again = problem.read(problem.write(rule))
        assert np.array_equal(problem.program(again).genes, problem.program(rule).genes)
        assert len(rule.terminals & {f"c{k}" for k in range(5)}) == 5


def test_trees_read_the_numbers_of_their_synapse():
    problem = cartpole("synapse")
    space = problem.space("tree")
    assert space.kind == "genome"
    assert {"c0", "c4"} <= set(space.rules.terminals)
    assert len(space.genes) == 4 * 5 + 4


@pytest.mark.parametrize(
    ("sharing", "words"),
    [
        ([0, 1, 1], ("3 synapses", "has 4")),
        ("axon", ("'axon'", "layer, neuron, synapse")),
        (0, ("0", "from 1")),
        ([], ("[]", "layer")),
        ([0, -1, 0, 0], ("-1", "from 0")),
    ],
)
def test_a_map_that_is_none_or_does_not_cover_the_synapses_is_refused(sharing, words):
    with pytest.raises(InputError) as caught:
        cartpole(sharing)
    for word in (*words, "cartpole_plastic.toml", "rule.sharing"):
        assert word in str(caught.value), str(caught.value)


def test_other_sizes_than_the_map_was_made_for_are_refused_and_layers_are_not():
    life, _, _ = two_layers()
    small = ((2, 2), (2, 2))
    with pytest.raises(InputError, match="3x2 and 2x3"):
        Sharing("synapse", ("pre",), small).attached(life, 0)
    with pytest.raises(InputError, match="1 layers"):
        Sharing("layer", ("pre",), small[:1]).attached(life, 0)
    assert Sharing("layer", ("pre",), small).attached(life, 0).n_genes == 2


def test_a_problem_without_a_basis_or_synapses_is_refused():
    with pytest.raises(InputError, match="needs a section"):
        load_problem("circuit_dfa", overrides={"rule.sharing": "synapse"})
    with pytest.raises(InputError, match="no synapses"):
        load_problem("regression", overrides={"rule.sharing": "synapse"})


class TestMerging:
    """``merging-es``."""

    def search(self, **settings):
        space = cartpole("synapse").space("coefficients")
        return SEARCHES.get("merging-es")(space, seed=2, population=8, **settings), space

    def test_rules_that_want_the_same_are_merged_and_others_are_not(self):
        """The fitness wants synapses 0 and 2 at one rule, 1 and 3 at another."""
        search, _ = self.search(rules=2, merges=2, horizon=900, rate=0.1)
        wanted = np.tile(np.array([[1.0] * 5, [-1.0] * 5]), (2, 1)).ravel()
        while search._n_told < 900:
            asked = search.ask()
            fitness = [-float(((v[:20] - wanted) ** 2).sum()) for v in asked]
            search.tell(asked, told(fitness))
        assert search.n_rules == 2
        assert search._rule_of[0] == search._rule_of[2] != search._rule_of[1]
        assert search._rule_of[1] == search._rule_of[3]
        (best,) = search.favourites()
        assert np.abs(best[:20] - wanted).mean() < 0.3
        assert "2 of 4 rules" in search.summary()

    def test_merged_rules_stay_equal_in_every_candidate(self):
        search, _ = self.search(rules=1, merges=1, horizon=40)
        for _ in range(6):
            asked = search.ask()
            search.tell(asked, told([float(-np.abs(v).sum()) for v in asked]))
        assert search.n_rules == 1
        for vector in search.ask():
            rules = vector[:20].reshape(4, 5)
            assert (rules == rules[0]).all()
            assert np.ptp(vector[20:]) > 0

    @pytest.mark.parametrize("n_told", range(9))
    def test_it_goes_on_exactly_before_and_after_merges(self, n_told):
        settings = {"rules": 1, "merges": 2, "horizon": 96}
        one, _ = self.search(**settings)
        for _ in range(n_told):
            asked = one.ask()
            one.tell(asked, told([float(-(v**2).sum()) for v in asked]))
        other, _ = self.search(**settings)
        other.load_state_dict(state_from_text(state_to_text(one.state_dict())))
        for _ in range(10):
            first, second = one.ask(), other.ask()
            assert np.array_equal(first, second)
            for search, asked in ((one, first), (other, second)):
                search.tell(asked, told([float(-(v**2).sum()) for v in asked]))
        assert one.n_rules == other.n_rules == 1
