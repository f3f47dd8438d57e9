"""The neuron that follows a teacher: membranes, rule, filter and loss against a plain loop."""

import numpy as np
import pytest
from pydantic import ValidationError
from spiking_oracle import student_loss
from tasks_lives import live, task_of
from tasks_oracle import keys_of

from evosearch.problem import load_problem
from evosearch.tasks.error_driven_lif import ErrorDrivenSettings, draw_trial
from evosearch.tasks.spiking import Membrane

RULES = {
    "(v - u)*psp": lambda v, u, psp: (v - u) * psp,
    "psp*(v - u)*(2*u - 1)/v": lambda v, u, psp: psp * (v - u) * (2 * u - 1) / v,
    "0.001*v*psp - 0.0001*u": lambda v, u, psp: 0.001 * v * psp - 0.0001 * u,
}


def error_driven(dtype="float64", clip=1e6, **settings):
    return task_of("error_driven_lif", clip=clip, dtype=dtype, **settings)


@pytest.mark.parametrize(("dt", "duration"), [(1.0, 1500), (0.5, 300)])
@pytest.mark.parametrize("text", RULES)
def test_student_agrees_with_the_plain_simulation(text, dt, duration):
    task, keys = error_driven(dt=dt, duration=duration), keys_of(3)
    found = live(task, keys, text, eta=1.7).per_draw[0]
    expected = [-student_loss(RULES[text], key, task.settings) for key in keys]
    np.testing.assert_allclose(found, expected, rtol=2e-6)


def test_clip_bounds_the_drive_of_the_weights():
    task, keys = error_driven(duration=300, clip=0.5), keys_of(2)
    found = live(task, keys, "(v - u)*psp", eta=1.7).per_draw[0]
    rule = RULES["(v - u)*psp"]
    expected = [-student_loss(rule, key, task.settings, clip=0.5) for key in keys]
    np.testing.assert_allclose(found, expected, rtol=2e-6)
    assert (np.abs(found - [-student_loss(rule, key, task.settings) for key in keys]) > 0.1).all()


def test_a_student_with_the_teachers_weights_has_no_loss_and_is_not_moved():
    settings = ErrorDrivenSettings(duration=500)
    trial = draw_trial((0, 0, 0, 1), settings)
    weights = np.linalg.lstsq(trial.psp.astype(float), trial.teacher[1:].astype(float), rcond=None)
    assert weights[1].item() < 1e-6
    assert (weights[0] >= -5).all()
    assert (weights[0] <= 35).all()


@pytest.mark.parametrize("dt", [1.0, 0.1])
def test_trace_of_a_spike_is_the_difference_of_two_exponentials(dt):
    spikes = np.zeros((400, 1))
    spikes[3] = 1.0
    since = np.arange(400 - 3) * dt
    expected = 2.5 * (np.exp(-since / 10) - np.exp(-since / 2)) / 250
    np.testing.assert_allclose(Membrane(dt).traces(spikes)[3:, 0], expected, atol=1e-15)


def test_a_rule_that_runs_away_scores_the_worst_and_no_less():
    scores = live(error_driven(duration=1000, dtype="float32"), keys_of(2), "-u*u*psp", "u*0")
    assert (scores.per_draw[0] == -1e4).all()
    assert (scores.per_draw[1] > -1000).all()


def test_steps_that_do_not_fill_a_millisecond_are_refused():
    with pytest.raises(ValidationError, match=r"dt is 0.3; a millisecond must be a whole number"):
        ErrorDrivenSettings(dt=0.3)
    with pytest.raises(ValidationError, match="duration is 120; it must be a multiple of 50"):
        ErrorDrivenSettings(duration=120)


def test_fine_steps_hardly_change_the_loss_of_the_gradient_rule():
    problem = load_problem("error_driven_lif")
    rule = problem.known["gradient"]
    coarse, fine = (
        problem.score([rule], [1.0], problem.draws(split, count=4)).fitness[0]
        for split in ("validation", "test")
    )
    assert -20 < coarse < -6
    assert -20 < fine < -6


@pytest.mark.science
def test_known_rules_rank_as_published():
    """Zero -302, gradient -14.7, twice -13.4, best -13.4, outlier -26 (eLife 10, 2021)."""
    problem = load_problem("error_driven_lif")
    names = ("zero", "jordan_outlier", "gradient", "gradient_twice", "jordan_best")
    draws = problem.draws("test", count=15)
    zero, outlier, gradient, twice, best = problem.score(
        [problem.known[name] for name in names], [1.0] * 5, draws
    ).fitness
    assert zero < 8 * outlier
    assert outlier < 1.5 * gradient
    assert gradient < min(twice, best)
    assert best == pytest.approx(twice, rel=0.05)
