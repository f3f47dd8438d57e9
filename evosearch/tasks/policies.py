"""Settings that all tasks of policies have."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field, model_validator

from evosearch.control.policy import PolicyKind
from evosearch.tasks.base import TaskSettings


class PolicySettings(TaskSettings):
    """What kind of policy acts, and what it sees."""

    policy: PolicyKind = Field("mlp", description="mlp, or recurrent: the network of Elman (1990)")
    hidden: tuple[Annotated[int, Field(ge=1, le=4096)], ...] = Field(
        (16,), max_length=8, description="sizes of the hidden layers, of tanh units; [] is linear"
    )
    normalise: bool = Field(
        False, description="normalise observations by what actions at random see"
    )

    @model_validator(mode="after")
    def _has_feedback(self) -> Self:
        if self.policy == "recurrent" and not self.hidden:
            raise ValueError("a recurrent policy needs at least one hidden layer")
        return self
