"""Members side by side: the same values as one by one, for any chunk and any number of threads."""

from __future__ import annotations

import logging

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from evosearch.errors import InputError
from evosearch.modules.members import Chunk, Members
from evosearch.modules.weights import Weights

N = 21


def mlp():
    return nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 3))


def cnn():
    layers = (nn.Conv2d(1, 4, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(16, 3))
    return nn.Sequential(*layers)


def normalised():
    module = nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.Dropout(0.5), nn.Linear(8, 3))
    module(torch.randn(50, 6))
    return module.eval()


class Recurrent(nn.Module):
    def __init__(self):
        super().__init__()
        self.cell, self.out = nn.LSTM(3, 4, batch_first=True), nn.Linear(4, 3)

    def forward(self, x):
        return self.out(self.cell(x.unflatten(1, (2, 3)))[0][:, -1])


class Branching(nn.Module):
    """Its way depends on its weights."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(6, 3)

    def forward(self, x):
        return self.layer(x) if self.layer.bias.sum().item() > 0 else -self.layer(x)


CASES = {"mlp": (mlp, (6,)), "cnn": (cnn, (1, 6, 6)), "batch norm": (normalised, (6,)),
         "lstm": (Recurrent, (6,)), "branching": (Branching, (6,))}  # fmt: skip
ALL = pytest.mark.parametrize("name", CASES)


@pytest.fixture(autouse=True)
def _threads():
    before = torch.get_num_threads()
    torch.manual_seed(0)
    yield
    torch.set_num_threads(before)


def loss_of(call, x, y):
    return functional.cross_entropy(call(x), y)


def make(name, chunk=None, n_threads=1, compute=loss_of):
    build, shape = CASES[name]
    torch.manual_seed(1)
    module = build()
    weights = Weights(module)
    members = Members(module, weights, compute, chunk=chunk, n_threads=n_threads)
    x, y = torch.randn(40, *shape), torch.randint(0, 3, (40,))
    members.prepare(x, y)
    rng = np.random.default_rng(2)
    points = weights.x0 + 0.3 * rng.standard_normal((N, weights.dimension))
    return module, weights, members, points, (x, y)


def losses(members, points, data):
    return members.map(points, lambda chunk, n: chunk(*data))


@ALL
def test_losses_are_those_of_modules_loaded_one_by_one(name):
    module, weights, members, points, (x, y) = make(name)

    found = losses(members, points, (x, y))

    with torch.no_grad():
        expected = [
            functional.cross_entropy(weights.loaded(module, point)(x), y) for point in points
        ]
    torch.testing.assert_close(found, torch.stack(expected), rtol=2e-6, atol=1e-6)


@ALL
def test_chunks_and_threads_do_not_change_a_bit(name):
    found = []
    for chunk, n_threads in ((64, 1), (16, 1), (1, 1), (5, 3), (64, 2)):
        _, _, members, points, data = make(name, chunk, n_threads)
        torch.set_num_threads(n_threads)
        found.append(losses(members, points, data))

    for other in found[1:]:
        assert torch.equal(found[0], other)


@ALL
def test_the_module_and_global_random_numbers_stay_as_they_were(name):
    module, _, members, points, data = make(name)
    before = {key: value.clone() for key, value in module.state_dict().items()}
    random, n_threads = torch.get_rng_state(), torch.get_num_threads()

    losses(members, points, data)

    assert all(torch.equal(value, before[key]) for key, value in module.state_dict().items())
    assert torch.equal(torch.get_rng_state(), random)
    assert torch.get_num_threads() == n_threads


def test_a_module_that_branches_is_computed_one_by_one_and_said_once(caplog):
    with caplog.at_level(logging.INFO, logger="evosearch"):
        _, _, members, points, data = make("branching")
        losses(members, points, data)

    said = [record.getMessage() for record in caplog.records if "one by one" in record.getMessage()]
    assert len(said) == 1


def test_one_that_can_be_vectorised_is(caplog):
    with caplog.at_level(logging.INFO, logger="evosearch"):
        make("mlp")

    assert not caplog.records


def test_chunks_are_smaller_where_examples_are_many():
    module = mlp()
    members = Members(module, Weights(module), lambda call, x: call(x).sum(), n_threads=1)
    # 8 + 8 + 3 numbers of the layers and 3 of the whole, of 4 bytes, for each example.
    members.prepare(torch.zeros(2**29 // (22 * 4) // 10, 6))

    assert members.chunk == 10


class FullMemory(Chunk):
    """Has room for 6 members."""

    largest = 6

    def __call__(self, *shared, own=()):
        if len(next(iter(self._parameters.values()))) > self.largest:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB.")
        return super().__call__(*shared, own=own)


def test_a_chunk_that_does_not_fit_is_halved(monkeypatch):
    _, _, members, points, data = make("mlp")
    expected = losses(members, points, data)
    monkeypatch.setattr("evosearch.modules.members.Chunk", FullMemory)

    found = losses(members, points, data)

    assert torch.equal(found, expected)
    assert members.chunk == 4


def test_a_member_that_does_not_fit_alone_is_an_error(monkeypatch):
    _, _, members, points, data = make("mlp")
    monkeypatch.setattr("evosearch.modules.members.Chunk", FullMemory)
    monkeypatch.setattr(FullMemory, "largest", 0)

    with pytest.raises(InputError, match="one member alone does not fit"):
        losses(members, points, data)


def test_other_errors_are_passed_on():
    module = mlp()
    members = Members(module, Weights(module), loss_of, n_threads=1)

    with pytest.raises(RuntimeError, match=r"size|shape"):
        losses(members, Weights(module).x0[None], (torch.zeros(2, 7), torch.zeros(2).long()))


class Counting(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(6, 3)
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, x):
        self.calls += 1
        return self.layer(x)


class Noisy(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(6, 3)

    def forward(self, x):
        return functional.dropout(self.layer(x), 0.5, training=self.training)


def prepare(module):
    members = Members(module, Weights(module), lambda call, x: call(x).sum(), n_threads=1)
    return members.prepare(torch.ones(5, 6))


@pytest.mark.parametrize(
    ("module", "said"),
    [
        (nn.Sequential(nn.Linear(6, 3), nn.Dropout(0.1)), "'1' (Dropout)"),
        (nn.Sequential(nn.Linear(6, 3), nn.BatchNorm1d(3)), "'1' (BatchNorm1d)"),
        (nn.GRU(6, 3, num_layers=2, dropout=0.2), "(GRU)"),
        (Counting(), "buffer 'calls'"),
        (Noisy(), "random numbers"),
    ],
)
def test_modules_that_change_or_draw_are_refused_with_the_remedy(module, said):
    with pytest.raises(InputError, match=r"module\.eval\(\)") as refused:
        prepare(module)

    assert said in str(refused.value)


@pytest.mark.parametrize("module", [nn.Sequential(nn.Linear(6, 3), nn.Dropout(0.5)), Noisy()])
def test_the_same_in_evaluation_mode_are_taken(module):
    assert prepare(module.eval()).shape == ()
