"""The compiled search of formulas: operators, least squares, constants, and what it finds."""

from collections import Counter

import numpy as np
import pytest
from deap import gp
from scipy.optimize import least_squares
from scipy.stats import chi2_contingency

from evosearch.engine.program import Op
from evosearch.errors import InputError
from evosearch.outcome import plain_evaluation
from evosearch.rules.expression import Expression, subtree_ends
from evosearch.rules.parser import parse_expression
from evosearch.rules.primitives import PRIMITIVES
from evosearch.search import formula_fit_kernels as fit
from evosearch.search import formula_layout as layout
from evosearch.search import formula_tree_kernels as trees
from evosearch.search.formula_snapping import error_of, exact_near, snapped
from evosearch.search.formula_transforms import TRANSFORMS, transforms_of
from evosearch.search.gp_regression import FormulaProgramming
from evosearch.search.gp_trees import expression_of, lent_random, tree_of
from evosearch.spaces import FormulaSpace
from evosearch.tasks.regression_formulas import FORMULAS

NODES, TERMS = 40, 4
NAMES = ("x", "y")
FUNCTIONS = tuple(PRIMITIVES)
CODES = {name: int(primitive.op) for name, primitive in PRIMITIVES.items()} | {"cos": trees.COS}


def space_of(columns, target, **settings):
    values = {"constants": (1.0,), "ephemeral": (-5.0, 5.0), "max_size": 63, **settings}
    functions = values.pop("functions", FUNCTIONS)
    return FormulaSpace(NAMES[: len(columns)], functions, columns, target, **values)


def made(n_rows=50, seed=0, target=None):
    """Return a grammar, a bench and islands over two columns."""
    rng = np.random.default_rng(seed)
    columns = rng.uniform(0.5, 2.0, (2, n_rows))
    values = rng.normal(size=n_rows) if target is None else target(*columns)
    space = space_of(columns, values)
    islands = layout.make_islands([(NODES, TERMS, 9)], [1 << 40], 4, 64, seed)
    grammar = layout.make_grammar(space, NODES, TERMS)
    return space, grammar, layout.make_bench(columns, values, NODES, TERMS), islands


def put(islands, row, text):
    """Write prefix text such as ``add x 2`` into a row."""
    for k, word in enumerate(text.split()):
        islands.vals[row, k] = 0.0
        if word in CODES:
            islands.ops[row, k] = CODES[word]
        elif word in NAMES:
            islands.ops[row, k] = trees.VAR + NAMES.index(word)
        else:
            islands.ops[row, k], islands.vals[row, k] = trees.CONST, float(word)
    islands.length[row] = len(text.split())


def shown(islands, row):
    names = {code: name for name, code in CODES.items()}
    out = []
    for k in range(islands.length[row]):
        op = islands.ops[row, k]
        if op >= trees.VAR:
            out.append(NAMES[op - trees.VAR])
        else:
            out.append(f"{islands.vals[row, k]:g}" if op == trees.CONST else names[op])
    return " ".join(out)


def spelt(expression):
    return " ".join(node if isinstance(node, str) else f"{node:g}" for node in expression.nodes)


def expression(text):
    return Expression([t if t in CODES or t in NAMES else float(t) for t in text.split()])


def values_of(text, columns):
    """Evaluate prefix text in plain NumPy."""
    stack = []
    for word in reversed(text.split()):
        if word == "cos":
            stack.append(np.cos(stack.pop()))
        elif word in PRIMITIVES:
            operands = [stack.pop() for _ in range(PRIMITIVES[word].arity)]
            stack.append(PRIMITIVES[word].numpy(*operands))
        else:
            is_name = word in NAMES
            stack.append(
                columns[NAMES.index(word)] if is_name else np.full(len(columns[0]), float(word))
            )
    return stack.pop()


def test_the_generator_is_that_of_numpy():
    generator = np.random.SFC64(7)
    state = np.array(generator.state["state"]["state"], np.uint64)
    words = [int(trees.next_word(state)) for _ in range(100)]
    assert words == generator.random_raw(100).tolist()


def test_numbers_are_uniform_normal_and_whole():
    state = np.array(np.random.SFC64(1).state["state"]["state"], np.uint64)
    u = np.array([trees.uniform(state) for _ in range(4000)])
    z = np.array([trees.normal(state) for _ in range(4000)])
    k = np.array([trees.below(state, 7) for _ in range(7000)])
    assert abs(u.mean() - 0.5) < 0.02
    assert abs(z.mean()) < 0.06
    assert abs(z.std() - 1) < 0.05
    assert np.bincount(k, minlength=7).min() > 850
    assert k.max() == 6


