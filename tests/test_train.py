"""Training any module: what is found, the batches, what is refused, and that a seed says all."""

from __future__ import annotations

import inspect

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import nn
from torch.nn import functional
from torch.utils.data import DataLoader, TensorDataset

from evosearch.errors import InputError
from evosearch.modules.data import Batches, Examples
from evosearch.train import train

RNG = np.random.default_rng(0)
INPUTS = RNG.standard_normal((90, 4)).astype(np.float32)
LABELS = (INPUTS @ RNG.standard_normal((4, 3))).argmax(axis=1)
TARGETS = INPUTS @ np.array([1.0, -2.0, 0.5, 0.0], dtype=np.float32) + 0.25


def net(n_out=3):
    torch.manual_seed(3)
    return nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, n_out))


def line():
    torch.manual_seed(3)
    return nn.Sequential(nn.Linear(4, 1), nn.Flatten(0))


def labelled(**options):
    options = {"data": (INPUTS, LABELS), "budget": 640, "population": 32, **options}
    return train(options.pop("module", net()), functional.cross_entropy, **options)


def test_a_linear_module_finds_the_least_squares_solution():
    module = line()
    result = train(module, functional.mse_loss, (INPUTS, TARGETS), search="cmaes", budget=6000)

    solution = np.linalg.lstsq(np.c_[INPUTS, np.ones(90)], TARGETS, rcond=None)[0]
    np.testing.assert_allclose(result.weights, solution, atol=1e-3)
    assert result.loss < 1e-6


def test_the_loss_is_that_of_the_module_that_is_returned():
    result = labelled()
    with torch.no_grad():
        outputs = result.module(torch.from_numpy(INPUTS))
        expected = functional.cross_entropy(outputs, torch.from_numpy(LABELS))

    assert result.loss == pytest.approx(float(expected), rel=1e-5)
    assert result.fitness == -result.loss
    assert result.history["best"][-1] <= result.history["best"][0]
    assert result.evaluations == 640
    assert result.returns is None


def test_the_module_that_was_given_is_not_changed():
    module = net()
    before = {name: value.clone() for name, value in module.state_dict().items()}
    random = torch.get_rng_state()

    result = labelled(module=module)

    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())
    assert not torch.equal(result.module[0].weight, module[0].weight)
    assert torch.equal(torch.get_rng_state(), random)


def test_a_saved_state_dict_loads_into_the_module(tmp_path):
    result = labelled()
    path = result.save(tmp_path / "net.safetensors")
    other = net()
    other.load_state_dict(load_file(path))

    torch.testing.assert_close(other(torch.ones(1, 4)), result.module(torch.ones(1, 4)))


@pytest.mark.parametrize("batch", [None, 16])
def test_the_result_is_a_function_of_the_seed_alone(batch):
    before = torch.get_num_threads()
    found = []
    for n_threads, chunk in ((1, None), (2, 7), (1, 1)):
        torch.set_num_threads(n_threads)
        found.append(labelled(batch=batch, seed=5, chunk=chunk))
    torch.set_num_threads(before)

    for other in found[1:]:
        np.testing.assert_array_equal(found[0].weights, other.weights)
        np.testing.assert_array_equal(found[0].history["median"], other.history["median"])
    assert not np.array_equal(found[0].weights, labelled(batch=batch, seed=6).weights)


@pytest.mark.parametrize("search", ["openai-es", "snes", "pgpe", "sep-cmaes", "ga"])
def test_batches_train_as_well_as_all_data(search):
    result = labelled(batch=30, budget=6000, search=search, population=None)
    with torch.no_grad():
        outputs = net()(torch.from_numpy(INPUTS))
    start = float(functional.cross_entropy(outputs, torch.from_numpy(LABELS)))

    assert result.loss < 0.75 * start


def test_a_batch_is_the_same_for_all_members_and_new_each_generation():
    examples = Examples(INPUTS, LABELS, batch=10, seed=1, device="cpu", dtype=torch.float32)
    batches = [examples.of_generation(generation) for generation in (0, 0, 1, 2)]
    (first, targets), again, second, _ = (batch[0] for batch in batches)

    assert torch.equal(first, again[0])
    assert not torch.equal(first, second[0])
    assert first.shape == (10, 4)
    assert len({tuple(row) for row in first.tolist()}) == 10, "drawn without replacement"
    lookup = {tuple(row): label for row, label in zip(INPUTS.tolist(), LABELS, strict=True)}
    assert [lookup[tuple(row)] for row in first.tolist()] == targets.tolist()


