"""What a problem is: a task, what rules may be made of, draws, baselines, and fitting searches."""

from __future__ import annotations

import hashlib
import zlib
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from evosearch.config import (
    Config,
    SearchConfig,
    SplitConfig,
    SuccessConfig,
    build_config,
    check,
    read_toml,
)
from evosearch.engine.program import Level, Terminal
from evosearch.errors import EvosearchError, InputError, unknown_name
from evosearch.outcome import FloatArray, Lived
from evosearch.rules.parser import parse
from evosearch.rules.rule import Rule
from evosearch.tasks.base import TASKS, Key, PythonTask, RuleTask
from evosearch.tasks.user import is_user_kind, load_user_task, source_hash

if TYPE_CHECKING:
    from evosearch.engine.lifetime import Lifetime, Projection
    from evosearch.spaces.base import Space

SEARCH = "search"
_SPLIT_CODES = {"search": 0, "validation": 1, "test": 2}
_USER_LEVELS = {"pre": Level.PRE, "post": Level.POST, "mod": Level.NETWORK}
_MAX_BUILT = 4
_AGGREGATES = {"mean": np.mean, "min": np.min, "median": np.median}


@dataclass(frozen=True)
class Draws:
    """Draws of one split: their keys are all that their data depend on."""

    split: str
    keys: tuple[Key, ...]

    def __len__(self) -> int:
        return len(self.keys)

    @cached_property
    def digest(self) -> str:
        """Short hash of split and keys."""
        return hashlib.sha256(repr((self.split, self.keys)).encode()).hexdigest()[:16]


@dataclass(frozen=True)
class Chunk:
    """How n rules did on D draws.

    Attributes:
        per_draw: (n, D) fitness.
        fitness: (n,) the draws aggregated as the problem says.
        exploded: (n,) share of draws whose lifetime ended in a non-finite value.
        lived: what it took.
        metrics: further figures, each (n,).
    """

    per_draw: FloatArray
    fitness: FloatArray
    exploded: FloatArray
    lived: Lived
    metrics: dict[str, FloatArray] = field(default_factory=dict)


@dataclass(frozen=True)
class ProblemInfo:
    """What a list of problems shows."""

    name: str
    title: str
    searches: tuple[str, ...]
    path: Path


