"""Versions and hardware, as a run records them."""

from __future__ import annotations

import os
import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from evosearch.outcome import Json

PACKAGES = ("numpy", "numba", "llvmlite", "scipy", "deap", "cma", "joblib", "sympy", "torch")


def describe_environment() -> dict[str, Json]:
    """Return versions, git revision and hardware; what is unknown is left out."""
    from evosearch import __version__

    facts: dict[str, Json] = {
        "evosearch": __version__,
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.release()}",
        "machine": platform.machine(),
        "processor": _processor(),
        "cores": os.cpu_count(),
    }
    revision = _git_revision()
    if revision:
        facts["revision"] = revision
    for name in PACKAGES:
        try:
            facts[name] = version(name)
        except PackageNotFoundError:
            continue
    return facts


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor()


def _git_revision() -> str:
    """Return the revision of the checkout that this package lies in, empty where it is none."""
    root = Path(__file__).resolve().parent.parent
    if not (root / ".git").exists():
        return ""
    try:
        command = ["git", "-C", str(root), "describe", "--always", "--dirty"]
        done = subprocess.run(  # noqa: S603 - fixed arguments
            command, capture_output=True, text=True, timeout=5, check=False
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.strip()
