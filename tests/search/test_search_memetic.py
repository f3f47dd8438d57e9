"""Structures by genetic programming, numbers by CMA-ES."""

from __future__ import annotations

import numpy as np
import pytest
from search_problems import SPACES, evaluation, stored

from evosearch.rules.parser import parse_expression
from evosearch.search.base import SEARCHES
from evosearch.search.batched_cmaes import BatchedCmaEs
from evosearch.search.memetic_tuning import Numbers, Tuning
from evosearch.search.semantics import probe_values


def loss(genotype, space):
    """Return how far a genome is from 0.37*w*pre - 1.4*post with its genes at .3 and .6."""
    wanted = probe_values(parse_expression("0.37*w*pre - 1.4*post"))
    far = np.abs(Numbers(space).of(genotype)[-2:] - [0.3, 0.6]).sum()
    return np.abs(probe_values(genotype.rule) - wanted).mean() + far


def test_numbers_of_a_genome_come_apart_and_together():
    space = SPACES["genome"]()
    numbers = Numbers(space)
    genotype = space.start(parse_expression("2*w + 0.5*pre"))
    assert numbers.of(genotype).tolist()[:2] == [2.0, 0.5]
    assert numbers.scales(genotype)[:2] == pytest.approx([2.1, 0.6])
    other = numbers.replaced(genotype, np.array([1.0, -1.0, 0.25, 7.0]))
    assert other.rule == parse_expression("1*w + -1*pre")
    assert other.places == (0.25, 1.0)
    assert numbers.structure(other) == numbers.structure(genotype)


def test_a_tuning_finds_the_numbers_of_a_structure():
    space = SPACES["genome"]()
    centre = space.start(parse_expression("1*w*pre + 1*post"))
    tuning = Tuning(space, centre, seed=3, budget=1200)
    best = np.inf
    while not tuning.is_done:
        losses = np.array([loss(genotype, space) for genotype in tuning.ask()])
        best = min(best, losses.min())
        tuning.tell(-losses)
    assert best < 1e-2


def least_loss(name, seed, budget=3000):
    space = SPACES["genome"]()
    search = SEARCHES.get(name)(space, seed=seed, population=40)
    found, used = np.inf, 0
    while used < budget:
        genotypes = search.ask()
        losses = np.array([loss(genotype, space) for genotype in genotypes])
        search.tell(genotypes, evaluation(-losses[:, None]))
        found, used = min(found, losses.min()), used + len(genotypes)
    return found


def test_structure_and_numbers_are_found_under_one_budget():
    found = {name: [least_loss(name, seed) for seed in range(3)] for name in ("memetic", "random")}
    # The best of one term alone, with its constant and both genes tuned, is at 0.27.
    assert max(found["memetic"]) < 0.35 < min(found["random"])


@pytest.mark.parametrize("n_generations", [1, 3, 7])
def test_stacked_searches_go_on_from_their_state(n_generations):
    def fun(points):
        return ((points - [1.0, 2.0]) ** 2 * [1.0, 30.0]).sum(axis=2)

    first = BatchedCmaEs(np.array([[0.0, 0.0], [1.0, 1.99]]), [1.0, 0.01], target=1e-6)
    for _ in range(n_generations):
        first.tell(fun(first.ask()))
    second = BatchedCmaEs(np.zeros((2, 2)), [1.0, 0.01], target=1e-6)
    second.load_state_dict(stored(first.state_dict()))
    for _ in range(25):
        points = first.ask()
        np.testing.assert_array_equal(second.ask(), points)
        first.tell(fun(points))
        second.tell(fun(points))
    assert first.minima().status == second.minima().status
    np.testing.assert_array_equal(first.minima().x, second.minima().x)


def test_tunings_of_other_seeds_use_other_numbers():
    space, drawn = SPACES["genome"](), []
    for seed in (1, 2):
        search = SEARCHES.get("memetic")(space, seed=seed, population=10)
        for _ in range(2):
            genotypes = search.ask()
            search.tell(genotypes, evaluation([[-loss(each, space)] for each in genotypes]))
        search.ask()
        drawn.append(search._tunings[0]._search._z.ravel()[:4])
    assert not np.array_equal(*drawn)


def test_a_start_with_genes_is_the_first_candidate():
    space = SPACES["genome"]()
    search = SEARCHES.get("memetic")(space, start=("dw = w*pre; decay = 0.25",), population=10)
    first = search.ask()[0]
    assert space.decode(first).text == "dw = w*pre; decay = 0.25; gain = 1"
