"""Tier 2: rules that run long enough, compiled to machine code through LLVM.

``text`` writes LLVM IR, ``layer`` and ``program`` turn phases and rules into it, ``compiler`` makes
functions of it and keeps them, ``tiers`` decides which rules are worth it. The code handles lives
that stay finite; one that does not is handed back and lived by the interpreter, so that both tiers
report the same bits.
"""
