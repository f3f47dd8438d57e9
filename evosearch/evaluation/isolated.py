"""Calls that may raise, hang or kill their process, each with exactly one outcome."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, Future, wait
from typing import Any

from evosearch.evaluation.executors import Executor

POLL_S = 0.1
START_LIMIT_S = 600.0


class Isolated:
    """Makes calls in worker processes, never more at a time than there are workers.

    A call that exceeds its time ends its workers; the others that were under way are made again.
    Where a worker dies, those under way are made again one at a time: the one that kills its
    worker alone is the culprit.

    Args:
        executor: processes that can be restarted.
        workers: how many there are.
        timeout_s: limit of one call, None for none.
        warm_up: a call that tells that a worker is up; its time is not counted.
        is_cancelled: asked now and then; where it says so, ``InterruptedError`` is raised.
    """

    def __init__(
        self,
        executor: Executor,
        *,
        workers: int,
        timeout_s: float | None,
        warm_up: tuple[Callable[..., Any], tuple[Any, ...]],
        is_cancelled: Callable[[], bool],
    ) -> None:
        self._executor = executor
        self._workers = workers
        self._timeout_s = timeout_s
        self._warm_up = warm_up
        self._is_cancelled = is_cancelled
        self._is_warm = False
        self._lock = threading.Lock()

    def map(
        self, function: Callable[..., Any], calls: Sequence[tuple[Any, ...]]
    ) -> list[tuple[str, Any]]:
        """Make all calls; return for each ``("ok", value)``, or a status and a message."""
        with self._lock:
            results: dict[int, tuple[str, Any]] = {}
            suspects = self._together(function, calls, list(range(len(calls))), results)
            for number in suspects:
                self._together(function, calls, [number], results, is_alone=True)
            return [results[number] for number in range(len(calls))]

    def _together(
        self,
        function: Callable[..., Any],
        calls: Sequence[tuple[Any, ...]],
        numbers: list[int],
        results: dict[int, tuple[str, Any]],
        *,
        is_alone: bool = False,
    ) -> list[int]:
        """Make calls side by side; return those that were under way when a worker died."""
        waiting, suspects = list(reversed(numbers)), []
        running: dict[Future[Any], tuple[int, float]] = {}
        while waiting or running:
            while waiting and len(running) < self._workers:
                self._warm()
                number = waiting.pop()
                try:
                    future = self._executor.submit(function, *calls[number])
                except BrokenExecutor:  # a worker died just now; calls under way will tell of it
                    waiting.append(number)
                    if running:
                        break
                    self._restart()
                    continue
                running[future] = number, time.monotonic()
            done, _ = wait(running, timeout=POLL_S, return_when=FIRST_COMPLETED)
            if self._is_cancelled():
                self._restart()
                raise InterruptedError
            dead = self._collect(done, running, results)
            if dead:
                under_way = dead + [number for number, _ in running.values()]
                running.clear()
                self._restart()
                if is_alone:
                    results[dead[0]] = ("crashed", "its process died")
                else:
                    suspects += sorted(under_way)
                continue
            waiting.extend(self._late(running, results))
        return suspects

    def _collect(
        self,
        done: set[Future[Any]],
        running: dict[Future[Any], tuple[int, float]],
        results: dict[int, tuple[str, Any]],
    ) -> list[int]:
        """Take over what is done; return the calls whose worker died."""
        dead = []
        for future in done:
            number, _ = running.pop(future)
            error = future.exception()
            if error is None:
                results[number] = ("ok", future.result())
            elif isinstance(error, BrokenExecutor):
                dead.append(number)
            else:
                results[number] = ("failed", f"{type(error).__name__}: {error}")
        return dead

    def _late(
        self, running: dict[Future[Any], tuple[int, float]], results: dict[int, tuple[str, Any]]
    ) -> list[int]:
        """End calls that exceed their time; return the others, to be made again."""
        if self._timeout_s is None:
            return []
        now = time.monotonic()
        late = [n for n, start in running.values() if now - start > self._timeout_s]
        if not late:
            return []
        others = [n for n, _ in running.values() if n not in late]
        for number in late:
            results[number] = ("timeout", f"it took longer than {self._timeout_s:g} s")
        running.clear()
        self._restart()
        return others

    def _warm(self) -> None:
        """Wait until the workers are up, so that their start is not counted against a call."""
        if not self._is_warm:
            function, args = self._warm_up
            futures = [self._executor.submit(function, *args) for _ in range(self._workers)]
            for future in futures:
                future.result(timeout=START_LIMIT_S)
            self._is_warm = True

    def _restart(self) -> None:
        self._executor.restart()
        self._is_warm = False
