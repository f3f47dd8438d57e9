"""Learners as scikit-learn classifiers."""

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.datasets import load_digits, load_iris
from sklearn.model_selection import cross_val_score
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import evosearch as es
from evosearch.errors import InputError, RunError

IRIS = load_iris(return_X_y=True)


def classifier(learner="dfa", **settings):
    return es.LearnerClassifier(learner, **{"hidden": (16,), "updates": 300, **settings})


def test_clone_keeps_every_setting_and_no_result():
    model = classifier(rate=0.01, seed=3).fit(*IRIS)
    copy = clone(model)
    assert copy.get_params() == model.get_params()
    assert not hasattr(copy, "learned_")


def test_cross_validation_in_a_pipeline_is_as_good_as_scikit_learns_own_network():
    ours = cross_val_score(make_pipeline(StandardScaler(), classifier()), *IRIS, cv=5)
    peer = MLPClassifier((16,), activation="tanh", max_iter=2000, random_state=0)
    theirs = cross_val_score(make_pipeline(StandardScaler(), peer), *IRIS, cv=5)
    assert ours.mean() > theirs.mean() - 0.04


def test_labels_may_be_words():
    names = np.array(["setosa", "versicolor", "virginica"])
    model = classifier().fit(IRIS[0], names[IRIS[1]])
    assert list(model.classes_) == list(names)
    assert (model.predict(IRIS[0]) == names[IRIS[1]]).mean() > 0.9


def test_predictions_are_those_that_the_life_was_scored_by():
    x, y = load_digits(return_X_y=True)
    model = classifier("bp", hidden=(32, 32), updates=400).fit(x[:900] / 16, y[:900])
    assert model.score(x[:900] / 16, y[:900]) == pytest.approx(model.learned_.curves[0, -1])
    assert model.score(x[900:] / 16, y[900:]) > 0.85


def test_a_rule_of_ones_own_takes_the_place_of_the_published_one():
    idle = classifier("bp", rule="0", normaliser="none", rate=0.1).fit(*IRIS)
    assert idle.score(*IRIS) < 0.7 < classifier("bp").fit(*IRIS).score(*IRIS)


def test_the_same_seed_gives_the_same_network_and_another_one_another():
    first, again, other = (classifier(seed=s).fit(*IRIS) for s in (1, 1, 2))
    weights = [model.learned_.networks.weights[0] for model in (first, again, other)]
    np.testing.assert_array_equal(weights[0], weights[1])
    assert not np.array_equal(weights[0], weights[2])


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"learner": "dfaa"}, "unknown learner 'dfaa'. Did you mean 'dfa'"),
        ({"rate": 0.0}, "rate 0.0; all must be above 0"),
        ({"updates": 0}, "updates is 0"),
        ({"learner": "bptt"}, "'bptt' trains recurrent networks; this task has feed-forward"),
        ({"learner": "bptt", "rule": "error*pre"}, "'bptt' has no slot for a rule; those that"),
    ],
)
def test_bad_settings_are_refused_in_one_sentence(settings, sentence):
    with pytest.raises(InputError, match=sentence):
        classifier(**settings).fit(*IRIS)


def test_divergence_is_an_error_that_names_the_update_and_what_to_do():
    with pytest.raises(RunError, match="diverged at update 1 with rate"):
        classifier("bp", rate=1e38, normaliser="adam").fit(*IRIS)


def test_other_inputs_than_the_network_was_trained_on_are_refused():
    model = classifier().fit(*IRIS)
    with pytest.raises(InputError, match="X has 3 numbers an example"):
        model.predict(IRIS[0][:, :3])
