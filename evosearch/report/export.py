"""A run's champion and records in the formats of other programs."""

from __future__ import annotations

import csv
import io
import json
import math
from typing import Any

import numpy as np

from evosearch.errors import InputError, unknown_name
from evosearch.tables import plain

SOURCES = ("python", "torch", "latex", "sympy", "brian2", "json")
FORMATS = (*SOURCES, "csv", "safetensors")


def export_run(run: Any, to: str) -> str | bytes:
    """Return a run in one of ``FORMATS``.

    Args:
        run: a loaded run.
        to: ``csv`` is the history, one line a generation; ``safetensors`` holds the history's
            columns, the champion's constants or its vector and its fitness as arrays; all others
            are the champion as source text.

    Raises:
        InputError: no such format, or the run has no champion yet.
    """
    if to not in FORMATS:
        raise unknown_name("format", to, FORMATS)
    if to == "csv":
        return history_csv(run)
    if run.champion is None:
        raise InputError(f"the run {run.path} has no champion; resume it if it has not ended.")
    if to == "safetensors":
        return arrays(run)
    if run.is_of_vectors:
        if to != "json":
            raise InputError(
                f"the champion of {run.path} is a vector, which has no {to} source; export it to "
                "json, csv or safetensors."
            )
        return json.dumps({"problem": run.to_json()["problem"], "vector": run.vector.tolist()})
    from evosearch.rules.formats import export_rule
    from evosearch.rules.parser import parse

    return export_rule(parse(run.champion.text), to)


def history_csv(run: Any) -> str:
    """Return the history with one line a generation and one column a figure."""
    columns = run.history()
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(columns)
    for row in zip(*(np.asarray(column).tolist() for column in columns.values()), strict=True):
        writer.writerow(["" if plain(value) is None else value for value in row])
    return buffer.getvalue()


def arrays(run: Any) -> bytes:
    """Return history, constants and fitness as safetensors; texts are in its metadata."""
    from safetensors.numpy import save

    champion = run.champion
    tensors = {
        f"history.{name}": np.ascontiguousarray(column, dtype=np.float64)
        for name, column in run.history().items()
    }
    tensors |= _champion_tensors(run)
    for split, value in champion.fitness.items():
        if value is not None:
            tensors[f"champion.fitness.{split}"] = np.array([value], dtype=np.float64)
    facts = run.to_json()
    metadata = {name: str(facts[name]) for name in ("run", "problem", "search", "seed")}
    return save(tensors, metadata={**metadata, "champion": champion.text})


def _champion_tensors(run: Any) -> dict[str, Any]:
    """Return the constants of a rule; of a vector the arrays that it is made of."""
    if not run.is_of_vectors:
        from evosearch.rules.parser import parse

        return {"champion.constants": np.array(parse(run.champion.text).constants, np.float64)}
    from evosearch.run import load_problem_of
    from evosearch.spaces.vector import VectorSpace

    problem, vector, start = load_problem_of(run), run.vector, 0
    tensors = {"champion.vector": np.ascontiguousarray(vector)}
    space = problem.space("vector")
    assert isinstance(space, VectorSpace), "the candidates are vectors"
    shapes = space.shapes
    for number, shape in enumerate(shapes if len(shapes) > 1 else ()):
        n = math.prod(shape)
        tensors[f"champion.part{number}"] = vector[start : start + n].reshape(shape).copy()
        start += n
    return tensors
