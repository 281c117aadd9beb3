"""The scaling laws and their fits: Eq. 1, the cell-number law, alternatives, and the noise budget of both axes."""

from .alternatives import ALTERNATIVES
from .budget import BudgetFit, fit_budgets, fit_noise_budget
from .channels import channels_law, labels_law
from .curves import CURVE, LawFit, fit_cell_number_law, fit_curves, fit_noise_law
from .exchange import cells_needed, compare_rates, exchange_rate, grid_rates
from .formulas import (
    AT_BOUND,
    BEYOND,
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
)
from .grids import Grid
from .law import CELL_NUMBER_LAW, LAWS, NOISE_LAW, Law, fit_many, named
from .surface import Smoothness, fit_grid

__all__ = [
    "ALTERNATIVES", "AT_BOUND", "BEYOND", "CELL_NUMBER_LAW", "CONVERGED", "CURVE", "FAILED", "LAWS", "NOISE_LAW",
    "NOT_IDENTIFIED", "NO_ERROR_BAR", "STATUSES", "BudgetFit", "Grid", "Law", "LawFit", "Smoothness",
    "cell_number_law", "cells_needed", "channels_law", "collapse", "collapse_z", "compare_rates", "exchange_rate",
    "fit_budgets", "fit_cell_number_law", "fit_curves", "fit_grid", "fit_many", "fit_noise_budget", "fit_noise_law",
    "grid_rates", "labels_law", "named", "noise_budget", "noise_law", "noise_law_asymptote",
]  # fmt: skip
