"""The life of a classifier in a circuit: minibatches, the rule in every layer, accuracies."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from evosearch.circuits.base import Circuit
from evosearch.circuits.teaching import Plan, Teaching
from evosearch.errors import InputError
from evosearch.tasks.base import Key, engine_keys

if TYPE_CHECKING:
    from evosearch.circuits.normalisers import Normaliser
    from evosearch.data import DataSet, Examples
    from evosearch.engine.lifetime import Lifetime, Projection
    from evosearch.engine.run import LifeResult


@dataclass(frozen=True)
class Probe:
    """A network in the middle of its life, at the last minibatch of the first half.

    Attributes:
        weights: of each layer (D, n_out, n_in), before the update.
        posts: activities of each layer (D, B, n), the inputs first.
        pres: what the rule read as ``pre`` at each layer (D, B, n_in).
        errors: teaching signals of each layer (D, B, n_out).
        target: (D, B, classes), 1 at the right class.
    """

    weights: list[NDArray[np.float64]]
    posts: list[NDArray[np.float64]]
    pres: list[NDArray[np.float64]]
    errors: list[NDArray[np.float64]]
    target: NDArray[np.float64]


def held_out(data: DataSet, split: str) -> tuple[Examples, Examples]:
    """Return what a split's networks learn from and what they are tested on.

    For ``test`` the training and validation parts together are learned from, and the test part
    judges; for all others the validation part judges what the training part taught.
    """
    from evosearch.data.base import examples

    if split != "test":
        return data.train, data.validation
    both = data.train, data.validation
    inputs = np.concatenate([part.inputs for part in both])
    return examples(inputs, np.concatenate([part.labels for part in both])), data.test


def build_life(
    circuit: Circuit,
    normaliser: Normaliser,
    plan: Plan,
    parts: tuple[Examples, Examples],
    keys: Sequence[Key],
    *,
    projection: Projection | None = None,
    dtype: str = "float32",
) -> Lifetime:
    """Build the life of D networks: what is learned from, and what they are tested on.

    Draws differ in initial weights, random feedback and the order of the examples, which is
    shuffled anew for every pass; a last minibatch that is not full is left out. Weights start from
    N(0, 1 / n_in), biases at 0.

    Args:
        circuit: how errors reach the layers.
        normaliser: what happens to the rule's increments.
        plan: network and teaching.
        parts: examples to learn from, examples to be tested on.
        keys: one a draw; the same key gives every circuit the same weights and order.
        projection: what keeps weights within limits.
        dtype: float32 or float64.

    Raises:
        InputError: a minibatch is larger than the training part.
    """
    from evosearch.engine.lifetime import LifetimeBuilder

    if plan.batch > len(parts[0]):
        raise InputError(f"batch is {plan.batch}; the training part has {len(parts[0])} examples.")
    b = LifetimeBuilder()
    Teaching(b, circuit, normaliser, plan, keys).emit(*parts)
    return b.build(projection=projection, dtype=dtype, draw_keys=engine_keys(keys))


def accuracies(life: Lifetime, result: LifeResult) -> NDArray[np.float64]:
    """Return accuracies (P, D, checks) in the order of time."""
    return _outputs(life, result.outputs)["curve"]


def probe(life: Lifetime, result: LifeResult, plan: Plan) -> Probe:
    """Return the probed state of the first program's networks."""
    found = _outputs(life, result.outputs[0])
    n_draws, sizes = life.n_draws, plan.sizes
    layers = range(len(sizes) - 1)

    def shaped(name: str, *shape: int) -> NDArray[np.float64]:
        return found[name].reshape(n_draws, *shape)

    return Probe(
        [shaped(f"probed weights {k}", sizes[k + 1], sizes[k]) for k in layers],
        [shaped(f"post {k}", plan.batch, n) for k, n in enumerate(sizes)],
        [shaped(f"pre {k}", plan.batch, sizes[k]) for k in layers],
        [shaped(f"error {k}", plan.batch, sizes[k + 1]) for k in layers],
        shaped("target", plan.batch, sizes[-1]),
    )


def kept_matrices(
    life: Lifetime, result: LifeResult, plan: Plan
) -> tuple[list[NDArray[np.float64]], list[NDArray[np.float64]]]:
    """Return the first program's weights (D, n_out, n_in) and biases (D, n_out) at the end."""
    found = _outputs(life, result.outputs[0])
    shapes = list(pairwise(plan.sizes))
    weights = [
        found[f"weights {k}"].reshape(-1, n_out, n_in) for k, (n_in, n_out) in enumerate(shapes)
    ]
    return weights, [found[f"bias {k}"] for k in range(len(shapes))]


def _outputs(life: Lifetime, outputs: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
    ends = np.cumsum([buffer.size for buffer in life.outputs])
    parts = np.split(outputs, ends[:-1], axis=-1)
    return {buffer.name: part for buffer, part in zip(life.outputs, parts, strict=True)}
