"""Forward passes of populations: what torch says, and that no candidate sees another."""

from __future__ import annotations

import math
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from evosearch.data.base import examples
from evosearch.networks.adam import train_adam
from evosearch.networks.mlp import ACTIVATIONS, MEASURES, Mlp
from evosearch.networks.torch_forward import score_on_device
from evosearch.parted import PartedLowRank, layers_of, unit_parts
from evosearch.populations import LowRank

# float32 sums of up to 64 products; losses are means of numbers about 1.
TOLERANCE = {"float32": 2e-6, "float64": 1e-12}
SIZES = [(7, 3), (16, 32, 10), (5, 20, 17, 3), (64, 1, 2)]


def some_examples(sizes, n=150, seed=0):
    rng = np.random.default_rng(seed)
    return examples(rng.normal(size=(n, sizes[0])), rng.integers(sizes[-1], size=n))


def some_weights(network, n, seed=1, scale=0.3):
    rng = np.random.default_rng(seed)
    return network.initial(rng) + scale * rng.normal(size=(n, network.dimension))


def torch_scores(network, points, shown):
    """Score one network at a time with torch's own layers, in float64."""
    import torch

    functions = {
        "tanh": torch.nn.Tanh,
        "relu": torch.nn.ReLU,
        "sigmoid": torch.nn.Sigmoid,
        "softplus": torch.nn.Softplus,
    }
    layers = []
    for n_in, n_out in zip(network.sizes, network.sizes[1:], strict=False):
        layers += [torch.nn.Linear(n_in, n_out), functions[network.activation]()]
    model = torch.nn.Sequential(*layers[:-1]).double()
    x, y = torch.tensor(shown.inputs).double(), torch.tensor(shown.labels)
    losses, hits = [], []
    for point in points:
        torch.nn.utils.vector_to_parameters(torch.tensor(point), model.parameters())
        with torch.no_grad():
            logits = model(x)
        losses.append(-float(torch.nn.functional.cross_entropy(logits, y)))
        hits.append(float((logits.argmax(dim=1) == y).double().mean()))
    return {"cross-entropy": np.array(losses), "accuracy": np.array(hits)}


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("sizes", SIZES)
def test_scores_are_those_of_torch_modules_of_the_same_parameters(sizes, activation, dtype):
    network, shown = Mlp(sizes, activation, dtype), some_examples(sizes)
    points = some_weights(network, 3)
    batch = network.batch(shown)
    expected = torch_scores(network, points, shown)
    for measure in MEASURES:
        found = network.score(points, batch, measure)
        np.testing.assert_allclose(found, expected[measure], rtol=0, atol=TOLERANCE[dtype])


@pytest.mark.parametrize("size", [1, 7, 64])
def test_score_has_the_same_bits_in_blocks_of_any_size_and_on_threads(size):
    network = Mlp((16, 32, 10), "tanh")
    batch = network.batch(some_examples(network.sizes))
    points = some_weights(network, 100)
    whole = network.score(points, batch, "cross-entropy")
    blocks = [points[start : start + size] for start in range(0, len(points), size)]
    with ThreadPoolExecutor(3) as pool:
        parts = list(pool.map(lambda block: network.score(block, batch, "cross-entropy"), blocks))
    np.testing.assert_array_equal(np.concatenate(parts), whole)


@pytest.mark.parametrize("n", [1, 63, 64, 65])
def test_lanes_without_an_example_do_not_count(n):
    network = Mlp((5, 6, 3), "relu", "float64")
    shown = some_examples(network.sizes, n)
    points = some_weights(network, 2)
    found = network.score(points, network.batch(shown), "cross-entropy")
    expected = torch_scores(network, points, shown)["cross-entropy"]
    np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_logits_of_any_size_give_the_right_loss():
    network = Mlp((1, 2), "tanh")
    batch = network.batch(examples(np.ones((1, 1)), np.zeros(1, dtype=int)))
    gaps = np.array([0.0, 1e-3, 1.0, 50.0, 1e4])
    for sign in (1, -1):
        points = np.stack([sign * gaps, 0 * gaps, 0 * gaps, 0 * gaps], axis=1)
        expected = [-(math.log1p(math.exp(-abs(g))) + max(0.0, -sign * g)) for g in gaps]
        found = network.score(points, batch, "cross-entropy")
        np.testing.assert_allclose(found, expected, rtol=3e-7, atol=1e-7)


def test_network_without_an_opinion_hits_nothing():
    network = Mlp((4, 3), "tanh")
    batch = network.batch(some_examples(network.sizes))
    assert network.score(np.zeros((1, 15)), batch, "accuracy").tolist() == [0.0]


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_weights_that_are_no_numbers_cost_their_own_candidate_alone(bad, activation):
    network = Mlp((5, 6, 3), activation)
    batch = network.batch(some_examples(network.sizes))
    points = some_weights(network, 3)
    points[1, -1] = bad
    found = network.score(points, batch, "cross-entropy")
    assert np.isfinite(found).tolist() == [True, False, True]
    alone = network.score(points[2:], batch, "cross-entropy")
    assert found[2] == alone[0]


