"""Families of equivalent rules that a run has met: one form, many spellings and constants."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from evosearch.errors import EvosearchError
from evosearch.rules.fingerprint import fingerprint
from evosearch.rules.parser import parse
from evosearch.rules.polynomial import form_of
from evosearch.rules.rule import Rule
from evosearch.store.records import MetRule

_TERM = re.compile(r"[+−] [^ ;]+")
_FRACTION = re.compile(r"\d+\.\d+(?:e[+-]?\d+)?")
_SHOWN_TERMS = 4
N_OF_SIZE = 100
"""Best rules of each size that are sorted into families; a report takes a second or two for it."""


@dataclass(frozen=True)
class Family:
    """Rules that are the same but for spelling and the values of constants.

    Attributes:
        form: the signed terms that all share, as ``+ post·pre − post²·w``; empty where the rules
            are no polynomials, and share their values instead.
        size: nodes of the smallest.
        text: the one of this size with the highest fitness.
        fitness: its fitness on search draws.
        validation: the highest fitness on validation draws of all that were scored there, or None.
        n_rules: different ones among the best of their size.
        n_met: how often these were proposed.
    """

    form: str
    size: int
    text: str
    fitness: float
    validation: float | None
    n_rules: int
    n_met: int

    @property
    def short_form(self) -> str:
        """The form, of a long one the first terms and how many there are."""
        terms = _TERM.findall(self.form)
        shown = self.form if len(terms) <= _SHOWN_TERMS else " ".join(terms[:_SHOWN_TERMS])
        return shown if shown == self.form else f"{shown} … {len(terms)} terms"

    @property
    def short_text(self) -> str:
        """The rule with its constants in four digits, for reading."""
        return _FRACTION.sub(lambda found: f"{float(found[0]):.4g}", self.text)


def families_of(met: Sequence[MetRule], validated: Mapping[str, float]) -> list[Family]:
    """Sort rules into families.

    Args:
        met: rules with their size and fitness; texts that are no rule are left out.
        validated: fitness on validation draws of some of them, by text.

    Returns:
        Families by rising size, the highest fitness first among equals.
    """
    grouped: dict[str, list[MetRule]] = {}
    forms: dict[str, str] = {}
    for row in met:
        try:
            rule = parse(row.text)
        except EvosearchError:
            continue
        key, form = family_key(rule)
        grouped.setdefault(key, []).append(row)
        forms[key] = form
    found = [_family(forms[key], rows, validated) for key, rows in grouped.items()]
    return sorted(found, key=lambda family: (family.size, -family.fitness))


def family_key(rule: Rule) -> tuple[str, str]:
    """Return what tells families apart, and the form of the rule, empty where it has none.

    Polynomials belong together by their signed terms, whatever their constants; other rules by
    how they behave, constants included.
    """
    form = form_of(rule)
    return (f"form {form}", form) if form is not None else (fingerprint(rule), "")


def best_of_each_size(families: Sequence[Family], n: int) -> list[Family]:
    """Return the family of the highest fitness of each size, by rising size; the n best of these.

    Those that do worse than the smallest of all are left out.

    Args:
        families: by rising size.
        n: how many at most.
    """
    of_size: dict[int, Family] = {}
    for family in families:
        if family.size not in of_size or family.fitness > of_size[family.size].fitness:
            of_size[family.size] = family
    if not of_size:
        return []
    least = of_size[min(of_size)].fitness
    kept = [family for family in of_size.values() if family.fitness >= least]
    kept.sort(key=lambda family: (-family.fitness, family.size))
    return sorted(kept[:n], key=lambda family: family.size)


def _family(form: str, rows: Sequence[MetRule], validated: Mapping[str, float]) -> Family:
    best = min(rows, key=lambda row: (row.size, -row.fitness))
    scores = [validated[row.text] for row in rows if row.text in validated]
    known = [score for score in scores if math.isfinite(score)]
    return Family(
        form=form,
        size=best.size,
        text=best.text,
        fitness=best.fitness,
        validation=max(known, default=None),
        n_rules=len(rows),
        n_met=sum(row.n_met for row in rows),
    )
