"""The prose says what the code does: columns, tests that deviations name, files that commands name."""

from __future__ import annotations

import re

import nbformat
import numpy as np
import pytest

from noise_scaling import measurements, models
from noise_scaling.counts.count_store import IN_MEMORY_BELOW
from noise_scaling.datasets import card
from noise_scaling.information import coordinates
from noise_scaling.laws import averaged, curves, holdout
from noise_scaling.laws.alternatives import ALTERNATIVES
from noise_scaling.measure import cost, grid
from noise_scaling.paths import ROOT
from noise_scaling.plots import findings

from .site import toc_entries

BOOK, NOTEBOOKS = ROOT / "book", list((ROOT / "notebooks").rglob("*.ipynb"))


def test_the_data_dictionary_lists_the_columns_of_the_table() -> None:
    rows = re.findall(r"^\* - `(\w+)`$", (BOOK / "data_dictionary.md").read_text(), flags=re.MULTILINE)
    assert rows == list(measurements.COLUMNS)
    assert rows[: len(measurements.KEY)] == measurements.KEY


def test_every_page_of_the_table_of_contents_has_a_source() -> None:
    entries = toc_entries(ROOT / "_toc.yml")
    sources = [p for e in entries for p in (ROOT / f"{e}.md", ROOT / f"{e}.ipynb") if p.is_file()]
    assert len(sources) == len(entries)


def test_every_page_of_prose_is_in_the_table_of_contents() -> None:
    assert {f"book/{p.stem}" for p in BOOK.glob("*.md")} <= toc_entries(ROOT / "_toc.yml")


def deviations_tests() -> list[str]:
    return sorted(set(re.findall(r"`(tests/[^`]*)`", (BOOK / "deviations.md").read_text())))


@pytest.mark.parametrize("named", deviations_tests())
def test_the_tests_that_deviations_name_exist(named: str) -> None:
    file, _, name = named.partition("::")
    assert (ROOT / file).exists()
    if name:
        assert re.search(rf"^def {name}\(", (ROOT / file).read_text(), flags=re.MULTILINE)


def test_every_cited_key_is_in_the_bibliography() -> None:
    keys = set(re.findall(r"^@\w+\{(\w+),", (BOOK / "references.bib").read_text(), flags=re.MULTILINE))
    prose = "".join(p.read_text() for p in BOOK.glob("*.md"))
    cited = {k for group in re.findall(r"\{cite(?::\w+)?\}`([^`]+)`", prose) for k in group.split(",")}
    assert cited <= keys


def glossary() -> list[str]:
    """The glossary's terms."""
    return re.findall(r"^([^\s`#].*)\n  ", (BOOK / "glossary.md").read_text(), flags=re.MULTILINE)


def test_the_glossary_is_in_order_and_names_each_term_once() -> None:
    letters = [re.sub(r"\\(mathrm|bar)|[$\\{}]", "", term.replace("_", " ")).strip().lower() for term in glossary()]
    assert letters == sorted(letters, key=lambda term: term.replace("²", "2"))
    assert len(set(glossary())) == len(glossary())


def test_models_laws_and_yardsticks_that_tables_name_are_in_the_glossary() -> None:
    laws = [ALTERNATIVES[name].label for name in ("channels", "two_sided")]
    assert {*holdout.YARDSTICKS, *laws, models.MODELS["nmf"].label, models.MODELS["lda"].label} <= set(glossary())


def test_phrases_whose_words_have_another_sense_are_in_the_book() -> None:
    """And none is there in vain."""
    source = (BOOK / "_ext/hover_terms.py").read_text().split("_OTHER_SENSES = (", 1)[1].split(")", 1)[0]
    prose = " ".join(said(page) for page in sorted(f"{p.relative_to(ROOT)}" for p in [*BOOK.glob("*.md"), *NOTEBOOKS]))
    assert [phrase for phrase in re.findall(r'"([^"]+)"', source) if phrase not in prose] == []


def said(page: str) -> str:
    """The text of a page in one line: of a notebook, its cells of prose."""
    file = ROOT / page
    if file.suffix == ".md":
        return " ".join(file.read_text().split())
    cells = nbformat.read(file, as_version=4).cells
    return " ".join(" ".join(cell.source for cell in cells if cell.cell_type == "markdown").split())


