"""Linear scVI: the decoder is one matrix."""

from typing import ClassVar

from .base import register
from .scvi import SCVI


@register
class LinearSCVI(SCVI):
    """LDVAE (Svensson et al. 2020, Bioinformatics 36, 3418) by scvi-tools, with its negative binomial likelihood.

    The library size is observed, as in the other scVI models here. Unlike in `scvi_nb`, the decoder is one matrix with
    batch normalisation and without bias; the encoder has a hidden layer.
    """

    name, label, colour, marker, order = "scvi_linear", "scVI, linear decoder", "#ece133", "d", 16
    variation_of: ClassVar[str] = "scvi"
    likelihood: ClassVar[str] = "nb"
    linear: ClassVar[bool] = True
    NUMBERS_VERSION: ClassVar[int] = 1
