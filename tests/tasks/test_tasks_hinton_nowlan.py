"""Guessing lives beside plain loops and closed forms, and the two courses of evolution."""

import numpy as np
import pytest
from tasks_oracle import keys_of

from evosearch.problem import load_problem
from evosearch.search.base import SEARCHES
from evosearch.tasks.base import TASKS, engine_keys

WORD = 2**64
ZERO, ONE, OPEN = 0.1, 0.3, 0.8


def task(**settings):
    kind = TASKS.get("hinton_nowlan")
    return kind(kind.Settings(**settings), seed=0)


def genome(ones, undecided, zeros=0):
    return np.array([[ONE] * ones + [OPEN] * undecided + [ZERO] * zeros])


def mixed(word):
    word = (word ^ word >> 30) * 0xBF58476D1CE4E5B9 % WORD
    word = (word ^ word >> 27) * 0x94D049BB133111EB % WORD
    return word ^ word >> 31


def guessed_by_a_plain_loop(point, key, n_guesses):
    """Return guesses used, None where none was right, of one life as the specification tells it."""
    step = 0x9E3779B97F4A7C15
    is_open = [x >= 0.5 for x in point]
    high, low = (int(word) for word in engine_keys([key])[0])
    loci = sum(2**k for k, flag in enumerate(is_open) if flag)
    state = mixed((high * 2**32 + low + step * mixed(loci)) % WORD)
    for guess in range(1, n_guesses + 1):
        state = (state + step) % WORD
        word = mixed(state)
        is_right = [(word >> k) % 2 == 1 if flag else x >= 0.25
                    for k, (flag, x) in enumerate(zip(is_open, point, strict=True))]  # fmt: skip
        if all(is_right):
            return guess
    return None


def test_lives_agree_with_the_plain_loop():
    points, keys = np.random.default_rng(1).uniform(0.2, 1.0, (30, 6)), keys_of(3)
    found = task(loci=6, guesses=40).score(points, keys, "search").per_draw
    expected = np.ones_like(found)
    for n, point in enumerate(points):
        for d, key in enumerate(keys):
            used = guessed_by_a_plain_loop(point, key, 40) if (point >= 0.5).any() else 0
            if used is not None and (point >= 0.25).all():
                expected[n, d] = 1 + 19 * (40 - used) / 40
    assert 0 < (expected > 1).mean() < 1
    np.testing.assert_allclose(found, expected, rtol=1e-12)


@pytest.mark.parametrize("undecided", [1, 4, 8, 10])
def test_mean_fitness_is_that_of_a_geometric_waiting_time(undecided):
    found = task().score(genome(20 - undecided, undecided), keys_of(2000), "search").per_draw[0]
    p, guess = 2.0**-undecided, np.arange(1, 1001)
    expected = 1 + 19 * np.sum((1000 - guess) / 1000 * p * (1 - p) ** (guess - 1))
    assert abs(found.mean() - expected) < 4 * found.std() / 2000**0.5


def test_genomes_guess_independently_on_the_same_draw():
    """Were the guesses shared, seven loci would never be right before six of them."""
    points = np.array([[OPEN] * 6 + [ONE] * 14, [OPEN] * 7 + [ONE] * 13])
    few, more = task().score(points, keys_of(1000), "search").per_draw
    assert 0.2 < (more > few).mean() < 0.45
    assert abs(np.corrcoef(few, more)[0, 1]) < 0.15


def test_vain_guesses_are_counted_and_decided_genomes_guess_nothing():
    points = np.concatenate([genome(10, 9, 1), genome(19, 0, 1), genome(20, 0), genome(19, 1)])
    scores = task().score(points, keys_of(400), "search")
    assert scores.metrics["guesses"][:3].tolist() == [1000, 0, 0]
    assert scores.metrics["guesses"][3] == pytest.approx(2, abs=0.3)
    assert scores.per_draw.mean(axis=1)[:3].tolist() == [1, 1, 20]
    assert scores.metrics["zeros"][0] == pytest.approx(0.05)
    assert scores.metrics["undecided"][0] == pytest.approx(0.45)
    assert scores.metrics["ones"][0] == pytest.approx(0.5)


def test_without_learning_the_target_alone_has_a_fitness_of_its_own():
    points = np.concatenate([genome(20, 0), genome(19, 1), genome(19, 0, 1)])
    scores = task(learning=False).score(points, keys_of(5), "search")
    assert (scores.per_draw == [[20], [1], [1]]).all()
    assert not scores.metrics["guesses"].any()


def mean_fitness(learning, generations, seed=0):
    """Return the mean fitness and the shares of alleles of each generation of the problem."""
    overrides = {"task.learning": str(learning).lower()}
    problem = load_problem("hinton_nowlan", overrides=overrides)
    settings = problem.search_settings("simple-ga")
    search = SEARCHES.get("simple-ga")(problem.space(), seed=seed, **settings)
    means, undecided = [], []
    for generation in range(1, generations + 1):
        candidates = search.ask()
        draws = problem.draws("search", run_seed=seed, generation=generation)
        chunk = problem.score(np.stack(candidates), [1.0] * len(candidates), draws)
        search.tell(candidates, evaluated(chunk))
        means.append(chunk.fitness.mean())
        undecided.append(chunk.metrics["undecided"].mean())
    return np.array(means), np.array(undecided)


def evaluated(chunk):
    from evosearch.outcome import OK, Evaluation

    n = len(chunk.fitness)
    return Evaluation(
        fitness=chunk.fitness, per_draw=chunk.per_draw, status=(OK,) * n, messages=("",) * n,
        size=np.full(n, 20), scale=np.ones(n), exploded=np.zeros(n),
        is_cached=np.zeros(n, np.bool_), cost=n, lived=chunk.lived,
    )  # fmt: skip


def test_learning_makes_evolution_take_off_and_without_it_nothing_moves():
    with_learning, undecided = mean_fitness(True, 20)
    without, still = mean_fitness(False, 12)
    assert (with_learning > 2).any()
    assert with_learning[-1] > 10
    assert undecided[0] == pytest.approx(0.5, abs=0.02)
    assert undecided[-1] < 0.5
    assert (without < 1.1).all()
    assert still == pytest.approx(0.5, abs=0.08)


def test_genomes_with_the_same_undecided_loci_have_the_same_luck_on_a_draw():
    copies = np.concatenate([genome(14, 6), np.where(genome(14, 6) == ONE, 0.45, 0.9)])
    first, second = task().score(copies, keys_of(50), "search").per_draw
    assert np.unique(first).size > 1
    np.testing.assert_array_equal(first, second)
