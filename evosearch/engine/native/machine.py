"""The processor that code is generated for."""

from __future__ import annotations

from typing import Any

import llvmlite.binding as llvm

from evosearch.engine.cache import processor_features


def target_machine(level: int) -> Any:
    """Return a target machine for this processor."""
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    target = llvm.Target.from_default_triple()
    return target.create_target_machine(
        cpu=llvm.get_host_cpu_name(), features=processor_features(), opt=level
    )
