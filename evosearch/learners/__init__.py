"""Learners with a kernel of their own, beside the circuits; one file each."""
