"""Predictive coding: hidden units settle between what is predicted and what is wanted.

Each hidden layer l has value nodes v_l beside what the layer below predicts of them,
mu_l = W_l f(v_(l-1)) + b_l, and the teaching signal is the prediction error e_l = v_l - mu_l. Value
nodes are what units receive, before the nonlinearity; they start at the forward pass and go down
the energy, cross-entropy of the output plus half of all squared hidden errors:

    v_l <- v_l + gamma (-e_l + f'(v_l) W_(l+1)^T e_(l+1)),        e_L = target - softmax(mu_L)

all layers at once. Of the three locks the relaxation stands for the backward pass.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from evosearch.circuits.base import (
    CIRCUITS,
    Circuit,
    Layer,
    Wiring,
    backward_products,
    forward_products,
)
from evosearch.errors import InputError

if TYPE_CHECKING:
    from evosearch.circuits.scene import Scene


class _Relaxation:
    """Value nodes of a network in a life, and the phases that move them.

    Args:
        scene: the network and its minibatch; errors are written where its layers have theirs.
        gamma: step of the value nodes.
    """

    def __init__(self, scene: Scene, gamma: float) -> None:
        self._scene, self._b, self._gamma = scene, scene.b, gamma
        sizes = [layer.weights.n_out for layer in scene.layers]
        self._values = [scene.units(f"value {k}", n) for k, n in enumerate(sizes[:-1])]
        self._signals = [scene.units(f"signal {k}", n) for k, n in enumerate(sizes[:-1])]
        self._posts = [scene.units(f"settled {k}", n) for k, n in enumerate(sizes)]
        self._predicted = [scene.units(f"predicted {k}", n) for k, n in enumerate(sizes)]

    @property
    def layers(self) -> list[Layer]:
        """What the rule reads at each layer: activities of the value nodes."""
        pres = [self._scene.layers[0].pre, *self._posts]
        totals = [*self._values, self._predicted[-1]]
        return [
            replace(layer, pre=pre, total=total, post=post)
            for layer, pre, total, post in zip(
                self._scene.layers, pres, totals, self._posts, strict=False
            )
        ]

    def start(self) -> None:
        """Emit the start at the forward pass: every prediction comes true but the output's."""
        hidden = zip(self._scene.layers, self._values, self._posts, strict=False)
        for layer, value, post in hidden:
            self._b.map(value, "u", u=layer.total)
            self._b.map(post, "u", u=layer.post)
            self._b.map(layer.error, "0")
        self._b.map(self._predicted[0], "u", u=self._scene.layers[0].total)
        self._b.map(self._posts[-1], "u", u=self._scene.layers[-1].post)

    def activate(self) -> None:
        """Emit the activities of the value nodes."""
        for value, post in zip(self._values, self._posts, strict=False):
            self._b.map(post, "tanh(u)", u=value)

    def predict(self, lowest: int = 1) -> None:
        """Emit predictions and errors of all layers from ``lowest`` on; below only errors.

        Args:
            lowest: 1 where inputs and weights stand still, and so what layer 0 is predicted.
        """
        scene, pres = self._scene, [self._scene.layers[0].pre, *self._posts]
        for k, predicted in enumerate(self._predicted):
            if k >= lowest:
                scene.passes.drive(k, predicted, pres[k])
        for layer, value, predicted in zip(
            scene.layers, self._values, self._predicted, strict=False
        ):
            self._b.map(layer.error, "v - m", v=value, m=predicted)
        output = scene.layers[-1]
        scene.passes.softmax(self._posts[-1], self._predicted[-1])
        self._b.map(output.error, "t - p", t=scene.target, p=self._posts[-1])

    def move(self) -> None:
        """Emit one step of all value nodes, by the errors and activities as they are."""
        for k in range(len(self._values)):
            self.move_layer(k)

    def move_layer(self, k: int) -> None:
        """Emit one step of one hidden layer's value nodes."""
        layers = self._scene.layers
        self._b.matvec_t(self._signals[k], layers[k + 1].weights, layers[k + 1].error)
        self._b.map(self._values[k], f"v + {self._gamma!r}*(s*(1 - square(h)) - e)",
                    v=self._values[k], s=self._signals[k], h=self._posts[k],
                    e=layers[k].error)  # fmt: skip

    def settle_layer(self, k: int) -> None:
        """Emit one step of a layer that is still as the forward pass left it, and its error."""
        self.move_layer(k)
        layer = self._scene.layers[k]
        self._b.map(layer.error, "v - m", v=self._values[k], m=layer.total)


def check_relaxation(steps: int, gamma: float) -> None:
    """Raise InputError where value nodes would not relax: T below 1, gamma outside (0, 1]."""
    if steps < 1 or not 0.0 < gamma <= 1.0:
        raise InputError(
            f"steps is {steps} and gamma {gamma}; steps must be at least 1 and gamma lie "
            f"above 0 and not above 1."
        )


class _Relaxing(Circuit):
    """A circuit whose errors settle step by step.

    Args:
        steps: T, at least 1.
        gamma: step of the value nodes, in (0, 1].

    Raises:
        InputError: one is out of its range.
    """

    transports_weights = True

    def __init__(self, *, steps: int, gamma: float) -> None:
        check_relaxation(steps, gamma)
        self.steps, self.gamma = steps, gamma