FIRST, SECOND = "add mul x y sin sub x 2", "div exp y add x mul 3 y"


def same_distribution(ours, theirs):
    """Return the p-value of a chi-square test of two lists of trees."""
    counts = Counter(ours), Counter(theirs)
    keys = sorted({*counts[0], *counts[1]})
    return chi2_contingency([[count[key] for key in keys] for count in counts]).pvalue


def test_crossover_makes_the_children_of_deap_as_often():
    _, grammar, _, s = made()
    put(s, 0, FIRST), put(s, 1, SECOND)
    ours, theirs = [], []
    for _ in range(6000):
        assert trees.crossover(s.ops, s.vals, s.length, 0, 1, 2, grammar.arity, s.rng)
        ours.append(shown(s, 2))
    with lent_random(np.random.default_rng(0)):
        for _ in range(6000):
            pair = [tree_of(expression(text).nodes) for text in (FIRST, SECOND)]
            theirs.append(spelt(expression_of(gp.cxOnePoint(*pair)[0])))
    assert len(set(theirs)) > 20
    assert same_distribution(ours, theirs) > 1e-3


def test_a_subtree_is_replaced_where_deap_does_as_often():
    _, grammar, _, s = made()
    put(s, 0, FIRST), put(s, 1, "neg y")
    donor = tree_of(expression("neg y").nodes)
    ours, theirs = [], []
    for _ in range(4000):
        trees.replace_subtree(s.ops, s.vals, s.length, 0, 1, 2, grammar.arity, s.rng)
        ours.append(shown(s, 2))
    with lent_random(np.random.default_rng(0)):
        for _ in range(4000):
            tree = tree_of(expression(FIRST).nodes)
            (child,) = gp.mutUniform(tree, lambda pset, type_: list(donor), None)
            theirs.append(spelt(expression_of(child)))
    assert len(set(theirs)) == 8
    assert same_distribution(ours, theirs) > 1e-3


def test_shrinking_lifts_each_operand_of_each_function_as_often():
    _, grammar, _, s = made()
    put(s, 0, FIRST)
    nodes, expected = expression(FIRST).nodes, Counter()
    ends = subtree_ends(nodes)
    inner = [k for k, node in enumerate(nodes) if Expression.arity(node)]
    for start in inner:
        arity = Expression.arity(nodes[start])
        operands = [start + 1, ends[start + 1]][:arity]
        for operand in operands:
            child = (*nodes[:start], *nodes[operand : ends[operand]], *nodes[ends[start] :])
            expected[spelt(Expression(child))] += 1 / (len(inner) * arity)
    found = Counter()
    for _ in range(4000):
        trees.shrink(s.ops, s.vals, s.length, 0, 2, grammar.arity, s.rng)
        found[shown(s, 2)] += 1
    assert set(found) == set(expected)
    for text, share in expected.items():
        assert abs(found[text] / 4000 - share) < 5 * np.sqrt(share / 4000)


@pytest.mark.parametrize("name", ["insert", "square", "point", "move", "draw", "fold"])
def test_operators_make_whole_trees(name):
    _, g, _, s = made()
    put(s, 0, FIRST), put(s, 1, "neg y")
    for turn in range(500):
        a = s.ops, s.vals, s.length
        if name == "insert":
            assert trees.insert(*a, 0, 1, 2, g, s.rng)
            assert s.length[2] in (s.length[0] + 1, s.length[0] + 3)
        elif name == "square":
            assert trees.square(*a, 0, 2, g.arity, s.rng)
        elif name == "point":
            trees.point(*a, 0, 2, g, s.rng)
            assert s.length[2] == s.length[0]
        elif name == "move":
            trees.move_constants(*a, 0, 2, g, s.rng)
        else:
            trees.draw_tree(*a, 2, 1 + turn % 20, g, s.rng)
            assert 0 < s.length[2] <= 1 + turn % 20
        if name == "fold":
            trees.fold(*a, 2, g.arity)
        missing = 1
        for k in range(s.length[2]):
            assert missing > 0
            missing += g.arity[s.ops[2, k]] - 1
        assert missing == 0


