"""Rules as source text of other programs. All loops are iterative."""

from __future__ import annotations

import json
import keyword
import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

from evosearch.errors import unknown_name
from evosearch.rules.expression import Expression
from evosearch.rules.latex import latex
from evosearch.rules.primitives import PRIMITIVES, SINE_LIMIT
from evosearch.rules.printer import print_constant
from evosearch.rules.rule import INCREMENT, Rule

_MAX_DEPTH = 24
_MAX_TEXT = 2_000
_FIRST = ("w", "pre", "post")
_INFIX = {"add": (" + ", 1), "sub": (" - ", 1), "mul": ("*", 2), "div": ("/", 2)}
_ATOM = 9
_LIMIT = str(int(SINE_LIMIT))

_NUMPY_HELPERS = {
    "div": """def _div(a, b):
    value = np.true_divide(a, b)
    return np.where(np.equal(b, 0), np.zeros_like(value), value)""",
    "max": "def _max(a, b):\n    return np.where(a > b, a, b)",
    "min": "def _min(a, b):\n    return np.where(a < b, a, b)",
    "pow": """def _pow(a, b):
    a = np.asarray(a, np.result_type(a, b))
    value = np.exp(b * _log(a))
    return np.where(np.equal(a, 0), np.zeros_like(value), value)""",
    "sign": """def _sign(a):
    return np.where(a > 0, np.ones_like(a), np.where(a < 0, -np.ones_like(a), np.zeros_like(a)))""",
    "log": """def _log(a):
    size = np.abs(a)
    is_zero = size == 0
    logarithm = np.log(np.where(is_zero, np.ones_like(a), size))
    return np.where(is_zero, np.zeros_like(size), logarithm)""",
    "sigmoid": """def _sigmoid(a):
    small = np.exp(-np.abs(a))
    return np.where(a < 0, small, np.ones_like(small)) / (1 + small)""",
    "sin": f"""def _sin(a):
    return np.where(np.abs(a) > {_LIMIT}, np.zeros_like(a), np.sin(a))""",
    "softplus": """def _softplus(a):
    return np.where(a > 0, a, np.zeros_like(a)) + np.log1p(np.exp(-np.abs(a)))""",
}  # fmt: skip
_TORCH_TENSORS = """def _tensors(a, b):
    like = a if isinstance(a, torch.Tensor) else b
    return (torch.as_tensor(x, dtype=like.dtype, device=like.device) for x in (a, b))"""
_TORCH_HELPERS = {
    "div": """def _div(a, b):
    a, b = _tensors(a, b)
    is_zero = b == 0
    value = a / torch.where(is_zero, torch.ones_like(b), b)
    return torch.where(is_zero, torch.zeros_like(value), value)""",
    "max": "def _max(a, b):\n    a, b = _tensors(a, b)\n    return torch.where(a > b, a, b)",
    "min": "def _min(a, b):\n    a, b = _tensors(a, b)\n    return torch.where(a < b, a, b)",
    "pow": """def _pow(a, b):
    a, b = _tensors(a, b)
    value = torch.exp(b * _log(a))
    return torch.where((a == 0).expand_as(value), torch.zeros_like(value), value)""",
    "sign": "def _sign(a):\n    return (a > 0).to(a.dtype) - (a < 0).to(a.dtype)",
    "log": """def _log(a):
    size = a.abs()
    return torch.where(size == 0, torch.zeros_like(size), torch.log(size))""",
    "sin": f"""def _sin(a):
    return torch.where(a.abs() > {_LIMIT}, torch.zeros_like(a), torch.sin(a))""",
    "softplus": """def _softplus(a):
    return a.clamp(min=0) + torch.log1p(torch.exp(-a.abs()))""",
}
_SYMPY_HELPERS = {
    "div": "def _div(a, b):\n    return sp.Piecewise((0, sp.Eq(b, 0)), (a/b, True))",
    "pow": """def _pow(a, b):
    return sp.Piecewise((0, sp.Eq(a, 0)), (sp.exp(b*sp.log(sp.Abs(a))), True))""",
    "log": "def _log(a):\n    return sp.Piecewise((0, sp.Eq(a, 0)), (sp.log(sp.Abs(a)), True))",
    "sigmoid": "def _sigmoid(a):\n    return 1/(1 + sp.exp(-a))",
    "sin": f"def _sin(a):\n    return sp.Piecewise((0, sp.Abs(a) > {_LIMIT}), (sp.sin(a), True))",
    "softplus": "def _softplus(a):\n    return sp.log(1 + sp.exp(a))",
}


