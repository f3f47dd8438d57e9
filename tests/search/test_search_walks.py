"""What is special to chains over rules and tables: what they visit, acceptance, swaps, cooling."""

from __future__ import annotations

import numpy as np
import pytest
from search_problems import SPACES, drive, evaluation, score

from evosearch.search.base import SEARCHES
from evosearch.search.vectors import VectorSearch
from evosearch.search.walks import Walks
from evosearch.spaces import TableSpace

NAMES = pytest.mark.parametrize("name", ["annealing", "metropolis", "parallel-tempering"])
# Fitness of the four tables of two entries: three levels, one of them twice.
LEVELS = {(0, 0): 0.0, (0, 1): 1.0, (1, 0): 2.0, (1, 1): 1.0}


def fitness_of(batch):
    return evaluation(np.array([[LEVELS[tuple(table.tolist())]] for table in batch]))


def visits(search, n):
    """Return how often each chain stood on each of the four tables, (chains, 4)."""
    order = {np.array(t, np.int8).tobytes(): k for k, t in enumerate(LEVELS)}
    counts = np.zeros((search.settings.population, 4))
    for _ in range(n):
        batch = search.ask()
        search.tell(batch, fitness_of(batch))
        for k, chain in enumerate(search._chains):
            counts[k, order[chain.tobytes()]] += 1
    return counts / n


def boltzmann(temperature):
    weights = np.exp(np.array(list(LEVELS.values())) / temperature)
    return weights / weights.sum()


def four_states(name, **settings):
    space = TableSpace(("w", "pre"), (0, 1))
    return SEARCHES.get(name)(space, skip_equal=False, seed=5, **settings)


def test_parallel_tempering_visits_states_by_their_boltzmann_weights_on_every_rung():
    search = four_states(
        "parallel-tempering", population=3, rungs=3, temperature=4.0, coldest=0.0625
    )
    found = visits(search, 4000)

    # Rungs at 4, 1 and 1/4.
    for rung, temperature in enumerate((4.0, 1.0, 0.25)):
        assert np.abs(found[rung] - boltzmann(temperature)).max() < 0.04


def test_metropolis_visits_tables_by_their_boltzmann_weights():
    found = visits(four_states("metropolis", population=4, temperature=1.0), 2000)

    assert np.abs(found.mean(axis=0) - boltzmann(1.0)).max() < 0.03
    # The test can tell temperatures apart.
    assert np.abs(found.mean(axis=0) - boltzmann(2.0)).max() > 0.05


def test_swaps_have_the_chance_that_detailed_balance_asks_for():
    search = four_states("parallel-tempering", population=2, rungs=2, temperature=2.0, coldest=0.5)
    batch = search.ask()
    search.tell(batch, fitness_of(batch))
    n, swapped = 4000, 0
    for _ in range(n):
        search._chains, search._fitness = ["hot", "cold"], np.array([0.0, 1.0])
        search._swap(0, 1, search._temperatures())
        swapped += search._chains == ["cold", "hot"]
        assert search._fitness.tolist() == ([1.0, 0.0] if search._chains[0] == "cold" else [0, 1])

    expected = np.exp((1.0 / 1.0 - 1.0 / 2.0) * (0.0 - 1.0))
    assert abs(swapped / n - expected) < 4 * np.sqrt(0.25 / n)
    search._chains, search._fitness = ["hot", "cold"], np.array([1.0, 0.0])
    search._swap(0, 1, search._temperatures())
    assert search._chains == ["cold", "hot"]


def test_ladders_repeat_and_swaps_stay_within_a_ladder():
    search = four_states("parallel-tempering", population=5, rungs=2, temperature=2.0, coldest=0.5)
    batch = search.ask()
    search.tell(batch, fitness_of(batch))
    pairs = []
    search._swap = lambda hot, cold, temperatures: pairs.append((hot, cold))
    for _ in range(2):
        search._after_generation()

    assert search._temperatures().tolist() == [2.0, 1.0, 2.0, 1.0, 2.0]
    assert set(pairs) == {(0, 1), (2, 3)}


def test_annealing_accepts_by_a_falling_temperature():
    search = four_states("annealing", population=2, temperature=3.0, cooling=0.5)
    temperatures = []
    for _ in range(4):
        batch = search.ask()
        search.tell(batch, fitness_of(batch))
        temperatures.append(search._temperatures()[0])

    assert temperatures == [1.5, 0.75, 0.375, 0.1875]


@NAMES
def test_chains_take_better_and_never_much_worse_or_failed_proposals(name):
    search = SEARCHES.get(name)(SPACES["table"](), population=2, temperature=1.0)
    batch = search.ask()
    search.tell(batch, evaluation(np.zeros((len(batch), 1))))
    before, temperature = search._chains[0], search._temperatures()[0]
    search._decide(0, "worse", -600.0, 0.5, temperature)
    search._decide(0, "failed", -np.inf, 0.5, temperature)
    assert search._chains[0] is before
    search._decide(0, "better", 0.5, 0.999, temperature)
    assert search._chains[0] == "better"
    # exp(-1/T) at T = 1 or just below lies between .3 and .4.
    search._decide(0, "kept", -0.5, 0.45, temperature)
    assert search._chains[0] == "better"
    search._decide(0, "taken", -0.5, 0.25 if name == "metropolis" else 1e-3, temperature)
    assert search._chains[0] == "taken"


@NAMES
def test_known_functions_are_decided_on_without_being_asked(name):
    space = SPACES["rule"]()
    search = SEARCHES.get(name)(space, population=8)
    asked, _ = drive(search, 30)
    keys = [search._known.key(space.decode_text(text)) for batch in asked for text in batch]

    assert len(set(keys)) == len(keys)


@NAMES
def test_a_start_that_failed_is_left_for_the_first_that_did_not(name):
    space = SPACES["table"]()
    search = SEARCHES.get(name)(space, population=3)
    batch = search.ask()
    scored = score(space, batch)
    rows = np.full((3, 4), -np.inf)
    rows[0] = scored.per_draw[0]
    search.tell(batch, evaluation(rows, ("ok", "failed", "failed")))
    drive(search, 4)

    assert np.isfinite(search.state_dict()["fitness"]).all()


@pytest.mark.parametrize("name", ["annealing", "metropolis"])
def test_the_space_decides_on_the_kind_of_chain(name):
    for kind, base in (
        ("vector", VectorSearch),
        ("coefficients", VectorSearch),
        ("rule", Walks),
        ("table", Walks),
    ):
        search = SEARCHES.get(name)(SPACES[kind]())
        assert isinstance(search, base)
        assert isinstance(search, SEARCHES.get(name))
        assert search.name == name


@NAMES
def test_chains_stay_in_the_space_and_the_best_is_the_favourite(name):
    space = SPACES["rule"]()
    search = SEARCHES.get(name)(space, population=6)
    drive(search, 10)
    (favourite,) = search.favourites()

    assert favourite.size <= space.max_size
    assert score(space, [favourite]).fitness[0] == search.state_dict()["fitness"].max()
