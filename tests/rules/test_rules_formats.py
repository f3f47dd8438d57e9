"""Exported sources compute what the rule computes."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rules_random import MILD, chain, fuzz_seed, random_expression, random_values

from evosearch.errors import InputError
from evosearch.report.mathml import rule_mathml
from evosearch.rules.expression import Expression
from evosearch.rules.formats import FORMATS, export_rule, latex
from evosearch.rules.library import KNOWN
from evosearch.rules.primitives import PRIMITIVES
from evosearch.rules.rule import Rule

NAMES = ("w", "pre", "post", "mod", "mean_post")
PARTS = Rule("dw = max(pre, w)/elig; elig = 0.9*elig + pre*post; theta = square(post)")
RUN_ALL = """
import inspect, json, pathlib, sys, warnings
import numpy as np
warnings.simplefilter("error")
folder = sys.argv[1]
sources = json.loads(pathlib.Path(folder, "sources.json").read_text())
values = dict(np.load(f"{folder}/values.npz"))
results = {}
for number, source in enumerate(sources):
    space = {}
    exec(compile(source, f"source {number}", "exec"), space)
    result = space["rule"](**{n: values[n] for n in inspect.signature(space["rule"]).parameters})
    parts = result if isinstance(result, dict) else {"only": result}
    results |= {f"{number} {part}": value for part, value in parts.items()}
