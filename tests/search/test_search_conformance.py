"""What every registered search keeps, on every kind of space that it searches."""

from __future__ import annotations

import random

import numpy as np
import pytest
from search_problems import (
    N_DRAWS,
    SPACES,
    drive,
    evaluation,
    failed,
    score,
    stored,
    texts,
)

from evosearch.errors import InputError
from evosearch.search.base import SEARCHES, Search, new_rng, restore_rng, rng_state, usable_fitness
from evosearch.search.semantics import probe_values
from evosearch.store.records import state_to_text


class ThirdPartySearch(Search):
    """Twenty lines that a user might write: random steps from the best so far."""

    name = "third-party"
    space_kinds = ("rule", "coefficients", "table", "vector")

    def __init__(self, space, *, seed=0, **settings):
        super().__init__(space, seed=seed, **settings)
        self._rng = new_rng(seed)
        self._best, self._fitness = None, -np.inf

    def ask(self):
        if self._best is None:
            return self.space.sample(self._rng, self.settings.population)
        n = self.settings.population
        return [self.space.mutate(self._best, self._rng) for _ in range(n)]

    def tell(self, candidates, evaluation):
        fitness = usable_fitness(evaluation, len(candidates))
        if fitness.max(initial=-np.inf) > self._fitness:
            self._best, self._fitness = candidates[fitness.argmax()], float(fitness.max())

    def state_dict(self):
        has_best = self._best is not None
        return {
            "rng": rng_state(self._rng),
            "best": self.space.encode_text(self._best) if has_best else None,
            "fitness": np.array(self._fitness),
        }

    def load_state_dict(self, state):
        restore_rng(self._rng, state["rng"])
        self._best = None if state["best"] is None else self.space.decode_text(state["best"])
        self._fitness = float(state["fitness"])


CLASSES = {name: SEARCHES.get(name) for name in SEARCHES.names()}
CLASSES["third-party"] = ThirdPartySearch
CASES = [
    pytest.param(name, kind, id=f"{name}-{kind}")
    for name, search_class in CLASSES.items()
    for kind in search_class.space_kinds
    if kind in SPACES
]
# They follow a fixed order, whatever the seed.
IN_ORDER = ("enumerate", "exhaustive")
SMALL = {
    "enumerate": {"max_size": 5},
    "enumerate-beam": {"enumerated": 3},
    "cmaes": {"population": 8},
    "gp-regression": {"batch": 300},
}
BUDGET = {
    "rule": 600, "genome": 600, "formula": 600, "table": 150, "vector": 300, "coefficients": 400,
}  # fmt: skip


def make(name, kind, seed=1, **settings):
    settings = {"population": 12, **SMALL.get(name, {}), **settings}
    return CLASSES[name](SPACES[kind](), seed=seed, **settings)


def test_every_registered_search_declares_kinds_that_the_tests_cover():
    for name, search_class in CLASSES.items():
        assert search_class.name == name
        assert search_class.space_kinds
        assert set(search_class.space_kinds) <= set(SPACES)


@pytest.mark.parametrize(("name", "kind"), CASES)
def test_asked_genotypes_are_of_the_space_and_decode(name, kind):
    search = make(name, kind)
    space = search.space

    for _ in range(4):
        candidates = search.ask()
        assert candidates
        for candidate in candidates:
            assert texts(space, [space.decode_text(space.encode_text(candidate))]) == texts(
                space, [candidate]
            )
            space.decode(candidate)
            if kind == "rule":
                assert candidate.size <= space.max_size
                assert candidate.terminals <= set(space.terminals)
        search.tell(candidates, score(space, candidates))


@pytest.mark.parametrize(("name", "kind"), CASES)
def test_same_seed_same_proposals_and_another_seed_others(name, kind):
    first, _ = drive(make(name, kind, seed=3), 5)
    again, _ = drive(make(name, kind, seed=3), 5)
    other, _ = drive(make(name, kind, seed=4), 5)

    assert first == again
    assert (first != other) == (name not in IN_ORDER)


