"""The run store: one folder a run, one transaction a generation, nothing executable."""

from evosearch.store.folder import FILE_NAME, RunStore
from evosearch.store.records import (
    CandidateRow,
    GenerationRecord,
    GenerationRow,
    ValidationRow,
)

__all__ = [
    "FILE_NAME",
    "CandidateRow",
    "GenerationRecord",
    "GenerationRow",
    "RunStore",
    "ValidationRow",
]
