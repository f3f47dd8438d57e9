"""Forms of genetic programming: NSGA-II, age-fitness Pareto, steady state, islands."""

from __future__ import annotations

import math

import numpy as np
import pytest
from search_problems import SPACES, drive, evaluation, score, stored, texts

from evosearch.errors import InputError
from evosearch.search.base import SEARCHES
from evosearch.search.gp_afpo import pareto_tournaments
from evosearch.search.gp_islands import island_seed
from evosearch.search.pareto import crowded_order, crowding_distances, front_numbers
from evosearch.search.semantics import semantic_key

OFF = {f"p_{name}": 0.0 for name in ("crossover", "subtree", "point", "hoist", "constant")}


@pytest.fixture
def rng():
    return np.random.default_rng(8)


def make(name, seed=1, **settings):
    return SEARCHES.get(name)(SPACES["rule"](), seed=seed, **settings)


def generation(search):
    """Ask, score and tell once; return the rules and what they scored."""
    rules = search.ask()
    scored = score(search.space, rules)
    search.tell(rules, scored)
    return rules, scored.fitness


def points_of(members):
    """Return (fitness, size, text) of members, sorted, so that they compare as a set."""
    return sorted((member.fitness, len(member), str(member.rule)) for member in members)


def scored_points(rules, fitness):
    """Return (fitness, size, text) of rules that have a fitness."""
    return [
        (float(f), r.size, str(r)) for r, f in zip(rules, fitness, strict=True) if math.isfinite(f)
    ]


def is_better(a, b):
    """Return whether point a dominates b, by the definition; gain first, then cost."""
    return a[0] >= b[0] and a[1] <= b[1] and a[:2] != b[:2]


def peeled(points):
    """Return the front of each point: peel off who nobody dominates, again and again."""
    fronts, left = [0] * len(points), set(range(len(points)))
    number = 0
    while left:
        front = {k for k in left if not any(is_better(points[j], points[k]) for j in left)}
        for k in front:
            fronts[k] = number
        left, number = left - front, number + 1
    return fronts


def crowding(points):
    """Return the crowding distances of a front as Deb et al. write them, loop by loop."""
    distances = [0.0] * len(points)
    for m in range(2):
        order = sorted(range(len(points)), key=lambda k: points[k][m])
        span = points[order[-1]][m] - points[order[0]][m]
        distances[order[0]] = distances[order[-1]] = math.inf
        for i in range(1, len(points) - 1):
            gap = points[order[i + 1]][m] - points[order[i - 1]][m]
            distances[order[i]] += gap / span if span else 0.0
    return distances


@pytest.mark.parametrize("n_values", [3, 10, 1000])
def test_fronts_are_those_that_peeling_by_the_definition_finds(n_values, rng):
    for n in (0, 1, 2, 7, 60):
        gains, costs = rng.integers(0, n_values, (2, n)).astype(float)

        assert front_numbers(gains, costs).tolist() == peeled(list(zip(gains, costs, strict=True)))


def test_fronts_and_distances_are_those_of_deap(rng):
    from deap.base import Fitness
    from deap.tools import selNSGA2, sortNondominated

    two = type("Two", (Fitness,), {"weights": (1.0, -1.0)})
    one = type("One", (), {"__init__": lambda self, values: setattr(self, "fitness", two(values))})
    gains = rng.normal(size=120)
    costs = rng.integers(1, 31, 120).astype(float)
    points = [one(values) for values in zip(gains, costs, strict=True)]
    position = {id(point): k for k, point in enumerate(points)}

    theirs = [{position[id(p)] for p in front} for front in sortNondominated(points, 120)]
    ours = front_numbers(gains, costs)
    assert [set(np.flatnonzero(ours == k).tolist()) for k in range(len(theirs))] == theirs
    for k in (1, 30, 60, 119):
        chosen = {position[id(p)] for p in selNSGA2(points, k)}
        kept = set(crowded_order(gains, costs)[:k].tolist())
        # At the cut only points of equal front and distance may differ: the two ends of a front.
        for here, there in zip(sorted(kept - chosen), sorted(chosen - kept), strict=True):
            assert ours[here] == ours[there]
            assert points[here].fitness.crowding_dist == math.inf
            assert points[there].fitness.crowding_dist == math.inf
    front = np.flatnonzero(ours == 1)
    by_front = np.stack([gains[front], costs[front]], axis=1)
    expected = [2 * points[k].fitness.crowding_dist for k in front.tolist()]
    np.testing.assert_allclose(crowding_distances(by_front), expected)


