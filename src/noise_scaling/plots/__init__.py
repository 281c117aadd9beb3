"""The book's figures, one function each, from a measurements table; and what stands around them on a page."""

from .datasets import dataset_figure
from .figures import collapse_figure, fits_figure, information_figure
from .page import FIGURES, card, dataset, fits, measured, provenance, rows, show

__all__ = [
    "FIGURES",
    "card",
    "collapse_figure",
    "dataset",
    "dataset_figure",
    "fits",
    "fits_figure",
    "information_figure",
    "measured",
    "provenance",
    "rows",
    "show",
]
