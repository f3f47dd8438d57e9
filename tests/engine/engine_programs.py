"""Random rules and a plain NumPy life, for the engine's tests."""

import numpy as np
from numba import njit

from evosearch.engine import elementary
from evosearch.engine.lifetime import LifetimeBuilder, Projection
from evosearch.engine.program import Level, Op, Terminal
from evosearch.rules.expression import Expression
from evosearch.rules.primitives import PRIMITIVES
from evosearch.rules.rule import Rule

TERMINALS = (
    Terminal("w", Level.SYNAPSE),
    Terminal("pre", Level.PRE),
    Terminal("post", Level.POST),
    Terminal("mod", Level.NETWORK),
    Terminal("elig", Level.SYNAPSE),
)
COLUMNS = tuple(Terminal(terminal.name, Level.POST) for terminal in TERMINALS)


def random_expression(rng, max_nodes, names=None, functions=None):
    """Draw an expression of any primitives, up to about ``max_nodes`` nodes."""
    names = names or [terminal.name for terminal in TERMINALS]
    functions = functions or sorted(PRIMITIVES)
    nodes, missing, budget = [], 1, int(rng.integers(1, max_nodes))
    while missing:
        if budget > missing and rng.random() < 0.8:
            name = functions[rng.integers(len(functions))]
            nodes.append(name)
            missing += PRIMITIVES[name].arity - 1
        elif rng.random() < 0.8:
            nodes.append(names[rng.integers(len(names))])
            missing -= 1
        else:
            nodes.append(float(rng.normal()))
            missing -= 1
        budget -= 1
    return Expression(nodes)


def _compiled(function, arity):
    if arity == 1:

        @njit(error_model="numpy")
        def run(a, b, out):
            for i in range(out.size):
                out[i] = function(a[i])

    else:

        @njit(error_model="numpy")
        def run(a, b, out):
            for i in range(out.size):
                out[i] = function(a[i], b[i])

    return run


_ELEMENTARY = {
    Op.EXP: _compiled(elementary.exp, 1),
    Op.LOG: _compiled(elementary.log, 1),
    Op.TANH: _compiled(elementary.tanh, 1),
    Op.SIGMOID: _compiled(elementary.sigmoid, 1),
    Op.SIN: _compiled(elementary.sin, 1),
    Op.SOFTPLUS: _compiled(elementary.softplus, 1),
    Op.POW: _compiled(elementary.power, 2),
}


def reference_values(expression, columns, dtype):
    """Evaluate node by node in NumPy with the same elementary functions.

    Returns the value and the largest finite intermediate value, both (N,).
    """
    shape = next(iter(columns.values())).shape
    stack, largest = [], np.zeros(shape)
    for node in reversed(expression.nodes):
        if isinstance(node, str) and node in PRIMITIVES:
            primitive = PRIMITIVES[node]
            operands = [stack.pop() for _ in range(primitive.arity)]
            if primitive.op in _ELEMENTARY:
                value = np.empty(shape, dtype)
                _ELEMENTARY[primitive.op](operands[0], operands[-1], value)
            else:
                value = np.asarray(primitive.numpy(*operands), dtype)
        elif isinstance(node, str):
            value = columns[node].astype(dtype)
        else:
            value = np.full(shape, node, dtype)
        stack.append(value)
        finite = np.where(np.isfinite(value), np.abs(value), 0)
        largest = np.maximum(largest, finite)
    return stack.pop(), largest


def layer_life(n_out, n_in, steps, n_draws, dtype="float32", seed=0, **projection):
    """Build a layer with a modulator and an eligibility trace; returns the life and its data."""
    rng = np.random.default_rng(seed)
    inputs = rng.normal(0, 1, (n_draws, steps, n_in))
    mods = rng.normal(0, 1, (n_draws, steps, 1))
    start = rng.normal(0, 0.3, (n_draws, 1, n_out * n_in))
    b = LifetimeBuilder()
    x, y, m = b.vector("pre", n_in), b.vector("post", n_out), b.scalar("mod")
    w, z = b.matrix("w", n_out, n_in), b.matrix("elig", n_out, n_in)
    b.initial(w, b.table(start))
    input_table, mod_table = b.table(inputs), b.table(mods)
    with b.repeat(steps) as t:
        b.load(x, input_table, row=t)
        b.load(m, mod_table, row=t)
        b.matvec(y, w, x)
        b.rule(w=w, pre=x, post=y, mod=m, elig=z)
    b.output(w)
    b.output(z)
    keys = rng.integers(0, 2**32, (n_draws, 2), dtype=np.uint32)
    limits = {"low": -5.0, "high": 5.0, **projection}
    life = b.build(draw_keys=keys, projection=Projection(**limits), dtype=dtype)
    return life, (inputs, mods, start.reshape(n_draws, n_out, n_in))


def numpy_life(rule, data, draw, eta, low=-5.0, high=5.0):
    """Live one draw in float64 NumPy; returns (w, elig)."""
    inputs, mods, start = (values[draw] for values in data)
    w, z = start.copy(), np.zeros_like(start)
    for x, m in zip(inputs, mods, strict=True):
        values = rule.evaluate_parts(w=w, pre=x[None, :], post=(w @ x)[:, None], mod=m[0], elig=z)
        main = values["dw"] * eta + w if "dw" in values else values["w"]
        if "elig" in values:
            z = np.broadcast_to(values["elig"], z.shape).copy()
        w = np.clip(np.broadcast_to(main, w.shape), low, high)
    return w, z


def random_rules(rng, n, max_nodes=11, functions=("add", "sub", "mul", "tanh", "neg")):
    return [Rule(random_expression(rng, max_nodes, functions=list(functions))) for _ in range(n)]