@pytest.mark.parametrize(("name", "kind"), CASES)
def test_a_state_taken_at_any_generation_goes_on_exactly(name, kind):
    search = make(name, kind)

    for _ in range(6):
        state = stored(search.state_dict())
        resumed = make(name, kind)
        resumed.load_state_dict(state)
        expected = search.ask()
        assert texts(search.space, resumed.ask()) == texts(search.space, expected)
        result = score(search.space, expected)
        search.tell(expected, result)
        resumed.tell(expected, result)
        assert texts(search.space, resumed.ask()) == texts(search.space, search.ask())
        search.load_state_dict(stored(resumed.state_dict()))
        if search.is_done:
            break


@pytest.mark.parametrize(("name", "kind"), CASES)
def test_a_state_is_a_value_that_later_steps_leave_alone(name, kind):
    search = make(name, kind)
    drive(search, 2)
    state = search.state_dict()
    before = state_to_text(state)
    drive(search, 2)

    assert state_to_text(state) == before


@pytest.mark.parametrize(("name", "kind"), CASES)
def test_a_batch_told_in_part_is_learned_and_the_search_goes_on(name, kind):
    search = make(name, kind)
    for n_told in (12, 5, 1, 3):
        candidates = search.ask()[:n_told]
        search.tell(candidates, score(search.space, candidates))
        resumed = make(name, kind)
        resumed.load_state_dict(stored(search.state_dict()))
        expected = search.ask()
        assert expected
        assert texts(search.space, resumed.ask()) == texts(search.space, expected)
        # Both asked once more than they were told: start the next round from the same state.
        search = resumed
        search.load_state_dict(stored(search.state_dict()))


@pytest.mark.parametrize(("name", "kind"), CASES)
@pytest.mark.parametrize("fitness", [-np.inf, np.nan])
def test_generations_in_which_all_failed_change_nothing_for_the_worse(name, kind, fitness):
    search = make(name, kind)
    for _ in range(3):
        candidates = search.ask()
        search.tell(candidates, failed(candidates, fitness))
    drive(search, 2)
    candidates = search.ask()
    search.tell(candidates, failed(candidates, fitness))
    resumed = make(name, kind)
    resumed.load_state_dict(stored(search.state_dict()))

    assert texts(search.space, search.ask()) == texts(search.space, resumed.ask())


