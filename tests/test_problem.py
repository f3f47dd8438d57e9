"""Problems: disjoint draws that are the same for everyone, scores that no batch changes."""

import itertools

import numpy as np
import pytest

from evosearch.errors import EvosearchError, InputError, RunError
from evosearch.evaluation import Evaluator
from evosearch.problem import Draws, list_problems, load_problem
from evosearch.rules.rule import Rule
from evosearch.tasks.base import draw_rng

NAMES = [info.name for info in list_problems()]
OF_RULES = [name for name in NAMES if load_problem(name).kind == "rule"]
OF_VECTORS = [name for name in NAMES if name not in OF_RULES]
SMALL = {"task.steps": "30"}
SLOW_KNOWN = (
    "circuit_dfa", "circuit_fa", "deep_random_feedback", "feedback_plasticity", "oja_digits",
    "online_digits", "online_mnist", "xor_parity",
)  # fmt: skip


@pytest.fixture(scope="module")
def problem():
    return load_problem("oja_pc1", preset="quick", overrides=SMALL)


def numbers_of(draws, *stream):
    return [draw_rng(key, *stream).integers(2**63, size=2).tobytes() for key in draws.keys]


@pytest.mark.parametrize("name", NAMES)
def test_draws_of_splits_seeds_and_generations_are_disjoint(name):
    problem = load_problem(name, preset="quick", overrides={"splits.search.is_fresh": "true"})
    sets = [problem.draws(split, count=40) for split in problem.splits if split != "search"]
    for seed, generation in itertools.product(
        (0, 1, 2, 2**31, 2**32, 2**32 + 1, 2**63 - 1), (0, 1, 2)
    ):
        sets.append(problem.draws("search", run_seed=seed, generation=generation, count=40))
    numbers = [number for draws in sets for number in numbers_of(draws)]
    assert len(set(numbers)) == len(numbers) == 40 * len(sets)
    assert len({draws.digest for draws in sets}) == len(sets)


def test_held_out_draws_are_the_same_for_every_run_and_setting(problem):
    other = load_problem("oja_pc1", overrides={"rule.eta": "0.3", "splits.search.draws": "3"})
    for split in ("validation", "test"):
        assert problem.draws(split, run_seed=5, generation=9) == problem.draws(split)
        assert problem.draws(split, count=3).keys == other.draws(split, count=3).keys
        assert problem.draws(split, count=3).keys == problem.draws(split, count=5).keys[:3]


def test_frozen_draws_stay_and_fresh_ones_change():
    for is_fresh in (False, True):
        overrides = {"splits.search.is_fresh": str(is_fresh).lower()}
        problem = load_problem("oja_pc1", preset="quick", overrides=overrides)
        first, second = (problem.draws("search", run_seed=1, generation=g) for g in (1, 2))
        assert (first != second) == is_fresh
        assert problem.draws("search", run_seed=1, generation=1) == first
        assert problem.draws("search", run_seed=2, generation=1) != first


def test_the_seed_of_a_problem_changes_its_held_out_draws_only(problem):
    other = load_problem("oja_pc1", preset="quick", overrides={"seed": "1"})
    assert other.draws("test") != problem.draws("test")
    assert other.draws("search") == problem.draws("search")


def test_an_unknown_split_is_answered_with_the_nearest(problem):
    with pytest.raises(InputError, match="'test'"):
        problem.draws("tests")


def test_splits_change_settings_and_step_size():
    changes = {"splits.test.steps": "7", "splits.test.eta": "0.001", "task.steps": "5"}
    problem = load_problem("oja_pc1", preset="quick", overrides=changes)
    assert problem.task("search").settings.steps == 5
    assert problem.task("test").settings.steps == 7
    assert problem.step_size("test") == 0.001
    assert problem.step_size("search") == problem.rule.eta
    rule, count = problem.read("pre*post"), 3
    lived = [
        problem.score([rule], [1.0], problem.draws(split, count=count)).lived.synapse_updates
        for split in ("search", "test")
    ]
    assert lived[0] * 7 == lived[1] * 5


