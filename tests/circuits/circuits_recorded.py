"""Small lives of which every buffer is reported, and what each rule phase read and changed."""

from dataclasses import dataclass

import numpy as np
from circuits_lives import KEYS, SIZES, some_examples

from evosearch.circuits.base import CIRCUITS, TERMINALS
from evosearch.circuits.normalisers import normaliser
from evosearch.circuits.teaching import Plan, Teaching
from evosearch.engine.lifetime import LifetimeBuilder
from evosearch.engine.program import Level
from evosearch.engine.run import run_lifetimes
from evosearch.rules.lower import lower
from evosearch.rules.rule import Rule
from evosearch.tasks.base import engine_keys


class Recorder(LifetimeBuilder):
    """A builder that notes all buffers, and copies what each rule phase reads and changes.

    Args:
        births: name of buffers to what they are at birth, one (D, n_out, n_in) for each buffer of
            that name in the order of declaration.
    """

    def __init__(self, births=None):
        super().__init__()
        self.births = {name: iter(values) for name, values in (births or {}).items()}
        self.declared, self.sites = [], []

    def scalar(self, name):
        return self._noted(super().scalar(name))

    def vector(self, name, n, *, examples=1):
        return self._noted(super().vector(name, n, examples=examples))

    def matrix(self, name, n_out, n_in):
        return self._noted(super().matrix(name, n_out, n_in))

    def initial(self, buffer, table):
        if buffer.name in self.births:
            values = np.asarray(next(self.births[buffer.name]))
            assert values.shape[1:] == (buffer.n_out, buffer.n_in)
            table = self.table(values.reshape(len(values), 1, -1))
        super().initial(buffer, table)

    def rule(self, **terminals):
        site = {name: self._copy(buffer) for name, buffer in terminals.items()}
        super().rule(**terminals)
        site["after"] = self._copy(terminals["w"])
        name = terminals["w"].name
        before = sum(other.split(" of ")[0] == name for other, _ in self.sites)
        self.sites.append((f"{name} of {before}" if before else name, site))

    def _noted(self, buffer):
        self.declared.append(buffer)
        return buffer

    def _copy(self, buffer):
        if buffer.level == Level.SYNAPSE:
            copy = super().matrix("copy", buffer.n_out, buffer.n_in)
        else:
            copy = super().vector("copy", buffer.n_out, examples=buffer.examples)
        self.map(copy, "u", u=buffer)
        return self._noted(copy)


@dataclass(frozen=True)
class State:
    """Every buffer after the last update: arrays (D, B, n) and (D, n_out, n_in).

    Attributes:
        all: name to the buffers of that name, in the order of declaration.
        sites: name of a matrix to what its last rule phase read: ``w`` before, ``after`` it, and
            the terminals; ``name of k`` for the k-th further matrix of this name.
    """

    all: dict[str, list[np.ndarray]]
    sites: dict[str, dict[str, np.ndarray]]

    def __getitem__(self, name):
        (only,) = self.all[name]
        return only

    def each(self, name):
        return self.all[name]


def state(
    circuit, updates=1, *, text="error*pre", rate=0.2, sizes=SIZES, births=None, batch=40,
    scale=1.0, steps="none", terminals=TERMINALS,
):  # fmt: skip
    """Live ``updates`` updates in a circuit, named or made, and return the whole state.

    Examples are multiplied by ``scale``; a minibatch of 40 is all of them.
    """
    train, held = (some_examples(n, seed, sizes) for n, seed in ((40, 0), (30, 1)))
    train = type(train)(train.inputs * np.float32(scale), train.labels)
    circuit = CIRCUITS.get(circuit)() if isinstance(circuit, str) else circuit
    plan, changes = Plan(sizes, updates, batch, check_every=updates), normaliser(steps, rate)
    b = Recorder(births)
    Teaching(b, circuit, changes, plan, KEYS).emit(train, held)
    noted = list(b.declared)
    for buffer in noted:
        b.output(buffer)
    # The curve is reported by the teaching itself, before these.
    life = b.build(dtype="float64", draw_keys=engine_keys(KEYS))
    result = run_lifetimes(life, [lower(Rule(text), terminals)], changes.eta)
    ends = np.cumsum([buffer.size for buffer in life.outputs])
    parts = np.split(result.outputs[0], ends[:-1], axis=-1)[-len(noted) :]
    found = {b_.start: _shaped(b_, part) for b_, part in zip(noted, parts, strict=True)}
    names = dict.fromkeys(buffer.name for buffer in noted)
    return State(
        {name: [found[b_.start] for b_ in noted if b_.name == name] for name in names},
        {name: {key: found[b_.start] for key, b_ in site.items()} for name, site in b.sites},
    )


def _shaped(buffer, values):
    if buffer.level == Level.SYNAPSE:
        return values.reshape(-1, buffer.n_out, buffer.n_in)
    return values.reshape(-1, buffer.examples, buffer.n_out)


def born_weights(sizes=SIZES):
    """Return the initial weights of each layer, (D, n_out, n_in)."""
    from evosearch.circuits.streams import initial_weights

    drawn = [initial_weights(key, sizes) for key in KEYS]
    return [np.stack(of_draws) for of_draws in zip(*drawn, strict=True)]


def gradient_errors(weights, posts, error):
    """Return minus the loss gradients at the totals of each layer, by the chain rule."""
    errors = [error]
    for matrix, post in zip(weights[:0:-1], posts[-2:0:-1], strict=True):
        errors.insert(0, np.einsum("dbo,doi->dbi", errors[0], matrix) * (1.0 - post**2))
    return errors
