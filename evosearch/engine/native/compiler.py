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

from evosearch.engine.lifetime import Lifetime
from evosearch.engine.native.draws import DrawLife
from evosearch.engine.native.machine import target_machine
from evosearch.engine.native.program import UnsupportedError
from evosearch.engine.native.rows import RowLife
from evosearch.engine.program import Program

MAX_KEPT = 20_000
"""Functions kept in this process; those longest unused go first."""

MAX_IN_ENGINE = 500
"""Functions that share an engine, whose memory is freed when the last of them is forgotten."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Native:
    """A compiled life: where its function lies, and the scratch memory it needs.

    It holds the engine that owns the function, which is there as long as somebody uses it.
    """

    address: int
    scratch: int
    engine: Any


class Compiler:
    """Compiled lives by structure: of the phases, and of the rule without its constants."""

    def __init__(self, level: int) -> None:
        self._machine = target_machine(level)
        self._level = level
        self._lock = threading.Lock()
        self._functions: OrderedDict[bytes, Native | None] = OrderedDict()
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

    def _add(self, life: Lifetime, programs: dict[bytes, Program]) -> None:
        writer = RowLife if life.lanes == 1 else DrawLife
        texts, declarations, scratch = [], set(), {}
        for key, program in programs.items():
            self._functions[key] = None
            try:
                emitter = writer(life, program, f"life_{key.hex()}")
                texts.append(emitter.write())
            except UnsupportedError:
                continue
            declarations |= emitter.w.declarations
            scratch[key] = emitter.scratch
        if not texts or not self._is_able:
            return
        try:
            engine = self._load("\n".join([*sorted(declarations), *texts]), len(texts))
        except RuntimeError as error:
            self._is_able = False
            reason = str(error).splitlines()[0]
            logger.warning("rules are interpreted, not compiled: LLVM refuses them (%s)", reason)
            return
        for key, size in scratch.items():
            address = engine.get_function_address(f"life_{key.hex()}")
            self._functions[key] = Native(address, size, engine)

    def _load(self, text: str, n_functions: int) -> Any:
        """Compile a module and put its code into memory; return the engine that owns it."""
        module = llvm.parse_assembly(text)
        code = llvm.ObjectFileRef.from_data(self._machine.emit_object(module))
        if self._engine is None or self._n_in_engine > MAX_IN_ENGINE:
            empty = llvm.parse_assembly("")
            self._engine = llvm.create_mcjit_compiler(empty, target_machine(self._level))
            self._n_in_engine = 0
        self._n_in_engine += n_functions
        self._engine.add_object_file(code)
        self._engine.finalize_object()
        return self._engine


def structure(life: Lifetime, program: Program) -> bytes:
    """Return what machine code depends on: all but the rule's constants, step size and clip."""
    cached = life.cache.get("structure")
    if cached is None:
        cached = life.cache["structure"] = _life_structure(life)
    digest = hashlib.blake2b(cached, digest_size=16)
    outputs = [(out.target, out.register, out.is_increment) for out in program.outputs]
    for part in (program.code, program.section_end, program.register_level,
                 program.constant_register):  # fmt: skip
        digest.update(part.tobytes())
        digest.update(b"|")
    digest.update(repr((program.terminals, outputs)).encode())
    return digest.digest()


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
