"""Symbolic regression as a problem: its formulas, its rows, and files of the user's."""

import gzip
import math

import numpy as np
import pytest

import evosearch
from evosearch.errors import InputError
from evosearch.problem import load_problem
from evosearch.tasks.regression_csv import read_csv
from evosearch.tasks.regression_formulas import FORMULAS
from evosearch.tasks.rows import WORST

COS = "sin({} + 1.5707963267948966)"
# Each formula once more, in the language of rules; the protected functions do not matter there.
TEXTS = {
    "nguyen-1": "x + x*x + x*x*x",
    "nguyen-2": "x*(1 + x*(1 + x*(1 + x)))",
    "nguyen-3": "x*(1 + x*(1 + x*(1 + x*(1 + x))))",
    "nguyen-4": "x*(1 + x*(1 + x*(1 + x*(1 + x*(1 + x)))))",
    "nguyen-5": f"sin(x*x)*{COS.format('x')} - 1",
    "nguyen-6": "sin(x) + sin(x + x*x)",
    "nguyen-7": "log((x + 1)*(x*x + 1))",
    "nguyen-8": "sqrt(x)",
    "nguyen-9": "sin(x) + sin(y*y)",
    "nguyen-10": f"2*sin(x)*{COS.format('y')}",
    "nguyen-11": "exp(y*log(x))",
    "nguyen-12": "x*x*x*x - x*x*x + 0.5*y*y - y",
    "pagie-1": "square(square(x))/(1 + square(square(x))) + 1 - 1/(1 + square(square(y)))",
    "vladislavleva-4": "10/(5 + " + " + ".join(f"square(x{k} - 3)" for k in range(1, 6)) + ")",
    "feynman-I.6.20": "0.3989422804014327*exp(-0.5*square(theta/sigma))/sigma",
    "feynman-I.8.14": "sqrt(square(x2 - x1) + square(y2 - y1))",
    "feynman-I.12.2": "0.07957747154594767*q1*q2/(epsilon*r*r)",
    "feynman-I.16.6": "(u + v)/(1 + u*v/(c*c))",
    "feynman-I.24.6": "0.25*m*x*x*(omega*omega + omega0*omega0)",
    "feynman-I.27.6": "1/(1/d1 + n/d2)",
    "feynman-I.29.16": "sqrt(x1*x1 + x2*x2 - 2*x1*x2*" + COS.format("(theta1 - theta2)") + ")",
    "feynman-I.40.1": "n0*exp(-(m*g*x)/(k*T))",
    "feynman-I.50.26": f"x1*({COS.format('omega*t')} + alpha*square({COS.format('omega*t')}))",
    "feynman-II.11.28": "1 + n*alpha/(1 - n*alpha/3)",
}


def loaded(**task):
    return load_problem("regression", overrides={f"task.{k}": str(v) for k, v in task.items()})


def test_there_are_fifteen_standard_formulas_and_ten_of_physics():
    assert len(FORMULAS) == 24 + 1
    assert sum(name.startswith("feynman") for name in FORMULAS) == 10
    assert set(TEXTS) == set(FORMULAS) - {"keijzer-6"}


@pytest.mark.parametrize("name", TEXTS)
def test_the_formula_written_down_fits_held_out_rows(name):
    problem = loaded(formula=name)
    chunk = problem.score([problem.read(TEXTS[name])], [1.0], problem.draws("test"))
    assert -1e-24 < chunk.fitness[0] <= 0
    assert chunk.metrics["r2"][0] == pytest.approx(1.0)


def test_harmonic_numbers_are_summed():
    rows = loaded(formula="keijzer-6").task("search").rows((0, 0, 0, 0), "search")
    assert rows.columns.tolist() == [[float(n) for n in range(1, 51)]]
    assert rows.target[:4] == pytest.approx([1, 1.5, 1.5 + 1 / 3, 25 / 12])


@pytest.mark.parametrize(
    ("name", "train", "test"),
    [("nguyen-1", 20, 1000), ("keijzer-6", 50, 120), ("pagie-1", 26**2, 101**2),
     ("vladislavleva-4", 1024, 5000), ("feynman-I.6.20", 1000, 1000)],
)  # fmt: skip
def test_rows_are_as_many_as_the_sources_say(name, train, test):
    task = loaded(formula=name).task("search")
    assert len(task.rows((0,), "search").target) == train
    assert len(task.rows((0, 2, 0), "test").target) == test