@pytest.mark.parametrize("name", OF_VECTORS)
def test_scores_of_vectors_depend_on_neither_the_block_nor_the_other_draws(name):
    problem = load_problem(name, preset="quick")
    draws = problem.draws("search", count=3)
    try:
        problem.prepare(draws)
    except InputError as error:
        pytest.skip(str(error))
    space, rng = problem.space(), np.random.default_rng(0)
    points = space.x0 + space.sigma0 * rng.standard_normal((37, space.dimension))
    whole = problem.score(points, np.ones(37), draws)
    assert np.isfinite(whole.per_draw).all()
    for part in (slice(0, 1), slice(36, 37), slice(5, 21)):
        some = problem.score(points[part], np.ones(len(points[part])), draws)
        assert np.array_equal(some.per_draw, whole.per_draw[part])
        assert np.array_equal(some.fitness, whole.fitness[part])
    alone = problem.score(points, np.ones(37), Draws("search", draws.keys[2:]))
    assert np.array_equal(alone.per_draw[:, 0], whole.per_draw[:, 2])


@pytest.mark.parametrize("name", OF_RULES)
def test_scores_depend_on_neither_the_batch_nor_its_order(name):
    problem = load_problem(name, preset="quick")
    draws = problem.draws("search", count=3)
    texts = ["pre*post", "w - w", "pre - w", "pre*post - w", "post*post*w"]
    if name == "discrete_table" or not {"w", "pre", "post"} <= {t.name for t in problem.terminals}:
        texts = [rule.text for rule in problem.known.values()]
    if name == "regression":
        texts = ["x", "x*x", "exp(x) - x", "sin(x)", "2"]
    rules = [problem.read(text) for text in texts]
    whole = problem.score(rules, np.ones(len(rules)), draws)
    order = np.random.default_rng(0).permutation(len(rules))
    mixed = problem.score([rules[k] for k in order], np.ones(len(rules)), draws)
    assert np.array_equal(mixed.per_draw, whole.per_draw[order])
    for k, rule in enumerate(rules[:2]):
        alone = problem.score([rule], [1.0], draws)
        assert np.array_equal(alone.per_draw[0], whole.per_draw[k])
        assert alone.fitness[0] == whole.fitness[k]
        assert alone.exploded[0] == whole.exploded[k]
    twice = problem.score([rules[0]] * 3, [1.0, 0.5, 1.0], draws)
    assert np.array_equal(twice.per_draw[0], twice.per_draw[2])
    assert np.array_equal(twice.per_draw[0], whole.per_draw[0])


@pytest.mark.parametrize("name", OF_RULES)
def test_a_draws_score_depends_on_no_other_draw(name):
    problem = load_problem(name, preset="quick")
    rule = problem.known.get(problem.ceiling) or next(iter(problem.known.values()))
    draws = problem.draws("test", count=4)
    whole = problem.score([rule], [1.0], draws).per_draw[0]
    for k in (0, 3):
        alone = problem.score([rule], [1.0], Draws("test", draws.keys[k : k + 1]))
        assert alone.per_draw[0, 0] == whole[k]


@pytest.mark.parametrize(
    ("aggregate", "function"), [("mean", np.mean), ("min", np.min), ("median", np.median)]
)
def test_draws_are_aggregated_as_the_problem_says(aggregate, function):
    problem = load_problem("oja_pc1", overrides={**SMALL, "aggregate": aggregate})
    chunk = problem.score([problem.known["oja"]], [1.0], problem.draws("search", count=5))
    assert chunk.fitness[0] == function(chunk.per_draw[0])


def test_known_rules_score_the_same_in_an_absolute_problem(problem):
    absolute = load_problem("oja_pc1", preset="quick", overrides={**SMALL, "rule.form": "absolute"})
    draws = problem.draws("test", count=4)
    for name, rule in problem.known.items():
        other = absolute.known[name]
        first = problem.score([rule], [1.0], draws)
        second = absolute.score([other], [1.0], draws)
        assert np.array_equal(first.per_draw, second.per_draw), name


def test_rules_of_an_absolute_problem_are_the_new_weight():
    """With eta = 1, w + f written out as the new weight ends where the increment f does."""
    overrides = {**SMALL, "rule.eta": "1.0", "rule.dtype": "float64"}
    increment = load_problem("oja_pc1", preset="quick", overrides=overrides)
    absolute = load_problem(
        "oja_pc1", preset="quick", overrides={**overrides, "rule.form": "absolute"}
    )
    draws = increment.draws("search", count=4)
    step = increment.space("tree").decode(
        increment.space("tree").decode_text("0.02*(post*(pre - post*w))")
    )
    space = absolute.space("tree")
    whole = space.decode(space.decode_text("w + 0.02*(post*(pre - post*w))"))
    assert list(whole.parts) != list(step.parts)
    first = increment.score([step], [1.0], draws).per_draw
    second = absolute.score([whole], [1.0], draws).per_draw
    assert np.allclose(first, second, rtol=1e-9)
    wrong = absolute.score([whole], [0.1], draws).per_draw
    assert np.array_equal(wrong, second)  # no step size enters