class Problem:
    """A problem, ready to score candidates and to say which searches fit it.

    Args:
        config: the checked problem file, presets applied.
        source: name of the file in messages.
        folder: where a user's own task is looked for.

    Raises:
        InputError: a name or value of the file is wrong for the task or for a search.
    """

    def __init__(self, config: Config, *, source: str, folder: Path) -> None:
        self.config = config
        self.source = source
        self.folder = folder
        self.name = config.name
        self.terminals = self._catalogue()
        self._built: OrderedDict[tuple[str, str], list[Lifetime]] = OrderedDict()
        self._python: dict[str, PythonTask] = {}
        self.known, self.known_scale = self._read_known()
        self._check_rule()
        for split in config.splits:
            self._task_settings(split)
        for name in config.searches:
            self._check_search(name)

    @property
    def is_compiled(self) -> bool:
        """Whether lifetimes run in the engine, not as a user's Python function."""
        return not is_user_kind(self.config.task_kind)

    @property
    def dtype(self) -> str:
        """Type of the engine's numbers."""
        return self.config.rule.dtype

    @property
    def eta(self) -> float:
        """Step size."""
        return self.config.rule.eta

    @property
    def eta_factors(self) -> tuple[float, ...]:
        """Factors of the step size at which rules are scored."""
        return self.config.rule.eta_factors

    @property
    def floor(self) -> str | None:
        """Name of the trivial control."""
        return self.config.floor

    @property
    def ceiling(self) -> str | None:
        """Name of the reference."""
        return self.config.ceiling

    @property
    def success(self) -> SuccessConfig | None:
        """When a run counts as successful."""
        return self.config.success

    @property
    def default_search(self) -> str:
        """Name of the search that a run takes where none is named."""
        return self.config.default_search

    @property
    def splits(self) -> tuple[str, ...]:
        """Names of the splits."""
        return tuple(self.config.splits)

    def default_budget(self, search: str) -> int:
        """Return the candidate evaluations of a run of ``search``."""
        return self._search_config(search).budget

    def representation(self, search: str) -> str:
        """Return ``tree``, ``coefficients`` or ``table``."""
        return self._search_config(search).representation

    def n_search_draws(self, search: str) -> int:
        """Return how many draws a search scores candidates on: its own number or the split's."""
        own = self._search_config(search).draws
        return self.config.splits[SEARCH].draws if own is None else own

    def is_fresh(self, search: str) -> bool:
        """Whether a search meets new draws in each generation."""
        own = self._search_config(search).is_fresh
        return self.config.splits[SEARCH].is_fresh if own is None else own

    def search_settings(self, search: str) -> dict[str, Any]:
        """Return the settings of a search on this problem.

        Raises:
            InputError: the problem has no section for this search.
        """
        return self._search_config(search).settings

    def space(self, representation: str = "tree") -> Space:
        """Return what is searched in one representation.

        Raises:
            InputError: the problem does not admit it, or a value of it is wrong.
        """
        from evosearch.spaces import CoefficientSpace, RuleSpace, TableSpace

        rule = self.config.rule
        try:
            if representation == "tree":
                return RuleSpace(
                    rule.terminals,
                    rule.functions,
                    constants=rule.constants,
                    ephemeral=rule.ephemeral,
                    max_size=rule.max_size,
                    form=rule.form,
                )
            if representation not in self.config.representations:
                known = ["tree", *self.config.representations]
                raise unknown_name("representation", representation, known)
            values = dict(self.config.representations[representation])
            space = {"coefficients": CoefficientSpace, "table": TableSpace}[representation]
            return space(**values, form=rule.form)
        except InputError as error:
            section = "rule" if representation == "tree" else f"representations.{representation}"
            raise InputError(f"{self.source}: {section}: {error}") from None

    def draws(
        self,
        split: str,
        *,
        run_seed: int = 0,
        generation: int = 0,
        count: int | None = None,
        search: str | None = None,
    ) -> Draws:
        """Return draws of a split.

        Args:
            split: name of a split.
            run_seed: seed of the run; only search draws depend on it.
            generation: matters where the search draws are fresh in each generation.
            count: how many; None for the split's own number, or for that of ``search``.
            search: name of a search, which may have its own number of draws and fresh ones.

        Raises:
            InputError: there is no such split.
        """
        if split not in self.config.splits:
            raise unknown_name("split", split, self.config.splits)
        config = self.config.splits[split]
        n = config.draws if count is None else count
        code = _SPLIT_CODES.get(split)
        code = 3 + zlib.crc32(split.encode()) if code is None else code
        if split == SEARCH:
            n = self.n_search_draws(search) if search and count is None else n
            is_fresh = self.is_fresh(search) if search else config.is_fresh
            batch = generation if is_fresh else 0
            return Draws(split, tuple((run_seed, code, batch, d) for d in range(n)))
        return Draws(split, tuple((self.config.seed, code, d) for d in range(n)))

    def step_size(self, split: str) -> float:
        """Return the step size on a split."""
        own = self.config.splits[split].eta
        return self.eta if own is None else own

    def task(self, split: str) -> RuleTask:
        """Return the built-in task with the settings of a split."""
        return TASKS.get(self.config.task_kind)(
            self._task_settings(split), dtype=self.dtype, projection=self._projection()
        )

    def prepare(self, draws: Draws) -> None:
        """Build the lifetimes of ``draws`` now, e.g. before threads share them."""
        if self.is_compiled:
            self.lifetimes(draws)

    def lifetimes(self, draws: Draws) -> list[Lifetime]:
        """Return the lifetimes of ``draws``, one a condition; the last few are kept."""
        key = (draws.split, draws.digest)
        if key not in self._built:
            self._built[key] = self.task(draws.split).lifetimes(draws.keys, draws.split)
            while len(self._built) > _MAX_BUILT:
                self._built.popitem(last=False)
        else:
            self._built.move_to_end(key)
        return self._built[key]

    def score_rules(
        self,
        rules: Sequence[Rule],
        scales: NDArray[np.float64] | Sequence[float],
        draws: Draws,
        device: str = "cpu",
    ) -> Chunk:
        """Live the lifetimes of ``draws`` under each rule.

        Args:
            rules: n rules.
            scales: (n,) factors of the step size.
            draws: which lifetimes.
            device: ``cpu`` or a torch device.

        Raises:
            InputError: a rule reads what the task does not offer.
        """
        from evosearch.engine.run import run_lifetimes
        from evosearch.rules.lower import lower

        lifetimes = self.lifetimes(draws)
        lowered = {id(rule): rule for rule in rules}
        programs = {key: lower(rule, self.terminals) for key, rule in lowered.items()}
        batch = [programs[id(rule)] for rule in rules]
        eta = self.step_size(draws.split) * np.asarray(scales, dtype=np.float64)
        results = [run_lifetimes(life, batch, eta, device=device) for life in lifetimes]
        scores = self.task(draws.split).score(results, lifetimes, draws.keys)
        lived = Lived(
            len(rules) * len(draws) * len(lifetimes),
            sum(result.synapse_updates for result in results),
            sum(result.native_updates for result in results),
        )
        return Chunk(
            scores.per_draw,
            self.aggregate(scores.per_draw),
            scores.exploded.mean(axis=1),
            lived,
            scores.metrics,
        )

    def python_task(self, split: str) -> PythonTask:
        """Import the user's own task with the settings of a split."""
        if split not in self._python:
            settings = self._task_settings(split)
            self._python[split] = load_user_task(self.config.task_kind, self.folder, settings)
        return self._python[split]

    def source_hash(self) -> str:
        """Return the hash of the user's own task, empty for a built-in one."""
        return "" if self.is_compiled else source_hash(self.config.task_kind, self.folder)

    def aggregate(self, per_draw: FloatArray) -> FloatArray:
        """Return (n,) from (n, D) draws: mean, min or median."""
        return np.asarray(_AGGREGATES[self.config.aggregate](per_draw, axis=1), dtype=np.float64)

    def read_rule(self, text: str) -> Rule:
        """Parse a rule over the terminals that the task offers."""
        return parse(text, terminals=[terminal.name for terminal in self.terminals])

    def _catalogue(self) -> tuple[Terminal, ...]:
        """Return all terminals that the task offers, those of the rule section first checked."""
        chosen = self.config.rule.terminals
        if not self.is_compiled:
            return tuple(Terminal(name, _USER_LEVELS.get(name, Level.SYNAPSE)) for name in chosen)
        try:
            task = TASKS.get(self.config.task_kind)
        except InputError as error:
            raise InputError(f"{self.source}: task.kind: {error}") from None
        names = [terminal.name for terminal in task.terminals]
        for name in chosen:
            if name not in names:
                error = unknown_name("terminal", name, names)
                raise InputError(f"{self.source}: rule.terminals: {error}")
        return task.terminals

    def _projection(self) -> Projection:
        from evosearch.engine.lifetime import Projection

        rule = self.config.rule
        low, high = rule.clip if rule.clip is not None else (-np.inf, np.inf)
        return Projection(
            low=low,
            high=high,
            is_zero_diagonal=rule.zero_diagonal,
            row_norm=rule.row_norm,
            keeps_sign=rule.sign,
        )

    def _task_settings(self, split: str) -> Any:
        """Return the task's settings on a split, checked; a mapping for a user's own task."""
        own = {key: value for key, value in self.config.task.items() if key != "kind"}
        changed = self.config.splits[split].task_settings
        if not self.is_compiled:
            return own | changed
        model = TASKS.get(self.config.task_kind).Settings
        check(model, own, source=self.source, prefix="task", more=("kind",))
        keys = tuple(SplitConfig.model_fields)
        return check(model, own | changed, source=self.source, prefix=f"splits.{split}", more=keys)

    def _read_known(self) -> tuple[dict[str, Rule], dict[str, float | None]]:
        from evosearch.rules.library import known_rule

        rules, scales = {}, {}
        for name, entry in self.config.known.items():
            try:
                text = entry.text if entry.text is not None else known_rule(str(entry.library)).text
                rules[name] = self.read_rule(text)
            except EvosearchError as error:
                raise InputError(f"{self.source}: known.{name}: {error}") from None
            scales[name] = entry.scale
        return rules, scales

    def _check_rule(self) -> None:
        self.space("tree")
        for name, values in self.config.representations.items():
            for key in ("basis", "entries"):
                for text in values.get(key, ()):
                    try:
                        self.read_rule(text)
                    except InputError as error:
                        where = f"{self.source}: representations.{name}.{key}"
                        raise InputError(f"{where}: {error}") from None

    def _check_search(self, name: str) -> None:
        """Check that a search exists, fits its representation and takes its settings."""
        from evosearch.search.base import SEARCHES

        keys = tuple(SearchConfig.model_fields)
        try:
            cls = SEARCHES.get(name)
        except InputError as error:
            raise InputError(f"{self.source}: searches.{name}: {error}") from None
        settings, prefix = self.search_settings(name), f"searches.{name}"
        check(cls.Settings, settings, source=self.source, prefix=prefix, more=keys)
        try:
            cls(self.space(self.representation(name)), seed=0, **settings)
        except InputError as error:
            message = str(error).removeprefix(f"{self.source}: ")
            raise InputError(f"{self.source}: searches.{name}: {message}") from None

    def _search_config(self, search: str) -> Any:
        if search not in self.config.searches:
            raise InputError(
                f"{self.name} has no section [searches.{search}]. It has: "
                f"{', '.join(sorted(self.config.searches))}."
            )
        return self.config.searches[search]