def test_rows_to_learn_from_follow_the_sample_and_those_of_the_test_the_draw():
    task, other = (loaded(formula="nguyen-9", sample=k).task("search") for k in (0, 1))
    first = task.rows((0, 0, 0, 0), "search")
    again = task.rows((5, 0, 0, 0), "validation")
    assert np.array_equal(first.columns, again.columns)
    assert not np.array_equal(first.columns, other.rows((0, 0, 0, 0), "search").columns)
    tests = [one.rows((0, 2, 0), "test").columns for one in (task, other)]
    assert np.array_equal(*tests)
    assert not np.array_equal(tests[0], task.rows((0, 2, 1), "test").columns)
    assert not np.isin(first.columns, tests[0]).any()


def test_fitness_is_minus_the_normalised_error_of_a_plain_loop():
    problem = loaded(formula="nguyen-12")
    texts = ["x - y", "x*x*x*x - y*y + 0.3", "exp(x)/(y + 2)", "2"]
    chunk = problem.score([problem.read(t) for t in texts], [1.0] * 4, problem.draws("search"))
    rows = problem.task("search").rows((0, 0, 0, 0), "search")
    plain = (
        lambda x, y: x - y,
        lambda x, y: x**4 - y * y + 0.3,
        lambda x, y: math.exp(x) / (y + 2),
        lambda x, y: 2.0,
    )
    mean = sum(rows.target) / 20
    variance = sum((t - mean) ** 2 for t in rows.target) / 20
    for fitness, function in zip(chunk.fitness, plain, strict=True):
        pairs = zip(*rows.columns, rows.target, strict=True)
        error = sum((function(x, y) - t) ** 2 for x, y, t in pairs) / 20
        assert fitness == pytest.approx(-error / variance, rel=1e-12)


def test_the_mean_scores_minus_one_and_what_is_not_finite_scores_worst():
    problem = loaded(formula="nguyen-7")
    mean = problem.task("search").rows((0,), "search").target.mean()
    texts = [repr(float(mean)), "exp(exp(exp(exp(exp(x + 2)))))", "1000000000*x"]
    chunk = problem.score([problem.read(t) for t in texts], [1.0] * 3, problem.draws("search"))
    assert chunk.fitness[0] == pytest.approx(-1.0)
    assert chunk.fitness[1] == WORST - 1
    assert chunk.fitness[2] == WORST
    assert chunk.exploded.tolist() == [0, 1, 0]


def test_scores_depend_on_neither_the_batch_nor_its_order():
    problem = loaded(formula="vladislavleva-4")
    texts = ["x1*x2", "exp(x3) - x4", "log(x5)/x1", "3", "sin(x2)*x2"]
    rules, draws = [problem.read(text) for text in texts], problem.draws("search")
    whole = problem.score(rules, np.ones(5), draws).fitness
    order = np.random.default_rng(0).permutation(5)
    mixed = problem.score([rules[k] for k in order], np.ones(5), draws).fitness
    assert np.array_equal(mixed, whole[order])
    assert problem.score(rules[2:3], [1.0], draws).fitness[0] == whole[2]


def test_an_unknown_formula_is_answered_with_the_nearest():
    with pytest.raises(InputError, match="'pagie-1'") as caught:
        loaded(formula="pagie-2")
    assert str(caught.value).count("task: ") == 1


def test_formulas_are_searched_by_any_search_of_rules_and_rules_by_none_of_formulas():
    problem = loaded(formula="nguyen-1")
    assert problem.representation("gp-regression") == "formula"
    assert problem.representation("beam") == "tree"
    assert problem.space("formula").terminals == ("x",)
    oja = load_problem("oja_pc1", preset="quick")
    with pytest.raises(InputError, match="gp-regression"):
        oja.search_settings("gp-regression")
    with pytest.raises(InputError, match="formula"):
        oja.space("formula")
    with pytest.raises(InputError, match=r"rule\.terminals is"):
        load_problem("oja_pc1", overrides={"rule.terminals": "[]"})


def test_a_run_finds_a_formula_and_tells_it(tmp_path):
    settings = {"task.formula": "nguyen-10"}
    run = evosearch.run("regression", settings=settings, budget=150_000, workers=1, out=tmp_path)
    assert run.to_json()["success"]
    assert run.champion.fitness["test"] > -1e-20


TABLE = "a,y,b\n" + "".join(f"{k},{k * k + 0.5},{2 * k}\n" for k in range(40))


@pytest.fixture
def table(tmp_path):
    path = tmp_path / "my.csv"
    path.write_text(TABLE)
    return path


