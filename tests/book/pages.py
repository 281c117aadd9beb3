"""What the tests of the interactive pages share: a page around a widget, and what a reader does and sees there."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from urllib.parse import unquote

from noise_scaling import measurements

from .driver import Page

DEPTHS = (10.0, 30.0, 100.0, 300.0, 1000.0)
UNNAMED = "[...document.querySelectorAll('select, input')].filter(c => !c.labels.length).length"
"""How many controls of the page have no label."""
_BLANK = {str: "", int: 0, float: 0.0}


def row(**values: object) -> dict[str, object]:
    """A measured row of pbmc10k's proteins, with these values."""
    key = {"dataset": "pbmc10k", "signal": "protein", "preset": "small", "estimator": "default", "status": "ok"}
    return {name: _BLANK[kind] for name, kind in measurements.COLUMNS.items()} | key | values


def page(folder: Path, name: str, body: str) -> str:
    """A page around a widget, beside the folder of its scripts, as an address."""
    file = folder / name
    head = '<meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>page</title>'
    body = body.replace("../_static", "_static")
    file.write_text(f'<!doctype html><html lang="en"><head>{head}</head><body>{body}</body></html>')
    return file.as_uri()


def text(opened: Page, part: str) -> str:
    return opened.evaluate(f"document.querySelector('[data-part=\"{part}\"]').textContent")


def fit_rows(opened: Page) -> list[list[str]]:
    rows = "document.querySelectorAll('[data-part=table] tbody tr')"
    return opened.evaluate(f"[...{rows}].map(r => [...r.cells].map(c => c.textContent))")


def downloaded(opened: Page, part: str) -> list[dict[str, str]]:
    address = opened.evaluate(f"document.querySelector('[data-part=\"{part}\"]').href")
    kind, _, body = address.partition(",")
    assert kind == "data:text/csv;charset=utf-8"
    return list(csv.DictReader(io.StringIO(unquote(body))))


def focus(opened: Page, part: str) -> None:
    """Go to a control as a keyboard does: Tab until it has the focus."""
    for _ in range(30):
        opened.press("Tab")
        if opened.evaluate("document.activeElement.dataset.part") == part:
            return
    raise AssertionError(f"Tab never reached {part}")


def enter(opened: Page, part: str, value: str) -> None:
    """Go to a number field by Tab, which selects its content, and type over it."""
    focus(opened, part)
    opened.type(value)


def fits_a_phone(opened: Page, url: str) -> bool:
    """Whether no part of the page sticks out of a narrow window."""
    opened.resize(400, 900)
    opened.open(url)
    width = opened.evaluate("document.documentElement.scrollWidth")
    opened.resize(1280, 900)
    return width == 400
