"""The scaling laws and their fits: Eq. 1, the cell-number law, rivals, and the noise budget that joins the two axes."""

from .budget import BudgetFit, fit_budgets, fit_noise_budget
from .curves import CURVE, LawFit, fit_cell_number_law, fit_curves, fit_noise_law
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
from .law import CELL_NUMBER_LAW, LAWS, NOISE_LAW, Law, bootstrap_rivals, fit_rivals, named
from .rivals import RIVALS
from .surface import Smoothness, fit_grid

__all__ = [
    "AT_BOUND",
    "CELL_NUMBER_LAW",
    "CONVERGED",
    "CURVE",
    "FAILED",
    "LAWS",
    "NOISE_LAW",
    "NOT_IDENTIFIED",
    "NO_ERROR_BAR",
    "RIVALS",
    "STATUSES",
    "BudgetFit",
    "Grid",
    "Law",
    "LawFit",
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
    "surface_rates",
    "two_sided_law",
]
