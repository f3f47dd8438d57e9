"""Steps of first-order optimizers along an estimated gradient; their state is the caller's."""

from __future__ import annotations

import numpy as np

from evosearch.outcome import FloatArray


def clipup_step(
    velocity: FloatArray, gradient: FloatArray, *, step: float, limit: float, momentum: float
) -> FloatArray:
    """Change ``velocity`` (d,) in place to the next step of ClipUp, uphill, and return it.

    The gradient counts by its direction alone, and no step is longer than ``limit``.

    Source: N. Toklu, P. Liskowski, R. Srivastava, "ClipUp: A Simple and Powerful Optimizer for
    Distribution-based Policy Evolution", PPSN 2020, algorithm 1.
    """
    norm = float(np.linalg.norm(gradient))
    velocity *= momentum
    if norm > 0.0:
        velocity += (step / norm) * gradient
    speed = float(np.linalg.norm(velocity))
    if speed > limit:
        velocity *= limit / speed
    return velocity


def adam_step(
    moments: tuple[FloatArray, FloatArray], gradient: FloatArray, *, n_steps: int, rate: float
) -> FloatArray:
    """Change both moments (d,) in place by the ``n_steps``-th gradient; return the step uphill.

    Source: D. Kingma, J. Ba, "Adam: A Method for Stochastic Optimization", ICLR 2015,
    algorithm 1, with its default settings.
    """
    beta1, beta2, epsilon = 0.9, 0.999, 1e-8
    first, second = moments
    # One array is all that is made: of many numbers, memory takes longer than arithmetic.
    step = gradient - first
    step *= 1.0 - beta1
    first += step
    np.multiply(gradient, gradient, out=step)
    step -= second
    step *= 1.0 - beta2
    second += step
    np.divide(second, 1.0 - beta2**n_steps, out=step)
    np.sqrt(step, out=step)
    step += epsilon
    np.divide(first, step, out=step)
    step *= rate / (1.0 - beta1**n_steps)
    return step


def momentum_step(
    velocity: FloatArray, gradient: FloatArray, *, rate: float, momentum: float
) -> FloatArray:
    """Change ``velocity`` (d,) in place to the next step of gradient ascent; return it."""
    velocity *= momentum
    velocity += rate * gradient
    return velocity
