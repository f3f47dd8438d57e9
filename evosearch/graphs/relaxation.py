"""How errors settle along a graph whose predictions stand still, and what they change."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from evosearch.errors import InputError
from evosearch.graphs.graph import Graph, State


def softmax_error(logits: Tensor, labels: Tensor) -> Tensor:
    """Return target less probability (B, classes): minus the gradient of each cross-entropy.

    Args:
        logits: (B, classes).
        labels: (B,) integers.
    """
    error = -torch.softmax(logits, dim=1)
    error[torch.arange(len(labels)), labels] += 1
    return error


def relax(
    graph: Graph, state: State, errors: Sequence[Tensor], *, steps: int = 100, gamma: float = 0.1
) -> list[Tensor | None]:
    """Let errors settle for T steps while all predictions stay as the forward pass made them.

    Every vertex i starts without an error and moves, all at once, towards what its children j say:

        e_i <- e_i + gamma (-e_i + sum over j of e_j d mu_j / d v_i)

    Where this comes to rest the errors are backpropagation's, minus the gradient. A way of k edges
    to the output takes about k / gamma steps. Source: B. Millidge, A. Tschantz, C. L. Buckley,
    "Predictive coding approximates backprop along arbitrary computation graphs", Neural
    Computation 34, 2022.

    Args:
        graph: whose parameters are as in the forward pass.
        state: the forward pass.
        errors: of each output, in the direction that improves; they do not change.
        steps: T, at least 1.
        gamma: step, in (0, 1].

    Returns:
        The error of each vertex; None where none is sent: at inputs, and where it would change
        nothing.

    Raises:
        InputError: a setting is out of range, or an output lacks an error.
    """
    if steps < 1 or not 0.0 < gamma <= 1.0:
        raise InputError(
            f"steps is {steps} and gamma {gamma}; steps must be at least 1 and gamma lie above 0 "
            f"and not above 1."
        )
    found = _start(graph, state, errors)
    fixed = set(graph.outputs)
    for _ in range(steps):
        said = _said(graph, state, found, range(len(graph.vertices)))
        for k, error in enumerate(found):
            if error is not None and k not in fixed:
                heard = said[k]
                error.mul_(1.0 - gamma)
                if heard is not None:
                    error.add_(heard, alpha=gamma)
    return found


def zero_divergence(graph: Graph, state: State, errors: Sequence[Tensor]) -> list[Tensor | None]:
    """Let each vertex take one step of gamma = 1, at the moment all its children have theirs.

    That is after as many steps as edges lie on the longest way to an output. The errors are
    backpropagation's to rounding. Sources: Y. Song, T. Lukasiewicz, Z. Xu, R. Bogacz, NeurIPS 2020;
    T. Salvatori, Y. Song, Z. Xu, T. Lukasiewicz, R. Bogacz, "Reverse differentiation via predictive
    coding", AAAI 2022.

    Args:
        graph: whose parameters are as in the forward pass.
        state: the forward pass.
        errors: of each output, in the direction that improves.

    Returns:
        The error of each vertex, as of :func:`relax`.

    Raises:
        InputError: an output lacks an error.
    """
    found = _start(graph, state, errors)
    for vertices in _by_level(graph):
        for k, heard in _said(graph, state, found, vertices).items():
            error = found[k]
            if error is not None and heard is not None:
                error.add_(heard)
    return found


def increments(graph: Graph, state: State, errors: Sequence[Tensor | None]) -> dict[str, Tensor]:
    """Return what each parameter changes by, from what lies at its own vertices alone.

    Sums over examples, and over the vertices that share a parameter.

    Args:
        graph: whose parameters are as in the forward pass.
        state: the forward pass.
        errors: of each vertex.
    """
    found = {name: torch.zeros_like(values) for name, values in graph.parameters.items()}
    for vertex, saved, error in zip(graph.vertices, state.saved, errors, strict=True):
        if vertex.operation is None or error is None or not vertex.parameters:
            continue
        changes = vertex.operation.increments(saved, error)
        for name, change in zip(vertex.parameters, changes, strict=True):
            found[name] += change
    return found


def _start(graph: Graph, state: State, errors: Sequence[Tensor]) -> list[Tensor | None]:
    """Return the outputs' errors, and 0 where others will be sent."""
    if len(errors) != len(graph.outputs):
        raise InputError(f"the graph has {len(graph.outputs)} outputs, found {len(errors)} errors.")
    found: list[Tensor | None] = [
        torch.zeros_like(value) if is_sent and level > 0 else None
        for value, is_sent, level in zip(state.values, graph.listens, graph.levels, strict=True)
    ]
    for k, error in zip(graph.outputs, errors, strict=True):
        found[k] = error
    return found


def _said(
    graph: Graph, state: State, errors: Sequence[Tensor | None], children: Sequence[int]
) -> dict[int, Tensor | None]:
    """Return what some vertices say to their parents, summed for each parent."""
    said: dict[int, Tensor | None] = dict.fromkeys(range(len(errors)))
    for child in children:
        vertex, error = graph.vertices[child], errors[child]
        if vertex.operation is None or error is None:
            continue
        own = graph.own(vertex)
        for slot, parent in enumerate(vertex.parents):
            if errors[parent] is None:
                continue
            part = vertex.operation.pull(own, state.saved[child], error, slot)
            before = said[parent]
            said[parent] = part if before is None else before + part
    return said


def _by_level(graph: Graph) -> list[list[int]]:
    """Return the vertices of each level, outputs first: a vertex speaks when its error is whole."""
    levels: list[list[int]] = [[] for _ in range(graph.depth + 1)]
    for k, (level, is_sent) in enumerate(zip(graph.levels, graph.listens, strict=True)):
        if is_sent and level >= 0:
            levels[level].append(k)
    return levels
