"""The committed statistics of the published table: made again, they are the same, and pages drawn from them are too."""

import json
import re
from functools import cache

import numpy as np
import pandas as pd
import pytest

from noise_scaling import laws, measurements, paths
from noise_scaling.measurements import published
from noise_scaling.plots import cells_or_depth, curve_zoo, ledger, page, plan_page, summary, table_audit
from noise_scaling.plots.figures import FIGURES

OURS = "data/measurements/demo.csv"
GREATEST = "Greatest u_bar"
"""A note on a fit that the data do not pin down: its number is another one on another machine."""


@pytest.fixture(scope="module")
def table(published) -> pd.DataFrame:
    return measurements.read_published(published)


def settled(fits: pd.DataFrame) -> pd.DataFrame:
    """Status and name of every fit, numbers of those that converged."""
    numbers = fits.select_dtypes("number").columns.drop("n_cells")
    out = fits.drop(columns="note").astype(dict.fromkeys(numbers, float))
    out.loc[out["status"] != laws.CONVERGED, numbers] = np.nan
    return out


@pytest.mark.parametrize(
    ("name", "tolerance"),
    [("points", 1e-6), ("fits", 1e-4), ("claims", 0.01), ("seed_shares", 0.01), ("seed_pairs", 1e-6), ("flagged", 0)],
)
def test_made_again_it_is_what_is_committed(name, tolerance, table):
    again, kept = (
        settled(t) if name == "fits" else t for t in (summary.TABLES[name](table), published.statistics(name))
    )
    pd.testing.assert_frame_equal(again, kept, rtol=tolerance, atol=tolerance, check_dtype=False)


def test_the_notes_made_again_are_the_committed(table):
    again, kept = (
        t.set_index("found")["number"] for t in (table_audit.note_table(table), published.statistics("notes"))
    )
    (line,) = (text for text in kept.index if text.startswith(GREATEST))
    assert again.drop(line).to_dict() == kept.drop(line).to_dict()
    assert "converged" not in kept[line]


def test_every_file_is_made_and_the_source_is_the_registered_one():
    files = {path.name for path in paths.PUBLISHED.iterdir() if path.is_file()}
    assert files == {f"{name}.csv" for name in summary.TABLES} | {"source.json"}
    dictionary = (paths.ROOT / "data" / "README.md").read_text()
    assert all(f"`{name}`" in dictionary for name in files)
    assert json.loads((paths.PUBLISHED / "source.json").read_text()) == summary.about()
    assert summary.about()["sha256"].startswith("14560d54")


@pytest.mark.parametrize(
    ("name", "version", "compute", "tolerance"),
    [("fits", published.ALL, laws.fit_curves, 1e-4), ("claims", published.KEPT, summary.findings, 0.01)],
)
def test_the_summary_gives_what_is_committed(name, version, compute, tolerance, nothing_at_hand):
    kept = published.statistics(name)
    kept = kept[kept["rows"] == version].drop(columns="rows").reset_index(drop=True)
    again, kept = (settled(t) if name == "fits" else t for t in (compute(published.read(version)), kept))
    pd.testing.assert_frame_equal(again, kept, rtol=tolerance, atol=tolerance, check_dtype=False)


def drawn(figure) -> list:
    """Every number and word of a figure; the order of points in a line does not count."""
    parts = [part for axes in figure.axes for part in (*axes.lines, *axes.collections)]
    points = [p.get_xydata() if hasattr(p, "get_xydata") else p.get_paths()[0].vertices for p in parts]
    return [np.sort(np.asarray(xy, float), axis=0) for xy in points] + [
        text.get_text() for text in figure.findobj(match=lambda artist: hasattr(artist, "get_text"))
    ]


def told(html) -> list[str]:
    """Every number and word of a table or sentence, but for its download."""
    return re.findall(r">([^<]+)<", re.sub(r"<p><a .*?</a></p>", "", html.data, flags=re.DOTALL))


