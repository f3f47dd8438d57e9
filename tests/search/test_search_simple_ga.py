"""What is special about the generational genetic algorithm."""

import numpy as np
import pytest
from search_problems import drive, evaluation, score

from evosearch.search.simple_ga import SimpleGeneticAlgorithm, wheel
from evosearch.spaces import VectorSpace


def told(fitness, **settings):
    """Return a search whose last generation is 0, 1, 2 … in every number."""
    search = SimpleGeneticAlgorithm(VectorSpace(8, low=0.0, high=1e3), seed=3, **settings)
    candidates = [np.full(8, float(k)) for k in range(len(fitness))]
    search.tell(candidates, evaluation(np.array(fitness)[:, None]))
    return search


def test_children_are_the_head_of_one_parent_and_the_tail_of_another():
    search = told(np.ones(5), population=400, tournament=0, mutation=0.0, elite=0)
    children = np.array(search.ask())
    n_changes = (np.diff(children, axis=1) != 0).sum(axis=1)
    assert set(n_changes) == {0, 1}
    cuts = (np.diff(children[n_changes == 1], axis=1) != 0).argmax(axis=1)
    assert set(cuts) == set(range(7))


def test_parents_are_drawn_in_proportion_to_fitness():
    search = told([1.0, 3.0, 6.0], population=20_000, tournament=0, crossover=0.0, mutation=0.0,
                  elite=0)  # fmt: skip
    drawn = np.array(search.ask())[:, 0]
    shares = np.bincount(drawn.astype(int), minlength=3) / len(drawn)
    assert shares == pytest.approx([0.1, 0.3, 0.6], abs=0.015)


def test_negative_fitness_is_measured_from_the_least_and_equals_are_equal():
    np.testing.assert_allclose(wheel(np.array([-4.0, -1.0, 1.0])), [0, 3, 8])
    np.testing.assert_allclose(wheel(np.array([2.0, 6.0])), [2, 8])
    np.testing.assert_allclose(wheel(np.array([-2.0, -2.0])), [1, 2])
    np.testing.assert_allclose(wheel(np.zeros(3)), [1, 2, 3])


def test_the_elite_is_asked_again_and_failed_candidates_are_no_parents():
    search = told([1.0, np.nan, 5.0, 2.0], population=6, elite=2, tournament=0, mutation=0.0)
    asked = np.array(search.ask())
    assert asked[0, 0] == 2
    assert asked[1, 0] == 3
    assert 1.0 not in asked


def test_without_mutation_no_number_is_new():
    search = SimpleGeneticAlgorithm(VectorSpace(3, low=-4.0, high=4.0), population=20, mutation=0.0)
    first = search.ask()
    search.tell(first, score(search.space, first))
    drive(search, 5)
    for column, start in zip(np.array(search.ask()).T, np.array(first).T, strict=True):
        assert set(column) <= set(start)
