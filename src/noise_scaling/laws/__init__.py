"""The scaling laws and their fits: Eq. 1, the cell-number law, rivals, and the noise budget that joins the two axes."""

from .budget import NOISE_BUDGET, STRETCHED_BUDGET, BudgetFit, fit_budgets, fit_noise_budget
from .curves import (
    CELL_NUMBER_LAW,
    CURVE,
    LAWS,
    NOISE_LAW,
    Law,
    LawFit,
    fit_cell_number_law,
    fit_curves,
    fit_noise_law,
    named,
)
from .exchange import cells_needed, compare_rates, exchange_rate, grid_rates, surface_rates
from .formulas import (
    AT_BOUND,
    CONVERGED,
    FAILED,
    NO_ERROR_BAR,
    NOT_IDENTIFIED,
    STATUSES,
    cell_number_law,
    collapse,
    collapse_z,
    noise_budget,
    noise_law,
    noise_law_asymptote,
    two_sided_law,
)
from .grids import Grid
from .profile import profile_interval
from .rivals import RIVALS, Rival, bootstrap_rivals, fit_rivals
from .surface import Smoothness, fit_grid

__all__ = [
    "AT_BOUND",
    "CELL_NUMBER_LAW",
    "CONVERGED",
    "CURVE",
    "FAILED",
    "LAWS",
    "NOISE_BUDGET",
    "NOISE_LAW",
    "NOT_IDENTIFIED",
    "NO_ERROR_BAR",
    "RIVALS",
    "STATUSES",
    "STRETCHED_BUDGET",
    "BudgetFit",
    "Grid",
    "Law",
    "LawFit",
    "Rival",
    "Smoothness",
    "bootstrap_rivals",
    "cell_number_law",
    "cells_needed",
    "collapse",
    "collapse_z",
    "compare_rates",
    "exchange_rate",
    "fit_budgets",
    "fit_cell_number_law",
    "fit_curves",
    "fit_grid",
    "fit_noise_budget",
    "fit_noise_law",
    "fit_rivals",
    "grid_rates",
    "named",
    "noise_budget",
    "noise_law",
    "noise_law_asymptote",
    "profile_interval",
    "surface_rates",
    "two_sided_law",
]
