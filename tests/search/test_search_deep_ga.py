"""Deep GA: what its paper says, seeds as the whole state, exact rebuilding."""

from __future__ import annotations

import numpy as np
import pytest
from search_problems import evaluation, stored

from evosearch.search.deep_ga import DeepGa
from evosearch.spaces import VectorSpace


def loss(points):
    return ((np.asarray(points) - 0.7) ** 2).sum(axis=1)


def learn(search, n_generations=1):
    for _ in range(n_generations):
        points = search.ask()
        search.tell(points, evaluation(-loss(points)[:, None]))
    return points


def test_a_generation_is_the_elite_and_mutants_of_the_best():
    """Algorithm 1: the elite unchanged, the rest a parent of the best T plus sigma N(0, 1)."""
    search = DeepGa(VectorSpace(400, sigma0=0.1), seed=1, population=50, parents=5)
    for _ in range(5):
        points = learn(search)
        best = np.array(points)[np.argsort(loss(points))[:5]]
        children = np.array(search.ask())

        np.testing.assert_array_equal(children[0], best[0])
        distances = np.linalg.norm(children[1:, None] - best[None], axis=2).min(axis=1)
        np.testing.assert_allclose(distances, 0.1 * np.sqrt(400), rtol=0.2)


def test_the_first_generation_is_x0_and_its_mutants():
    search = DeepGa(VectorSpace(500, x0=3.0, sigma0=0.5), seed=1, population=40)
    first = np.array(search.ask())

    assert (first[0] == 3.0).all()
    assert (first[1:] - 3.0).std() == pytest.approx(0.5, rel=0.03)


def test_mutations_are_standard_normal_and_independent():
    search = DeepGa(VectorSpace(2000), seed=3, population=200)
    steps = np.array(search.ask())[1:]

    assert abs(steps.mean()) < 0.01
    assert steps.var() == pytest.approx(1.0, abs=0.01)
    correlations = np.corrcoef(steps)[~np.eye(199, dtype=bool)]
    assert np.abs(correlations).max() < 6 / np.sqrt(2000)


def test_the_best_fitness_never_falls():
    search = DeepGa(VectorSpace(10, sigma0=0.3), seed=2, population=30)
    best = [loss(learn(search)).min() for _ in range(60)]

    assert (np.diff(best) <= 0).all()
    assert best[-1] < 0.1 * best[0]


def test_the_state_is_seeds_alone_and_rebuilds_every_parent_bit_for_bit():
    space = VectorSpace(30_000, low=-0.2, high=np.linspace(0.1, 1.0, 30_000), sigma0=0.1)
    search = DeepGa(space, seed=4, population=25, parents=5)
    learn(search, 30)
    state = stored(search.state_dict())

    assert sum(value.nbytes for value in state.values() if isinstance(value, np.ndarray)) < 2_000
    assert state["genomes"].dtype == np.uint32
    resumed = DeepGa(space, seed=4, population=25, parents=5)
    resumed.load_state_dict(state)
    np.testing.assert_array_equal(resumed.ask(), search.ask())


def test_ancestors_that_parents_share_are_built_once(monkeypatch):
    search = DeepGa(VectorSpace(4, sigma0=0.2), seed=5, population=20, parents=4)
    learn(search, 40)
    genomes = search._genomes
    n_prefixes = len({genome[:k] for genome in genomes for k in range(1, 1 + len(genome))})
    made = []
    mutated = search._mutated
    monkeypatch.setattr(search, "_mutated", lambda *of: made.append(0) or mutated(*of))
    search.load_state_dict(stored(search.state_dict()))

    assert len(made) == n_prefixes < sum(map(len, genomes))


def test_candidates_that_failed_have_no_children():
    search = DeepGa(VectorSpace(3), seed=6, population=10, parents=10)
    points = search.ask()
    fitness = np.full(10, -np.inf)
    fitness[[4, 7]] = 1.0, 2.0
    search.tell(
        points, evaluation(fitness[:, None], ["ok" if f > 0 else "failed" for f in fitness])
    )

    np.testing.assert_array_equal(search._vectors, [points[7], points[4]])


def test_a_resume_at_every_generation_of_fifty_is_bit_identical():
    space = VectorSpace(6, low=-1.0, high=1.0)
    search = DeepGa(space, seed=7, population=12)
    for _ in range(50):
        resumed = DeepGa(space, seed=7, population=12)
        resumed.load_state_dict(stored(search.state_dict()))
        np.testing.assert_array_equal(learn(resumed), learn(search))
