"""The default: the most accurate estimator for each kind of signal."""

from .classifier import classifier_bound
from .contrastive import infonce
from .core import ESTIMATORS, Information, is_labels, register

_PARTS = [ESTIMATORS["infonce"], ESTIMATORS["classifier"]]


@register(
    "default",
    label="default",
    version=sum(part.version for part in _PARTS),  # a new version of either is a new version of the default
    many_pairs_version=sum(part.many_pairs_version for part in _PARTS),
    takes="both",
    order=0,
)
def default(x: object, y: object, *, seed: int = 0, groups: object = None) -> Information:
    """`classifier_bound` where `y` is labels, `infonce` where it is vectors; both are lower bounds in expectation.

    Arguments and errors are those of the chosen estimator; labels are one column of integers, strings, booleans or
    categories (`core.is_labels`).
    """
    bound = classifier_bound if is_labels(y) else infonce
    return bound(x, y, seed=seed, groups=groups)
