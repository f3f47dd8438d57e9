"""Feedback alignment on graphs: fixed random synapses carry errors, layer by layer or directly.

Sources: T. P. Lillicrap, D. Cownden, D. B. Tweed, C. J. Akerman, "Random synaptic feedback weights
support error backpropagation for deep learning", Nature Communications 7, 2016; A. Nøkland,
"Direct feedback alignment provides learning in deep neural networks", NeurIPS 2016.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod

import numpy as np
import torch
from torch import Tensor

from evosearch.graphs.graph import Graph, State
from evosearch.graphs.sweep import (
    Errors,
    boundaries,
    check_carriers,
    check_one_output,
    sweep,
    weight_names,
)


def random_feedback(graph: Graph, rng: np.random.Generator) -> dict[str, Tensor]:
    """Draw feedback in the shape of all weights, from the distribution that those start from.

    A convolution's errors then go down through the transposed convolution with other filters.

    Args:
        graph: whose weights have the numbers of inputs that set the scale.
        rng: draws N(0, 1 / inputs of a unit).
    """
    return {name: _drawn(graph.parameters[name], rng) for name in weight_names(graph)}


def feedback_alignment(
    graph: Graph, state: State, errors: Sequence[Tensor], *, feedback: Mapping[str, Tensor]
) -> Errors:
    """Return errors that go down through fixed feedback in place of the weights.

    With the weights themselves as feedback they are backpropagation's. Parameters that vertices
    share have one feedback.

    Args:
        graph: whose parameters are as in the forward pass.
        state: the forward pass.
        errors: of each output, in the direction that improves.
        feedback: of every weight parameter, of its shape, as of :func:`random_feedback`.

    Raises:
        InputError: feedback or an output's error is missing, or a shape is wrong.
    """
    check_carriers(graph, feedback)
    return sweep(graph, state, errors, carriers=feedback)


def random_projections(graph: Graph, state: State, rng: np.random.Generator) -> dict[int, Tensor]:
    """Draw what takes the output error to the end of each layer, from N(0, 1 / classes).

    A layer ends at what the next weights read: after its units, and its maxima where it has them.

    Args:
        graph: with one output.
        state: any forward pass, for the shapes.
        rng: draws the lowest layer's first.

    Returns:
        By vertex (classes, *shape of its value).

    Raises:
        InputError: the graph has several outputs.
    """
    check_one_output(graph, "direct feedback alignment")
    deviation = state.values[graph.outputs[0]].shape[1] ** -0.5
    return {k: projection(graph, state, k, rng, deviation) for k in boundaries(graph)}


def projection(
    graph: Graph, state: State, vertex: int, rng: np.random.Generator, deviation: float
) -> Tensor:
    """Draw (classes, *shape of a vertex) from N(0, deviation²)."""
    output = state.values[graph.outputs[0]]
    shape = (output.shape[1], *state.values[vertex].shape[1:])
    return torch.from_numpy(rng.normal(0.0, deviation, shape)).to(output.dtype)


def direct_feedback_alignment(
    graph: Graph, state: State, errors: Sequence[Tensor], *, projections: Mapping[int, Tensor]
) -> Errors:
    """Return errors that every layer hears from the output at once, through fixed projections.

    Within a layer the error goes through its maxima and its units' slopes; from one layer to the
    next below nothing goes, past residual blocks neither.

    Args:
        graph: with one output.
        state: the forward pass.
        errors: of the output (B, classes), in the direction that improves.
        projections: of every layer's end, as of :func:`random_projections`.

    Raises:
        InputError: the graph has several outputs, or the error is missing.
    """
    check_one_output(graph, "direct feedback alignment")
    told = {k: project(errors[0], matrix) for k, matrix in projections.items()} if errors else {}
    return sweep(graph, state, errors, carriers={}, direct=told)


def project(error: Tensor, matrix: Tensor) -> Tensor:
    """Return (B, *shape): errors (B, classes) times a projection (classes, *shape)."""
    return torch.tensordot(error, matrix, dims=1)


def _drawn(weights: Tensor, rng: np.random.Generator) -> Tensor:
    n_in = prod(weights.shape[1:])
    return torch.from_numpy(rng.normal(0.0, n_in**-0.5, tuple(weights.shape))).to(weights.dtype)