def test_a_loader_gives_each_generation_its_next_batch():
    loader = DataLoader(TensorDataset(torch.from_numpy(INPUTS), torch.from_numpy(LABELS)), 40)
    batches = Batches(loader, seed=0, device="cpu", dtype=torch.float32)

    sizes = [len(batches.of_generation(generation)[0][0]) for generation in range(5)]

    assert sizes == [40, 40, 10, 40, 40]
    assert sum(len(inputs) for inputs, _ in batches.all()) == 90


def test_a_shuffled_loader_follows_the_seed():
    data = TensorDataset(torch.from_numpy(INPUTS), torch.from_numpy(LABELS))
    random = torch.get_rng_state()
    found = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed + len(found))
        loader = DataLoader(data, batch_size=30, shuffle=True)
        found.append(labelled(data=loader, seed=seed).weights)
    torch.set_rng_state(random)

    np.testing.assert_array_equal(found[0], found[1])
    assert not np.array_equal(found[0], found[2])


def test_a_module_in_double_precision_takes_any_real_data():
    result = labelled(module=net().double())

    assert result.module[0].weight.dtype == torch.float64
    assert result.loss < 1.1


def test_chosen_parameters_move_alone():
    module = net()
    result = labelled(module=module, parameters=["2.*"])

    assert len(result.weights) == 5 * 3 + 3
    assert torch.equal(result.module[0].weight, module[0].weight)
    assert result.loss < 1.1


def test_weights_stay_inside_the_bounds():
    result = labelled(bounds=(-0.6, 0.6), sigma0=0.5)

    assert np.abs(result.weights).max() <= 0.6


def test_losses_that_are_not_finite_rank_last():
    def loss(outputs, targets):
        value = functional.cross_entropy(outputs, targets)
        return torch.where(outputs[0, 0] > 0, torch.nan, value)

    module = net()
    with torch.no_grad():
        module[2].bias[0] = -1.0
    result = train(module, loss, (INPUTS, LABELS), budget=640, population=32)

    assert np.isfinite(result.loss)
    assert result.module(torch.from_numpy(INPUTS[:1]))[0, 0] <= 0


def test_it_ends_at_the_target_loss():
    result = labelled(target=0.9, budget=100_000)

    assert result.stopped_by == "target"
    assert result.loss <= 0.9


def bad_inputs():
    inputs = INPUTS.copy()
    inputs[7, 2] = np.nan
    return inputs


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"data": (bad_inputs(), LABELS)}, "inputs holds a number that is not finite, first in "
         "example 7"),
        ({"data": (INPUTS, LABELS[:-1])}, "90 inputs, but 89 targets"),
        ({"data": (INPUTS[:0], LABELS[:0])}, "no examples"),
        ({"data": (INPUTS, LABELS + 1)}, "label 3, but the module has 3 outputs"),
        ({"data": (INPUTS, LABELS - 1)}, "label -1"),
        ({"data": (INPUTS[:, :3], LABELS)}, "cannot be scored on this data"),
        ({"data": 3}, "type int"),
        ({"data": iter([(INPUTS, LABELS)]), "batch": 4}, "batch is for a pair"),
        ({"data": [1, 2, 3]}, "pairs (inputs, targets)"),
        ({"batch": 91}, "batch is 91"),
        ({"batch": 0}, "batch is 0"),
        ({"bounds": (1.0, -1.0)}, "low"),
        ({"bounds": (2.0, 3.0)}, "outside the bounds"),
        ({"sigma0": 0.0}, "sigma0 is 0.0"),
        ({"search": "snesx"}, "'snes'"),
        ({"device": "toaster"}, "device is 'toaster'"),
        ({"module": 3}, "must be a torch module"),
        ({"module": nn.Sequential(nn.Linear(4, 3), nn.Dropout())}, "module.eval()"),
        ({"environment": "cartpole"}, "not both"),
        ({"budget": 0}, "budget is 0"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_in_a_sentence_before_anything_is_scored(options, said):
    with pytest.raises(InputError) as refused:
        labelled(on_progress=lambda progress: pytest.fail("it was scored"), **options)

    message = str(refused.value)
    assert said in message
    assert "\n" not in message


def test_a_population_that_cannot_be_held_is_refused():
    module = nn.Linear(1000, 1000, bias=False)
    data = (np.zeros((2, 1000), np.float32), np.zeros((2, 1000), np.float32))

    with pytest.raises(InputError, match="does not fit into the memory"):
        train(module, functional.mse_loss, data, search="l-shade", population=1_000_000)


@pytest.mark.parametrize(
    ("loss", "said"),
    [
        (lambda outputs, targets: functional.mse_loss(outputs, targets, reduction="none"),
         "shape (90,); it must return one number"),
        ("mse", "must be callable"),
        (None, "needs a loss and data"),
    ],
)  # fmt: skip
def test_a_loss_that_is_none_is_refused(loss, said):
    with pytest.raises(InputError) as refused:
        train(line(), loss, (INPUTS, TARGETS))

    assert said in str(refused.value)


def policy(n_in=4, n_out=2):
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(n_in, 8), nn.Tanh(), nn.Linear(8, n_out))


