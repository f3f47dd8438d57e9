"""The task of small networks on Boolean functions, beside a plain simulation of it."""

import numpy as np
import pytest
from tasks_lives import live, task_of
from tasks_oracle import keys_of

from evosearch.errors import InputError
from evosearch.problem import load_problem
from evosearch.tasks.xor_parity import FUNCTIONS, XorParityTask, draw_network

BACKPROP = "error*pre*(post*(1 - post))"
CROSS_ENTROPY = "error*pre*(top + (1 - top)*(post*(1 - post)))"
STEEP = "error*pre*(top + (1 - top)*(post*(1 - post) + 0.1))"


def logistic(total):
    return 1.0 / (1.0 + np.exp(-total))


def epochs_to_success(rule, key, name, signal, *, eta, epochs, clip=50.0):
    """Live one network, unit by unit as the specification says; return epochs or None."""
    function = FUNCTIONS[name]
    draw = draw_network(key, function, epochs)
    weights, biases = ([x.copy() for x in pair] for pair in (draw.weights, draw.biases))
    n = len(function.inputs)
    for epoch in range(epochs):
        for shown in draw.order[epoch * n : (epoch + 1) * n]:
            posts = [function.inputs[shown]]
            for w, bias in zip(weights, biases, strict=True):
                posts.append(logistic(w @ posts[-1] + bias))
            error = function.targets[shown] - posts[2]
            slope = posts[2] * (1.0 - posts[2])
            down = {
                "delta": lambda e=error, s=slope: weights[1].T @ (e * s),
                "error": lambda e=error: weights[1].T @ e,
                "random": lambda e=error: draw.feedback.T @ e,
            }[signal]()
            for k, (signals, top) in enumerate(((down, 0.0), (error, 1.0))):
                post = posts[k + 1]
                steps = rule(weights[k], posts[k][None], post[:, None], signals[:, None], top)
                weights[k] = np.clip(weights[k] + eta * steps, -clip, clip)
                steps = rule(biases[k], 1.0, post, signals, top)
                biases[k] = np.clip(biases[k] + eta * steps, -clip, clip)
        hidden = logistic(function.inputs @ weights[0].T + biases[0])
        outputs = logistic(hidden @ weights[1].T + biases[1])
        if np.abs(function.targets - outputs).max() < 0.2:
            return epoch + 1
    return None


def steep(w, pre, post, error, top):
    return error * pre * (top + (1 - top) * (post * (1 - post) + 0.1))


def backprop(w, pre, post, error, top):
    return error * pre * post * (1 - post)


@pytest.mark.parametrize(
    ("name", "signal", "text", "rule", "eta"),
    [
        ("xor", "random", STEEP, steep, 10.0),
        ("xor", "error", STEEP, steep, 2.0),
        ("xor", "delta", BACKPROP, backprop, 10.0),
        ("encoder", "delta", BACKPROP, backprop, 10.0),
    ],
)
def test_epochs_to_success_agree_with_the_plain_simulation(name, signal, text, rule, eta):
    keys = keys_of(6)
    settings = {"functions": (name,), "signal": signal, "epochs": 240}
    scores = live(task_of("xor_parity", clip=50, **settings), keys, text, eta=eta)
    limit = 160 if name == "encoder" else 240
    found = [epochs_to_success(rule, key, name, signal, eta=eta, epochs=limit) for key in keys]
    assert any(found)
    wanted = [-1.0 if epochs is None else 1.0 - epochs / limit for epochs in found]
    np.testing.assert_allclose(scores.per_draw[0], wanted, rtol=0, atol=1e-12)
    solved = [epochs for epochs in found if epochs]
    assert scores.metrics[f"success_{name}"][0] == pytest.approx(len(solved) / len(keys))
    assert scores.metrics[f"epochs_{name}"][0] == np.median(solved)


