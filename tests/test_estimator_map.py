"""The map from true to measured parameters: its problems' information, and what the page makes of its lines."""

import importlib
import json
import sys

import numpy as np
import pandas as pd
import pytest

from noise_scaling import laws, paths
from noise_scaling.plots import estimator_map as page


@pytest.fixture
def script(monkeypatch):
    monkeypatch.setattr(sys, "path", [*sys.path, str(paths.ROOT / "benchmarks")])
    return importlib.import_module("estimator_map")


def test_the_pairs_hold_what_is_said(script):
    for name, (latents, bits, dims, depth) in script.problems().items():
        if dims == 16 and depth > 1 and latents != 16:
            continue
        x, y = script.draw(name, 20_000, 0)
        assert x.shape == (20_000, dims)
        joint = np.linalg.slogdet(np.corrcoef(x.T, y.T))[1]
        apart = sum(np.linalg.slogdet(np.atleast_2d(np.corrcoef(side.T)))[1] for side in (x, y))
        found = (apart - joint) / 2 / np.log(2)  # of Gaussian vectors; in excess by p q / (2 n ln 2)
        found -= dims * latents / 2 / 20_000 / np.log(2)
        assert found == pytest.approx(laws.channels_law(depth, 1.0, bits, channels=latents), abs=0.03)


def lines(share: float, moved: float, method: str = "lmi") -> list[dict]:
    return [
        {"method": method, "cells": cells, "latents": latents, "dims": 16, "true_i_max": bits, "exact_u_bar": 1.0,
         "exact_i_max": float(bits), "status": "converged", "share_at_deepest": share, "u_bar": moved,
         "i_max": share * bits, "u_bar_low": moved, "u_bar_high": moved, "i_max_low": 1.0, "i_max_high": None}
        for cells in (1000, 5000) for latents in (1, 4) for bits in (2, 4)
    ]  # fmt: skip


def test_published_parameters_are_led_back(tmp_path):
    file = tmp_path / "map.json"
    file.write_text(json.dumps({"map": lines(0.5, 0.25)}))
    led = page.corrected(str(file))
    inside = led["i_max"] <= 0.5 * 4  # of the most true bits of the map
    assert 0 < inside.sum() < len(led)
    np.testing.assert_allclose(led["i_max corrected, from"], (2 * led["i_max"]).where(inside))
    np.testing.assert_allclose(led["u_bar corrected, to"], (4 * led["u_bar"]).where(inside))
    said = page.sentences(str(file)).data
    assert "</sub> of 0.50 to 0.50 times the true one and a ū of 0.25 to 0.25 times the true one" in said
    table = page.corrected_table(str(file)).data
    assert "is 2.00 to 2.00 times the published one and ū 4.00 to 4.00 times" in table
    assert f"Of {len(led)} curves at their most cells {inside.sum()} lie within" in table
    assert "at 5,000 test cells and 16 dimensions" in table
    axes = page.map_figure(str(file)).axes
    assert len(axes) == 4
    cells = sorted(page.read(str(file)).query("dims == 16")["cells"].unique())
    assert [label.get_text() for label in axes[-1].get_xticklabels()] == [f"{n:,}" for n in cells]
    file.write_text(json.dumps({"map": lines(0.5, 0.25, "default")}))
    assert "LMI" not in page.sentences(str(file)).data
    assert "LMI has not been run" in page.corrected_table(str(file)).data  # once, and no caption of a table
    assert "table" not in page.corrected_table(str(file)).data
    assert not any("LMI" in text.get_text() for text in page.map_figure(str(file)).legends[0].get_texts())
    assert isinstance(page.found(str(file)), pd.DataFrame)
