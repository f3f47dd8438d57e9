"""Weight mirrors against their formula; noise makes them resemble the weights."""

import numpy as np
import pytest
from circuits_lives import SIZES
from circuits_recorded import born_weights, state

LAST = len(SIZES) - 2


def feedback(found):
    return found.each("own")


def test_a_mirror_moves_by_answer_times_noise_and_decays():
    before, found = (state("weight-mirror", n) for n in (3, 4))
    for k, (old, new) in enumerate(zip(feedback(before), feedback(found), strict=True)):
        noise = found.each("noise")[k]
        answer = np.einsum("doi,dbi->dbo", before[f"weights {k + 1}"], noise)
        answer = answer if k + 1 == LAST else np.tanh(answer)
        product = np.einsum("dbo,dbi->doi", answer, noise) / noise.shape[1]
        wanted = old + 0.01 / 0.1**2 * product - 0.01 * old
        np.testing.assert_allclose(new, wanted, atol=1e-12)


def test_errors_travel_through_the_mirrors_as_they_are():
    found = state("weight-mirror", 4)
    for k, matrix in enumerate(feedback(found)):
        wanted = np.einsum("dbo,doi->dbi", found[f"error {k + 1}"], matrix)
        wanted *= 1.0 - found[f"post {k + 1}"] ** 2
        np.testing.assert_allclose(found[f"error {k}"], wanted, atol=1e-12)


def test_noise_has_its_deviation_and_no_mean_and_is_never_the_same():
    first, second = (state("weight-mirror", n, text="0") for n in (1, 2))
    drawn = [*first.each("noise"), *second.each("noise")]
    everything = np.concatenate([noise.ravel() for noise in drawn])
    assert abs(everything.mean()) < 0.005
    assert everything.std() == pytest.approx(0.1, rel=0.05)
    assert len(np.unique(everything)) == everything.size


def cosines(found):
    """Return (layers, D): cosine of each mirror with its weights."""
    pairs = zip(feedback(found), born_weights()[1:], strict=True)
    return np.array([(b * w).sum(axis=(1, 2)) / np.linalg.norm(b, axis=(1, 2))
                     / np.linalg.norm(w, axis=(1, 2)) for b, w in pairs])  # fmt: skip


def test_after_enough_noise_the_mirrors_are_the_weights():
    assert (cosines(state("weight-mirror", 1, text="0")) < 0.9).all()
    end = state("weight-mirror", 800, text="0")
    assert (cosines(end) > 0.99).all()
    for mirror, weights in zip(feedback(end), born_weights()[1:], strict=True):
        ratio = np.linalg.norm(mirror, axis=(1, 2)) / np.linalg.norm(weights, axis=(1, 2))
        np.testing.assert_allclose(ratio, 1.0, atol=0.1)
