"""Predictive coding along graphs of computations: errors settle where predictions stand still.

A :class:`Graph` is built from vertices that know their own forward pass, how an error goes back to
each parent, and what it changes in their own parameters; :func:`relax` lets errors settle, and
nothing here uses automatic differentiation.
"""

from evosearch.graphs.builders import cnn, lstm, mlp, rnn
from evosearch.graphs.graph import Graph, GraphBuilder, State, Vertex
from evosearch.graphs.operations import (
    Add,
    Convolution,
    Flatten,
    Linear,
    MaxPool,
    Operation,
    Product,
    Sigmoid,
    Tanh,
)
from evosearch.graphs.relaxation import increments, relax, softmax_error, zero_divergence

__all__ = [
    "Add",
    "Convolution",
    "Flatten",
    "Graph",
    "GraphBuilder",
    "Linear",
    "MaxPool",
    "Operation",
    "Product",
    "Sigmoid",
    "State",
    "Tanh",
    "Vertex",
    "cnn",
    "increments",
    "lstm",
    "mlp",
    "relax",
    "rnn",
    "softmax_error",
    "zero_divergence",
]
