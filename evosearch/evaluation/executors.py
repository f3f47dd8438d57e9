"""One interface to whatever does the work: submit a call, get a future."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Protocol

from evosearch.errors import unknown_name

BACKENDS = ("auto", "sequential", "threads", "processes")


class Executor(Protocol):
    """What every executor offers."""

    def submit(self, function: Callable[..., Any], *args: Any) -> Future[Any]:
        """Start a call, or queue it."""
        ...

    def restart(self) -> None:
        """End all workers at once, whatever they do, and go on with new ones."""
        ...

    def close(self) -> None:
        """End all workers."""
        ...


class SequentialExecutor:
    """Calls at once, in this thread."""

    def submit(self, function: Callable[..., Any], *args: Any) -> Future[Any]:
        """Call, and return the finished future."""
        future: Future[Any] = Future()
        try:
            future.set_result(function(*args))
        except Exception as error:
            future.set_exception(error)
        return future

    def restart(self) -> None:
        """Do nothing: there is no worker."""

    def close(self) -> None:
        """Do nothing: there is no worker."""


class ThreadExecutor:
    """Threads of this process, for compiled work that lets others run."""

    def __init__(self, workers: int) -> None:
        self._pool = ThreadPoolExecutor(workers, thread_name_prefix="evosearch")

    def submit(self, function: Callable[..., Any], *args: Any) -> Future[Any]:
        """Queue a call."""
        return self._pool.submit(function, *args)

    def restart(self) -> None:
        """Do nothing: a thread cannot be ended, and compiled work ends by itself."""

    def close(self) -> None:
        """Wait for what runs and drop what is queued."""
        self._pool.shutdown(wait=True, cancel_futures=True)


class ProcessExecutor:
    """Processes of joblib's loky, started when first needed."""

    def __init__(self, workers: int) -> None:
        self._workers = workers
        self._pool: Any = None

    def submit(self, function: Callable[..., Any], *args: Any) -> Future[Any]:
        """Queue a call."""
        if self._pool is None:
            from joblib.externals.loky.process_executor import ProcessPoolExecutor

            self._pool = ProcessPoolExecutor(max_workers=self._workers)
        return self._pool.submit(function, *args)

    def restart(self) -> None:
        """Kill all workers; the next call starts new ones."""
        if self._pool is not None:
            self._pool.shutdown(wait=True, kill_workers=True)
            self._pool = None

    def close(self) -> None:
        """Kill all workers."""
        self.restart()


def make_executor(backend: str, workers: int) -> Executor:
    """Return an executor by name.

    Raises:
        InputError: there is none of this name.
    """
    if backend not in BACKENDS[1:]:
        raise unknown_name("backend", backend, BACKENDS)
    if backend == "processes":
        return ProcessExecutor(workers)
    if backend == "threads" and workers > 1:
        return ThreadExecutor(workers)
    return SequentialExecutor()
