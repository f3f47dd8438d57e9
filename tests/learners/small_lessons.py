"""Small lessons for the tests of learners with a kernel of their own."""

import numpy as np

from evosearch.data.base import examples
from evosearch.learners.base import Lesson

KEYS = [(4, 1), (4, 2), (4, 3)]


def some_examples(n=48, n_inputs=6, n_classes=3, seed=0):
    """Inputs from N(0, 1), labelled by a random linear teacher."""
    rng = np.random.default_rng(seed)
    teacher = np.random.default_rng(99).normal(size=(n_inputs, n_classes))
    inputs = rng.normal(size=(n, n_inputs)).astype(np.float32)
    return examples(inputs, (inputs @ teacher).argmax(axis=1))


def small_lesson(sizes=(6, 5, 4, 3), train=None, **changed):
    """A lesson on these examples, or on random ones that a linear teacher labels."""
    train = some_examples(n_inputs=sizes[0], n_classes=sizes[-1]) if train is None else train
    given = {
        "network": "mlp", "sizes": tuple(sizes), "steps": 1, "train": train, "held": train,
        "updates": 12, "batch": 16, "check_every": 3, "normaliser": "none", "rate": 0.05,
        "keys": KEYS, **changed,
    }  # fmt: skip
    return Lesson(**given)


def whole_batch(inputs, sizes, **changed):
    """A lesson that shows all of these inputs in every update, with labels that do not matter."""
    train = examples(inputs, np.arange(len(inputs)) % sizes[-1])
    settings = {"batch": len(inputs), "check_every": changed.get("updates", 12), **changed}
    return small_lesson(sizes, train, held=train.rows(np.arange(4)), **settings)


def assert_draws_live_alone(learner, lesson):
    """Assert that each draw of a lesson becomes the same, to the bit, without the others."""
    together = learner.learn(lesson)
    assert np.isfinite(together.curves).all()
    for k, key in enumerate(lesson.keys):
        alone = learner.learn(Lesson(**{**vars(lesson), "keys": [key]}))
        np.testing.assert_array_equal(alone.curves[0], together.curves[k])
        for one, all_draws in zip(
            alone.networks.parameters, together.networks.parameters, strict=True
        ):
            np.testing.assert_array_equal(one[0], all_draws[k])
