"""Plotly's script comes into the built book from the installed package, and only into a book of pages."""

import runpy
from pathlib import Path
from types import SimpleNamespace

import pytest

from noise_scaling.paths import ROOT

extension = runpy.run_path(str(ROOT / "book" / "_ext" / "plotly_script.py"))


@pytest.mark.parametrize(
    ("form", "error", "there"), [("html", None, True), ("latex", None, False), ("html", OSError(), False)]
)
def test_the_script_is_written_where_the_pages_look(
    form: str, error: Exception | None, there: bool, tmp_path: Path
) -> None:
    (tmp_path / "_static").mkdir()
    extension["write"](SimpleNamespace(outdir=tmp_path, builder=SimpleNamespace(format=form)), error)
    script = tmp_path / "_static" / "plotly.min.js"
    assert script.is_file() == there
    if there:
        assert "plotly.js v" in script.read_text(encoding="utf-8")[:200]
