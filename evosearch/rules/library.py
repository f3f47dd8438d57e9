"""Plasticity rules from the literature and from the problems, by name."""

from __future__ import annotations

from dataclasses import dataclass

from evosearch.errors import unknown_name
from evosearch.rules.rule import Rule


@dataclass(frozen=True)
class KnownRule:
    """A rule that people know by a name.

    Attributes:
        name: the word used on the command line and in problem files.
        text: the rule over the usual terminals, step size left out.
        authors: who published it, or ``evosearch`` for a rule of this project.
        year: year of that publication.
        meaning: one phrase for people.
    """

    name: str
    text: str
    authors: str
    year: int
    meaning: str


_OWN = ("evosearch", 2026)
_HEBB = ("D. O. Hebb", 1949)
_WIDROW_HOFF = ("B. Widrow, M. E. Hoff", 1960)
_STORKEY = ("A. Storkey", 1997)
_NIV = ("Y. Niv, D. Joel, I. Meilijson, E. Ruppin", 2002)
_PUNISHED, _REWARDED = "max(0, -mod)", "max(0, mod)"

_TABLE: tuple[tuple[str, str, tuple[str, int], str], ...] = (
    ("zero", "0", _OWN, "no learning; the floor of every problem"),
    ("hebb", "pre*post", _HEBB, "what is active together is joined"),
    ("hebb_decay", "pre*post - w", _OWN, "Hebb with decay of the weight"),
    ("anti_hebb", "-(pre*post)", ("P. Földiák", 1990), "what is active together is separated"),
    (
        "covariance", "(pre - mean_pre)*(post - mean_post)", ("T. J. Sejnowski", 1977),
        "Hebb about the running means",
    ),
    ("oja", "post*(pre - post*w)", ("E. Oja", 1982), "first principal component, bounded weights"),
    (
        "shrunk_oja", "0.65*pre*post - 0.7*square(post)*w", _OWN,
        "Oja's terms with other coefficients",
    ),
    (
        "sanger", "post*(pre - lateral)", ("T. D. Sanger", 1989),
        "principal components in order; lateral sums post*w over the units up to the own",
    ),
    (
        "subspace", "post*(pre - lateral)", ("E. Oja", 1989),
        "principal subspace; lateral sums post*w over all post units",
    ),
    (
        "instar", "post*(pre - w)", ("S. Grossberg", 1976),
        "an active unit's weights move to its input",
    ),
    (
        "bcm", "pre*post*(post - square(mean_post))",
        ("E. L. Bienenstock, L. N. Cooper, P. W. Munro", 1982),
        "depression below, potentiation above a threshold that slides with the mean activity",
    ),
    ("delta", "pre*(target - post)", _WIDROW_HOFF, "the output moves to its target"),
    (
        "backprop", "error*pre", ("D. E. Rumelhart, G. E. Hinton, R. J. Williams", 1986),
        "gradient descent, where error is what backpropagation brings",
    ),
    ("hebb_target", "pre*target", _HEBB, "Hebb with the output held at its target"),
    ("signed_target", "pre*(2*target - 1)", _OWN, "Hebb with targets 0 and 1 read as -1 and 1"),
    (
        "widrow_hoff_field", "(post - field_post)*pre", _WIDROW_HOFF,
        "the field of a stored pattern moves to the pattern",
    ),
    (
        "storkey", "pre*post - post*(field_pre - w*post) - (field_post - w*pre)*pre", _STORKEY,
        "Hebb less what the fields hold already, the own synapse left out",
    ),
    (
        "storkey_simplified", "pre*post - post*field_pre - field_post*pre", _STORKEY,
        "Storkey's rule with whole fields",
    ),
    (
        "product", "(post - field_post)*(pre - field_pre)", _OWN,
        "what the fields lack on either side, multiplied",
    ),
    (
        "product_damped", "(post - 0.9*field_post)*(pre - 0.9*field_pre)", _OWN,
        "the product rule with fields weakened",
    ),
    (
        "product_tanh", "(post - 0.9*tanh(field_post))*(pre - 0.9*tanh(field_pre))", _OWN,
        "the product rule with fields weakened and squashed",
    ),
    (
        "abcd", "1*(pre*post) + 1*pre + 1*post + 1", _NIV,
        "coefficients A, B, C and D of correlation, pre, post and nothing, all one",
    ),
    (
        "abcd_modulated", "mod*(1*(pre*post) + 1*pre + 1*post + 1)", _NIV,
        "the four terms with one modulator",
    ),
    (
        "reward_hebb", "mod*pre*post", ("N. Frémaux, W. Gerstner", 2016),
        "three factors: Hebb times a modulator",
    ),
    ("reward_hebb_strong", "2.5*mod*pre*post", _OWN, "reward_hebb with longer steps"),
    (
        "eligibility", "mod*elig", ("R. J. Williams", 1992),
        "modulator times a trace of what the synapse contributed",
    ),
    (
        "switching_niv", "5*mod*pre*(2*post - 1)", _NIV,
        "the four modulated terms with A = 10, B = -5, C = D = 0: learns a cue in one trial",
    ),
    (
        "switching_clip_free", "pre*(2.5*mod*(2*post - 1) - w)", _OWN,
        "learns a cue in one trial whatever the clip",
    ),
    (
        "anti_hebb_punished", f"-({_PUNISHED}*(pre*post))", _OWN,
        "after the low reward, what was active together is separated",
    ),
    (
        "three_entries",
        f"{_PUNISHED}*(pre*(1 - post)) - {_PUNISHED}*(pre*post) + {_REWARDED}*(pre*post)", _OWN,
        "active inputs leave what failed and join what succeeded",
    ),
)  # fmt: skip

KNOWN: dict[str, KnownRule] = {
    name: KnownRule(name, text, authors, year, meaning)
    for name, text, (authors, year), meaning in _TABLE
}


def known_rule(name: str) -> Rule:
    """Return a rule of the library.

    Raises:
        InputError: no such name.

    Example:
        >>> known_rule("oja").text
        'post*(pre - post*w)'
    """
    if name not in KNOWN:
        raise unknown_name("rule", name, KNOWN)
    return Rule(KNOWN[name].text)
