"""The problem file: its schema, its presets and overrides, and one sentence for each mistake."""

from __future__ import annotations

import copy
import math
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, cast

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from evosearch.errors import InputError, did_you_mean, nearest

SCHEMA = 1
REQUIRED_SPLITS = ("search", "validation", "test")
MAX_FILE_BYTES = 5_000_000

Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
Number = Annotated[float, Field(allow_inf_nan=False)]

SHARED_BY = ("layer", "neuron", "synapse")


def _sharing(value: Any) -> int | str | tuple[int, ...]:
    if value in SHARED_BY or (type(value) is int and 1 <= value <= 1000):
        return value
    if isinstance(value, (list, tuple)):
        numbers = cast("Sequence[Any]", value)
        if numbers and all(type(n) is int and 0 <= n < 1000 for n in numbers):
            return tuple(numbers)
    raise ValueError(
        f"{value!r} is no sharing map; allowed are {', '.join(SHARED_BY)}, a whole number from 1 "
        "to 1000, or a list with the number of the rule of each synapse, from 0"
    )


SharingMap = Annotated[int | str | tuple[int, ...], BeforeValidator(_sharing)]


class Section(BaseModel):
    """One table of the file; keys that it does not name are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class RuleConfig(Section):
    """What a rule may be made of, and how it acts on weights."""

    form: Literal["increment", "absolute"] = "increment"
    terminals: tuple[str, ...] = Field(
        description="names that rules may read; none: all columns, where the task has a table"
    )
    functions: tuple[str, ...] = Field(("add", "sub", "mul"), min_length=1)
    constants: tuple[Number, ...] = ()
    ephemeral: tuple[Number, Number] | None = None
    max_size: int = Field(31, ge=1, le=10_000)
    eta: float = Field(1.0, gt=0, allow_inf_nan=False)
    eta_factors: tuple[Annotated[float, Field(gt=0, allow_inf_nan=False)], ...] = Field(
        (1.0,), min_length=1
    )
    clip: tuple[Number, Number] | None = None
    row_norm: float | None = Field(None, gt=0, allow_inf_nan=False)
    zero_diagonal: bool = False
    genes: tuple[str, ...] = Field(
        (), description="numbers of the life that are searched along with the rule"
    )
    sharing: SharingMap = Field(
        1,
        description="synapses that share a rule: 1, all of them; layer, neuron or synapse, one "
        "rule for each; k from 2 on, k rules among which every synapse chooses; or a list with "
        "the number of each synapse's rule",
    )
    sign: bool = Field(False, description="weights keep the sign that they start with")
    dtype: Literal["float32", "float64"] = "float32"

    @model_validator(mode="after")
    def _ranges_rise(self) -> RuleConfig:
        for name in ("ephemeral", "clip"):
            pair = getattr(self, name)
            if pair is not None and not pair[0] < pair[1]:
                raise ValueError(f"{name} is {list(pair)}; its two numbers must rise")
        return self


class SplitConfig(Section):
    """A set of draws; further keys change settings of the task for it."""

    model_config = ConfigDict(extra="allow", frozen=True)

    draws: int = Field(ge=1, le=1_000_000)
    is_fresh: bool = False
    eta: float | None = Field(None, gt=0, allow_inf_nan=False)

    @property
    def task_settings(self) -> dict[str, Any]:
        """Settings of the task that differ on this split."""
        return dict(self.model_extra or {})


class VectorConfig(Section):
    """Where vectors lie and where a search for them begins; what is missing is the task's own."""

    dimension: int | None = Field(
        None, ge=1, le=10**9, description="numbers in a vector, for a task of the user's own"
    )
    low: Number | tuple[Number, ...] | None = None
    high: Number | tuple[Number, ...] | None = None
    x0: Number | tuple[Number, ...] | None = None
    sigma0: float | None = Field(None, gt=0, allow_inf_nan=False)


class KnownConfig(Section):
    """What to compare with: a rule, a baseline of the task, or a figure alone."""

    library: str | None = None
    text: str | None = None
    baseline: str | None = None
    value: Number | None = Field(None, description="fitness that is known, without a candidate")
    scale: float | None = Field(None, gt=0, allow_inf_nan=False)

    @model_validator(mode="after")
    def _has_one_source(self) -> KnownConfig:
        sources = (self.library, self.text, self.baseline, self.value)
        if sum(source is not None for source in sources) != 1:
            raise ValueError("give one of library, text, baseline and value")
        return self


class SuccessConfig(Section):
    """When a run counts as successful: a threshold, or a known rule to equal."""

    split: Literal["validation", "test"] = "test"
    threshold: Number | None = None
    reference: str | None = None
    margin: Number = 0.0

    @model_validator(mode="after")
    def _has_one_measure(self) -> SuccessConfig:
        if (self.threshold is None) == (self.reference is None):
            raise ValueError("give either threshold or reference")
        return self


