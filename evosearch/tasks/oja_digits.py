"""One linear neuron extracts the first principal component of the scikit-learn digits."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from evosearch.engine.program import Level, Terminal
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
    one_row,
)
from evosearch.tasks.oja_pc1 import compare_with_component

if TYPE_CHECKING:
    from evosearch.engine.lifetime import Lifetime
    from evosearch.engine.run import LifeResult


class OjaDigitsSettings(TaskSettings):
    """Settings of ``oja_digits``."""

    epochs: int = Field(20, ge=1, le=1000, description="passes over the images")
    images: int = Field(1797, ge=10, le=1797, description="the first images only, for quick runs")
    w0_sd: float = Field(0.1, gt=0, le=1, description="spread of the initial weights")


@TASKS.register("oja_digits")
class OjaDigitsTask(RuleTask):
    """The first principal component of real data: 8 x 8 images of digits, 64 inputs, one neuron.

    The images are divided by 16 and centred. A draw differs from another in the order of the
    images, shuffled anew in every epoch, and in the initial weights N(0, w0_sd^2). One image a
    step, then the rule. Fitness is |cos(w, PC1)| after the last epoch, in [0, 1].

    Sources: E. Oja, "A simplified neuron model as a principal component analyzer", Journal of
    Mathematical Biology 15, 1982; data: E. Alpaydin, C. Kaynak, "Optical recognition of
    handwritten digits", UCI repository 1998, the copy that comes with scikit-learn.
    """

    Settings = OjaDigitsSettings
    terminals = (
        Terminal("w", Level.SYNAPSE, "weight", low=-1.0, high=1.0),
        Terminal("pre", Level.PRE, "centred pixel / 16", low=-1.0, high=1.0),
        Terminal("post", Level.POST, "output y = w . x", low=-3.0, high=3.0),
    )
    worst = 0.0
    settings: OjaDigitsSettings

    def lifetimes(self, keys: Sequence[Key], split: str) -> list[Lifetime]:
        """Build the one condition; the images are shared, the order belongs to the draw."""
        from evosearch.engine.lifetime import LifetimeBuilder

        s = self.settings
        images, _ = load_images(s.images)
        draws = [draw_order(key, s.images, s.epochs, s.w0_sd) for key in keys]
        b = LifetimeBuilder()
        pre, post = b.vector("pre", images.shape[1]), b.vector("post", 1)
        w = b.matrix("w", 1, images.shape[1])
        b.initial(w, b.table(one_row([w0 for _, w0 in draws])))
        table = b.table(images, shared=True)
        order = b.index(np.stack([order for order, _ in draws]))
        with b.repeat(s.epochs * s.images) as step:
            b.load(pre, table, row=step, via=order)
            b.matvec(post, w, pre)
            b.rule(w=w, pre=pre, post=post)
        b.output(w)
        return [b.build(projection=self.projection, dtype=self.dtype, draw_keys=engine_keys(keys))]

    def score(
        self, results: Sequence[LifeResult], lifetimes: Sequence[Lifetime], keys: Sequence[Key]
    ) -> TaskScores:
        """Score |cos| between the final weights and the component."""
        (result,) = results
        _, pc1 = load_images(self.settings.images)
        components = np.broadcast_to(pc1, (len(keys), pc1.size))
        loss, cosine = compare_with_component(finite_outputs(result), components)
        fitness = graded(cosine, result, lifetimes[0], self.worst)
        metrics = {"distance": loss.mean(axis=1)}
        return TaskScores(fitness, exploded(result), metrics)


@lru_cache(maxsize=8)
def load_images(n_images: int = 1797) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the centred images (n_images, 64) and their first principal component (64,)."""
    from sklearn.datasets import load_digits

    images = np.asarray(load_digits(return_X_y=True)[0], dtype=np.float64)[:n_images] / 16.0
    centred = images - images.mean(axis=0)
    return centred, np.linalg.svd(centred, full_matrices=False)[2][0]


def draw_order(
    key: Key, n_images: int, n_epochs: int, w0_sd: float
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Draw the order of the images (n_epochs * n_images,) and the initial weights (64,)."""
    rng = draw_rng(key)
    w0 = rng.normal(0.0, w0_sd, 64)
    return np.concatenate([rng.permutation(n_images) for _ in range(n_epochs)]), w0
