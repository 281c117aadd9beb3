"""The map of the house: the package's rooms in the order in which data flow, and who imports whom, read from the code.

`python tests/test_house.py` draws book/_static/house.svg; the tests hold the picture and the order to the imports.
"""

from __future__ import annotations

import ast
import re
from pathlib import Path
from textwrap import fill

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "src/noise_scaling"
PICTURE = ROOT / "book/_static/house.svg"
GROUND = ("errors", "seeds", "paths", "files", "memory")
"""Used by every room, so not drawn."""
ROOMS = (
    "signals", "splits", "counts", "datasets", "models", "information", "measurements", "measure", "laws", "plan",
    "plots", "cli",
)  # fmt: skip
"""In the order in which data flow: a room imports only rooms before it."""


def files(room: str) -> list[Path]:
    """The Python files of a room: a folder's, or one module."""
    return sorted((PACKAGE / room).rglob("*.py")) or [PACKAGE / f"{room}.py"]


def purpose(room: str) -> str:
    """The first sentence of the room's docstring."""
    first = PACKAGE / room / "__init__.py"
    text = ast.get_docstring(ast.parse((first if first.exists() else files(room)[0]).read_text(encoding="utf-8")))
    return re.split(r"; |\.\s(?=[A-Z])|\.$", text.split("\n\n")[0])[0].replace("\n", " ").replace("`", "")


def imports() -> dict[str, set[str]]:
    """Room -> the rooms that it imports, inside functions too."""
    return {room: {to for path in files(room) for to in _imported(path)} - {room} for room in ROOMS}


def _imported(path: Path) -> set[str]:
    package = path.relative_to(PACKAGE).parent.parts
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.level:
            base = package[: len(package) - node.level + 1] + tuple(filter(None, (node.module or "").split(".")))
            found |= {base[0]} if base else {name.name for name in node.names}
    return found & set(ROOMS)


def edges() -> str:
    """The imports as text, which the picture holds too."""
    return " ".join(f"{room}-{to}" for room, used in imports().items() for to in sorted(used))


def draw(path: Path = PICTURE) -> None:
    """Boxes from top to bottom, an arc for each import: down the left side, from the room that is used."""
    import matplotlib as mpl

    mpl.use("svg")
    import matplotlib.pyplot as plt
    from matplotlib.patches import FancyArrowPatch, FancyBboxPatch

    mpl.rcParams |= {"svg.hashsalt": "house", "font.size": 9.5}
    figure, axes = plt.subplots(figsize=(10.5, 0.62 * len(ROOMS)))
    at = {room: -i for i, room in enumerate(ROOMS)}
    colours = plt.get_cmap("viridis", len(ROOMS) + 2)
    for room, y in at.items():
        colour = colours(at[room] * -1)
        axes.add_patch(FancyBboxPatch((0, y - 0.3), 6.4, 0.6, boxstyle="round,pad=0.02", fc="#f6f6f6", ec=colour, lw=2))
        axes.text(0.12, y, room, va="center", weight="bold")
        axes.text(1.4, y, fill(purpose(room), 72), va="center", fontsize=8.5)
    for room, used in imports().items():
        for other in used:
            curve = f"arc3,rad={0.38 + 0.006 * (at[room] - at[other])}"
            axes.add_patch(
                FancyArrowPatch((0, at[other]), (0, at[room]), connectionstyle=curve, arrowstyle="-|>",
                                mutation_scale=8, color=colours(-at[other]), lw=1, shrinkA=0, shrinkB=2)
            )  # fmt: skip
    axes.set(xlim=(-2.0, 6.5), ylim=(-len(ROOMS) + 0.4, 0.6))
    axes.axis("off")
    figure.savefig(path, bbox_inches="tight", metadata={"Date": None, "Description": edges()})
    plt.close(figure)


def test_data_flow_one_way():
    for room, used in imports().items():
        assert {other for other in used if ROOMS.index(other) > ROOMS.index(room)} == set(), room


def test_the_map_has_every_room_and_import():
    top = {p.stem for p in PACKAGE.iterdir() if p.suffix == ".py" or (p.is_dir() and any(p.glob("*.py")))}
    assert {name for name in top if not name.startswith("_")} <= {*ROOMS, *GROUND}
    assert f">{edges()}<" in PICTURE.read_text(encoding="utf-8"), "python tests/test_house.py draws it anew"


if __name__ == "__main__":
    draw()
