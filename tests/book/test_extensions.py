"""Terms explained at their first use, and figures numbered as the configuration says, in a two-page Sphinx project."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from noise_scaling.paths import ROOT

CONF = f"""import sys
sys.path.insert(0, {str(ROOT / "book" / "_ext")!r})
project, numfig, myst_enable_extensions = "p", True, ["dollarmath"]
extensions = ["myst_parser", "sphinx.ext.mathjax", "hover_terms", "figure_numbers"]
figure_numbers = {{"fig-hero": "", "fig-1": "1", "fig-1b": "1b"}}
"""
GLOSSARY = """# Glossary

```{glossary}
depth
  Mean number of *UMIs*, written $u$, {eq}`law`.

signal
  What a model never saw.

small model
  One of few parameters.

$\\\\bar u$
  Half a bit is lost there.
```

$$
a
$$ (law)
"""
FIGURE = "```{{figure}} a.png\n:name: {}\nA caption\n```\n\n"
PAGE = """# depth

{}At a depth of $\\bar{{u}}$, other depths, `depth`. Where noise to
signal is 1, a small
model has the signal.

{{numref}}`fig-new`

```{{toctree}}
book/glossary
```
"""


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> str:
    root: Path = tmp_path_factory.mktemp("extensions")
    (root / "book").mkdir()
    (root / "conf.py").write_text(CONF)
    (root / "book/glossary.md").write_text(GLOSSARY.replace("\\\\", "\\"))
    (root / "a.png").write_bytes(b"")
    figures = "".join(map(FIGURE.format, ("fig-hero", "fig-1b", "fig-new", "fig-1")))
    (root / "index.md").write_text(PAGE.format(figures))
    command = [sys.executable, "-m", "sphinx", "-q", "-n", "-b", "html", root, root / "out"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return (root / "out/index.html").read_text()


def test_a_term_is_explained_where_it_is_first_used(page: str) -> None:
    found = re.findall(r'<abbr title="([^"]*)">(.*?)</abbr>', page, flags=re.DOTALL)
    assert found[0] == ("Mean number of UMIs, written u.", "depth")
    assert found[1][0] == "Half a bit is lost there."
    assert "bar{u}" in found[1][1]
    assert found[2:] == [("One of few parameters.", "small\nmodel"), ("What a model never saw.", "signal")]


def test_a_word_in_another_sense_is_not_explained(page: str) -> None:
    assert "noise to\nsignal is 1" in page


def test_figures_keep_the_numbers_that_they_are_given(page: str) -> None:
    assert re.findall(r'<span class="caption-number">Fig\. (\w+) </span>', page) == ["1b", "2", "1"]
    assert "Fig. 2" in page.split("caption-number")[-1]