np.savez(f"{folder}/results.npz", **results)
"""


def _rules() -> list[Rule]:
    rng = np.random.default_rng(fuzz_seed())
    rules = [Rule(Expression([name, *NAMES[: p.arity]])) for name, p in PRIMITIVES.items()]
    rules += [Rule(Expression([name, *[0.5, 0.0][: p.arity]])) for name, p in PRIMITIVES.items()]
    for k in range(150):
        rules.append(Rule(random_expression(rng, 3 + k % 50, terminals=NAMES, constants=MILD)))
    deep = [*(["tanh", "add", "pre"] * 300), "w"]
    return [*rules, PARTS, Rule("w = w"), Rule("1e-5"), Rule("2/3"), Rule(Expression(deep))]


def test_exported_python_computes_the_rule_in_a_process_of_its_own(tmp_path: Path) -> None:
    rules = _rules()
    values = random_values(np.random.default_rng(1), (*NAMES, "elig"))
    values["w"][:4] = [1e300, -1e300, 2.0**21, np.inf]
    np.savez(tmp_path / "values.npz", **values)
    sources = [export_rule(rule, "python") for rule in rules]
    (tmp_path / "sources.json").write_text(json.dumps(sources))
    subprocess.run([sys.executable, "-c", RUN_ALL, str(tmp_path)], check=True, timeout=120)
    results = np.load(tmp_path / "results.npz")
    for number, rule in enumerate(rules):
        parts = rule.evaluate_parts(**values)
        for part, expected in parts.items():
            found = results[f"{number} {part if len(parts) > 1 else 'only'}"]
            assert found.dtype == np.float64
            np.testing.assert_array_equal(found, expected, err_msg=rule.text)


def test_exported_python_keeps_single_precision() -> None:
    rule = Rule("exp(2)*pre + max(w, 0.5)/3 - sigmoid(1)")
    values = {name: np.ones(3, np.float32) for name in ("w", "pre", "post")}
    found = _run(export_rule(rule, "python"))["rule"](**values)
    assert found.dtype == np.float32
    assert rule(**values).dtype == np.float32
    np.testing.assert_array_equal(found, rule(**values))


def test_exported_torch_computes_the_rule() -> None:
    torch = pytest.importorskip("torch")
    values = random_values(np.random.default_rng(2), (*NAMES, "elig"))
    tensors = {name: torch.from_numpy(value) for name, value in values.items()}
    for rule in _rules():
        function = _run(export_rule(rule, "torch"))["rule"]
        count = function.__code__.co_argcount
        result = function(**{n: tensors[n] for n in function.__code__.co_varnames[:count]})
        parts = result if isinstance(result, dict) else {next(iter(rule.parts)): result}
        for part, expected in rule.evaluate_parts(**tensors).items():
            np.testing.assert_allclose(
                np.asarray(parts[part]), np.asarray(expected), rtol=1e-12, err_msg=rule.text
            )


def test_torch_evaluation_keeps_type_and_agrees_with_numpy() -> None:
    torch = pytest.importorskip("torch")
    rule = Rule("exp(2)*pre + max(0.5, w)/3 - pow(2, 0.5)")
    values = {"w": np.linspace(-2, 2, 9), "pre": np.linspace(0, 1, 9)}
    found = rule(**{name: torch.from_numpy(value) for name, value in values.items()})
    assert found.dtype == torch.float64
    np.testing.assert_allclose(found.numpy(), rule(**values), rtol=1e-14)


def test_exported_sympy_has_the_values() -> None:
    sympy = pytest.importorskip("sympy")
    rng = np.random.default_rng(3)
    rules = [Rule(Expression([name, *NAMES[: p.arity]])) for name, p in PRIMITIVES.items()]
    rules += [Rule(entry.text) for entry in KNOWN.values()]
    for rule in [*rules, PARTS, Rule("0.5"), Rule("square(w + pre)/square(post)")]:
        parts = _run(export_rule(rule, "sympy"))["parts"]
        for _ in range(3):
            names = sorted(rule.terminals)
            point = {name: float(rng.choice([-1.5, 0.0, 0.25, 1.0, 2.0])) for name in names}
            symbols = {sympy.Symbol(name, real=True): value for name, value in point.items()}
            for part, expected in rule.evaluate_parts(**point).items():
                assert float(parts[part].subs(symbols)) == pytest.approx(float(expected)), part


def test_exported_brian2_statements_have_the_values() -> None:
    values = random_values(np.random.default_rng(4), (*NAMES, "elig"))
    known = ("abs", "sign", "sqrt", "exp", "log", "log1p", "tanh", "sin", "clip", "inf")
    space: dict[str, Any] = {name: getattr(np, name) for name in known}
    space["int"] = lambda a: np.asarray(a).astype(float)
    rules = [Rule(Expression([name, *NAMES[: p.arity]])) for name, p in PRIMITIVES.items()]
    rules += [Rule("max(w*pre, pre - post)"), Rule("(w + pre)/(pre - post)")]
    for rule in [*rules, Rule("log(w + pre)*-2"), Rule("w = mod*w"), PARTS]:
        source = _run(export_rule(rule, "brian2"))
        local = {f"rate_{n}" if n in ("pre", "post") else n: v for n, v in values.items()}
        result = local | {"eta": 1.0}
        with np.errstate(all="ignore"):
            exec(source["on_pre"].strip(), {"__builtins__": {}, **space}, result)  # noqa: S102
        for part, expected in rule.evaluate_parts(**values).items():
            np.testing.assert_allclose(
                np.broadcast_to(result[f"new_{part}"], 40), np.broadcast_to(expected, 40),
                rtol=1e-12, atol=1e-300, err_msg=rule.text,
            )  # fmt: skip
        assert "w : 1" in source["model"]


def test_json_holds_the_facts_of_the_rule() -> None:
    facts = json.loads(export_rule(PARTS, "json"))
    assert Rule(facts["text"]) == PARTS
    assert facts["form"] == "increment"
    assert facts["constants"] == [0.9]
    assert facts["terminals"] == ["elig", "post", "pre", "w"]
    assert facts["size"] == PARTS.size
    assert list(facts["parts"]) == ["dw", "elig", "theta"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("w", r"\Delta w = w"),
        ("w = w", "w' = w"),
        ("square(post)*w", r"\Delta w = \mathrm{post}^{2} w"),
        ("w/(1 + w)", r"\Delta w = \frac{w}{1 + w}"),
        ("w*(1 + w)", r"\Delta w = w \left(1 + w\right)"),
        ("w - (w - 1)", r"\Delta w = w - \left(w - 1\right)"),
        ("w + (w - 1)", r"\Delta w = w + w - 1"),
        ("w - -w", r"\Delta w = w - \left(-w\right)"),
        ("-w + 1", r"\Delta w = -w + 1"),
        ("-(w + 1)", r"\Delta w = -\left(w + 1\right)"),
        ("w*-2", r"\Delta w = w \left(-2\right)"),
        ("2*3*w", r"\Delta w = 2 \cdot 3 w"),
        ("square(w*2)", r"\Delta w = \left(w \cdot 2\right)^{2}"),
        ("square(square(w))", r"\Delta w = \left(w^{2}\right)^{2}"),
        ("square(-2)", r"\Delta w = \left(-2\right)^{2}"),
        ("1e-5*w", r"\Delta w = 10^{-5} w"),
        ("2.5e30*w", r"\Delta w = 2.5 \times 10^{30} w"),
        ("mean_post", r"\Delta w = \mathrm{mean\_post}"),
        ("pow(w, 2)", r"\Delta w = \left|w\right|^{2}"),
        ("dw = w; z = 1", r"\begin{aligned} \Delta w &= w \\ z &= 1 \end{aligned}"),
        ("dw = w; z = w", r"\begin{aligned} \Delta w &= w \\ z' &= w \end{aligned}"),
    ],
)
def test_latex_is_as_one_would_write_it(text: str, expected: str) -> None:
    assert latex(Rule(text)) == export_rule(Rule(text), "latex") == expected


def test_latex_braces_and_brackets_are_balanced() -> None:
    for rule in _rules():
        text = latex(rule)
        assert text.count("{") == text.count("}")
        assert text.count(r"\left") == text.count(r"\right")


def test_words_of_the_language_become_other_names() -> None:
    rule = Rule("lambda*np + _t0*_div/rule - float*lambda_ + eta/e")
    names = ["lambda", "np", "_t0", "_div", "rule", "float", "lambda_", "eta", "e"]
    values = {name: np.float64(k + 2) for k, name in enumerate(names)}
    function = _run(export_rule(rule, "python"))["rule"]
    order = ["w", "pre", "post", *sorted(names)]
    found = function(*(values.get(name, np.float64(0)) for name in order))
    assert found == rule(**values)
    for to in FORMATS:
        source = export_rule(rule, to)
        if to in ("torch", "sympy", "brian2"):
            compile(source, to, "exec")
    on_pre = _run(export_rule(rule, "brian2"))["on_pre"]
    assert not re.search(r"(?<!\w)(lambda|_\w+)(?!\w)", on_pre)


@pytest.mark.parametrize("to", FORMATS)
@pytest.mark.parametrize(
    "expression",
    [chain("neg", 100_000), chain("log", 10_000), Expression(["add"] * 49_999 + ["w"] * 50_000)],
    ids=["neg", "log", "sum"],
)
def test_large_rules_are_exported(to: str, expression: Expression) -> None:
    source = export_rule(Rule(expression), to)
    assert len(source) > 10_000
    if to == "python":
        found = _run(source)["rule"](w=np.ones(2), pre=0.0, post=0.0)
        np.testing.assert_array_equal(found, Rule(expression)(w=np.ones(2)))


def test_unknown_formats_are_refused() -> None:
    with pytest.raises(InputError, match="Did you mean 'python'"):
        export_rule(Rule("w"), "pyton")


def _run(source: str) -> dict[str, Any]:
    space: dict[str, Any] = {}
    exec(compile(source, "exported", "exec"), space)  # noqa: S102
    return space


def test_a_formula_is_called_y_and_genes_do_not_count_as_nodes() -> None:
    assert latex(Rule("x*x"), is_formula=True) == "y = x x"
    assert "<mi>y</mi><mo>=</mo>" in rule_mathml(Rule("x*x"), is_formula=True)
    rule = Rule("dw = pre*z; z = post; decay = -0.5")
    assert "<mi>z</mi><mo>←</mo>" in rule_mathml(rule)
    assert "<mi>decay</mi><mo>=</mo>" in rule_mathml(rule)
    assert rule.size == 4
