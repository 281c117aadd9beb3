"""Execute the pages that are out of date, one after the other in one kernel, since importing the package takes seconds.

python workflow/scripts/pages.py FOLDER TABLE --pages NAMES --shared FILES

A page is out of date if it is older than its notebook, one of the shared files, or the list of shared files. A page
that raises or writes to stderr is not kept, and the next run executes it again.
"""

import argparse
import sys
from pathlib import Path

import papermill
from jupyter_client import AsyncKernelManager


def main() -> int:
    """Execute the pages that are out of date; return 1 if a page failed, else 0."""
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("table", type=Path)
    parser.add_argument("--pages", nargs="+", default=[])
    parser.add_argument("--shared", nargs="+", type=Path, default=[])
    asked = parser.parse_args()
    newest = max(path.stat().st_mtime for path in [asked.table, *asked.shared, record(asked.folder, asked.shared)])
    kernel, failed = AsyncKernelManager(kernel_name="python3"), 0
    for name in asked.pages:
        source, page = Path(f"notebooks/{name}.ipynb"), asked.folder / f"pages/{name}.ipynb"
        if page.exists() and page.stat().st_mtime >= max(newest, source.stat().st_mtime):
            continue
        if said := execute(source, page, asked.folder / f"logs/pages/{name}", asked.table, kernel):
            print(*(f"{source}: {line}" for line in said.splitlines() if line.strip()), sep="\n")
            page.unlink(missing_ok=True)
            kernel, failed = AsyncKernelManager(kernel_name="python3"), 1
    return failed


def record(folder: Path, shared: list[Path]) -> Path:
    """Write a list of the shared files if it changed, as an added file may be older than the pages; return its path."""
    path, text = folder / "pages/.shared", "\n".join(map(str, shared))
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists() or path.read_text(encoding="utf-8") != text:
        path.write_text(text, encoding="utf-8")
    return path


def execute(source: Path, page: Path, log: Path, table: Path, kernel: AsyncKernelManager) -> str:
    """Execute one page into `page`; return what it raised or wrote to stderr, or an empty string if all went well.

    A page on our own measurements shows this run's table; a page on the published table keeps that table.
    """
    for path in (page, log):
        path.parent.mkdir(parents=True, exist_ok=True)
    given = papermill.inspect_notebook(str(source)).get("measurements", {}).get("default")
    parameters = {"measurements": str(table)} if given == '"data/measurements"' else {}
    draft, stderr = log.with_suffix(".ipynb"), log.with_suffix(".txt")
    with stderr.open("w+", encoding="utf-8") as said:
        try:
            papermill.execute_notebook(source, draft, parameters, progress_bar=False, stderr_file=said, km=kernel)
        except (papermill.PapermillExecutionError, RuntimeError) as error:  # RuntimeError: the kernel died
            return str(error)
        said.seek(0)
        if text := said.read():
            return text
    client = kernel.blocking_client()
    client.start_channels()
    client.execute_interactive("%reset -f")
    client.stop_channels()
    draft.replace(page)
    return ""


if __name__ == "__main__":
    sys.exit(main())
