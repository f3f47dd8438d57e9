"""Names to classes: one registry a kind, filled by importing one package of modules.

A new search or task is one new module with one ``@SEARCHES.register("name")`` class. Packages
of third parties add theirs through entry points of the group ``evosearch.<kind>``.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable
from importlib.metadata import entry_points
from typing import Any, Generic, TypeVar

from evosearch.errors import unknown_name

T = TypeVar("T")
C = TypeVar("C", bound=type[Any])


class Registry(Generic[T]):
    """All registered classes of one kind, imported when first asked for.

    Args:
        kind: what an entry is called in messages, e.g. ``"search"``.
        package: dotted name of the package whose modules register themselves.
    """

    def __init__(self, kind: str, package: str) -> None:
        self.kind = kind
        self._package = package
        self._entries: dict[str, Any] = {}
        self._is_loaded = False

    def register(self, name: str) -> Callable[[C], C]:
        """Return a class decorator that registers its class under ``name``."""

        def add(entry: C) -> C:
            assert self._entries.get(name, entry) is entry, f"{self.kind} {name} registered twice"
            self._entries[name] = entry
            return entry

        return add

    def get(self, name: str) -> T:
        """Return the entry called ``name``; raise InputError naming the nearest one."""
        self._load()
        if name not in self._entries:
            raise unknown_name(self.kind, name, self._entries)
        return self._entries[name]

    def names(self) -> list[str]:
        """Return all registered names, sorted."""
        self._load()
        return sorted(self._entries)

    def _load(self) -> None:
        if self._is_loaded:
            return
        package = importlib.import_module(self._package)
        for module in pkgutil.iter_modules(package.__path__):
            importlib.import_module(f"{self._package}.{module.name}")
        for point in entry_points(group=self._package.replace("evosearch.", "evosearch_")):
            self._entries.setdefault(point.name, point.load())
        self._is_loaded = True
