"""Problems whose candidates are rules: what rules may be made of, and the lives that score them."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from evosearch.config import Config, RuleConfig
from evosearch.engine.program import Level, Program, Terminal
from evosearch.errors import EvosearchError, InputError, unknown_name
from evosearch.outcome import Lived
from evosearch.problem.base import Chunk, Draws, Problem
from evosearch.problem.sharing import Sharing, matrices_of
from evosearch.rules.genes import Gene, split_genes
from evosearch.rules.parser import parse
from evosearch.rules.rule import Rule
from evosearch.tasks.base import RuleTask
from evosearch.tasks.rows import RowTask, with_weight

if TYPE_CHECKING:
    from evosearch.engine.lifetime import Lifetime, Projection
    from evosearch.search.base import Search
    from evosearch.spaces.base import Space
    from evosearch.spaces.rule import RuleSpace

_USER_LEVELS = {"pre": Level.PRE, "post": Level.POST, "mod": Level.NETWORK}
_MAX_BUILT = 4
_LARGEST_CHUNK = 64


class RuleProblem(Problem):
    """A problem whose candidates are plasticity rules.

    Attributes:
        terminals: all that the task offers to rules.
        genes: numbers that are searched along with the rule.
        known: known rules to compare with, by name.
        known_scale: the step size factor of each, None for the best on validation draws.
    """

    kind = "rule"

    def __init__(self, config: Config, *, source: str, folder: Path) -> None:
        self._built: OrderedDict[tuple[str, str], list[Lifetime]] = OrderedDict()
        super().__init__(config, source=source, folder=folder)

    @property
    def rule(self) -> RuleConfig:
        """What a rule may be made of, and how it acts on weights."""
        assert self.config.rule is not None, "a problem of rules has a section rule"
        return self.config.rule

    @property
    def dtype(self) -> str:
        """Type of the engine's numbers."""
        return self.rule.dtype

    @property
    def has_rows(self) -> bool:
        """Whether rules are formulas that are scored on a table."""
        return self.is_compiled and issubclass(self._task_class(), RowTask)

    @property
    def eta_factors(self) -> tuple[float, ...]:
        """Factors of the step size at which rules are scored."""
        return self.rule.eta_factors

    @property
    def largest_chunk(self) -> int:
        """Rules that one call of the engine is given."""
        return _LARGEST_CHUNK

    def space(self, representation: str = "tree") -> Space:
        """Return what is searched in one representation.

        Raises:
            InputError: the problem does not admit it, or a value of it is wrong.
        """
        from evosearch.spaces import GenomeSpace, TableSpace

        rule = self.rule
        is_of_trees = representation == "tree" or (representation == "formula" and self.has_rows)
        try:
            if is_of_trees:
                tree = self._tree_space(is_formula=representation == "formula")
                genes = (*self._shared_genes, *self.genes)
                return GenomeSpace(tree, genes) if genes else tree
            if representation not in self.config.representations:
                trees = ["tree", "formula"] if self.has_rows else ["tree"]
                known = [*trees, *self.config.representations]
                raise unknown_name("representation", representation, known)
            values = dict(self.config.representations[representation])
            if representation == "coefficients":
                return self._coefficient_space(values)
            if self.genes or self._sharing is not None:
                raise InputError(
                    f"a table has no genes and one rule for all synapses, but rule.genes is "
                    f"{list(rule.genes)} and rule.sharing is {rule.sharing!r}."
                )
            return TableSpace(**values, form=rule.form)
        except InputError as error:
            section = "rule" if is_of_trees else f"representations.{representation}"
            raise InputError(f"{self.source}: {section}: {error}") from None

    def _coefficient_space(self, values: dict[str, Any]) -> Space:
        """Return the weighted sums of given terms: one for all synapses, or several."""
        from evosearch.spaces import CoefficientSpace, SharedCoefficientSpace

        form, sharing = self.rule.form, self._sharing
        if sharing is None:
            return CoefficientSpace(**values, form=form, genes=self.genes)
        values = {**values, "basis": sharing.basis, "bound": sharing.bound}
        genes = (*sharing.choices, *self.genes)
        return SharedCoefficientSpace(
            coefficients=sharing.coefficients, form=form, genes=genes, **values
        )

    @property
    def _shared_genes(self) -> tuple[Gene, ...]:
        """Genes of rules that only some of the synapses share."""
        sharing = self._sharing
        return () if sharing is None else (*sharing.coefficients, *sharing.choices)

    def _tree_space(self, *, is_formula: bool) -> RuleSpace:
        """Return the trees over the chosen terminals; of formulas with the rows of the search."""
        from evosearch.spaces import FormulaSpace, RuleSpace

        rule = self.rule
        names = rule.terminals or tuple(terminal.name for terminal in self.terminals)
        if self._sharing is not None and rule.terminals:
            names += tuple(terminal.name for terminal in self._sharing.terminals)
        settings: dict[str, Any] = {
            "constants": rule.constants,
            "ephemeral": rule.ephemeral,
            "max_size": rule.max_size,
            "form": rule.form,
        }
        if not is_formula:
            return RuleSpace(names, rule.functions, **settings)
        task = self.task("search")
        assert isinstance(task, RowTask), "a problem with rows has a task of rows"
        (key,) = self.draws("search", count=1).keys
        rows = task.rows(key, "search")
        columns = rows.columns[[rows.names.index(name) for name in names]]
        return FormulaSpace(names, rule.functions, columns, rows.target, **settings)

    def step_size(self, split: str) -> float:
        """Return the step size on a split."""
        own = self.config.splits[split].eta
        return self.rule.eta if own is None else own

    def task(self, split: str) -> RuleTask:
        """Return the built-in task with the settings of a split."""
        return self._task_class()(
            self._task_settings(split), dtype=self.dtype, projection=self._projection()
        )

    def prepare(self, draws: Draws, device: str = "cpu") -> None:
        """Build the lifetimes of ``draws`` now, e.g. before threads share them."""
        if self.is_compiled and not self.has_rows:
            self.lifetimes(draws)

    def lifetimes(self, draws: Draws) -> list[Lifetime]:
        """Return the lifetimes of ``draws``, one a condition; the last few are kept."""
        key = (draws.split, draws.digest)
        if key not in self._built:
            built = self.task(draws.split).lifetimes(draws.keys, draws.split)
            if self._sharing is not None:
                built = [self._sharing.attached(life, self._n_own_genes) for life in built]
            self._built[key] = built
            while len(self._built) > _MAX_BUILT:
                self._built.popitem(last=False)
        else:
            self._built.move_to_end(key)
        return self._built[key]

    def score(
        self,
        candidates: Sequence[Rule],
        scales: NDArray[np.float64] | Sequence[float],
        draws: Draws,
        device: str = "cpu",
    ) -> Chunk:
        """Live the lifetimes of ``draws`` under each rule.

        Args:
            candidates: n rules.
            scales: (n,) factors of the step size.
            draws: which lifetimes.
            device: ``cpu`` or a torch device.

        Raises:
            InputError: a rule reads what the task does not offer.
        """
        from evosearch.engine.run import run_lifetimes

        lowered = {id(rule): rule for rule in candidates}
        programs = dict(zip(lowered, self.programs(list(lowered.values())), strict=True))
        batch = [programs[id(rule)] for rule in candidates]
        if self.has_rows:
            return self._score_rows(batch, draws)
        lifetimes = self.lifetimes(draws)
        eta = self.step_size(draws.split) * np.asarray(scales, dtype=np.float64)
        results = [run_lifetimes(life, batch, eta, device=device) for life in lifetimes]
        scores = self.task(draws.split).score(results, lifetimes, draws.keys)
        lived = Lived(
            len(candidates) * len(draws) * len(lifetimes),
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

    def _score_rows(self, programs: Sequence[Program], draws: Draws) -> Chunk:
        """Score formulas on the tables of draws."""
        task = self.task(draws.split)
        assert isinstance(task, RowTask), "a problem with rows has a task of rows"
        scores = task.score_programs(programs, draws.keys, draws.split)
        return Chunk(
            scores.per_draw,
            self.aggregate(scores.per_draw),
            scores.exploded.mean(axis=1),
            Lived(),
            scores.metrics,
        )

    def programs(self, rules: Sequence[Rule]) -> list[Program]:
        """Return what the engine runs for each of some rules; see ``program``."""
        if self._all_genes or self._sharing is not None:
            return [self.program(rule) for rule in rules]
        from evosearch.rules.lower_many import lower_many

        return lower_many(rules, with_weight(self.terminals) if self.has_rows else self.terminals)

    def program(self, rule: Rule) -> Program:
        """Return what the engine runs for a rule.

        Raises:
            InputError: the rule reads what the task does not offer, or a gene is out of range.
        """
        from evosearch.rules.lower import lower

        own, genes = split_genes(rule, self._all_genes)
        terminals = with_weight(self.terminals) if self.has_rows else self.terminals
        if self._sharing is not None:
            genes = self._sharing.written_out(genes, self._n_own_genes)
        return replace(lower(own, terminals), genes=genes)

    def read(self, text: str) -> Rule:
        """Parse a rule over the terminals that the task offers, with genes of the task."""
        rule = parse(text, terminals=[terminal.name for terminal in self.terminals])
        own, _ = split_genes(rule, self._all_genes)
        genes = [gene.name for gene in self._all_genes]
        for part in own.parts:
            if part not in ("dw", *(terminal.name for terminal in self.terminals)):
                named = unknown_name("gene", part, genes) if genes else InputError(f"{part} = …")
                raise InputError(f"{named} Parts of a rule are dw or w, a state, or a gene.")
        return rule

    def write(self, candidate: Rule) -> str:
        """Return the text of a rule."""
        return candidate.text

    def resolve(self, text: str) -> Rule:
        """Return a rule given by the name of a known one or as text over the terminals."""
        from evosearch.rules.library import KNOWN, known_rule

        name = text.strip()
        names = [terminal.name for terminal in self.terminals]
        if name in self.known:
            return self.known[name]
        if name in KNOWN:
            rule = Rule(known_rule(name).text)
            missing = sorted(rule.terminals - set(names))
            if missing:
                raise InputError(
                    f"the rule {name} reads {', '.join(missing)}, which {self.name} does not "
                    f"offer; its terminals are {', '.join(names)}."
                )
            return rule
        if name.isidentifier() and name not in names:
            raise unknown_name("rule", name, {*KNOWN, *self.known})
        return self.read(text)

    def known_candidate(self, name: str) -> Rule | None:
        """Return a known rule; None where the section gives a figure alone."""
        return self.known.get(name)

    def _check_fit(self, search: type[Search], representation: str, settings: Any) -> None:
        search(self.space(representation), seed=0, **settings)

    def _check_task(self) -> None:
        self.terminals = self._catalogue()
        self._all_genes, self.genes = self._gene_catalogue()
        self._n_own_genes = len(self._all_genes)
        self._sharing = self._sharing_map()
        if self._sharing is not None:
            self.terminals = (*self.terminals, *self._sharing.terminals)
            self._all_genes = (*self._all_genes, *self._shared_genes)
        self.known = self._read_known()
        self._check_rule()

    def _catalogue(self) -> tuple[Terminal, ...]:
        """Return all terminals that the task offers, those of the rule section first checked."""
        chosen = self.rule.terminals
        if not self.is_compiled:
            self._check_some_terminals()
            return tuple(Terminal(name, _USER_LEVELS.get(name, Level.SYNAPSE)) for name in chosen)
        task = self._task_class()
        if not issubclass(task, RuleTask):
            raise InputError(
                f"{self.source}: task.kind {self.config.task_kind!r} scores vectors, not rules; "
                "replace the section [rule] by [vector]."
            )
        offered = self._offered(task)
        names = [terminal.name for terminal in offered]
        for name in chosen:
            if name not in names:
                error = unknown_name("terminal", name, names)
                raise InputError(f"{self.source}: rule.terminals: {error}")
        return offered

    def _offered(self, task: type[RuleTask]) -> tuple[Terminal, ...]:
        """Return the terminals of a task, or the columns of its table."""
        if not issubclass(task, RowTask):
            self._check_some_terminals()
            return task.terminals
        settings = self._task_settings("search")
        try:
            return task.terminals_of(settings)
        except InputError as error:
            raise InputError(f"{self.source}: task: {error}") from None

    def _check_some_terminals(self) -> None:
        if not self.rule.terminals:
            raise InputError(f"{self.source}: rule.terminals is []; name at least one.")

    def _gene_catalogue(self) -> tuple[tuple[Gene, ...], tuple[Gene, ...]]:
        """Return all genes of the task, and those that are searched."""
        task = self._task_class() if self.is_compiled else None
        known = {gene.name: gene for gene in (task.genes if task is not None else ())}
        if len(set(self.rule.genes)) < len(self.rule.genes):
            raise InputError(f"{self.source}: rule.genes names one twice: {list(self.rule.genes)}.")
        if self.rule.genes and not known:
            raise InputError(
                f"{self.source}: rule.genes: the task {self.config.task_kind} has none."
            )
        for name in self.rule.genes:
            if name not in known:
                raise InputError(f"{self.source}: rule.genes: {unknown_name('gene', name, known)}")
        return tuple(known.values()), tuple(known[name] for name in self.rule.genes)

    def _sharing_map(self) -> Sharing | None:
        """Return how synapses share rules; None where one rule serves all."""
        kind = self.rule.sharing
        if kind == 1:
            return None
        where = f"{self.source}: rule.sharing = {self.rule.sharing!r}"
        if not self.is_compiled or self.has_rows:
            raise InputError(f"{where}: the task {self.config.task_kind} has no synapses; use 1.")
        values = self.config.representations.get("coefficients")
        if values is None:
            raise InputError(
                f"{where} needs a section representations.coefficients, whose basis says which "
                "terms a rule has."
            )
        (key,) = self.draws("search", count=1).keys
        life = self.task("search").lifetimes([key], "search")[0]
        shapes = tuple((matrix.n_out, matrix.n_in) for matrix in matrices_of(life))
        bound = values.get("bound") or Sharing.bound
        sharing = Sharing(kind, tuple(map(str, values["basis"])), shapes, bound)
        if isinstance(kind, tuple) and len(kind) != sharing.n_synapses:
            raise InputError(
                f"{self.source}: rule.sharing gives {len(kind)} synapses a rule, but the life has "
                f"{sharing.n_synapses}; every synapse needs one."
            )
        return sharing

    def _projection(self) -> Projection:
        from evosearch.engine.lifetime import Projection

        rule = self.rule
        low, high = rule.clip if rule.clip is not None else (-np.inf, np.inf)
        return Projection(
            low=low,
            high=high,
            is_zero_diagonal=rule.zero_diagonal,
            row_norm=rule.row_norm,
            keeps_sign=rule.sign,
        )

    def _read_known(self) -> dict[str, Rule]:
        from evosearch.rules.library import known_rule

        rules: dict[str, Rule] = {}
        for name, entry in self.config.known.items():
            where = f"{self.source}: known.{name}"
            if entry.baseline is not None:
                raise InputError(f"{where}: a rule is given by library or text, not by baseline.")
            if entry.value is not None:
                continue
            try:
                text = entry.text if entry.text is not None else known_rule(str(entry.library)).text
                rules[name] = self.read(text)
            except EvosearchError as error:
                raise InputError(f"{where}: {error}") from None
        return rules

    def _check_rule(self) -> None:
        self.space("tree")
        for name, values in self.config.representations.items():
            for key in ("basis", "entries"):
                for text in values.get(key, ()):
                    try:
                        self.read(text)
                    except InputError as error:
                        where = f"{self.source}: representations.{name}.{key}"
                        raise InputError(f"{where}: {error}") from None
