"""The hall of fame: the best candidate of each size and the best few of all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from operator import attrgetter

from evosearch.outcome import OK
from evosearch.store.records import CandidateRow

N_BEST = 10
MAX_SIZES = 64


@dataclass(frozen=True)
class Entry:
    """A candidate worth remembering: its text, size, fitness on search draws and step size."""

    text: str
    size: int
    fitness: float
    scale: float


class HallOfFame:
    """Bounded: one entry a size, for the ``MAX_SIZES`` smallest sizes, and ``N_BEST`` of any size.

    The first candidate of a fitness stays, so the order in which candidates come decides between
    equals and nothing else.

    Args:
        is_fresh: whether draws change with each generation; then fitness of another generation
            says little, and only the last one is remembered.
    """

    def __init__(self, *, is_fresh: bool = False) -> None:
        self._is_fresh = is_fresh
        self._of_size: dict[int, Entry] = {}
        self._best: list[Entry] = []

    def update(self, rows: Sequence[CandidateRow]) -> None:
        """Take in the candidates of a generation."""
        if self._is_fresh:
            self._of_size.clear()
            self._best.clear()
        for row in rows:
            if row.status == OK and self._is_of_note(row.size, row.fitness):
                self._consider(Entry(row.text, row.size, row.fitness, row.scale))

    def front(self) -> list[Entry]:
        """Return the entries that no smaller one equals in fitness, by rising size."""
        found: list[Entry] = []
        for size in sorted(self._of_size):
            entry = self._of_size[size]
            if not found or entry.fitness > found[-1].fitness:
                found.append(entry)
        return found

    def finalists(self) -> list[Entry]:
        """Return the front and the best few, each once."""
        entries = {entry.text: entry for entry in [*self.front(), *self._best]}
        return list(entries.values())

    @property
    def best(self) -> Entry | None:
        """The entry of the highest fitness."""
        return self._best[0] if self._best else None

    def _is_of_note(self, size: int, fitness: float) -> bool:
        """Whether a candidate may change anything; most do not."""
        own = self._of_size.get(size)
        is_best_of_size = own is None or fitness > own.fitness
        return is_best_of_size or len(self._best) < N_BEST or fitness > self._best[-1].fitness

    def _consider(self, entry: Entry) -> None:
        own = self._of_size.get(entry.size)
        if own is None or entry.fitness > own.fitness:
            self._of_size[entry.size] = entry
            if len(self._of_size) > MAX_SIZES:
                del self._of_size[max(self._of_size)]
        is_good = len(self._best) < N_BEST or entry.fitness > self._best[-1].fitness
        if is_good and all(other.text != entry.text for other in self._best):
            self._best.append(entry)
            self._best.sort(key=attrgetter("fitness"), reverse=True)
            del self._best[N_BEST:]
