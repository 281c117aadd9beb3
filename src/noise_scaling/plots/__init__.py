"""The book's figures, one function each, from a measurements table; and what stands around them on a page."""

from .curve_zoo import zoo
from .datasets import cells_figure, dataset_figure, truth_figure
from .figures import collapse_figure, fits_figure, information_figure
from .ledger import show as claims_ledger
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
from .variants import depths_table, effects_table, noise_table, separate_depths_image, steps_table

__all__ = [
    "FIGURES",
    "card",
    "cells",
    "cells_figure",
    "cells_provenance",
    "claims_ledger",
    "collapse_figure",
    "dataset",
    "dataset_figure",
    "depths_table",
    "effects_table",
    "fits",
    "fits_figure",
    "information_figure",
    "measured",
    "noise_table",
    "plan_regret",
    "planner",
    "provenance",
    "rows",
    "separate_depths_image",
    "show",
    "steps_table",
    "truth",
    "truth_figure",
    "truth_gaps",
    "zoo",
]
