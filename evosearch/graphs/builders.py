"""Networks as graphs; weights start from N(0, 1 / inputs of a unit), biases from 0."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from math import prod

import numpy as np
import torch
from torch import Tensor

from evosearch.errors import InputError
from evosearch.graphs.graph import Graph, GraphBuilder
from evosearch.graphs.operations import (
    Add,
    Convolution,
    Flatten,
    Linear,
    MaxPool,
    Product,
    Sigmoid,
    Tanh,
)

GATES = "ifgo"
"""Of a long short-term memory: input, forget, candidate, output; the order of torch."""


def mlp(
    sizes: Sequence[int], rng: np.random.Generator, *, dtype: torch.dtype = torch.float32
) -> Graph:
    """Return a multilayer perceptron: tanh units and a linear output.

    Args:
        sizes: units of each layer, inputs first.
        rng: draws weights ``w0`` (n_out, n_in) and so on; biases are ``b0`` and so on.
        dtype: of the parameters.
    """
    g = GraphBuilder()
    g.output(_layers(g, g.input(), sizes, rng, dtype))
    return g.build()


def cnn(
    shape: tuple[int, int, int],
    channels: Sequence[int],
    hidden: Sequence[int],
    n_classes: int,
    rng: np.random.Generator,
    *,
    kernel: int = 5,
    dtype: torch.dtype = torch.float32,
) -> Graph:
    """Return a convolutional network: convolution, tanh and 2 x 2 maximum, again and again.

    What is left is flattened and goes through tanh layers to a linear output.

    Args:
        shape: of an image (channels, height, width).
        channels: of each convolution's output.
        hidden: units of each tanh layer after them.
        n_classes: of the output.
        rng: draws weights ``k0`` (out, in, kernel, kernel) and so on, biases ``c0``; of the layers
            after them ``w0`` and ``b0`` and so on.
        kernel: side of a filter; images are not padded.
        dtype: of the parameters.
    """
    g = GraphBuilder()
    node = g.input()
    for k, (n_in, n_out) in enumerate(pairwise([shape[0], *channels])):
        filters = _normal(rng, (n_out, n_in, kernel, kernel), dtype)
        names = g.parameter(f"k{k}", filters), g.parameter(f"c{k}", torch.zeros(n_out, dtype=dtype))
        node = g.add(MaxPool(), g.add(Tanh(), g.add(Convolution(), node, parameters=names)))
        shape = (n_out, (shape[1] - kernel + 1) // 2, (shape[2] - kernel + 1) // 2)
    sizes = (prod(shape), *hidden, n_classes)
    g.output(_layers(g, g.add(Flatten(), node), sizes, rng, dtype))
    return g.build()


def residual_cnn(
    shape: tuple[int, int, int],
    channels: int,
    blocks: int,
    n_classes: int,
    rng: np.random.Generator,
    *,
    kernel: int = 3,
    dtype: torch.dtype = torch.float32,
) -> Graph:
    """Return a residual convolutional network with a linear output.

    A convolution with tanh and 2 x 2 maximum, then blocks, each what it reads plus what two
    convolutions with tanh make of it, and a 2 x 2 maximum after each.

    Args:
        shape: of an image (channels, height, width); height and width must survive the maxima.
        channels: of every convolution's output.
        blocks: at least 0.
        n_classes: of the output.
        rng: draws weights ``k0`` (out, in, kernel, kernel) and so on, biases ``c0``, two of each a
            block, and ``w0``, ``b0`` of the output.
        kernel: side of a filter, odd; images are padded to keep their size.
        dtype: of the parameters.

    Raises:
        InputError: a setting is out of range, or nothing of an image is left after the maxima.
    """
    left = min(shape[1:]) >> (blocks + 1) if blocks >= 0 else 0
    if left < 1 or channels < 1 or kernel < 1 or kernel % 2 == 0:
        raise InputError(
            f"a residual network on images of {shape[1]} x {shape[2]} has {blocks} blocks, "
            f"{channels} channels and filters of side {kernel}; blocks must be at least 0 and so "
            "few that one halving more leaves something, channels at least 1, and the side odd."
        )
    g = GraphBuilder()
    sizes = [(shape[0], channels), *[(channels, channels)] * (2 * blocks)]
    names: list[tuple[str, str]] = []
    for k, (n_in, n_out) in enumerate(sizes):
        filters = _normal(rng, (n_out, n_in, kernel, kernel), dtype)
        bias = torch.zeros(n_out, dtype=dtype)
        names.append((g.parameter(f"k{k}", filters), g.parameter(f"c{k}", bias)))

    def layer(node: int, number: int) -> int:
        total = g.add(Convolution(kernel // 2), node, parameters=names[number])
        return g.add(Tanh(), total)

    node = g.add(MaxPool(), layer(g.input(), 0))
    for block in range(blocks):
        branch = layer(layer(node, 2 * block + 1), 2 * block + 2)
        node = g.add(MaxPool(), g.add(Add(), node, branch))
    n_left = channels * (shape[1] >> (blocks + 1)) * (shape[2] >> (blocks + 1))
    g.output(_layers(g, g.add(Flatten(), node), (n_left, n_classes), rng, dtype))
    return g.build()


def rnn(
    n_inputs: int,
    n_hidden: int,
    n_outputs: int,
    steps: int,
    rng: np.random.Generator,
    *,
    dtype: torch.dtype = torch.float32,
) -> Graph:
    """Return a recurrent network of tanh units, unrolled, with a linear output at every step.

    The inputs are those of each step (B, n_inputs), then the hidden units before the first step
    (B, n_hidden).

    Args:
        n_inputs: of one step.
        n_hidden: units.
        n_outputs: of one step.
        steps: of a sequence.
        rng: draws ``w`` (n_hidden, n_inputs), ``u`` (n_hidden, n_hidden) and ``v`` (n_outputs,
            n_hidden); biases are ``b`` and ``c``.
        dtype: of the parameters.
    """
    g = GraphBuilder()
    _parameters(g, {"w": (n_hidden, n_inputs), "u": (n_hidden, n_hidden)}, "b", rng, dtype)
    _parameters(g, {"v": (n_outputs, n_hidden)}, "c", rng, dtype)
    shown = [g.input() for _ in range(steps)]
    hidden = g.input()
    for x in shown:
        hidden = g.add(Tanh(), g.add(Linear(), x, hidden, parameters=("w", "u", "b")))
        g.output(g.add(Linear(), hidden, parameters=("v", "c")))
    return g.build()


def lstm(
    n_inputs: int,
    n_hidden: int,
    n_outputs: int,
    steps: int,
    rng: np.random.Generator,
    *,
    dtype: torch.dtype = torch.float32,
) -> Graph:
    """Return a long short-term memory, unrolled, with a linear output at every step.

    Every gate and every product is a vertex with an error of its own. The inputs are those of each
    step (B, n_inputs), then the cells and the hidden units before the first step (B, n_hidden).

    Args:
        n_inputs: of one step.
        n_hidden: cells.
        n_outputs: of one step.
        steps: of a sequence.
        rng: draws ``wi``, ``wf``, ``wg``, ``wo`` (n_hidden, n_inputs), ``ui`` to ``uo`` (n_hidden,
            n_hidden) and ``v`` (n_outputs, n_hidden); biases are ``bi`` to ``bo``, and ``c``.
        dtype: of the parameters.
    """
    g = GraphBuilder()
    for gate in GATES:
        shapes = {f"w{gate}": (n_hidden, n_inputs), f"u{gate}": (n_hidden, n_hidden)}
        _parameters(g, shapes, f"b{gate}", rng, dtype)
    _parameters(g, {"v": (n_outputs, n_hidden)}, "c", rng, dtype)
    shown = [g.input() for _ in range(steps)]
    cell, hidden = g.input(), g.input()
    for x in shown:
        opened = {gate: _gate(g, gate, x, hidden) for gate in GATES}
        kept = g.add(Product(), opened["f"], cell)
        cell = g.add(Add(), kept, g.add(Product(), opened["i"], opened["g"]))
        hidden = g.add(Product(), opened["o"], g.add(Tanh(), cell))
        g.output(g.add(Linear(), hidden, parameters=("v", "c")))
    return g.build()


def _gate(g: GraphBuilder, gate: str, x: int, hidden: int) -> int:
    total = g.add(Linear(), x, hidden, parameters=(f"w{gate}", f"u{gate}", f"b{gate}"))
    return g.add(Tanh() if gate == "g" else Sigmoid(), total)


def _layers(
    g: GraphBuilder, node: int, sizes: Sequence[int], rng: np.random.Generator, dtype: torch.dtype
) -> int:
    """Add layers above a vertex, tanh between them; return the last."""
    for k, (n_in, n_out) in enumerate(pairwise(sizes)):
        if k:
            node = g.add(Tanh(), node)
        _parameters(g, {f"w{k}": (n_out, n_in)}, f"b{k}", rng, dtype)
        node = g.add(Linear(), node, parameters=(f"w{k}", f"b{k}"))
    return node


def _parameters(
    g: GraphBuilder,
    shapes: dict[str, tuple[int, int]],
    bias: str,
    rng: np.random.Generator,
    dtype: torch.dtype,
) -> None:
    """Add weights and one bias for a vertex that sums over all of them."""
    for name, shape in shapes.items():
        g.parameter(name, _normal(rng, shape, dtype))
    n_out = next(iter(shapes.values()))[0]
    g.parameter(bias, torch.zeros(n_out, dtype=dtype))


def _normal(rng: np.random.Generator, shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
    drawn = rng.normal(0.0, prod(shape[1:]) ** -0.5, shape)
    return torch.from_numpy(drawn).to(dtype)
