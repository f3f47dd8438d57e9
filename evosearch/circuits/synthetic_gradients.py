"""Decoupled neural interfaces: each hidden layer predicts its own teaching signal."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, ClassVar

from evosearch.circuits.base import CIRCUITS, Circuit, Layer, Wiring, backward_products
from evosearch.circuits.normalisers import Adam

if TYPE_CHECKING:
    from evosearch.circuits.scene import Scene
    from evosearch.engine.lifetime import Buffer

RATE = 0.032


class _Predicting(Circuit):
    """A circuit in which a map of its own gives each hidden layer its error at once.

    Args:
        rate: of the maps, > 0.
    """

    locks = "F"
    transports_weights = True
    is_told: ClassVar[bool]
    """Whether maps read the right class beside the layer's activity."""

    def __init__(self, *, rate: float = RATE) -> None:
        self.rate = rate

    def wire(self, scene: Scene) -> Wiring:
        """Give each hidden layer a map."""
        told = [scene.target] if self.is_told else []
        maps = [_Synthesiser(scene, layer, [layer.post, *told], self.rate)
                for layer in scene.layers[:-1]]  # fmt: skip
        return Wiring(_decoupled(scene, maps))

    def products(self, sizes: Sequence[int]) -> int:
        """Return the multiply-adds of what the maps are taught, and two of each map."""
        n_told = sizes[-1] if self.is_told else 0
        return backward_products(sizes) + sum(2 * n * (n + n_told) for n in sizes[1:-1])


@CIRCUITS.register("dni")
class SyntheticGradients(_Predicting):
    """Synthetic gradients: a linear map of a layer's activity stands for minus its loss gradient.

    The layer learns from it at once, without waiting for the layers above. The map learns to
    predict what the layer above, by its own prediction, sends through its weights; below the
    readout that is the true gradient. Settings: linear, 0 at birth, Adam at .032. That is .001
    where gradients of the mean loss of a minibatch of 32 are predicted: they are so many times
    smaller, and Adam's steps are not. Slower maps lose track of a deep network. Source: M.
    Jaderberg et al., "Decoupled neural interfaces using synthetic gradients", ICML 2017.

    Args:
        rate: of the maps, > 0.
    """

    title = "synthetic gradients, DNI (Jaderberg et al. 2017)"
    is_told = False


@CIRCUITS.register("cdni")
class ConditionalSyntheticGradients(_Predicting):
    """Synthetic gradients of which each map reads the right class beside the layer's activity.

    Settings and source are those of ``dni``.

    Args:
        rate: of the maps, > 0.
    """

    title = "label-conditioned synthetic gradients, cDNI (Jaderberg et al. 2017)"
    is_told = True


class _Synthesiser:
    """A linear map, 0 at birth, that predicts minus the gradient of the loss in the activity.

    Args:
        scene: the life.
        layer: whose gradient it predicts.
        sources: what it reads, each (B, n).
        rate: of Adam.
    """

    def __init__(self, scene: Scene, layer: Layer, sources: Sequence[Buffer], rate: float) -> None:
        n = layer.post.n_out
        self.layer = layer
        self.target = scene.units("true signal", n)
        self._scene, self._sources = scene, tuple(sources)
        self._matrices = [scene.b.matrix("synthesiser", n, source.n_out) for source in sources]
        self._bias = scene.b.matrix("synthesiser bias", n, 1)
        self._learning = [scene.plastic(m, Adam(rate)) for m in (*self._matrices, self._bias)]
        self._signal, self._part = (scene.units(name, n) for name in ("signal", "part"))

    def predict(self) -> None:
        """Emit the prediction, and from it the layer's error."""
        b, layer = self._scene.b, self.layer
        b.matvec(self._signal, self._matrices[0], self._sources[0])
        for matrix, source in zip(self._matrices[1:], self._sources[1:], strict=True):
            b.matvec(self._part, matrix, source)
            b.map(self._signal, "s + p", s=self._signal, p=self._part)
        b.add(self._signal, self._bias)
        b.map(layer.error, "s*(1 - square(h))", s=self._signal, h=layer.post)

    def learn(self) -> None:
        """Emit one step down half the squared distance of the prediction from the target."""
        b = self._scene.b
        b.map(self.target, "t - s", t=self.target, s=self._signal)
        for synapses, source in zip(self._learning, (*self._sources, self._scene.one), strict=True):
            synapses.learn(self.target, source)


def _decoupled(scene: Scene, maps: Sequence[_Synthesiser]) -> Callable[[], None]:
    """Return what emits all predictions, and then what the layer above makes of its own."""

    def send() -> None:
        for synthesiser in maps:
            synthesiser.predict()
        for synthesiser, upper in zip(maps, scene.layers[1:], strict=True):
            scene.b.matvec_t(synthesiser.target, upper.weights, upper.error)
            synthesiser.learn()

    return send
