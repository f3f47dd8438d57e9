"""Searches: ask/tell optimizers over a space; each is one file with one registered class."""

from evosearch.search.base import SEARCHES, Search, SearchSettings, State

__all__ = ["SEARCHES", "Search", "SearchSettings", "State"]
