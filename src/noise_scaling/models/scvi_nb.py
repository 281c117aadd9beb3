"""scVI with a negative binomial likelihood: without the extra zeros."""

from typing import ClassVar

from .base import register
from .scvi import SCVI


@register
class SCVINegativeBinomial(SCVI):
    """scVI (Lopez et al. 2018) with scvi-tools' likelihood "nb", to see what `scvi` gains by its extra zeros."""

    name, label, colour, marker, order = "scvi_nb", "scVI, negative binomial", "#8c510a", "X", 12
    variation_of: ClassVar[str] = "scvi"
    likelihood: ClassVar[str] = "nb"
    NUMBERS_VERSION: ClassVar[int] = 1
