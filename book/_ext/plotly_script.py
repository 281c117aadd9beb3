"""Puts Plotly's script into the built book, once, for the interactive pages: taken from the installed package."""

from pathlib import Path

from plotly.offline import get_plotlyjs
from sphinx.application import Sphinx

NAME = "plotly.min.js"


def write(app: Sphinx, error: Exception | None) -> None:
    """Write the script among the book's static files, where the pages' own scripts lie; 4.8 MB, read from disk."""
    if error is None and app.builder.format == "html":
        (Path(app.outdir) / "_static" / NAME).write_text(get_plotlyjs(), encoding="utf-8")


def setup(app: Sphinx) -> dict[str, bool]:
    """Have it written at the end of the build."""
    app.connect("build-finished", write)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
