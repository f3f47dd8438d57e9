"""Sort by two objectives: fronts of non-dominated points, and how crowded each point is."""

from __future__ import annotations

from bisect import bisect_right

import numpy as np
from numpy.typing import NDArray

from evosearch.outcome import FloatArray


def front_numbers(gains: FloatArray, costs: FloatArray) -> NDArray[np.int64]:
    """Return of each point the number of its front: 0 for those that no other dominates.

    A point dominates another where its gain is no lower, its cost no higher, and not both are
    equal. Front k holds what is left undominated without the fronts before it. The fronts are
    those of Deb's sort, found by one sweep in O(n log n) instead of comparing all pairs.

    Args:
        gains: (n,) finite; higher is better.
        costs: (n,) finite; lower is better.

    Returns:
        Numbers (n,).

    Sources: K. Deb, A. Pratap, S. Agarwal, T. Meyarivan, "A Fast and Elitist Multiobjective
    Genetic Algorithm: NSGA-II", IEEE Transactions on Evolutionary Computation 6, 2002; M. Jensen,
    "Reducing the Run-Time Complexity of Multiobjective EAs", the same journal 7, 2003.

    Example:
        >>> front_numbers(np.array([3.0, 1.0, 2.0]), np.array([5.0, 1.0, 5.0])).tolist()
        [0, 0, 1]
    """
    numbers = np.empty(len(gains), dtype=np.int64)
    # The least cost of each front so far; it never falls from one front to the next.
    lowest: list[float] = []
    last: tuple[float, float, int] | None = None
    for k in np.lexsort((costs, -gains)).tolist():
        gain, cost = float(gains[k]), float(costs[k])
        if last is None or (gain, cost) != last[:2]:
            # All earlier points gain as much or more: a front dominates this one by its least cost.
            number = bisect_right(lowest, cost)
            lowest[number : number + 1] = [cost]
            last = (gain, cost, number)
        numbers[k] = last[2]
    return numbers


def crowding_distances(points: FloatArray) -> FloatArray:
    """Return how far apart the neighbours (n,) of each point of one front are.

    The distance is the sum over objectives of that between the next lower and the next higher
    value, as a share of the front's range; infinite for the points at either end.

    Args:
        points: (n, m) objectives of one front.

    Source: Deb et al. 2002, section III-B.

    Example:
        >>> crowding_distances(np.array([[0.0, 0.0], [1.0, 1.0], [4.0, 4.0]])).tolist()
        [inf, 2.0, inf]
    """
    distances = np.zeros(len(points))
    for values in points.T:
        order = np.argsort(values, kind="stable")
        ranked = values[order]
        distances[order[[0, -1]]] = np.inf
        if ranked[-1] > ranked[0]:
            distances[order[1:-1]] += (ranked[2:] - ranked[:-2]) / (ranked[-1] - ranked[0])
    return distances


def crowded_order(gains: FloatArray, costs: FloatArray) -> NDArray[np.int64]:
    """Return the numbers (n,) of the points, the best first: by front, then the least crowded.

    Equal ones keep their order. This is the crowded comparison of NSGA-II (Deb et al. 2002,
    section III-B), and the first k are whom it lets survive.
    """
    fronts = front_numbers(gains, costs)
    distances = np.empty(len(gains))
    points = np.stack([gains, costs], axis=1).astype(np.float64)
    for number in range(int(fronts.max(initial=-1)) + 1):
        members = np.flatnonzero(fronts == number)
        distances[members] = crowding_distances(points[members])
    return np.lexsort((-distances, fronts))
