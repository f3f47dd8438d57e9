"""Graphs of vertices without cycles; what recurs is unrolled, one vertex a step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from torch import Tensor

from evosearch.errors import InputError
from evosearch.graphs.operations import Operation, Saved


@dataclass(frozen=True)
class Vertex:
    """One computation.

    Attributes:
        operation: what is computed; None for an input.
        parents: numbers of the vertices that it reads, in the order of the operation.
        parameters: names of its parameters, in the order of the operation; vertices may share them.
    """

    operation: Operation | None
    parents: tuple[int, ...] = ()
    parameters: tuple[str, ...] = ()


@dataclass(frozen=True)
class State:
    """One forward pass.

    Attributes:
        values: of each vertex, with a leading axis of examples.
        saved: what each operation left for the way back.
    """

    values: list[Tensor]
    saved: list[Saved]


@dataclass(frozen=True)
class Graph:
    """Vertices in an order in which parents come first, and their parameters.

    Attributes:
        vertices: numbered from 0.
        parameters: by name; learning changes them in place.
        inputs: numbers of the vertices that data are put in.
        outputs: numbers of the vertices that are told their errors; no vertex reads them.
    """

    vertices: tuple[Vertex, ...]
    parameters: dict[str, Tensor]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]

    def predict(self, inputs: Sequence[Tensor]) -> State:
        """Return the forward pass of one tensor for each input vertex.

        Raises:
            InputError: there are more or fewer.
        """
        if len(inputs) != len(self.inputs):
            raise InputError(
                f"the graph has {len(self.inputs)} inputs, found {len(inputs)} tensors."
            )
        given = iter(inputs)
        values: list[Tensor] = []
        saved: list[Saved] = []
        for vertex in self.vertices:
            if vertex.operation is None:
                value, left = next(given), ()
            else:
                read = [values[parent] for parent in vertex.parents]
                value, left = vertex.operation.forward(self.own(vertex), read)
            values.append(value)
            saved.append(left)
        return State(values, saved)

    def own(self, vertex: Vertex) -> list[Tensor]:
        """Return a vertex's parameters."""
        return [self.parameters[name] for name in vertex.parameters]

    @cached_property
    def listens(self) -> tuple[bool, ...]:
        """Whether an error at each vertex changes anything: a parameter there, or below."""
        found: list[bool] = []
        for vertex in self.vertices:
            found.append(bool(vertex.parameters) or any(found[p] for p in vertex.parents))
        return tuple(found)

    @cached_property
    def levels(self) -> tuple[int, ...]:
        """Edges of the longest way from each vertex to an output; -1 where there is none."""
        found = [0 if k in self.outputs else -1 for k in range(len(self.vertices))]
        for k in reversed(range(len(self.vertices))):
            for parent in self.vertices[k].parents if found[k] >= 0 else ():
                found[parent] = max(found[parent], found[k] + 1)
        return tuple(found)

    @property
    def depth(self) -> int:
        """Greatest level of a vertex that errors are sent to."""
        return max(
            level for level, is_sent in zip(self.levels, self.listens, strict=True) if is_sent
        )


class GraphBuilder:
    """Collects vertices; each may read those that are there already.

    Example:
        >>> import torch
        >>> from evosearch.graphs.operations import Linear, Tanh
        >>> g = GraphBuilder()
        >>> w, b = g.parameter("w", torch.ones(1, 2)), g.parameter("b", torch.zeros(1))
        >>> g.output(g.add(Tanh(), g.add(Linear(), g.input(), parameters=(w, b))))
        >>> round(float(g.build().predict([torch.ones(1, 2)]).values[-1]), 3)
        0.964
    """

    def __init__(self) -> None:
        self._vertices: list[Vertex] = []
        self._parameters: dict[str, Tensor] = {}
        self._outputs: list[int] = []

    def input(self) -> int:
        """Add a vertex that data are put in; return its number."""
        self._vertices.append(Vertex(None))
        return len(self._vertices) - 1

    def parameter(self, name: str, values: Tensor) -> str:
        """Add a parameter; return its name.

        Raises:
            InputError: the name is taken.
        """
        if name in self._parameters:
            raise InputError(f"parameter {name!r} is there already; give each one name of its own.")
        self._parameters[name] = values
        return name

    def add(self, operation: Operation, *parents: int, parameters: Sequence[str] = ()) -> int:
        """Add a vertex that reads ``parents``; return its number.

        Raises:
            InputError: a parent or a parameter is not there.
        """
        n = len(self._vertices)
        unknown = [parent for parent in parents if not 0 <= parent < n]
        if unknown or not parents:
            raise InputError(
                f"vertex {n} reads {list(parents)}; it must read vertices from 0 to {n - 1}."
            )
        missing = [name for name in parameters if name not in self._parameters]
        if missing:
            raise InputError(f"vertex {n} uses parameter {missing[0]!r}, which is not there.")
        self._vertices.append(Vertex(operation, tuple(parents), tuple(parameters)))
        return n

    def output(self, vertex: int) -> None:
        """Let a vertex be told its error."""
        self._outputs.append(vertex)

    def build(self) -> Graph:
        """Return the graph.

        Raises:
            InputError: there is no output, or a vertex reads one.
        """
        read = {parent for vertex in self._vertices for parent in vertex.parents}
        if not self._outputs or read & set(self._outputs):
            raise InputError(
                f"outputs are {self._outputs}; a graph needs at least one, and no vertex may read "
                "an output."
            )
        inputs = [k for k, vertex in enumerate(self._vertices) if vertex.operation is None]
        return Graph(tuple(self._vertices), self._parameters, tuple(inputs), tuple(self._outputs))