class SearchConfig(Section):
    """Budget, representation and draws of a search; further keys are the search's own settings."""

    model_config = ConfigDict(extra="allow", frozen=True)

    budget: int = Field(ge=1, le=10**12)
    representation: Literal["tree", "formula", "coefficients", "table", "vector"] = "tree"
    draws: int | None = Field(None, ge=1, le=1_000_000)
    is_fresh: bool | None = None
    racing: int | None = Field(
        None, ge=2, description="draws after which candidates that cannot be among the best stop"
    )

    @property
    def settings(self) -> dict[str, Any]:
        """Settings that go to the search."""
        return dict(self.model_extra or {})


class CoefficientsConfig(Section):
    """Rules as weighted sums of given terms."""

    basis: tuple[str, ...] = Field(min_length=1)
    sigma0: float = Field(0.1, gt=0, allow_inf_nan=False)
    bound: float | None = Field(None, gt=0, allow_inf_nan=False)
    l1: float = Field(0.0, ge=0, allow_inf_nan=False)


class TableConfig(Section):
    """Rules as tables: indicators of cases, and the values that an entry may take."""

    entries: tuple[str, ...] = Field(min_length=1, max_length=64)
    values: tuple[int, ...] = Field((-1, 0, 1), min_length=2)


class Config(Section):
    """A whole problem file, presets applied."""

    schema_: Literal[1] = Field(alias="schema")
    name: Name
    title: str = ""
    description: str = ""
    citations: tuple[str, ...] = ()
    seed: int = Field(0, ge=0, le=2**63 - 1)
    default_search: str
    floor: str | None = None
    ceiling: str | None = None
    aggregate: Literal["mean", "min", "median"] = "mean"
    parsimony: float = Field(
        0.0, ge=0, allow_inf_nan=False, description="validation fitness that a node must earn"
    )
    task: dict[str, Any]
    rule: RuleConfig | None = None
    vector: VectorConfig | None = None
    splits: dict[Name, SplitConfig]
    known: dict[Name, KnownConfig] = {}
    success: SuccessConfig | None = None
    searches: dict[str, SearchConfig]
    representations: dict[str, dict[str, Any]] = {}
    presets: dict[Name, dict[str, Any]] = {}

    @property
    def task_kind(self) -> str:
        """Name of a built-in task, or ``module:attribute``."""
        return str(self.task["kind"])

    def to_toml(self) -> str:
        """Write the problem as a file that reads back to the same configuration."""
        import tomli_w

        return tomli_w.dumps(_without_none(self.model_dump(by_alias=True, mode="python")))


_OF_RULES = "tree, formula, coefficients, table"
REPRESENTATIONS: dict[str, type[Section]] = {
    "coefficients": CoefficientsConfig,
    "table": TableConfig,
}
_SECTIONS: dict[str, type[Section]] = {
    "rule": RuleConfig,
    "vector": VectorConfig,
    "success": SuccessConfig,
}
_NAMED_SECTIONS: dict[str, type[Section]] = {
    "splits": SplitConfig,
    "known": KnownConfig,
    "searches": SearchConfig,
}

M = TypeVar("M", bound=BaseModel)


def read_toml(path: Path) -> dict[str, Any]:
    """Read a problem file as plain values.

    Raises:
        InputError: it cannot be read, or is no TOML.
    """
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            raise InputError(f"{path} is larger than {MAX_FILE_BYTES:,} bytes; it is no problem.")
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is no UTF-8 text"
        raise InputError(f"{path} cannot be read: {reason}.") from None
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        reason = str(error) or "it is nested too deeply"
        raise InputError(f"{path} is no TOML: {reason}.") from None


def build_config(
    values: Mapping[str, Any],
    *,
    source: str,
    preset: str | None = None,
    overrides: Mapping[str, Any] | None = None,
) -> Config:
    """Apply a preset and overrides to the values of a file, and check all of it.

    Args:
        values: what the file holds.
        source: name of the file in messages.
        preset: one of the file's presets; ``"default"`` is the file as it is.
        overrides: values by dotted path; a text is read as a TOML value where it is one.

    Raises:
        InputError: one sentence on the first mistake.
    """
    merged = copy.deepcopy(dict(values))
    if preset and preset != "default":
        found = merged.get("presets")
        presets: dict[str, Any] = found if isinstance(found, dict) else {}
        known = sorted(presets)
        if preset not in known:
            hint = did_you_mean(preset, known)
            names = ", ".join(["default", *known])
            raise InputError(f"{source} has no preset {preset!r}.{hint} Allowed: {names}.")
        changes = presets[preset]
        for key, value in changes.items() if isinstance(changes, dict) else ():
            _assign(merged, key, value, f"{source}: presets.{preset}")
    for key, value in (overrides or {}).items():
        _assign(merged, key, _value_of(value), "--set")
    return _checked(merged, source)


