"""The directive include-all, in a one-page Sphinx project built with warnings as errors."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from noise_scaling.paths import ROOT

CONF = f"""import sys
sys.path.insert(0, {str(ROOT / "book" / "_ext")!r})
project, extensions = "p", ["myst_parser", "include_all"]
"""
PAGE = """# Benchmarks

```{include-all} ../results/*.md
:empty: Nothing was run.
```
"""


def build(root: Path) -> str:
    """The text of the page after one more build."""
    (root / "book").mkdir(exist_ok=True)
    (root / "book/conf.py").write_text(CONF)
    (root / "book/index.md").write_text(PAGE)
    command = [sys.executable, "-m", "sphinx", "-q", "-W", "-n", "-b", "text", root / "book", root / "out"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return (root / "out/index.txt").read_text()


def test_no_file_gives_the_sentence_and_later_files_their_text_in_order(tmp_path: Path) -> None:
    assert "Nothing was run." in build(tmp_path)
    (tmp_path / "results").mkdir()
    (tmp_path / "results/b.md").write_text("# Tokens\n\n## Machine\n\nsecond\n")
    (tmp_path / "results/a.md").write_text("# Thinning\n\n| a | b |\n|---|---|\n| 1 | 2 |\n")
    text = build(tmp_path)
    assert "Nothing was run." not in text
    assert 0 < text.index("Thinning") < text.index("Tokens") < text.index("Machine") < text.index("second")
