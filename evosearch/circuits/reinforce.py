"""Circuits of stochastic units that learn from a reward which all of them hear.

Hidden units are +1 or -1 at random, +1 with probability (1 + tanh(total)) / 2, so that their means
are those of a network of tanh units. The rule reads the stochastic pass; the deterministic one is
what is tested.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Literal

import numpy as np

from evosearch.circuits.base import CIRCUITS, Circuit, Layer, Wiring, backward_products
from evosearch.circuits.second_pass import Across, SecondPass

if TYPE_CHECKING:
    from evosearch.circuits.scene import Scene
    from evosearch.engine.lifetime import Buffer

BASELINE_SHARE = 0.05
"""What a minibatch counts in the running mean of rewards."""


@CIRCUITS.register("reinforce")
class Reinforce(Circuit):
    """REINFORCE: a unit's error is its surprise times how much better than usual the outcome was.

    The surprise is state - tanh(total), the slope of the log-probability of the state; the reward
    is minus the cross-entropy of the stochastic pass. The readout learns from its own error in that
    pass. The mean increment is the gradient of the mean reward. Source: R. J. Williams, "Simple
    statistical gradient-following algorithms for connectionist reinforcement learning", Machine
    Learning 8, 1992.

    Args:
        baseline: what counts as usual: the ``example``'s reward in the deterministic pass, or the
            running ``mean`` of rewards.
    """

    title = "REINFORCE in stochastic hidden units (Williams 1992)"
    locks = "FU"

    def __init__(self, baseline: Literal["example", "mean"] = "example") -> None:
        self._baseline = baseline

    def wire(self, scene: Scene) -> Wiring:
        """Pass a second time with random states, and read that pass."""
        units = _StochasticUnits(scene)
        usual = None if self._baseline == "example" else _RunningMean(scene)
        advantage = scene.units("advantage", 1)

        def send() -> None:
            units.live()
            if usual is None:
                units.again.gain(advantage)
            else:
                units.again.log_right(advantage)
                usual.subtract(advantage)
            units.credit(advantage, "r*(s - tanh(u))")
            units.output_error()

        return Wiring(send, layers=units.layers)


@CIRCUITS.register("arp")
class AssociativeRewardPenalty(Circuit):
    """A_R-P: rewarded units become likelier to repeat their state, punished ones slightly less.

    A unit's error is r (state - tanh(total)) + penalty (1 - r) (-state - tanh(total)), where the
    reward r is the stochastic pass's probability of the right class. The readout learns from its
    own error in that pass. Sources: A. G. Barto, P. Anandan, "Pattern-recognizing stochastic
    learning automata", IEEE Transactions on Systems, Man, and Cybernetics 15, 1985; in layered
    networks with graded rewards: A. G. Barto, M. I. Jordan, "Gradient following without
    back-propagation in layered networks", ICNN 1987.

    Args:
        penalty: by how much less punishment counts than reward, in [0, 1].
    """

    title = "associative reward-penalty units (Barto, Anandan 1985; Barto, Jordan 1987)"
    locks = "FU"

    def __init__(self, penalty: float = 0.01) -> None:
        self._penalty = penalty

    def wire(self, scene: Scene) -> Wiring:
        """Pass a second time with random states, and read that pass."""
        units = _StochasticUnits(scene)
        text = f"r*(s - tanh(u)) + {self._penalty!r}*(1 - r)*(-s - tanh(u))"

        def send() -> None:
            units.live()
            units.credit(units.again.right, text)
            units.output_error()

        return Wiring(send, layers=units.layers)


@CIRCUITS.register("coagent")
class CoagentNetwork(Circuit):
    """Coagents: each unit is an agent with a policy, and all learn from the reward of the network.

    The readout draws one class from its probabilities, and the reward is 1 where that is the right
    one, else 0: no unit is told which class would have been right. An error is (reward - running
    mean of rewards) times the slope of the log-probability of the unit's own action. The mean
    increment is the gradient of the mean reward. Source: P. S. Thomas, "Policy gradient coagent
    networks", NeurIPS 2011.
    """

    title = "policy-gradient coagents, told right or wrong (Thomas 2011)"
    locks = "FU"

    def wire(self, scene: Scene) -> Wiring:
        """Pass a second time with random states and a random action, and read that pass."""
        units, usual = _StochasticUnits(scene), _RunningMean(scene)
        action = _Action(scene, units.again)
        reward, output = scene.units("reward", 1), units.layers[-1]

        def send() -> None:
            units.live()
            action.draw()
            scene.b.map(output.error, "t*a", t=scene.target, a=action.chosen)
            scene.b.matvec(reward, scene.passes.one_row, output.error)
            usual.subtract(reward)
            units.credit(reward, "r*(s - tanh(u))")
            units.across.spread(output.error, reward)
            scene.b.map(output.error, "r*(a - p)", r=output.error, a=action.chosen, p=output.post)

        return Wiring(send, layers=units.layers)

    def products(self, sizes: Sequence[int]) -> int:
        """Return the multiply-adds of a pass from the first hidden layer on, and of the choice."""
        return backward_products(sizes) + 2 * sizes[-1] ** 2


class _StochasticUnits:
    """A pass through hidden units that are +1 or -1 at random.

    Attributes:
        again: the pass.
        layers: what the rule reads: states instead of activities.
        across: what hands a reward to all units.
    """

    def __init__(self, scene: Scene) -> None:
        self._scene = scene
        self.again, self.across = SecondPass(scene), Across(scene.b)
        self.layers: tuple[Layer, ...] = tuple(
            replace(layer, pre=self.again.posts[k], post=self.again.posts[k + 1],
                    total=self.again.totals[k] if k else layer.total)
            for k, layer in enumerate(scene.layers)
        )  # fmt: skip

    def live(self) -> None:
        """Emit states from the bottom, then class probabilities."""
        b = self._scene.b
        for k, layer in enumerate(self.layers[:-1]):
            total = self.again.received(k)
            b.random(layer.post, "uniform")
            b.map(layer.post, "1 - 2*max(0, sign(z - 0.5*(1 + tanh(u))))", z=layer.post, u=total)
        self.again.finish()

    def credit(self, reward: Buffer, text: str) -> None:
        """Emit hidden errors: an expression in r, reward; s, state; u, total."""
        for layer in self.layers[:-1]:
            self.across.spread(layer.error, reward)
            self._scene.b.map(layer.error, text, r=layer.error, s=layer.post, u=layer.total)

    def output_error(self) -> None:
        """Emit the readout's error in this pass, target minus probability."""
        output = self.layers[-1]
        self._scene.b.map(output.error, "t - p", t=self._scene.target, p=output.post)


