"""The book's figures, one function each, from a measurements table; and what stands around them on a page."""

from .ablations import depths_table, effects_table, noise_table, separate_depths_image, steps_table
from .calibration import calibration_provenance, cost_image, errors_image, recovered_image, scores_table
from .curve_zoo import zoo
from .datasets import cells_figure, dataset_figure, truth_figure
from .estimators import estimator_fits_table, estimators_image, level_table, order_table
from .figures import collapse_figure, fits_figure, information_figure
from .ledger import show as claims_ledger
from .ledger import show_open as open_ledger
from .ledger import verdicts as open_verdicts
from .model_size import sizes_image, sizes_table
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
    "calibration_provenance",
    "card",
    "cells",
    "cells_figure",
    "cells_provenance",
    "claims_ledger",
    "collapse_figure",
    "cost_image",
    "dataset",
    "dataset_figure",
    "depths_table",
    "effects_table",
    "errors_image",
    "estimator_fits_table",
    "estimators_image",
    "fits",
    "fits_figure",
    "information_figure",
    "level_table",
    "measured",
    "noise_table",
    "open_ledger",
    "open_verdicts",
    "order_table",
    "plan_regret",
    "planner",
    "provenance",
    "recovered_image",
    "rows",
    "scores_table",
    "separate_depths_image",
    "show",
    "sizes_image",
    "sizes_table",
    "steps_table",
    "truth",
    "truth_figure",
    "truth_gaps",
    "zoo",
]
