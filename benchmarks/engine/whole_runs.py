"""Whole searches before and after the native tier: wall time, and the same digests."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from common import CORES, IS_QUICK, Record, Row, cores

ROOT = Path(__file__).resolve().parents[2]
BEFORE = "9fe79d107114"
"""The last commit without native code."""

SEARCHES = {
    "enumerate": "oja_pc1 by enumeration complete to 9 nodes",
    "gp": "oja_pc1, GP default run",
}
SCRIPT = """
import json, sys
from evosearch import api
search, preset, out = sys.argv[1:]
run = api.run("oja_pc1", search=search, seed=0, preset=preset or None, out=out)
print(json.dumps({"digest": run.digest, "wall_s": run.to_json()["wall_s"]}))
"""


def whole_runs() -> Record:
    """Run the searches of the two versions in turn, on all cores."""
    rows = []
    with tempfile.TemporaryDirectory() as folder, cores(len(CORES)):
        tree = Path(folder) / "before"
        _git("worktree", "add", "--detach", str(tree), BEFORE)
        try:
            for home in (tree, ROOT):
                _run(home, "gp", "quick", Path(folder) / f"warm-{home.name}")
            for search, name in SEARCHES.items():
                rows.append(_row(search, name, tree, Path(folder)))
        finally:
            _git("worktree", "remove", "--force", str(tree))
    return Record(rows)


def _row(search: str, name: str, tree: Path, folder: Path) -> Row:
    preset = "quick" if IS_QUICK else ""
    before = _run(tree, search, preset, folder / f"{search}-before")
    after = _run(ROOT, search, preset, folder / f"{search}-after")
    is_same = before["digest"] == after["digest"]
    text = (
        f"{before['wall_s']:.0f} s before, {after['wall_s']:.0f} s after "
        f"({before['wall_s'] / after['wall_s']:.1f} ×), {len(CORES)} cores; "
        f"{'same digest' if is_same else 'digests differ'} {after['digest'][:12]}"
    )
    return Row(name, "wall time before and after, same digests", text, is_same)


def _run(home: Path, search: str, preset: str, out: Path) -> dict[str, Any]:
    environment = {**os.environ, "PYTHONPATH": str(home)}
    command = [sys.executable, "-c", SCRIPT, search, preset, str(out)]
    done = subprocess.run(  # noqa: S603
        command, cwd=home, env=environment, capture_output=True, text=True, check=True
    )
    return json.loads(done.stdout.splitlines()[-1])


def _git(*arguments: str) -> None:
    subprocess.run(["git", *arguments], cwd=ROOT, check=True, capture_output=True)  # noqa: S603, S607
