"""Forward passes of a population of convolutional networks, beside ``torch.func`` in one call.

``OMP_NUM_THREADS=1 python benchmarks/weights/convolution.py`` prints a row for each size: networks
times examples a CPU second, this toolkit's way and ``vmap`` by turns, and the median ratio.
"""

from __future__ import annotations

import time

import numpy as np
import torch
from torch import nn
from torch.func import functional_call, vmap

from evosearch.modules.convolution import stack_of

N_TURNS = 7
SIZES = ((64, 32), (64, 256), (16, 256), (256, 16))


def lenet():
    """Return a network of 28 by 28 images with 5,994 weights."""
    return nn.Sequential(
        nn.Conv2d(1, 8, 5), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(8, 16, 5), nn.ReLU(),
        nn.MaxPool2d(2), nn.Flatten(), nn.Linear(256, 10),
    )  # fmt: skip


def cpu_s(function):
    """Return the CPU seconds of one call."""
    before = time.process_time()
    function()
    return time.process_time() - before


def compared(n, n_examples):
    """Return examples of all networks a CPU second, of both ways, the ratio, and the difference."""
    torch.manual_seed(0)
    module, x = lenet(), torch.randn(n_examples, 1, 28, 28)
    values = {
        key: value.detach() + 0.05 * torch.randn(n, *value.shape)
        for key, value in module.named_parameters()
    }
    stack = stack_of(module)

    def own():
        return stack(values, x)

    def by_vmap():
        return vmap(lambda one: functional_call(module, one, (x,)))(values)

    with torch.no_grad():
        away = float((own() - by_vmap()).abs().max())
        turns = np.array([(cpu_s(own), cpu_s(by_vmap)) for _ in range(N_TURNS)])
    rates = n * n_examples / np.median(turns, axis=0)
    return *rates, float(np.median(turns[:, 1] / turns[:, 0])), away


def main():
    torch.set_num_threads(1)
    print("| networks | examples | own, 1/s | vmap, 1/s | ratio | greatest difference |")
    print("|---|---|---|---|---|---|")
    for n, n_examples in SIZES:
        own, other, ratio, away = compared(n, n_examples)
        print(f"| {n} | {n_examples} | {own:,.0f} | {other:,.0f} | {ratio:.2f} | {away:.1e} |")


if __name__ == "__main__":
    main()
