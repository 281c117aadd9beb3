"""The frame of an interactive page: controls, data and scripts in one piece of HTML that needs no network.

The HTML templates lie in this folder and the scripts in book/_static, where book/_ext/plotly_script.py adds Plotly's
script when the book is built. If the scripts are missing (a bare notebook) or JavaScript is off, the page shows a
static figure: it is hidden while the scripts load, and shown again if they left the controls hidden.
"""

import base64
import html
import json
import math
from collections.abc import Iterable
from itertools import cycle
from pathlib import Path
from string import Template
from typing import Any

from IPython.display import HTML
from matplotlib.figure import Figure

from . import style

STATIC = "../_static"
"""Relative path from a page of the book in notebooks/ to the book's static files."""
# Plotly's symbol for each Matplotlib marker
SYMBOLS = {"o": "circle", "s": "square", "^": "triangle-up", "D": "diamond", "x": "x", "P": "cross", "*": "star"}


def frame(name: str, data: dict[str, Any], fallback: Figure, alt: str, *scripts: str, **values: object) -> HTML:
    """Return a page's widget: controls and results, a static figure with alt text, data as JSON, and scripts.

    `name` is that of the template NAME.html of controls and results, where the parts that a script fills have a
    `data-part`; `values` fill its placeholders. `scripts`, in the folder STATIC, load after laws.js and charts.js.
    """
    files = ["plotly.min.js", "laws.js", "charts.js", *scripts]
    image = base64.b64encode(style.as_png(fallback)).decode()
    return HTML(_filled("frame", {
        "name": name, "static": STATIC, "body": _filled(name, values), "alt": html.escape(alt), "image": image,
        "data": as_json(data), "scripts": "\n".join(f'<script src="{STATIC}/{file}"></script>' for file in files),
    }))  # fmt: skip


def _filled(name: str, values: dict[str, Any]) -> str:
    return Template(Path(__file__).with_name(f"{name}.html").read_text(encoding="utf-8")).substitute(values)


def as_json(data: object) -> str:
    """Return JSON for a script element: non-finite numbers become null, and no text can close the tag early."""
    text = json.dumps(_finite(data), ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return text.replace("</", "<\\/")


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def digits(value: float, n: int = 6) -> float:
    """Round to n significant digits: six halve the page's size and err by a thousandth of any error bar here."""
    return float(f"{value:.{n}g}")


def kinds(pairs: Iterable[tuple[str, str]]) -> dict[tuple[str, str], dict[str, str]]:
    """Return name, label, colour and Plotly symbol by (model, preset); symbols of later presets are open or dotted."""
    presets: dict[str, list[str]] = {}
    for model, preset in sorted(set(pairs)):
        presets.setdefault(model, []).append(preset)
    out = {}
    for model in style.ordered(presets):
        several, symbol = len(presets[model]) > 1, SYMBOLS.get(style.marker(model), "circle")
        for preset, form in zip(presets[model], cycle(("", "-open", "-dot", "-open-dot")), strict=False):
            out[model, preset] = {
                "name": f"{model}/{preset}" if several else model,
                "label": style.label(model, preset) + (f" ({preset})" if several else ""),
                "colour": style.colour(model), "symbol": symbol + form,
            }  # fmt: skip
    return out
