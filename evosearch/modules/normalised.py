"""A policy that sees normalised observations."""

from __future__ import annotations

from typing import Any

import torch

from evosearch.outcome import FloatArray


class Normalised(torch.nn.Module):
    """Subtracts a mean from observations and divides them by a scale before a module sees them.

    Its buffers are called ``mean`` and ``scale``, so that a state dict which was saved loads into
    ``Normalised(policy, n_observations)``.

    Args:
        policy: takes observations (n, k).
        n_observations: k.
        dtype: what observations are turned to; None: that of the policy's first parameter.
    """

    mean: torch.Tensor
    scale: torch.Tensor

    def __init__(
        self, policy: torch.nn.Module, n_observations: int, dtype: torch.dtype | None = None
    ) -> None:
        super().__init__()
        dtype = dtype or next(policy.parameters()).dtype
        self.policy = policy
        self.register_buffer("mean", torch.zeros(n_observations, dtype=dtype))
        self.register_buffer("scale", torch.ones(n_observations, dtype=dtype))

    def set(self, mean: FloatArray, scale: FloatArray) -> None:
        """Take over a mean and a scale (k,)."""
        self.mean.copy_(torch.from_numpy(mean))
        self.scale.copy_(torch.from_numpy(scale))

    def forward(self, seen: torch.Tensor) -> Any:
        """Return what the policy puts out for observations (n, k)."""
        return self.policy((seen.to(self.mean.dtype) - self.mean) / self.scale)
