"""Programs on tables: values are those of each row alone, and errors those of NumPy, to the bit."""

import numpy as np
import pytest
from engine_programs import COLUMNS, TERMINALS, random_expression

from evosearch.engine.program import Op
from evosearch.engine.table import evaluate_rows, squared_errors
from evosearch.engine.table_code import table_code
from evosearch.rules.lower import lower
from evosearch.rules.rule import Rule

PLAIN = {
    Op.ADD: np.add,
    Op.SUB: np.subtract,
    Op.MUL: np.multiply,
    Op.DIV: lambda a, b: np.where(b == 0, b.dtype.type(0), a / b),
    Op.MAX: lambda a, b: np.where(a > b, a, b),
    Op.MIN: lambda a, b: np.where(a < b, a, b),
    Op.NEG: lambda a, b: -a,
    Op.SQUARE: lambda a, b: a * a,
    Op.ABS: lambda a, b: np.abs(a),
    Op.SIGN: lambda a, b: np.where(a > 0, 1, np.where(a < 0, -1, 0)).astype(a.dtype),
    Op.SQRT: lambda a, b: np.sqrt(np.abs(a)),
}
"""What one instruction gives, each an operation that IEEE 754 defines to the bit."""


def assert_same_bits(ours, wanted):
    whole = f"u{ours.itemsize}"
    is_same = np.ascontiguousarray(ours).view(whole) == np.ascontiguousarray(wanted).view(whole)
    assert ours.shape == wanted.shape
    assert (is_same | (np.isnan(ours) & np.isnan(wanted))).all()


def table(rng, n_rows, dtype):
    columns = rng.normal(0, 2, (len(TERMINALS), n_rows)).astype(dtype)
    columns[:, rng.integers(n_rows, size=3)] = 0.0
    return columns


def register_machine(program, columns):
    """Run a program as the instruction format says, a whole column at a time."""
    registers = [*columns, *[None] * (len(program.register_level) - len(columns))]
    for register, value in zip(program.constant_register, program.constant_value, strict=True):
        registers[register] = np.full(columns.shape[1], value, columns.dtype)
    with np.errstate(all="ignore"):
        for op, d, a, b in program.code.tolist():
            registers[d] = PLAIN[op](registers[a], registers[b])
    return registers[program.outputs[0].register]


def plain_expression(rng):
    while True:
        expression = random_expression(rng, 29)
        program = lower(Rule(expression), COLUMNS)
        if all(op in PLAIN for op in program.code[:, 0].tolist()):
            return program


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_values_are_those_of_the_register_machine_to_the_bit(dtype):
    rng = np.random.default_rng(5)
    texts = ["pre", "0.5", "pre*pre", "w*pre - pre*w", "(w + pre)*(w + pre)/post",
             "(w - 2)*(3 - pre)/(2*post) + w/pre", "max(w*pre, pre + w)*(w*pre)"]  # fmt: skip
    programs = [lower(Rule(text), COLUMNS) for text in texts]
    programs += [plain_expression(rng) for _ in range(300)]
    for n_rows in (1, 63, 200, 3000):
        columns = table(rng, n_rows, dtype)
        for program, values in zip(programs, evaluate_rows(programs, columns), strict=True):
            assert_same_bits(values, register_machine(program, columns))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_row_is_the_same_wherever_it_stands(dtype):
    rng = np.random.default_rng(6)
    texts = ["pow(w, pre)", "pow(w*w, 2.5)", "pow(2.5, w*pre)", "pow(w + pre, w + pre)",
             "exp(w)*exp(pre) + tanh(exp(w))", "pow(pow(w, pre), pow(pre, w)*exp(w))"]  # fmt: skip
    programs = [lower(Rule(text), COLUMNS) for text in texts]
    programs += [lower(Rule(random_expression(rng, 29)), COLUMNS) for _ in range(200)]
    columns = table(rng, 1000, dtype)
    values = evaluate_rows(programs, columns)
    backwards = evaluate_rows(programs, columns[:, ::-1].copy())
    assert_same_bits(values[:, ::-1], backwards)
    assert_same_bits(values[:, :1], evaluate_rows(programs, columns[:, :1].copy()))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_errors_are_means_of_squares_as_numpy_adds_them_up(dtype):
    rng = np.random.default_rng(7)
    programs = [lower(Rule(text), COLUMNS) for text in ("w", "w*pre + 0.1", "w/post", "0.3")]
    code = table_code(programs, dtype)
    for n_rows in (*range(1, 140), 255, 256, 257, 1000, 1029, 4097, 20_000):
        columns, target = table(rng, n_rows, dtype), rng.normal(size=n_rows).astype(dtype)
        values = evaluate_rows(code, columns)
        wanted = np.square(values - target).mean(axis=1)
        assert_same_bits(squared_errors(code, columns, target), wanted)


def test_errors_are_not_finite_where_a_value_is_not():
    columns = np.ones((len(TERMINALS), 500))
    columns[:, 321] = 800.0
    programs = [lower(Rule(text), COLUMNS) for text in ("exp(w)", "exp(w) - exp(w)", "w")]
    errors = squared_errors(programs, columns, np.ones(500))
    assert np.isfinite(errors).tolist() == [False, False, True]
