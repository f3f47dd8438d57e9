"""Networks as graphs of computations, and learners whose errors go along them.

A :class:`Graph` is built from vertices that know their own forward pass, how an error goes back to
each parent, and what it changes in their own parameters. Errors settle while predictions stand
still (:func:`relax`) or move with the values (:func:`settle`), or go back once: through weights,
through random feedback, from the output at once, or as local targets (:func:`make_teacher`).
Nothing here uses automatic differentiation.
"""

from evosearch.graphs.alignment import Alignment, block_ends
from evosearch.graphs.builders import cnn, lstm, mlp, residual_cnn, rnn
from evosearch.graphs.feedback import (
    direct_feedback_alignment,
    feedback_alignment,
    random_feedback,
    random_projections,
)
from evosearch.graphs.graph import Graph, GraphBuilder, State, Vertex
from evosearch.graphs.operations import (
    Activation,
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
from evosearch.graphs.settling import settle
from evosearch.graphs.sweep import boundaries, sweep
from evosearch.graphs.teachers import TEACHERS, Teacher, accuracy, make_teacher, train

__all__ = [
    "TEACHERS",
    "Activation",
    "Add",
    "Alignment",
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
    "Teacher",
    "Vertex",
    "accuracy",
    "block_ends",
    "boundaries",
    "cnn",
    "direct_feedback_alignment",
    "feedback_alignment",
    "increments",
    "lstm",
    "make_teacher",
    "mlp",
    "random_feedback",
    "random_projections",
    "relax",
    "residual_cnn",
    "rnn",
    "settle",
    "softmax_error",
    "sweep",
    "train",
    "zero_divergence",
]