@pytest.mark.parametrize(("name", "kind"), CASES)
def test_single_candidates_that_failed_rank_last(name, kind):
    search = make(name, kind)
    for _ in range(6):
        candidates = search.ask()
        scored = score(search.space, candidates)
        per_draw, status = scored.per_draw.copy(), list(scored.status)
        # Every third: no number, a number although failed, infinity, or draws that did not run.
        for k in range(0, len(candidates), 3):
            per_draw[k] = (np.nan, 1e9, np.inf)[k // 3 % 3]
            status[k] = ("failed", "timeout", "ok")[k // 3 % 3]
        search.tell(candidates, evaluation(per_draw, status))
        stored(search.state_dict())

    assert search.ask() or search.is_done


@pytest.mark.parametrize(("name", "kind"), CASES)
def test_global_random_states_are_untouched_and_unread(name, kind):
    random.seed(1)
    np.random.seed(1)  # noqa: NPY002
    before = random.getstate(), np.random.get_state()  # noqa: NPY002
    first, _ = drive(make(name, kind), 4)
    after = random.getstate(), np.random.get_state()  # noqa: NPY002
    random.seed(2)
    np.random.seed(2)  # noqa: NPY002
    again, _ = drive(make(name, kind), 4)

    assert before[0] == after[0]
    assert all(np.array_equal(a, b) for a, b in zip(before[1], after[1], strict=True))
    assert first == again


@pytest.mark.parametrize(("name", "kind"), CASES)
def test_interleaved_searches_do_not_touch_each_other(name, kind):
    alone = [drive(make(name, kind, seed=seed), 4)[0] for seed in (1, 2)]
    searches = [make(name, kind, seed=seed) for seed in (1, 2)]
    asked = [[], []]
    for _ in range(4):
        batches = [search.ask() for search in searches]
        for k, (search, batch) in enumerate(zip(searches, batches, strict=True)):
            if batch:
                asked[k].append(texts(search.space, batch))
                search.tell(batch, score(search.space, batch))

    assert asked == alone


@pytest.mark.parametrize(("name", "kind"), CASES)
def test_fitness_of_another_length_is_refused(name, kind):
    search = make(name, kind)
    candidates = search.ask()

    with pytest.raises(InputError, match="candidates, but fitness of shape"):
        search.tell(candidates, evaluation(np.zeros((len(candidates) + 1, N_DRAWS))))


def score_to_learn(space, candidates):
    """Score rules by a sum whose terms help one by one, so that few evaluations tell who learns."""
    if space.kind == "genome":
        rules = score_to_learn(space.rules, [candidate.rule for candidate in candidates])
        far = np.abs(np.array([candidate.places for candidate in candidates]) - 0.8).sum(axis=1)
        return evaluation(rules.per_draw - far[:, None])
    if space.kind != "rule":
        return score(space, candidates)
    wanted = probe_values(space.decode_text("w + pre + post + w*pre"))
    missing = np.abs(np.array([probe_values(c) for c in candidates]) - wanted)
    return evaluation(-missing.reshape(len(candidates), N_DRAWS, -1).mean(axis=2))


def best_of(name, kind, seed):
    settings = {"population": 50} if kind in ("rule", "genome") else {}
    search, used, best = make(name, kind, seed=seed, **settings), 0, -np.inf
    while used < BUDGET[kind] and (candidates := search.ask()[: BUDGET[kind] - used]):
        scored = score_to_learn(search.space, candidates)
        search.tell(candidates, scored)
        used, best = used + len(candidates), max(best, float(scored.fitness.max()))
    return best


def best_of_sample(seed):
    """Return the best of random formulas, which no search of other spaces proposes."""
    space = SPACES["formula"]()
    sample = space.sample(np.random.default_rng(seed), BUDGET["formula"])
    return float(score(space, sample).fitness.max())


@pytest.fixture(scope="module")
def random_best():
    kinds = CLASSES["random"].space_kinds
    found = {kind: [best_of("random", kind, seed) for seed in range(5)] for kind in kinds}
    found["formula"] = [best_of_sample(seed) for seed in range(5)]
    return {kind: np.median(best) for kind, best in found.items()}


@pytest.mark.parametrize(("name", "kind"), CASES)
def test_a_search_that_learns_beats_random_search(name, kind, random_best):
    if name in (*IN_ORDER, "random"):
        pytest.skip("does not learn")
    if (name, kind) == ("nmcs", "rule"):
        pytest.skip("no better than random search on rules, as its documentation says")
    found = np.median([best_of(name, kind, seed) for seed in range(5)])

    assert found > random_best[kind] or found == 0.0


@pytest.mark.parametrize("name", CLASSES)
def test_unknown_settings_are_refused_with_the_nearest_name(name):
    kind = CLASSES[name].space_kinds[0]

    with pytest.raises(InputError) as caught:
        CLASSES[name](SPACES[kind](), populatoin=3)
    message = str(caught.value)
    assert "'populatoin'" in message
    assert "Did you mean 'population'?" in message
    assert "\n" not in message


@pytest.mark.parametrize("name", CLASSES)
def test_settings_out_of_range_say_what_is_allowed_in_one_sentence(name):
    kind = CLASSES[name].space_kinds[0]

    with pytest.raises(InputError, match=f"search '{name}': population") as caught:
        CLASSES[name](SPACES[kind](), population=-1)
    assert "\n" not in str(caught.value)
    assert "greater than or equal to" in str(caught.value)


@pytest.mark.parametrize("name", CLASSES)
def test_spaces_of_another_kind_and_negative_seeds_are_refused(name):
    for kind, space in SPACES.items():
        if kind not in CLASSES[name].space_kinds:
            with pytest.raises(InputError, match="does not search spaces of kind") as caught:
                CLASSES[name](space())
            able = str(caught.value).rpartition("these do: ")[2].rstrip(".").split(", ")
            registered = {n for n in SEARCHES.names() if kind in SEARCHES.get(n).space_kinds}
            assert set(able) == registered
    with pytest.raises(InputError, match="seed is -1"):
        CLASSES[name](SPACES[CLASSES[name].space_kinds[0]](), seed=-1)


def test_every_setting_has_a_description():
    for search_class in CLASSES.values():
        for field, info in search_class.Settings.model_fields.items():
            assert info.description, f"{search_class.name}: {field}"
