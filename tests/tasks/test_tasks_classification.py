"""Networks that classify: their minibatches, measures and baselines."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from evosearch.data import load_data
from evosearch.errors import InputError
from evosearch.populations import LowRank
from evosearch.tasks.base import TASKS

KEYS = [(1, 2, 3), (1, 2, 4)]


def make(seed=0, **settings):
    task_class = TASKS.get("classification")
    return task_class(task_class.Settings(**settings), seed=seed)


def points_of(task, n=5):
    start = task.domain().x0
    return start + 0.1 * np.random.default_rng(0).normal(size=(n, len(start)))


def losses_by_hand(task, points, rows):
    """Score the tanh networks of one hidden layer on training examples, in float64."""
    data = load_data("digits").train
    x, y = data.inputs[rows].astype(float), data.labels[rows]
    found = []
    for point in points:
        w1, b1, w2, b2 = np.split(point, np.cumsum([32 * 64, 32, 10 * 32]))
        logits = np.tanh(x @ w1.reshape(32, 64).T + b1) @ w2.reshape(10, 32).T + b2
        logits -= np.log(np.exp(logits).sum(axis=1, keepdims=True))
        found.append(logits[np.arange(len(y)), y].mean())
    return found


def test_search_draws_score_the_whole_training_part_where_batch_is_zero():
    task = make()
    points = points_of(task)
    scores = task.score(points, KEYS, "search").per_draw
    expected = losses_by_hand(task, points, slice(None))
    np.testing.assert_allclose(scores, np.stack([expected] * 2, axis=1), atol=1e-6)


def test_minibatch_follows_from_the_key_alone_and_has_no_example_twice():
    task, other = make(batch=100), make(batch=100)
    points = points_of(task)
    scores = task.score(points, KEYS, "search").per_draw
    np.testing.assert_array_equal(other.score(points, KEYS[1:], "search").per_draw, scores[:, 1:])
    assert (scores[:, 0] != scores[:, 1]).all()
    inputs = task.batch(KEYS[0], "search").inputs.reshape(-1, 64, 64).transpose(0, 2, 1)
    rows = {tuple(row) for row in inputs.reshape(-1, 64)[:100]}
    assert len(rows) == 100
    assert rows <= {tuple(row) for row in load_data("digits").train.inputs}


def test_validation_and_test_are_the_whole_of_other_parts():
    task = make(batch=10, measure="accuracy")
    points = points_of(task)
    data = load_data("digits")
    for split, part in (("validation", data.validation), ("test", data.test)):
        scores = task.score(points, KEYS[:1], split)
        batch = task.network.batch(part)
        expected = task.network.score(points, batch, "accuracy")
        np.testing.assert_array_equal(scores.per_draw[:, 0], expected)
        np.testing.assert_array_equal(scores.metrics["accuracy"], expected)
        expected = task.network.score(points, batch, "cross-entropy")
        np.testing.assert_array_equal(scores.metrics["cross_entropy"], expected)


def test_low_rank_population_scores_as_written_out():
    task = make(batch=64, dtype="float64")
    rng = np.random.default_rng(0)
    shapes = task.domain().shapes
    left = tuple(rng.normal(size=(3, 1, shape[0])).astype("f4") for shape in shapes)
    right = tuple(
        rng.normal(size=(3, 1, shape[1])).astype("f4") if len(shape) == 2 else None
        for shape in shapes
    )
    points = LowRank(task.domain().x0, 0.05, shapes, left, right)
    found = task.score(points, KEYS, "search").per_draw
    expected = task.score(points.dense(), KEYS, "search").per_draw
    np.testing.assert_allclose(found, expected, atol=1e-7)


def test_threads_share_a_task():
    task, alone = make(batch=50), make(batch=50)
    points = points_of(task)
    keys = [(k,) for k in range(24)]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda key: task.score(points, [key], "search").per_draw, keys))
    expected = [alone.score(points, [key], "search").per_draw for key in keys]
    np.testing.assert_array_equal(found, expected)


def test_shapes_fill_the_vector():
    domain = make(hidden=(20, 15)).domain()
    assert domain.shapes == ((20, 64), (20,), (15, 20), (15,), (10, 15), (10,))
    assert sum(int(np.prod(shape)) for shape in domain.shapes) == len(domain.x0)


def test_start_follows_the_seed_of_the_problem():
    np.testing.assert_array_equal(make(seed=3).domain().x0, make(seed=3).baseline("start"))
    assert (make(seed=3).domain().x0 != make(seed=4).domain().x0).any()


def test_baseline_adam_goes_on_from_the_start():
    task = make(epochs=80, measure="accuracy")
    points = np.stack([task.baseline("start"), task.baseline("adam")])
    start, trained = task.score(points, KEYS[:1], "test").per_draw[:, 0]
    assert start < 0.3
    assert trained > 0.92
    assert np.abs(points[1] - points[0]).max() < 640 * 1e-3  # no step of Adam is longer than that


def test_search_of_low_rank_learns_digits_without_a_gradient():
    from evosearch.outcome import plain_evaluation
    from evosearch.search.base import SEARCHES
    from evosearch.spaces import VectorSpace

    task, held = make(batch=256), make(measure="accuracy")
    domain = task.domain()
    space = VectorSpace(len(domain.x0), x0=domain.x0, sigma0=0.02, shapes=domain.shapes)
    settings = {
        "population": 672,
        "units": 1,
        "mirrored": False,
        "rate": 0.02,
        "horizon": 250 * 672,
    }
    search = SEARCHES.get("low-rank-es")(space, seed=0, **settings)
    for generation in range(250):
        (block,) = search.ask_blocks()
        fitness = task.score(block, [(0, generation)], "search").per_draw[:, 0]
        search.tell(range(len(fitness)), plain_evaluation(fitness, space.dimension))
    (mean,) = search.favourites()
    assert held.score(mean[None], KEYS[:1], "test").per_draw[0, 0] > 0.94


def test_minibatch_beyond_the_training_part_is_refused():
    with pytest.raises(InputError, match="batch is 2000; the training part of 'digits' has 1077"):
        make(batch=2000).prepare()
