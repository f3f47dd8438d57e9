"""Any optimizer of ``torch.optim`` as the step of a search; its state is plain arrays."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from evosearch.errors import InputError, unknown_name
from evosearch.outcome import FloatArray

if TYPE_CHECKING:
    import torch

OptimizerOption: TypeAlias = bool | int | float | tuple[float, ...]

# What the search decides: the learning rate, and that fitness is climbed.
_OWN = ("lr", "params", "maximize")


class TorchOptimizer:
    """Climbs with an optimizer of torch, in float64 and on one thread, so that bits are fixed.

    Args:
        name: of a class of ``torch.optim``, in small letters or as it is written there.
        dimension: numbers in a point.
        options: settings of that class, such as ``{"alpha": 0.9}``.

    Raises:
        InputError: torch has no such optimizer, or one that takes no steps along the gradient of a
            vector alone; or an option is unknown to it or out of range.
    """

    def __init__(
        self, name: str, dimension: int, options: Mapping[str, OptimizerOption] | None = None
    ) -> None:
        self._class: Any = _class_called(name)
        self._options = dict(options or {})
        for option in _OWN:
            if option in self._options:
                raise InputError(f"optimizer {name!r}: {option} is the search's to set, no option.")
        try:
            self._start(1)
            self.moved(np.zeros(1), np.ones(1), rate=0.1)
        except Exception as error:
            line = (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")
            raise InputError(f"optimizer {name!r} with {self._options}: {line}.") from error
        self._start(dimension)

    def moved(self, mean: FloatArray, gradient: FloatArray, *, rate: float) -> FloatArray:
        """Return where a step uphill from ``mean`` (d,) leads, for a gradient (d,)."""
        import torch

        with torch.no_grad():
            self._point.copy_(torch.from_numpy(mean))
        # Optimizers of torch descend.
        self._point.grad = torch.from_numpy(-gradient)
        self._optimizer.param_groups[0]["lr"] = rate
        with _one_thread():
            self._optimizer.step()
        return self._point.detach().numpy().copy()

    def state_dict(self) -> dict[str, Any]:
        """Return what the optimizer remembers: arrays, numbers and None.

        ``single`` names the tensors without an axis, which a run would read back as plain numbers.
        """
        import torch

        values = self._optimizer.state.get(self._point, {})
        tensors = {name: one for name, one in values.items() if isinstance(one, torch.Tensor)}
        arrays = {name: one.detach().numpy().reshape(-1).copy() for name, one in tensors.items()}
        single = [name for name, one in tensors.items() if one.ndim == 0]
        return {**values, **arrays, "single": single}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on as the optimizer that wrote ``state``."""
        import torch

        self._start(len(self._point))
        values = dict(state)
        single = values.pop("single")
        for name, value in values.items():
            if isinstance(value, np.ndarray):
                tensor = torch.from_numpy(np.array(value))
                values[name] = tensor[0] if name in single else tensor
        if values:
            self._optimizer.state[self._point] = values

    def _start(self, dimension: int) -> None:
        import torch

        self._point = torch.zeros(dimension, dtype=torch.float64, requires_grad=True)
        self._optimizer: Any = self._class([self._point], lr=0.1, **self._options)


def _class_called(name: str) -> type[torch.optim.Optimizer]:
    from torch import optim

    classes = {
        found.lower(): cls
        for found, cls in vars(optim).items()
        if isinstance(cls, type) and issubclass(cls, optim.Optimizer) and cls is not optim.Optimizer
    }
    if name.lower() not in classes:
        raise unknown_name("optimizer", name, classes)
    return classes[name.lower()]


@contextmanager
def _one_thread() -> Generator[None]:
    """Let torch compute on one thread: some optimizers add up norms, whose bits depend on it."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
