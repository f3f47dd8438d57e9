"""Every error that the toolkit raises on purpose, and the helpers that word them.

A message says what was wrong, what was found, what is allowed and what to do.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class EvosearchError(Exception):
    """Root of all errors raised on purpose; the command line exits with ``exit_status``."""

    exit_status = 1


class InputError(EvosearchError, ValueError):
    """Something that the user supplied is wrong: an argument, a file, a rule (exit status 2)."""

    exit_status = 2


class RunError(EvosearchError, RuntimeError):
    """A run could not go on (exit status 1)."""


class RunLockedError(InputError):
    """Another process writes this run."""


class RunCorruptError(InputError):
    """A file of a run is cut short, damaged or of an unknown format."""


def nearest(name: str, known: Iterable[str]) -> str | None:
    """Return the known name that is spelt most like ``name``, or None."""
    matches = difflib.get_close_matches(name, list(known), n=1, cutoff=0.5)
    return matches[0] if matches else None


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return a hint at the known name that is nearest, with a space before it, or nothing."""
    match = nearest(name, known)
    return f" Did you mean {match!r}?" if match else ""


def unknown_name(kind: str, name: str, known: Iterable[str]) -> InputError:
    """Build the error for a name that is not registered.

    Example:
        >>> str(unknown_name("search", "cmae", ["cmaes", "gp"]))
        "unknown search 'cmae'. Did you mean 'cmaes'? Known: cmaes, gp."
    """
    names = sorted(known)
    hint = did_you_mean(name, names)
    shown = name if len(name) <= 80 else f"{name[:77]}..."
    return InputError(f"unknown {kind} {shown!r}.{hint} Known: {', '.join(names)}.")
