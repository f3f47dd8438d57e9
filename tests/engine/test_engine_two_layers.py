"""Two layers in one lifetime: errors carried back by the transposed weights, one rule for both."""

import numpy as np
import pytest

from evosearch.engine.lifetime import LifetimeBuilder, Projection
from evosearch.engine.program import Level, Terminal
from evosearch.engine.run import run_lifetimes
from evosearch.rules.lower import lower
from evosearch.rules.rule import Rule

TERMINALS = (
    Terminal("w", Level.SYNAPSE),
    Terminal("pre", Level.PRE),
    Terminal("post", Level.POST),
    Terminal("error", Level.POST),
    Terminal("elig", Level.SYNAPSE),
)
N_IN, N_HIDDEN, N_OUT, STEPS, DRAWS, ETA = 5, 7, 3, 20, 4, 0.1


def two_layer_life(x, y, w1, w2, dtype="float64"):
    """Return a life of a tanh network with linear outputs that learns by the exact gradient."""
    b = LifetimeBuilder()
    pre, hidden, out = b.vector("x", N_IN), b.vector("h", N_HIDDEN), b.vector("o", N_OUT)
    error, hidden_error = b.vector("e", N_OUT), b.vector("d", N_HIDDEN)
    first, second = b.matrix("w1", N_HIDDEN, N_IN), b.matrix("w2", N_OUT, N_HIDDEN)
    states = b.matrix("z1", N_HIDDEN, N_IN), b.matrix("z2", N_OUT, N_HIDDEN)
    b.initial(first, b.table(w1.reshape(DRAWS, 1, -1)))
    b.initial(second, b.table(w2.reshape(DRAWS, 1, -1)))
    inputs, targets = b.table(x), b.table(y)
    with b.repeat(STEPS) as step:
        b.load(pre, inputs, row=step)
        b.load(error, targets, row=step)
        b.matvec(hidden, first, pre)
        b.map(hidden, "tanh(u)", u=hidden)
        b.matvec(out, second, hidden)
        b.map(error, "t - o", t=error, o=out)
        b.matvec_t(hidden_error, second, error)
        b.map(hidden_error, "e*(1 - square(h))", e=hidden_error, h=hidden)
        b.rule(w=second, pre=hidden, post=out, error=error, elig=states[1])
        b.rule(w=first, pre=pre, post=hidden, error=hidden_error, elig=states[0])
    b.output(first)
    b.output(second)
    keys = np.zeros((DRAWS, 2), np.uint32)
    return b.build(projection=Projection(), dtype=dtype, draw_keys=keys)


def by_hand(x, y, w1, w2, momentum=0.0, is_lagged=False):
    """Return both weights after gradient descent on half the squared error, by NumPy."""
    w1, w2 = w1.copy(), w2.copy()
    z1, z2 = np.zeros_like(w1), np.zeros_like(w2)
    for t in range(STEPS):
        h = np.tanh(np.einsum("dij,dj->di", w1, x[:, t]))
        e = y[:, t] - np.einsum("dij,dj->di", w2, h)
        d = np.einsum("dij,di->dj", w2, e) * (1 - h**2)
        before = z1, z2
        z2 = momentum * z2 + e[:, :, None] * h[:, None, :]
        z1 = momentum * z1 + d[:, :, None] * x[:, t][:, None, :]
        w2 += ETA * (before[1] if is_lagged else z2)
        w1 += ETA * (before[0] if is_lagged else z1)
    return np.concatenate([w1.reshape(DRAWS, -1), w2.reshape(DRAWS, -1)], axis=1)


@pytest.fixture
def data():
    rng = np.random.default_rng(5)
    return (
        rng.normal(size=(DRAWS, STEPS, N_IN)),
        rng.normal(size=(DRAWS, STEPS, N_OUT)),
        rng.normal(0, 0.5, (DRAWS, N_HIDDEN, N_IN)),
        rng.normal(0, 0.5, (DRAWS, N_OUT, N_HIDDEN)),
    )


@pytest.mark.parametrize("device", ["cpu", "torch"])
@pytest.mark.parametrize(("dtype", "tolerance"), [("float64", 1e-12), ("float32", 1e-4)])
def test_error_times_pre_is_gradient_descent_in_both_layers(data, dtype, tolerance, device):
    life = two_layer_life(*data, dtype=dtype)
    result = run_lifetimes(life, [lower(Rule("error*pre"), TERMINALS)], ETA, device=device)
    np.testing.assert_allclose(result.outputs[0], by_hand(*data), atol=tolerance)


@pytest.mark.parametrize(
    "text", ["dw = elig; elig = 0.5*elig + error*pre", "elig = 0.5*elig + error*pre; dw = elig"]
)
def test_all_parts_of_a_rule_read_the_values_before_it(data, text):
    """A weight that follows its trace lags one step behind it, in whichever order they stand."""
    result = run_lifetimes(two_layer_life(*data), [lower(Rule(text), TERMINALS)], ETA)
    wanted = by_hand(*data, momentum=0.5, is_lagged=True)
    np.testing.assert_allclose(result.outputs[0], wanted, atol=1e-12)


def test_momentum_in_a_state_equals_momentum_by_hand(data):
    rule = Rule("dw = 0.5*elig + error*pre; elig = 0.5*elig + error*pre")
    result = run_lifetimes(two_layer_life(*data), [lower(rule, TERMINALS)], ETA)
    np.testing.assert_allclose(result.outputs[0], by_hand(*data, momentum=0.5), atol=1e-12)


def test_a_weight_that_is_kept_stays(data):
    result = run_lifetimes(two_layer_life(*data), [lower(Rule("w = w"), TERMINALS)], ETA)
    _, _, w1, w2 = data
    wanted = np.concatenate([w1.reshape(DRAWS, -1), w2.reshape(DRAWS, -1)], axis=1)
    np.testing.assert_array_equal(result.outputs[0], wanted)