def test_a_policy_learns_to_balance_the_pole():
    options = {"budget": 64 * 20, "population": 64, "episodes": 4}
    result = train(policy(), environment="cartpole", search="snes", **options)

    assert result.returns.shape == (100,)
    assert result.returns.mean() >= 475
    assert result.history["best"][-1] > result.history["best"][0]


def test_returns_are_those_of_the_compiled_rollout():
    from evosearch.control.environment import ENVIRONMENTS
    from evosearch.control.policy import Policy
    from evosearch.control.rollout import run_episodes
    from evosearch.modules.episodes import episode_keys
    from evosearch.modules.scores import ReturnScores
    from evosearch.modules.weights import Weights

    for name, n_in, n_out in (("CartPole-v1", 4, 2), ("Pendulum-v1", 3, 1)):
        module = policy(n_in, n_out)
        weights = Weights(module)
        options = {"episodes": 5, "seed": 1, "device": "cpu", "chunk": 2}
        scores = ReturnScores(module, weights, name, **options)
        points = weights.x0 + 0.3 * np.random.default_rng(0).standard_normal((7, len(weights.x0)))

        found = scores(points)

        world = ENVIRONMENTS.get(name)()
        starts = np.stack([world.draw(np.random.default_rng(k)) for k in episode_keys(1, 0, 5)])
        expected, _ = run_episodes(world, Policy(n_in, (8,), n_out), points, starts)
        # Chaotic to rounding: a policy near its edge may differ by a step or two.
        np.testing.assert_allclose(found, expected.mean(axis=1), rtol=0.02)


class Corridor:
    """Gymnasium's interface: walk to the right for 10 steps; each step there earns 1."""

    class Space:
        def __init__(self, **facts):
            self.__dict__.update(facts)

    observation_space = Space(shape=(1,))
    action_space = Space(n=2)

    def reset(self, *, seed=None):
        self.n_steps, self.place = 0, float(np.random.default_rng(seed).uniform(-1, 1))
        return np.array([self.place]), {}

    def step(self, action):
        assert action in (0, 1)
        self.n_steps += 1
        self.place += 1 if action else -1
        return np.array([self.place]), float(action), False, self.n_steps == 10, {}


def test_an_object_with_gymnasiums_interface_is_an_environment():
    result = train(policy(1), environment=Corridor(), budget=100, population=10, episodes=2)

    assert result.returns.tolist() == [10.0, 10.0]
    assert result.chunk == 1


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"environment": "cartpole", "episodes": 0}, "episodes is 0"),
        ({"environment": 3}, "has no reset"),
        ({"environment": "pendulum"}, "cannot be scored"),
        ({"environment": "acrobot"}, "cannot be scored"),
        ({"environment": "mountaincar"}, "cannot be scored"),
    ],
)
def test_a_policy_that_does_not_fit_is_refused(options, said):
    with pytest.raises(InputError) as refused:
        train(policy(), **options)

    assert said in str(refused.value)


def test_a_policy_with_too_few_outputs_is_refused():
    with pytest.raises(InputError, match=r"the environment takes \(8, 3\)"):
        train(policy(6, 2), environment="acrobot")


def test_train_has_a_word_on_each_of_its_arguments():
    documented = inspect.getdoc(train)

    for name in inspect.signature(train).parameters:
        assert f"{name}:" in documented
