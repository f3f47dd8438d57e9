"""What is special to graphs and register programs: decoding, neutral drift, who dies."""

from __future__ import annotations

import numpy as np
import pytest
from search_problems import SPACES, drive, evaluation, score

from evosearch.rules.primitives import PRIMITIVES
from evosearch.search.base import SEARCHES
from evosearch.search.cgp import Line
from evosearch.search.cgp_graph import Graph, Grid
from evosearch.search.registers import Instruction, Machine
from evosearch.search.semantics import probe_values
from evosearch.spaces import RuleSpace

NAMES = pytest.mark.parametrize("name", ["cgp", "linear-gp"])


@pytest.fixture
def space():
    return SPACES["rule"]()


@pytest.fixture
def rng():
    return np.random.default_rng(7)


def leaf(space, name):
    return probe_values(space.decode_text(name if isinstance(name, str) else repr(name)))


def interpreted_graph(space, grid, graph):
    """Return what a graph computes at the probe points, node by node, never as a tree."""
    values = [leaf(space, name) for name in (*space.terminals, *space.constants)]
    values += [np.full(16, constant) for constant in graph.constants]
    assert len(values) == grid.n_inputs
    for function, first, second in graph.nodes.tolist():
        primitive = PRIMITIVES[space.functions[function]]
        values.append(primitive.numpy(*(values[first], values[second])[: primitive.arity]))
    return values[graph.output]


def test_a_graph_decodes_to_what_running_it_node_by_node_gives(space, rng):
    grid, n = Grid(space, 12, 2), 0
    for _ in range(300):
        graph = grid.random(rng)
        for _ in range(3):
            graph = grid.mutated(graph, 0.1, rng)
        rule = grid.expression(graph)
        if rule is not None:
            n += rule.size > 1
            assert rule.size <= space.max_size
            expected = interpreted_graph(space, grid, graph)
            np.testing.assert_array_equal(probe_values(rule), expected)
    assert n > 50


def test_a_graph_by_hand_shares_a_node_and_is_refused_when_it_unfolds_too_large():
    space = RuleSpace(("w", "pre"), ("add", "mul"), max_size=7)
    grid = Grid(space, 3, 0)
    nodes = np.array([[0, 0, 1], [1, 2, 2], [1, 3, 3]])
    none = np.empty(0)

    assert str(grid.expression(Graph(nodes, 3, none))) == "(w + pre)*(w + pre)"
    assert str(grid.expression(Graph(nodes, 1, none))) == "pre"
    assert grid.expression(Graph(nodes, 4, none)) is None
    chain = np.array([[1, k, k] for k in range(1, 501)])
    assert Grid(space, 500, 0).expression(Graph(chain, 501, none)) is None


def test_genes_mutate_at_the_rate_and_stay_in_range(space, rng):
    grid = Grid(space, 40, 3)
    parent, changed = grid.random(rng), []
    for _ in range(100):
        child = grid.mutated(parent, 0.2, rng)
        changed.append((child.nodes != parent.nodes).mean())
        limits = grid.n_inputs + np.arange(40)
        assert (child.nodes[:, 1:] < limits[:, None]).all()
        assert (child.nodes >= 0).all()
        assert child.nodes[:, 0].max() < len(space.functions)
        assert child.constants.shape == (3,)
    # A gene that is drawn anew is the same as before in a few cases.
    assert 0.15 < np.mean(changed) < 0.2


def test_a_line_takes_a_child_as_good_as_its_parent_and_no_worse_one(space, rng):
    grid = Grid(space, 5, 1)
    parent, child = grid.random(rng), grid.random(rng)
    line = Line(parent, 1.0)
    line.accept(child, 0.9)
    assert (line.parent, line.n_stalled) == (parent, 1)
    line.accept(child, 1.0)
    assert (line.parent, line.n_stalled) == (child, 2)
    line.accept(parent, 1.5)
    assert (line.parent, line.fitness, line.n_stalled) == (parent, 1.5, 0)


def test_genes_that_do_nothing_drift_at_no_cost(space):
    search = SEARCHES.get("cgp")(space, population=4, children=4, rate=0.02)
    drive(search, 3)
    before = search.state_dict()
    rule = search._grid.expression(search._lines[0].parent)
    # All that is not known fails, so that only neutral children can be taken.
    for _ in range(5):
        batch = search.ask()
        search.tell(batch, evaluation(np.full((len(batch), 4), -1e9)))
    after = search.state_dict()

    assert after["fitness"][0] == before["fitness"][0]
    np.testing.assert_array_equal(
        probe_values(search._grid.expression(search._lines[0].parent)), probe_values(rule)
    )
    assert (after["nodes"] != before["nodes"]).any()