def check(
    model: type[M], values: Any, *, source: str, prefix: str = "", more: Sequence[str] = ()
) -> M:
    """Check values against a model; raise InputError with one sentence for the first mistake.

    Args:
        model: names, types and ranges.
        values: what the file holds.
        source: name of the file in messages.
        prefix: dotted path of the table.
        more: keys that the table may hold beside those of the model, for messages.
    """
    where = f"{source}: {prefix}" if prefix else source
    if not isinstance(values, Mapping):
        raise InputError(f"{where} is {_show(values)}; it must be a table of keys and values.")
    try:
        checked = model.model_validate(dict(values))
    except ValidationError as error:
        raise InputError(_sentence(error, model, source, prefix, more)) from None
    for name, field in model.model_fields.items():
        key = field.alias or name
        if key in values and _is_coerced(values[key], getattr(checked, name)):
            raise InputError(f"{where}.{key} is {_show(values[key])}; it should be a number.")
    return checked


def _checked(values: dict[str, Any], source: str) -> Config:
    schema = values.get("schema")
    if schema != SCHEMA or isinstance(schema, bool):
        found = "missing" if schema is None else _show(schema)
        misspelt = nearest("schema", _strangers(Config, values)) if schema is None else None
        hint = f"; did you mean it by {misspelt!r}" if misspelt else ""
        raise InputError(
            f"{source}: schema is {found}{hint}; this version reads schema = {SCHEMA}."
        )
    _check_kind(values, source)
    for name, model in _SECTIONS.items():
        if name in values:
            check(model, values[name], source=source, prefix=name)
    for name, model in _NAMED_SECTIONS.items():
        for key, section in _table(values.get(name, {}), source, name).items():
            check(model, section, source=source, prefix=f"{name}.{key}")
    for key, section in _table(
        values.get("representations", {}), source, "representations"
    ).items():
        if key not in REPRESENTATIONS:
            raise _unknown(f"{source}: representations.{key}", key, REPRESENTATIONS)
        check(REPRESENTATIONS[key], section, source=source, prefix=f"representations.{key}")
    config = check(Config, values, source=source)
    _check_names(config, source)
    return config


def _check_kind(values: dict[str, Any], source: str) -> None:
    """Check that candidates are rules or vectors; searches of vectors know no other form."""
    kinds = [name for name in ("rule", "vector") if name in values]
    if len(kinds) > 1:
        raise InputError(f"{source}: there are sections rule and vector; a problem has one.")
    if not kinds:
        strangers = _strangers(Config, values)
        near = {name: nearest(name, strangers) for name in ("vector", "rule")}
        name = "vector" if near["vector"] else "rule"
        hint = f"; did you mean it by {near[name]!r}" if near[name] else ""
        raise InputError(
            f"{source}: {name} is missing{hint}; a problem has a section [rule], or [vector] where "
            "its candidates are vectors."
        )
    if kinds == ["vector"] and isinstance(values.get("searches"), Mapping):
        for search in values["searches"].values():
            if isinstance(search, dict):
                search.setdefault("representation", "vector")


def _check_names(config: Config, source: str) -> None:
    """Check that names which refer to other parts of the file are there."""
    kind = config.task.get("kind")
    if not isinstance(kind, str):
        found = "missing" if kind is None else _show(kind)
        misspelt = nearest("kind", config.task) if kind is None else None
        hint = f"; did you mean it by {misspelt!r}" if misspelt else ""
        raise InputError(
            f"{source}: task.kind is {found}{hint}; name a task (evosearch list tasks)."
        )
    for name in REQUIRED_SPLITS:
        if name not in config.splits:
            others = [split for split in config.splits if split not in REQUIRED_SPLITS]
            misspelt = nearest(name, others)
            hint = f"; did you mean it by {misspelt!r}" if misspelt else ""
            raise InputError(
                f"{source}: splits.{name} is missing{hint}; a problem has the splits "
                f"{', '.join(REQUIRED_SPLITS)}."
            )
    references = {"floor": config.floor, "ceiling": config.ceiling}
    if config.success is not None:
        references["success.reference"] = config.success.reference
    for key, name in references.items():
        if name is not None and name not in config.known:
            raise _unknown(f"{source}: {key}", name, config.known)
    if config.default_search not in config.searches:
        raise _unknown(f"{source}: default_search", config.default_search, config.searches)
    for name, search in config.searches.items():
        used = search.representation
        if (used == "vector") != (config.vector is not None):
            allowed = "vector" if config.vector is not None else _OF_RULES
            raise InputError(
                f"{source}: searches.{name}.representation is {used!r}; here it is {allowed}."
            )
        if used in REPRESENTATIONS and used not in config.representations:
            raise InputError(
                f"{source}: searches.{name}.representation is {used!r}, but there is no table "
                f"[representations.{used}]."
            )
    for name, split in config.splits.items():
        if split.is_fresh and name != "search":
            raise InputError(f"{source}: splits.{name}.is_fresh is true; only search may be fresh.")