def test_survivors_of_nsga2_are_those_of_a_plain_loop():
    search = make("gp-nsga2", population=30)
    pool = []
    for _ in range(8):
        pool = points_of(search.best(30)) + scored_points(*generation(search))
        fronts = peeled(pool)
        distances = [0.0] * len(pool)
        for number in set(fronts):
            members = [k for k, front in enumerate(fronts) if front == number]
            for k, distance in zip(members, crowding([pool[k] for k in members]), strict=True):
                distances[k] = distance
        kept = points_of(search.best(1000))

        assert len(kept) == min(30, len(pool))
        worst = max(fronts[pool.index(point)] for point in kept)
        assert all(p in kept for p, front in zip(pool, fronts, strict=True) if front < worst)
        last = [k for k, front in enumerate(fronts) if front == worst]
        stay = [distances[k] for k in last if pool[k] in kept]
        leave = [distances[k] for k in last if pool[k] not in kept]
        # Rules of equal fitness and size share a place, and which is crowded is by their order.
        if len({pool[k][:2] for k in last}) == len(last):
            assert min(stay) >= max(leave, default=-math.inf)
    assert len(pool) > 30


def test_nsga2_never_loses_the_best_rule_of_a_size():
    search = make("gp-nsga2", population=40, seed=3)
    seen = []
    for _ in range(10):
        seen += scored_points(*generation(search))
        front = {p[:2] for p in seen if not any(is_better(q, p) for q in seen)}

        assert front <= {p[:2] for p in points_of(search.best(1000))}


def test_nsga2_selects_the_better_of_two_by_front_and_distance():
    search = make("gp-nsga2", population=20)
    for _ in range(3):
        generation(search)
    ranked, n = search.best(20), 20_000
    drawn = search._select(n)
    counts = np.array([sum(m is member for m in drawn) for member in ranked])

    # Of two draws among m the better one is number k with probability (2 (m - k) - 1) / m^2.
    expected = n * (2 * (20 - np.arange(20)) - 1) / 20**2
    assert ((counts - expected) ** 2 / expected).sum() < 43.8  # chi-squared, 19 degrees, p = 0.001


def test_tournaments_leave_every_front_and_remove_only_who_is_beaten(rng):
    for n_values, n in ((4, 5), (1000, 20), (1000, 59), (2, 1)):
        fitness = rng.integers(0, n_values, 60).astype(float)
        origins = rng.integers(0, 12, 60)
        left = pareto_tournaments(fitness, origins, n, rng).tolist()
        points = list(zip(fitness.tolist(), (-origins).tolist(), strict=True))
        front = {p for p in points if not any(is_better(q, p) for q in points)}

        assert len(left) == max(n, len(front))
        assert front <= {points[k] for k in left}
        for k in set(range(60)) - set(left):
            assert any(points[j] == points[k] or is_better(points[j], points[k]) for j in left)


def test_tournaments_are_random_among_the_dominated(rng):
    fitness, origins = np.arange(10.0), np.zeros(10, dtype=np.int64)
    outcomes = [pareto_tournaments(fitness, origins, 5, rng).tolist() for _ in range(2000)]
    share = np.bincount(np.concatenate(outcomes), minlength=10) / 2000

    # One round halves the ten: number k meets each of the nine others alike, and k are worse.
    np.testing.assert_allclose(share, np.arange(10) / 9, atol=0.045)


