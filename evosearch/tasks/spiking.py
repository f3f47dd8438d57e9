"""Membranes with exponential currents: their exact step from one time to the next, and traces.

Between spikes a leaky membrane under an exponential synaptic current is a linear system, so that a
step of any length is exact (Rotter and Diesmann, Biological Cybernetics 81, 1999):

    V <- p22 V + p21 I ;  I <- p11 I + w . S
"""

from __future__ import annotations

from dataclasses import dataclass
from math import exp

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Membrane:
    """A leaky membrane; its potential is counted from rest.

    Attributes:
        dt: length of a step, ms.
        tau_m: time constant of the membrane, ms.
        tau_s: time constant of the synaptic current, ms, not equal to ``tau_m``.
        capacity: pF; a current of 1 pA then moves the membrane by mV.
    """

    dt: float
    tau_m: float = 10.0
    tau_s: float = 2.0
    capacity: float = 250.0

    @property
    def p11(self) -> float:
        """What a step leaves of a current."""
        return exp(-self.dt / self.tau_s)

    @property
    def p22(self) -> float:
        """What a step leaves of a potential."""
        return exp(-self.dt / self.tau_m)

    @property
    def p21(self) -> float:
        """What a current of 1 pA adds to the potential in a step, mV."""
        stretch = self.tau_s * self.tau_m / (self.tau_m - self.tau_s)
        return stretch * (self.p22 - self.p11) / self.capacity

    def traces(self, spikes: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the potentials that spikes of weight 1 cause, after each step.

        Args:
            spikes: (..., T, n) how many spikes arrive in each step.

        Returns:
            (..., T, n) mV a pA; a spike moves the membrane from the step after its own.
        """
        from scipy.signal import lfilter

        current = lfilter([1.0], [1.0, -self.p11], spikes, axis=-2)
        return np.asarray(lfilter([0.0, self.p21], [1.0, -self.p22], current, axis=-2))
