"""Make functions of rules, and keep them: one module a batch, one function a structure."""

from __future__ import annotations

import hashlib
import logging
import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import llvmlite.binding as llvm
import numpy as np

from evosearch.engine.contract import LANES
from evosearch.engine.lifetime import Lifetime
from evosearch.engine.native.draws import DrawLife
from evosearch.engine.native.life import LifeWriter
from evosearch.engine.native.machine import target_machine
from evosearch.engine.native.program import UnsupportedError
from evosearch.engine.native.rows import RowLife
from evosearch.engine.native.shared import RuleRows, SharedLife, catalogue_of, is_shareable
from evosearch.engine.program import Program

MAX_KEPT = 20_000
"""Functions kept in this process; those longest unused go first."""

MAX_IN_ENGINE = 500
"""Functions that share an engine, whose memory is freed when the last of them is forgotten."""

SHARED_LEVEL = 2
"""Code generation level of what rules share: it is compiled once a life."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Native:
    """A compiled life: where its functions lie, and the scratch memory they need.

    It holds the engines that own the functions, which are there as long as somebody uses them.

    Attributes:
        addresses: of the life, of the rule's rows and of its units; the last two may be 0.
        scratch: floats.
        engines: the owners.
    """

    addresses: tuple[int, int, int]
    scratch: int
    engines: tuple[Any, ...]


class Compiler:
    """Compiled lives by structure: of the phases, and of the rule without its constants."""

    def __init__(self, level: int) -> None:
        self._machine = target_machine(level)
        self._level = level
        self._lock = threading.Lock()
        self._functions: OrderedDict[bytes, Native | None] = OrderedDict()
        self._shared: set[bytes] = set()
        self._engine: Any = None
        self._n_in_engine = 0
        self._is_able = True

    def compile(self, life: Lifetime, programs: Sequence[Program]) -> dict[bytes, Native | None]:
        """Return the functions of programs by structure; None where the generator has none."""
        with self._lock:
            wanted = {structure(life, program): program for program in programs}
            missing = {key: p for key, p in wanted.items() if key not in self._functions}
            if missing:
                self._add(life, missing)
            found = {key: self._functions[key] for key in wanted}
            for key in wanted:
                self._functions.move_to_end(key)
            while len(self._functions) > MAX_KEPT:
                self._functions.popitem(last=False)
            return found

    def knows(self, key: bytes) -> bool:
        """Whether a structure was compiled already."""
        return key in self._functions

    def has_shared(self, life: Lifetime) -> bool:
        """Whether a part of a life that rules share was compiled already."""
        return _structure_of(life) in self._shared

    def _add(self, life: Lifetime, programs: dict[bytes, Program]) -> None:
        self._functions |= dict.fromkeys(programs)
        texts: list[str] = []
        declarations: set[str] = set()
        parts: dict[bytes, _Part] = {}
        for key, program in programs.items():
            try:
                part = self._part(life, program, f"rule_{key.hex()}")
                texts.append(part.writer.write())
            except UnsupportedError:
                continue
            declarations |= part.writer.w.declarations
            parts[key] = part
        if not texts or not self._is_able:
            return
        try:
            engine = self._load("\n".join([*sorted(declarations), *texts]), len(texts))
        except RuntimeError as error:
            self._give_up(error)
            return
        for key, part in parts.items():
            self._functions[key] = part.loaded(engine)

    def _give_up(self, error: Exception) -> None:
        self._is_able = False
        reason = str(error).splitlines()[0]
        logger.warning("rules are interpreted, not compiled: LLVM refuses them (%s)", reason)

    def _part(self, life: Lifetime, program: Program, name: str) -> _Part:
        """Return what has to be compiled of a life for a rule."""
        if self._level == 0 and is_shareable(life, program):
            rows = RuleRows(life, program, name)
            shared = self._shared_part(life, program, rows.is_fused)
            if shared is not None:
                return _Part(rows, shared)
        name = f"{name}_life"
        if life.lanes == 1:
            return _Part(RowLife(life, program, name), None)
        is_double = life.dtype == np.float64
        wide = LANES if self._level == 0 or is_double else 2 * LANES
        return _Part(DrawLife(life, program, name, wide), None)

    def _shared_part(self, life: Lifetime, program: Program, is_fused: bool) -> Native | None:
        """Return the part of a life that rules of one catalogue share; None where there is none."""
        facts = repr((_structure_of(life), catalogue_of(program), is_fused)).encode()
        key = hashlib.blake2b(facts, digest_size=16).digest()
        if key not in self._functions:
            self._functions[key] = None
            if not self._is_able:
                return None
            writer = SharedLife(life, program, f"shared_{key.hex()}", is_fused)
            try:
                text = writer.write()
                engine = self._load(
                    "\n".join([*sorted(writer.w.declarations), text]), 1, SHARED_LEVEL
                )
            except UnsupportedError:
                return None
            except RuntimeError as error:
                self._give_up(error)
                return None
            address = engine.get_function_address(writer.name)
            self._functions[key] = Native((address, 0, 0), writer.scratch, (engine,))
            self._shared.add(_structure_of(life))
        self._functions.move_to_end(key)
        return self._functions[key]

    def _load(self, text: str, n_functions: int, level: int = 0) -> Any:
        """Compile a module and put its code into memory; return the engine that owns it."""
        module = llvm.parse_assembly(text)
        machine = self._machine if level <= self._level else target_machine(level)
        code = llvm.ObjectFileRef.from_data(machine.emit_object(module))
        if self._engine is None or self._n_in_engine > MAX_IN_ENGINE:
            empty = llvm.parse_assembly("")
            self._engine = llvm.create_mcjit_compiler(empty, target_machine(self._level))
            self._n_in_engine = 0
        self._n_in_engine += n_functions
        self._engine.add_object_file(code)
        self._engine.finalize_object()
        return self._engine


@dataclass(frozen=True)
class _Part:
    """What is compiled for one rule: a whole life, or its rows beside a shared part."""

    writer: LifeWriter
    shared: Native | None

    def loaded(self, engine: Any) -> Native:
        """Return the functions, now that an engine holds them."""
        find, name, scratch = engine.get_function_address, self.writer.name, self.writer.scratch
        if self.shared is None:
            return Native((find(name), 0, 0), scratch, (engine,))
        assert isinstance(self.writer, RuleRows)
        units = find(f"{name}_units") if self.writer.has_units else 0
        addresses = (self.shared.addresses[0], find(f"{name}_rows"), units)
        return Native(addresses, self.shared.scratch + scratch, (engine, *self.shared.engines))


def structure(life: Lifetime, program: Program) -> bytes:
    """Return what machine code depends on: all but the rule's constants, step size and clip."""
    digest = hashlib.blake2b(_structure_of(life), digest_size=16)
    outputs = [(out.target, out.register, out.is_increment) for out in program.outputs]
    for part in (program.code, program.section_end, program.register_level,
                 program.constant_register):  # fmt: skip
        digest.update(part.tobytes())
        digest.update(b"|")
    digest.update(repr((program.terminals, outputs)).encode())
    return digest.digest()