@CIRCUITS.register("pc")
class PredictiveCoding(_Relaxing):
    """Predictive coding: T steps of all value nodes, then the weights learn.

    With ``error*pre`` weights go down the energy of the settled network; the feedback is near that
    of backpropagation but not equal. Source: J. C. R. Whittington, R. Bogacz, "An approximation of
    the error backpropagation algorithm in a predictive coding network with local Hebbian synaptic
    plasticity", Neural Computation 29, 2017; here with softmax and cross-entropy.

    Args:
        steps: T.
        gamma: step of the value nodes.
    """

    title = "predictive coding (Whittington, Bogacz 2017)"
    locks = "FBU"

    def __init__(self, *, steps: int = 20, gamma: float = 0.1) -> None:
        super().__init__(steps=steps, gamma=gamma)

    def wire(self, scene: Scene) -> Wiring:
        """Relax for T steps from the forward pass."""
        relaxation = _Relaxation(scene, self.gamma)

        def send() -> None:
            relaxation.start()
            with scene.b.repeat(self.steps):
                relaxation.move()
                relaxation.activate()
                relaxation.predict()

        return Wiring(send, layers=relaxation.layers)

    def products(self, sizes: Sequence[int]) -> int:
        """Return T passes down and T passes up, of all layers but the first."""
        return 2 * self.steps * backward_products(sizes)


@CIRCUITS.register("fpc")
class FixedPrediction(_Relaxing):
    """Predictive coding whose predictions stay as the forward pass made them.

    Errors then settle linearly, e_l <- e_l + gamma (-e_l + f'(a_l) W_(l+1)^T e_(l+1)), and where
    they come to rest they are backpropagation's. On the way each layer has a share of them, k
    layers below the output the odds that k successes of probability gamma come within T trials:
    the published T = 100 is the default, as 20 leave the sixth layer down with .01 of its error.
    Source: B. Millidge, A. Tschantz, C. L. Buckley, "Predictive coding
    approximates backprop along arbitrary computation graphs", Neural Computation 34, 2022.

    Args:
        steps: T.
        gamma: step of the errors.
    """

    title = "predictive coding with fixed predictions (Millidge, Tschantz, Buckley 2020)"
    locks = "FBU"

    def __init__(self, *, steps: int = 100, gamma: float = 0.1) -> None:
        super().__init__(steps=steps, gamma=gamma)

    def wire(self, scene: Scene) -> Wiring:
        """Relax errors for T steps from 0."""
        hidden = scene.layers[:-1]
        signals = [scene.units(f"signal {k}", layer.weights.n_out)
                   for k, layer in enumerate(hidden)]  # fmt: skip
        text = f"e + {self.gamma!r}*(s*(1 - square(h)) - e)"

        def send() -> None:
            for layer in hidden:
                scene.b.map(layer.error, "0")
            with scene.b.repeat(self.steps):
                # From the bottom: each layer reads the error above from before the step.
                for layer, upper, signal in zip(hidden, scene.layers[1:], signals, strict=True):
                    scene.b.matvec_t(signal, upper.weights, upper.error)
                    scene.b.map(layer.error, text, e=layer.error, s=signal, h=layer.post)

        return Wiring(send)

    def products(self, sizes: Sequence[int]) -> int:
        """Return T passes down."""
        return self.steps * backward_products(sizes)


@CIRCUITS.register("zil")
class ZeroDivergence(Circuit):
    """Zero-divergence inference learning: steps of gamma = 1, each layer read at its own moment.

    After step L - l the error of layer l is that of backpropagation: errors have just arrived, and
    nothing below has moved, predictions and derivatives included. Errors and what the rule reads
    beside them are kept from that moment and all weights change together afterwards. Layers above
    the one that errors reach would go on moving, which no later update reads; it is left out, as
    are steps of layers whose errors are still 0. Source: Y. Song, T. Lukasiewicz, Z. Xu,
    R. Bogacz, "Can the brain do backpropagation? Exact implementation of backpropagation in
    predictive coding networks", NeurIPS 2020.
    """

    title = "zero-divergence inference learning (Song, Lukasiewicz, Xu, Bogacz 2020)"
    locks = "FBU"
    transports_weights = True

    def wire(self, scene: Scene) -> Wiring:
        """Let one layer after another settle, from the top."""
        relaxation = _Relaxation(scene, 1.0)

        def send() -> None:
            relaxation.start()
            for k in reversed(range(len(scene.layers) - 1)):
                relaxation.settle_layer(k)

        return Wiring(send)


@CIRCUITS.register("ipc")
class IncrementalPredictiveCoding(_Relaxing):
    """Incremental predictive coding: weights change at every step of the value nodes.

    A round takes predictions and errors from the value nodes and weights as they are; both then
    change by them at once. A minibatch so brings T updates, in the first of which only the output
    layer has errors: they come down by one layer a round. Source: T. Salvatori, Y. Song,
    Y. Yordanov, B. Millidge, Z. Xu, L. Sha, C. Emde, R. Bogacz, T. Lukasiewicz, "A stable, fast,
    and fully automatic learning algorithm for predictive coding networks", ICLR 2024.

    Args:
        steps: T, the updates of one minibatch.
        gamma: step of the value nodes.
    """

    title = "incremental predictive coding (Salvatori et al. 2024)"
    locks = "F"

    def __init__(self, *, steps: int = 5, gamma: float = 0.3) -> None:
        super().__init__(steps=steps, gamma=gamma)

    def wire(self, scene: Scene) -> Wiring:
        """Start once a minibatch; take errors and move in each round."""
        relaxation = _Relaxation(scene, self.gamma)

        def send() -> None:
            relaxation.activate()
            relaxation.predict(lowest=0)
            relaxation.move()

        return Wiring(send, layers=relaxation.layers, begin=relaxation.start, rounds=self.steps)

    def products(self, sizes: Sequence[int]) -> int:
        """Return T passes up and down, and all updates but one."""
        passes = forward_products(sizes) + backward_products(sizes)
        return self.steps * passes + (self.steps - 1) * forward_products(sizes)
