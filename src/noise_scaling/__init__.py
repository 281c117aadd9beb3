"""Measurement-noise scaling laws for single-cell representation models.

Data flow through the package in this order:
datasets -> splits -> counts -> models -> signals -> information -> measurements -> laws -> plots.
"""

__version__ = "1.0.0"

from .paths import give_numba_a_cache

give_numba_a_cache()