def problem_folders() -> list[Path]:
    """Return where shipped problems lie: package data, else the checkout."""
    here = Path(__file__).resolve().parent
    return [path for path in (here / "_problems", here.parent / "problems") if path.is_dir()]


def list_problems() -> list[ProblemInfo]:
    """Return the shipped problems by name, from their files alone."""
    found: dict[str, ProblemInfo] = {}
    for folder in problem_folders():
        for path in sorted(folder.glob("*.toml")):
            values = read_toml(path)
            name = str(values.get("name", path.stem))
            searches = tuple(values.get("searches", {}))
            found.setdefault(name, ProblemInfo(name, str(values.get("title", "")), searches, path))
    return [found[name] for name in sorted(found)]


def load_problem(
    problem: str | Path,
    *,
    preset: str | None = None,
    overrides: Mapping[str, Any] | None = None,
    folder: Path | None = None,
) -> Problem:
    """Load a problem by its shipped name or by the path of its file.

    Args:
        problem: name or path.
        preset: one of its presets.
        overrides: changed keys by dotted path.
        folder: where a user's own task lies; None for the folder of the file.

    Raises:
        InputError: there is no such problem, or something in it is wrong.
    """
    path = _problem_path(str(problem))
    source = path.name if _is_shipped(path) else str(path)
    values, home = read_toml(path), folder or path.resolve().parent
    config = build_config(values, source=source, preset=preset, overrides=overrides)
    loaded = Problem(config, source=source, folder=home)
    # A mistake in a preset is named now, not when somebody first asks for the preset.
    for name in config.presets:
        Problem(build_config(values, source=source, preset=name), source=source, folder=home)
    return loaded


def _is_shipped(path: Path) -> bool:
    return path.resolve().parent in problem_folders()


def _problem_path(problem: str) -> Path:
    if "\0" in problem or len(problem) > 4000:
        raise InputError("the problem's name is no name and no path.")
    path = Path(problem)
    if problem.endswith(".toml") or "/" in problem or "\\" in problem:
        if path.is_dir() and (path / "problem.toml").is_file():
            return path / "problem.toml"
        if not path.is_file():
            raise InputError(f"there is no problem file {problem}.")
        return path
    for folder in problem_folders():
        candidate = folder / f"{problem}.toml"
        if problem and candidate.is_file():
            return candidate
    raise unknown_name("problem", problem, [info.name for info in list_problems()])