def test_folding_keeps_what_four_operations_compute():
    _, g, _, s = made()
    for text, expected in (("add x mul 2 sub 5 3", "add x 4"), ("div add 1 2 y", "div 3 y")):
        put(s, 0, text)
        trees.fold(s.ops, s.vals, s.length, 0, g.arity)
        assert shown(s, 0) == expected


def test_a_child_that_is_too_large_is_refused():
    _, g, _, s = made()
    put(s, 0, " ".join(["neg"] * (NODES - 1) + ["x"]))
    put(s, 1, "neg y")
    assert not trees.square(s.ops, s.vals, s.length, 0, 2, g.arity, s.rng)
    assert not trees.insert(s.ops, s.vals, s.length, 0, 1, 2, g, s.rng)


def test_nesting_counts_transcendental_functions_one_inside_another():
    _, g, _, s = made()
    for text, depth in (("add x y", 0), ("add sin x cos y", 1), ("exp add sqrt log x sin y", 2)):
        put(s, 0, text)
        assert trees.nesting(s.ops, s.length, 0, g.arity, g.stack) == depth


@pytest.mark.parametrize("n_rows", [20, 256, 700])
@pytest.mark.parametrize(
    ("text", "terms"),
    [
        ("x", ["x"]),
        ("add mul x y sub sin x 3", ["mul x y", "sin x"]),
        ("sub add x cos y add log x mul 2 exp y", ["x", "cos y", "log x", "mul 2 exp y"]),
        ("mul add x 1 y", ["mul add x 1 y"]),
    ],
)
def test_weights_and_errors_are_those_of_least_squares(n_rows, text, terms):
    space, g, bench, s = made(n_rows)
    put(s, 0, text)
    error = fit.score_tree(s.ops, s.vals, s.length, 0, g, bench)
    columns = np.stack([np.ones(n_rows), *(values_of(term, space.columns) for term in terms)], 1)
    weights, *_ = np.linalg.lstsq(columns, space.target, rcond=None)
    residual = space.target - columns @ weights
    assert error == pytest.approx(np.mean(residual**2) / space.target.var(), rel=1e-9)
    nodes = layout.read_formula(s, 0, len(terms), bench, space)
    found = error_of(Expression(nodes), space.terminals, space.columns, space.target)
    assert found == pytest.approx(error, rel=1e-9)


def test_an_exact_fit_leaves_roundoff_alone_and_equal_terms_share_a_weight():
    space, g, bench, s = made(300, target=lambda x, y: 1e3 + 2 * x * y - 0.5 * np.exp(x))
    put(s, 0, "add mul x y add exp x mul y x")
    assert fit.score_tree(s.ops, s.vals, s.length, 0, g, bench) < 1e-24
    put(s, 0, "add x div x sub y y")
    assert np.isfinite(fit.score_tree(s.ops, s.vals, s.length, 0, g, bench))
    put(s, 0, "exp exp exp exp exp add x 9")
    assert fit.score_tree(s.ops, s.vals, s.length, 0, g, bench) == np.inf
    assert fit.score_tree(s.ops, s.vals, s.length, 0, g, bench) == np.inf
    put(s, 0, "add 1 2")
    assert fit.score_tree(s.ops, s.vals, s.length, 0, g, bench) == 1.0
    assert space.target.std() > 0


@pytest.mark.parametrize("name", [*(n for n in FUNCTIONS if n != "sign"), "cos"])
@pytest.mark.parametrize("side", [0, 1])
def test_derivatives_are_those_of_small_differences(name, side):
    arity = 1 if name == "cos" else PRIMITIVES[name].arity
    if arity == 1 and side:
        return
    inner = "mul 0.7 x"
    operands = [inner] if arity == 1 else ([inner, "y"] if side == 0 else ["y", inner])
    text = f"mul y {name} {' '.join(operands)}"
    space, g, bench, s = made(40)
    put(s, 0, text)
    fit.score_tree(s.ops, s.vals, s.length, 0, g, bench)
    n = fit.choose_tuned(s.ops, 0, 1, bench)
    n_code = fit.lower_tree(s.ops, 0, s.length[0], 2, g.arity, bench)
    fit.add_derivatives(s.ops, 0, 1, n, g, bench, n_code)
    step = 1e-6
    texts = [text.replace("0.7", repr(0.7 + d)) for d in (step, -step)]
    high, low = (values_of(t, space.columns) for t in texts)
    slope = bench.beta[1] * (high - low) / (2 * step)
    scaled = (space.target - space.target.mean()) / space.target.std()
    residual = scaled - bench.beta[0] - bench.beta[1] * values_of(text, space.columns)
    assert n == 1
    assert bench.js[0] == pytest.approx(slope.sum(), rel=1e-5, abs=1e-7)
    assert bench.jr[0] == pytest.approx(slope @ residual, rel=1e-5, abs=1e-7)
    assert bench.jj[0, 0] == pytest.approx(slope @ slope, rel=1e-5, abs=1e-12)