@dataclass(frozen=True)
class _Dialect:
    """How a language writes functions and numbers.

    Attributes:
        calls: templates for functions that the language has itself; others call a helper.
        constant: writes a finite constant.
        special: writes positive infinity and NaN.
        helpers: definitions of helpers by primitive.
        repeats: whether templates repeat operands, so that these must be names or numbers.
    """

    calls: Mapping[str, str]
    constant: Callable[[float], str]
    special: tuple[str, str]
    helpers: Mapping[str, str]
    repeats: bool = False


_PYTHON = _Dialect(
    {
        "square": "np.square({0})", "abs": "np.abs({0})", "sqrt": "np.sqrt(np.abs({0}))",
        "exp": "np.exp({0})", "tanh": "np.tanh({0})",
    },
    repr, ('float("inf")', 'float("nan")'), _NUMPY_HELPERS,
)  # fmt: skip
_TORCH = _Dialect(
    {
        "square": "torch.square({0})", "abs": "torch.abs({0})",
        "sqrt": "torch.sqrt(torch.abs({0}))", "exp": "torch.exp({0})", "tanh": "torch.tanh({0})",
        "sigmoid": "torch.sigmoid({0})",
    },
    repr, ('float("inf")', 'float("nan")'), _TORCH_HELPERS,
)  # fmt: skip
_SYMPY = _Dialect(
    {
        "square": "{0}**2", "abs": "sp.Abs({0})", "sign": "sp.sign({0})",
        "sqrt": "sp.sqrt(sp.Abs({0}))", "exp": "sp.exp({0})", "tanh": "sp.tanh({0})",
        "max": "sp.Max({0}, {1})", "min": "sp.Min({0}, {1})",
    },
    print_constant, ("sp.oo", "sp.nan"), _SYMPY_HELPERS,
)  # fmt: skip
_BRIAN2 = _Dialect(
    {
        "square": "{0}**2", "abs": "abs({0})", "sign": "sign({0})", "sqrt": "sqrt(abs({0}))",
        "exp": "exp({0})", "tanh": "tanh({0})",
        "max": "clip({0}, {1}, inf)", "min": "clip({0}, -inf, {1})",
        "div": "(int({1} != 0)*{0}/({1} + int({1} == 0)))",
        "pow": "(int({0} != 0)*exp({1}*log(abs({0}) + int({0} == 0))))",
        "log": "log(abs({0}) + int({0} == 0))",
        "sigmoid": "(1/(1 + exp(-{0})))",
        "sin": f"(int(abs({{0}}) <= {_LIMIT})*sin({{0}}))",
        "softplus": "(clip({0}, 0, inf) + log1p(exp(-abs({0}))))",
    },
    repr, ("inf", "(inf - inf)"), {}, repeats=True,
)  # fmt: skip


def export_rule(rule: Rule, to: str) -> str:
    r"""Return the rule in one of ``FORMATS``.

    ``python`` and ``torch`` are modules with a function ``rule(w, pre, post, …)``, which computes
    what :meth:`Rule.__call__` does, or a dict of all parts where there are several. ``sympy``
    builds symbols and the expressions ``parts``; ``brian2`` the arguments of ``Synapses``.

    Raises:
        InputError: no such format.

    Example:
        >>> print(export_rule(Rule("pre*post - w"), "latex"))
        \Delta w = \mathrm{pre} \mathrm{post} - w
    """
    if to not in FORMATS:
        raise unknown_name("format", to, FORMATS)
    return _WRITERS[to](rule)


def _python(rule: Rule) -> str:
    lines = [*_module_head(rule), "import numpy as np"]
    lines += _helper_lines(rule, _PYTHON, ())
    lines += ["", "", '@np.errstate(all="ignore")', *_function(rule, _PYTHON, "np")]
    return "\n".join(lines) + "\n"


def _torch(rule: Rule) -> str:
    lines = [*_module_head(rule), "import torch  # all arguments of the rule are tensors"]
    lines += _helper_lines(rule, _TORCH, (_TORCH_TENSORS,))
    lines += ["", "", *_function(rule, _TORCH, "torch")]
    return "\n".join(lines) + "\n"


