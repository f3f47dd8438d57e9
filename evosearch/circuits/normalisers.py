"""What happens to a rule's increment before it stays in the weights; every step is local.

The increment is what one application of the rule adds, the mean over a minibatch. A normaliser
reads it and its own state at the same synapse, nothing else.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

from evosearch.circuits.base import Change
from evosearch.errors import unknown_name

if TYPE_CHECKING:
    from evosearch.engine.lifetime import Buffer, LifetimeBuilder

MOMENTUM = 0.9
LARGEST_CHANGE = 0.01
ADAM_MEAN, ADAM_SQUARE, ADAM_FLOOR = 0.9, 0.999, 1e-8


class Normaliser(ABC):
    """Turns the increments of a rule into changes of weights.

    Args:
        rate: learning rate, > 0.

    Attributes:
        is_active: whether it does anything, and so needs the weights from before the increment.
    """

    is_active: ClassVar[bool] = True

    def __init__(self, rate: float) -> None:
        self.rate = rate

    @property
    def eta(self) -> float:
        """The step size that the rule itself is applied with."""
        return self.rate

    @abstractmethod
    def state(self, b: LifetimeBuilder, matrix: Buffer) -> tuple[Buffer, ...]:
        """Declare what it remembers of the synapses of one matrix."""

    @abstractmethod
    def emit(self, b: LifetimeBuilder, change: Change, state: Sequence[Buffer]) -> None:
        """Emit the phases that put the change in place of the increment."""


class Plain(Normaliser):
    """The increment as it is: stochastic gradient descent, where the rule is the gradient."""

    is_active = False

    def state(self, b: LifetimeBuilder, matrix: Buffer) -> tuple[Buffer, ...]:
        """Remember nothing."""
        return ()

    def emit(self, b: LifetimeBuilder, change: Change, state: Sequence[Buffer]) -> None:
        """Leave the weights as the rule left them."""


class Clip(Normaliser):
    """No weight changes by more than .01 in one update."""

    def state(self, b: LifetimeBuilder, matrix: Buffer) -> tuple[Buffer, ...]:
        """Remember nothing."""
        return ()

    def emit(self, b: LifetimeBuilder, change: Change, state: Sequence[Buffer]) -> None:
        """Limit each change."""
        limit = LARGEST_CHANGE
        text = f"before + max(-{limit}, min({limit}, now - before))"
        b.map(change.now, text, before=change.before, now=change.now)


class Sign(Normaliser):
    """Each weight changes by the rate, in the direction of its increment."""

    @property
    def eta(self) -> float:
        """Return 1: only the direction of the increment counts."""
        return 1.0

    def state(self, b: LifetimeBuilder, matrix: Buffer) -> tuple[Buffer, ...]:
        """Remember nothing."""
        return ()

    def emit(self, b: LifetimeBuilder, change: Change, state: Sequence[Buffer]) -> None:
        """Change weights by the sign of the increment."""
        b.map(change.now, f"before + {self.rate!r}*sign(now - before)", before=change.before,
              now=change.now)  # fmt: skip


class Momentum(Normaliser):
    """Increments add up and decay by .9 an update (B. T. Polyak 1964)."""

    def state(self, b: LifetimeBuilder, matrix: Buffer) -> tuple[Buffer, ...]:
        """Remember one velocity a synapse."""
        return (b.matrix("velocity", matrix.n_out, matrix.n_in),)

    def emit(self, b: LifetimeBuilder, change: Change, state: Sequence[Buffer]) -> None:
        """Change weights by the velocity."""
        (velocity,) = state
        b.map(velocity, f"{MOMENTUM}*v + now - before", v=velocity, now=change.now,
              before=change.before)  # fmt: skip
        b.map(change.now, "before + v", before=change.before, v=velocity)


class Adam(Normaliser):
    """Mean increments over the root of their mean squares (D. P. Kingma, J. Ba, ICLR 2015)."""

    @property
    def eta(self) -> float:
        """Return 1: the rate comes after the division, which any factor before it cancels in."""
        return 1.0

    def state(self, b: LifetimeBuilder, matrix: Buffer) -> tuple[Buffer, ...]:
        """Remember two running means a synapse, and how far these are from full."""
        means = [b.matrix(name, matrix.n_out, matrix.n_in) for name in ("mean", "mean_square")]
        return (*means, b.scalar("fullness"), b.scalar("fullness_of_squares"))

    def emit(self, b: LifetimeBuilder, change: Change, state: Sequence[Buffer]) -> None:
        """Change weights by the corrected mean over the root of the corrected mean square."""
        mean, square, full, full_square = state
        for buffer, kept in ((full, ADAM_MEAN), (full_square, ADAM_SQUARE)):
            b.map(buffer, f"{kept}*u + {1 - kept!r}", u=buffer)
        both = {"now": change.now, "before": change.before}
        b.map(mean, f"{ADAM_MEAN}*u + {1 - ADAM_MEAN!r}*(now - before)", u=mean, **both)
        b.map(square, f"{ADAM_SQUARE}*u + {1 - ADAM_SQUARE!r}*square(now - before)", u=square,
              **both)  # fmt: skip
        b.map(change.now, f"before + {self.rate!r}*(m/a)/(sqrt(s/c) + {ADAM_FLOOR!r})",
              before=change.before, m=mean, a=full, s=square, c=full_square)  # fmt: skip


NORMALISERS: dict[str, type[Normaliser]] = {
    "none": Plain,
    "clip": Clip,
    "sign": Sign,
    "momentum": Momentum,
    "adam": Adam,
}


def normaliser(name: str, rate: float) -> Normaliser:
    """Return a normaliser by name.

    Raises:
        InputError: there is none of this name.
    """
    if name not in NORMALISERS:
        raise unknown_name("normaliser", name, NORMALISERS)
    return NORMALISERS[name](rate)
