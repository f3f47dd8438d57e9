"""Local representation alignment: each hidden layer gets a target close to its own activity."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from evosearch.circuits.base import CIRCUITS, Circuit, Layer, Wiring, backward_products
from evosearch.circuits.normalisers import Plain
from evosearch.circuits.scene import OwnSynapses, Scene, declare

if TYPE_CHECKING:
    from evosearch.engine.lifetime import Buffer

BETA, DEVIATION, RATE = 0.1, 1.0, 0.01
SKIP = 2


@dataclass(frozen=True)
class _Link:
    """Error synapses from a layer above to a hidden one, which need not be the next.

    Attributes:
        layer: the hidden layer.
        source: the layer whose errors it hears.
        matrix: (units of the source, units of the layer).
        own: makes the matrix learn.
        displacement: (B, units of the layer) what arrives through the matrix.
    """

    layer: Layer
    source: Layer
    matrix: Buffer
    own: OwnSynapses
    displacement: Buffer


@CIRCUITS.register("lra")
class LocalRepresentationAlignment(Circuit):
    """LRA-E: a hidden layer is drawn to tanh(total + beta E error of the layer above).

    The error is that target minus the activity, so that no derivative is needed. E learns by the
    product of the error above with the activity, as the weights that it stands beside do.
    Settings: beta .1, E from N(0, 1), which learns by plain steps of .01 at the same time as the
    weights. Source: A. G. Ororbia, A. Mali, "Biologically motivated algorithms for propagating
    local target representations", AAAI 2019.

    Args:
        beta: how far a target lies from the activity, > 0.
        rate: of the error synapses, >= 0.
    """

    title = "local representation alignment LRA-E (Ororbia, Mali 2019)"
    locks = "FBU"

    def __init__(self, *, beta: float = BETA, rate: float = RATE) -> None:
        self.beta, self.rate = beta, rate

    def wire(self, scene: Scene) -> Wiring:
        """Declare the error synapses of each hidden layer; align from the top, then learn E."""
        layers = scene.layers
        above = [(k, k + 1) for k in range(len(layers) - 1)]
        links = [_link(scene, layers[k], layers[j], self.rate) for k, j in above]

        def learn(link: _Link) -> None:
            link.own.learn(link.source.error, link.layer.post)

        return Wiring(_alignment(scene, links, self.beta, learn))

    def products(self, sizes: Sequence[int]) -> int:
        """Return the multiply-adds of the errors and of E's outer products."""
        return 2 * backward_products(sizes)


@CIRCUITS.register("rlra")
class RecursiveAlignment(Circuit):
    """Recursive LRA: every second hidden layer hears the output error itself, past the others.

    The other hidden layers hear the layer above, as in LRA-E. Error synapses lose the product of
    the error that they carry with what it becomes, which shrinks them along that error. Of the
    published network only the error skips are here; its forward pass has residual blocks, and
    this one has none. Settings: skips to every second layer, beta .1, E from N(0, 1), plain steps
    of .01. Source: A. G. Ororbia, A. Mali, D. Kifer, C. L. Giles, "Backpropagation-free deep
    learning with recursive local representation alignment", AAAI 2023 (arXiv 2002.03911).

    Args:
        beta: how far a target lies from the activity, > 0.
        rate: of the error synapses, >= 0.
        skip: hidden layers whose number from 1 is a multiple of it hear the output error, >= 1.
    """

    title = "recursive local representation alignment (Ororbia et al. 2023)"
    locks = "FBU"

    def __init__(self, *, beta: float = BETA, rate: float = RATE, skip: int = SKIP) -> None:
        self.beta, self.rate, self.skip = beta, rate, skip

    def wire(self, scene: Scene) -> Wiring:
        """Declare error synapses from the layer above or from the output; align, then learn E."""
        layers = scene.layers
        links = [_link(scene, layers[k], layers[j], self.rate) for k, j in self._links(len(layers))]

        def learn(link: _Link) -> None:
            scene.b.map(link.displacement, "-d", d=link.displacement)
            link.own.learn(link.source.error, link.displacement)

        return Wiring(_alignment(scene, links, self.beta, learn))

    def products(self, sizes: Sequence[int]) -> int:
        """Return the multiply-adds of the errors and of E's outer products."""
        return sum(2 * sizes[j + 1] * sizes[k + 1] for k, j in self._links(len(sizes) - 1))

    def _links(self, n_layers: int) -> list[tuple[int, int]]:
        """Return each hidden layer and the one that it hears, by number from 0."""
        top = n_layers - 1
        return [(k, k + 1 if (k + 1) % self.skip else top) for k in range(top)]


def _link(scene: Scene, layer: Layer, source: Layer, rate: float) -> _Link:
    """Declare the error synapses from one layer to a hidden one."""
    n_out, n_in = source.weights.n_out, layer.weights.n_out
    drawn = [g.normal(0.0, DEVIATION, (n_out, n_in)) for g in scene.generators]
    matrix = declare(scene.b, "error synapses", drawn)
    own = scene.plastic(matrix, Plain(rate))
    return _Link(layer, source, matrix, own, scene.units("displacement", n_in))


def _alignment(
    scene: Scene, links: Sequence[_Link], beta: float, learn: Callable[[_Link], None]
) -> Callable[[], None]:
    """Return what emits the errors of all hidden layers from the top, then E's plasticity."""

    def send() -> None:
        for link in reversed(links):
            layer = link.layer
            scene.b.matvec_t(link.displacement, link.matrix, link.source.error)
            scene.b.map(layer.error, f"tanh(a + {beta!r}*d) - h", a=layer.total,
                        d=link.displacement, h=layer.post)  # fmt: skip
        for link in links:
            learn(link)

    return send