def _sympy(rule: Rule) -> str:
    names = _safe_names(rule.terminals, {"sp", "parts", *(f"_{name}" for name in PRIMITIVES)})
    writer = _Writer(_SYMPY, names)
    helpers = _helper_lines(rule, _SYMPY, ())
    lines = [*_module_head(rule), "import sympy as sp", *helpers, *([""] * (2 if helpers else 1))]
    lines += [
        f'{name} = sp.Symbol("{terminal}", real=True)' for terminal, name in sorted(names.items())
    ]
    results = {part: writer.write(e) for part, e in rule.parts.items()}
    lines += writer.statements
    lines.append("parts = {")
    lines += [f'    "{part}": sp.sympify({text}),' for part, text in results.items()]
    return "\n".join([*lines, "}"]) + "\n"


def _brian2(rule: Rule) -> str:
    names = {name: _brian2_name(name) for name in (*rule.terminals, *_targets(rule))}
    writer = _Writer(_BRIAN2, names, temporary="part")
    own = sorted(n for n in names.values() if not n.endswith(("_pre", "_post")))
    model = ["w : 1", "eta : 1 (shared)"]
    model += [f"{n} : 1 (shared)" if n == "mod" else f"{n} : 1" for n in own if n != "w"]
    results = {part: writer.write(e) for part, e in rule.parts.items()}
    on_pre = [*writer.statements, *(f"new_{part} = {text}" for part, text in results.items())]
    for part in rule.parts:
        target = names[_target(part)]
        on_pre.append(f"{target} = {'w + eta*' if part == 'dw' else ''}new_{part}")
    needed = sorted(n for n in names.values() if n.endswith(("_pre", "_post")))
    lines = [
        *_module_head(rule),
        "# Synapses(source, target, model=model, on_pre=on_pre); the groups have the variables",
        f"# of {', '.join(needed) or 'no name'} without the ending.",
        'model = """', *model, '"""', 'on_pre = """', *on_pre, '"""',
    ]  # fmt: skip
    return "\n".join(lines) + "\n"


def _json(rule: Rule) -> str:
    facts = {
        "text": rule.text,
        "parts": {name: str(expression) for name, expression in rule.parts.items()},
        "form": rule.form,
        "constants": list(rule.constants),
        "terminals": sorted(rule.terminals),
        "size": rule.size,
    }
    return json.dumps(facts, indent=2) + "\n"


def _target(part: str) -> str:
    return "w" if part == "dw" else part


def _targets(rule: Rule) -> list[str]:
    return [_target(part) for part in rule.parts]


def _brian2_name(name: str) -> str:
    if name in ("pre", "post"):
        return f"rate_{name}"
    if name in ("target", "error"):
        return f"{name}_post"
    reserved = {"eta", "t", "dt", "i", "j", "N", "xi", "lastupdate", "pi", "e", "inf", *PRIMITIVES}
    taken = name in reserved or keyword.iskeyword(name)
    return f"v{name}" if taken or name.startswith(("_", "new_", "part", "rate_")) else name


def _module_head(rule: Rule) -> list[str]:
    text = rule.text if rule.form != INCREMENT or len(rule.parts) > 1 else f"dw = {rule.text}"
    if len(text) > _MAX_TEXT:
        text = f"{rule.size} nodes, too long to show"
    return ['"""A plasticity rule, exported by evosearch.', "", text, '"""', ""]


def _helper_lines(rule: Rule, dialect: _Dialect, first: Sequence[str]) -> list[str]:
    used = {n for e in rule.parts.values() for n in e.nodes if isinstance(n, str)}
    if "pow" in used:
        used.add("log")
    definitions = [text for name, text in dialect.helpers.items() if name in used]
    needs_first = used & {"div", "max", "min", "pow"}
    lines: list[str] = []
    for text in (*(first if needs_first else ()), *definitions):
        lines += ["", "", *text.split("\n")]
    return lines


def _function(rule: Rule, dialect: _Dialect, module: str) -> list[str]:
    """Return the lines of the function ``rule``."""
    order = [*_FIRST, *sorted(rule.terminals - set(_FIRST))]
    helpers = {f"_{name}" for name in PRIMITIVES}
    names = _safe_names(order, {module, "float", "rule", "_tensors", *helpers})
    writer = _Writer(dialect, names)
    results = {part: writer.write(e) for part, e in rule.parts.items()}
    if len(results) > 1:
        inner = ", ".join(f'"{part}": {text}' for part, text in results.items())
        result, meaning = f"{{{inner}}}", "Return the new value of each part; dw is a change."
    else:
        result = next(iter(results.values()))
        is_change = rule.form == INCREMENT
        meaning = "Return the change of w." if is_change else "Return the new value of w."
    lines = [f"def rule({', '.join(names[n] for n in order)}):", f'    """{meaning}"""']
    return [*lines, *(f"    {line}" for line in writer.statements), f"    return {result}"]