@pytest.mark.parametrize("text", ["w + 0.01*pre*post", "w*0.5", "pre"])
def test_an_absolute_rule_is_read_again_from_its_text(text):
    absolute = load_problem("oja_pc1", preset="quick", overrides={**SMALL, "rule.form": "absolute"})
    space = absolute.space("tree")
    rule = space.decode(space.decode_text(text))
    again = absolute.read(rule.text)
    assert again == rule
    draws = absolute.draws("search", count=3)
    scores = absolute.score([rule, again], [1.0, 1.0], draws).per_draw
    assert np.array_equal(scores[0], scores[1])


def test_an_absolute_problem_runs_stops_and_resumes(tmp_path, monkeypatch):
    import signal

    from evosearch.execution import execute, resume

    monkeypatch.setattr("evosearch.rules.simplify.simplify", lambda rule, **options: rule)
    overrides = {**SMALL, "rule.form": "absolute", "searches.gp.population": "15"}
    problem = load_problem("oja_pc1", preset="quick", overrides=overrides)

    def interrupt(run, generation):
        signal.raise_signal(signal.SIGINT)

    whole = execute(problem, "gp", budget=60, workers=1, out=tmp_path / "whole")
    run = execute(problem, "gp", budget=60, workers=1, out=tmp_path, callbacks=[interrupt])
    while not run.is_finished:
        run = resume(run.path, workers=1, callbacks=[interrupt])
    assert run.digest == whole.digest
    assert run.champion == whole.champion
    assert whole.baselines["oja"] is not None


def test_a_rule_reads_only_what_the_task_offers(problem):
    with pytest.raises(InputError, match="'pre'"):
        problem.read("prre*post")
    with pytest.raises(EvosearchError, match="target"):
        problem.score([Rule("target*pre")], [1.0], problem.draws("search", count=2))


def test_a_search_that_does_not_fit_is_refused_with_those_that_do(problem):
    for call in (problem.search_settings, problem.default_budget, problem.representation):
        with pytest.raises(InputError, match=r"'exhaustive' does not search what .*: .*gp, "):
            call("exhaustive")


def test_a_search_without_a_section_gets_the_default_searchs_budget(problem):
    assert "beam" not in problem.config.searches
    assert problem.default_budget("beam") == problem.default_budget(problem.default_search)
    assert problem.representation("beam") == "tree"
    assert problem.search_settings("beam") == {}


def test_setting_a_search_that_the_file_does_not_name_leaves_it_the_usual_budget(problem):
    changes = {"searches.beam.population": "7", "searches.snes.population": "8"}
    changes["searches.gp.budget"] = "123"
    changed = load_problem("delta_rule", overrides=changes)
    assert changed.search_settings("beam") == {"population": 7}
    assert (changed.default_budget("beam"), changed.representation("beam")) == (123, "tree")
    assert changed.representation("snes") == "coefficients"
    own = load_problem("delta_rule", overrides={"searches.beam.budget": "9"})
    assert (own.default_budget("beam"), own.representation("beam")) == (9, "tree")
    with pytest.raises(InputError, match=r"'beamm'\. Did you mean 'beam'"):
        load_problem("delta_rule", overrides={"searches.beamm.population": "7"})
    with pytest.raises(InputError, match=r"searches\.beam\.popul is an unknown key"):
        load_problem("delta_rule", overrides={"searches.beam.popul": "7"})


def test_only_a_problem_that_reads_a_file_has_a_hash_of_it(problem, tmp_path):
    assert problem.data_hash() == ""
    tables = [tmp_path / "a.csv", tmp_path / "b.csv", tmp_path / "c.csv"]
    for path, last in zip(tables, ("3,9", "3,9", "3,8"), strict=True):
        path.write_text(f"x,y\n1,1\n2,4\n0,0\n4,16\n5,25\n{last}\n")
    a, b, c = (load_problem("regression", overrides={"task.file": str(p)}).data_hash()
               for p in tables)  # fmt: skip
    assert a == b != c


USER = """
schema = 1
name = "mine"
default_search = "random"
[task]
kind = "{kind}"
{settings}
[rule]
terminals = ["w", "pre"]
[splits.search]
draws = 2
[splits.validation]
draws = 2
[splits.test]
draws = 2
level = 5.0
[searches.random]
budget = 4
"""
CODE = """
def score(candidate, rng, level=1.0):
    return level + candidate(w=0.0, pre=rng.random())


class Group:
    inner = staticmethod(score)


number = 5
"""


