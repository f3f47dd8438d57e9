"""Predictive coding to equilibrium: values move, and predictions move with them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

from torch import Tensor

from evosearch.errors import InputError
from evosearch.graphs.graph import Graph, State
from evosearch.graphs.operations import Saved
from evosearch.graphs.sweep import Errors

Teach: TypeAlias = Callable[[list[Tensor]], list[Tensor]]
"""The error of each output, in the direction that improves, from what is predicted of it."""


def settle(
    graph: Graph, state: State, teach: Teach, *, steps: int = 100, gamma: float = 0.1
) -> tuple[State, Errors]:
    """Let value nodes go down the energy for T steps from where the forward pass put them.

    Every vertex i that errors are sent to has a value v_i, a prediction mu_i that its parents'
    values make, and an error e_i = v_i - mu_i; outputs have the error that they are taught for
    their prediction. All values move at once,

        v_i <- v_i + gamma (-e_i + sum over children j of e_j d mu_j / d v_i)

    and with them predictions and slopes, which :func:`relax` holds still. Source: J. C. R.
    Whittington, R. Bogacz, "An approximation of the error backpropagation algorithm in a predictive
    coding network with local Hebbian synaptic plasticity", Neural Computation 29, 2017, on graphs.

    Args:
        graph: whose parameters stay as they are.
        state: the forward pass, which is left alone.
        teach: gives the errors of all outputs for their predictions, not divided by the number of
            examples: the size of an error decides where values come to rest.
        steps: T, at least 1.
        gamma: step, in (0, 1].

    Returns:
        What the values came to, with what each operation left at them, and the errors there, as
        :func:`increments` takes them.

    Raises:
        InputError: a setting is out of range.
    """
    if steps < 1 or not 0.0 < gamma <= 1.0:
        raise InputError(
            f"steps is {steps} and gamma {gamma}; steps must be at least 1 and gamma lie above 0 "
            f"and not above 1."
        )
    values = list(state.values)
    moving = [
        k
        for k, (is_sent, level) in enumerate(zip(graph.listens, graph.levels, strict=True))
        if is_sent and level > 0
    ]
    for _ in range(steps):
        now, errors = _errors(graph, values, moving, teach)
        for k, change in zip(moving, _slopes(graph, now, errors, moving), strict=True):
            values[k] = values[k] + gamma * change
    return _errors(graph, values, moving, teach)


def _errors(
    graph: Graph, values: list[Tensor], moving: Sequence[int], teach: Teach
) -> tuple[State, Errors]:
    """Return what the values' operations leave for the way back, and all errors."""
    predicted: list[Tensor] = []
    saved: list[Saved] = []
    for k, vertex in enumerate(graph.vertices):
        if vertex.operation is None:
            mean, left = values[k], ()
        else:
            read = [values[parent] for parent in vertex.parents]
            mean, left = vertex.operation.forward(graph.own(vertex), read)
        predicted.append(mean)
        saved.append(left)
    errors: Errors = [None] * len(values)
    for k in moving:
        errors[k] = values[k] - predicted[k]
    taught = teach([predicted[k] for k in graph.outputs])
    for k, error in zip(graph.outputs, taught, strict=True):
        errors[k] = error
    return State(list(values), saved), errors


def _slopes(graph: Graph, now: State, errors: Errors, moving: Sequence[int]) -> list[Tensor]:
    """Return minus the gradient of the energy for each value that moves."""
    found: dict[int, Tensor] = {}
    for k in moving:
        error = errors[k]
        assert error is not None
        found[k] = -error
    for child, (vertex, error) in enumerate(zip(graph.vertices, errors, strict=True)):
        if vertex.operation is None or error is None:
            continue
        own = graph.own(vertex)
        for slot, parent in enumerate(vertex.parents):
            if parent in found:
                part = vertex.operation.pull(own, now.saved[child], error, slot)
                found[parent] = found[parent] + part
    return [found[k] for k in moving]
