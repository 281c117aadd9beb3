"""The sentences of the page on plans."""

import pandas as pd
import pytest

from noise_scaling.plots import plan_page


@pytest.mark.parametrize(
    ("gain", "low", "high", "said"),
    [
        (0.03, -0.0004, 0.07, "gains +0.030 bits (95 % interval +0.000 to +0.070), which does not tell the two apart."),
        (0.9, 0.75, 1.1, "gains +0.900 bits (95 % interval +0.750 to +1.100), so it is better."),
        (-0.2, -0.3, -0.1, "gains -0.200 bits (95 % interval -0.300 to -0.100), so it is worse."),
    ],
)
def test_what_the_law_gains_is_a_sentence(gain, low, high, said):
    score = pd.Series({"over_deepest": gain, "over_deepest_low": low, "over_deepest_high": high})
    assert plan_page._verdict(score, "deepest", "the deepest design") == f"Over the deepest design the law {said}"
