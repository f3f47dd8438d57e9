"""Which champions are the same rule: by behaviour, and by form up to their constants."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from evosearch.engine.program import Terminal
from evosearch.rules.fingerprint import fingerprint
from evosearch.rules.polynomial import form_of
from evosearch.rules.rule import Rule


@dataclass(frozen=True)
class Group:
    """Rules that belong together.

    Attributes:
        form: the signed terms that all members share, or the text of the shortest member.
        members: labels in the order given.
        texts: the different spellings, shortest first.
        n_behaviours: number of different fingerprints among the members.
    """

    form: str
    members: tuple[str, ...]
    texts: tuple[str, ...]
    n_behaviours: int


def group_rules(entries: Sequence[tuple[str, Rule]], terminals: Sequence[Terminal]) -> list[Group]:
    """Group labelled rules by form up to constants, or by fingerprint where there is no form.

    Args:
        entries: pairs of a label (a run, a size) and its rule.
        terminals: the terminals that the rules may read, for the fingerprint.

    Returns:
        Groups, largest first.
    """
    grouped: dict[str, list[tuple[str, str, str]]] = {}
    for label, rule in entries:
        behaviour = fingerprint(rule, terminals)
        key = form_of(rule) or behaviour
        grouped.setdefault(key, []).append((label, rule.text, behaviour))
    groups = [_group(key, rows) for key, rows in grouped.items()]
    return sorted(groups, key=lambda group: -len(group.members))


def _group(key: str, rows: list[tuple[str, str, str]]) -> Group:
    texts = tuple(sorted({text for _, text, _ in rows}, key=lambda text: (len(text), text)))
    is_behaviour = key == rows[0][2]
    return Group(
        form=texts[0] if is_behaviour else key,
        members=tuple(label for label, _, _ in rows),
        texts=texts,
        n_behaviours=len({behaviour for _, _, behaviour in rows}),
    )
