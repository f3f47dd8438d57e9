"""What vertices compute: forward, and by hand what an error says to parents and parameters.

Arrays have a leading axis of examples. An operation holds no parameters and remembers nothing: its
forward pass returns what the way back needs.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TypeAlias

import torch
from torch import Tensor
from torch.nn import functional

Tensors: TypeAlias = Sequence[Tensor]
Saved: TypeAlias = tuple[Tensor, ...]


class Operation(ABC):
    """One kind of vertex.

    Attributes:
        is_routing: whether it only moves, picks or adds numbers, and so hands errors on unscaled.
    """

    is_routing = False

    @abstractmethod
    def forward(self, parameters: Tensors, inputs: Tensors) -> tuple[Tensor, Saved]:
        """Return the value, and what the way back needs of this pass.

        Args:
            parameters: of the vertex, in the order of its kind.
            inputs: values of its parents, each with a leading axis of examples.
        """

    @abstractmethod
    def pull(self, parameters: Tensors, saved: Saved, error: Tensor, parent: int) -> Tensor:
        """Return the error times the derivative of the value for one parent's value.

        Args:
            parameters: of the vertex.
            saved: what the forward pass left.
            error: of the shape of the value.
            parent: which parent, from 0.
        """

    def increments(self, saved: Saved, error: Tensor) -> list[Tensor]:
        """Return the error times the derivative for each parameter, summed over examples."""
        return []


class Activation(Operation):
    """A function of each number of one parent."""

    @abstractmethod
    def squash(self, sums: Tensor) -> Tensor:
        """Return the function of each number."""


class Linear(Operation):
    """y = sum over parents of x_k W_k^T, plus b; parameters are all W_k (n_out, n_k), then b."""

    def forward(self, parameters: Tensors, inputs: Tensors) -> tuple[Tensor, Saved]:
        """Return (B, n_out)."""
        total = parameters[-1]
        for weights, x in zip(parameters[:-1], inputs, strict=True):
            total = total + x @ weights.T
        return total, tuple(inputs)

    def pull(self, parameters: Tensors, saved: Saved, error: Tensor, parent: int) -> Tensor:
        """Return the error through the transposed weights."""
        return error @ parameters[parent]

    def increments(self, saved: Saved, error: Tensor) -> list[Tensor]:
        """Return error times input, and the error."""
        return [*(error.T @ x for x in saved), error.sum(0)]


class Tanh(Activation):
    """The hyperbolic tangent of each number."""

    def squash(self, sums: Tensor) -> Tensor:
        """Return the hyperbolic tangent."""
        return torch.tanh(sums)

    def forward(self, parameters: Tensors, inputs: Tensors) -> tuple[Tensor, Saved]:
        """Return the shape of the input."""
        value = self.squash(inputs[0])
        return value, (1 - value * value,)

    def pull(self, parameters: Tensors, saved: Saved, error: Tensor, parent: int) -> Tensor:
        """Return the error times the slope."""
        return error * saved[0]


class Sigmoid(Activation):
    """1 / (1 + exp(-x)) of each number."""

    def squash(self, sums: Tensor) -> Tensor:
        """Return the logistic function."""
        return torch.sigmoid(sums)

    def forward(self, parameters: Tensors, inputs: Tensors) -> tuple[Tensor, Saved]:
        """Return the shape of the input."""
        value = self.squash(inputs[0])
        return value, (value * (1 - value),)

    def pull(self, parameters: Tensors, saved: Saved, error: Tensor, parent: int) -> Tensor:
        """Return the error times the slope."""
        return error * saved[0]


class Add(Operation):
    """The sum of all parents, of one shape."""

    is_routing = True

    def forward(self, parameters: Tensors, inputs: Tensors) -> tuple[Tensor, Saved]:
        """Return the sum."""
        return torch.stack(list(inputs)).sum(0), ()

    def pull(self, parameters: Tensors, saved: Saved, error: Tensor, parent: int) -> Tensor:
        """Return the error."""
        return error


class Product(Operation):
    """The elementwise product of two parents, of one shape."""

    def forward(self, parameters: Tensors, inputs: Tensors) -> tuple[Tensor, Saved]:
        """Return the product."""
        return inputs[0] * inputs[1], tuple(inputs)

    def pull(self, parameters: Tensors, saved: Saved, error: Tensor, parent: int) -> Tensor:
        """Return the error times the other parent."""
        return error * saved[1 - parent]


class Convolution(Operation):
    """Cross-correlation of stride 1; parameters are W (out, in, k, k) and b (out,).

    Args:
        padding: zeros around the image, at each side.
    """

    def __init__(self, padding: int = 0) -> None:
        self.padding = padding

    def forward(self, parameters: Tensors, inputs: Tensors) -> tuple[Tensor, Saved]:
        """Return (B, out, height, width)."""
        weights, bias = parameters
        return functional.conv2d(inputs[0], weights, bias, padding=self.padding), tuple(inputs)

    def pull(self, parameters: Tensors, saved: Saved, error: Tensor, parent: int) -> Tensor:
        """Return the error through the transposed convolution."""
        return functional.conv_transpose2d(error, parameters[0], padding=self.padding)

    def increments(self, saved: Saved, error: Tensor) -> list[Tensor]:
        """Return inputs correlated with errors, examples in the part of channels."""
        images, errors = saved[0].transpose(0, 1), error.transpose(0, 1)
        found = functional.conv2d(images, errors, padding=self.padding)
        return [found.transpose(0, 1), error.sum((0, 2, 3))]


class MaxPool(Operation):
    """The greatest number of each square window; windows lie side by side.

    Args:
        size: of a window's side; what is left over at the right and the bottom is dropped.
    """

    is_routing = True

    def __init__(self, size: int = 2) -> None:
        self.size = size

    def forward(self, parameters: Tensors, inputs: Tensors) -> tuple[Tensor, Saved]:
        """Return (B, channels, height // size, width // size)."""
        value, places = functional.max_pool2d(inputs[0], self.size, return_indices=True)
        return value, (inputs[0], places)

    def pull(self, parameters: Tensors, saved: Saved, error: Tensor, parent: int) -> Tensor:
        """Return errors at the places that were greatest, 0 elsewhere."""
        image, places = saved
        routed = torch.zeros_like(image)
        routed.flatten(2).scatter_(2, places.flatten(2), error.flatten(2))
        return routed


class Flatten(Operation):
    """All numbers of an example in a row."""

    is_routing = True

    def forward(self, parameters: Tensors, inputs: Tensors) -> tuple[Tensor, Saved]:
        """Return (B, n)."""
        return inputs[0].flatten(1), tuple(inputs)

    def pull(self, parameters: Tensors, saved: Saved, error: Tensor, parent: int) -> Tensor:
        """Return the error in the shape of the input."""
        return error.view_as(saved[0])