class _RunningMean:
    """What rewards usually are, 0 at birth."""

    def __init__(self, scene: Scene) -> None:
        self._b = scene.b
        self._mean, self._now = scene.b.scalar("usual reward"), scene.b.scalar("mean reward")

    def subtract(self, rewards: Buffer) -> None:
        """Emit rewards (B, 1) less what is usual, then let these count."""
        b, share = self._b, BASELINE_SHARE
        b.reduce(self._now, "mean", rewards)
        b.map(rewards, "r - m", r=rewards, m=self._mean)
        b.map(self._mean, f"m + {share!r}*(n - m)", m=self._mean, n=self._now)


class _Action:
    """One class an example, drawn from the probabilities of a pass.

    The last class is taken below which the probabilities add up to no more than a number from
    U(0, 1): always exactly one.

    Attributes:
        chosen: (B, classes), 1 at the class drawn.
    """

    def __init__(self, scene: Scene, again: SecondPass) -> None:
        b, n = scene.b, scene.target.n_out
        self._b, self._again, self._across = b, again, Across(b)
        self.chosen = scene.units("action", n)
        self._below, self._number = scene.units("below", n), scene.units("number", 1)
        self._sums, self._steps = b.matrix("sums below", n, n), b.matrix("steps", n, n)
        for matrix, values in (
            (self._sums, np.tri(n, k=-1)),
            (self._steps, np.eye(n) - np.eye(n, k=1)),
        ):
            b.initial(matrix, b.table(values.reshape(1, -1), shared=True))

    def draw(self) -> None:
        """Emit the choice."""
        b = self._b
        b.random(self._number, "uniform")
        b.matvec(self._below, self._sums, self._again.posts[-1])
        self._across.spread(self.chosen, self._number)
        b.map(self._below, "1 - max(0, sign(c - z))", c=self._below, z=self.chosen)
        b.matvec(self.chosen, self._steps, self._below)
