"""Few-shot sine waves: lives against plain loops, and inheritance of what they learned."""

from __future__ import annotations

import math

import numpy as np
import pytest

from evosearch.errors import InputError
from evosearch.outcome import plain_evaluation
from evosearch.plan import make_plan
from evosearch.problem import load_problem
from evosearch.search.base import SEARCHES
from evosearch.spaces import VectorSpace
from evosearch.tasks.sinusoid import SinusoidSettings, SinusoidTask, draw_wave

KEYS = [(3, 1, d) for d in range(3)]


def sinusoid_by_loops(task, vector, key):
    """Return the error of queries at birth and after learning, and the weights then, by NumPy."""
    genes, weights, start = task._genes(vector), [], 0
    for shape in task.domain().shapes[:-1]:
        size = math.prod(shape)
        weights.append(genes[start : start + size].reshape(shape).copy())
        start += size
    rates = genes[start:]
    (x, y), (asked, truth) = draw_wave(key, task.settings)

    def forward(inputs):
        activities, fields = [inputs[:, None]], []
        for w, bias in zip(weights[::2], weights[1::2], strict=True):
            fields.append(activities[-1] @ w.T + bias)
            activities.append(np.maximum(fields[-1], 0.0))
        return activities, fields

    def error():
        return ((forward(asked)[1][-1][:, 0] - truth) ** 2).mean()

    before = error()
    for _ in range(task.settings.steps):
        activities, fields = forward(x)
        errors = [y[:, None] - fields[-1]]
        for layer in range(len(rates) - 1, 0, -1):
            errors.insert(0, (errors[0] @ weights[2 * layer]) * (fields[layer - 1] > 0))
        for layer, rate in enumerate(rates):
            weights[2 * layer] += rate * errors[layer].T @ activities[layer] / len(x)
            weights[2 * layer + 1] += rate * errors[layer].mean(axis=0)
    return before, error(), np.concatenate([part.ravel() for part in weights])


def test_sinusoid_lives_are_gradient_descent_from_the_inherited_weights():
    task = SinusoidTask(SinusoidSettings(hidden=(12, 7)), seed=0)
    x0 = task.domain().x0
    vectors = x0 + 0.1 * np.random.default_rng(1).standard_normal((3, len(x0)))
    scores = task.score(vectors, KEYS, "search")
    for k, vector in enumerate(vectors):
        lives = [sinusoid_by_loops(task, vector, key) for key in KEYS]
        np.testing.assert_allclose(scores.per_draw[k], [-after for _, after, _ in lives], rtol=1e-4)
        assert scores.metrics["before"][k] == pytest.approx(
            np.mean([before for before, _, _ in lives]), rel=1e-4
        )


def test_half_of_what_lives_of_sinusoid_learned_is_inherited():
    settings = {"hidden": (12, 7), "rate": 0.05}
    task = SinusoidTask(SinusoidSettings(**settings, inheritance=0.5), seed=0)
    vectors = task.domain().x0 + 0.1 * np.random.default_rng(1).standard_normal((3, 1))
    learned = task.score(vectors, KEYS, "search").learned
    for k, vector in enumerate(vectors):
        ends = np.mean([sinusoid_by_loops(task, vector, key)[2] for key in KEYS], axis=0)
        expected = 0.5 * (ends - vector[:-3])
        assert np.abs(expected).max() > 0.01
        np.testing.assert_allclose(learned[k, :-3], expected, rtol=1e-3, atol=1e-5)
        assert not learned[k, -3:].any()
    assert (
        SinusoidTask(SinusoidSettings(**settings), seed=0).score(vectors, KEYS, "search").learned
        is None
    )


@pytest.mark.parametrize("name", ["openai-es", "low-rank-es", "snes", "sep-cmaes", "pgpe"])
def test_the_mean_moves_by_what_a_generation_learned(name):
    space = VectorSpace(6, sigma0=0.1)
    means = []
    for gain in (0.0, 2.0):
        search = SEARCHES.get(name)(space, seed=1, population=8)
        points = np.concatenate([np.array(b.dense() if hasattr(b, "dense") else b)
                                 for b in search.ask_blocks()])  # fmt: skip
        fitness = -(points**2).sum(axis=1)
        fitness[3] = np.nan
        learned = np.arange(len(points) * 6.0).reshape(-1, 6) * gain
        for part in (slice(0, 3), slice(3, None)):
            told = plain_evaluation(fitness[part], 6, learned=learned[part] if gain else None)
            search.tell(points[part], told)
            other = SEARCHES.get(name)(space, seed=1, population=8)
            other.load_state_dict(search.state_dict())
            search = other
        means.append(search.favourites()[0])
    usable = np.delete(learned, 3, axis=0)
    np.testing.assert_allclose(means[1] - means[0], usable.mean(axis=0), rtol=1e-9)


def test_searches_that_pass_nothing_on_are_refused_where_lives_do():
    problem = load_problem("sinusoid", preset="quick", overrides={"task.inheritance": 1.0})
    with pytest.raises(InputError, match="openai-es"):
        make_plan(problem, "random", seed=0, budget=None).make_search()
    assert make_plan(problem, "openai-es", seed=0, budget=None).make_search().passes_on