def test_rows_of_a_file_are_dealt_out_to_the_splits(table):
    settings = {"file": f'"{table}"', "target": "y"}
    task = loaded(**settings).task("search")
    parts = {split: task.rows((0,), split) for split in ("search", "validation", "test")}
    assert {name: len(rows.target) for name, rows in parts.items()} == {
        "search": 24, "validation": 6, "test": 10,
    }  # fmt: skip
    seen = np.concatenate([np.vstack([rows.columns, rows.target]).T for rows in parts.values()])
    whole = read_csv(str(table), "y")
    assert sorted(map(tuple, seen)) == sorted(zip(*whole.columns, whole.target, strict=True))
    other = loaded(**settings, sample=1).task("search").rows((0,), "search")
    assert not np.array_equal(other.target, parts["search"].target)


def test_a_file_that_was_changed_is_read_again(table):
    settings = {"file": f'"{table}"', "target": "y"}
    first = loaded(**settings)
    before, digest = first.task("search").rows((0,), "test").target, first.data_hash()
    table.write_text(TABLE.replace(".5", ".75"))
    second = loaded(**settings)

    assert second.data_hash() != digest
    np.testing.assert_array_equal(second.task("search").rows((0,), "test").target, before + 0.25)


def test_few_rows_are_all_learned_from(tmp_path):
    path = tmp_path / "few.csv"
    path.write_text("x,y\n" + "".join(f"{k},{3 * k}\n" for k in range(12)))
    task = loaded(file=f'"{path}"').task("search")
    parts = [task.rows((0,), split) for split in ("search", "validation", "test")]
    assert [len(rows.target) for rows in parts] == [9, 9, 3]
    assert np.array_equal(parts[0].columns, parts[1].columns)


def test_a_run_on_a_file_reads_its_columns_as_terminals(tmp_path):
    rng = np.random.default_rng(0)
    x, z = rng.uniform(0, 2, (2, 60))
    lines = [f"{a!r},{b!r},{3 * a * b + 1!r}" for a, b in zip(x.tolist(), z.tolist(), strict=True)]
    path = tmp_path / "my.csv"
    path.write_text("speed,load,power\n" + "\n".join(lines) + "\n")
    settings = {"task.file": str(path)}
    run = evosearch.run("regression", settings=settings, budget=30_000, workers=1, out=tmp_path)
    assert run.to_json()["success"]
    assert {"speed", "load"} <= set(evosearch.parse(run.champion.text).terminals)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", ["empty"]),
        ("a,b\n", ["0 rows"]),
        ("a,b\n1,2\n3,\n", ["row 2", "'b'", "missing"]),
        ("a,b\n1,2\n3\n", ["row 2", "'b'", "missing"]),
        ("a,b\n1,2\n\n,\n3,4\n", ["row 2", "'a'", "missing"]),
        ("a,b\n1,2\nfive,4\n", ["row 2", "'a'", "'five'"]),
        ("a,b\n1,nan\n3,4\n", ["row 1", "'b'", "'nan'"]),
        ("a,b\n1,2,3\n3,4\n", ["row 1", "3 cells"]),
        ("a,b c\n1,2\n3,4\n", ["column 2", "'b c'"]),
        ("a,log\n1,2\n3,4\n", ["column 2", "'log'"]),
        ("a,a\n1,2\n3,4\n", ["two columns", "'a'"]),
        ("a\n1\n2\n", ["alone"]),
        ("a,b\n1,5\n2,5\n3,5\n4,5\n5,5\n", ["does not vary"]),
    ],
)
def test_a_wrong_table_is_refused_naming_row_and_column(text, words, tmp_path):
    path = tmp_path / "wrong.csv"
    path.write_text(text)
    with pytest.raises(InputError) as caught:
        loaded(file=f'"{path}"')
    message = str(caught.value)
    assert "wrong.csv" in message
    assert "\n" not in message
    for word in words:
        assert word in message, message


@pytest.mark.parametrize("ending", ["tsv", "csv.gz", "tsv.gz"])
def test_tables_with_tabs_and_packed_ones_hold_the_same_rows(table, tmp_path, ending):
    text = TABLE.replace(",", "\t") if "tsv" in ending else TABLE
    data = gzip.compress(text.encode()) if ending.endswith("gz") else text.encode()
    other = tmp_path / f"other.{ending}"
    other.write_bytes(data)
    expected, found = read_csv(str(table), "y"), read_csv(str(other), "y")
    assert found.names == expected.names
    np.testing.assert_array_equal(found.columns, expected.columns)
    np.testing.assert_array_equal(found.target, expected.target)


def test_a_missing_file_or_target_is_refused(table):
    with pytest.raises(InputError, match=r"no\.csv cannot be read"):
        loaded(file='"no.csv"')
    with pytest.raises(InputError, match=r"unknown column 'z'.* a, b, y"):
        loaded(file=f'"{table}"', target="z")
