"""The book's figures, one function each, from a measurements table; and what stands around them on a page."""

from .curve_zoo import zoo
from .datasets import cells_figure, dataset_figure, truth_figure
from .figures import collapse_figure, fits_figure, information_figure
from .page import (
    FIGURES,
    card,
    cells,
    cells_provenance,
    dataset,
    fits,
    measured,
    provenance,
    rows,
    show,
    truth,
    truth_gaps,
)
from .plan_page import plan_regret, planner

__all__ = [
    "FIGURES",
    "card",
    "cells",
    "cells_figure",
    "cells_provenance",
    "collapse_figure",
    "dataset",
    "dataset_figure",
    "fits",
    "fits_figure",
    "information_figure",
    "measured",
    "plan_regret",
    "planner",
    "provenance",
    "rows",
    "show",
    "truth",
    "truth_figure",
    "truth_gaps",
    "zoo",
]