def test_without_newcomers_all_rules_are_as_old_as_the_search():
    search = make("gp-afpo", population=30, immigrants=0.0, tune_constants=0.4)
    for n in range(1, 7):
        generation(search)

        assert set(search.ages.values()) == {n}


@pytest.mark.parametrize("operator", ["crossover", "point"])
def test_ages_follow_the_oldest_parent_that_gave_something(operator, monkeypatch):
    search = make("gp-afpo", population=40, tune_constants=0.0, **{**OFF, f"p_{operator}": 1.0})
    note, log = search._note_descent, []

    def logged(child, used, first, second):
        assert used == operator
        log.append((child, first.rule, second.rule))
        note(child, used, first, second)

    monkeypatch.setattr(search, "_note_descent", logged)
    born = {}
    for n in range(8):
        log.clear()
        rules, _ = generation(search)
        made = {rule: parents for rule, *parents in reversed(log)}
        for rule in rules:
            parents = made.get(rule, [])[: 2 if operator == "crossover" else 1]
            born[rule] = min((born[parent] for parent in parents), default=n)

        assert search.ages
        assert search.ages == {m.rule: n + 1 - born[m.rule] for m in search.best(1000)}
    assert len(set(search.ages.values())) > 2


def test_a_young_rule_stays_beside_better_old_ones_and_age_alone_is_no_merit():
    search = make("gp-afpo", population=10, immigrants=1.0, tune_constants=0.0)
    for fitness in (1.0, 0.9, 0.8, 0.5, 0.4):
        rules = search.ask()
        search.tell(rules, evaluation(np.full((len(rules), 1), fitness)))
    kept = {(member.fitness, search.ages[member.rule]) for member in search.best(1000)}

    assert {(1.0, 5), (0.9, 4), (0.8, 3), (0.5, 2), (0.4, 1)} <= kept
    rules = search.ask()
    search.tell(rules, evaluation(np.full((len(rules), 1), 2.0)))
    # All others are older and worse now: they are there only to fill the population.
    assert sum(member.fitness == 2.0 for member in search.best(1000)) >= 1
    assert len(search.best(1000)) == 10


@pytest.mark.parametrize("setting", [{"survivors": "children"}, {"rescore": True}])
def test_settings_that_hide_age_are_refused(setting):
    with pytest.raises(InputError, match=r"search 'gp-afpo': .* must be"):
        make("gp-afpo", **setting)


@pytest.mark.parametrize("survivors", ["children", "best"])
def test_a_batch_replaces_the_worst_members(survivors):
    search = make("gp-steady", population=7, living=30, survivors=survivors)
    sizes = []
    for _ in range(12):
        before = points_of(search.best(1000))
        rules, fitness = generation(search)
        told = scored_points(rules, fitness)
        pool = before + told if survivors == "best" else before
        n_kept = 30 if survivors == "best" else 30 - len(told)
        # Fitness and size alone: which of two that are equal in both stays is not laid down.
        kept = sorted(p[:2] for p in sorted(pool, key=lambda p: (-p[0], p[1]))[:n_kept])
        expected = kept if survivors == "best" else sorted(kept + [p[:2] for p in told])

        assert [p[:2] for p in points_of(search.best(1000))] == expected
        sizes.append(len(rules))
    assert sizes == [7, 7, 7, 7, 2, *[7] * 7]


def test_a_member_that_is_scored_again_counts_as_it_scored_last():
    search = make("gp-steady", population=10, living=30, elite=3, rescore=True)
    for _ in range(5):
        generation(search)
    best = [member.rule for member in search.best(3)]
    rules = search.ask()
    search.tell(rules, evaluation(-10.0 - np.arange(float(len(rules)))[:, None]))
    held = [member for member in search.best(1000) if member.rule in best]

    assert rules[:3] == best
    assert sorted(member.fitness for member in held) == [-12.0, -11.0, -10.0]