def test_lines_do_not_mix_and_a_stalled_one_starts_afresh(space):
    search = SEARCHES.get("cgp")(space, population=8, children=4, patience=3)
    batch = search.ask()
    search.tell(batch, score(space, batch))
    search._lines[0].n_stalled = 3
    before = search._lines[1].fitness
    batch = search.ask()

    assert search._lines[0].fitness == -np.inf
    assert search._lines[1].fitness == before
    search.tell(batch, score(space, batch))
    assert search._lines[0].fitness > -np.inf


def interpreted_program(space, n_scratch, program):
    """Return what the first register holds after all steps, at the probe points."""
    n = len(space.terminals)
    registers = [leaf(space, space.terminals[k % n]) for k in range(n + n_scratch)]
    for function, target, first, second, constant in program:
        primitive = PRIMITIVES[space.functions[function]]
        read = [np.full(16, constant) if k < 0 else registers[k] for k in (first, second)]
        registers[target] = primitive.numpy(*read[: primitive.arity])
    return registers[0]


@pytest.mark.parametrize("kind", ["range", "fixed", "none"])
def test_a_program_decodes_to_what_running_it_step_by_step_gives(kind, rng):
    constants = {"range": {"ephemeral": (-2.0, 2.0)}, "fixed": {"constants": (2.0,)}, "none": {}}
    space = RuleSpace(("w", "pre"), ("add", "mul", "tanh"), max_size=12, **constants[kind])
    machine, n = Machine(space, 1, 8), 0
    for _ in range(300):
        program = machine.random(rng)
        for _ in range(3):
            program = machine.mutated(program, rng)
            assert 1 <= len(program) <= 8
        rule = machine.expression(program)
        if rule is not None:
            n += rule.size > 1
            assert rule.size <= 12
            assert kind == "range" or set(rule.constants) <= {2.0}
            expected = interpreted_program(space, 1, program)
            np.testing.assert_allclose(probe_values(rule), expected, rtol=1e-12, atol=1e-15)
    assert n > 50


def test_a_program_by_hand(rng):
    space = RuleSpace(("w", "pre"), ("mul", "sub"), constants=(2.0,), max_size=5)
    machine = Machine(space, 0, 9)
    double = Instruction(0, 1, -1, 1, 2.0)
    minus = Instruction(1, 0, 0, 1, 2.0)

    assert str(machine.expression((double, minus))) == "w - 2*pre"
    assert str(machine.expression((double,))) == "w"
    assert machine.expression((double, minus, minus)) is None
    # A register that grew too large does no harm where it is written anew.
    square = Instruction(0, 0, 0, 0, 0.0)
    anew = Instruction(1, 0, 1, 1, 0.0)
    assert str(machine.expression((square,) * 6 + (anew,))) == "pre - pre"


def test_the_oldest_die_however_good_they_are(space):
    search = SEARCHES.get("linear-gp")(space, population=10, living=20)
    batch = search.ask()
    rows = np.zeros((len(batch), 2))
    rows[0] = 100.0
    search.tell(batch, evaluation(rows))
    assert search.state_dict()["fitness"].max() == 100.0
    for _ in range(8):
        batch = search.ask()
        search.tell(batch, evaluation(np.zeros((len(batch), 2))))
        assert len(search.state_dict()["programs"]) <= 20

    # Copies of its function are known and live on as children; no other program is as good.
    best = probe_values(search._machine.expression(search._living[-1].program))
    assert best.shape == (16,)
    ages = search.state_dict()["fitness"]
    assert len(ages) == 20


def test_parents_win_their_tournaments(space):
    search = SEARCHES.get("linear-gp")(space, population=30, living=30, tournament=1000)
    batch = search.ask()
    while len(search._living) < 30:
        search.tell(batch, evaluation(np.arange(len(batch), dtype=float)[:, None]))
        batch = search.ask()
    values = np.array([member.fitness for member in search._living])
    best = search._living[int(np.argmax(values))].program
    child = search._child(values)

    # One instruction was inserted, removed or changed.
    assert abs(len(child) - len(best)) <= 1
    same = sum(step in best for step in child)
    assert same >= len(best) - 1


@NAMES
def test_functions_that_are_known_are_not_asked_again(name, space):
    search = SEARCHES.get(name)(space, population=20)
    asked, _ = drive(search, 20)
    keys = [search._known.key(space.decode_text(text)) for batch in asked for text in batch]

    assert len(set(keys)) == len(keys)
