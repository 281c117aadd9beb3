"""Molecule counts: thinning them to fewer molecules, tokens from them, and stores of them on disk."""

from .thinning import thin, umis_per_cell, validate_counts

__all__ = ["thin", "umis_per_cell", "validate_counts"]
