"""Stacks of convolutions for a population: what ``torch.func`` computes, and when they are used."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn
from torch.func import functional_call, vmap
from torch.nn import functional

from evosearch.modules.convolution import ConvolutionStack, stack_of
from evosearch.modules.members import Members
from evosearch.modules.weights import Weights


class Doubled(nn.Conv2d):
    def forward(self, x):
        return 2 * super().forward(x)


def with_hook():
    module = nn.Sequential(nn.Conv2d(1, 3, 3))
    module[0].register_forward_hook(lambda layer, given, found: found + 1)
    return module


STACKS = {
    "usual": lambda: nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(4, 6, 3), nn.ReLU(),
        nn.MaxPool2d(2), nn.Flatten(), nn.Linear(24, 5),
    ),
    "padded": lambda: nn.Sequential(
        nn.Conv2d(1, 3, (5, 3), stride=(1, 2), padding=(2, 1)), nn.Tanh(),
        nn.Conv2d(3, 4, 3, dilation=2, bias=False), nn.Sigmoid(), nn.AvgPool2d(3, 2), nn.Flatten(),
        nn.Linear(16, 7), nn.GELU(), nn.Linear(7, 3, bias=False),
    ),
    "nested": lambda: nn.Sequential(
        nn.Sequential(nn.Conv2d(1, 3, 3), nn.ReLU(inplace=True), nn.MaxPool2d(3, 1)),
        nn.Sequential(nn.Identity(), nn.Dropout(0.5), nn.Conv2d(3, 2, 1)),
    ).eval(),
}  # fmt: skip
OTHERS = {
    "no convolution": lambda: nn.Sequential(nn.Linear(3, 3)),
    "no sequence": lambda: nn.Conv2d(1, 3, 3),
    "groups": lambda: nn.Sequential(nn.Conv2d(2, 4, 3, groups=2)),
    "circular": lambda: nn.Sequential(nn.Conv2d(1, 4, 3, padding=1, padding_mode="circular")),
    "same": lambda: nn.Sequential(nn.Conv2d(1, 4, 3, padding="same")),
    "padded pool": lambda: nn.Sequential(nn.Conv2d(1, 4, 3), nn.MaxPool2d(2, padding=1)),
    "normalised": lambda: nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4)).eval(),
    "own class": lambda: nn.Sequential(Doubled(1, 4, 3)),
    "twice": lambda: nn.Sequential(nn.Conv2d(1, 1, 3), *[nn.Conv2d(1, 1, 3)] * 2),
    "hooked": with_hook,
}
ALL = pytest.mark.parametrize("name", STACKS)


def population(name, n=7, n_examples=150):
    torch.manual_seed(0)
    module = STACKS[name]()
    values = {
        key: value.detach() + 0.2 * torch.randn(n, *value.shape)
        for key, value in module.named_parameters()
    }
    return module, values, torch.randn(n_examples, 1, 14, 14)


def by_vmap(module, values, x):
    with torch.no_grad():
        return vmap(lambda one: functional_call(module, one, (x,)))(values)


@ALL
def test_outputs_are_those_of_torch_func(name):
    module, values, x = population(name)
    stack = stack_of(module)

    torch.testing.assert_close(stack(values, x), by_vmap(module, values, x), rtol=1e-5, atol=1e-5)


@ALL
def test_a_member_is_the_same_beside_any_others(name):
    module, values, x = population(name)
    stack = stack_of(module)
    found = stack(values, x)

    for start, end in ((0, 1), (3, 7)):
        few = {key: value[start:end] for key, value in values.items()}
        assert torch.equal(stack(few, x), found[start:end])


def test_parameters_that_nobody_moves_are_the_modules_own():
    module, values, x = population("usual")
    moved = {key: values[key] for key in ("7.weight", "0.bias")}

    found = stack_of(module)(moved, x)

    torch.testing.assert_close(found, by_vmap(module, moved, x), rtol=1e-5, atol=1e-5)


def test_what_is_not_a_number_stays_so():
    module, values, x = population("usual", n=3)
    values["0.weight"][1] = torch.nan

    found = stack_of(module)(values, x)

    assert found[1].isnan().all()
    assert found[[0, 2]].isfinite().all()


@pytest.mark.parametrize("name", OTHERS)
def test_other_modules_are_left_to_torch(name):
    assert stack_of(OTHERS[name]()) is None


def members_of(module, compute):
    weights = Weights(module)
    members = Members(module, weights, compute, n_threads=1)
    x, y = torch.randn(20, 1, 14, 14), torch.randint(0, 5, (20,))
    members.prepare(x, y)
    points = weights.x0 + 0.1 * np.random.default_rng(0).standard_normal((3, weights.dimension))
    found = members.map(points, lambda chunk, n: chunk(x, y))
    with torch.no_grad():
        expected = [compute(weights.loaded(module, point), x, y) for point in points]
    torch.testing.assert_close(found, torch.stack(expected), rtol=1e-5, atol=1e-5)


@pytest.fixture
def n_used(monkeypatch):
    """Count the uses of the stack."""
    used, original = [], ConvolutionStack.__call__

    def counted(self, *arguments):
        used.append(1)
        return original(self, *arguments)

    monkeypatch.setattr(ConvolutionStack, "__call__", counted)
    return used


def test_members_use_the_stack_where_all_share_the_inputs(n_used):
    module, _, _ = population("usual")
    members_of(module, lambda call, x, y: functional.cross_entropy(call(x), y))

    assert len(n_used) == 2, "once to check it, once for the members"


def test_members_do_without_where_the_module_sees_something_else(n_used):
    module, _, _ = population("usual")
    members_of(module, lambda call, x, y: functional.cross_entropy(call(2 * x), y))

    assert len(n_used) == 1, "once to check it"