def _assign(values: dict[str, Any], key: str, value: Any, where: str) -> None:
    """Set ``a.b.c`` to a value; tables on the way that are missing are made."""
    parts = str(key).split(".")
    if not all(parts):
        raise InputError(f"{where}: {key!r} is no key; write for example rule.eta.")
    splits = values.get("splits")
    is_of_split = parts[0] == "splits" and len(parts) > 2
    if is_of_split and isinstance(splits, dict) and parts[1] not in splits:
        raise _unknown(f"{where}: splits.{parts[1]}", parts[1], splits)
    table = values
    for depth, part in enumerate(parts[:-1]):
        inner = table.setdefault(part, {})
        if not isinstance(inner, dict):
            path = ".".join(parts[: depth + 1])
            raise InputError(f"{where}: {key} does not exist: {path} is no table.")
        table = inner
    table[parts[-1]] = value


def _value_of(value: Any) -> Any:
    """Read a text as a TOML value where it is one; other values are taken as they are."""
    if not isinstance(value, str):
        return value
    try:
        parsed = tomllib.loads(f"value = {value}")
    except (tomllib.TOMLDecodeError, RecursionError):
        return value
    return parsed["value"] if set(parsed) == {"value"} else value


def _table(value: Any, source: str, key: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise InputError(f"{source}: {key} is {_show(value)}; it must be a table.")
    return value


def _is_coerced(value: Any, checked: Any) -> bool:
    """Whether a truth value or a text was taken for a number."""
    if isinstance(value, bool | str):
        return isinstance(checked, int | float) and type(checked) is not type(value)
    if isinstance(value, list) and isinstance(checked, tuple):
        return any(_is_coerced(*pair) for pair in zip(value, checked, strict=True))
    return False


def _sentence(
    error: ValidationError, model: type[BaseModel], source: str, prefix: str, more: Sequence[str]
) -> str:
    """Return one sentence on one mistake that pydantic found: an unknown key before others."""
    mistakes = error.errors()
    found = min(mistakes, key=lambda mistake: mistake["type"] != "extra_forbidden")
    path = [prefix] if prefix else []
    path += [str(part) for part in found["loc"] if part != "[key]"]
    key = ".".join(path)
    where = f"{source}: {key}" if key else source
    if found["type"] == "extra_forbidden":
        return str(_unknown(where, str(found["loc"][-1]), [*_keys_of(model), *more]))
    if found["type"] == "missing":
        misspelt = nearest(str(found["loc"][-1]), _strangers(model, found["input"]))
        hint = f"; did you mean it by {misspelt!r}" if misspelt else ""
        return f"{where} is missing{hint}; {_meaning(model, found['loc'])}."
    message = found["msg"].removeprefix("Value error, ").removeprefix("Input ").rstrip(".")
    if found["type"] == "value_error":
        return f"{where}: {message}."
    message = message[0].lower() + message[1:]
    message = message if message.startswith("should") else f"it is not allowed: {message}"
    return f"{where} is {_show(found['input'])}; it {message.removeprefix('it ')}."


def _meaning(model: type[BaseModel], location: tuple[Any, ...]) -> str:
    for name, field in model.model_fields.items():
        if location and location[0] in (name, field.alias) and field.description:
            return f"give {field.description}"
    return f"the keys here are {', '.join(_keys_of(model))}"


def _strangers(model: type[BaseModel], values: Any) -> list[str]:
    """Return the keys that a table has and its model does not name."""
    known = _keys_of(model)
    return [str(key) for key in values if key not in known] if isinstance(values, Mapping) else []


def _keys_of(model: type[BaseModel]) -> list[str]:
    return [field.alias or name for name, field in model.model_fields.items()]


def _unknown(where: str, name: str, known: Any) -> InputError:
    names = [str(item) for item in known]
    found = (
        f"{where} is {name!r}, which does not exist"
        if not where.endswith(name)
        else (f"{where} is an unknown key")
    )
    allowed = ", ".join(names) or "none"
    return InputError(f"{found}.{did_you_mean(name, names)} Allowed: {allowed}.")


def _show(value: Any) -> str:
    text = " ".join(repr(value).split())
    return text if len(text) <= 60 else f"{text[:57]}..."


def _without_none(value: Any) -> Any:
    """Return values as TOML can hold them: no None, tuples as lists."""
    if isinstance(value, Mapping):
        return {str(k): _without_none(v) for k, v in value.items() if v is not None}
    if isinstance(value, list | tuple):
        return [_without_none(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        raise AssertionError("no number of a configuration is infinite")
    return value