def test_steady_and_islands_refuse_what_leaves_no_room():
    with pytest.raises(InputError, match="population is 300; it must be at most living, 200"):
        make("gp-steady", population=300)
    with pytest.raises(InputError, match="islands is 5; it must be at most population, 4"):
        make("gp-islands", population=4, islands=5)


def test_best_survivors_of_gp_are_those_of_mu_plus_lambda():
    search = make("gp", population=25, survivors="best")
    for _ in range(6):
        pool = points_of(search.best(1000))
        pool += scored_points(*generation(search))
        best = sorted(pool, key=lambda p: (-p[0], p[1]))[:25]

        assert [p[:2] for p in points_of(search.best(1000))] == sorted(p[:2] for p in best)


def test_one_island_proposes_what_gp_does():
    settings = {"population": 30, "seed": 5, "start": ("w", "pre*post")}

    assert drive(make("gp-islands", islands=1, **settings), 8) == drive(make("gp", **settings), 8)


def test_islands_that_share_nothing_are_populations_of_gp():
    settings = {"skip_equal": False, "small_first": 0.0}
    search = make("gp-islands", seed=2, islands=3, population=32, migrants=0, elite=7, **settings)
    shares = ((11, 3, 2), (11, 2, 1), (10, 2, 1))  # of 32 rules, 7 of the elite, 4 tuned
    alone = [
        make("gp", seed=island_seed(2, k), population=n, elite=elite, n_tuned=tuned, **settings)
        for k, (n, elite, tuned) in enumerate(shares)
    ]
    for _ in range(7):
        rules, _ = generation(search)
        assert rules == [rule for single in alone for rule in generation(single)[0]]


def test_the_best_migrate_along_the_ring_all_at_once():
    search = make("gp-islands", population=40, islands=4, migrate_every=3, migrants=2)
    search._migrate = lambda: None
    for n in range(1, 7):
        generation(search)
        homes = [island.best(1000) for island in search._islands]
        if n % 3:
            continue
        type(search)._migrate(search)
        for k, island in enumerate(search._islands):
            guests = sorted(homes[k - 1], key=lambda m: (-m.fitness, len(m)))[:2]
            known = {member.rule for member in homes[k]}
            new = [member for member in guests if member.rule not in known]

            assert points_of(island.best(1000)) == points_of(homes[k] + new)
            assert n > 3 or len(new) == 2


def test_migration_comes_every_few_generations():
    search = make("gp-islands", population=40, islands=4, migrate_every=3)
    moved = []
    search._migrate = lambda: moved.append(search._n_generations)
    for _ in range(10):
        generation(search)

    assert moved == [3, 6, 9]


def test_no_function_is_asked_twice_on_any_island():
    search = make("gp-islands", population=60, islands=4, start=("w", "pre", "post"))
    keys = [semantic_key(rule) for _ in range(10) for rule in generation(search)[0]]

    assert len(set(keys)) == len(keys) > 500


def test_each_island_learns_from_its_own_rules_where_a_batch_is_told_in_part():
    search = make("gp-islands", population=40, islands=4)
    rules = search.ask()
    search.tell(rules[:15], score(search.space, rules[:15]))
    members = [{m.rule for m in island.best(1000)} for island in search._islands]

    assert members[0] == set(rules[:10])
    assert members[1] <= set(rules[10:15])
    assert members[1]
    assert not members[2] | members[3]


@pytest.mark.parametrize("name", ["gp-nsga2", "gp-afpo", "gp-steady", "gp-islands"])
def test_a_resumed_search_goes_on_exactly_for_many_generations(name):
    settings = {"population": 24, "start": ("w",)}
    settings |= {"gp-steady": {"living": 50}, "gp-islands": {"migrate_every": 3}}.get(name, {})
    search = make(name, **settings)
    drive(search, 4)
    resumed = make(name, **settings)
    resumed.load_state_dict(stored(search.state_dict()))

    assert drive(resumed, 9) == drive(search, 9)
    if name == "gp-afpo":
        assert resumed.ages == search.ages
    assert texts(search.space, resumed.ask()) == texts(search.space, search.ask())
