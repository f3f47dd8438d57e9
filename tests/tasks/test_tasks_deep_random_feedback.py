"""The task of deep networks under random feedback, beside autograd and a plain simulation."""

from itertools import pairwise

import numpy as np
import pytest
from tasks_lives import live, task_of
from tasks_oracle import keys_of

from evosearch.circuits.life import held_out
from evosearch.data import load_data
from evosearch.engine.lifetime import Projection
from evosearch.engine.run import run_lifetimes
from evosearch.errors import InputError
from evosearch.problem import load_problem
from evosearch.rules.lower import lower
from evosearch.rules.rule import Rule
from evosearch.tasks.deep_random_feedback import DeepRandomFeedbackTask, build_life, draw_episode

SMALL = {"hidden": (14, 11, 9), "shots": 30, "queries": 6}
SIZES = (64, 14, 11, 9, 10)
THREE_TERMS = "0.04*error*pre + 0.1*error*error_pre + 0.03*post*(pre - local)"
KINDS = {"random": THREE_TERMS, "weights": "0.05*error*pre"}


def settings_of(**changes):
    return DeepRandomFeedbackTask.Settings(**(SMALL | changes))


def end_of(text, key, split="search", clip=50.0, **changes):
    """Return the number of right answers and the weights (n_out, n_in) of each layer."""
    projection = Projection(low=-clip, high=clip)
    life = build_life(settings_of(**changes), [key], split, projection, "float64", is_kept=True)
    program = lower(Rule(text), DeepRandomFeedbackTask.terminals)
    values = run_lifetimes(life, [program], 1.0).outputs[0, 0]
    shapes = [(n_out, n_in) for n_in, n_out in pairwise(SIZES)]
    cuts = np.cumsum([1, *(a * b for a, b in shapes)])
    parts = np.split(values, cuts[:-1])[1:]
    return values[0], [part.reshape(shape) for part, shape in zip(parts, shapes, strict=True)]


def episode_of(key, split="search", **changes):
    """Return what the draw decides, and the two parts of the data."""
    parts = held_out(load_data("digits"), split)
    s = settings_of(**changes)
    return draw_episode(key, s, SIZES, (parts[0].labels, parts[1].labels)), parts


def activities(weights, pixels):
    posts = [pixels.astype(float)]
    for w in weights[:-1]:
        posts.append(np.logaddexp(0.0, 10.0 * (w @ posts[-1])) / 10.0)
    return [*posts, weights[-1] @ posts[-1]]


def count_right(weights, episode, part):
    answers = [np.argmax(activities(weights, part.inputs[row])[-1]) for row in episode.asked]
    return np.sum(answers == part.labels[episode.asked])


def simulated(episode, part, clip=50.0):
    """Live one network under the three terms, as the specification writes them."""
    weights = [w.copy() for w in episode.weights]
    for row in episode.shown:
        *posts, logits = activities(weights, part.inputs[row])
        posts.append(np.exp(logits) / np.exp(logits).sum())
        errors = [posts[-1] - np.eye(10)[part.labels[row]]]
        for feedback, post in zip(episode.feedback[::-1], posts[-2::-1], strict=True):
            errors.insert(0, (feedback.T @ errors[0]) * (1.0 - np.exp(-10.0 * post)))
        for k, w in enumerate(weights):
            pre, post, e_pre, e = posts[k], posts[k + 1], errors[k], errors[k + 1]
            oja = np.outer(post, pre) - np.outer(post, post @ w)
            step = -0.04 * np.outer(e, pre) + 0.1 * np.outer(e, e_pre) + 0.03 * oja
            weights[k] = np.clip(w + step, -clip, clip)
    return weights


