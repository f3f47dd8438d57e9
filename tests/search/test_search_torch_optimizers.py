"""Optimizers of torch inside ``openai-es``: their steps, their state, what is refused."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from search_problems import evaluation, stored

from evosearch.errors import InputError
from evosearch.search.base import SEARCHES
from evosearch.search.torch_optimizers import TorchOptimizer
from evosearch.spaces import VectorSpace

OPTIMUM = np.array([1.0, -2.0, 0.5, 0.0, 3.0])
# All of torch.optim that step along the gradient of a vector.
NAMES = (
    "adadelta",
    "adafactor",
    "adagrad",
    "adam",
    "adamax",
    "adamw",
    "asgd",
    "nadam",
    "radam",
    "rmsprop",
    "rprop",
    "sgd",
)
AS_OWN_ADAM = {"optimizer": "adam", "options": {"betas": (0.9, 0.999)}}


def make(**settings):
    space = VectorSpace(5, sigma0=0.5)
    return SEARCHES.get("openai-es")(space, seed=1, **{"population": 12, **settings})


def learn(search, n_generations=1):
    means = []
    for _ in range(n_generations):
        points = np.array(search.ask())
        losses = ((points - OPTIMUM) ** 2).sum(axis=1)
        search.tell(list(points), evaluation(-losses[:, None]))
        means.append(search.favourites()[0])
    return np.array(means)


def test_adam_of_torch_and_own_adam_go_the_same_way():
    own, torchs = make(decay=0.99), make(decay=0.99, **AS_OWN_ADAM)

    np.testing.assert_allclose(learn(own, 100), learn(torchs, 100), rtol=1e-12, atol=1e-13)
    assert "optimizer_exp_avg" in torchs.state_dict()
    assert "optimizer_exp_avg" not in own.state_dict()


def test_an_optimizer_makes_the_steps_that_torch_makes_of_losses():
    rng, mean = np.random.default_rng(0), np.ones(3)
    one = TorchOptimizer("AdamW", 3, {"weight_decay": 0.1, "amsgrad": True})
    parameter = torch.ones(3, dtype=torch.float64, requires_grad=True)
    other = torch.optim.AdamW([parameter], lr=0.05, weight_decay=0.1, amsgrad=True)
    for _ in range(20):
        slope = rng.standard_normal(3)
        mean = one.moved(mean, slope, rate=0.05)
        other.zero_grad()
        (-parameter @ torch.from_numpy(slope)).backward()
        other.step()
        np.testing.assert_array_equal(mean, parameter.detach().numpy())


@pytest.mark.parametrize("name", NAMES)
def test_every_optimizer_of_torch_is_resumed_bit_for_bit(name):
    settings = {"optimizer": name, "rate": 0.1, "options": {"weight_decay": 0.01}}
    if name == "rprop":
        settings["options"] = {"etas": (0.5, 1.1)}
    whole, resumed = make(**settings), make(**settings)
    for _ in range(12):
        fresh = make(**settings)
        fresh.load_state_dict(stored(resumed.state_dict()))
        resumed = fresh
        np.testing.assert_array_equal(learn(resumed), learn(whole))

    for key, value in stored(whole.state_dict()).items():
        np.testing.assert_array_equal(value, stored(resumed.state_dict())[key], err_msg=key)


@pytest.mark.parametrize(("name", "rate"), [("adamw", 0.1), ("rmsprop", 0.1), ("nadam", 0.2)])
def test_optimizers_of_torch_converge(name, rate):
    search = make(optimizer=name, rate=rate, decay=0.98, population=20)

    assert abs(learn(search, 300)[-1] - OPTIMUM).max() < 0.05


def test_a_state_that_was_taken_is_left_alone_by_later_steps():
    search = make(optimizer="adamw")
    learn(search)
    state = search.state_dict()
    before = stored(state)
    learn(search, 3)

    np.testing.assert_array_equal(state["optimizer_exp_avg"], before["optimizer_exp_avg"])


def test_means_stay_in_the_bounds_with_an_optimizer_of_torch():
    space = VectorSpace(5, low=-1.0, high=1.0, sigma0=0.5)
    search = SEARCHES.get("openai-es")(space, seed=1, population=12, optimizer="rmsprop", rate=0.1)
    means = learn(search, 60)

    assert abs(means).max() <= 1.0
    # Estimates are noisy; each of them was at its bound.
    np.testing.assert_array_equal(means.max(axis=0)[[0, 4]], [1.0, 1.0])
    assert means.min(axis=0)[1] == -1.0


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"optimizer": "rmspop"}, "unknown optimizer 'rmspop'. Did you mean 'rmsprop'?"),
        ({"optimizer": "lbfgs"}, "optimizer 'lbfgs' with {}: "),
        ({"optimizer": "muon"}, "optimizer 'muon' with {}: "),
        ({"optimizer": "sparseadam"}, "optimizer 'sparseadam' with {}: "),
        ({"optimizer": "adamw", "options": {"lr": 0.1}}, "lr is the search's to set"),
        ({"optimizer": "adamw", "options": {"momentum": 0.1}}, "momentum"),
        ({"optimizer": "adamw", "options": {"betas": (0.9, 2.0)}}, "Invalid beta"),
    ],
)
def test_what_no_optimizer_can_do_is_refused_in_one_sentence(settings, message):
    with pytest.raises(InputError) as caught:
        make(**settings)

    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
