"""Local representation alignment on graphs: every unit gets a target close to its own activity.

An error that arrives at a unit shifts its sum, and what the shifted unit would say, less what it
said, is the unit's own error. No slope is used. Sources: A. G. Ororbia, A. Mali, "Biologically
motivated algorithms for propagating local target representations", AAAI 2019; A. G. Ororbia,
A. Mali, D. Kifer, C. L. Giles, "Backpropagation-free deep learning with recursive local
representation alignment", AAAI 2023 (arXiv 2002.03911).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from evosearch.errors import InputError, unknown_name
from evosearch.graphs.feedback import project, projection
from evosearch.graphs.graph import Graph, State
from evosearch.graphs.operations import Activation, Add
from evosearch.graphs.sweep import (
    Errors,
    boundaries,
    check_one_output,
    check_sums_and_units,
    sweep,
    weight_names,
)

SKIP_RULES = ("displacement", "activity")


class Alignment:
    """Error synapses of a graph: beside all weights, and past residual blocks from the output.

    Without residual blocks this is LRA-E. With them it is recursive unless told otherwise: what a
    block reads and what it gives hear the output error through synapses of their own, the layers
    inside a block hear the layer above. Error synapses learn by plain steps: those beside weights
    by the product of the error above with the activity below, as the weights do; those from the
    output lose the product of the error with what it becomes, which shrinks them along it, or learn
    by the product with the activity as well, as a readout of that layer alone would.

    Args:
        graph: with one output.
        state: any forward pass, for the shapes.
        rng: draws the error synapses from N(0, deviation²).
        beta: how far a target lies from the activity, > 0.
        rate: of the error synapses, >= 0; 0 keeps them as they were drawn.
        deviation: > 0.
        is_recursive: whether residual blocks hear the output error itself; else errors go through
            them, layer by layer.
        skip_rule: of the synapses from the output, ``displacement``, as published, or ``activity``.

    Attributes:
        synapses: by name of a weight parameter, of its shape.
        skips: by vertex (classes, *shape of its value).

    Raises:
        InputError: a setting is not allowed, or the graph has several outputs or a product.
    """

    def __init__(
        self,
        graph: Graph,
        state: State,
        rng: np.random.Generator,
        *,
        beta: float = 0.1,
        rate: float = 0.01,
        deviation: float = 1.0,
        is_recursive: bool = True,
        skip_rule: str = "displacement",
    ) -> None:
        if not (beta > 0 and rate >= 0 and deviation > 0):
            raise InputError(
                f"local representation alignment has beta {beta}, rate {rate} and deviation "
                f"{deviation}; beta and deviation must be above 0, rate at least 0."
            )
        if skip_rule not in SKIP_RULES:
            raise unknown_name("rule of error skips", skip_rule, SKIP_RULES)
        check_one_output(graph, "local representation alignment")
        check_sums_and_units(graph, "local representation alignment")
        self._beta, self._rate, self._skip_rule = beta, rate, skip_rule
        self.synapses = {
            name: _drawn(graph.parameters[name], rng, deviation) for name in weight_names(graph)
        }
        ends = block_ends(graph) if is_recursive else ()
        self.skips = {k: projection(graph, state, k, rng, deviation) for k in ends}

    def errors(self, graph: Graph, state: State, errors: Sequence[Tensor]) -> Errors:
        """Return the error of each vertex.

        Args:
            graph: whose parameters are as in the forward pass.
            state: the forward pass.
            errors: of the output (B, classes), in the direction that improves.
        """
        told = {k: project(errors[0], matrix) for k, matrix in self.skips.items()}
        return sweep(
            graph, state, errors, carriers=self.synapses, direct=told, cross=self._displacement
        )

    def learn(
        self, graph: Graph, state: State, changes: Mapping[str, Tensor], found: Errors
    ) -> None:
        """Change the error synapses.

        Args:
            graph: of the errors.
            state: the forward pass.
            changes: of the parameters, the mean over examples.
            found: the errors of each vertex.
        """
        if not self._rate:
            return
        for name, synapses in self.synapses.items():
            synapses += self._rate * changes[name]
        output = found[graph.outputs[0]]
        assert output is not None
        for k, matrix in self.skips.items():
            displacement = found[k]
            assert displacement is not None
            factor = state.values[k] if self._skip_rule == "activity" else -displacement
            matrix += self._rate / len(output) * torch.tensordot(output.T, factor, dims=1)

    def _displacement(self, unit: Activation, sums: Tensor, error: Tensor) -> Tensor:
        return unit.squash(sums + self._beta * error) - unit.squash(sums)


def block_ends(graph: Graph) -> tuple[int, ...]:
    """Return the layer ends that a residual block reads or gives, in their order.

    What it gives may have gone through operations that only move numbers since.
    """
    skipped = {p for v in graph.vertices if isinstance(v.operation, Add) for p in v.parents}
    ends: list[int] = []
    for end in boundaries(graph):
        below = end
        while _is_moved(graph, below):
            below = graph.vertices[below].parents[0]
        if end in skipped or isinstance(graph.vertices[below].operation, Add):
            ends.append(end)
    return tuple(ends)


def _is_moved(graph: Graph, k: int) -> bool:
    operation = graph.vertices[k].operation
    return operation is not None and operation.is_routing and not isinstance(operation, Add)


def _drawn(weights: Tensor, rng: np.random.Generator, deviation: float) -> Tensor:
    return torch.from_numpy(rng.normal(0.0, deviation, tuple(weights.shape))).to(weights.dtype)