def _safe_names(terminals: Collection[str], reserved: Collection[str]) -> dict[str, str]:
    """Return a Python name for each terminal: its own, or with underscores behind it."""
    names: dict[str, str] = {}
    taken = {"__debug__", *reserved}
    for terminal in sorted(terminals):
        name = terminal
        is_free = not keyword.iskeyword(name) and name not in taken
        while not is_free:
            name += "_"
            is_free = name not in taken and name not in terminals
        names[terminal] = name
        taken.add(name)
    return names


@dataclass(frozen=True)
class _Text:
    """Source of a value: how tightly it binds, how deep it nests, and what it is if constant."""

    text: str
    precedence: int
    depth: int
    value: float | None = None


class _Writer:
    """Write expressions as infix text; what nests too deep for compilers gets a name."""

    def __init__(
        self, dialect: _Dialect, names: Mapping[str, str], *, temporary: str = "_t"
    ) -> None:
        self._dialect, self._names = dialect, names
        while any(name.startswith(temporary) for name in names.values()):
            temporary += "_"
        self._temporary = temporary
        self.statements: list[str] = []

    def write(self, expression: Expression) -> str:
        """Return the text of the value; statements that it needs are added first."""
        stack: list[_Text] = []
        for node in reversed(expression.nodes):
            if not isinstance(node, str):
                stack.append(self._constant(node))
            elif node in PRIMITIVES:
                operands = [stack.pop() for _ in range(PRIMITIVES[node].arity)]
                stack.append(self._apply(node, operands))
            else:
                stack.append(_Text(self._names[node], _ATOM, 0))
        return stack.pop().text

    def _constant(self, value: float) -> _Text:
        if math.isfinite(value):
            text = self._dialect.constant(value)
        else:
            infinity, nan = self._dialect.special
            text = nan if math.isnan(value) else infinity if value > 0 else f"-{infinity}"
        return _Text(text, 3 if text.startswith("-") else _ATOM, 0, value)

    def _apply(self, name: str, operands: list[_Text]) -> _Text:
        values = [operand.value for operand in operands]
        if None not in values:
            return self._constant(float(PRIMITIVES[name].numpy(*values)))
        depth = 1 + max(operand.depth for operand in operands)
        if name == "neg":
            made = _Text(f"-{_bracketed(operands[0], 3)}", 3, depth)
        elif name in _INFIX and not (name == "div" and operands[1].value in (None, 0.0)):
            sign, own = _INFIX[name]
            left, right = _bracketed(operands[0], own), _bracketed(operands[1], own + 1)
            made = _Text(f"{left}{sign}{right}", own, depth)
        else:
            made = self._call(name, operands, depth)
        return self._named(made) if depth >= _MAX_DEPTH else made

    def _call(self, name: str, operands: list[_Text], depth: int) -> _Text:
        template = self._dialect.calls.get(name)
        if template is None:
            template = f"_{name}({', '.join(('{0}', '{1}')[: len(operands)])})"
        if self._dialect.repeats:
            operands = [self._named(o) if o.precedence < _ATOM else o for o in operands]
        elif "**" in template:
            operands = [_Text(_bracketed(o, _ATOM), _ATOM, 0) for o in operands]
        text = template.format(*(operand.text for operand in operands))
        return _Text(text, 4, depth)

    def _named(self, made: _Text) -> _Text:
        name = f"{self._temporary}{len(self.statements)}"
        self.statements.append(f"{name} = {made.text}")
        return _Text(name, _ATOM, 0)


def _bracketed(operand: _Text, least: int) -> str:
    return f"({operand.text})" if operand.precedence < least else operand.text


_WRITERS: dict[str, Callable[[Rule], str]] = {
    "python": _python,
    "torch": _torch,
    "sympy": _sympy,
    "latex": latex,
    "json": _json,
    "brian2": _brian2,
}
FORMATS = tuple(_WRITERS)
"""What a rule can be exported to."""
