"""Many members of a population computed at once: one module, a set of weights for each."""

from __future__ import annotations

import copy
import logging
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from evosearch.errors import InputError
from evosearch.modules.weights import Weights

if TYPE_CHECKING:
    import torch

    from evosearch.modules.convolution import ConvolutionStack

logger = logging.getLogger(__name__)

Compute: TypeAlias = Callable[..., Any]
"""``compute(call, *own, *shared)``: the result of one member, whose module is ``call``."""
Job: TypeAlias = "Callable[[Chunk, int], torch.Tensor]"
"""``job(chunk, n)``: the results (n, …) of the n members of a chunk."""

# Members computed at a time on a processor, where more gain nothing, and on a device; fewer where
# what their layers put out is more than this many bytes, or than half of what is free on a device.
CHUNK, CHUNK_ON_DEVICE = 64, 4096
_BYTES = 2**29


class Members:
    """Computes a function of a module for many sets of weights.

    ``torch.func`` does all members of a chunk at once; on a processor a stack of convolutions has
    a faster way, see ``ConvolutionStack``. A module that it cannot do, whose way
    depends on numbers, say, is called for one member after the other, with the same values to
    rounding. Members are dealt to as many threads as torch has, each with a copy of the module
    and one thread of torch's, so that results depend neither on threads nor on chunks (on a CUDA
    device, on chunks in the last digits). A chunk that does not fit into the memory is halved.

    Args:
        module: any module in a state without random numbers; it is copied, not changed.
        weights: which of its parameters differ between members.
        compute: what is computed of one member, a tensor.
        device: where, such as ``cpu`` or ``cuda``.
        chunk: members at a time; None: as many as fit into 512 MB up to 64, or on another device
            into half of its free memory up to 4,096.
        n_threads: threads on a processor; None: as many as torch has.

    Attributes:
        chunk: members at a time, after it was halved where it had to be.

    Raises:
        InputError: the module draws random numbers or changes itself when it is called.
    """

    def __init__(
        self,
        module: torch.nn.Module,
        weights: Weights,
        compute: Compute,
        *,
        device: str = "cpu",
        chunk: int | None = None,
        n_threads: int | None = None,
    ) -> None:
        import torch

        refuse_changing(module)
        self._weights, self._compute, self._device = weights, compute, device
        is_cpu = torch.device(device).type == "cpu"
        self._is_chunk_given = chunk is not None
        self.chunk = chunk or (CHUNK if is_cpu else CHUNK_ON_DEVICE)
        n_workers = (n_threads or torch.get_num_threads()) if is_cpu else 1
        self._modules = [copy.deepcopy(module).to(device) for _ in range(n_workers)]
        self._is_vectorised = True
        self._stack: ConvolutionStack | None = None

    def prepare(self, *shared: Any, own: tuple[Any, ...] = ()) -> torch.Tensor:
        """Try the module's own weights, and whether members can be vectorised; return the result.

        Args:
            shared: arguments that all members have in common.
            own: further tensors (1, …), before them, of the member itself.

        Raises:
            InputError: the module or the function cannot do it with these arguments.
        """
        import torch

        module, point = self._modules[0], self._weights.x0[None]
        versions = {name: value._version for name, value in module.named_buffers()}
        size = _Size(module)
        try:
            result = self._chunk_of(module, point, is_vectorised=False)(*shared, own=own)[0]
        except InputError:
            raise
        except Exception as error:
            raise InputError(f"the module cannot be scored on this data: {_line(error)}") from error
        finally:
            size.forget()
        if not self._is_chunk_given:
            room = _room(self._device) // len(self._modules)
            self.chunk = max(1, min(self.chunk, room // max(1, size.n_bytes)))
        for name, value in module.named_buffers():
            if value._version != versions[name]:
                raise InputError(
                    f"the module changes its buffer {name!r} when it is called; call "
                    "module.eval(), or leave out the layer that does."
                )
        try:
            self._chunk_of(module, point, is_vectorised=True)(*shared, own=own)
        except Exception as error:
            if "randomness" in str(error):
                raise InputError(
                    "the module draws random numbers when it is called; call module.eval()."
                ) from error
            self._is_vectorised = False
            logger.info(
                "members are computed one by one, for torch.func cannot vectorise the module: %s",
                _line(error),
            )
        if self._is_vectorised and not own and torch.device(self._device).type == "cpu":
            self._stack = self._checked_stack(shared, result)
        return result

    def _checked_stack(
        self, shared: tuple[Any, ...], result: torch.Tensor
    ) -> ConvolutionStack | None:
        """Return the stack that the module is, where it gives the same result."""
        import torch

        from evosearch.modules.convolution import stack_of

        module = self._modules[0]
        self._stack = stack_of(module)
        if self._stack is None:
            return None
        try:
            point = self._weights.x0[None]
            found = self._chunk_of(module, point, is_vectorised=True)(*shared)[0]
        except Exception as error:
            logger.info("the stack of convolutions is not used: %s", _line(error))
            return None
        is_same = torch.allclose(found, result, rtol=1e-3, atol=1e-4, equal_nan=True)
        return self._stack if is_same else None

    def map(self, points: NDArray[Any], job: Job) -> torch.Tensor:
        """Return the results (n, …) of a job on n points (n, dimension), on the CPU."""
        import torch

        n_workers = min(len(self._modules), len(points))
        edges = np.linspace(0, len(points), n_workers + 1).astype(int).tolist()
        work = [
            (module, points[start:end])
            for module, start, end in zip(self._modules, edges, edges[1:], strict=False)
        ]
        if len(self._modules) == 1:
            parts = [self._results(self._modules[0], points, job)]
        else:
            with _one_thread_each(n_workers) as pool:
                parts = list(pool.map(lambda item: self._results(item[0], item[1], job), work))
        return torch.cat([rows for part in parts for rows in part])

    def _results(
        self, module: torch.nn.Module, points: NDArray[Any], job: Job
    ) -> list[torch.Tensor]:
        """Return the results of points chunk by chunk."""
        found: list[torch.Tensor] = []
        start = 0
        while start < len(points):
            size = self.chunk
            part = points[start : start + size]
            try:
                chunk = self._chunk_of(module, part, is_vectorised=self._is_vectorised)
                found.append(job(chunk, len(part)).cpu())
                start += size
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
                if size == 1:
                    raise InputError("one member alone does not fit into the memory.") from error
                self.chunk = min(self.chunk, max(1, size // 2))
        return found

    def _chunk_of(
        self, module: torch.nn.Module, points: NDArray[Any], *, is_vectorised: bool
    ) -> Chunk:
        stacked = self._weights.stacked(points, self._device)
        stack = self._stack if is_vectorised else None
        return Chunk(module, stacked, self._compute, is_vectorised=is_vectorised, stack=stack)


class Chunk:
    """Members that are computed together; call it with the arguments of ``compute``.

    Args:
        module: the module.
        parameters: of each name the values (n, …) of the members.
        compute: what is computed of one member.
        is_vectorised: whether all at once, or one after the other.
        stack: what computes the outputs for inputs that all share, where there is something
            faster than the module.
    """

    def __init__(
        self,
        module: torch.nn.Module,
        parameters: dict[str, torch.Tensor],
        compute: Compute,
        *,
        is_vectorised: bool,
        stack: ConvolutionStack | None = None,
    ) -> None:
        self._module, self._parameters, self._stack = module, parameters, stack
        self._compute, self._is_vectorised = compute, is_vectorised

    @property
    def device(self) -> torch.device:
        """Where its members lie."""
        return next(iter(self._parameters.values())).device

    def __call__(self, *shared: Any, own: tuple[Any, ...] = ()) -> torch.Tensor:
        """Return the results (n, …) for arguments of all, and ``own`` (n, …) of each member."""
        import torch

        with torch.no_grad():
            if self._stack is not None and not own:
                outputs = self._stack(self._parameters, shared[0])
                in_dims = (0, *(None for _ in shared))
                return torch.func.vmap(self._given, in_dims=in_dims)(outputs, *shared)
            if self._is_vectorised:
                in_dims = (0, *(0 for _ in own), *(None for _ in shared))
                return torch.func.vmap(self._one, in_dims=in_dims)(self._parameters, *own, *shared)
            n = len(next(iter(self._parameters.values())))
            rows = [
                self._one(
                    {name: value[k] for name, value in self._parameters.items()},
                    *(item[k] for item in own),
                    *shared,
                )
                for k in range(n)
            ]
            return torch.stack([torch.as_tensor(row) for row in rows])

    def _given(self, outputs: torch.Tensor, inputs: Any, *others: Any) -> Any:
        """Compute the result of one member from what it puts out."""

        def call(*arguments: Any) -> torch.Tensor:
            if len(arguments) != 1 or arguments[0] is not inputs:
                raise ValueError("the module is called with something else than the inputs")
            return outputs

        return self._compute(call, inputs, *others)

    def _one(self, parameters: dict[str, torch.Tensor], *arguments: Any) -> Any:
        from torch.func import functional_call

        def call(*inputs: Any) -> Any:
            return functional_call(self._module, parameters, inputs)

        return self._compute(call, *arguments)


class _Size:
    """Adds up what the layers of a module put out while it is called."""

    def __init__(self, module: torch.nn.Module) -> None:
        self.n_bytes = 0
        self._handles = [layer.register_forward_hook(self._add) for layer in module.modules()]

    def forget(self) -> None:
        """Leave the module as it was."""
        for handle in self._handles:
            handle.remove()

    def _add(self, layer: Any, inputs: Any, outputs: Any) -> None:
        for value in outputs if isinstance(outputs, tuple) else (outputs,):
            self.n_bytes += getattr(value, "nbytes", 0)


def _room(device: str) -> int:
    """Return the bytes that the members of a chunk may take."""
    import torch

    if torch.device(device).type != "cuda":
        return _BYTES
    return torch.cuda.mem_get_info(device)[0] // 2


def refuse_changing(module: torch.nn.Module) -> None:
    """Refuse layers that draw random numbers or change their buffers in training mode.

    Raises:
        InputError: there is one; the message names it.
    """
    from torch import nn

    dropping = (nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d)
    dropping += (nn.AlphaDropout, nn.FeatureAlphaDropout)
    counting = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)
    counting += (nn.InstanceNorm1d, nn.InstanceNorm2d, nn.InstanceNorm3d)
    for name, layer in module.named_modules():
        if not layer.training:
            continue
        is_random = isinstance(layer, dropping) and layer.p > 0.0
        rate = getattr(layer, "dropout", 0.0)
        is_random |= isinstance(layer, nn.RReLU) or (isinstance(rate, float) and rate > 0.0)
        is_changing = isinstance(layer, counting) and layer.track_running_stats
        if is_random or is_changing:
            does = "draws random numbers" if is_random else "changes its running statistics"
            raise InputError(
                f"layer {name or 'itself'!r} ({type(layer).__name__}) of the module {does} in "
                "training mode; call module.eval()."
            )


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory ran out, on a device or beside it."""
    text = str(error)
    return isinstance(error, MemoryError) or any(
        phrase in text for phrase in ("out of memory", "not enough memory", "can't allocate memory")
    )


@contextmanager
def _one_thread_each(n_workers: int) -> Generator[ThreadPoolExecutor]:
    """Provide threads for which torch uses one thread each, and put its number back."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with ThreadPoolExecutor(
            n_workers, initializer=torch.set_num_threads, initargs=(1,)
        ) as pool:
            yield pool
    finally:
        torch.set_num_threads(before)


def _line(error: BaseException) -> str:
    """Return the first line of an error's message."""
    lines = str(error).strip().splitlines()
    return lines[0].rstrip(".") + "." if lines else f"{type(error).__name__}."
