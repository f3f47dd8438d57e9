"""A user's task that misbehaves as its candidate's first constant says."""

import os
import signal
import time


def misbehave(candidate, rng):
    """Score a rule by its constant; negative ones are orders."""
    value = candidate.constants[0] if candidate.constants else 0.0
    order = ORDERS.get(value)
    if order is not None:
        return order()
    return value + 0.001 * rng.random()


def fail():
    raise ValueError("a mistake\nin two lines")


def hang():
    time.sleep(3600)


def leave():
    os._exit(7)


def die():
    os.kill(os.getpid(), signal.SIGKILL)


def eat():
    raise MemoryError


def system_exit():
    raise SystemExit(3)


ORDERS = {
    9001.0: fail,
    9002.0: lambda: float("nan"),
    9003.0: lambda: "many",
    9004.0: hang,
    9005.0: leave,
    9006.0: die,
    9007.0: eat,
    9008.0: lambda: float("-inf"),
    9009.0: lambda: None,
    9010.0: lambda: {"no_fitness": 1.0},
    9011.0: system_exit,
    9012.0: lambda: [1.0, 2.0],
}
STATUS = {
    9001.0: "failed",
    9002.0: "invalid",
    9003.0: "failed",
    9004.0: "timeout",
    9005.0: "crashed",
    9006.0: "crashed",
    9007.0: "oom",
    9008.0: "invalid",
    9009.0: "failed",
    9010.0: "failed",
    9011.0: "failed",
    9012.0: "failed",
}
