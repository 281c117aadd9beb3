"""The frame of an interactive page: controls, data and scripts in one piece of HTML that needs no network.

The HTML lies beside this file, the scripts in book/_static, with Plotly's own, which book/_ext/plotly_script.py puts
there when the book is built. Where they are missing, in a bare notebook or without JavaScript, a static figure stands
in their place: it is hidden while the scripts load, and shown again where they left the controls hidden.
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
"""From a page of the book in notebooks/ to its static files."""
# matplotlib's markers by the names of Plotly's symbols
SYMBOLS = {"o": "circle", "s": "square", "^": "triangle-up", "D": "diamond", "x": "x", "P": "cross", "*": "star"}


def frame(
    name: str, data: dict[str, Any], fallback: Figure, alt: str, *scripts: str, static: str = STATIC, **values: object
) -> HTML:
    """A page's widget: its controls and results, a static figure with its alt text, data as JSON, scripts.

    `name` is of the file NAME.html of controls and results, whose parts that a script fills carry `data-part`; `values`
    are of its placeholders. `scripts` lie in `static`, as seen from the page, and come after laws.js and charts.js.
    """
    files = ["plotly.min.js", "laws.js", "charts.js", *scripts]
    image = base64.b64encode(style.as_png(fallback)).decode()
    return HTML(_filled("frame", {
        "name": name, "static": static, "body": _filled(name, values), "alt": html.escape(alt), "image": image,
        "data": as_json(data), "scripts": "\n".join(f'<script src="{static}/{file}"></script>' for file in files),
    }))  # fmt: skip


def _filled(name: str, values: dict[str, Any]) -> str:
    return Template(Path(__file__).with_name(f"{name}.html").read_text(encoding="utf-8")).substitute(values)


def as_json(data: object) -> str:
    """JSON for a script element: numbers that are not finite become null, no tag can end early."""
    text = json.dumps(_finite(data), ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return text.replace("</", "<\\/")


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def digits(value: float, n: int = 6) -> float:
    """`value` to n significant digits: six are a thousandth of any error bar here, and half the page's size."""
    return float(f"{value:.{n}g}") if math.isfinite(value) else value


def kinds(pairs: Iterable[tuple[str, str]]) -> dict[tuple[str, str], dict[str, str]]:
    """Name, label, colour and Plotly symbol of each (model, preset): filled for the first preset, then open, dotted."""
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
