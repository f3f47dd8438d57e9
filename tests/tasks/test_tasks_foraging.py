"""The meadow of a forager: against a plain loop of its specification, and in what it is worth."""

from __future__ import annotations

import numpy as np
import pytest

from evosearch.engine.lifetime import Projection
from evosearch.engine.run import run_lifetimes
from evosearch.errors import InputError
from evosearch.problem import load_problem
from evosearch.rules.genes import split_genes
from evosearch.rules.lower import lower
from evosearch.rules.rule import Rule
from evosearch.tasks.foraging import ForagingSettings, ForagingTask, colours_of, draw_world

KEYS = [(3, 1, d) for d in range(3)]
SIDES = ((-1, 0), (0, 1), (1, 0))  # left, ahead, right: columns and rows from the agent


def score(text, keys=KEYS, **settings):
    """Return the scores of one rule in float64."""
    task = ForagingTask(ForagingSettings(**settings), dtype="float64", projection=Projection())
    own, genes = split_genes(Rule(text), task.genes)
    program = lower(own, task.terminals)
    object.__setattr__(program, "genes", genes)
    lives = task.lifetimes(keys, "search")
    results = [run_lifetimes(life, [program], 1.0) for life in lives]
    return task.score(results, lives, keys)


def walk(key, settings, choose, learn=lambda seen, act, mod: None):
    """Live one life item by item; return how much food and poison was eaten.

    ``choose(seen (3 * colours,), food (colours,))`` says where to step.
    """
    world, colours, reach = draw_world(key, settings), colours_of(settings), settings.size // 2

    def wrapped(number):
        return (number + reach) % settings.size - reach

    places = [tuple(place) for place in world.places.T]
    eaten = {1.0: 0, -1.0: 0}
    for t in range(settings.steps):
        values = world.values[t // settings.season_steps]
        seen = np.zeros((3, settings.colours))
        for place, colour in zip(places, colours, strict=True):
            if place in SIDES:
                seen[SIDES.index(place), colour] = 1.0
        act = choose(seen.ravel(), values[: settings.colours])
        mod = 0.0
        for k, (x, y) in enumerate(places):
            x, y = ((y, -x), (x, y), (-y, x))[act]
            y -= 1
            if y < -reach:
                x, y = wrapped(x + world.new[t, 2] + k), reach
            if (x, y) == (0, 0):
                eaten[values[k]] += 1
                mod += values[k]
                x, y = (wrapped(new) for new in world.new[t, :2] + [k, k // settings.size])
            places[k] = (x, y)
        learn(seen.ravel(), np.eye(3)[act], mod)
    return eaten[1.0], eaten[-1.0]


@pytest.mark.parametrize("colours", [2, 4])
def test_foraging_lives_as_its_specification_says(colours):
    settings = ForagingSettings(size=9, items=12, colours=colours, season_steps=60, w0_sd=0.5)
    text = "dw = 0.7*mod*pre*post - 0.02*w; noise = 0; straight = 0.4; approach = 0.9; first = -0.2"
    scores = score(text, **settings.model_dump())
    total = 0
    for k, key in enumerate(KEYS):
        w = draw_world(key, settings).w0.reshape(3, 3 * colours).copy()
        for side in range(3):
            w[side, colours * side : colours * (side + 1)] += 0.9
            w[side, colours * side] -= 0.2

        def choose(seen, food, w=w):
            return int(np.argmax(w @ seen + np.array([0.0, 0.4, 0.0])))

        def learn(seen, act, mod, w=w):
            w += 0.7 * mod * np.outer(act, seen) - 0.02 * w

        food, poison = walk(key, settings, choose, learn)
        assert scores.per_draw[0, k] == pytest.approx(100 / settings.steps * (food - poison))
        total += food + poison
    assert scores.metrics["food"][0] + scores.metrics["poison"][0] == pytest.approx(
        100 / settings.steps * total / len(KEYS)
    )
    assert total > 60


def test_fixed_weights_gain_nothing_over_an_even_number_of_seasons():
    keys = [(9, 0, d) for d in range(60)]
    for text in ("0", "dw = 0; straight = 1; approach = 2; first = 2"):
        scores = score(text, keys, season_steps=100)
        error = scores.per_draw.std() / np.sqrt(len(keys))
        assert abs(scores.per_draw.mean()) < 4 * error


def test_one_who_knows_the_season_is_above_one_who_learns_and_one_who_does_not():
    settings, keys = ForagingSettings(season_steps=100), [(9, 0, d) for d in range(20)]

    def knowing(seen, food):
        worth = seen.reshape(3, -1) @ food + np.array([0.0, 0.5, 0.0])
        return int(np.argmax(worth))

    eaten = np.array([walk(key, settings, knowing) for key in keys], np.float64)
    known = 100 / settings.steps * (eaten[:, 0] - eaten[:, 1]).mean()
    rule = "dw = mod*pre*post - 0.01*w; noise = 0.1; straight = 0.5; approach = 1"
    learned = score(rule, keys, season_steps=100).per_draw.mean()
    assert known > learned > 1.0


def test_food_and_poison_change_places_with_each_season():
    settings = ForagingSettings(colours=4, items=8, seasons=3)
    values = draw_world((1, 2, 3), settings).values
    np.testing.assert_array_equal(values[0], -values[1])
    np.testing.assert_array_equal(values[0], values[2])
    assert sorted(values[0][:4]) == [-1, -1, 1, 1]
    firsts = {tuple(draw_world((1, 2, d), settings).values[0]) for d in range(40)}
    assert len(firsts) == 6


@pytest.mark.parametrize(("key", "value"), [("size", "14"), ("colours", "3")])
def test_a_world_that_cannot_be_is_refused(key, value):
    with pytest.raises(InputError, match=f"task.{key}.*{value}"):
        load_problem("foraging", overrides={f"task.{key}": value})