def test_functions_are_what_their_names_say():
    for row in FUNCTIONS["parity4"].inputs:
        number = int("".join(str(int(bit)) for bit in row), 2)
        assert FUNCTIONS["parity4"].targets[number] == number.bit_count() % 2
    truth = {
        "xor": [0, 1, 1, 0],
        "xnor": [1, 0, 0, 1],
        "and_xor": [0, 0, 0, 1, 0, 1, 0, 0],
        "or_xor": [0, 1, 1, 1, 1, 1, 0, 1],
    }
    assert truth == {name: FUNCTIONS[name].targets[:, 0].tolist() for name in truth}
    np.testing.assert_array_equal(FUNCTIONS["encoder"].inputs, np.eye(8))
    sizes = {
        name: (f.inputs.shape[1], f.hidden, f.targets.shape[1]) for name, f in FUNCTIONS.items()
    }
    assert sizes["xor"] == (2, 3, 1)
    assert sizes["parity3"] == (3, 6, 1)
    assert sizes["encoder"] == (8, 3, 8)


def test_draws_keep_to_the_specification():
    draw = draw_network((4, 5), FUNCTIONS["parity3"], 50)
    initial = np.concatenate([x.ravel() for x in (*draw.weights, *draw.biases)])
    assert initial.size == 3 * 6 + 6 + 6 + 1
    assert 0.4 < np.abs(initial).max() <= 0.5
    assert 0.5 < np.abs(draw.feedback).max() <= 1.0
    epochs = draw.order.reshape(50, 8)
    assert all(sorted(epoch) == list(range(8)) for epoch in epochs.tolist())
    assert len({tuple(epoch) for epoch in epochs.tolist()}) > 40


def test_fitness_is_the_mean_over_functions():
    def scores_of(*functions):
        task = task_of("xor_parity", clip=50, signal="random", epochs=200, functions=functions)
        return live(task, keys_of(5), STEEP, eta=10)

    both, alone = scores_of("xor", "parity3"), [scores_of("xor"), scores_of("parity3")]
    wanted = np.mean([scores.per_draw for scores in alone], axis=0)
    np.testing.assert_array_equal(both.per_draw, wanted)
    for scores, name in zip(alone, ("xor", "parity3"), strict=True):
        for metric in (f"success_{name}", f"epochs_{name}"):
            assert both.metrics[metric] == scores.metrics[metric]


def test_a_rule_that_never_succeeds_scores_the_least_and_an_exploded_one_less():
    task = task_of("xor_parity", clip=np.inf, epochs=40)
    scores = live(task, keys_of(3), "0", "1e4*w*w", eta=1.0)
    np.testing.assert_array_equal(scores.per_draw[0], XorParityTask.worst)
    assert scores.metrics["epochs_xor"][0] == 40
    assert scores.exploded[1].all()
    assert (scores.per_draw[1] < XorParityTask.worst).all()


def test_an_unknown_function_is_refused_in_one_sentence():
    with pytest.raises(InputError, match="xxor"):
        load_problem("xor_parity", overrides={"task.functions": '["xxor"]'})


@pytest.mark.science
@pytest.mark.parametrize(
    ("signal", "text", "eta", "success", "epochs"),
    [
        ("delta", BACKPROP, 5.0, 0.945, 219),
        ("error", CROSS_ENTROPY, 1.0, 0.94, 223),
        ("error", CROSS_ENTROPY, 2.0, 0.93, 151),
    ],
)
def test_backpropagation_on_xor_is_as_in_the_reference(signal, text, eta, success, epochs):
    """The reference has 200 initialisations."""
    task = task_of("xor_parity", clip=50, dtype="float32", signal=signal)
    metrics = live(task, keys_of(1000), text, eta=eta).metrics
    sd = np.sqrt(success * (1 - success) * (1 / 1000 + 1 / 200))
    assert metrics["success_xor"][0] == pytest.approx(success, abs=3 * sd)
    assert metrics["epochs_xor"][0] == pytest.approx(epochs, abs=12)