def user_problem(folder, kind, settings="", code=CODE, module="task_of_mine.py"):
    (folder / module).write_text(code)
    file = folder / "mine.toml"
    file.write_text(USER.format(kind=kind, settings=settings))
    return load_problem(file)


def first_fitness(problem, split="search"):
    with Evaluator(problem, workers=1, backend="sequential") as evaluator:
        return evaluator.evaluate([problem.read("0*w")], problem.draws(split))


@pytest.mark.parametrize(
    "kind", ["a_task.py:score", "a_task_module:score", "b_task.py:Group.inner"]
)
def test_a_users_task_is_found_beside_the_file(kind, tmp_path):
    source = kind.partition(":")[0]
    module = source if source.endswith(".py") else f"{source}.py"
    problem = user_problem(tmp_path, kind, module=module)
    assert not problem.is_compiled
    assert len(problem.source_hash()) == 64
    assert first_fitness(problem).fitness.tolist() == [1.0]
    assert first_fitness(problem, "test").fitness.tolist() == [5.0]


def test_settings_go_to_the_users_function(tmp_path):
    problem = user_problem(tmp_path, "c_task.py:score", "level = 2.0", module="c_task.py")
    assert first_fitness(problem).fitness.tolist() == [2.0]
    assert first_fitness(problem, "test").fitness.tolist() == [5.0]


def test_a_setting_that_the_function_does_not_take_costs_the_candidates(tmp_path):
    problem = user_problem(tmp_path, "d_task.py:score", "lvel = 2.0", module="d_task.py")
    found = first_fitness(problem)
    assert found.status == ("failed",)
    assert "lvel" in found.messages[0]


@pytest.mark.parametrize(
    ("kind", "code", "error", "words"),
    [
        ("e1_missing.py:score", None, InputError, ["no file", "e1_missing.py"]),
        ("e2_missing_module:score", None, InputError, ["no module", "e2_missing_module"]),
        ("e3_task.py:scor", CODE, InputError, ["no 'scor'", "'score'"]),
        ("e4_task.py:Group.iner", CODE, InputError, ["Group.iner"]),
        ("e5_task.py:number", CODE, InputError, ["cannot be called"]),
        ("e6_task.py:score", "def score(:", RunError, ["e6_task.py", "SyntaxError"]),
        ("e7_task.py:score", "1/0", RunError, ["e7_task.py", "ZeroDivisionError"]),
        ("e8_task.py:score", "import no_such_thing_at_all", RunError, ["no_such_thing_at_all"]),
        ("e9_task.py:", CODE, InputError, ["e9_task.py"]),
        (":score", None, InputError, [":score"]),
        ("../e10_task.py:score", None, InputError, ["no file"]),
    ],
)
def test_a_users_task_that_cannot_be_loaded_is_one_sentence(kind, code, error, words, tmp_path):
    folder = tmp_path / "problem"
    folder.mkdir()
    module = kind.partition(":")[0]
    if code is None:
        module = "unused.py"
    problem = user_problem(folder, kind, code=code or "", module=module)
    with pytest.raises(error) as caught:
        problem.python_task("search")
    message = str(caught.value)
    assert "\n" not in message
    for word in words:
        assert word in message, message


def test_a_run_of_a_task_that_cannot_be_loaded_is_refused_at_once(tmp_path):
    from evosearch import api

    user_problem(tmp_path, "f_task.py:scor", module="f_task.py")
    with pytest.raises(EvosearchError, match="'score'"):
        api.run(tmp_path / "mine.toml", out=tmp_path / "runs", workers=1)
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("name", OF_RULES)
def test_the_ceiling_is_above_the_floor_on_the_draws_that_choose(name):
    problem = load_problem(name)
    if not problem.floor or not problem.ceiling or name in SLOW_KNOWN:
        pytest.skip("no rules at both ends, or a minute's work")
    rules = [problem.known_candidate(end) for end in (problem.floor, problem.ceiling)]
    if None in rules:
        pytest.skip("one of them is a figure")
    draws = problem.draws("validation", count=8)
    try:
        problem.prepare(draws)
    except InputError as error:
        pytest.skip(str(error))
    with Evaluator(problem, workers=1) as evaluator:
        found = evaluator.evaluate(rules, draws, scales=problem.eta_factors)
    floor, ceiling = found.fitness
    assert floor < ceiling
