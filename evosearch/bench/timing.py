"""Times taken in turn, so that what a busy machine does to one it does to all.

What runs on one core is timed by the processor time of this process: a core that is shared with
other programs then gives the times of a core alone.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Times:
    """Seconds of several functions, (repeats,) for each name, taken in turn."""

    seconds: Mapping[str, NDArray[np.float64]]

    def median(self, name: str) -> float:
        """Return the median seconds of one function."""
        return float(np.median(self.seconds[name]))

    def ratio(self, slow: str, fast: str) -> float:
        """Return how many times as long ``slow`` takes: the median over the turns."""
        return float(np.median(self.seconds[slow] / self.seconds[fast]))


def interleaved(
    functions: Mapping[str, Callable[[], object]], repeats: int, *, is_one_core: bool = True
) -> Times:
    """Call all functions ``repeats`` times, one after the other in each turn, and time them.

    Args:
        functions: what to time, by name.
        repeats: turns.
        is_one_core: measure the processor time of this process; else the time on the wall, as is
            needed where threads work side by side or a device does the work.
    """
    clock = time.process_time if is_one_core else time.perf_counter
    seconds: dict[str, list[float]] = {name: [] for name in functions}
    for _ in range(repeats):
        for name, function in functions.items():
            start = clock()
            function()
            seconds[name].append(clock() - start)
    return Times({name: np.array(values) for name, values in seconds.items()})


@contextmanager
def one_blas_thread() -> Generator[None]:
    """Keep NumPy's matrix products on one core, as the engine is."""
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1):
        yield