def typed() -> list[tuple[str, str]]:
    """Settings and definitions that prose states, each made of the constant in the code that it repeats."""
    study = {name: card(name) for name in ("pbmc", "larry", "merfish", "mouse_embryo")}
    cells = {name: f"{about.n_cells:.1e}".split("e") for name, about in study.items()}
    atlas, vocabulary = study["mouse_embryo"].n_genes, study["mouse_embryo"].n_genes + 2
    paper = grid.read_config(ROOT / "workflow/config/paper.yml")
    ours, theirs = models.settings("geneformer", preset="small"), models.settings("geneformer", preset="published")
    powers, channels = averaged.MEMBERS[:, 0], averaged.MEMBERS[:, 1]
    words = {1: "one", 2: "two", 3: "three", 8: "eight", 48: "two days"}
    seen, own = cost.NONZEROS_PER_UMI, cost.BYTES_PER_NONZERO
    return [
        *(("book/setup.md", f"- {float(size):g} × 10{'⁰¹²³⁴⁵⁶⁷'[int(power)]} -") for size, power in cells.values()),
        ("book/setup.md", f"The study's grid is {len(study['pbmc'].cell_numbers)} numbers of cells × "
                          f"{len(study['pbmc'].fractions)} depths × {len(paper['models'])} models × "
                          f"{len(paper['seeds'])} seeds"),
        ("book/setup.md", f"{len(averaged.MEMBERS)} members of one family, Eq. 1 among them (a power of depth from "
                          f"{powers.min():g} to {powers.max():g}, one to {words[int(channels.max())]} channels"),
        ("book/setup.md", f"Of more than {coordinates.KEPT} principal components the leading {coordinates.KEPT} are"),
        ("book/setup.md", f"The networks see the leading {coordinates.TURNED} at the columns' own scale"),
        ("book/setup.md", f"it is held to a factor of {coordinates.UNEQUAL:g} from the middle one"),
        ("book/introduction.md", f"and a Geneformer of {words[theirs['layers']]} layers"),
        ("book/glossary.md", f"spans more than a factor of {curves._IDENTIFIED_WITHIN:,.0f}"),
        ("book/glossary.md", f"here {findings.KNOWN_BITS:g} known bits"),
        ("notebooks/architecture.ipynb", f"the embryo atlas's {atlas:,} genes make "
                                         f"{(513 * vocabulary + 1_779_712) / 1e6:.1f} million, or "
                                         f"{(257 * vocabulary + 1_779_712) / 1e6:.1f} with"),
        ("notebooks/cost.ipynb", rf"{cost.PROGRAM_MB / 1e3:g} \times 10^9 + {own['loaded']:g}\,z(u_0)"),
        ("notebooks/cost.ipynb", rf"{own['thinned'] + own['in_training']:g}\,z(u)\,(N + N_"),
        ("notebooks/cost.ipynb", rf"z(u) = \min(G,\ {seen:g}\,u) + 1"),
        ("notebooks/cost.ipynb", rf"the second term is ${cost.ON_DISK_BYTES_PER_CELL}\,N_\mathrm{{all}} + "
                                 rf"{cost.ON_DISK_BYTES / 1e8:g} \times 10^8$"),
        ("notebooks/cost.ipynb", f"from {IN_MEMORY_BELOW // 2**20} MiB on"),
        ("notebooks/cost.ipynb", f"No job asks for more than {words[cost.LONGEST_MINUTES // 60]}"),
        ("notebooks/cost.ipynb", rf"$1 + {cost.ANOTHER_DEVICE:g}\,(d - 1)$"),
        ("notebooks/cost.ipynb", f"and {cost.ESTIMATE_SECONDS:g} seconds for each estimate of 1,000 test cells"),
        ("notebooks/cost.ipynb", f"tokens of {cost.TOKENS} genes at {cost.TOKEN_BYTES} bytes"),
        ("notebooks/cost.ipynb", f"Geneformer sees up to $10^{round(np.log10(theirs['max_cells_seen']))}$ cells"),
        ("notebooks/trained_geneformer.ipynb", f"small Geneformer of this book sees at most {ours['max_steps']} steps"),
        ("notebooks/trained_geneformer.ipynb", f"What {ours['max_steps']} steps add"),
        ("notebooks/trained_geneformer.ipynb", f"at most {ours['max_steps']} steps of {ours['batch_tokens']:,} tokens"),
        ("notebooks/ten_million.ipynb", f"atlas of {study['mouse_embryo'].n_cells / 1e6:.0f} million cells"),
        ("book/reproduce.md", f"the published table, {card('published').files[0].bytes / 1e6:.1f} MB"),
    ]  # fmt: skip


@pytest.mark.parametrize(("page", "phrase"), typed())
def test_settings_in_prose_are_those_of_the_code(page: str, phrase: str) -> None:
    assert phrase in said(page)
