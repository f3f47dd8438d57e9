"""Stacks of convolutions for a population: examples lie side by side in memory, in small tiles."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, cast

import torch
from torch import nn
from torch.nn import functional

_TILE = 64
"""Examples at a time: what lies between two layers of one member then stays in the cache."""

_ELEMENTWISE = (
    nn.ELU, nn.GELU, nn.Hardtanh, nn.Identity, nn.LeakyReLU, nn.ReLU, nn.SELU, nn.SiLU,
    nn.Sigmoid, nn.Softplus, nn.Tanh,
)  # fmt: skip
_DROPOUT = (nn.Dropout, nn.Dropout1d, nn.Dropout2d)

Values = dict[str, torch.Tensor]


class ConvolutionStack:
    """Computes a stack of layers for many sets of weights on the same examples.

    Activities of one member are arrays (channels, rows, columns, examples), so that the patches
    under a kernel are copied in long pieces and a convolution is one matrix product. The patches
    of the input are made once for all members. A member's numbers are the same beside any others.

    Source of convolution as a product of patches: K. Chellapilla, S. Puri, P. Simard, "High
    Performance Convolutional Neural Networks for Document Processing", IWFHR 2006.

    Args:
        layers: names and layers, of which the first is a convolution; see ``stack_of``.
    """

    def __init__(self, layers: list[tuple[str, nn.Module]]) -> None:
        self._layers = _pooled_first(layers)
        self._fixed = {
            f"{name}.{key}": value.detach()
            for name, layer in layers
            for key, value in layer.named_parameters()
        }

    def __call__(self, parameters: Values, inputs: torch.Tensor) -> torch.Tensor:
        """Return what n members put out (n, examples, …).

        Args:
            parameters: of each name the values (n, …); others are the layers' own.
            inputs: (examples, channels, rows, columns).
        """
        n = len(next(iter(parameters.values())))
        tiles: list[torch.Tensor] = []
        (name, first), *rest = self._layers
        for tile in inputs.split(_TILE):
            patches, size = _patches(tile.permute(1, 2, 3, 0).contiguous(), cast(nn.Conv2d, first))
            found: list[torch.Tensor] = []
            for member in range(n):
                values = self._fixed | {key: value[member] for key, value in parameters.items()}
                activity = _product(patches, size, values, name)
                for other, layer in rest:
                    activity = _applied(layer, other, values, activity)
                found.append(activity)
            tiles.append(torch.stack(found))
        return torch.cat(tiles, dim=-1).movedim(-1, 1)


def stack_of(module: nn.Module) -> ConvolutionStack | None:
    """Return the stack that a module is, or None.

    It has to be an ``nn.Sequential``, or one of others, that begins with a convolution and holds
    convolutions, pooling, activations, ``Flatten`` and linear layers of torch's own classes, each
    once and without hooks.
    """
    if type(module) is not nn.Sequential:
        return None
    layers = list(_listed(module, ""))
    if not layers or type(layers[0][1]) is not nn.Conv2d:
        return None
    n_own = sum(len(list(layer.parameters())) for _, layer in layers)
    is_shared = n_own != len(list(module.parameters())) or any(
        len(part) != len(list(part.children()))
        for part in module.modules()
        if isinstance(part, nn.Sequential)
    )
    is_hooked = any(
        layer._forward_hooks or layer._forward_pre_hooks  # pyright: ignore[reportPrivateUsage]
        for layer in module.modules()
    )
    if is_shared or is_hooked or not all(_is_known(layer) for _, layer in layers):
        return None
    return ConvolutionStack(layers)


def _listed(module: nn.Module, prefix: str) -> Iterator[tuple[str, nn.Module]]:
    """Yield the layers of a sequence with their names, those of inner ones in their place."""
    for name, layer in module.named_children():
        if type(layer) is nn.Sequential:
            yield from _listed(layer, f"{prefix}{name}.")
        else:
            yield prefix + name, layer


def _is_known(layer: nn.Module) -> bool:
    kind = type(layer)
    if isinstance(layer, nn.Conv2d):
        is_plain = layer.groups == 1 and layer.padding_mode == "zeros"
        return kind is nn.Conv2d and is_plain and not isinstance(layer.padding, str)
    if isinstance(layer, nn.MaxPool2d):
        is_plain = not (layer.return_indices or layer.ceil_mode)
        return is_plain and _pair(layer.padding) == (0, 0) and _pair(layer.dilation) == (1, 1)
    if isinstance(layer, nn.AvgPool2d):
        is_plain = not layer.ceil_mode and layer.divisor_override is None
        return is_plain and _pair(layer.padding) == (0, 0)
    if isinstance(layer, nn.Flatten):
        return (layer.start_dim, layer.end_dim) == (1, -1)
    return kind is nn.Linear or kind in _ELEMENTWISE or kind in _DROPOUT


def _pooled_first(layers: list[tuple[str, nn.Module]]) -> list[tuple[str, nn.Module]]:
    """Let the greatest be taken before it is rectified: the same numbers, of which fewer."""
    layers = [item for item in layers if type(item[1]) not in (nn.Identity, *_DROPOUT)]
    for k in range(len(layers) - 1):
        if type(layers[k][1]) is nn.ReLU and type(layers[k + 1][1]) is nn.MaxPool2d:
            layers[k], layers[k + 1] = layers[k + 1], layers[k]
    return layers


def _applied(layer: nn.Module, name: str, values: Values, activity: torch.Tensor) -> torch.Tensor:
    """Return the activity (…, examples) after one layer."""
    if isinstance(layer, nn.Conv2d):
        return _product(*_patches(activity, layer), values, name)
    if isinstance(layer, nn.Linear):
        return _product(activity, activity.shape[1:], values, name)
    if isinstance(layer, nn.MaxPool2d | nn.AvgPool2d):
        return _pooled(layer, activity)
    if isinstance(layer, nn.Flatten):
        return activity.flatten(0, -2)
    return torch.relu_(activity) if isinstance(layer, nn.ReLU) else layer(activity)


def _product(
    patches: torch.Tensor, size: tuple[int, ...], values: Values, name: str
) -> torch.Tensor:
    """Return weights times patches (inputs, …) plus biases, (outputs, *size)."""
    weight, bias = values[f"{name}.weight"], values.get(f"{name}.bias")
    rows = weight.flatten(1)
    if bias is None:
        return (rows @ patches).view(-1, *size)
    return torch.addmm(bias[:, None], rows, patches).view(-1, *size)


def _patches(activity: torch.Tensor, layer: nn.Conv2d) -> tuple[torch.Tensor, tuple[int, ...]]:
    """Return what lies under a kernel, (channels rows columns of it, places), and the places."""
    down, right = (int(width) for width in cast(tuple[int, int], layer.padding))
    if down or right:
        activity = functional.pad(activity, (0, 0, right, right, down, down))
    size, stride = _pair(layer.kernel_size), _pair(layer.stride)
    windows = _windows(activity, size, stride, _pair(layer.dilation))
    return windows.reshape(activity.shape[0] * size[0] * size[1], -1), tuple(windows.shape[3:])


def _pooled(layer: nn.MaxPool2d | nn.AvgPool2d, activity: torch.Tensor) -> torch.Tensor:
    """Return the greatest or the mean under each window."""
    size = _pair(layer.kernel_size)
    windows = _windows(activity, size, _pair(layer.stride), (1, 1))
    parts = [windows[:, i, j] for i in range(size[0]) for j in range(size[1])]
    found = parts[0].clone()
    for part in parts[1:]:
        if isinstance(layer, nn.MaxPool2d):
            torch.maximum(found, part, out=found)
        else:
            found += part
    return found if isinstance(layer, nn.MaxPool2d) else found.div_(len(parts))


def _windows(
    activity: torch.Tensor, size: tuple[int, int], stride: tuple[int, int], step: tuple[int, int]
) -> torch.Tensor:
    """Return a view (channels, *size, places down, places right, examples) of an activity."""
    channels, height, width, n = activity.shape
    places = [
        (length - along * (k - 1) - 1) // by + 1
        for length, k, by, along in zip((height, width), size, stride, step, strict=True)
    ]
    c, down, right, example = activity.stride()
    strides = (c, down * step[0], right * step[1], down * stride[0], right * stride[1], example)
    return activity.as_strided((channels, *size, *places, n), strides)


def _pair(value: Any) -> tuple[int, int]:
    first, second = (value, value) if isinstance(value, int) else value
    return int(first), int(second)
