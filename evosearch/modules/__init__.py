"""Populations of any torch module: many sets of weights scored side by side."""
