"""The frame of an interactive page: controls, data and scripts in one piece of HTML that needs no network.

The scripts lie in book/_static, with Plotly's own, which book/_ext/plotly_script.py puts beside them when the book is
built. Where they are missing, in a bare notebook or without JavaScript, a static figure stands in their place.
"""

from __future__ import annotations

import base64
import html
import json
import math
from collections.abc import Iterable, Sequence
from itertools import cycle

from matplotlib.figure import Figure

from . import style

STATIC = "../_static"
"""From a page of the book in notebooks/ to its static files."""

# hidden while the scripts load, shown again where they left the controls hidden
_STAND_IN = 'document.querySelector("#ID .fallback").hidden'
# matplotlib's markers by the names of Plotly's symbols
SYMBOLS = {"o": "circle", "s": "square", "^": "triangle-up", "D": "diamond", "x": "x", "P": "cross", "*": "star"}


def frame(
    name: str,
    *,
    controls: str,
    results: str,
    data: dict[str, object],
    fallback: Figure,
    alt: str,
    scripts: Sequence[str],
    static: str = STATIC,
) -> str:
    """The widget `name` as HTML: controls, results, a static figure with its alt text, data as JSON, scripts.

    `controls` and `results` are HTML; the parts that the script fills carry `data-part`. `scripts` are file names in
    the folder `static`; laws.js and charts.js, on which they rest, come before them.
    """
    image = base64.b64encode(style.as_png(fallback)).decode()
    files = ["plotly.min.js", "laws.js", "charts.js", *scripts]
    tags = "\n".join(f'<script src="{static}/{file}"></script>' for file in files)
    return f"""<link rel="stylesheet" href="{static}/interactive.css">
<div class="interactive" id="{name}">
<div class="controls" hidden>
{controls}
</div>
<div class="results" hidden>
{results}
</div>
<div class="fallback">
<p>The controls of this page need JavaScript and the built book; without them it shows one picture.</p>
<img alt="{html.escape(alt)}" src="data:image/png;base64,{image}">
</div>
<script>{_STAND_IN.replace("ID", name)} = true</script>
<script type="application/json" class="data">{as_json(data)}</script>
</div>
{tags}
<script>{_STAND_IN.replace("ID", name)} = !document.querySelector("#{name} .controls").hidden</script>"""


def as_json(data: object) -> str:
    """JSON for a script element: numbers that are not finite become null, no tag can end early."""
    text = json.dumps(_finite(data), ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return text.replace("</", "<\\/")


def _finite(value: object) -> object:
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def digits(value: float, n: int = 6) -> float:
    """`value` to n significant digits: six are a thousandth of any error bar here, and half the page's size."""
    return float(f"{value:.{n}g}") if math.isfinite(value) else value


def select(part: str, label: str, hint: str = "") -> str:
    """A labelled native select, filled by the script."""
    return (
        f'<div><label for="{part}">{label}</label><select id="{part}" data-part="{part}"></select>{_hint(hint)}</div>'
    )


def number(part: str, label: str, value: float | str, *, hint: str = "") -> str:
    """A labelled native number field, for numbers from 0."""
    return (
        f'<div><label for="{part}">{label}</label><input type="number" inputmode="decimal" id="{part}" '
        f'data-part="{part}" value="{value}" min="0" step="any">{_hint(hint)}</div>'
    )


def radios(name: str, legend: str, options: dict[str, str]) -> str:
    """Native radio buttons, the first one chosen."""
    buttons = "\n".join(
        f'<label><input type="radio" name="{name}" value="{value}"{" checked" if i == 0 else ""}> {text}</label>'
        for i, (value, text) in enumerate(options.items())
    )
    return f"<fieldset><legend>{legend}</legend>\n{buttons}\n</fieldset>"


def _hint(text: str) -> str:
    return f'<div class="hint">{text}</div>' if text else ""


def table(columns: Sequence[str], label: str) -> str:
    """An empty table that the script fills, in a box that scrolls by keyboard too."""
    head = "".join(f'<th scope="col">{column}</th>' for column in columns)
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="{label}"><table data-part="table">'
        f"<thead><tr>{head}</tr></thead><tbody></tbody></table></div>"
    )


def kinds(pairs: Iterable[tuple[str, str]]) -> dict[tuple[str, str], dict[str, str]]:
    """Name, label, colour and Plotly symbol of each (model, preset); presets are told apart where a model has several.

    The first preset has filled symbols, the next ones open or dotted.
    """
    out = {}
    presets: dict[str, list[str]] = {}
    for model, preset in sorted(set(pairs)):
        presets.setdefault(model, []).append(preset)
    for model in style.ordered(list(presets)):
        symbol = SYMBOLS.get(style.marker(model), "circle")
        for preset, form in zip(presets[model], cycle(("", "-open", "-dot", "-open-dot")), strict=False):
            several = len(presets[model]) > 1
            out[model, preset] = {
                "name": f"{model}/{preset}" if several else model,
                "label": style.label(model) + (f" ({preset})" if several else ""),
                "colour": style.colour(model), "symbol": symbol + form,
            }  # fmt: skip
    return out
