"""The plain torch path: the same programs and phases on any torch device.

A reference and a device of its own: it agrees with the CPU tiers to tolerance, not to the bit.
Candidates of one structure advance together with all draws; where they differ in constants only
(coefficients tuned by CMA-ES, say), the whole population is one batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from evosearch.engine import phases as ph
from evosearch.engine import philox
from evosearch.engine.lifetime import Lifetime, MapSite, RuleSite
from evosearch.engine.program import Level, Program
from evosearch.engine.run import LifeResult, genes_of
from evosearch.errors import InputError
from evosearch.rules.primitives import PRIMITIVES
from evosearch.rules.torch_functions import BY_OP

Tensor = torch.Tensor
_ARITY = {int(primitive.op): primitive.arity for primitive in PRIMITIVES.values()}


def run_on_torch(
    life: Lifetime, programs: Sequence[Program], eta: NDArray[np.float64], device: str
) -> LifeResult:
    """Live ``life`` for every program and draw on ``device``; see ``run_lifetimes``.

    A group of rules that does not fit into the device's memory is halved until it does.

    Raises:
        InputError: torch does not have the device.
        MemoryError: its memory does not hold the lives of one rule.
    """
    try:
        place = torch.device(device)
        torch.zeros(1, device=place)
    except (RuntimeError, AssertionError) as error:
        raise InputError(f"device {device!r} is not available to torch here: {error}") from error
    n, n_draws = len(programs), life.n_draws
    outputs = np.zeros((n, n_draws, sum(buffer.size for buffer in life.outputs)))
    exploded = np.full((n, n_draws), -1, np.int64)
    clipped = np.zeros(n)
    applications = 0
    waiting = _groups(programs)
    while waiting:
        members = waiting.pop(0)
        try:
            batch = _Batch(life, [programs[k] for k in members], eta[members], place)
            applications += batch.live()
        except torch.OutOfMemoryError as error:
            if len(members) == 1:
                raise MemoryError(f"the memory of {device} holds not even one rule") from error
            half = len(members) // 2
            waiting[:0] = [members[:half], members[half:]]
            continue
        outputs[members] = batch.report()
        exploded[members] = batch.exploded.cpu().numpy()
        clipped[members] = batch.clip_share()
    return LifeResult(outputs, exploded, clipped, applications * life.synapses)


def _groups(programs: Sequence[Program]) -> list[list[int]]:
    """Return the numbers of the programs of each structure, in order of first appearance."""
    groups: dict[Any, list[int]] = {}
    for number, program in enumerate(programs):
        key = (
            program.code.tobytes(), program.section_end.tobytes(),
            program.constant_register.tobytes(), program.register_level.tobytes(),
            program.outputs,
        )  # fmt: skip
        groups.setdefault(key, []).append(number)
    return list(groups.values())


class _Batch:
    """G candidates of one structure on D draws; buffers are (G, D, n_out, n_in)."""

    def __init__(
        self, life: Lifetime, programs: Sequence[Program], eta: NDArray[np.float64], device: Any
    ) -> None:
        self.life, self.device = life, device
        self.dtype = torch.float32 if life.dtype == np.float32 else torch.float64
        self.size = (len(programs), life.n_draws)
        self.program = programs[0]
        constants = np.stack([program.constant_value for program in programs])
        self.constants = self._tensor(constants.reshape(len(programs), 1, 1, 1, -1))
        self.eta = self._tensor(eta.reshape(-1, 1, 1, 1))
        self.genes = self._tensor(genes_of(life, programs))
        self.tables = [self._tensor(table) for table in life.tables]
        self.buffers: dict[int, Tensor] = {}
        self.exploded = torch.full(self.size, -1, dtype=torch.int64, device=device)
        self.draws = torch.arange(life.n_draws, device=device)
        self.step = 0

    def live(self) -> int:
        """Run all phases; return the rule applications that lives made."""
        for birth in self.life.births:
            self._load(birth, 0)
        for each in self.life.inherited:
            values = self.genes[:, None, torch.as_tensor(each.genes, device=self.device)]
            shape = (*self.size, each.buffer.n_out, each.buffer.n_in)
            self._write(each.buffer.start, values.expand(*self.size, -1).reshape(shape))
        for site in self.life.sites:
            self._write(site.birth.start, self._read(site.matrix.start, site.matrix))
        self._run(0, len(self.life.phases), [])
        lived = torch.where(self.exploded < 0, self.step, self.exploded)
        return int(lived.sum())

    def report(self) -> NDArray[np.float64]:
        """Return the output buffers, (G, D, k)."""
        parts = [self._flat(b.start, b.size).double().cpu() for b in self.life.outputs]
        return torch.cat(parts, dim=2).numpy()

    def clip_share(self) -> NDArray[np.float64]:
        """Return the share of weights at the clip, (G,)."""
        projection = self.life.projection
        weights = torch.cat(
            [self._read(s.matrix.start, s.matrix).flatten(2) for s in self.life.sites], dim=2
        )
        hits = (weights <= projection.low) | (weights >= projection.high)
        return hits.double().mean(dim=(1, 2)).cpu().numpy()

    def _run(self, first: int, last: int, counters: list[int]) -> None:
        pc = first
        while pc < last:
            phase = self.life.phases[pc]
            if phase[ph.OP] == ph.REPEAT:
                end = self._loop_end(pc)
                for count in range(int(phase[ph.A])):
                    self._run(pc + 1, end, [*counters, count])
                pc = end
            else:
                self._phase(phase, counters)
            pc += 1

    def _loop_end(self, pc: int) -> int:
        depth = 0
        while True:
            op = self.life.phases[pc][ph.OP]
            depth += int(op == ph.REPEAT) - int(op == ph.REPEAT_END)
            if depth == 0:
                return pc
            pc += 1

    def _phase(self, phase: NDArray[np.int64], counters: list[int]) -> None:
        op, a, b, c, d, e, f = (int(value) for value in phase[: ph.ROW])
        row = int(phase[ph.ROW]) + sum(
            int(k) * count for k, count in zip(phase[ph.ROW + 1 :], counters, strict=False)
        )
        if op == ph.LOAD:
            self._load(phase, row)
        elif op == ph.RULE:
            self._apply(self.life.sites[a])
        elif op == ph.MAP:
            self._map(self.life.maps[a])
        elif op in (ph.MATVEC, ph.MATVEC_T):
            matrix = self._flat(b, d * e).unflatten(2, (d, e))
            n = e if op == ph.MATVEC else d
            vector = self._flat(c, f * n).unflatten(2, (f, n))
            equation = "gdij,gdbj->gdbi" if op == ph.MATVEC else "gdij,gdbi->gdbj"
            value = torch.einsum(equation, matrix, vector).flatten(2)
            self._write(a, value)
            if op == ph.MATVEC:
                self._mark(~torch.isfinite(value).all(dim=2), b, self.step)
        elif op == ph.OUTER:
            post, pre = self._flat(b, f * d), self._flat(c, f * e)
            pairs = (post.unflatten(2, (f, d)), pre.unflatten(2, (f, e)))
            self._write(a, torch.einsum("gdbi,gdbj->gdij", *pairs) / f)
        elif op == ph.BIAS:
            value = self._flat(a, f * d).unflatten(2, (f, d)) + self._flat(b, d).unsqueeze(2)
            self._write(a, value.flatten(2))
        elif op == ph.RANDOM:
            numbers = np.empty((self.size[1], 1, b))
            philox.fill(self.life.draw_keys, row, d, c == 1, numbers)
            self._write(a, self._tensor(numbers[:, 0]).expand(self.size[0], -1, -1))
        elif op == ph.ARGMAX:
            best = self._flat(b, c).argmax(dim=2)
            self._write(a, torch.nn.functional.one_hot(best, c).to(self.dtype))
        elif op == ph.REDUCE:
            self._write(a, self._reduce(self._flat(b, c), d))

    def _load(self, phase: NDArray[np.int64], row: int) -> None:
        n_rows = int(phase[ph.E])
        values = [self._table_row(phase, row + k).expand(*self.size, -1) for k in range(n_rows)]
        self._write(int(phase[ph.A]), torch.cat(values, dim=2))

    def _table_row(self, phase: NDArray[np.int64], row: int) -> Tensor:
        number, chooser = int(phase[ph.C]), int(phase[ph.D])
        table = self.tables[number]
        rows: Any = row
        if chooser >= 0:
            rows = torch.as_tensor(self.life.indices[chooser][..., row], device=self.device).long()
        return table[rows] if self.life.is_shared_table[number] else table[self.draws, rows]

    def _apply(self, site: RuleSite) -> None:
        """Apply the rule: all outputs from the old values, then write them."""
        program = self.program
        weights = self._read(site.matrix.start, site.matrix)
        terminals, values = self._values(site, 0)
        if site.examples > 1:
            register = program.outputs[0].register
            total: Any = values[register]
            for example in range(1, site.examples):
                total = total + self._values(site, example)[1][register]
            values[register] = total / site.examples
        results = []
        for output in program.outputs:
            value: Any = values[output.register]
            if output.target == "w":
                value = weights + self.eta * value if output.is_increment else value
                value = value.expand_as(weights)
            results.append(value)
        new = results[0]
        is_bad = ~torch.isfinite(new).flatten(2).all(dim=2)
        self.step += 1
        self._write(site.matrix.start, self._project(new, site))
        for output, value in zip(program.outputs[1:], results[1:], strict=True):
            target = site.terminals[output.target]
            shape = terminals[output.target].shape
            self._write(target.start, value.expand(shape))
        self._mark(is_bad, site.matrix.start, self.step)

    def _values(
        self, site: RuleSite, example: int
    ) -> tuple[dict[str, Tensor], list[Tensor | None]]:
        """Return the terminals of one example, and all registers of the rule."""
        program = self.program
        terminals = {
            name: self._shaped(site.terminals[name], Level(int(program.register_level[k])), example)
            for k, name in enumerate(program.terminals)
            if name in site.terminals
        }
        return terminals, self._registers(program, [terminals.get(n) for n in program.terminals])

    def _project(self, weights: Tensor, site: RuleSite) -> Tensor:
        projection = self.life.projection
        weights = weights.clamp(projection.low, projection.high)
        if projection.keeps_sign:
            birth = self._read(site.birth.start, site.birth)
            weights = torch.where(weights * birth < 0, torch.zeros_like(weights), weights)
        if projection.is_zero_diagonal:
            weights = weights.clone()
            weights.diagonal(dim1=2, dim2=3).zero_()
        if projection.row_norm is not None and projection.has_norm:
            length = weights.square().sum(dim=3, keepdim=True).sqrt()
            scaled = weights * (projection.row_norm / length)
            weights = torch.where(length > 0, scaled, weights)
        return weights

    def _mark(self, is_bad: Tensor, matrix: int, step: int) -> None:
        """Note the draws that have just exploded and zero their weights."""
        if not bool(is_bad.any()):
            return
        self.exploded = torch.where((self.exploded < 0) & is_bad, step, self.exploded)
        weights = self.buffers[matrix]
        dead = is_bad.reshape(*self.size, *[1] * (weights.ndim - 2))
        self.buffers[matrix] = torch.where(dead, torch.zeros_like(weights), weights)

    def _map(self, site: MapSite) -> None:
        operands: list[Any] = [self._flat(b.start, b.size)[:, :, :, None] for b in site.operands]
        values = self._registers(site.program, operands, is_map=True)
        result = values[site.program.outputs[0].register]
        assert result is not None
        shape = (*self.size, site.target.size, 1)
        self._write(site.target.start, result.expand(shape).flatten(2))

    def _registers(
        self, program: Program, terminals: list[Tensor | None], is_map: bool = False
    ) -> list[Tensor | None]:
        """Run a program; a value of any level broadcasts, so expansions do nothing."""
        values: list[Tensor | None] = [None] * len(program.register_level)
        values[: len(terminals)] = terminals
        for k, register in enumerate(program.constant_register):
            if is_map:
                number = float(program.constant_value[k])
                values[register] = torch.full((1, 1, 1, 1), number, dtype=self.dtype,
                                              device=self.device)  # fmt: skip
            else:
                values[register] = self.constants[..., k]
        for op, dst, a, b in program.code:
            first: Any = values[a]
            if op not in BY_OP:
                values[dst] = first
            elif _ARITY[op] == 2:
                values[dst] = BY_OP[op](first, values[b])
            else:
                values[dst] = BY_OP[op](first)
        return values

    def _reduce(self, values: Tensor, kind: int) -> Tensor:
        if kind == ph.REDUCE_MIN:
            return values.amin(dim=2, keepdim=True)
        if kind == ph.REDUCE_MAX:
            return values.amax(dim=2, keepdim=True)
        if kind == ph.REDUCE_MEAN:
            return values.mean(dim=2, keepdim=True)
        return values.sum(dim=2, keepdim=True)

    def _shaped(self, buffer: Any, level: Level, example: int) -> Tensor:
        values = self._flat(buffer.start, buffer.size)
        if buffer.examples > 1:
            values = values[:, :, example * buffer.each : (example + 1) * buffer.each]
        shapes = {
            Level.NETWORK: (1, 1),
            Level.PRE: (1, buffer.each),
            Level.POST: (buffer.each, 1),
            Level.SYNAPSE: (buffer.n_out, buffer.n_in),
        }
        return values.unflatten(2, shapes[level])

    def _read(self, start: int, buffer: Any) -> Tensor:
        return self._flat(start, buffer.size).unflatten(2, (buffer.n_out, buffer.n_in))

    def _flat(self, start: int, n: int) -> Tensor:
        if start not in self.buffers:
            self.buffers[start] = torch.zeros(*self.size, n, dtype=self.dtype, device=self.device)
        return self.buffers[start].flatten(2)

    def _write(self, start: int, values: Tensor) -> None:
        self.buffers[start] = values

    def _tensor(self, values: Any) -> Tensor:
        return torch.as_tensor(np.ascontiguousarray(values), device=self.device).to(self.dtype)
