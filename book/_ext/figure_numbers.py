"""Numbers of figures: the paper's keep theirs, versions of them get a letter, all others are counted on after them."""

from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment


def number(app: Sphinx, env: BuildEnvironment) -> None:
    """Give each figure the number that the configuration names for it ("" for none), or the next free one."""
    given: dict[str, str] = app.config.figure_numbers
    free = 1 + max((int(text) for text in given.values() if text.isdigit()), default=0)
    pages = {page: numbers["figure"] for page, numbers in env.toc_fignumbers.items() if "figure" in numbers}
    found = sorted((old, page, figure) for page, figures in pages.items() for figure, old in figures.items())
    for _, page, figure in found:
        if figure not in given:
            pages[page][figure], free = (free,), free + 1
        elif given[figure]:
            pages[page][figure] = (given[figure],)
        else:
            del pages[page][figure]


def setup(app: Sphinx) -> dict[str, bool]:
    """Number when all pages are read and none is written."""
    app.add_config_value("figure_numbers", {}, "env")
    app.connect("env-check-consistency", number)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
