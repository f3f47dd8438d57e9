"""Examples for training: checked once, and the batch of each generation."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from evosearch.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Generator

    import torch

Batch: TypeAlias = "tuple[torch.Tensor, torch.Tensor]"

# Keeps the draws of batches apart from other uses of the same seed.
_STREAM = 0xBA7C4
# Examples computed at a time where all of them are.
_AT_A_TIME = 4096


class Examples:
    """Inputs and targets in memory; each generation has all of them, or a batch drawn for it.

    A batch is a function of the seed and the generation, the same for the whole population.

    Args:
        inputs: (n, …) tensor or array.
        targets: (n, …) tensor or array.
        batch: examples of a generation; None: all.
        seed: of the draws.
        device: where they are kept.
        dtype: what real numbers are turned to.

    Raises:
        InputError: no examples, as many inputs as targets not, a number that is not finite, or a
            batch larger than the data.
    """

    def __init__(
        self,
        inputs: Any,
        targets: Any,
        *,
        batch: int | None,
        seed: int,
        device: str,
        dtype: torch.dtype,
    ) -> None:
        self._inputs = checked("inputs", inputs, dtype)
        self._targets = checked("targets", targets, dtype)
        n = len(self._inputs)
        if len(self._targets) != n:
            raise InputError(
                f"data has {n} inputs, but {len(self._targets)} targets; each needs the other."
            )
        if batch is not None and not 1 <= batch <= n:
            raise InputError(f"batch is {batch}; it must be from 1 to the {n} examples.")
        self._inputs, self._targets = self._inputs.to(device), self._targets.to(device)
        self._batch, self._seed = batch, seed

    @property
    def is_fresh(self) -> bool:
        """Whether generations have different examples."""
        return self._batch is not None and self._batch < len(self._inputs)

    def of_generation(self, generation: int) -> list[Batch]:
        """Return the examples of a generation, in one piece."""
        if self._batch is None or not self.is_fresh:
            return [(self._inputs, self._targets)]
        import torch

        rng = np.random.default_rng(np.random.SeedSequence([self._seed, generation, _STREAM]))
        chosen = rng.choice(len(self._inputs), self._batch, replace=False, shuffle=False)
        index = torch.from_numpy(np.sort(chosen)).to(self._inputs.device)
        return [(self._inputs[index], self._targets[index])]

    def all(self) -> list[Batch]:
        """Return all examples, in pieces where generations have batches."""
        if not self.is_fresh:
            return [(self._inputs, self._targets)]
        size = max(_AT_A_TIME, self._batch or 0)
        pieces = zip(self._inputs.split(size), self._targets.split(size), strict=True)
        return list(pieces)


class Batches:
    """Batches of an iterable such as a ``DataLoader``; each generation has the next one.

    It is begun again at its end. Random numbers of torch that it draws come from the seed, and
    torch's global generator is left as it was.

    Args:
        batches: yields (inputs, targets), each time that it is iterated over.
        seed: at least 0.
        device: where batches are moved to.
        dtype: what real numbers are turned to.

    Raises:
        InputError: it yields nothing, something else, or a number that is not finite.
    """

    is_fresh = True

    def __init__(
        self, batches: Iterable[Any], *, seed: int, device: str, dtype: torch.dtype
    ) -> None:
        import torch

        self._batches, self._device, self._dtype = batches, device, dtype
        self._state = torch.Generator().manual_seed(seed).get_state()
        self._iterator: Iterator[Any] | None = None
        self._generation, self._current = -1, self._next()
        self._generation = 0

    def of_generation(self, generation: int) -> list[Batch]:
        """Return the batch of a generation; they are asked for in order."""
        while self._generation < generation:
            self._current = self._next()
            self._generation += 1
        return [self._current]

    def all(self) -> list[Batch]:
        """Return all batches once."""
        with self._own_random_numbers():
            return [self._read(batch) for batch in self._batches]

    def _next(self) -> Batch:
        with self._own_random_numbers():
            for _ in range(2):
                if self._iterator is None:
                    self._iterator = iter(self._batches)
                for batch in self._iterator:
                    return self._read(batch)
                self._iterator = None
        raise InputError(
            "data yields no batches, or only once; it must be a pair of arrays, or something that "
            "can be iterated over again and again."
        )

    def _read(self, batch: Any) -> Batch:
        if not (isinstance(batch, list | tuple) and len(batch) == 2):
            raise InputError("data must yield pairs (inputs, targets).")
        inputs, targets = (
            checked(name, values, self._dtype)
            for name, values in zip(("inputs", "targets"), batch, strict=True)
        )
        return inputs.to(self._device), targets.to(self._device)

    @contextmanager
    def _own_random_numbers(self) -> Generator[None]:
        import torch

        with torch.random.fork_rng(devices=[]):
            torch.set_rng_state(self._state)
            yield
            self._state = torch.get_rng_state()


def read_data(
    data: Any, *, batch: int | None, seed: int, device: str, dtype: torch.dtype
) -> Examples | Batches:
    """Return what ``data`` holds: a pair of arrays, or batches.

    Raises:
        InputError: it is neither, or holds what cannot be trained on.
    """
    if isinstance(data, list | tuple) and len(data) == 2 and all(hasattr(x, "shape") for x in data):
        return Examples(*data, batch=batch, seed=seed, device=device, dtype=dtype)
    if batch is not None:
        raise InputError("batch is for a pair of arrays; batches that are given have their sizes.")
    if not hasattr(data, "__iter__"):
        raise InputError(
            f"data is of type {type(data).__name__}; it must be a pair (inputs, targets) of arrays "
            "or yield such pairs."
        )
    return Batches(data, seed=seed, device=device, dtype=dtype)


def checked(name: str, values: Any, dtype: torch.dtype) -> torch.Tensor:
    """Return values as a tensor of at least one example; finite real numbers as ``dtype``.

    Raises:
        InputError: they are not numbers, none, or not finite; the message names them.
    """
    import torch

    try:
        tensor = torch.as_tensor(values)
    except (TypeError, ValueError, RuntimeError):
        raise InputError(f"{name} must be a tensor or an array of numbers.") from None
    if tensor.ndim == 0 or len(tensor) == 0:
        raise InputError(f"{name} holds no examples; its shape is {tuple(tensor.shape)}.")
    if tensor.is_floating_point() and not bool(tensor.isfinite().all()):
        where = int((~tensor.isfinite()).reshape(len(tensor), -1).any(dim=1).nonzero()[0])
        raise InputError(f"{name} holds a number that is not finite, first in example {where}.")
    return tensor.to(dtype) if tensor.is_floating_point() else tensor


def takes_labels(loss: Callable[..., Any]) -> bool:
    """Whether a loss is one of torch's that take the numbers of classes."""
    import torch
    from torch.nn import functional

    kinds = (torch.nn.CrossEntropyLoss, torch.nn.NLLLoss)
    return loss in (functional.cross_entropy, functional.nll_loss) or isinstance(loss, kinds)


def check_labels(loss: Callable[..., Any], outputs: torch.Tensor, batches: Iterable[Batch]) -> None:
    """Refuse labels of a class that the module has no output for.

    Args:
        loss: one that takes labels.
        outputs: (n, classes, …) of a few examples.
        batches: all examples; targets that are real numbers are no labels.

    Raises:
        InputError: a label is below 0 or not below the number of classes.
    """
    if outputs.ndim < 2:
        return
    n_classes, ignored = outputs.shape[1], getattr(loss, "ignore_index", -100)
    for _, targets in batches:
        labels = targets[:0] if targets.is_floating_point() else targets[targets != ignored]
        wrong = labels[(labels < 0) | (labels >= n_classes)]
        if len(wrong):
            raise InputError(
                f"targets hold the label {int(wrong[0])}, but the module has {n_classes} outputs; "
                f"labels must be 0 to {n_classes - 1}."
            )
