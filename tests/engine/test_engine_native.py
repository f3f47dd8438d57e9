"""Machine code gives the bits of the interpreter: for random rules, every phase, real problems."""

import os
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from engine_programs import TERMINALS, layer_life, random_expression, random_rules

import evosearch
from evosearch.engine import lifetime
from evosearch.engine.lifetime import LifetimeBuilder, Projection
from evosearch.engine.native.compiler import Compiler, structure
from evosearch.engine.program import Level, Terminal
from evosearch.engine.run import run_lifetimes
from evosearch.rules.lower import lower
from evosearch.rules.rule import Rule

IS_FULL = os.environ.get("EVOSEARCH_FULL", "") not in ("", "0")
SHAPES = [(1, 3, 20), (8, 16, 3), (4, 37, 2), (2, 600, 2), (40, 5, 20)]
PROJECTIONS = {
    "clipped": {},
    "normalised": {"row_norm": 1.5},
    "signed": {"is_zero_diagonal": True, "keeps_sign": True},
    "free": {"low": -np.inf, "high": np.inf},
}
N_PROGRAMS = (10_000 if IS_FULL else 500) // (len(SHAPES) * len(PROJECTIONS) * 2)
N_OPTIMISED = max(N_PROGRAMS // 6, 1)
"""Programs of a case that are compiled at level 1, which takes ten times as long."""

SITE = (
    *TERMINALS,
    Terminal("trace", Level.PRE),
    Terminal("echo", Level.PRE),
    Terminal("gain", Level.POST),
    Terminal("rate", Level.POST),
    Terminal("tone", Level.NETWORK),
)
STATES = {
    "elig": [terminal.name for terminal in SITE],
    "trace": ["pre", "trace", "echo", "mod", "tone"],
    "echo": ["pre", "trace", "echo", "mod", "tone"],
    "gain": ["post", "gain", "rate", "mod", "tone"],
    "rate": ["post", "gain", "rate", "mod", "tone"],
    "tone": ["mod", "tone"],
}
"""What the new value of each state may read: nothing finer than the state."""


def bits(values):
    """Return the bits of floats; all NaN are one, since IEEE 754 leaves their sign open."""
    return np.where(np.isnan(values), np.nan, values).view(np.int64)


def assert_same_bits(ours, theirs):
    np.testing.assert_array_equal(ours.exploded_at, theirs.exploded_at)
    np.testing.assert_array_equal(bits(ours.outputs), bits(theirs.outputs))
    assert ours.clip_hits.tobytes() == theirs.clip_hits.tobytes()
    assert ours.synapse_updates == theirs.synapse_updates


def compare(life, programs, eta=0.01, tiers=("native",)):
    """Check all tiers against the interpreter; return the last tier's result."""
    wanted = run_lifetimes(life, programs, eta, tier="interpreter")
    assert wanted.native_updates == 0
    result = wanted
    for tier in tiers:
        result = run_lifetimes(life, programs, eta, tier=tier)
        assert_same_bits(result, wanted)
        assert tier == "auto" or result.native_updates > 0
    return result


def random_programs(rng, n):
    """Draw rules of few and of all functions, with and without a trace, increments or not."""
    rules = random_rules(rng, -(-n // 4))
    for k in range(n - len(rules)):
        parts = {"w" if k % 3 == 2 else "dw": random_expression(rng, 13)}
        if k % 3:
            parts["elig"] = random_expression(rng, 9)
        rules.append(Rule(parts))
    return [lower(rule, TERMINALS) for rule in rules]


def random_site_programs(rng, n):
    """Draw rules that also keep states of units and of the network."""
    rules = [
        Rule("dw = pre*gain; trace = trace + pre; gain = tone; tone = mod"),
        Rule("dw = elig; elig = w; tone = 0.5; trace = tone*pre; gain = 2"),
        Rule("dw = rate*echo; gain = rate; rate = gain + post; trace = echo; echo = trace + pre"),
    ]
    for k in range(n):
        parts = {"dw" if k % 2 else "w": random_expression(rng, 13, names=STATES["elig"])}
        for state, names in STATES.items():
            if rng.random() < 0.7:
                parts[state] = random_expression(rng, 7, names=names)
        rules.append(Rule(parts))
    return [lower(rule, SITE) for rule in rules]


@pytest.mark.parametrize("projection", PROJECTIONS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("shape", SHAPES)
def test_random_rules_live_to_the_same_bits_in_every_tier(shape, dtype, projection, session_seed):
    life, _ = layer_life(*shape[:2], 25, shape[2], dtype, **PROJECTIONS[projection])
    number = SHAPES.index(shape) * 10 + sorted(PROJECTIONS).index(projection)
    rng = np.random.default_rng([session_seed, number, dtype == "float64"])
    programs = [*random_programs(rng, N_PROGRAMS), lower(Rule("0.3"), TERMINALS)]
    compare(life, programs, tiers=("native", "auto"))
    compare(life, programs[-N_OPTIMISED:], tiers=("native-1",))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("projection", PROJECTIONS)
@pytest.mark.parametrize("shape", [(37, 200), (45, 100), (9, 1100), (1, 16), (3, 40)])
def test_rows_in_blocks_live_to_the_same_bits(shape, projection, dtype):
    """What rules share is compiled apart: some rows at a time, fused with the product or not."""
    rng = np.random.default_rng(shape)
    texts = [
        "pre*post - w",
        "w = 0.9*w + mod",
        "tanh(post*mod)*pre",
        "exp(pre)*post*tanh(w)",
        "square(pre - mod)*square(post + 0.5)/w",
        "0.25",
        "elig + post",
        "tanh(tanh(pre))",
    ]
    for is_mapped in (False, True):
        life = mapped_life(*shape, 12, dtype, is_mapped, **PROJECTIONS[projection])
        rules = [Rule(text) for text in texts] + random_rules(rng, 4)
        compare(life, [lower(rule, TERMINALS) for rule in rules], 0.05)


def mapped_life(n_out, n_in, steps, dtype, is_mapped, **projection):
    """Return the life of a layer for one draw, its activities bounded where ``is_mapped``."""
    rng = np.random.default_rng(4)
    b = LifetimeBuilder()
    x, y, m = b.vector("pre", n_in), b.vector("post", n_out), b.scalar("mod")
    w, z, shift = b.matrix("w", n_out, n_in), b.matrix("elig", n_out, n_in), b.vector("s", n_out)
    b.initial(w, b.table(rng.normal(0, 1 / n_in, (1, w.size)), shared=True))
    b.initial(z, b.table(rng.normal(0, 1, (1, w.size)), shared=True))
    inputs = b.table(rng.normal(0, 1, (steps, n_in)), shared=True)
    mods = b.table(rng.normal(0, 1, (steps, 1)), shared=True)
    with b.repeat(steps) as t:
        b.load(x, inputs, row=t)
        b.load(m, mods, row=t)
        b.matvec(y, w, x)
        if is_mapped:
            b.map(y, "max(y, 0) + 0.1*m", y=y, m=m)
            b.map(shift, "y - s", y=y, s=shift)
        b.rule(w=w, pre=x, post=shift if is_mapped else y, mod=m, elig=z)
    for buffer in (w, y, shift):
        b.output(buffer)
    limits = Projection(**{"low": -5.0, "high": 5.0, **projection})
    return b.build(draw_keys=np.zeros((1, 2)), projection=limits, dtype=dtype)


def life_of_every_phase(sizes, n_draws, dtype, *, is_chosen_by_draw=False, **projection):
    """Build a life of two layers, loops in loops and all phases; every buffer is reported."""
    n_in, n_hidden, n_out = sizes
    rng = np.random.default_rng(3)
    b = LifetimeBuilder()
    x, h, y = b.vector("x", n_in), b.vector("h", n_hidden), b.vector("y", n_out)
    noise, context, best = b.vector("n", n_hidden), b.vector("c", n_hidden), b.vector("b", n_out)
    error, back = b.vector("e", n_out), b.vector("d", n_hidden)
    mod, tone, low, mean = (b.scalar(name) for name in ("mod", "tone", "low", "mean"))
    first, second = b.matrix("w1", n_hidden, n_in), b.matrix("w2", n_out, n_hidden)
    buffers = [x, h, y, noise, context, best, error, back, mod, tone, low, mean]
    sites = []
    for pre, post, w, own_tone in ((x, h, first, b.scalar("own")), (h, y, second, tone)):
        scale = 1 / np.sqrt(w.n_in)
        b.initial(w, b.table(rng.normal(0, scale, (n_draws, 1, w.size))))
        states = {
            "elig": b.matrix("elig", w.n_out, w.n_in),
            "trace": b.vector("trace", w.n_in),
            "echo": b.vector("echo", w.n_in),
            "gain": b.vector("gain", w.n_out),
            "rate": b.vector("rate", w.n_out),
            "tone": own_tone,
        }
        sites.append({"w": w, "pre": pre, "post": post, "mod": mod, **states})
        buffers += [w, *states.values()]
    shared = b.table(rng.normal(size=(6, n_in)), shared=True)
    own = b.table(rng.normal(size=(n_draws, 12, n_in)))
    contexts = b.table(rng.normal(size=(n_draws, 5, n_hidden)))
    targets = b.table(rng.normal(size=(9, n_out)), shared=True)
    order = b.index(rng.integers(5, size=4), shared=True)
    if is_chosen_by_draw:
        choices = b.index(rng.integers(9, size=(n_draws, 12)))
    else:
        choices = b.index(rng.integers(9, size=12), shared=True)
    with b.repeat(2) as epoch:
        b.load(x, shared, row=3 * epoch + 1)
        b.random(back, "uniform")
        with b.repeat(2) as block:
            b.map(tone, "0.5*t + m", t=tone, m=mean)
            with b.repeat(3) as t:
                b.load(x, own, row=epoch * 6 + block * 3 + t)
                b.load(context, contexts, row=t + epoch, via=order)
                b.random(noise, "normal")
                b.matvec(h, first, x)
                b.map(h, "tanh(h + 0.1*n) + k*c", h=h, n=noise, c=context, k=mod)
                b.matvec(y, second, h)
                b.argmax(best, y)
                b.load(error, targets, row=epoch * 6 + block * 3 + t, via=choices)
                b.map(error, "e - b", e=error, b=best)
                b.matvec_t(back, second, error)
                b.reduce(mod, "max", back)
                b.map(mod, "tanh(m)", m=mod)
                b.rule(**sites[1])
                b.rule(**sites[0])
            b.reduce(mean, "mean", back)
            b.reduce(low, "min", y)
        b.matvec(h, first, x)
        b.map(h, "relu + max(h, 0)", h=h, relu=tone)
        b.rule(**sites[0])
    b.reduce(tone, "sum", h)
    for buffer in buffers:
        b.output(buffer)
    limits = {"low": -3.0, "high": 3.0, **projection}
    keys = rng.integers(0, 2**32, (n_draws, 2), dtype=np.uint32)
    return b.build(draw_keys=keys, dtype=dtype, projection=Projection(**limits))


@pytest.mark.parametrize("projection", PROJECTIONS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    ("sizes", "n_draws"),
    [((5, 7, 3), 20), ((3, 4, 4), 600), ((20, 33, 6), 3), ((9, 5, 130), 1)],
)
def test_a_life_of_every_phase_ends_with_the_same_bits(
    sizes, n_draws, dtype, projection, session_seed
):
    life = life_of_every_phase(sizes, n_draws, dtype, **PROJECTIONS[projection])
    rng = np.random.default_rng([session_seed, n_draws, dtype == "float64"])
    programs = random_site_programs(rng, 40 if IS_FULL else 3)
    compare(life, programs, 0.1)
    compare(life, programs[:1], 0.1, tiers=("native-1",) if IS_FULL else ())


@pytest.mark.parametrize("is_wide", [True, False])
def test_rows_that_each_draw_chooses_for_itself(is_wide):
    """Side by side such rows are not compiled, and the interpreter lives them."""
    sizes, n_draws = ((20, 18, 4), 3) if is_wide else ((5, 7, 3), 9)
    life = life_of_every_phase(sizes, n_draws, "float32", is_chosen_by_draw=True)
    assert (life.lanes == 1) == is_wide
    programs = random_site_programs(np.random.default_rng(1), 4)
    wanted = run_lifetimes(life, programs, 0.1, tier="interpreter")
    result = run_lifetimes(life, programs, 0.1, tier="native")
    assert_same_bits(result, wanted)
    assert (result.native_updates > 0) == is_wide


def recurrent_life(n, n_draws, steps=15):
    """Return a life of one layer whose post units are its pre units."""
    rng = np.random.default_rng(8)
    b = LifetimeBuilder()
    x, w, z = b.vector("x", n), b.matrix("w", n, n), b.matrix("z", n, n)
    field, mod = b.vector("field", n), b.scalar("mod")
    other = b.vector("other", n)
    first, trace = b.matrix("first", 1, n), b.matrix("trace", 1, n)
    b.initial(w, b.table(rng.normal(0, 1 / n, (n_draws, 1, n * n))))
    patterns = b.table(rng.choice([-1.0, 1.0], size=(steps + 1, n)), shared=True)
    with b.repeat(steps) as t:
        b.load(x, patterns, row=t)
        b.load(other, patterns, row=t + 1)
        b.rule(w=w, pre=x, post=x, mod=mod, elig=z)
        b.matvec(field, w, x)
        b.map(x, "sign(f) + 0.5*x", f=field, x=x)
        b.rule(w=w, pre=x, post=field, mod=mod, elig=z)
        b.matvec(field, w, x)
        b.rule(w=w, pre=field, post=x, mod=mod, elig=z)
        b.matvec(field, w, x)
        b.map(x, "tanh(f) - 0.5*x", f=mod, x=x)
        b.rule(w=w, pre=other, post=field, mod=mod, elig=z)
        b.matvec(field, w, x)
        b.rule(w=w, pre=other, post=field, mod=mod, elig=z)
        b.map(other, "0.5*f + o", f=field, o=other)
        b.matvec(mod, first, x)
        b.rule(w=first, pre=x, post=mod, mod=mod, elig=trace)
    for buffer in (x, w, z, field, mod, first, trace):
        b.output(buffer)
    limits = Projection(-2.0, 2.0, is_zero_diagonal=True)
    return b.build(draw_keys=np.zeros((n_draws, 2)), projection=limits)


@pytest.mark.parametrize(("n", "n_draws"), [(6, 20), (12, 3), (17, 2), (100, 1)])
def test_a_layer_that_feeds_itself(n, n_draws):
    programs = random_programs(np.random.default_rng(n), 100 if IS_FULL else 8)
    compare(recurrent_life(n, n_draws), programs)


@pytest.mark.parametrize(
    "name", ["oja_pc1", "delta_rule", "switching_cue", "hopfield_storage", "oja_digits"]
)
def test_lives_of_the_problems(name, session_seed):
    problem = evosearch.load_problem(name, preset="quick")
    is_long = name in ("hopfield_storage", "oja_digits")
    split = "test" if name == "oja_digits" else "search"
    draws = problem.draws(split, count=3 if is_long else None)
    rng = np.random.default_rng([session_seed, len(name)])
    names = [terminal.name for terminal in problem.terminals]
    n = 200 if IS_FULL else 4
    rules = [Rule(random_expression(rng, 13, names=names)) for _ in range(n)]
    programs = [lower(rule, problem.terminals) for rule in (Rule("0.01"), *rules)]
    for life in problem.lifetimes(draws):
        compare(life, programs, 0.05, tiers=("native", "auto"))


@pytest.mark.parametrize(
    ("n_in", "n_draws", "is_bounded"),
    [
        (3, 4, False),
        (3, 4, True),
        (20, 2, False),
        (20, 2, True),
    ],
)
def test_an_activity_that_overflows_ends_a_life_of_finite_weights(n_in, n_draws, is_bounded):
    b = LifetimeBuilder()
    x, y, w = b.vector("pre", n_in), b.vector("post", 2), b.matrix("w", 2, n_in)
    b.initial(w, b.table(np.full((1, 2 * n_in), 1e30), shared=True))
    inputs = b.table(np.geomspace(1, 1e12, 5)[:, None] * np.ones(n_in), shared=True)
    with b.repeat(5) as t:
        b.load(x, inputs, row=t)
        b.matvec(y, w, x)
        if is_bounded:
            b.map(y, "min(y, 1)", y=y)
        b.rule(w=w, pre=x, post=y)
    b.output(w)
    life = b.build(draw_keys=np.zeros((n_draws, 2)))
    program = lower(Rule("w = w"), TERMINALS[:3])
    result = run_lifetimes(life, [program], 1.0, tier="native")
    assert (result.exploded_at == 3).all()
    assert result.native_updates == 0
    assert_same_bits(result, run_lifetimes(life, [program], 1.0, tier="interpreter"))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("shape", [(1, 3, 5), (6, 20, 2), (1, 3, 40)])
def test_an_exploding_life_is_handed_back(shape, dtype):
    life, _ = layer_life(*shape[:2], 30, shape[2], dtype, low=-np.inf, high=np.inf)
    texts = ["w*w*1000000 + 100000", "exp(exp(20*post*post))", "w = 0/(pre - pre) + 1/0 - log(0)"]
    programs = [lower(Rule(text), TERMINALS) for text in texts]
    alone = run_lifetimes(life, programs[:1], 1.0, tier="native")
    assert (alone.exploded_at >= 0).all()
    assert alone.native_updates == 0
    several = compare(life, [*programs, lower(Rule("0.001*pre"), TERMINALS)], 1.0)
    assert 0 < several.native_updates < several.synapse_updates


@pytest.mark.parametrize("shape", [(2, 3, 200), (2, 20, 5)])
def test_only_the_draws_that_explode_are_handed_back(shape):
    """A group of draws side by side is handed back as a whole; the other groups are kept."""
    n_out, n_in, n_draws = shape
    start = np.zeros((n_draws, 1, n_out * n_in))
    start[1, 0, -1] = np.inf
    b = LifetimeBuilder()
    x, y, w = b.vector("pre", n_in), b.vector("post", n_out), b.matrix("w", n_out, n_in)
    b.initial(w, b.table(start))
    b.initial(x, b.table(np.ones((1, n_in)), shared=True))
    with b.repeat(4):
        b.matvec(y, w, x)
        b.rule(w=w, pre=x, post=y)
    b.output(w)
    life = b.build(draw_keys=np.zeros((n_draws, 2)))
    result = compare(life, [lower(Rule("pre"), TERMINALS[:3])], 1.0)
    assert (result.exploded_at[0] >= 0).sum() == 1
    assert result.native_updates == (n_draws - life.lanes) * 4 * n_out * n_in


@pytest.mark.parametrize("shape", [(1, 3, 20), (4, 37, 2)])
def test_constants_step_size_and_clip_are_arguments(shape):
    text = "w = {0}*w + {1}*pre*post + {2}; elig = tanh({1}*elig + mod)"
    first, second = (
        lower(Rule(text.format(*values)), TERMINALS)
        for values in ((0.9, 0.1, 0.01), (-0.4, 1.7, -2.0))
    )
    lives = [
        layer_life(*shape[:2], 25, shape[2], low=-limit, high=limit)[0] for limit in (5.0, 0.7)
    ]
    keys = {structure(life, program) for life in lives for program in (first, second)}
    assert len(keys) == 1
    compiler = Compiler(0)
    assert not compiler.knows(next(iter(keys)))
    compiled = compiler.compile(lives[0], [first])
    assert compiler.knows(next(iter(keys)))
    assert compiler.compile(lives[1], [second]) == compiled
    for life in lives:
        for eta in (0.01, 1.0):
            compare(life, [first, second], eta)


def test_whether_there_is_a_clip_or_a_norm_is_part_of_the_code():
    program = lower(Rule("pre*post"), TERMINALS)
    lives = [layer_life(2, 3, 5, 2, **limits)[0] for limits in PROJECTIONS.values()]
    lives += [layer_life(2, 3, 5, 2, "float64")[0], layer_life(2, 3, 6, 2)[0]]
    assert len({structure(life, program) for life in lives}) == len(lives)
    assert structure(lives[0], lower(Rule("pre - post"), TERMINALS)) != structure(lives[0], program)
    assert structure(lives[0], lower(Rule("dw = w; elig = w"), TERMINALS)) != structure(
        lives[0], lower(Rule("w = w; elig = w"), TERMINALS)
    )


@pytest.mark.parametrize("n_in", [3, 100])
def test_numbers_that_fill_too_much_memory_are_drawn_by_the_interpreter(n_in, monkeypatch):
    sizes = (n_in, 6, 3)
    ahead = life_of_every_phase(sizes, 3, "float32")
    monkeypatch.setattr(lifetime, "MAX_DRAWN_AHEAD", 10)
    within = life_of_every_phase(sizes, 3, "float32")
    programs = random_site_programs(np.random.default_rng(2), 3)
    assert run_lifetimes(ahead, programs, 0.1, tier="native").native_updates > 0
    result = run_lifetimes(within, programs, 0.1, tier="native")
    assert result.native_updates == 0
    assert_same_bits(result, run_lifetimes(ahead, programs, 0.1, tier="interpreter"))


@pytest.mark.parametrize("tier", ["native", "native-1", "auto"])
@pytest.mark.parametrize("shape", [(1, 3, 20), (4, 37, 2)])
def test_chunks_and_threads_give_the_bits_of_the_whole(shape, tier):
    life, _ = layer_life(*shape[:2], 25, shape[2])
    n = 8 if tier == "native-1" and not IS_FULL else 64
    programs = random_programs(np.random.default_rng(4), n)
    whole = run_lifetimes(life, programs, 0.01, tier="interpreter")
    for size in (1, 7, 64):
        chunks = [programs[k : k + size] for k in range(0, n, size)]
        with ThreadPoolExecutor(3) as pool:
            parts = list(pool.map(lambda c: run_lifetimes(life, c, 0.01, tier=tier), chunks))
        assert (bits(np.concatenate([p.outputs for p in parts])) == bits(whole.outputs)).all()
        assert (np.concatenate([p.exploded_at for p in parts]) == whole.exploded_at).all()
        assert (np.concatenate([p.clip_hits for p in parts]) == whole.clip_hits).all()
        assert sum(p.synapse_updates for p in parts) == whole.synapse_updates


def small_life(n_out, n_in, steps, projection=None):
    """Return what ``steps(b, x, y, w)`` adds to a loop, for one draw of an x, a y and a w."""
    rng = np.random.default_rng(0)
    b = LifetimeBuilder()
    x, y, w = b.vector("pre", n_in), b.vector("post", n_out), b.matrix("w", n_out, n_in)
    b.initial(w, b.table(rng.normal(size=(1, w.size)), shared=True))
    b.initial(x, b.table(rng.normal(size=(1, n_in)), shared=True))
    with b.repeat(3):
        steps(b, x, y, w)
        b.rule(w=w, pre=x, post=y)
    for buffer in (x, y, w):
        b.output(buffer)
    return b.build(draw_keys=np.zeros((1, 2)), projection=projection)


@pytest.mark.parametrize("row_norm", [0.0, -1.0])
def test_a_norm_of_zero_or_less_means_the_same_everywhere(row_norm):
    life = small_life(2, 3, lambda b, x, y, w: None, Projection(row_norm=row_norm))
    compare(life, [lower(Rule("pre"), TERMINALS[:3])])


def test_a_map_may_write_the_weights_between_a_product_and_the_rule():
    def steps(b, x, y, w):
        b.matvec(y, w, x)
        b.map(w, "0.5*a", a=w)

    compare(small_life(5, 1, steps), [lower(Rule("pre"), TERMINALS[:3])])


def test_a_product_may_overwrite_its_operand():
    life = small_life(6, 6, lambda b, x, y, w: b.matvec(x, w, x))
    compare(life, [lower(Rule("pre"), TERMINALS[:3])])