def embedded(data) -> list:
    """Every number and word that a page embeds, but for the names of seeds and fits that are not settled."""
    if isinstance(data, dict):
        if data.get("status", laws.CONVERGED) != laws.CONVERGED:
            return [data["status"]]
        if "flagged" in data:
            order = np.lexsort([data["bits"], data["fraction"]])
            flagged = set(data["flagged"])
            at = [i for i in order if i in flagged]
            data |= {"bits": [data["bits"][i] for i in order], "flagged": [data["bits"][i] for i in at]}
        return [x for key in sorted(data) if key != "seed" for x in embedded(data[key])]
    return [x for part in data for x in embedded(part)] if isinstance(data, list) else [data]


WHOLE = {
    **{figure: (lambda draw=draw: drawn(draw(page.measured("published").table))) for figure, draw in FIGURES.items()},
    "between seeds": lambda: (
        told(cells_or_depth.between_seeds("published")) + told(cells_or_depth.between_seeds("published-filtered"))
    ),
    "flagged rows": lambda: told(table_audit.flagged()),
    "seeds": lambda: drawn(table_audit.seeds_figure()),
}
OF_ONE_SIGNAL = {
    "claims": lambda: told(ledger.ledger(OURS, "published")),
    "open questions": lambda: told(ledger.ledger(OURS, "published", ledger.OPEN)),
    "planner": lambda: embedded(plan_page.planner_groups(OURS, "published")),
    "zoo": lambda: embedded(curve_zoo.zoo_data(OURS, "published")),
}
"""On one signal of the table, with flagged rows of every kind: all would take minutes."""
PARTS = WHOLE | OF_ONE_SIGNAL
read = published.read


def one_signal(version: str = published.ALL) -> pd.DataFrame:
    return read(version).query("dataset == 'pbmc' and signal == 'protein'")


@pytest.fixture
def part(request, monkeypatch) -> str:
    if request.param in OF_ONE_SIGNAL:
        monkeypatch.setattr(published, "read", one_signal)
    return request.param


@cache
def from_summary(part: str) -> list:
    return PARTS[part]()


@pytest.mark.parametrize("part", PARTS, indirect=True)
def test_every_part_of_a_page_is_there_without_the_table(part, nothing_at_hand):
    assert len(from_summary(part)) > (1 if part == "between seeds" else 10)


@pytest.mark.parametrize("part", PARTS, indirect=True)
def test_both_ways_draw_the_same(part, published, request):
    rows = PARTS[part]()
    request.getfixturevalue("nothing_at_hand")
    summed = from_summary(part)
    if part == "flagged rows":  # the table's own sentence goes on: its download holds every row
        rows[0] = rows[0].removesuffix(" The download holds every row with its reason.")
    assert len(rows) == len(summed)
    for one, other in zip(rows, summed, strict=True):
        if isinstance(one, str) or one is None:
            assert one == other
        else:
            np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-5)


def test_the_line_below_says_which_it_was(published, request):
    line = page.provenance("published-filtered", notebook="n").data
    assert "measurements the published table without 1,440 flagged rows (3,404 rows, sha256 14560d54" in line
    assert "not here" not in line
    request.getfixturevalue("nothing_at_hand")
    line = page.provenance("published-filtered", notebook="n").data
    assert "without 1,440 flagged rows, from its summary data/published (3,404 rows, sha256 " in line
    assert "<code>noise-scaling fetch published</code> gets it." in line


def test_asked_for_in_the_place_of_ours_it_is_never_called_ours(nothing_at_hand, monkeypatch):
    assert set(page.measured("published").table["dataset"]) == {"pbmc", "larry", "merfish", "mouse_embryo"}
    monkeypatch.setattr(published, "read", one_signal)
    assert [c.heading for c in ledger.columns("published", "published")] == [
        "published",
        "published, filtered",
    ]
    assert {c["source"] for c in curve_zoo.zoo_data("published", "published")["curves"]} == {curve_zoo.PUBLISHED}
    shown = page.rows("published").data
    assert "<th>lowest</th>" in shown
    assert "<th>seed</th>" not in shown
