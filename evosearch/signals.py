"""Ctrl-C and SIGTERM: stop cleanly after saving; a second Ctrl-C stops at once."""

from __future__ import annotations

import signal
import threading
from collections.abc import Generator
from contextlib import contextmanager
from types import FrameType

INTERRUPT, TERMINATE = "interrupt", "terminate"


class StopRequest:
    """What a signal asked for; ``event`` is set as soon as there is one."""

    def __init__(self) -> None:
        self.event = threading.Event()
        self.reason: str | None = None

    def ask(self, reason: str) -> None:
        """Ask for a stop."""
        self.reason = self.reason or reason
        self.event.set()


@contextmanager
def stop_on_signals() -> Generator[StopRequest]:
    """Catch SIGINT and SIGTERM while the block runs, in the main thread only."""
    request = StopRequest()
    if threading.current_thread() is not threading.main_thread():
        yield request
        return

    def handle(number: int, frame: FrameType | None) -> None:
        if number == signal.SIGINT and request.event.is_set():
            raise KeyboardInterrupt
        request.ask(INTERRUPT if number == signal.SIGINT else TERMINATE)

    before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield request
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
