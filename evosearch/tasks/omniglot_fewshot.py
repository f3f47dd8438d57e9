"""Characters from one drawing each: a plastic output layer, and the rule that fills it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from evosearch.engine.program import Level, Terminal
from evosearch.errors import InputError
from evosearch.outcome import FloatArray
from evosearch.tasks.base import (
    TASKS,
    Key,
    RuleTask,
    TaskScores,
    TaskSettings,
    draw_rng,
    engine_keys,
    exploded,
    finite_outputs,
    graded,
)

if TYPE_CHECKING:
    from evosearch.engine.lifetime import Lifetime, RowLike
    from evosearch.engine.run import LifeResult

DIGITS_EACH = 20
_FILTERS, _FILTER_SIDE, _POOL, _FILTER_SEED = 16, 5, 4, 0x0319


class OmniglotFewshotSettings(TaskSettings):
    """Settings of ``omniglot_fewshot``."""

    data: Literal["small1", "small2", "digits"] = Field(
        "small1", description="set of Omniglot, or the digits of scikit-learn for trying"
    )
    without: tuple[str, ...] = Field((), description="alphabets that are left out")
    features: Literal["pixels", "convolution"] = Field(
        "pixels", description="what the output layer sees: pixels, or random filters that are fixed"
    )
    ways: int = Field(5, ge=2, le=100, description="characters of a task")
    shots: int = Field(1, ge=1, le=19, description="drawings of each that are shown")
    queries: int = Field(5, ge=1, le=19, description="drawings of each that are asked about")
    passes: int = Field(1, ge=1, le=1000, description="passes over what is shown")


@TASKS.register("omniglot_fewshot")
class OmniglotFewshotTask(RuleTask):
    """A plastic output layer learns characters from a drawing each, and is asked about others.

    Features are fixed, centred on the mean of the set and of length 1; weights are 0 at birth and
    ``post = w.x``. Drawings are shown in random order and the rule acts after each. A draw is a
    task: characters, drawings, order. Fitness is the share of queries whose character has the
    greatest output of all, in [0, 1]. With one pass over one drawing each, ``pre*target`` is the
    nearest neighbour by the cosine.

    Source: T. Miconi, J. Clune, K. Stanley, "Differentiable plasticity: training plastic neural
    networks with backpropagation", ICML 2018; only the small sets are asked for here.
    """

    Settings = OmniglotFewshotSettings
    terminals = (
        Terminal("w", Level.SYNAPSE, "weight", low=-1.0, high=1.0),
        Terminal("pre", Level.PRE, "feature", low=-0.5, high=0.5),
        Terminal("post", Level.POST, "output", low=-1.0, high=1.0),
        Terminal("target", Level.POST, "1 for the character shown, else 0", low=0.0, high=1.0),
        Terminal("error", Level.POST, "target minus output", low=-1.0, high=1.0),
        Terminal("mod", Level.NETWORK, "output of the character shown", low=-1.0, high=1.0),
    )
    worst = 0.0
    settings: OmniglotFewshotSettings

    def lifetimes(self, keys: Sequence[Key], split: str) -> list[Lifetime]:
        """Build the one condition: passes over what is shown, then the queries."""
        from evosearch.engine.lifetime import LifetimeBuilder

        s = self.settings
        features, n_characters = load_features(s.data, s.without, s.features)
        tasks = [draw_fewshot(key, s, n_characters, len(features) // n_characters) for key in keys]
        b = LifetimeBuilder()
        n_in = features.shape[1]
        pre, w, mod = b.vector("pre", n_in), b.matrix("w", s.ways, n_in), b.scalar("mod")
        post, target, error, told = (
            b.vector(name, s.ways) for name in ("post", "target", "error", "told")
        )
        drawings, classes = b.table(features, shared=True), b.table(np.eye(s.ways), shared=True)
        parts = [
            (b.index(np.stack([task.rows[part] for task in tasks])),
             b.index(np.stack([task.labels[part] for task in tasks])))
            for part in ("shown", "asked")
        ]  # fmt: skip

        def meet(part: int, row: RowLike) -> None:
            b.load(pre, drawings, row=row, via=parts[part][0])
            b.load(target, classes, row=row, via=parts[part][1])
            b.matvec(post, w, pre)
            b.map(told, "t*y", t=target, y=post)

        with b.repeat(s.passes), b.repeat(s.ways * s.shots) as row:
            meet(0, row)
            b.reduce(mod, "sum", told)
            b.map(error, "t - y", t=target, y=post)
            b.rule(w=w, pre=pre, post=post, target=target, error=error, mod=mod)
        n_right, is_right = b.scalar("right answers"), b.scalar("is right")
        with b.repeat(s.ways * s.queries) as row:
            meet(1, row)
            b.argmax(told, post)
            b.map(told, "a*t", a=told, t=target)
            b.reduce(is_right, "sum", told)
            b.map(n_right, "n + r", n=n_right, r=is_right)
        b.output(n_right)
        return [b.build(projection=self.projection, dtype=self.dtype, draw_keys=engine_keys(keys))]

    def score(
        self, results: Sequence[LifeResult], lifetimes: Sequence[Lifetime], keys: Sequence[Key]
    ) -> TaskScores:
        """Score the share of right answers."""
        (result,), (life,) = results, lifetimes
        share = finite_outputs(result)[:, :, 0] / (self.settings.ways * self.settings.queries)
        return TaskScores(graded(share, result, life, self.worst), exploded(result), {})


@dataclass(frozen=True)
class Fewshot:
    """One task: rows of the features, and labels, of what is ``shown`` and ``asked``."""

    rows: dict[str, NDArray[np.int64]]
    labels: dict[str, NDArray[np.int64]]


def draw_fewshot(
    key: Key, s: OmniglotFewshotSettings, n_characters: int, n_drawings: int
) -> Fewshot:
    """Draw characters, their drawings and the order in which they are shown.

    Raises:
        InputError: there are too few characters or drawings.
    """
    if s.ways > n_characters or s.shots + s.queries > n_drawings:
        raise InputError(
            f"a task has {s.ways} characters with {s.shots + s.queries} drawings; the data have "
            f"{n_characters} with {n_drawings}."
        )
    rng = draw_rng(key)
    characters = rng.choice(n_characters, s.ways, replace=False)
    chosen = np.stack([rng.permutation(n_drawings)[: s.shots + s.queries] for _ in characters])
    rows = characters[:, None] * n_drawings + chosen
    labels = np.repeat(np.arange(s.ways)[:, None], s.shots + s.queries, axis=1)
    order = rng.permutation(s.ways * s.shots)
    cut = {"shown": slice(s.shots), "asked": slice(s.shots, None)}
    found = {part: (rows[:, one].ravel(), labels[:, one].ravel()) for part, one in cut.items()}
    found["shown"] = found["shown"][0][order], found["shown"][1][order]
    return Fewshot({k: v[0] for k, v in found.items()}, {k: v[1] for k, v in found.items()})


@lru_cache(maxsize=4)
def load_features(data: str, without: tuple[str, ...], features: str) -> tuple[FloatArray, int]:
    """Return features (characters * drawings, n), and the number of characters.

    Raises:
        InputError: files are missing, or an alphabet that is left out is not there.
    """
    images = _images(data, without)
    flat = images.reshape(-1, images.shape[2]).astype(np.float64)
    if features == "convolution":
        flat = _filtered(flat)
    flat = flat - flat.mean(axis=0)
    return flat / np.maximum(np.linalg.norm(flat, axis=1, keepdims=True), 1e-9), len(images)


def _images(data: str, without: tuple[str, ...]) -> NDArray[np.float32]:
    """Return (characters, drawings, pixels)."""
    from evosearch.data import load_data
    from evosearch.data.omniglot import load_characters

    if data == "digits":
        part = load_data("digits").train
        return np.stack([part.inputs[part.labels == k][:DIGITS_EACH] for k in range(10)])
    alphabets = load_characters(data)
    for name in without:
        if name not in alphabets:
            raise InputError(
                f"without names {name!r}; the alphabets of {data} are {', '.join(alphabets)}."
            )
    left = [alphabets[name] for name in alphabets if name not in without]
    if not left:
        raise InputError(f"without names all alphabets of {data}; leave one at least.")
    return np.concatenate(left)


def _filtered(flat: FloatArray) -> FloatArray:
    """Return the greatest responses of random filters to images (n, side * side), in 4 x 4 fields.

    Filters are N(0, 1) less their mean; responses below 0 are 0.
    """
    side = int(np.sqrt(flat.shape[1]))
    rng = np.random.default_rng(_FILTER_SEED)
    filters = rng.standard_normal((_FILTERS, _FILTER_SIDE, _FILTER_SIDE))
    filters -= filters.mean(axis=(1, 2), keepdims=True)
    images = flat.reshape(-1, side, side)
    windows = np.lib.stride_tricks.sliding_window_view(images, (_FILTER_SIDE,) * 2, axis=(1, 2))
    n = windows.shape[1] // _POOL * _POOL
    responses = np.maximum(np.einsum("nijab,fab->nfij", windows[:, :n, :n], filters), 0.0)
    fields = responses.reshape(len(flat), _FILTERS, n // _POOL, _POOL, n // _POOL, _POOL)
    return fields.max(axis=(3, 5)).reshape(len(flat), -1)
