"""Weights of a module as a vector: order, precision, choice and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from evosearch.errors import InputError
from evosearch.modules.weights import Weights


def net():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2))


def test_the_vector_holds_all_parameters_in_their_order():
    module = net()
    module[0].weight.requires_grad_(False)
    weights = Weights(module)

    expected = torch.nn.utils.parameters_to_vector(module.parameters())
    np.testing.assert_array_equal(weights.x0, expected.detach().double().numpy())
    assert weights.shapes == ((4, 3), (4,), (2, 4), (2,))


def test_stacked_points_are_the_parameters_of_each():
    module = net()
    weights = Weights(module)
    points = np.stack([weights.x0, 2 * weights.x0, weights.x0 + 1])

    stacked = weights.stacked(points, "cpu")

    for name, value in module.named_parameters():
        assert stacked[name].dtype == value.dtype
        torch.testing.assert_close(stacked[name][1], 2 * value.detach())
        torch.testing.assert_close(stacked[name][2], value.detach() + 1)


def test_patterns_choose_parameters_and_the_rest_stays():
    module = net()
    weights = Weights(module, ["2.*"])
    loaded = weights.loaded(module, np.zeros(weights.dimension))

    assert weights.names == ("2.weight", "2.bias")
    assert torch.equal(loaded[0].weight, module[0].weight)
    assert not loaded[2].weight.any()
    assert module[2].weight.any(), "the module itself is as it was"


def test_tied_parameters_are_one_and_stay_tied():
    module = nn.Sequential(nn.Linear(3, 3, bias=False), nn.Linear(3, 3, bias=False))
    module[1].weight = module[0].weight
    weights = Weights(module)
    loaded = weights.loaded(module, np.arange(9.0))

    assert weights.dimension == 9
    assert loaded[1].weight is loaded[0].weight
    assert loaded(torch.eye(3)).shape == (3, 3)


def test_scalar_parameters_and_other_types_are_read():
    class Scaled(nn.Module):
        def __init__(self):
            super().__init__()
            self.scale = nn.Parameter(torch.tensor(2.0, dtype=torch.float64))
            self.other = nn.Parameter(torch.ones(2, dtype=torch.float16))

    weights = Weights(Scaled())
    stacked = weights.stacked(np.array([[3.0, 4.0, 5.0]]), "cpu")

    assert weights.x0.tolist() == [2.0, 1.0, 1.0]
    assert stacked["scale"].tolist() == [3.0]
    assert stacked["other"].dtype == torch.float16


def test_first_steps_are_relative_to_the_weights():
    module = nn.Linear(2, 1, bias=False)
    with torch.no_grad():
        module.weight[:] = torch.tensor([[3.0, -4.0]])

    assert Weights(module).sigma0 == pytest.approx(0.3 * np.sqrt(12.5))
    with torch.no_grad():
        module.weight.zero_()
    assert Weights(module).sigma0 == 0.02


@pytest.mark.parametrize(
    ("module", "names", "said"),
    [
        (nn.ReLU(), None, "no parameters"),
        (nn.Linear(1, 1), ["head.*"], "'head.*'. Known: weight, bias"),
        (nn.Linear(1, 1), [], "at least one"),
        (nn.Linear(1, 1, dtype=torch.complex64), None, "must be real"),
    ],
)
def test_what_cannot_be_searched_is_refused(module, names, said):
    with pytest.raises(InputError) as refused:
        Weights(module, names)

    assert said in str(refused.value)


def test_weights_that_are_not_finite_are_refused():
    module = nn.Linear(1, 1)
    with torch.no_grad():
        module.bias.fill_(float("nan"))

    with pytest.raises(InputError, match="'bias' holds a number that is not finite"):
        Weights(module)
