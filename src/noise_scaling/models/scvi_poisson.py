"""scVI with a Poisson likelihood: counting noise alone, no dispersion."""

from typing import ClassVar

from .base import register
from .scvi import SCVI


@register
class SCVIPoisson(SCVI):
    """scVI (Lopez et al. 2018) with scvi-tools' likelihood "poisson", to see what `scvi_nb` gains by dispersion."""

    name, label, colour, marker, order = "scvi_poisson", "scVI, Poisson", "#a50026", "H", 14
    variation_of: ClassVar[str] = "scvi"
    likelihood: ClassVar[str] = "poisson"
    NUMBERS_VERSION: ClassVar[int] = 1
