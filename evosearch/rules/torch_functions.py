"""The primitives on torch tensors; the only module of rules that imports torch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from evosearch.engine.program import Op
from evosearch.rules.primitives import PRIMITIVES, SINE_LIMIT

Tensor = torch.Tensor


def _log(a: Tensor) -> Tensor:
    size = a.abs()
    return torch.where(size == 0, torch.zeros_like(size), torch.log(size))


def _divide(a: Tensor, b: Tensor) -> Tensor:
    is_zero = b == 0
    value = a / torch.where(is_zero, torch.ones_like(b), b)
    return torch.where(is_zero, torch.zeros_like(value), value)


def _power(a: Tensor, b: Tensor) -> Tensor:
    value = torch.exp(b * _log(a))
    return torch.where((a == 0).expand_as(value), torch.zeros_like(value), value)


def _sin(a: Tensor) -> Tensor:
    return torch.where(a.abs() > SINE_LIMIT, torch.zeros_like(a), torch.sin(a))


BY_OP: dict[int, Callable[..., Tensor]] = {
    Op.ADD: torch.add,
    Op.SUB: torch.sub,
    Op.MUL: torch.mul,
    Op.DIV: _divide,
    Op.MAX: lambda a, b: torch.where(a > b, a, b),
    Op.MIN: lambda a, b: torch.where(a < b, a, b),
    Op.POW: _power,
    Op.NEG: torch.neg,
    Op.SQUARE: lambda a: a * a,
    Op.ABS: torch.abs,
    Op.SIGN: lambda a: (a > 0).to(a.dtype) - (a < 0).to(a.dtype),
    Op.SQRT: lambda a: a.abs().sqrt(),
    Op.EXP: torch.exp,
    Op.LOG: _log,
    Op.TANH: torch.tanh,
    Op.SIGMOID: torch.sigmoid,
    Op.SIN: _sin,
    Op.SOFTPLUS: lambda a: a.clamp(min=0) + torch.log1p(torch.exp(-a.abs())),
}


def torch_function(name: str) -> Callable[..., Tensor]:
    """Return the primitive on tensors; numbers beside a tensor become like it."""
    function = BY_OP[PRIMITIVES[name].op]

    def on_tensors(*operands: Any) -> Tensor:
        like = next(operand for operand in operands if isinstance(operand, torch.Tensor))
        return function(
            *(torch.as_tensor(o, dtype=like.dtype, device=like.device) for o in operands)
        )

    return on_tensors
