"""The limits of one core, measured: multiply-adds, divisions, and bytes from each memory.

The loops are generated through LLVM, so that no C compiler is needed. What a workload could at
best reach is counted, not measured: its operations, each a vector instruction that is not fused
(the numerics contract forbids that), its divisions, and the weights read and written each step.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import llvmlite.binding as llvm
import numpy as np

from evosearch.bench.timing import interleaved
from evosearch.bench.workload import Workload
from evosearch.engine.native.machine import target_machine
from evosearch.engine.native.program import COSTLY, EXPANSIONS
from evosearch.engine.native.work import FUNCTION_CODE
from evosearch.engine.program import Op, Program

N_CHAINS = 12
"""Independent results at a time: more than the latency of any core times its ports."""

UPDATE_OPERATIONS = 5
"""Of the update of a weight: times eta, plus, two sides of the clip, the finiteness check."""

MAX_ARRAY = 256 * 2**20


@dataclass(frozen=True)
class Roofline:
    """What one core does at most in a second.

    Attributes:
        fma_gflops: float32 operations, two a fused multiply-add, in 10^9.
        divisions: float32 divisions, in 10^9.
        l1: bytes of ``d = a + b``, in 10^9, from the first cache.
        l2: the same from the second cache.
        memory: the same from memory.
        l1_size: bytes of the first cache.
        l2_size: bytes of the second cache.
    """

    fma_gflops: float
    divisions: float
    l1: float
    l2: float
    memory: float
    l1_size: int
    l2_size: int

    def arithmetic_time(self, work: Workload) -> float:
        """Return the least seconds that the arithmetic of all lives takes."""
        return sum(self._program_time(work, program) for program in work.programs)

    def least_time(self, work: Workload) -> float:
        """Return the least seconds of all lives, by arithmetic or by memory."""
        size = work.n_out * work.n_in * 4 * work.life.lanes
        is_near = size <= self.l1_size
        rate = self.l1 if is_near else self.l2 if size <= self.l2_size else self.memory
        n_bytes = 8.0 * work.n_lifetimes * work.life.n_rule_applications * work.n_out * work.n_in
        return max(self.arithmetic_time(work), n_bytes / (rate * 1e9))

    def seconds(self, operations: float, divisions: float) -> float:
        """Return the least seconds of so many results of arithmetic and of divisions."""
        return 1e-9 * (operations / (self.fma_gflops / 2) + divisions / self.divisions)

    def _program_time(self, work: Workload, program: Program) -> float:
        counts = step_operations(program, work.n_out, work.n_in)
        return self.seconds(*counts) * work.life.n_draws * work.life.n_rule_applications

    def __str__(self) -> str:
        return (
            f"one core: {self.fma_gflops:.0f} GFLOP/s (FMA), {self.divisions:.1f} G divisions/s, "
            f"a + b at {self.l1:.0f} GB/s from L1, {self.l2:.0f} from L2, {self.memory:.0f} from "
            "memory"
        )


def step_operations(program: Program, n_out: int, n_in: int) -> tuple[float, float]:
    """Count results of arithmetic and of divisions in one step of one draw."""
    synapses = n_out * n_in
    operations, divisions = rule_operations(program, (1, n_in, n_out, synapses, synapses))
    return operations + (2 + UPDATE_OPERATIONS) * synapses, divisions


def rule_operations(program: Program, sizes: Sequence[int]) -> tuple[float, float]:
    """Count results of arithmetic and of divisions, section by section of these sizes."""
    operations, divisions, first = 0.0, 0.0, 0
    ops = program.code[:, 0].tolist()
    for end, size in zip(program.section_end.tolist(), sizes, strict=True):
        for op in ops[first:end]:
            if op == Op.DIV:
                divisions += size
            elif op not in EXPANSIONS:
                operations += size * (FUNCTION_CODE if op in COSTLY else 1)
        first = end
    return operations, divisions


def measure_roofline(*, is_quick: bool = False) -> Roofline:
    """Measure this core; takes about two seconds, and 768 MB where the caches are that large."""
    width = _vector_width()
    engine = _engine(width)
    n = 10_000 if is_quick else 10_000_000
    flops = N_CHAINS * width * n
    fma = _rate(_function(engine, "multiply_add"), (n,), 2 * flops)
    divisions = _rate(_function(engine, "divide"), (n // 10,), flops / 10)
    sizes = [_cache_size(level) for level in (1, 2, 3)]
    far = 2**20 if is_quick else min(max(4 * sizes[2] // 3, 2**25), MAX_ARRAY)
    add = _function(engine, "add")
    near = [_bandwidth(add, n_bytes, is_quick) for n_bytes in (sizes[0] // 6, sizes[1] // 6, far)]
    return Roofline(fma, divisions, *near, l1_size=sizes[0], l2_size=sizes[1])


def _bandwidth(add: Callable[..., Any], n_bytes: int, is_quick: bool) -> float:
    """Return the GB/s of d = a + b on three arrays of ``n_bytes`` each."""
    n = n_bytes // 256 * 64
    raw = np.zeros(3 * n + 16, np.float32)
    start = raw.ctypes.data + -raw.ctypes.data % 64
    repeats = max(1, (2**20 if is_quick else 2**30) // n_bytes // 4)
    addresses = tuple(start + 4 * n * k for k in range(3))
    return _rate(add, (*addresses, n, repeats), 12.0 * n * repeats)


def _rate(function: Callable[..., Any], arguments: tuple[int, ...], count: float) -> float:
    """Return the best of five rates, in 10^9 a second: a limit is what is ever reached."""
    times = interleaved({"it": lambda: function(*arguments)}, 5).seconds["it"]
    return count / float(times.min()) / 1e9


def _vector_width() -> int:
    features: dict[str, bool] = dict(llvm.get_host_cpu_features())
    return 16 if features.get("avx512f") else 8 if features.get("avx") else 4


def _cache_size(level: int) -> int:
    """Return the bytes of a cache of this machine, common ones where it does not say."""
    for index in Path("/sys/devices/system/cpu/cpu0/cache").glob("index*"):
        try:
            kind, found = ((index / name).read_text().strip() for name in ("type", "level"))
            size = (index / "size").read_text().strip()
        except OSError:
            continue
        if kind != "Instruction" and found == str(level) and size.endswith("K"):
            return 1024 * int(size[:-1])
    return (32 * 2**10, 2**20, 32 * 2**20)[level - 1]


def _function(engine: Any, name: str) -> Callable[..., Any]:
    n_arguments = 5 if name == "add" else 1
    kind = ctypes.CFUNCTYPE(ctypes.c_float, *[ctypes.c_int64] * n_arguments)
    function = kind(engine.get_function_address(name))
    function.engine = engine  # type: ignore[attr-defined]
    return function


def _engine(width: int) -> Any:
    kind = f"<{width} x float>"
    name = f"@llvm.fmuladd.v{width}f32"
    call = f"call {kind} {name}({kind} %a{{k}}, {kind} %near, {kind} %small)"
    parts = [
        f"declare {kind} {name}({kind}, {kind}, {kind})",
        _chains("multiply_add", kind, call),
        _chains("divide", kind, f"fdiv {kind} %near, %a{{k}}"),
        _addition(kind, width),
    ]
    machine = target_machine(3)
    engine = llvm.create_mcjit_compiler(llvm.parse_assembly("\n".join(parts)), machine)
    engine.finalize_object()
    return engine


def _splat(name: str, kind: str, value: str) -> list[str]:
    return [
        f"  %{name}0 = insertelement {kind} poison, float {value}, i32 0",
        f"  %{name} = shufflevector {kind} %{name}0, {kind} poison, "
        f"<{kind[1:].split()[0]} x i32> zeroinitializer",
    ]


def _chains(name: str, kind: str, instruction: str) -> str:
    """Write a function that runs n rounds of independent instructions."""
    lines = [f"define float @{name}(i64 %n) {{", "entry:", "  %f = sitofp i64 %n to float"]
    # Of an argument, so that nothing is folded; the values stay near 1.
    lines += ["  %g = fdiv float %f, %f", "  %h = fmul float %g, 5.0e-1"]
    lines += [
        *_splat("near", kind, "%h"),
        *_splat("small", kind, "%h"),
        "  br label %loop",
        "loop:",
    ]
    lines.append("  %i = phi i64 [0, %entry], [%j, %loop]")
    for k in range(N_CHAINS):
        lines.append(f"  %a{k} = phi {kind} [%near, %entry], [%b{k}, %loop]")
    lines += [f"  %b{k} = {instruction.format(k=k)}" for k in range(N_CHAINS)]
    lines += ["  %j = add i64 %i, 1", "  %c = icmp ult i64 %j, %n"]
    lines += ["  br i1 %c, label %loop, label %end", "end:", f"  %s0 = fadd {kind} %b0, %b0"]
    lines += [f"  %s{k} = fadd {kind} %s{k - 1}, %b{k}" for k in range(1, N_CHAINS)]
    lines += [f"  %e = extractelement {kind} %s{N_CHAINS - 1}, i32 0", "  ret float %e", "}"]
    return "\n".join(lines)


def _addition(kind: str, width: int) -> str:
    """Write d = a + b over n values, a multiple of 64, ``repeats`` times."""
    lines = [
        "define float @add(ptr %d, ptr %a, ptr %b, i64 %n, i64 %repeats) {",
        "entry:", "  br label %outer",
        "outer:", "  %r = phi i64 [0, %entry], [%r1, %done]", "  br label %loop",
        "loop:", "  %i = phi i64 [0, %outer], [%j, %loop]",
    ]  # fmt: skip
    for k in range(0, 64, width):
        lines.append(f"  %i{k} = add i64 %i, {k}")
        lines += [f"  %{p}p{k} = getelementptr float, ptr %{p}, i64 %i{k}" for p in "abd"]
        lines += [f"  %{p}{k} = load {kind}, ptr %{p}p{k}, align 64" for p in "ab"]
        lines.append(f"  %s{k} = fadd {kind} %a{k}, %b{k}")
        lines.append(f"  store {kind} %s{k}, ptr %dp{k}, align 64")
    lines += [
        "  %j = add i64 %i, 64", "  %c = icmp ult i64 %j, %n",
        "  br i1 %c, label %loop, label %done",
        "done:", "  %r1 = add i64 %r, 1", "  %again = icmp ult i64 %r1, %repeats",
        "  br i1 %again, label %outer, label %end", "end:", "  ret float 0.0", "}",
    ]  # fmt: skip
    return "\n".join(lines)
