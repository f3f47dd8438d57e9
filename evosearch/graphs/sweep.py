"""One way back along a graph: what reaches each vertex, by whatever synapses and targets.

Backpropagation, feedback alignment, direct feedback alignment and local representation alignment
differ in three things only: the synapses that carry an error down, the vertices that hear the
output error itself, and what an error becomes at a unit.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TypeAlias

from torch import Tensor

from evosearch.errors import InputError
from evosearch.graphs.graph import Graph, State
from evosearch.graphs.operations import Activation, Convolution, Linear

Errors: TypeAlias = list[Tensor | None]
Crossing: TypeAlias = Callable[[Activation, Tensor, Tensor], Tensor]
"""What an error becomes at a unit, from the unit's operation, its sum and the error."""


def sweep(
    graph: Graph,
    state: State,
    errors: Sequence[Tensor],
    *,
    carriers: Mapping[str, Tensor],
    direct: Mapping[int, Tensor] | None = None,
    cross: Crossing | None = None,
) -> Errors:
    """Return the error of each vertex after one way back from the outputs.

    With the graph's own parameters as carriers and nothing else these are backpropagation's.

    Args:
        graph: whose parameters are as in the forward pass.
        state: the forward pass.
        errors: of each output, in the direction that improves.
        carriers: by name of a weight parameter, what stands in its place on the way back.
        direct: vertices that hear this and nothing else.
        cross: what an error becomes at a unit; None for the error times the slope.

    Returns:
        None where no error is sent: at inputs, and where it would change nothing.

    Raises:
        InputError: an output lacks an error.
    """
    if len(errors) != len(graph.outputs):
        raise InputError(f"the graph has {len(graph.outputs)} outputs, found {len(errors)} errors.")
    told = {} if direct is None else direct
    found: Errors = [None] * len(graph.vertices)
    for k, error in [*zip(graph.outputs, errors, strict=True), *told.items()]:
        found[k] = error
    for child in reversed(range(len(graph.vertices))):
        vertex, error = graph.vertices[child], found[child]
        if vertex.operation is None or error is None:
            continue
        own = [carriers.get(name, graph.parameters[name]) for name in vertex.parameters]
        for slot, parent in enumerate(vertex.parents):
            if parent in told or not graph.listens[parent]:
                continue
            if cross is not None and isinstance(vertex.operation, Activation):
                part = cross(vertex.operation, state.values[parent], error)
            else:
                part = vertex.operation.pull(own, state.saved[child], error, slot)
            before = found[parent]
            found[parent] = part if before is None else before + part
    return found


def boundaries(graph: Graph) -> tuple[int, ...]:
    """Return where a layer ends: what vertices with weights read, above other parameters."""
    read = {p for v in graph.vertices if v.parameters for p in v.parents}
    return tuple(sorted(k for k in read if graph.listens[k]))


def weight_names(graph: Graph) -> list[str]:
    """Return the names of the parameters that errors travel through, in their order."""
    return [name for name, values in graph.parameters.items() if values.ndim > 1]


def check_carriers(graph: Graph, carriers: Mapping[str, Tensor]) -> None:
    """Raise InputError where a carrier is missing or has another shape than its weights."""
    for name in weight_names(graph):
        found = tuple(carriers[name].shape) if name in carriers else None
        wanted = tuple(graph.parameters[name].shape)
        if found != wanted:
            raise InputError(
                f"the feedback of {name!r} has the shape {found}; it must have that of the weights "
                f"it stands for, {wanted}."
            )


def check_one_output(graph: Graph, learner: str) -> None:
    """Raise InputError where a graph has several outputs, whose errors have no one sum."""
    if len(graph.outputs) != 1:
        raise InputError(
            f"{learner} sends the error of one output to every layer; this graph has "
            f"{len(graph.outputs)} outputs, as a network unrolled in time has: use feedback "
            "alignment, predictive coding or backpropagation."
        )


def check_sums_and_units(graph: Graph, learner: str) -> None:
    """Raise InputError where a vertex multiplies what others compute, so that no target is there.

    Targets exist for units that squash one sum, with operations between that only move or add.
    """
    for vertex in graph.vertices:
        if vertex.operation is None or isinstance(vertex.operation, Linear | Convolution):
            continue
        if not vertex.operation.is_routing and not isinstance(vertex.operation, Activation):
            kind = type(vertex.operation).__name__
            raise InputError(
                f"{learner} has targets for units that squash a sum, and none for {kind}; use "
                "feedback alignment, predictive coding or backpropagation for this graph."
            )