def some_population(network, kind, rank=1, k=4, seed=2, **settings):
    rng = np.random.default_rng(seed)
    left, right = [], []
    for shape in network.shapes:
        is_matrix = len(shape) == 2
        drawn = rng.normal(size=(k, rank if is_matrix else 1, shape[0]))
        left.append(drawn.astype(np.float32))
        drawn = rng.normal(size=(k, rank, shape[-1])).astype(np.float32)
        right.append(drawn if is_matrix else None)
    mean = network.initial(rng)
    return kind(mean, 0.1, network.shapes, tuple(left), tuple(right), **settings)


@pytest.mark.parametrize("rank", [1, 3])
@pytest.mark.parametrize("activation", ["tanh", "relu"])
@pytest.mark.parametrize("sizes", SIZES)
def test_low_rank_scores_are_those_of_the_population_written_out(sizes, activation, rank):
    network = Mlp(sizes, activation, "float64")
    batch = network.batch(some_examples(sizes))
    points = some_population(network, LowRank, rank)
    for measure in MEASURES:
        found = network.score(points, batch, measure)
        # sigma and 1 / sqrt(rank) are rounded to float32 in the population written out
        expected = network.score(points.dense(), batch, measure)
        np.testing.assert_allclose(found, expected, rtol=0, atol=2e-7)


@pytest.mark.parametrize("is_mirrored", [True, False])
@pytest.mark.parametrize("n_units", [1, 5, 100])
@pytest.mark.parametrize("sizes", SIZES)
def test_parts_score_like_the_population_written_out(sizes, n_units, is_mirrored):
    network = Mlp(sizes, "tanh", "float64")
    batch = network.batch(some_examples(sizes))
    settings = {"n_units": n_units, "is_mirrored": is_mirrored}
    points = some_population(network, PartedLowRank, 2, **settings)
    found = network.score(points, batch, "cross-entropy")
    expected = network.score(points.dense(), batch, "cross-entropy")
    np.testing.assert_allclose(found, expected, rtol=0, atol=2e-7)


def test_part_of_a_population_scores_the_same_bits_as_the_whole():
    network = Mlp((5, 20, 17, 3), "relu")
    batch = network.batch(some_examples(network.sizes))
    points = some_population(network, PartedLowRank, n_units=3)
    whole = network.score(points, batch, "cross-entropy")
    for cut in (slice(0, 2), slice(6, 38), slice(34, None)):
        np.testing.assert_array_equal(
            network.score(points[cut], batch, "cross-entropy"), whole[cut]
        )
        np.testing.assert_array_equal(points[cut].dense(), points.dense()[cut])


def test_parts_of_one_perturbation_add_up_to_it():
    network = Mlp((5, 20, 17, 3), "relu")
    whole = some_population(network, LowRank)
    parted = some_population(network, PartedLowRank, n_units=7)
    n_parts = len(unit_parts(network.shapes, 7))
    steps = (parted.dense()[0::2] - parted.mean).reshape(4, n_parts, -1)
    np.testing.assert_allclose(steps.sum(axis=1), whole.dense()[0::2] - whole.mean, atol=1e-6)
    assert ((steps != 0).sum(axis=1) <= 1).all()


def test_layers_are_matrices_with_the_vector_that_follows():
    shapes = ((4, 3), (4,), (9,), (2, 4), (3, 2), (3,))
    assert layers_of(shapes) == [(0, 1), (2,), (3,), (4, 5)]
    assert unit_parts(shapes[:3], 5).tolist() == [[0, 0, 4], [1, 0, 5], [1, 5, 9]]


@pytest.mark.parametrize("kind", [LowRank, PartedLowRank, None])
def test_torch_forward_agrees_with_the_compiled_one(kind):
    network = Mlp((5, 20, 17, 3), "softplus", "float64")
    batch = network.batch(some_examples(network.sizes))
    points = some_population(network, kind, 2) if kind else some_weights(network, 70)
    for measure in MEASURES:
        expected = network.score(points, batch, measure)
        found = score_on_device(network, points, batch, measure, "cpu")
        np.testing.assert_allclose(found, expected, rtol=0, atol=2e-7)


def test_initial_weights_keep_the_size_of_activities():
    network = Mlp((1000, 500, 10), "relu")
    start = network.initial(np.random.default_rng(0))
    first = start[: 1000 * 500]
    assert first.std() == pytest.approx(math.sqrt(2 / 1000), rel=0.01)
    assert not start[1000 * 500 : 1001 * 500].any()
    assert start[1001 * 500 : 1001 * 500 + 5000].std() == pytest.approx(
        math.sqrt(1 / 500), rel=0.05
    )


def test_adam_learns_what_is_linearly_separable_and_repeats_itself():
    rng = np.random.default_rng(0)
    inputs = rng.normal(size=(512, 4))
    shown = examples(inputs, (inputs[:, 0] > inputs[:, 1]).astype(int))
    network = Mlp((4, 2), "tanh", "float64")
    start = network.initial(rng)
    first, again = (train_adam(network, shown, start, epochs=60, rate=0.1) for _ in range(2))
    np.testing.assert_array_equal(first, again)
    batch = network.batch(shown)
    assert network.score(first[None], batch, "accuracy")[0] > 0.99
    assert network.score(start[None], batch, "accuracy")[0] < 0.95