def descended(episode, part):
    """Train the network by torch's autograd and SGD at .05."""
    torch = pytest.importorskip("torch")
    weights = [torch.tensor(w, requires_grad=True) for w in episode.weights]
    optimizer = torch.optim.SGD(weights, lr=0.05)
    for row in episode.shown:
        x = torch.tensor(part.inputs[row], dtype=torch.float64)
        for w in weights[:-1]:
            x = torch.nn.functional.softplus(w @ x, beta=10.0, threshold=500.0)
        label = torch.tensor(int(part.labels[row]))
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(weights[-1] @ x, label).backward()
        optimizer.step()
    return [w.detach().numpy() for w in weights]


@pytest.mark.parametrize("seed", [0, 1])
def test_errors_through_the_weights_make_the_rule_torch_s_gradient_descent(seed):
    key = (seed, 4)
    n_right, weights = end_of("0.05*error*pre", key, signal="weights")
    episode, (shown, asked) = episode_of(key)
    wanted = descended(episode, shown)
    for ours, theirs, born in zip(weights, wanted, episode.weights, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-9)
        assert np.abs(ours - born).max() > 1e-3
    assert n_right == count_right(wanted, episode, asked)


@pytest.mark.parametrize("split", ["search", "test"])
def test_the_three_terms_agree_with_the_plain_simulation(split):
    key = (7, 1)
    n_right, weights = end_of(THREE_TERMS, key, split)
    episode, (shown, asked) = episode_of(key, split)
    wanted = simulated(episode, shown)
    for ours, theirs in zip(weights, wanted, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-9)
    assert n_right == count_right(wanted, episode, asked)
    assert n_right > 6, "more than by one answer for all"


def test_weights_stop_at_the_clip():
    key = (7, 1)
    _, weights = end_of(THREE_TERMS, key, clip=0.4)
    episode, (shown, _) = episode_of(key)
    for ours, theirs in zip(weights, simulated(episode, shown, clip=0.4), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-9)
    assert max(np.abs(w).max() for w in weights) == 0.4


def test_fitness_is_the_share_of_right_answers():
    keys = keys_of(3)
    scores = live(task_of("deep_random_feedback", clip=50, **SMALL), keys, THREE_TERMS)
    wanted = [end_of(THREE_TERMS, key)[0] / 30 for key in keys]
    np.testing.assert_allclose(scores.per_draw[0], wanted, rtol=1e-15)


def test_episodes_keep_to_the_specification():
    s = settings_of(classes=(0, 1, 2, 3, 4), always=(7, 8, 9))
    chosen = set()
    for number in range(40):
        episode, parts = episode_of((3, number), classes=s.classes, always=s.always)
        assert sorted(episode.classes[:3]) == [7, 8, 9]
        assert set(episode.classes[3:]) < {0, 1, 2, 3, 4}
        chosen.add(tuple(sorted(episode.classes[3:])))
        rows_and_n = ((episode.shown, s.shots), (episode.asked, s.queries))
        for part, (rows, n) in zip(parts, rows_and_n, strict=True):
            assert len(set(rows.tolist())) == 5 * n
            counts = np.bincount(part.labels[rows], minlength=10)
            assert (counts[episode.classes] == n).all()
    assert len(chosen) == 10
    for matrices in (episode.weights, episode.feedback):
        for matrix in matrices:
            limit = np.sqrt(6.0 / sum(matrix.shape))
            assert 0.9 * limit < np.abs(matrix).max() <= limit
    labels = parts[0].labels[episode.shown]
    assert np.sum(labels[1:] != labels[:-1]) > 20, "classes are shown in a random order"


def test_draws_are_independent_and_each_has_its_own_matrices():
    first, second = (episode_of((0, 0, 0, d))[0] for d in range(2))
    matrices = [m.ravel() for e in (first, second) for m in (*e.weights, *e.feedback)]
    for a in range(len(matrices)):
        for b in range(a):
            n = min(matrices[a].size, matrices[b].size)
            r = np.corrcoef(matrices[a][:n], matrices[b][:n])[0, 1]
            assert abs(r) < 5 / np.sqrt(n)
    assert set(first.shown.tolist()) != set(second.shown.tolist())


