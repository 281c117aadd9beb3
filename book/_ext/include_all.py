"""The directive ``include-all``: every Markdown file that matches a pattern, or one sentence where there is none."""

import os
from pathlib import Path

from docutils import nodes
from docutils.parsers.rst import directives
from docutils.statemachine import StringList
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective


class IncludeAll(SphinxDirective):
    """Include all files that match a pattern relative to the page, in the order of their names.

    MyST's own ``include`` fails where its one file is missing. Benchmark tables exist only where benchmarks were
    run, and a fresh clone must build.
    """

    required_arguments = 1
    option_spec = {"empty": directives.unchanged_required}  # noqa: RUF012 (docutils reads a plain dict)

    def run(self) -> list[nodes.Node]:
        self.env.note_reread()  # the set of files can change while the page does not
        folder = Path(self.env.doc2path(self.env.docname)).parent
        lines = [line for file in sorted(folder.glob(self.arguments[0])) for line in _include(file, folder)]
        parent = nodes.Element()
        self.state.nested_parse(
            StringList(lines or [self.options.get("empty", "")]), self.content_offset, parent, match_titles=True
        )
        return parent.children


def _include(file: Path, folder: Path) -> list[str]:
    return [f"```{{include}} {Path(os.path.relpath(file, folder)).as_posix()}", ":heading-offset: 1", "```", ""]


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the directive."""
    app.add_directive("include-all", IncludeAll)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
