"""The library of known rules: complete, readable, and as the science document has them."""

from __future__ import annotations

import tomllib
from pathlib import Path

import numpy as np
import pytest

from evosearch.errors import InputError
from evosearch.rules.fingerprint import fingerprint
from evosearch.rules.library import KNOWN, known_rule
from evosearch.rules.polynomial import form_of
from evosearch.rules.rule import Rule

PROBLEMS = sorted((Path(__file__).parents[2] / "problems").glob("*.toml"))
TERMINALS = {
    "w", "pre", "post", "target", "error", "mod", "elig", "field_pre", "field_post", "lateral",
    "mean_pre", "mean_post",
}  # fmt: skip


@pytest.mark.parametrize("name", KNOWN)
def test_rule_is_written_as_it_prints_and_reads_usual_terminals(name: str) -> None:
    rule, entry = known_rule(name), KNOWN[name]
    assert rule.text == entry.text
    assert Rule(rule.text) == rule
    assert rule.terminals <= TERMINALS
    assert entry.name == name
    assert entry.meaning
    assert entry.authors
    assert 1940 < entry.year < 2100


@pytest.mark.parametrize("path", PROBLEMS, ids=lambda path: path.stem)
def test_rules_that_problems_name_are_there_and_mean_the_same(path: Path) -> None:
    problem = tomllib.loads(path.read_text(encoding="utf-8"))
    if "rule" not in problem:
        pytest.skip("its candidates are vectors")
    offered = set(problem["rule"]["terminals"])
    for name, entry in problem["known"].items():
        if "library" in entry:
            assert known_rule(entry["library"]).terminals <= offered
        elif name in KNOWN and "text" in entry:
            rule = Rule(Rule(entry["text"]).main)  # without its genes
            if rule.terminals == known_rule(name).terminals:
                assert form_of(rule) == form_of(known_rule(name))


@pytest.mark.parametrize(
    ("name", "values", "expected"),
    [
        ("zero", {}, 0.0),
        ("hebb", {"pre": 2.0, "post": 3.0}, 6.0),
        ("anti_hebb", {"pre": 2.0, "post": 3.0}, -6.0),
        ("oja", {"w": 0.5, "pre": 2.0, "post": 3.0}, 3.0 * (2.0 - 1.5)),
        ("bcm", {"pre": 2.0, "post": 3.0, "mean_post": 2.0}, 2.0 * 3.0 * (3.0 - 4.0)),
        ("delta", {"pre": 2.0, "post": 0.25, "target": 1.0}, 1.5),
        ("widrow_hoff_field", {"pre": -1.0, "post": 1.0, "field_post": 0.25}, -0.75),
        ("switching_niv", {"pre": 1.0, "post": 1.0, "mod": 0.4}, 2.0),
        ("switching_niv", {"pre": 1.0, "post": 0.0, "mod": 0.4}, -2.0),
        ("abcd", {"pre": 2.0, "post": 3.0}, 12.0),
    ],
)
def test_rule_has_the_value(name: str, values: dict[str, float], expected: float) -> None:
    assert float(known_rule(name)(**values)) == pytest.approx(expected)


def test_product_is_simplified_storkey_plus_the_product_of_fields() -> None:
    both = Rule(f"{KNOWN['storkey_simplified'].text} + field_pre*field_post")
    assert fingerprint(known_rule("product")) == fingerprint(both)


def test_sangers_rule_orders_principal_components() -> None:
    rng = np.random.default_rng(0)
    x = rng.standard_normal((4_000, 3)) * np.array([3.0, 2.0, 1.0])
    w = rng.standard_normal((2, 3)) * 0.1
    rule = known_rule("sanger")
    for pre in x:
        post = w @ pre
        lateral = np.cumsum(post[:, None] * w, axis=0)
        w = w + 0.005 * rule(pre=pre[None, :], post=post[:, None], lateral=lateral)
    assert np.abs(w[[0, 1], [0, 1]]) == pytest.approx([1.0, 1.0], abs=0.1)


def test_unknown_names_are_refused_with_the_nearest() -> None:
    with pytest.raises(InputError, match="Did you mean 'oja'"):
        known_rule("ojja")
