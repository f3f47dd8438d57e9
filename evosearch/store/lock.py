"""One writer at a time: a lock that the system frees when its holder dies."""

from __future__ import annotations

import os
import socket
import sys
from pathlib import Path
from typing import Any

from evosearch.errors import RunLockedError


class RunLock:
    """An exclusive lock on a run folder.

    Args:
        path: the lock's file, made where it is missing; it holds the holder's pid.

    Raises:
        RunLockedError: another process holds it.
    """

    def __init__(self, path: Path) -> None:
        self._file: Any = path.open("a+", encoding="utf-8")
        try:
            _take(self._file)
        except OSError:
            self._file.seek(0)
            holder = self._file.read().strip() or "another process"
            self._file.close()
            raise RunLockedError(
                f"the run {path.parent} is being written by {holder}; wait until it ends, "
                "or stop that process."
            ) from None
        self._file.seek(0)
        self._file.truncate()
        self._file.write(f"pid {os.getpid()} on {socket.gethostname()}")
        self._file.flush()

    def release(self) -> None:
        """Let others write."""
        if not self._file.closed:
            self._file.close()


def _take(file: Any) -> None:
    if sys.platform == "win32":
        import msvcrt

        msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
    else:
        import fcntl

        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
