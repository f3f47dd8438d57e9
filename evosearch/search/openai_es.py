"""The evolution strategy of OpenAI, with perturbations that are drawn again from seeds."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from evosearch.outcome import FloatArray
from evosearch.search.base import SEARCHES, State
from evosearch.search.noise import SINGLE_FROM, Noise, NoiseSettings
from evosearch.search.optimizers import adam_step, momentum_step
from evosearch.search.ranks import centred_ranks
from evosearch.search.torch_optimizers import OptimizerOption, TorchOptimizer
from evosearch.search.vectors import VectorSearch, clip_in_place

_OWN = ("adam", "sgd")
# Before the names of what an optimizer of torch remembers.
_PREFIX = "optimizer_"


class OpenAiEsSettings(NoiseSettings):
    """Settings of ``openai-es``."""

    optimizer: str = Field(
        "adam",
        max_length=40,
        description="what turns gradients to steps: adam, sgd (with momentum), or the class of "
        "torch.optim of that name, such as adamw or rmsprop",
    )
    options: dict[str, OptimizerOption] = Field(
        default_factory=dict,
        description="settings of the class of torch.optim, such as betas; with any, adam and sgd "
        "are torch's as well",
    )
    rate: float | None = Field(None, gt=0, description="learning rate; default: sigma0 / 5")
    momentum: float = Field(0.9, ge=0, lt=1, description="of sgd")
    weight_decay: float = Field(0.0, ge=0, description="what the gradient loses per unit of mean")
    decay: float = Field(
        1.0, gt=0, le=1, description="factor of step size and learning rate each generation"
    )
    noise: Literal["auto", "drawn", "table"] = Field(
        "auto",
        description="new random numbers, or slices at random of one table of 64 MB, which is twice "
        "as fast; auto: the table from 4096 numbers on",
    )
    replay: bool = Field(
        True, description="draw perturbations again to learn from them, rather than keep them"
    )


@SEARCHES.register("openai-es")
class OpenAiEs(VectorSearch):
    """Evolution strategy of OpenAI: a gradient estimated from mirrored perturbations of one size.

    Fitness counts by centred ranks. A generation is one number, the seed from which its
    perturbations are drawn, once to ask and once to learn; with ``ask_blocks`` memory does not
    grow with the population. Numbers may also be slices of one table, as in the paper's section
    2.1. Without ``decay`` it ends in a neighbourhood of an optimum whose size step size and
    learning rate set. An odd population is rounded down to pairs; candidates are clipped to the
    bounds.

    Source: T. Salimans, J. Ho, X. Chen, S. Sidor, I. Sutskever, "Evolution Strategies as a
    Scalable Alternative to Reinforcement Learning", 2017, arXiv:1703.03864, algorithm 2 with the
    mirrored samples, ranks and weight decay of its section 2.
    """

    name = "openai-es"
    passes_on = True
    Settings = OpenAiEsSettings
    _changing = ("_mean", "_first", "_second", "_n_steps")

    def __init__(self, space: Any, *, seed: int = 0, **settings: Any) -> None:
        super().__init__(space, seed=seed, **settings)
        s, d = self.settings, space.dimension
        self._n_pairs = max(1, self._population // 2)
        self._rate = s.rate or self._sigma0 / 5
        is_own = s.optimizer in _OWN and not s.options
        self._torch = None if is_own else TorchOptimizer(s.optimizer, d, s.options)
        self._first: FloatArray = np.zeros(d if is_own else 0)
        self._second: FloatArray = np.zeros(d if is_own and s.optimizer == "adam" else 0)
        self._n_steps = 0
        has_table = s.noise == "table" or (s.noise == "auto" and d >= SINGLE_FROM)
        self._noise = Noise(
            d,
            self._n_pairs,
            s,
            is_mirrored=True,
            is_kept=not s.replay,
            has_table=has_table,
        )

    def _propose(self) -> Iterator[NDArray[Any]]:
        self._noise.draw(int(self._rng.integers(2**63)))
        return self._noise.blocks(self._mean, self._sigma0 * self._factor())

    def _learn(self, fitness: FloatArray) -> None:
        s, sigma = self.settings, self._sigma0 * self._factor()
        ranks = centred_ranks(fitness)
        # Algorithm 2, line 11: the sum of F_i epsilon_i over n sigma, of pairs.
        gradient = self._noise.weighted(ranks[0::2] - ranks[1::2])
        gradient /= 2 * self._n_pairs * sigma
        if s.weight_decay > 0.0:
            gradient -= s.weight_decay * self._mean
        rate = self._rate * self._factor()
        self._n_steps += 1
        if self._torch is not None:
            self._mean = self._torch.moved(self._mean, gradient, rate=rate)
            clip_in_place(self._mean, self.space)
        elif s.optimizer == "adam":
            moments = (self._first, self._second)
            self._move(adam_step(moments, gradient, n_steps=self._n_steps, rate=rate))
        else:
            self._move(momentum_step(self._first, gradient, rate=rate, momentum=s.momentum))

    def state_dict(self) -> State:
        """Return the state, and what an optimizer of torch remembers."""
        state = super().state_dict()
        if self._torch is not None:
            state |= {_PREFIX + name: value for name, value in self._torch.state_dict().items()}
        return state

    def load_state_dict(self, state: State) -> None:
        """Take over the state, and what an optimizer of torch remembers."""
        super().load_state_dict(state)
        if self._torch is not None:
            cut = len(_PREFIX)
            own = {name[cut:]: value for name, value in state.items() if name.startswith(_PREFIX)}
            self._torch.load_state_dict(own)

    def _factor(self) -> float:
        return float(self.settings.decay**self._n_steps)
