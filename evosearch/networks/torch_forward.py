"""The same forward passes in torch, for devices that the compiled code does not run on."""

from __future__ import annotations

from typing import Any

import numpy as np

from evosearch.networks.mlp import Batch, Mlp
from evosearch.networks.vectors import LANES
from evosearch.outcome import FloatArray
from evosearch.parted import PartedLowRank
from evosearch.populations import LowRank

# Candidates at a time whose weights are written out; part of what is computed on a device.
_BLOCK = 64


def score_on_device(
    network: Mlp, points: FloatArray | LowRank, batch: Batch, measure: str, device: str
) -> FloatArray:
    """Return the mean of a measure, (n,), as ``Mlp.score`` does, computed by torch.

    A population of low rank is never written out whole: perturbations act on the activities.

    Args:
        network: says how weights make a network.
        points: (n, d), or a population of low rank.
        batch: examples that all candidates see.
        measure: ``cross-entropy``, negated, or ``accuracy``.
        device: a torch device, such as ``cuda``.
    """
    import torch

    with torch.no_grad():
        x, y = _examples(network, batch, device)
        if isinstance(points, LowRank) and not isinstance(points, PartedLowRank):
            return _numbers(_measured(_low_rank_logits(network, points, x), y, measure))
        found: list[FloatArray] = []
        for start in range(0, len(points), _BLOCK):
            block: Any = points[start : start + _BLOCK]
            rows = block.dense() if isinstance(block, LowRank) else block
            weights = torch.tensor(np.asarray(rows), dtype=x.dtype, device=x.device)
            found.append(_numbers(_measured(dense_logits(network, weights, x), y, measure)))
        return np.concatenate(found)


def _examples(network: Mlp, batch: Batch, device: str) -> tuple[Any, Any]:
    import torch

    kind = torch.float32 if network.dtype == np.float32 else torch.float64
    rows = [
        flat.reshape(-1, width, LANES).transpose(0, 2, 1).reshape(-1, width)[: batch.n_examples]
        for flat, width in (
            (batch.inputs, network.sizes[0]),
            (batch.is_label, network.sizes[-1]),
        )
    ]
    x = torch.tensor(rows[0], dtype=kind, device=device)
    return x, torch.tensor(rows[1].argmax(axis=1), device=device)


def _activated(network: Mlp, z: Any) -> Any:
    import torch

    functions: dict[str, Any] = {
        "tanh": torch.tanh,
        "relu": torch.relu,
        "sigmoid": torch.sigmoid,
        "softplus": torch.nn.functional.softplus,
    }
    return functions[network.activation](z)


def dense_logits(network: Mlp, weights: Any, x: Any) -> Any:
    """Return the logits (n, examples, classes); the first layer is one product for all."""
    n, activity = len(weights), x
    for k, (n_in, n_out, w0, b0, _) in enumerate(network.layers.tolist()):
        matrix = weights[:, w0:b0].reshape(n, n_out, n_in)
        bias = weights[:, b0 : b0 + n_out]
        if k == 0:
            flat = x @ matrix.reshape(n * n_out, n_in).T
            z = flat.reshape(len(x), n, n_out).transpose(0, 1) + bias[:, None]
        else:
            z = (_activated(network, activity) @ matrix.transpose(1, 2)) + bias[:, None]
        activity = z
    return activity


def _low_rank_logits(network: Mlp, points: LowRank, x: Any) -> Any:
    """Return the logits (2k, examples, classes) without any candidate's weights."""
    import torch

    def sent(array: Any) -> Any:
        return torch.tensor(np.asarray(array), dtype=x.dtype, device=x.device)

    mean = sent(points.mean)
    pairs = torch.tensor([1.0, -1.0], dtype=x.dtype, device=x.device) * points.sigma
    signs = pairs.repeat(len(points.left[0]))[:, None, None]
    activity: Any = x[None]
    for k, (n_in, n_out, w0, b0, _) in enumerate(network.layers.tolist()):
        if k > 0:
            activity = _activated(network, activity)
        left, right, bias = (
            sent(array).repeat_interleave(2, dim=0)
            for array in (points.left[2 * k], points.right[2 * k], points.left[2 * k + 1])
        )
        z = activity @ mean[w0:b0].reshape(n_out, n_in).T + mean[b0 : b0 + n_out]
        inner = activity @ right.transpose(1, 2) / left.shape[1] ** 0.5
        activity = z + signs * (inner @ left + bias)
    return activity


def _measured(logits: Any, y: Any, measure: str) -> Any:
    """Return the mean over examples (n,) of logits (n, examples, classes)."""
    import torch

    if measure == "cross-entropy":
        flat = torch.log_softmax(logits, dim=2)
        return flat.gather(2, y.expand(len(logits), -1)[:, :, None])[:, :, 0].double().mean(dim=1)
    picked = logits.gather(2, y.expand(len(logits), -1)[:, :, None])
    return ((logits >= picked).sum(dim=2) == 1).double().mean(dim=1)


def _numbers(values: Any) -> FloatArray:
    return values.cpu().numpy().astype(np.float64)
