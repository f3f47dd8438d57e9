"""Tier 2: rules that run long enough, compiled to machine code through LLVM.

``text`` writes LLVM IR; ``life`` and ``program`` turn phases and rules into it, ``rows`` with
vectors along rows of synapses, ``draws`` with draws side by side. ``compiler`` makes functions of
it and keeps them; ``tiers`` decides which rules are worth it, by what ``work`` counts and
``calibration`` measured. The code handles lives that stay finite; one that does not is handed back
and lived by the interpreter, so that both tiers report the same bits.
"""
