"""The estimator of scikit-learn that searches formulas."""

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.model_selection import cross_val_score

import evosearch
from evosearch.errors import InputError
from evosearch.regressor import best_formula
from evosearch.rules.parser import parse_expression
from evosearch.search.formula_snapping import error_of


def table(n=60):
    x = np.random.default_rng(0).uniform(-1, 1, (n, 2))
    return x, 2 * x[:, 0] * x[:, 1] - x[:, 0] + 0.5


def small(**settings):
    return evosearch.SymbolicRegressor(budget=20_000, population=50, **settings)


def test_it_finds_the_formula_of_a_table():
    x, y = table()
    model = small(names=("a", "b")).fit(x, y)
    assert model.score(x, y) > 1 - 1e-12
    assert model.rule_.terminals == {"a", "b"}
    assert evosearch.Rule(model.formula_)(a=1.0, b=2.0) == pytest.approx(3.5)
    assert model.evaluations_ <= 21_500
    assert model.n_features_in_ == 2


def test_what_it_predicts_is_what_its_front_says():
    x, y = table()
    y = y + 0.1 * np.random.default_rng(1).normal(size=len(y))
    model = small(names=("a", "b")).fit(x, y)
    error, size = model.front_[str(model.rule_.main)]
    assert size == model.rule_.size
    assert error == pytest.approx(np.mean((model.predict(x) - y) ** 2) / np.var(y), rel=1e-9)
    for text, (error, _) in model.front_.items():
        assert error == error_of(parse_expression(text, terminals=("a", "b")), ("a", "b"), x.T, y)


def test_it_clones_and_is_cross_validated():
    x, y = table()
    model = small(seed=3)
    copy = clone(model)
    assert copy.get_params() == model.get_params()
    assert cross_val_score(model, x, y, cv=3).min() > 0.999


def test_the_same_seed_finds_the_same_formula():
    x, y = table()
    first, again = (small(seed=5).fit(x, np.sin(3 * y)).formula_ for _ in range(2))
    assert first == again


def test_small_formulas_are_kept_where_large_ones_hardly_fit_better():
    simple, long = (parse_expression(t, terminals=("x",)) for t in ("2*x", "2*x + 0.001*x*x*x*x"))
    assert best_formula({simple: 0.1, long: 0.0999}, 50) == simple
    assert best_formula({simple: 0.1, long: 1e-9}, 50) == long


def test_wrong_input_is_one_sentence():
    x, y = table()
    model = small().fit(x, y)
    with pytest.raises(InputError, match="3 columns; the formula was found for 2"):
        model.predict(np.zeros((4, 3)))
    with pytest.raises(InputError, match="1 names for 2 columns"):
        small(names=("a",)).fit(x, y)
    with pytest.raises(InputError, match="does not vary"):
        small().fit(x, np.ones(len(x)))
    with pytest.raises(InputError, match="budget is 0"):
        evosearch.SymbolicRegressor(budget=0).fit(x, y)
