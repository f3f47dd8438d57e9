"""Small networks in double precision, and loops over their layers that know nothing of graphs."""

import numpy as np
import torch

from evosearch.graphs import cnn, mlp, residual_cnn, rnn, softmax_error

DOUBLE = torch.float64
CLASSES = 3


def drawn(seed, *shape):
    return torch.from_numpy(np.random.default_rng(seed).normal(size=shape))


def with_biases(graph):
    """Give biases values, so that a bias left out shows."""
    for k, values in enumerate(graph.parameters.values()):
        if values.ndim == 1:
            values += 0.3 * drawn(100 + k, *values.shape)
    return graph


def network(kind, examples=6):
    """Return a graph of one output, its inputs and labels."""
    rng = np.random.default_rng(3)
    labels = torch.from_numpy(np.random.default_rng(0).integers(CLASSES, size=examples))
    if kind == "mlp":
        graph, inputs = mlp((4, 8, 7, 6, CLASSES), rng, dtype=DOUBLE), drawn(5, examples, 4)
    elif kind == "cnn":
        graph = cnn((2, 12, 12), (3, 4), (9,), CLASSES, rng, kernel=3, dtype=DOUBLE)
        inputs = drawn(5, examples, 2, 12, 12)
    else:
        graph = residual_cnn((2, 12, 12), 3, 2, CLASSES, rng, dtype=DOUBLE)
        inputs = drawn(5, examples, 2, 12, 12)
    return with_biases(graph), [inputs], [labels]


def unrolled():
    """Return a recurrent network over three steps, its inputs, and the labels of each step."""
    graph = rnn(4, 5, CLASSES, 3, np.random.default_rng(0), dtype=DOUBLE)
    inputs = [drawn(k, 6, 4) for k in range(3)] + [drawn(9, 6, 5)]
    return graph, inputs, [torch.arange(6) % CLASSES] * 3


def output_errors(graph, state, labels):
    pairs = zip([state.values[k] for k in graph.outputs], labels, strict=True)
    return [softmax_error(o, label) for o, label in pairs]


def distance(ours, theirs):
    return max(float((ours[k] - theirs[k]).norm() / theirs[k].norm()) for k in theirs)
