"""Which rules are compiled, what that is decided by, and what happens where it cannot be done."""

import json
import logging
from dataclasses import asdict
from functools import cache
from types import SimpleNamespace

import numpy as np
import pytest
from engine_programs import TERMINALS, layer_life, random_rules

from evosearch.engine.native import calibration, life, tiers
from evosearch.engine.native.calibration import Coefficients, coefficients
from evosearch.engine.native.compiler import Compiler
from evosearch.engine.native.tiers import TierChoice
from evosearch.engine.native.work import bounds_of, work_of
from evosearch.engine.run import run_lifetimes
from evosearch.rules.lower import lower
from evosearch.rules.rule import Rule

RUN = (1e-6, 1e-7, 1e-9, 1e-8, 1e-9)
MADE_UP = Coefficients(
    interpreter=RUN,
    level0=tuple(x / 5 for x in RUN),
    level1=tuple(x / 8 for x in RUN),
    compile0=(1e-3, 5e-4, 1e-6),
    compile1=(1e-3, 5e-3, 1e-5),
)


@pytest.fixture
def compilers(monkeypatch):
    """Return new compilers by level, which take the place of this process's."""
    made = cache(Compiler)
    monkeypatch.setattr(tiers, "compiler", made)
    return made


def assert_same_bits(ours, theirs):
    assert ours.outputs.tobytes() == theirs.outputs.tobytes()
    assert (ours.exploded_at == theirs.exploded_at).all()
    assert (ours.clip_hits == theirs.clip_hits).all()
    assert ours.synapse_updates == theirs.synapse_updates


def programs_of(n, seed=0):
    return [lower(rule, TERMINALS) for rule in random_rules(np.random.default_rng(seed), n)]