def test_tuned_constants_are_where_scipy_finds_them():
    rng = np.random.default_rng(3)
    noise = 0.05 * rng.normal(size=90)
    space, g, bench, s = made(
        90, target=lambda x, y: 2 * np.exp(-0.8 * x) + np.sin(1.7 * y) + noise
    )
    put(s, 0, "add exp mul -0.3 x sin mul 1.4 y")
    error = fit.score_tree(s.ops, s.vals, s.length, 0, g, bench)
    for _ in range(5):
        error = fit.tune_tree(s.ops, s.vals, s.length, 0, error, 20, g, bench)
        error = fit.score_tree(s.ops, s.vals, s.length, 0, g, bench)
    x, y = space.columns
    truth = least_squares(
        lambda p: p[0] + p[1] * np.exp(p[2] * x) + p[3] * np.sin(p[4] * y) - space.target,
        [0, 1, -0.3, 1, 1.4], xtol=1e-14, ftol=1e-14,
    )  # fmt: skip
    assert error == pytest.approx(np.mean(truth.fun**2) / space.target.var(), rel=1e-6)
    constants = s.vals[0, [k for k in range(s.length[0]) if s.ops[0, k] == trees.CONST]]
    assert constants == pytest.approx(truth.x[[2, 4]], rel=1e-3)


def test_tuning_reaches_roundoff_where_the_structure_is_right():
    _, g, bench, s = made(
        400, target=lambda x, y: np.exp(-0.5 * (x / y) ** 2) / (np.sqrt(2 * np.pi) * y)
    )
    put(s, 0, "div exp mul -0.2 mul div x y div x y y")
    error = fit.score_tree(s.ops, s.vals, s.length, 0, g, bench)
    before = bench.spent[0]
    error = fit.tune_tree(s.ops, s.vals, s.length, 0, error, 20, g, bench)
    assert error < 1e-28
    assert s.vals[0, 3] == pytest.approx(-0.5, rel=1e-12)
    assert bench.spent[0] > before + 3


@pytest.mark.parametrize(
    ("value", "exact"),
    [
        (0.333334, 1 / 3), (1.00002, 1.0), (-2.49999, -2.5), (3.14159, np.pi), (1.5708, np.pi / 2),
        (1e-7, 0.0), (0.1234, None), (-0.58333, -7 / 12),
    ],
)  # fmt: skip
def test_exact_numbers_near_a_constant(value, exact):
    assert exact_near(value) == (None if exact is None else pytest.approx(exact, abs=1e-15))


def test_snapping_takes_exact_constants_only_where_nothing_is_lost():
    x = np.linspace(-1, 1, 40)
    rough = parse_expression("1.0000001*x + 0.33333333*x*x + 0.12345*sin(x)", terminals=("x",))
    target = x + x * x / 3 + 0.12345 * np.sin(x)
    found, error = snapped(rough, ("x",), x[None], target)
    assert set(found.constants) == {1.0, 1 / 3, 0.12345}
    assert error < 1e-30
    shifted = target + 1e-3 * x
    kept, after = snapped(rough, ("x",), x[None], shifted)
    assert after <= error_of(rough, ("x",), x[None], shifted)
    assert error_of(kept, ("x",), x[None], shifted) == after


def test_sums_with_0_and_products_with_1_are_left_out():
    nodes = expression("add mul 1 x add mul 0 sin x add mul 2 y -3").nodes
    assert str(layout.tidy(list(nodes))) == "x + (2*y - 3)"


def test_a_constant_factor_of_a_term_goes_into_its_weight():
    space, g, bench, s = made(40, target=lambda x, y: 6 * x * y + 8 / y)
    put(s, 0, "add mul 3 mul x y div 5 y")
    fit.score_tree(s.ops, s.vals, s.length, 0, g, bench)
    nodes = layout.read_formula(s, 0, 2, bench, space)
    found, _ = snapped(Expression(nodes), space.terminals, space.columns, space.target)
    assert str(layout.tidy(list(found.nodes))) == "8/y + 6*(x*y)"