def _structure_of(life: Lifetime) -> bytes:
    if "structure" not in life.cache:
        life.cache["structure"] = _life_structure(life)
    return life.cache["structure"]


def _life_structure(life: Lifetime) -> bytes:
    projection = life.projection
    sites = [
        (s.matrix.start, s.matrix.n_out, s.matrix.n_in, s.birth.start,
         sorted((name, b.start, b.size, b.examples) for name, b in s.terminals.items()))
        for s in life.sites
    ]  # fmt: skip
    maps = [
        (m.program.code.tobytes(), m.program.constant_value.tobytes(),
         m.program.section_end.tobytes(), [(b.start, b.size) for b in m.operands], m.target.start)
        for m in life.maps
    ]  # fmt: skip
    facts = (
        life.phases.tobytes(), life.n_units, life.lanes, str(life.dtype), sites, maps,
        life.is_shared_table, life.is_shared_index, [i.shape[-1] for i in life.indices],
        projection.is_zero_diagonal, projection.keeps_sign, projection.has_norm,
        projection.low > float("-inf") or projection.high < float("inf"),
    )  # fmt: skip
    return hashlib.blake2b(repr(facts).encode(), digest_size=16).digest()


@lru_cache(maxsize=2)
def compiler(level: int) -> Compiler:
    """Return this process's compiler of one code generation level."""
    return Compiler(level)