@pytest.mark.parametrize("shape", [(1, 3, 20), (4, 37, 2)])
def test_a_rule_too_long_to_compile_is_interpreted(shape):
    net, _ = layer_life(*shape[:2], 5, shape[2])
    terms = [f"w*{k}.5" for k in range(1 + life.MAX_INSTRUCTIONS // 2)]
    while len(terms) > 1:  # text nests no deeper than the parser allows
        pairs = zip(terms[::2], terms[1::2], strict=False)
        terms = [f"({a} + {b})" for a, b in pairs] + terms[len(terms) // 2 * 2 :]
    long, short = (lower(Rule(text), TERMINALS) for text in (terms[0], "pre*post"))
    assert len(long.code) > life.MAX_INSTRUCTIONS
    wanted = run_lifetimes(net, [long, short], 1e-9, tier="interpreter")
    for tier in ("native", "auto"):
        result = run_lifetimes(net, [long, short], 1e-9, tier=tier)
        assert_same_bits(result, wanted)
        assert 2 * result.native_updates <= result.synapse_updates
    assert run_lifetimes(net, [long], 1e-9, tier="native").native_updates == 0


@pytest.mark.parametrize("shape", [(1, 3, 20), (4, 37, 2)])
def test_where_llvm_refuses_rules_are_interpreted_with_one_warning(
    shape, compilers, monkeypatch, caplog
):
    def refuse(self, text, n_functions, level=0):
        raise RuntimeError("LLVM IR parsing error\n<string>:1:1: error: expected a type")

    monkeypatch.setattr(Compiler, "_load", refuse)
    net, _ = layer_life(*shape[:2], 25, shape[2])
    first, second = programs_of(5), programs_of(5, seed=1)
    for programs in (first, second, first + second):
        result = run_lifetimes(net, programs, 0.01, tier="native")
        assert result.native_updates == 0
        assert_same_bits(result, run_lifetimes(net, programs, 0.01, tier="interpreter"))
    warnings = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert len(warnings) == 1
    assert "LLVM refuses them (LLVM IR parsing error)" in warnings[0].getMessage()


def test_the_text_that_is_compiled_is_valid_for_llvm_and_a_wrong_one_is_refused(compilers):
    with pytest.raises(RuntimeError):
        compilers(0)._load("define i32 @life( {", 1)


def test_one_short_life_is_interpreted_and_many_are_compiled(compilers, monkeypatch):
    net, _ = layer_life(1, 3, 5, 20)
    monkeypatch.setattr(tiers, "_choice", TierChoice(MADE_UP))
    program = programs_of(1)[0]
    once = run_lifetimes(net, [program], 0.01)
    assert once.native_updates == 0
    often = run_lifetimes(net, [program] * 2000, 0.01)
    assert often.native_updates == often.synapse_updates
    assert_same_bits(often, run_lifetimes(net, [program] * 2000, 0.01, tier="interpreter"))
    # What is compiled once is used for a single life too.
    assert run_lifetimes(net, [program], 0.01).native_updates > 0


def test_a_structure_that_comes_again_and_again_is_compiled_in_the_end(compilers):
    net, _ = layer_life(1, 3, 5, 20)
    choice = TierChoice(MADE_UP)
    rule = Rule("0.5*pre*post")
    compiled = [
        choice.choose(net, [lower(rule.with_constants([k / 100]), TERMINALS)])[0] is not None
        for k in range(200)
    ]
    assert not compiled[0]
    assert compiled[-1]
    assert compiled == sorted(compiled)


def test_a_rule_that_lives_long_is_optimised(compilers):
    net, _ = layer_life(32, 64, 2000, 1)
    program = lower(Rule("exp(w*pre) - tanh(post*w)"), TERMINALS)
    choice = TierChoice(MADE_UP)
    assert (
        choice.choose(net, [program] * 1000)[0] == compilers(1).compile(net, [program]).popitem()[1]
    )
    assert not compilers(0)._functions


def test_a_cheaper_interpreter_is_never_left(compilers):
    twice, second = tuple(2 * x for x in RUN), (1.0, 1.0, 1.0)
    slow = Coefficients(RUN, twice, twice, second, second)
    net, _ = layer_life(1, 3, 5, 20)
    assert TierChoice(slow).choose(net, programs_of(1) * 1000) == [None] * 1000


def test_a_machine_that_compiles_slowly_compiles_less(compilers, monkeypatch):
    net, _ = layer_life(1, 3, 5, 20)
    choice = TierChoice(MADE_UP)
    clock = iter(range(0, 10**6, 10))
    monkeypatch.setattr(tiers, "time", SimpleNamespace(thread_time=lambda: float(next(clock))))
    before = choice._slowness[0]
    first, second = (lower(Rule(text), TERMINALS) for text in ("pre*post", "pre - post"))
    work = work_of(net, first)
    gain = 2 * (MADE_UP.interpreter_time(work.counts) - MADE_UP.native_time(work.counts, 0))
    n = int(3 * MADE_UP.compile_time(work.code, 0) / gain)
    assert choice.choose(net, [first] * n)[0] is not None
    assert choice._slowness[0] > 3 * before
    assert choice.choose(net, [second] * n)[0] is None


@pytest.mark.parametrize("shape", [(1, 3, 20), (5, 7, 3), (8, 16, 1), (2, 600, 2)])
def test_the_bound_of_a_length_holds_for_every_rule_of_it(shape):
    net, _ = layer_life(*shape[:2], 7, shape[2])
    for rule in random_rules(np.random.default_rng(4), 50):
        program = lower(rule, TERMINALS)
        work, (most, least_code) = work_of(net, program), bounds_of(net, len(program.code))
        assert all(bound >= count for bound, count in zip(most, work.counts, strict=True))
        assert 0 < least_code <= work.code


@pytest.fixture
def kept(tmp_path, monkeypatch):
    """Return the path of the measurement, and the list of times it was made."""
    measured = []

    def measure(_):
        measured.append(True)
        return MADE_UP

    monkeypatch.setattr(calibration, "FOLDER", tmp_path)
    monkeypatch.setattr(calibration, "measure", measure)
    return tmp_path / "tiers.json", measured


def live(life, programs, tier):
    return run_lifetimes(life, programs, 1e-3, tier=tier)


def test_a_machine_is_measured_once(kept):
    path, measured = kept
    assert coefficients(live) == MADE_UP
    assert len(measured) == 1
    assert Coefficients(**{k: tuple(v) for k, v in json.loads(path.read_text()).items()}) == MADE_UP
    assert coefficients(live) == MADE_UP
    assert len(measured) == 1
    assert [p.name for p in path.parent.iterdir()] == ["tiers.json"]


def test_a_good_measurement_is_used_as_it_is(kept):
    path, measured = kept
    other = Coefficients(RUN, RUN, RUN, (0.0, 0.5, 0.25), (1.0, 2.0, 3.0))
    path.write_text(json.dumps(asdict(other)), encoding="utf-8")
    assert coefficients(live) == other
    assert not measured


def damaged():
    good = {name: list(numbers) for name, numbers in asdict(MADE_UP).items()}
    yield "empty", b""
    yield "cut", json.dumps(good).encode()[:-20]
    yield "not text", b"\xff\xfe\x00"
    yield "a list", b"[1, 2]"
    yield "a number", b"3"
    yield "stale: a name less", json.dumps({k: good[k] for k in sorted(good)[1:]}).encode()
    yield "stale: a name more", json.dumps({**good, "level2": list(RUN)}).encode()
    yield "stale: a number less", json.dumps({**good, "level1": list(RUN)[1:]}).encode()
    for wrong in ("1", None, True, -1.0, float("nan"), float("inf"), [1.0]):
        yield f"{wrong!r}", json.dumps({**good, "compile0": [wrong, 1.0, 1.0]}).encode()
    yield "no list", json.dumps({**good, "compile0": 1.0}).encode()


@pytest.mark.parametrize("content", [pytest.param(data, id=name) for name, data in damaged()])
def test_a_damaged_or_stale_measurement_is_made_anew_and_replaced(content, kept):
    path, measured = kept
    path.write_bytes(content)
    assert coefficients(live) == MADE_UP
    assert len(measured) == 1
    assert coefficients(live) == MADE_UP
    assert len(measured) == 1


def test_a_measurement_that_cannot_be_kept_is_used(kept, tmp_path, monkeypatch):
    _, measured = kept
    monkeypatch.setattr(calibration, "FOLDER", tmp_path / "missing")
    assert coefficients(live) == MADE_UP
    assert coefficients(live) == MADE_UP
    assert len(measured) == 2


@pytest.mark.full
def test_this_machine_can_be_measured():
    measured = calibration.measure(live)
    net, _ = layer_life(32, 64, 2000, 1)
    counts = work_of(net, programs_of(1)[0]).counts
    assert 0 < measured.native_time(counts, 0) < measured.interpreter_time(counts)
    assert measured.compile_time(1000.0, 0) > 0