def search_for(name, seed=0, **settings):
    formula = FORMULAS[name]
    columns = formula.train.rows(np.random.default_rng(seed))
    target = formula.function(*columns)
    names = ("add", "sub", "mul", "div", "sin", "exp", "log")
    space = FormulaSpace(
        formula.names, names, columns, target, constants=(1.0,), ephemeral=(-5.0, 5.0), max_size=63
    )
    return FormulaProgramming(space, seed=seed, **settings)


def driven(search):
    """Run a search to its end; return all that it asked."""
    asked = []
    while not search.is_done:
        candidates = search.ask()
        asked += candidates
        search.tell(candidates, plain_evaluation(np.zeros(len(candidates)), 1))
    return asked


@pytest.mark.parametrize(
    ("name", "size"),
    [("nguyen-1", 15), ("nguyen-5", 15), ("nguyen-10", 15), ("feynman-I.6.20", 17)],
)
def test_formulas_are_found_exactly(name, size):
    search = search_for(name, horizon=300_000)
    asked = driven(search)
    formula = FORMULAS[name]
    columns = formula.test.rows(np.random.default_rng(99))
    errors = {
        one: error_of(one, formula.names, columns, formula.function(*columns)) for one in asked
    }
    best = min(errors.values())
    assert best < 1e-24
    assert min(one.size for one, error in errors.items() if error < 1e-24) <= size


@pytest.mark.parametrize("transform", TRANSFORMS, ids=lambda one: "-".join(one.functions))
def test_a_formula_of_a_function_of_the_target_is_undone(transform):
    target = np.random.default_rng(0).uniform(0.1, 10, 50)
    undone = Expression(transform.undo(["x"]))
    assert set(undone.nodes) >= set(transform.functions)
    assert error_of(undone, ("x",), transform.apply(target)[None], target) < 1e-28


def test_functions_of_the_target_need_one_sign_and_what_undoes_them():
    target = np.array([1.0, 2.0, 3.0])

    def names(values, *functions):
        return [one.name for one in transforms_of(values, functions)]

    assert names(target, "div", "exp", "mul", "log", "sqrt") == ["inverse", "log", "square"]
    assert names(target, "add", "mul", "div") == ["inverse"]
    assert names(target, "exp", "mul", "log") == ["log", "square"]
    for other in (target - 2, target - 1, -target, target * [1, 1, 1e7]):
        assert names(other, *FUNCTIONS) == []
    # What overflows, or varies no more, is left out.
    assert names(target * 1e200, *FUNCTIONS) == ["log"]
    assert names(target * 1e-200, *FUNCTIONS) == ["log"]


def test_a_search_resumes_with_the_worlds_of_functions_of_the_target():
    search = search_for("feynman-I.8.14", batch=4_000, population=50)
    for _ in range(2):
        candidates = search.ask()
        search.tell(candidates, plain_evaluation(np.zeros(len(candidates)), 1))
    other = search_for("feynman-I.8.14", batch=4_000, population=50)
    other.load_state_dict(search.state_dict())
    assert other.n_evaluations == search.n_evaluations
    assert [str(one) for one in other.ask()] == [str(one) for one in search.ask()]
    assert {"world_0", "world_1", "world_2", "world_3"} <= set(search.state_dict())


def test_what_is_scored_inside_counts():
    search = search_for("keijzer-6", horizon=20_000, batch=3_000)
    asked = driven(search)
    assert search.n_evaluations == search.n_inside + len(asked)
    assert 20_000 <= search.n_evaluations < 21_500
    assert f"{search.n_inside:,}" in search.summary()


def test_asked_formulas_improve_with_size_and_fit_the_space():
    search = search_for("nguyen-7", batch=20_000)
    for _ in range(3):
        candidates = search.ask()
        search.tell(candidates, plain_evaluation(np.zeros(len(candidates)), 1))
        assert all(one.size <= 63 for one in candidates)
        assert len({str(one) for one in candidates}) == len(candidates)


def test_a_space_without_a_range_of_constants_or_a_product_is_refused():
    x = np.linspace(0, 1, 9)
    for settings, word in (({"ephemeral": None}, "ephemeral"), ({"functions": ("add",)}, "mul")):
        with pytest.raises(InputError, match=word):
            FormulaProgramming(space_of(x[None], x**2, **settings))


def test_codes_of_the_engine_leave_room_for_the_searchs_own():
    assert max(int(op) for op in Op if op < Op.EXPAND_NETWORK) < trees.COS < trees.CONST < trees.VAR
