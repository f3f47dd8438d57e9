"""A synapse hears nothing but what its rule declares, in every circuit.

The change of each weight is computed again from what its own rule phase read: were anything else
heard, such as the weights of a far layer, the two would differ.
"""

import numpy as np
import pytest
from circuits_lives import SIZES
from circuits_recorded import born_weights, state

from evosearch.circuits.base import CIRCUITS
from evosearch.circuits.normalisers import Plain
from evosearch.tasks.feedback import FeedbackTask, PlasticFeedback

ETA = 0.2
RULES = {
    "error*pre": lambda w, pre, post, error, error_pre, mod: error * pre,
    "error*pre + mod*post*(pre - 0.1*post*w) + error_pre*tanh(w*error) - 0.01*w": (
        lambda w, pre, post, error, error_pre, mod: (
            error * pre
            + mod * post * (pre - 0.1 * post * w)
            + error_pre * np.tanh(w * error)
            - 0.01 * w
        )
    ),
}
DECAYS = {"kolen-pollack": 0.999}
"""Circuits in which weights above the first layer lose a share of themselves after each update."""
OWN_PRE = {"pepita", "wp"}
"""Circuits whose ``pre`` is not the ``post`` of the layer below: a second pass, or signs."""
UPDATES = 5  # synthetic gradients need three before the lowest of these layers hears anything


def kept(name, group):
    """Return what a circuit leaves of a weight or bias in each update."""
    return 1.0 if group.startswith("bias") or group == "weights 0" else DECAYS.get(name, 1.0)


def learned_again(rule, site):
    """Return weights (D, n_out, n_in) after eta times the mean over examples of the rule."""
    of_post = ("post", "error")
    read = {name: values[:, :, :, None] if name in of_post else values[:, :, None, :]
            for name, values in site.items() if name not in ("w", "after")}  # fmt: skip
    increments = rule(w=site["w"][:, None], **read)
    return site["w"] + ETA * increments.mean(axis=1)


@pytest.mark.parametrize("name", CIRCUITS.names())
@pytest.mark.parametrize("text", RULES, ids=["plain", "rich"])
def test_an_update_is_the_rules_mean_over_the_minibatch_on_what_the_synapse_declares(name, text):
    end = state(name, UPDATES, text=text, rate=ETA)
    trained = CIRCUITS.get(name)().trained(len(SIZES) - 1)
    groups = {f"{kind} {k}" for k in trained for kind in ("weights", "bias")}
    assert set(end.sites) == groups
    for group, site in end.sites.items():
        assert np.abs(site["after"] - site["w"]).max() > 1e-9, group
        np.testing.assert_allclose(site["after"], learned_again(RULES[text], site), atol=1e-12)
        left = kept(name, group) * site["after"]
        np.testing.assert_allclose(end[group], left, rtol=1e-15)


@pytest.mark.parametrize("name", CIRCUITS.names())
def test_what_a_synapse_declares_belongs_to_its_own_two_layers(name):
    for group, site in state(name).sites.items():
        n_out, n_in = site["w"].shape[1:]
        widths = {key: values.shape[2] for key, values in site.items() if key not in ("w", "after")}
        declared = {"pre": n_in, "post": n_out, "error": n_out, "error_pre": n_in, "mod": 1}
        assert widths == declared, group


@pytest.mark.parametrize("name", CIRCUITS.names())
def test_all_synapses_of_a_layer_hear_the_same_and_the_layer_above_reads_it_as_its_pre_side(name):
    sites = state(name, UPDATES).sites
    for k in CIRCUITS.get(name)().trained(len(SIZES) - 1):
        weights, bias, above = map(sites.get, (f"weights {k}", f"bias {k}", f"weights {k + 1}"))
        for signal in ("post", "error", "mod"):
            np.testing.assert_array_equal(weights[signal], bias[signal])
        np.testing.assert_array_equal(bias["pre"], 1.0)
        np.testing.assert_array_equal(bias["error_pre"], 0.0)
        if above is not None:
            np.testing.assert_array_equal(above["error_pre"], weights["error"])
            if name not in OWN_PRE:
                np.testing.assert_array_equal(above["pre"], weights["post"])
        if k == 0:
            np.testing.assert_array_equal(weights["error_pre"], 0.0)


@pytest.mark.parametrize("name", CIRCUITS.names())
def test_no_circuit_changes_the_networks_weights_by_itself(name):
    end = state(name, UPDATES, text="0")
    for k, born in enumerate(born_weights()):
        left = kept(name, f"weights {k}") ** UPDATES * born
        np.testing.assert_allclose(end[f"weights {k}"], left, rtol=1e-14)
        np.testing.assert_array_equal(end[f"bias {k}"], 0.0)


def test_feedback_hears_its_own_two_layers_and_the_change_of_the_weights_beside_it():
    text = "dw*error_pre + mod*post*pre - 0.1*w*error"
    circuit = PlasticFeedback(Plain(0.3), 0.0)
    before, end = (state(circuit, n, text=text, rate=ETA, terminals=FeedbackTask.terminals)
                   for n in (4, 5))  # fmt: skip
    assert list(end.sites) == ["own", "own of 1", "own of 2"]
    for k, site in enumerate(end.sites.values()):
        layer = f"weights {k + 1}"
        np.testing.assert_allclose(site["dw"], end[layer] - before[layer], atol=1e-14)
        assert np.abs(site["dw"]).max() > 1e-4
        signals = {"pre": f"post {k + 1}", "post": f"post {k + 2}", "error": f"error {k + 1}"}
        for name, buffer in (signals | {"error_pre": f"error {k}", "mod": "mod"}).items():
            np.testing.assert_array_equal(site[name], end[buffer])
        dw = site.pop("dw")[:, None]
        wanted = learned_again(
            lambda w, pre, post, error, error_pre, mod, dw=dw: (
                dw * error_pre + mod * post * pre - 0.1 * w * error
            ),
            site,
        )
        np.testing.assert_allclose(site["after"], wanted, atol=1e-12)
