"""The weights of a torch module as one flat vector of float64, and back."""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from evosearch.errors import InputError
from evosearch.outcome import FloatArray

if TYPE_CHECKING:
    import torch

# Of the size of the starting weights, see ``Weights.sigma0``.
_RELATIVE_STEP, _SMALLEST_STEP = 0.3, 0.02


class Weights:
    """Which parameters of a module a search moves, and where they lie in a vector.

    Args:
        module: any module; it is read, not changed.
        names: names of parameters, or patterns such as ``"head.*"``; None: all parameters, those
            that need no gradient too.

    Raises:
        InputError: the module has no parameters, a pattern fits none, or a parameter is not of
            finite real numbers.
    """

    def __init__(self, module: torch.nn.Module, names: Sequence[str] | None = None) -> None:
        parameters = _chosen(dict(module.named_parameters()), names)
        self.names = tuple(parameters)
        self.shapes = tuple(tuple(value.shape) for value in parameters.values())
        self._types = tuple(value.dtype for value in parameters.values())
        for name, value in parameters.items():
            if not value.is_floating_point():
                raise InputError(f"parameter {name!r} is of {value.dtype}; it must be real.")
            if not value.isfinite().all():
                raise InputError(f"parameter {name!r} holds a number that is not finite.")
        self.x0: FloatArray = np.concatenate(
            [value.detach().cpu().double().numpy().ravel() for value in parameters.values()]
        )

    @property
    def dimension(self) -> int:
        """Numbers in a vector."""
        return len(self.x0)

    @property
    def dtype(self) -> torch.dtype:
        """Type of the numbers that the module computes with, that of its first parameter."""
        return self._types[0]

    @property
    def sigma0(self) -> float:
        """Size of the first steps: 0.3 times the root mean square of the starting weights.

        Layers are initialised to about 1 / sqrt(inputs), so that steps of this relative size change
        what a layer puts out by a third of its size, whatever its width. 0.02, as Salimans et al.
        2017 have it, where all weights start at 0.
        """
        size = math.sqrt(float((self.x0**2).mean()))
        return _RELATIVE_STEP * size if size > 0.0 else _SMALLEST_STEP

    def stacked(self, points: NDArray[Any], device: str) -> dict[str, torch.Tensor]:
        """Return the parameters (n, …) that n points (n, dimension) stand for."""
        import torch

        flat = torch.as_tensor(points, device=device)
        parts = flat.split([math.prod(shape) for shape in self.shapes], dim=1)
        return {
            name: part.to(dtype).unflatten(1, shape) if shape else part.to(dtype).squeeze(1)
            for name, part, shape, dtype in zip(
                self.names, parts, self.shapes, self._types, strict=True
            )
        }

    def loaded(self, module: torch.nn.Module, vector: FloatArray) -> torch.nn.Module:
        """Return a copy of the module with the weights of a vector (dimension,)."""
        import torch

        found = copy.deepcopy(module)
        values = self.stacked(vector[None], "cpu")
        with torch.no_grad():
            for name, parameter in found.named_parameters():
                if name in values:
                    parameter.copy_(values[name][0])
        return found


def _chosen(
    parameters: dict[str, torch.nn.Parameter], names: Sequence[str] | None
) -> dict[str, torch.nn.Parameter]:
    patterns = ("*",) if names is None else tuple(names)
    for pattern in patterns:
        if not any(fnmatchcase(name, pattern) for name in parameters):
            if pattern == "*" or not parameters:
                raise InputError("the module has no parameters, so there is nothing to search.")
            known = ", ".join(parameters)
            raise InputError(f"no parameter of the module fits {pattern!r}. Known: {known}.")
    if not patterns:
        raise InputError("parameters is empty; it must name at least one, or be None for all.")
    return {
        name: value
        for name, value in parameters.items()
        if any(fnmatchcase(name, pattern) for pattern in patterns)
    }