def test_networks_of_other_depths_meet_the_same_tasks():
    labels = tuple(part.labels for part in held_out(load_data("digits"), "test"))
    deep, shallow = (
        draw_episode((5, 5), settings_of(), sizes, labels) for sizes in (SIZES, (64, 14, 10))
    )
    np.testing.assert_array_equal(deep.shown, shallow.shown)
    np.testing.assert_array_equal(deep.asked, shallow.asked)
    np.testing.assert_array_equal(deep.weights[0], shallow.weights[0])


@pytest.mark.parametrize("signal", KINDS)
def test_a_draw_s_score_depends_on_neither_the_others_nor_the_other_rules(signal):
    task = task_of("deep_random_feedback", clip=50, dtype="float32", signal=signal, **SMALL)
    keys, texts = keys_of(4), (KINDS[signal], "0", "w*post - local", "pre*post")
    whole = live(task, keys, *texts).per_draw
    for k, text in enumerate(texts):
        alone = [live(task, [key], text).per_draw[0, 0] for key in keys]
        np.testing.assert_array_equal(whole[k], alone)


def test_a_rule_that_explodes_scores_below_all_others():
    scores = live(task_of("deep_random_feedback", clip=np.inf, **SMALL), keys_of(3), "1e9*w*w", "0")
    assert scores.exploded[0].all()
    assert (scores.per_draw[0] < 0.0).all()
    assert not scores.exploded[1].any()


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("signal", "direct", "signal"),
        ("ways", "8", "ways is 8; tasks take all 0 classes of always and choose .* among 7"),
        ("always", "[6, 7]", "each class once at most"),
        ("ways", "1", "ways"),
    ],
)
def test_bad_settings_are_refused_in_one_sentence(key, value, message):
    with pytest.raises(InputError, match=message) as caught:
        load_problem("deep_random_feedback", overrides={f"task.{key}": value})
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"classes": (3, 4, 5, 6, 10)}, "class 10 is asked for; data 'digits' have classes 0 to 9"),
        ({"shots": 300}, "shots is 300; a class of the task has 1[01][0-9] examples"),
        ({"queries": 60}, "queries is 60; a class of the task has [23][0-9] examples"),
    ],
)
def test_what_the_data_do_not_have_is_refused_in_one_sentence(changes, message):
    with pytest.raises(InputError, match=message):
        live(task_of("deep_random_feedback", clip=1, **(SMALL | changes)), [(0, 0)], "0")


@pytest.mark.science
def test_the_three_terms_beat_backpropagation_and_random_feedback_as_published():
    """The reference is 60 tasks under each rule; the publication compares them on other data."""
    problem = load_problem("deep_random_feedback")
    draws = problem.draws("test", count=120)
    texts = ("error*pre", problem.known["three_terms"].text)
    alone, three = problem.score(
        [problem.read(text) for text in texts], [5 / 3, 1.0], draws
    ).fitness
    transport = load_problem("deep_random_feedback", overrides={"task.signal": "weights"})
    rates = np.array([0.003, 0.01, 0.03, 0.05, 0.1]) / 0.03
    descent = transport.score([transport.read("error*pre")] * 5, rates, draws).fitness
    np.testing.assert_allclose(descent, [0.30, 0.51, 0.77, 0.76, 0.62], atol=0.06)
    assert three == pytest.approx(0.81, abs=0.04)
    assert alone == pytest.approx(0.31, abs=0.04)
    assert three > descent.max() + 0.03


def test_no_search_meets_the_classes_that_are_held_out():
    problem = load_problem("deep_random_feedback")
    met = {n for split in ("search", "validation") for n in problem.task(split).settings.classes}
    assert not met & set(problem.task("held_out").settings.always)
    assert not any(problem.task(split).settings.always for split in ("search", "validation"))
    depths = {split: len(problem.task(split).settings.hidden) + 1 for split in problem.splits}
    assert depths == {
        "search": 5, "validation": 5, "test": 5, "held_out": 5, "three_layers": 3,
        "seven_layers": 7,
    }  # fmt: skip
