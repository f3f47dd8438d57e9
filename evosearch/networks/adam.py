"""The gradient reference: a network trained by backpropagation and Adam."""

from __future__ import annotations

import numpy as np

from evosearch.data import Examples
from evosearch.networks.mlp import Mlp
from evosearch.networks.torch_forward import dense_logits
from evosearch.outcome import FloatArray


def train_adam(
    network: Mlp,
    train: Examples,
    start: FloatArray,
    *,
    epochs: int,
    rate: float = 1e-3,
    batch: int = 128,
    seed: int = 0,
) -> FloatArray:
    """Train by the gradient of the cross-entropy, in float32 on one core.

    Args:
        network: says how the weights make a network.
        train: what is learned; its order is shuffled anew each epoch.
        start: (d,) the first weights.
        epochs: passes over the examples.
        rate: learning rate; falls to 0 along a cosine over all steps.
        batch: examples a step; the last ones of an epoch that do not fill one are left out.
        seed: of the order of examples.

    Returns:
        The last weights (d,).
    """
    import torch

    n_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        weights = torch.tensor(start, dtype=torch.float32, requires_grad=True)
        inputs, labels = (
            torch.from_numpy(train.inputs.copy()),
            torch.from_numpy(train.labels.copy()),
        )
        n_steps = max(1, len(train) // batch)
        optimizer = torch.optim.Adam([weights], lr=rate)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs * n_steps)
        rng = np.random.default_rng([seed, len(train)])
        for _ in range(epochs):
            order = torch.from_numpy(rng.permutation(len(train)))
            for chosen in order.split(batch)[:n_steps]:
                optimizer.zero_grad()
                logits = dense_logits(network, weights[None], inputs[chosen])[0]
                torch.nn.functional.cross_entropy(logits, labels[chosen]).backward()
                optimizer.step()
                schedule.step()
        return weights.detach().numpy().astype(np.float64)
    finally:
        torch.set_num_threads(n_threads)
