"""The whole learning program of a linear regressor: set up, predict and learn."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from itertools import accumulate
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from evosearch.errors import InputError
from evosearch.outcome import FloatArray
from evosearch.populations import LowRank
from evosearch.tasks.base import TASKS, Domain, Key, VectorScores, VectorTask
from evosearch.tasks.function import as_points
from evosearch.tasks.linreg_zero import LinregZeroSettings, draw_regression, squashed

N_SCALARS, N_VECTORS = 4, 3
OPERATIONS = ("s = constant", "s = v.v", "s = s - s", "s = s*s", "v = s*v", "v = v + v")
NUMBERS = 5
"""Of an instruction: operation, target, first, second, constant."""

Length = Annotated[int, Field(ge=1, le=100)]

_DELTA = (  # operation, target, first, second, constant
    ((0, 2, 0, 0, 0.167), *((0, 3, 0, 0, 0.0),) * 9),
    ((1, 1, 0, 1, 0.0), (0, 3, 0, 0, 0.0)),
    ((2, 3, 0, 1, 0.0), (3, 3, 3, 2, 0.0), (4, 2, 3, 0, 0.0), (5, 1, 1, 2, 0.0),
     *((0, 3, 0, 0, 0.0),) * 4),
)  # fmt: skip


class LinregZeroProgramSettings(LinregZeroSettings):
    """Settings of ``linreg_zero_program``."""

    lengths: tuple[Length, Length, Length] = Field(
        (10, 2, 8), description="instructions of setup, predict and learn"
    )
    largest_error: float = Field(
        100.0, gt=0, allow_inf_nan=False, description="error beyond which a life is given up"
    )


@TASKS.register("linreg_zero_program")
class LinregZeroProgramTask(VectorTask):
    """A program that sets up, predicts and learns, and shall become a linear regressor.

    Memory: scalars s0 to s3 and vectors v0 to v2, 0 at birth. ``setup`` runs once. For each example
    v0 is the input, s0 is 0 and ``predict`` runs; s1 is the prediction. Then s0 is the label and
    ``learn`` runs. After ``shown`` examples ``predict`` alone runs on ``asked`` others. Draws and
    fitness are those of ``linreg_zero``; a life with an error beyond ``largest_error`` scores 0.

    An instruction is five numbers in [0, 1]: which of the six operations, which register is
    written, which two are read, and a constant that is stretched to [-1, 1]; ``s - s`` reads two
    scalars, ``s*v`` a scalar and a vector.

    Source: E. Real, C. Liang, D. So, Q. Le, "AutoML-Zero: Evolving Machine Learning Algorithms From
    Scratch", ICML 2020, section 4.1 and the demonstration of its code.
    """

    Settings = LinregZeroProgramSettings
    baselines = ("start", "delta")
    largest_block = 1024
    settings: LinregZeroProgramSettings

    def domain(self) -> Domain:
        """Return the unit box; a search starts at a program that writes constants only."""
        shapes = tuple((n, NUMBERS) for n in self.settings.lengths)
        x0 = np.zeros(NUMBERS * sum(self.settings.lengths))
        return Domain(x0, sigma0=0.2, low=0.0, high=1.0, shapes=shapes)

    def score(self, points: FloatArray | LowRank, keys: Sequence[Key], split: str) -> VectorScores:
        """Live one life a draw under each program."""
        from evosearch.tasks.kernels.programs import live

        s = self.settings
        codes, constants = decoded(as_points(points, NUMBERS * sum(s.lengths)))
        inputs, targets = _stacked(tuple(keys), s.features, s.shown, s.asked)
        squares = np.zeros((len(codes), len(keys)))
        scalars = np.zeros((N_SCALARS, len(keys)))
        vectors = np.zeros((N_VECTORS, s.features, len(keys)))
        ends = np.array(list(accumulate(s.lengths)))
        live(codes, constants, ends, inputs, targets, s.shown, s.largest_error, scalars, vectors,
             squares)  # fmt: skip
        return VectorScores(squashed(np.sqrt(squares / s.asked)))

    def baseline(self, name: str) -> FloatArray:
        """Return the start, or the delta rule written as a program of the published lengths."""
        if name != "delta":
            return super().baseline(name)
        if self.settings.lengths != (10, 2, 8):
            raise InputError(
                f"the delta rule is written with lengths [10, 2, 8], not "
                f"{list(self.settings.lengths)}; leave task.lengths as it is, or [known.delta] out."
            )
        return np.concatenate([encoded(part) for part in _DELTA])


def decoded(points: FloatArray) -> tuple[NDArray[np.int64], FloatArray]:
    """Return codes (n, instructions, 4) and constants (n, instructions) of vectors in [0, 1]."""
    rows = points.reshape(len(points), -1, NUMBERS)
    operations = _chosen(rows[:, :, 0], np.array(len(OPERATIONS)))
    counts = _COUNTS[operations]
    registers = _chosen(rows[:, :, 1:4], counts)
    return np.concatenate([operations[:, :, None], registers], axis=2), 2.0 * rows[:, :, 4] - 1.0


def encoded(instructions: Sequence[Sequence[float]]) -> FloatArray:
    """Return the vector of instructions given as operation, target, first, second, constant."""
    rows = np.array(instructions, np.float64)
    counts = _COUNTS[rows[:, 0].astype(np.int64)]
    first = (rows[:, :1] + 0.5) / len(OPERATIONS)
    registers = (rows[:, 1:4] + 0.5) / counts
    return np.concatenate([first, registers, (rows[:, 4:] + 1.0) / 2.0], axis=1).ravel()


def written_out(point: FloatArray, lengths: Sequence[int]) -> str:
    """Return a program as lines of text, e.g. ``s1 = v0.v1``."""
    codes, constants = decoded(point[None])
    lines: list[str] = []
    names = ("setup", "predict", "learn")
    starts = dict(zip([0, *accumulate(lengths)], names, strict=False))
    for k, (code, constant) in enumerate(
        zip(codes[0].tolist(), constants[0].tolist(), strict=True)
    ):
        lines += [f"{starts[k]}:"] if k in starts else []
        lines.append("    " + _line(code, constant))
    return "\n".join(lines)


def _line(code: Sequence[int], constant: float) -> str:
    operation, target, first, second = code
    form = {0: "s{t} = {c:.3g}", 1: "s{t} = v{a}.v{b}", 2: "s{t} = s{a} - s{b}",
            3: "s{t} = s{a}*s{b}", 4: "v{t} = s{a}*v{b}", 5: "v{t} = v{a} + v{b}"}  # fmt: skip
    return form[operation].format(t=target, a=first, b=second, c=constant)


# Registers that each operation may write, read first and read second.
_S, _V = N_SCALARS, N_VECTORS
_COUNTS = np.array(
    [(_S, _S, _S), (_S, _V, _V), (_S, _S, _S), (_S, _S, _S), (_V, _S, _V), (_V, _V, _V)]
)


def _chosen(numbers: FloatArray, counts: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return whole numbers from 0 to ``counts`` less 1 for numbers in [0, 1]."""
    return np.clip(np.floor(numbers * counts), 0, counts - 1).astype(np.int64)


@lru_cache(maxsize=8)
def _stacked(
    keys: tuple[Key, ...], features: int, shown: int, asked: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return inputs (examples, features, D) and targets (examples, D) of tasks."""
    s = LinregZeroSettings(features=features, shown=shown, asked=asked)
    tasks = [draw_regression(key, s) for key in keys]
    inputs = np.stack([task.inputs for task in tasks], axis=2)
    return inputs, np.stack([task.targets for task in tasks], axis=1)
